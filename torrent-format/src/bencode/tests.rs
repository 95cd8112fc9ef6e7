//! The cases are those of the project's table of hostile input, by their ids (B…).

use serde_bencode::value::Value;

use super::*;
use BencodeErrorKind as E;

const LENIENT: Limits = Limits::TORRENT;
const STRICT: Limits = Limits::TORRENT.strict();

fn fault(bytes: &[u8], limits: &Limits) -> Option<(E, usize)> {
    scan(bytes, limits).err().map(|error| (error.kind, error.offset))
}

#[test]
fn malformed_input_is_refused_at_its_byte() {
    let cases: &[(&str, &str, E, usize)] = &[
        ("B1", "", E::Truncated, 0),
        ("B2", "i", E::Truncated, 1),
        ("B3", "i12", E::Truncated, 3),
        ("B4", "l", E::Truncated, 1),
        ("B5", "d", E::Truncated, 1),
        ("B6", "d1:a", E::Truncated, 4),
        ("B7", "5:abc", E::Truncated, 5),
        ("B8", "4", E::Truncated, 1),
        ("B10", "ie", E::UnexpectedByte, 1),
        ("B11", "i-e", E::UnexpectedByte, 2),
        ("B12", "i-0e", E::LeadingZero, 0),
        ("B13", "i03e", E::LeadingZero, 0),
        ("B14", "i-01e", E::LeadingZero, 0),
        ("B15", "i1-2e", E::UnexpectedByte, 2),
        ("B16", "i+1e", E::UnexpectedByte, 1),
        ("B17", "i 1e", E::UnexpectedByte, 1),
        ("B18", "i1.0e", E::UnexpectedByte, 2),
        ("B19", "i0x1e", E::UnexpectedByte, 2),
        ("B20", "i9223372036854775808e", E::Overflow, 0),
        ("B21", "i-9223372036854775809e", E::Overflow, 0),
        ("B23", "-1:", E::UnexpectedByte, 0),
        ("B24", "01:a", E::LeadingZero, 0),
        ("B25", "00:", E::LeadingZero, 0),
        ("B26", "99999999999999999999:", E::StringTooLong, 0),
        ("B27", "4294967296:", E::StringTooLong, 0),
        ("B28", "18446744073709551615:x", E::StringTooLong, 0),
        ("B29", "3abc", E::UnexpectedByte, 1),
        ("B31", "di1e1:ae", E::NonStringKey, 1),
        ("B32", "d1:be", E::MissingValue, 4),
        ("B33", "d1:bi1e1:ai1ee", E::UnsortedKeys, 10),
        ("B34", "d1:ai1e1:ai2ee", E::DuplicateKey, 10),
        ("B41", "i1e\n", E::TrailingBytes, 3),
        ("B42", "\ni1e", E::UnexpectedByte, 0),
        ("B42", "\u{feff}i1e", E::UnexpectedByte, 0),
    ];
    for &(id, input, kind, offset) in cases {
        assert_eq!(fault(input.as_bytes(), &STRICT), Some((kind, offset)), "{id} strict {input:?}");
        let lenient = match id {
            "B13" | "B14" | "B33" => None,
            _ => Some((kind, offset)),
        };
        assert_eq!(fault(input.as_bytes(), &LENIENT), lenient, "{id} lenient {input:?}");
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
fn what_is_accepted_but_not_canonical_is_flagged() {
    for (input, canonical) in [
        ("i03e", false),
        ("i-01e", false),
        ("d1:bi1e1:ai1ee", false),
        ("ld1:bi1e1:ai1eee", false),
        ("d0:i1ee", true), // B35
        ("i0e", true),
        ("i-9223372036854775808e", true),
    ] {
        assert_eq!(scan(input.as_bytes(), &LENIENT).unwrap().is_canonical(), canonical, "{input}");
    }
}

#[test]
fn long_numbers_end_at_once() {
    // B22, B30
    assert_eq!(fault(format!("i{}e", "9".repeat(1_000_000)).as_bytes(), &LENIENT), Some((E::Overflow, 0)));
    assert_eq!(
        fault(format!("{}:", "9".repeat(1_000_000)).as_bytes(), &LENIENT),
        Some((E::StringTooLong, 0))
    );
}

#[test]
fn depth_and_tokens_are_bounded_on_a_small_stack() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    let alternating: Vec<u8> = b"ld0:".iter().copied().cycle().take(4_000_000).collect();
    let many = [&b"l"[..], &b"i1e".repeat(3_000_000), b"e"].concat();
    let test = move || {
        assert_eq!(fault(&[b'l'; 10_000_000], &LENIENT), Some((E::Depth, 100)), "B36");
        assert_eq!(fault(&b"d0:".repeat(3_000_000), &LENIENT), Some((E::Depth, 300)), "B37");
        assert_eq!(fault(&alternating, &LENIENT), Some((E::Depth, 200)), "B38");
        assert_eq!(
            (fault(&nested(100), &LENIENT), fault(&nested(101), &LENIENT)),
            (None, Some((E::Depth, 100))),
            "B39"
        );
        assert_eq!(fault(&many, &LENIENT), Some((E::Tokens, 9_000_001 - 3)), "B40");
    };
    std::thread::Builder::new().stack_size(64 * 1024).spawn(test).unwrap().join().unwrap();
}

#[test]
fn the_length_is_bounded() {
    let limits = Limits { length: 5, ..LENIENT };
    assert_eq!(fault(b"3:abc", &limits), None);
    assert_eq!(fault(b"4:abcd", &limits), Some((E::Length, 5)));
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
fn random_values_survive_encoding_and_every_prefix_is_refused() {
    // B9, B48, B49
    let mut rng = fastrand::Rng::with_seed(0x5eed_0b49);
    for round in 0..20_000 {
        let value = random_value(&mut rng, 0);
        let bytes = serde_bencode::to_bytes(&value).unwrap();
        let scanned = scan(&bytes, &STRICT).unwrap();
        assert!(scanned.is_canonical());
        assert_eq!(scanned.root().decode::<Value>().unwrap(), value);
        if round % 50 == 0 {
            for end in 0..bytes.len() {
                assert_eq!(fault(&bytes[..end], &STRICT), Some((E::Truncated, end)));
            }
        }
    }
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

fn random_value(rng: &mut fastrand::Rng, depth: u32) -> Value {
    let bytes = |rng: &mut fastrand::Rng| (0..rng.usize(0..12)).map(|_| rng.u8(..)).collect::<Vec<u8>>();
    match rng.u32(0..if depth < 5 { 4 } else { 2 }) {
        0 => Value::Int(rng.i64(..) >> rng.u32(0..64)),
        1 => Value::Bytes(bytes(rng)),
        2 => Value::List((0..rng.usize(0..4)).map(|_| random_value(rng, depth + 1)).collect()),
        _ => Value::Dict((0..rng.usize(0..4)).map(|_| (bytes(rng), random_value(rng, depth + 1))).collect()),
    }
}
