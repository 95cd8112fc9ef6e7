//! Changes to an input that a parser may not expect: of bytes, of bencoded values as trees, and of the fields of a magnet. Coverage
//! guides none of this; the fuzzer mixes it with its own changes, which are blind to what a length prefix is.

use fastrand::Rng;
use torrent_format::bencode::{Dict, Kind, Limits, Raw, scan};

use crate::bencode::Value;

/// Numbers at which something changes: signs, block and piece lengths, the widths of integers, limits.
const NUMBERS: &[i128] = &[
    0,
    1,
    -1,
    2,
    20,
    32,
    16_383,
    16_384,
    16_385,
    32_768,
    65_535,
    1 << 17,
    1 << 21,
    1 << 27,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 48,
    (1 << 48) + 1,
    (1 << 62) + 1,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 63),
    1 << 64,
];

/// Keys and strings that mean something in a torrent.
const WORDS: &[&[u8]] = &[
    b"",
    b".",
    b"..",
    b"/",
    b"a",
    b"a/b",
    b"\0",
    b"\x1b[31m",
    b"\xc0\xae",
    b"CON",
    b"announce",
    b"announce-list",
    b"attr",
    b"comment",
    b"created by",
    b"creation date",
    b"file tree",
    b"files",
    b"h",
    b"http://a.example/",
    b"info",
    b"l",
    b"length",
    b"meta version",
    b"name",
    b"name.utf-8",
    b"nodes",
    b"p",
    b"path",
    b"path.utf-8",
    b"piece layers",
    b"piece length",
    b"pieces",
    b"pieces root",
    b"private",
    b"sha1",
    b"source",
    b"symlink path",
    b"udp://b.example:1/\r\n",
    b"url-list",
    b"x",
];

/// Parts of magnets.
const FIELDS: &[&str] = &[
    "magnet:?",
    "xt=",
    "xt.1=",
    "urn:btih:",
    "urn:btmh:",
    "urn:sha1:",
    "1220",
    "c9e15763f722f23e98a29decdfae341b98d53056",
    "ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMCW",
    "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e",
    "dn=",
    "tr=",
    "tr.2=",
    "ws=",
    "x.pe=",
    "so=",
    "xl=",
    "&",
    "&amp;",
    "=",
    "%",
    "%41",
    "%00",
    "%2C",
    "%ff",
    "+",
    "ä",
    "http://a.example/",
    "udp://b.example:1",
    "file:///x",
    "0-3",
    "5-1",
    ",",
    "3000000",
    "99999999999999999999",
    "[2001:db8::2]:5",
    "127.0.0.1:1",
    "10.0.0.1:70000",
    "h.example:1",
    "\u{202e}",
    "\"",
];

/// Some changes to the bytes.
pub(super) fn bytes(rng: &mut Rng, input: &[u8], longest: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.usize(1..=4) {
        change_bytes(rng, &mut bytes);
    }
    bytes.truncate(longest);
    bytes
}

/// Some changes to the value, if it is one, now and then to its bytes.
pub(super) fn bencode(rng: &mut Rng, input: &[u8], longest: usize) -> Vec<u8> {
    let value = scan(input, &Limits::TORRENT).ok().filter(|_| rng.u8(..5) > 0);
    let Some(scanned) = value else { return bytes(rng, input, longest) };
    let mut root = owned(scanned.root());
    for _ in 0..rng.usize(1..=3) {
        let count = count(&root);
        let (chosen, other) = (rng.usize(..count), rng.usize(..count));
        let graft = nth(&mut root, other).clone();
        change_value(rng, nth(&mut root, chosen), graft);
    }
    let mut bytes = root.encode();
    bytes.truncate(longest);
    bytes
}

/// Some changes to the fields, now and then to the bytes.
pub(super) fn magnet(rng: &mut Rng, input: &[u8], longest: usize) -> Vec<u8> {
    if rng.u8(..4) == 0 {
        return bytes(rng, input, longest);
    }
    let mut text = String::from_utf8_lossy(input).into_owned();
    for _ in 0..rng.usize(1..=4) {
        let at = text.floor_char_boundary(rng.usize(..=text.len()));
        let end = text.floor_char_boundary((at + rng.usize(..12)).min(text.len()));
        let field = FIELDS[rng.usize(..FIELDS.len())];
        match rng.u8(..4) {
            0 => text.replace_range(at..end.max(at), field),
            1 => text.push_str(&format!("&{field}{}", FIELDS[rng.usize(..FIELDS.len())])),
            2 => text.replace_range(at..end.max(at), ""),
            _ => text.insert_str(at, field),
        }
    }
    text.truncate(text.floor_char_boundary(longest));
    text.into_bytes()
}

