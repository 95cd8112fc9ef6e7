//! The cases are those of the project's table of hostile input, by their ids (B…).

use serde_bencode::value::Value;

use super::*;
use crate::InfoHash;
use crate::metainfo::{Metainfo, MetainfoError};
use BencodeErrorKind as E;

const LENIENT: Limits = Limits::TORRENT;
const STRICT: Limits = Limits::TORRENT.strict();

const TORRENT: &[u8] = b"d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhee";

fn fault(bytes: &[u8], limits: &Limits) -> Option<(E, usize)> {
    scan(bytes, limits).err().map(|error| (error.kind, error.offset))
}

/// What a case of the table must give.
enum Outcome {
    /// Refused at this byte, strict or not.
    Refused(E, usize),
    /// Refused at this byte if strict, else read but known as not canonical.
    Lax(E, usize),
    /// Read as it stands.
    Read,
}

#[test]
fn every_case_of_the_table_has_its_outcome() {
    use Outcome::{Lax, Read, Refused};

    let million_digits = "9".repeat(1_000_000);
    let cases: &[(&str, &[u8], Outcome)] = &[
        ("B1", b"", Refused(E::Truncated, 0)),
        ("B2", b"i", Refused(E::Truncated, 1)),
        ("B3", b"i12", Refused(E::Truncated, 3)),
        ("B4", b"l", Refused(E::Truncated, 1)),
        ("B5", b"d", Refused(E::Truncated, 1)),
        ("B6", b"d1:a", Refused(E::Truncated, 4)),
        ("B7", b"5:abc", Refused(E::Truncated, 5)),
        ("B8", b"4", Refused(E::Truncated, 1)),
        // B9: every_strict_prefix_of_a_torrent_is_truncated_at_its_end
        ("B10", b"ie", Refused(E::UnexpectedByte, 1)),
        ("B11", b"i-e", Refused(E::UnexpectedByte, 2)),
        ("B12", b"i-0e", Refused(E::LeadingZero, 0)),
        ("B13", b"i03e", Lax(E::LeadingZero, 0)),
        ("B14", b"i-01e", Lax(E::LeadingZero, 0)),
        ("B15", b"i1-2e", Refused(E::UnexpectedByte, 2)),
        ("B16", b"i+1e", Refused(E::UnexpectedByte, 1)),
        ("B17", b"i 1e", Refused(E::UnexpectedByte, 1)),
        ("B18", b"i1.0e", Refused(E::UnexpectedByte, 2)),
        ("B19", b"i0x1e", Refused(E::UnexpectedByte, 2)),
        ("B20", b"i9223372036854775808e", Refused(E::Overflow, 0)),
        ("B21", b"i-9223372036854775809e", Refused(E::Overflow, 0)),
        ("B22", &[b"i", million_digits.as_bytes(), b"e"].concat(), Refused(E::Overflow, 0)),
        ("B22", &[b"i-", million_digits.as_bytes(), b"e"].concat(), Refused(E::Overflow, 0)),
        ("B22", &[b"i", "0".repeat(1_000_000).as_bytes(), b"e"].concat(), Lax(E::LeadingZero, 0)),
        ("B23", b"-1:", Refused(E::UnexpectedByte, 0)),
        ("B24", b"01:a", Refused(E::LeadingZero, 0)),
        ("B25", b"00:", Refused(E::LeadingZero, 0)),
        ("B26", b"99999999999999999999:", Refused(E::StringTooLong, 0)),
        ("B27", b"4294967296:", Refused(E::StringTooLong, 0)),
        ("B28", b"18446744073709551615:x", Refused(E::StringTooLong, 0)),
        ("B29", b"3abc", Refused(E::UnexpectedByte, 1)),
        ("B30", &[million_digits.as_bytes(), b":"].concat(), Refused(E::StringTooLong, 0)),
        ("B31", b"di1e1:ae", Refused(E::NonStringKey, 1)),
        ("B31", b"dle1:ae", Refused(E::NonStringKey, 1)),
        ("B32", b"d1:be", Refused(E::MissingValue, 4)),
        ("B32", b"d1:ai1e1:be", Refused(E::MissingValue, 10)),
        ("B33", b"d1:bi1e1:ai1ee", Lax(E::UnsortedKeys, 10)),
        ("B33", b"d2:aai1e1:ai1ee", Lax(E::UnsortedKeys, 11)),
        ("B33", b"ld1:bi1e1:ai1eee", Lax(E::UnsortedKeys, 11)),
        ("B34", b"d1:ai1e1:ai2ee", Refused(E::DuplicateKey, 10)),
        ("B34", b"d0:i1e0:i1ee", Refused(E::DuplicateKey, 8)),
        ("B35", b"d0:i1ee", Read),
        ("B35", b"d0:i1e1:ai1ee", Read),
        // B36–B40: depth_and_tokens_are_bounded_on_a_small_stack
        ("B41", b"i1e\n", Refused(E::TrailingBytes, 3)),
        ("B41", b"i1ei2e", Refused(E::TrailingBytes, 3)),
        ("B41", b"dee", Refused(E::TrailingBytes, 2)),
        ("B42", b"\ni1e", Refused(E::UnexpectedByte, 0)),
        ("B42", b"\xef\xbb\xbfi1e", Refused(E::UnexpectedByte, 0)),
        ("B43", b"3:\0a\0", Read),
        ("B43", b"d1:\0i1ee", Read),
        ("B44", b"3:\xff\xc0\xae", Read),
        ("B44", b"d1:\xffi1ee", Read),
        // The greatest that are good.
        ("", b"i9223372036854775807e", Read),
        ("", b"i-9223372036854775808e", Read),
        ("", b"i0e", Read),
        ("", b"0:", Read),
    ];
    for (id, input, expected) in cases {
        let shown = input[..input.len().min(30)].escape_ascii();
        let (strict, lenient) = match *expected {
            Refused(kind, offset) => (Some((kind, offset)), Some((kind, offset))),
            Lax(kind, offset) => (Some((kind, offset)), None),
            Read => (None, None),
        };
        assert_eq!(fault(input, &STRICT), strict, "{id} strict {shown}");
        assert_eq!(fault(input, &LENIENT), lenient, "{id} lenient {shown}");
        if let Ok(scanned) = scan(input, &LENIENT) {
            assert_eq!(scanned.is_canonical(), strict.is_none(), "{id} {shown}");
            assert_eq!(scanned.root().bytes(), *input, "{id} {shown}");
        }
    }
}

