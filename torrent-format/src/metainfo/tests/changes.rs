//! [`Info::edited`]

use super::*;

const HYBRID: &[u8] = include_bytes!("libtorrent-hybrid.torrent");

fn name(name: &str) -> InfoChanges {
    InfoChanges { name: Some(name.to_owned()), ..InfoChanges::default() }
}

#[test]
fn nothing_else_changes() {
    // Unsorted, with a padded number, and keys that nobody knows.
    let raw = "d4:name1:f6:lengthi5e3:zooi007e12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh1:ali1eee";
    let info = Info::from_bytes(raw.as_bytes()).unwrap();
    let edited =
        |changes: InfoChanges| String::from_utf8(info.edited(&changes).unwrap().raw().to_vec()).unwrap();
    assert_eq!(edited(InfoChanges::default()), raw);
    assert_eq!(edited(name("né")), raw.replace("1:f", "3:né"));
    let private = |private| InfoChanges { private: Some(private), ..InfoChanges::default() };
    assert_eq!(edited(private(true)), raw.replace("3:zoo", "7:privatei1e3:zoo"));
    assert_eq!(edited(private(false)), raw);
    let source = |source: Option<&str>| InfoChanges {
        source: Some(source.map(str::to_owned)),
        ..InfoChanges::default()
    };
    assert_eq!(edited(source(Some("S"))), raw.replace("3:zoo", "6:source1:S3:zoo"));
    assert_eq!(edited(source(None)), raw);

    let both = single().with("private", "i1e").with("source", "1:S").info().unwrap();
    assert_eq!(both.edited(&private(false)).unwrap().raw(), single().with("source", "1:S").bytes());
    assert_eq!(both.edited(&source(None)).unwrap().raw(), single().with("private", "i1e").bytes());
    assert_eq!(both.edited(&source(Some("T"))).unwrap().source(), Some("T"));
    let all = InfoChanges { name: Some("g".to_owned()), private: Some(false), source: Some(None) };
    assert_eq!(both.edited(&all).unwrap().raw(), single().with("name", "1:g").bytes());
}

#[test]
fn what_can_not_be_a_name_is_refused() {
    let info = single().info().unwrap();
    assert_eq!(info.edited(&name("")), Err(bad_value("name", "is empty")));
    let escapes = PathError::Escapes("a/b".to_owned());
    assert_eq!(info.edited(&name("a/b")), Err(MetainfoError::Path { file: 1, error: escapes }));
}

#[test]
fn a_name_in_another_encoding_changes_too() {
    let info = single().with("name.utf-8", "2:ö").info().unwrap();
    let expected = single().with("name", "1:g").with("name.utf-8", "1:g");
    assert_eq!(info.edited(&name("g")).unwrap().raw(), expected.bytes());
}

#[test]
fn the_layers_of_a_hybrid_stay() {
    let metainfo = Metainfo::from_bytes(HYBRID).unwrap();
    let edited = metainfo.info.edited(&name("other")).unwrap();
    assert_ne!(edited.hashes(), metainfo.info.hashes());
    assert_eq!((edited.name(), edited.missing_layers().count()), ("other", 0));
    assert_eq!(edited.layer(6), metainfo.info.layer(6));
    let back = edited.edited(&name("t")).unwrap();
    assert_eq!(Metainfo { info: back, ..metainfo }.to_bytes(), HYBRID);
}

#[test]
fn a_single_file_is_renamed_in_the_tree_as_well() {
    let one =
        |name: &str| v2().with("name", string(name)).with("file tree", tree(&[(name, leaf(5, 'r'))]).bytes());
    let hybrid = |name: &str| one(name).with("length", "i5e").with("pieces", hashes(1));
    for of in [&one as &dyn Fn(&str) -> Dict, &hybrid] {
        let info = of("f").info().unwrap();
        assert!(info.is_single_file());
        let edited = info.edited(&name("g")).unwrap();
        assert_eq!(edited.raw(), of("g").bytes());
        assert_eq!(edited.files()[0].path.as_str(), "g");
    }
    // A directory that holds one file can't be named like it: a tree of v2 has no other way to say "single file".
    let directory = one("f").with("name", "1:d").info().unwrap();
    assert_eq!((directory.is_single_file(), directory.files()[0].path.as_str()), (false, "d/f"));
    let problem = "is that of its only file, which would make it a single file";
    assert_eq!(directory.edited(&name("f")), Err(bad_value("name", problem)));
}