/// Some changes to the parameters of a query, now and then to its bytes.
pub(super) fn query(rng: &mut Rng, input: &[u8], longest: usize) -> Vec<u8> {
    /// Parameters and values that mean something to a tracker.
    const PARTS: &[&[u8]] = &[
        b"info_hash=aaaaaaaaaaaaaaaaaaaa",
        b"info_hash=%00%ff%2B%25%26aaaaaaaaaaaaaaa",
        b"peer_id=-SR0100-abcdefghijkl",
        b"port=6881",
        b"port=0",
        b"left=0",
        b"left=18446744073709551616",
        b"uploaded=-1",
        b"downloaded=5",
        b"event=stopped",
        b"event=paused",
        b"numwant=-1",
        b"numwant=99999999999",
        b"key=beef",
        b"key=YQ==",
        b"trackerid=a%20b",
        b"compact=0",
        b"=",
        b"%",
    ];
    if rng.u8(..4) == 0 {
        return bytes(rng, input, longest);
    }
    let mut parts: Vec<Vec<u8>> = input.split(|&byte| byte == b'&').map(<[u8]>::to_vec).collect();
    for _ in 0..rng.usize(1..=3) {
        let at = rng.usize(..=parts.len());
        match rng.u8(..4) {
            0 if at < parts.len() => drop(parts.remove(at)),
            1 if at < parts.len() => change_bytes(rng, &mut parts[at]),
            2 if at < parts.len() => parts[at] = PARTS[rng.usize(..PARTS.len())].to_vec(),
            _ => parts.insert(at, PARTS[rng.usize(..PARTS.len())].to_vec()),
        }
    }
    let mut query = parts.join(&b'&');
    query.truncate(longest);
    query
}

/// Some changes to the numbers of the frames, now and then to their bytes.
pub(super) fn frames(rng: &mut Rng, input: &[u8], longest: usize) -> Vec<u8> {
    if rng.u8(..4) == 0 {
        return bytes(rng, input, longest);
    }
    let (head, mut rest) = input.split_at(input.len().min(1));
    let mut frames = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk() {
        let length = 4 + u32::from_be_bytes(*length) as usize;
        let (frame, next) = rest.split_at(length.min(rest.len()));
        frames.push(frame.to_vec());
        rest = next;
    }
    for _ in 0..rng.usize(1..=3) {
        let at = rng.usize(..=frames.len());
        match rng.u8(..6) {
            0 if at < frames.len() => drop(frames.remove(at)),
            1 => frames.insert(at, hash_request(rng)),
            2 if at < frames.len() => change_bytes(rng, &mut frames[at]),
            3 if at < frames.len() => resize(rng, &mut frames[at]),
            _ if at < frames.len() => change_number(rng, &mut frames[at]),
            _ => {}
        }
    }
    let head = if rng.u8(..4) == 0 { vec![rng.u8(..16)] } else { head.to_vec() };
    let mut bytes = [head, frames.concat()].concat();
    bytes.truncate(longest);
    bytes
}

/// A hash request that some file may grant.
fn hash_request(rng: &mut Rng) -> Vec<u8> {
    let length = 1_u32 << rng.u32(1..=9);
    let numbers = [rng.u32(..10) * rng.u32(..2), length * rng.u32(..3), length, rng.u32(..11)];
    let numbers = numbers.map(u32::to_be_bytes);
    [&[0, 0, 0, 49, 21], &[7; 32][..], numbers.as_flattened()].concat()
}

/// Another of the four numbers of a hash message, or of the first of another.
fn change_number(rng: &mut Rng, frame: &mut [u8]) {
    let first = if frame.len() < 53 { 5 } else { 37 };
    let Some(at) = frame.get_mut(first + 4 * rng.usize(..4)..).and_then(<[u8]>::first_chunk_mut) else {
        return;
    };
    let old = u32::from_be_bytes(*at);
    let new = match rng.u8(..5) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_mul(2),
        3 => rng.u32(..12),
        _ => NUMBERS[rng.usize(..NUMBERS.len())] as u32,
    };
    *at = new.to_be_bytes();
}