#[test]
fn only_white_space_may_follow_a_torrent() {
    // B41
    for (behind, good) in
        [(&b"\n"[..], true), (b" \t\r\n", true), (b"x", false), (b"\n0:", false), (b"\0", false)]
    {
        let read = Metainfo::from_bytes(&[TORRENT, behind].concat());
        let offset = TORRENT.len();
        let error = MetainfoError::Bencode(BencodeError { kind: E::TrailingBytes, offset });
        assert_eq!(read.err(), (!good).then_some(error), "{}", behind.escape_ascii());
    }
}

#[test]
fn every_strict_prefix_of_a_torrent_is_truncated_at_its_end() {
    // B9
    let mut rng = fastrand::Rng::with_seed(0x5eed_0b09);
    for _ in 0..20 {
        let torrent = random_torrent(&mut rng);
        for end in 0..torrent.len() {
            assert_eq!(fault(&torrent[..end], &STRICT), Some((E::Truncated, end)));
            let error = BencodeError { kind: E::Truncated, offset: end };
            assert_eq!(Metainfo::from_bytes(&torrent[..end]), Err(MetainfoError::Bencode(error)));
        }
        assert_eq!(fault(&torrent, &STRICT), None);
    }
}

#[test]
fn duplicate_keys_are_found_even_if_far_apart() {
    // B34
    assert_eq!(fault(b"d1:bi1e1:ai2e1:bi3ee", &LENIENT), Some((E::DuplicateKey, 16)));
    // The same key in two dictionaries is no duplicate, whatever the outer keys' order.
    assert_eq!(fault(b"d1:bd1:b1:xe1:ad1:b1:xee", &LENIENT), None);
}

