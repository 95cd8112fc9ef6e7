//! Bencode: what passes a scan can be walked, decoded and written again.

use serde_bencode::value::Value;
use torrent_format::bencode::{BencodeErrorKind, Kind, Limits, Raw, Scan, decode, prefix, scan, scan_first};

use super::within_memory;

pub(super) fn check(input: &[u8]) -> bool {
    let lenient = within_memory(input.len(), || scan(input, &Limits::TORRENT));
    let strict = scan(input, &Limits::TORRENT.strict());
    match (&lenient, &strict) {
        (Ok(lenient), Ok(strict)) => {
            assert!(lenient.is_canonical() && strict.is_canonical());
            assert_eq!(lenient.root(), strict.root());
        }
        (Ok(lenient), Err(_)) => assert!(!lenient.is_canonical()),
        (Err(error), _) => assert!(strict.is_err(), "strict takes what is refused otherwise: {error}"),
    }
    for error in [lenient.as_ref().err(), strict.as_ref().err()].into_iter().flatten() {
        assert!(error.offset <= input.len(), "{error}");
        assert!(error.kind != BencodeErrorKind::Truncated || error.offset == input.len(), "{error}");
    }

    let first = scan_first(input, &Limits::TORRENT);
    assert_eq!(prefix(input, &Limits::TORRENT), first.map(|first| first.root().bytes().len()));
    if let Ok(first) = first {
        let bytes = first.root().bytes();
        assert!(input.starts_with(bytes));
        let alone = scan(bytes, &Limits::TORRENT).expect("the first value alone is one");
        assert_eq!(alone.root(), first.root());
        check_value(&first);
        let cut = &bytes[..bytes.len() - 1];
        let error = scan(cut, &Limits::TORRENT).expect_err("a value lacks its end");
        assert_eq!((error.kind, error.offset), (BencodeErrorKind::Truncated, cut.len()));
    }
    // Messages are bounded more tightly, never otherwise.
    if scan(input, &Limits::message(1 << 16)).is_ok() {
        assert!(lenient.is_ok() && input.len() <= 1 << 16);
    }
    lenient.is_ok()
}

fn check_value(scanned: &Scan<'_>) {
    walk(scanned.root());
    let bytes = scanned.root().bytes();
    let value: Value = decode(bytes, &Limits::TORRENT).expect("what is scanned can be decoded");
    let again = serde_bencode::to_bytes(&value).expect("what is decoded can be encoded");
    assert_eq!(again == bytes, scanned.is_canonical(), "canonical is what is written again the same");
    if !scanned.is_canonical() {
        let scanned = scan(&again, &Limits::TORRENT.strict()).expect("what is encoded is canonical");
        assert_eq!(scanned.root().decode::<Value>().expect("and can be decoded"), value);
    }
}

/// Every part of a value is found within it, and of its type.
fn walk(raw: Raw<'_>) {
    assert_eq!(scan(raw.bytes(), &Limits::TORRENT).expect("a part is a value").root(), raw);
    let (int, bytes, list, dict) = (raw.as_int(), raw.as_bytes(), raw.as_list(), raw.as_dict());
    match raw.kind() {
        Kind::Integer => assert!(int.is_some() && bytes.is_none() && list.is_none() && dict.is_none()),
        Kind::Bytes => assert!(int.is_none() && bytes.is_some() && list.is_none() && dict.is_none()),
        Kind::List => {
            assert!(int.is_none() && bytes.is_none() && dict.is_none());
            list.expect("a list").iter().for_each(walk);
        }
        Kind::Dict => {
            assert!(int.is_none() && bytes.is_none() && list.is_none());
            dict.expect("a dictionary").iter().for_each(|(_, value)| walk(value));
        }
    }
}
