//! What only shows with a store in hand. What it finds is tested from outside, with both kinds.

use super::*;
use crate::directory::record::{Remarks, parse_tags};
use torrent_format::Metainfo;

fn open(dir: &tempfile::TempDir) -> (Address, Hold, Box<dyn Store>) {
    let address: Address = format!("sqlite:{}", dir.path().join("d.sqlite").display()).parse().unwrap();
    let hold = address.prepare().unwrap();
    let store = address.connect().unwrap();
    (address, hold, store)
}

fn insert(store: &mut dyn Store, name: &str, number: u8) -> Id {
    let torrent = format!(
        "d4:infod6:lengthi5e4:name{}:{name}12:piece lengthi16384e6:pieces20:{}ee",
        name.len(),
        char::from(b'a' + number).to_string().repeat(20)
    );
    let metainfo = Metainfo::from_bytes(torrent.as_bytes()).unwrap();
    let remarks = Remarks { tags: Some("one, two words".into()), ..Remarks::default() };
    let record = Record::new(&metainfo, &remarks, 7, Some("owner".into())).unwrap();
    store.begin().unwrap();
    let id = store.insert(&record, &record.indexed(&metainfo.info), torrent.as_bytes()).unwrap();
    store.commit().unwrap();
    id
}

fn found(store: &mut dyn Store, text: &str) -> Found {
    store.matching(&Text::parse(text).unwrap(), Scope::All, &[]).unwrap()
}

#[test]
fn what_is_inserted_is_found_read_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _hold, mut store) = open(&dir);
    let (a, b) = (insert(&mut *store, "alpha beta", 0), insert(&mut *store, "alpha", 1));
    assert_eq!(found(&mut *store, "alpha"), Found::These(vec![a, b]));
    assert_eq!(found(&mut *store, "-beta"), Found::AllBut(vec![a]));
    assert_eq!(found(&mut *store, ""), Found::All);
    let tags = parse_tags("two words").unwrap();
    assert_eq!(store.matching(&Text::default(), Scope::All, &tags).unwrap(), Found::These(vec![a, b]));
    let records = store.records(&[b, 99, a]).unwrap();
    assert_eq!(
        records.iter().map(|(id, record)| (*id, record.name.as_str())).collect::<Vec<_>>(),
        [(b, "alpha"), (a, "alpha beta")]
    );
    assert_eq!(
        (records[0].1.tags.clone(), records[0].1.owner.as_deref()),
        (parse_tags("one,two words").unwrap(), Some("owner"))
    );

    store.begin().unwrap();
    store.remove(a).unwrap();
    store.commit().unwrap();
    assert_eq!(found(&mut *store, "alpha"), Found::These(vec![b]));
    assert_eq!((store.upload(a).unwrap(), store.records(&[a]).unwrap()), (None, vec![]));
    assert!(insert(&mut *store, "alpha beta", 0) > b, "an id is never used again");
}

#[test]
fn what_is_rolled_back_was_never_there() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _hold, mut store) = open(&dir);
    insert(&mut *store, "kept", 0);
    store.begin().unwrap();
    store.remove(1).unwrap();
    store.rollback();
    let mut other = address.connect().unwrap();
    assert_eq!(found(&mut *other, "kept"), Found::These(vec![1]));
}

#[test]
fn hours_are_kept_replaced_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _hold, mut store) = open(&dir);
    let id = insert(&mut *store, "x", 0);
    let sample = |hour, seeders| Sample { hour, seeders, leechers: 1, completed: 2 };
    store.sample(&[(id, sample(10, 1)), (id, sample(11, 2)), (id, sample(12, 3))]).unwrap();
    store.sample(&[(id, sample(12, 4))]).unwrap();
    assert_eq!(store.history(id, 11).unwrap(), [sample(11, 2), sample(12, 4)]);
    assert!(!store.forget_samples(12).unwrap());
    assert_eq!(store.history(id, 0).unwrap(), [sample(12, 4)]);
}

#[test]
fn a_database_has_one_owner_and_is_not_older_than_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let (address, hold, store) = open(&dir);
    assert!(matches!(address.prepare(), Err(StoreError::InUse(_))));
    drop((hold, store));
    drop(address.prepare().unwrap());
    let connection = rusqlite::Connection::open(dir.path().join("d.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 1000).unwrap();
    assert!(matches!(address.prepare(), Err(StoreError::TooNew(_))));
}

#[test]
fn addresses_of_stores() {
    for (text, is_one) in [
        ("sqlite:/var/lib/d", true),
        ("sqlite:///var/lib/d", true),
        ("postgres://u:p@host:5432/db", true),
        ("postgresql://u@%2Frun/db", true),
        ("sqlite:", false),
        ("mysql://x", false),
        ("postgres://[", false),
        ("/var/lib/d", false),
    ] {
        assert_eq!(text.parse::<Address>().is_ok(), is_one, "{text}");
    }
    let address: Address = "sqlite:///var/lib/d".parse().unwrap();
    assert_eq!(address.to_string().parse(), Ok(address));
}