#[test]
fn depth_and_tokens_are_bounded_on_a_small_stack() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    let alternating: Vec<u8> = b"ld0:".iter().copied().cycle().take(4_000_000).collect();
    let many = |count: usize| [&b"l"[..], &b"i1e".repeat(count), b"e"].concat();
    let (most, one_more) = (many(2_999_999), many(3_000_000));
    // As deep as they come: it is the depth that ends it, and not the length.
    let endless = Limits { length: u32::MAX, ..LENIENT };
    let test = move || {
        assert_eq!(fault(&vec![b'l'; 10_000_000], &endless), Some((E::Depth, 100)), "B36");
        assert_eq!(fault(&b"d0:".repeat(10_000_000), &endless), Some((E::Depth, 300)), "B37");
        assert_eq!(fault(&alternating, &endless), Some((E::Depth, 200)), "B38");
        assert_eq!(
            (fault(&nested(100), &LENIENT), fault(&nested(101), &LENIENT)),
            (None, Some((E::Depth, 100))),
            "B39"
        );
        assert_eq!(fault(&most, &LENIENT), None, "B40");
        assert_eq!(fault(&one_more, &LENIENT), Some((E::Tokens, 1 + 2_999_999 * 3)), "B40");
        let deepest = nested(100);
        walk(scan(&deepest, &LENIENT).unwrap().root());
    };
    std::thread::Builder::new().stack_size(64 * 1024).spawn(test).unwrap().join().unwrap();
}

#[test]
fn the_length_is_bounded() {
    let limits = Limits { length: 5, ..LENIENT };
    assert_eq!(fault(b"3:abc", &limits), None);
    assert_eq!(fault(b"4:abcd", &limits), Some((E::Length, 5)));
    // B45
    let cap = LENIENT.length as usize;
    let content = vec![b'x'; cap - format!("{cap}:").len()];
    let at_cap = [format!("{}:", content.len()).as_bytes(), &content].concat();
    assert_eq!((at_cap.len(), fault(&at_cap, &LENIENT)), (cap, None));
    let longer = [&at_cap[..], b"x"].concat();
    assert_eq!(fault(&longer, &LENIENT), Some((E::Length, cap)));
    assert_eq!(Metainfo::from_bytes(&longer), Err(MetainfoError::TooLong));
}

#[test]
fn any_byte_may_be_in_a_string() {
    // B43, B44
    let scanned = scan(b"l3:\0\xff\n0:e", &STRICT).unwrap();
    let items: Vec<_> =
        scanned.root().as_list().unwrap().iter().map(|item| item.as_bytes().unwrap()).collect();
    assert_eq!(items, [&b"\0\xff\n"[..], b""]);
}

#[test]
fn a_value_may_be_followed_by_raw_bytes_where_that_is_asked_for() {
    assert_eq!(prefix(b"d1:ai1eeRAW", &LENIENT), Ok(8));
    assert_eq!(prefix(b"4:abcdi1e", &LENIENT), Ok(6));
    assert_eq!(prefix(b"d1:a", &LENIENT), Err(BencodeError { kind: E::Truncated, offset: 4 }));
}

#[test]
fn values_are_found_and_typed() {
    let bytes = b"d1:ai-7e1:bl1:xd1:y1:zee1:c0:1:dd1:eleee";
    let dict = scan(bytes, &STRICT).unwrap().root().as_dict().unwrap();
    let keys: Vec<_> = dict.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"b", b"c", b"d"]);
    assert_eq!(dict.get("a").unwrap().as_int(), Some(-7));
    assert_eq!(dict.get("b").unwrap().bytes(), b"l1:xd1:y1:zee");
    assert_eq!(dict.get("c").unwrap().as_bytes(), Some(&b""[..]));
    assert_eq!(dict.get("d").unwrap().as_dict().unwrap().get("e").unwrap().kind(), Kind::List);
    assert_eq!(dict.get("e"), None);
    assert_eq!(dict.get("a").unwrap().decode::<i64>().unwrap(), -7);
    assert!(dict.get("a").unwrap().decode::<String>().is_err());
}