/// Some hashes more or less, and the length prefix that says so.
fn resize(rng: &mut Rng, frame: &mut Vec<u8>) {
    let length = frame.len() + 32 * rng.usize(..4);
    frame.resize(length.saturating_sub(32 * rng.usize(..4)).max(5), 0);
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

fn change_bytes(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(..=bytes.len());
    let end = (at + 1 + rng.usize(..16)).min(bytes.len());
    match rng.u8(..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 if at < bytes.len() => bytes[at] = *rng.choice(b"ilde0123456789:-\0\xff").unwrap_or(&0),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        5 => drop(bytes.splice(at..at, WORDS[rng.usize(..WORDS.len())].iter().copied())),
        6 => {
            let number = NUMBERS[rng.usize(..NUMBERS.len())] as u32;
            let end = (at + 4).min(bytes.len());
            bytes.splice(at..end, number.to_be_bytes());
        }
        _ => bytes.truncate(at),
    }
}

fn change_value(rng: &mut Rng, value: &mut Value, graft: Value) {
    if rng.u8(..8) == 0 {
        *value = graft;
        return;
    }
    match value {
        Value::Int(number) => {
            *number = match rng.u8(..3) {
                0 => number.saturating_add(NUMBERS[rng.usize(..NUMBERS.len())]),
                1 => *number ^ (1 << rng.u8(..50)),
                _ => NUMBERS[rng.usize(..NUMBERS.len())],
            }
        }
        Value::Bytes(bytes) => match rng.u8(..5) {
            0 => *bytes = WORDS[rng.usize(..WORDS.len())].to_vec(),
            1 => bytes.truncate(bytes.len().saturating_sub([1, 20, 32][rng.usize(..3)])),
            2 => bytes.resize(bytes.len() + [1, 20, 32, 300][rng.usize(..4)], rng.u8(..)),
            _ => change_bytes(rng, bytes),
        },
        Value::List(items) => change_list(rng, items, || graft),
        Value::Dict(entries) => {
            let key = WORDS[rng.usize(..WORDS.len())].to_vec();
            match rng.u8(..4) {
                0 if !entries.is_empty() => {
                    let at = rng.usize(..entries.len());
                    entries[at].0 = key;
                }
                _ => change_list(rng, entries, || (key, graft)),
            }
            if rng.u8(..8) > 0 {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
        }
    }
}

fn change_list<T: Clone>(rng: &mut Rng, items: &mut Vec<T>, new: impl FnOnce() -> T) {
    let at = rng.usize(..=items.len());
    match rng.u8(..4) {
        0 if at < items.len() => drop(items.remove(at)),
        1 if at < items.len() => items.insert(at, items[at].clone()),
        2 if at < items.len() => items.swap(0, at),
        _ => items.insert(at, new()),
    }
}

fn owned(raw: Raw<'_>) -> Value {
    match raw.kind() {
        Kind::Integer => Value::Int(raw.as_int().unwrap_or_default().into()),
        Kind::Bytes => Value::bytes(raw.as_bytes().unwrap_or_default()),
        Kind::List => Value::List(raw.as_list().into_iter().flatten().map(owned).collect()),
        Kind::Dict => {
            let entries = raw.as_dict().into_iter().flat_map(Dict::iter);
            Value::Dict(entries.map(|(key, value)| (key.to_vec(), owned(value))).collect())
        }
    }
}

/// How many values there are, the value itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Int(_) | Value::Bytes(_) => 0,
        Value::List(items) => items.iter().map(count).sum(),
        Value::Dict(entries) => entries.iter().map(|(_, value)| count(value)).sum(),
    }
}

/// The value of this number; 0 is the value itself. `number` is below [`count`].
fn nth(value: &mut Value, mut number: usize) -> &mut Value {
    if number == 0 {
        return value;
    }
    number -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Int(_) | Value::Bytes(_) => Vec::new(),
        Value::List(items) => items.iter_mut().collect(),
        Value::Dict(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
    };
    for child in children {
        match number.checked_sub(count(child)) {
            None => return nth(child, number),
            Some(left) => number = left,
        }
    }
    unreachable!("{number} values beyond the last")
}