#[test]
fn random_values_survive_encoding() {
    // B48, B49
    let mut rng = fastrand::Rng::with_seed(0x5eed_0b49);
    for _ in 0..1_000_000 {
        let value = random_value(&mut rng, 0);
        let bytes = serde_bencode::to_bytes(&value).unwrap();
        let scanned = scan(&bytes, &STRICT).unwrap();
        assert!(scanned.is_canonical());
        let decoded: Value = scanned.root().decode().unwrap();
        assert_eq!(decoded, value);
        assert_eq!(serde_bencode::to_bytes(&decoded).unwrap(), bytes);
    }
}

#[test]
fn the_span_of_info_is_the_raw_bytes() {
    // B50: whatever stands around it, and however it is written itself.
    let mut rng = fastrand::Rng::with_seed(0x5eed_0b50);
    for _ in 0..1_000 {
        let torrent = random_torrent(&mut rng);
        let span = scan(&torrent, &LENIENT).unwrap().root().as_dict().unwrap().get("info").unwrap();
        let metainfo = Metainfo::from_bytes(&torrent).unwrap();
        assert_eq!(span.bytes(), metainfo.info.raw());
        assert_eq!(InfoHash::of_info(span.bytes()), metainfo.info.info_hash());
    }
    let odd = b"d6:pieces20:hhhhhhhhhhhhhhhhhhhh12:piece lengthi0016384e4:name1:a6:lengthi05ee";
    let torrent = [&b"d4:info"[..], odd, b"1:ai0ee"].concat();
    let metainfo = Metainfo::from_bytes(&torrent).unwrap();
    assert_eq!(metainfo.info.raw(), odd);
    assert_eq!(metainfo.to_bytes(), [&b"d1:ai0e4:info"[..], odd, b"e"].concat());
}

#[test]
fn random_bytes_and_mutations_never_panic_and_what_passes_can_be_walked() {
    let mut rng = fastrand::Rng::with_seed(0x5eed_0b50);
    for _ in 0..20_000 {
        let mut bytes = serde_bencode::to_bytes(&random_value(&mut rng, 0)).unwrap();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(0..bytes.len());
            bytes[at] = *rng.choice(b"ilde0123:-\0\xff").unwrap();
        }
        if let Ok(scanned) = scan_first(&bytes, &LENIENT) {
            walk(scanned.root());
        }
    }
}

fn walk(raw: Raw<'_>) {
    match raw.kind() {
        Kind::Integer => assert!(raw.as_int().is_some()),
        Kind::Bytes => assert!(raw.as_bytes().is_some()),
        Kind::List => raw.as_list().unwrap().iter().for_each(walk),
        Kind::Dict => raw.as_dict().unwrap().iter().for_each(|(_, value)| walk(value)),
    }
}

/// A canonical .torrent with unknown keys around and in its info.
fn random_torrent(rng: &mut fastrand::Rng) -> Vec<u8> {
    let key = |key: &str| key.as_bytes().to_vec();
    let length = rng.i64(1..1_000_000);
    let info = [
        (key("length"), Value::Int(length)),
        (key("name"), Value::Bytes(vec![b'n'; rng.usize(1..99)])),
        (key("piece length"), Value::Int(16_384)),
        (key("pieces"), Value::Bytes(vec![rng.u8(..); 20 * (length as usize).div_ceil(16_384)])),
        (key(rng.choice(["a", "o", "zz"]).unwrap()), random_value(rng, 0)),
    ];
    let torrent = [
        (key("info"), Value::Dict(info.into())),
        (key(rng.choice(["a", "inf", "info2", "zz"]).unwrap()), random_value(rng, 0)),
    ];
    serde_bencode::to_bytes(&Value::Dict(torrent.into())).unwrap()
}

fn random_value(rng: &mut fastrand::Rng, depth: u32) -> Value {
    let bytes = |rng: &mut fastrand::Rng| (0..rng.usize(0..12)).map(|_| rng.u8(..)).collect::<Vec<u8>>();
    match rng.u32(0..if depth < 5 { 4 } else { 2 }) {
        0 => Value::Int(rng.i64(..) >> rng.u32(0..64)),
        1 => Value::Bytes(bytes(rng)),
        2 => Value::List((0..rng.usize(0..4)).map(|_| random_value(rng, depth + 1)).collect()),
        _ => Value::Dict((0..rng.usize(0..4)).map(|_| (bytes(rng), random_value(rng, depth + 1))).collect()),
    }
}
