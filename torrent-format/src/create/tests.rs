use std::path::Path;

use super::*;
use crate::bencode::{self, Limits};
use crate::lint::Lint;
use crate::metainfo::{File, MAX_INFO_LENGTH, MetainfoError};
use crate::verify::verify;

mod agree;
#[cfg(unix)]
mod links;
mod random;

/// A directory `t` of these files.
fn tree(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("t");
    std::fs::create_dir(&root).unwrap();
    for (path, content) in files {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), content).unwrap();
    }
    (dir, root)
}

fn paths(plan: &Plan) -> Vec<&str> {
    plan.files().iter().map(|file| file.path.as_str()).collect()
}

const FORMATS: [Format; 3] = [Format::V1, Format::V2, Format::Hybrid];

fn with_walk(root: &Path, walk: Walk) -> Plan {
    Builder { walk, ..Builder::new(root) }.plan().unwrap()
}

#[test]
fn a_single_file_is_written_out_in_full() {
    let (_dir, root) = tree(&[("f", b"hello")]);
    let builder = Builder {
        format: Format::V1,
        piece_length: PieceLength::Exactly(16_384),
        trackers: vec![vec!["http://a.example/".to_owned(), "http://b.example/".to_owned()], vec![]],
        web_seeds: vec!["http://w.example/".to_owned()],
        nodes: vec![("n.example".to_owned(), 6881)],
        private: true,
        source: Some("S".to_owned()),
        comment: Some("c".to_owned()),
        name: Some("n".to_owned()),
        created_by: Some("sprat".to_owned()),
        creation_date: Some(7),
        ..Builder::new(root.join("f"))
    };
    let created = builder.build(&|_| {}).unwrap();
    let expected = b"d8:announce17:http://a.example/13:announce-listll17:http://a.example/17:http://b.example/ee7:comment1:c\
        10:created by5:sprat13:creation datei7e4:infod6:lengthi5e4:name1:n12:piece lengthi16384e\
        6:pieces20:\xaa\xf4\xc6\x1d\xdc\xc5\xe8\xa2\xda\xbe\xde\x0f\x3b\x48\x2c\xd9\xae\xa9\x43\x4d\
        7:privatei1e6:source1:Se5:nodesll9:n.examplei6881eee8:url-listl17:http://w.example/ee";
    assert_eq!(created.bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(Metainfo::from_bytes(&created.bytes).unwrap(), created.metainfo);
    assert!(created.metainfo.info.is_single_file() && created.metainfo.info.version() == Version::V1);
}

#[test]
fn a_directory_has_files_in_bytewise_order_of_the_whole_path_or_of_every_name() {
    let files: Vec<_> =
        ["a.txt", "a/b", "a-b/c", "a0", "A/z", "ä", "a/é", "b", "B"].map(|path| (path, &b"x"[..])).into();
    let (_dir, root) = tree(&files);
    let whole = ["t/A/z", "t/B", "t/a-b/c", "t/a.txt", "t/a/b", "t/a/é", "t/a0", "t/b", "t/ä"];
    let names = ["t/A/z", "t/B", "t/a/b", "t/a/é", "t/a-b/c", "t/a.txt", "t/a0", "t/b", "t/ä"];
    for (format, expected) in [(Format::V1, whole), (Format::V2, names), (Format::Hybrid, names)] {
        let plan = Builder { format, ..Builder::new(&root) }.plan().unwrap();
        assert_eq!(paths(&plan), expected);
        let info = plan.hash(&|_| {}).unwrap().metainfo.info;
        let files = info.files().iter().filter(|file: &&File| !file.pad);
        assert_eq!(files.map(|file| file.path.as_str()).collect::<Vec<_>>(), expected, "{format}");
        assert!(bencode::scan(info.raw(), &Limits::TORRENT.strict()).is_ok());
    }

    let (_dir, root) = tree(&[("only", b"x")]);
    for format in FORMATS {
        let info = Builder { format, ..Builder::new(&root) }.build(&|_| {}).unwrap().metainfo.info;
        assert!(!info.is_single_file() && info.files().len() == 1, "{format}");
    }
}

#[test]
fn the_name_is_that_of_the_directory_however_it_is_written() {
    let (_dir, root) = tree(&[("a/f", b"x")]);
    for path in [root.clone(), root.join(""), root.join("."), root.join("a/..")] {
        assert_eq!(Builder::new(path).plan().unwrap().name(), "t");
    }
}

#[test]
fn hidden_files_and_junk_are_left_out_and_reported_unless_asked_for() {
    let files: Vec<_> = [".hidden", ".dir/x", "Thumbs.db", "a/desktop.INI", ".DS_Store", "a/f"]
        .map(|path| (path, &b"x"[..]))
        .into();
    let (_dir, root) = tree(&files);
    let plan = with_walk(&root, Walk::default());
    assert_eq!(paths(&plan), ["t/a/f"]);
    let skipped: Vec<_> =
        plan.skipped().iter().map(|skipped| (skipped.path.to_str().unwrap(), skipped.reason)).collect();
    use SkipReason::{Hidden, Junk};
    let expected = [
        (".DS_Store", Junk),
        (".dir", Hidden),
        (".hidden", Hidden),
        ("Thumbs.db", Junk),
        ("a/desktop.INI", Junk),
    ];
    assert_eq!(skipped, expected);
    assert_eq!(
        paths(&with_walk(&root, Walk { hidden: true, ..Walk::default() })),
        ["t/.dir/x", "t/.hidden", "t/a/f"]
    );
    let all = with_walk(&root, Walk { hidden: true, junk: true, ..Walk::default() });
    assert_eq!((all.files().len(), all.skipped()), (6, &[][..]));
    assert_eq!(
        paths(&with_walk(&root, Walk { junk: true, ..Walk::default() })),
        ["t/.DS_Store", "t/Thumbs.db", "t/a/desktop.INI", "t/a/f"]
    );
}

#[test]
fn patterns_include_and_exclude_files_and_directories() {
    let files: Vec<_> =
        ["a.txt", "a.bin", "d/b.txt", "d/e/c.txt", "d/e/c.bin", "x/e/f"].map(|path| (path, &b"x"[..])).into();
    let (_dir, root) = tree(&files);
    let chosen = |include: &[&str], exclude: &[&str]| {
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let plan =
            with_walk(&root, Walk { include: owned(include), exclude: owned(exclude), ..Walk::default() });
        paths(&plan).iter().map(|path| path[2..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&["*.txt"], &[]), ["a.txt", "d/b.txt", "d/e/c.txt"]);
    assert_eq!(chosen(&["d/*"], &["*.bin"]), ["d/b.txt", "d/e/c.txt"]);
    assert_eq!(chosen(&["./d/"], &["e"]), ["d/b.txt"]);
    assert_eq!(chosen(&["e"], &[]), ["d/e/c.bin", "d/e/c.txt", "x/e/f"]);
    assert_eq!(chosen(&[], &["d/e", "*.{bin,txt}"]), ["x/e/f"]);

    let error =
        Builder { walk: Walk { exclude: vec!["[".to_owned()], ..Walk::default() }, ..Builder::new(&root) };
    assert!(error.plan().unwrap_err().to_string().starts_with("bad pattern `[`: "));
    let none = Builder {
        walk: Walk { include: vec!["*.nothing".to_owned()], ..Walk::default() },
        ..Builder::new(&root)
    };
    assert!(matches!(none.plan(), Err(CreateError::NoFiles { path }) if path == root));
}

#[test]
fn gitignore_is_heeded_only_if_asked_for() {
    let files: Vec<(&str, &[u8])> = vec![
        (".gitignore", b"*.o\n/target\n"),
        ("a.c", b"x"),
        ("a.o", b"x"),
        ("target/x", b"x"),
        ("d/.gitignore", b"y\n"),
        ("d/y", b"x"),
    ];
    let (_dir, root) = tree(&files);
    assert_eq!(paths(&with_walk(&root, Walk::default())), ["t/a.c", "t/a.o", "t/d/y", "t/target/x"]);
    assert_eq!(paths(&with_walk(&root, Walk { gitignore: true, ..Walk::default() })), ["t/a.c"]);
}

#[test]
fn what_can_not_be_made_is_refused_by_name() {
    let (_dir, root) = tree(&[("empty", b""), ("f", b"x")]);
    let told =
        |builder: Builder| builder.plan().unwrap_err().to_string().replace(root.to_str().unwrap(), "T");
    let base = || Builder::new(&root);
    assert_eq!(
        told(Builder::new(root.join("no"))),
        "can't read T/no: No such file or directory (os error 2)"
    );
    assert_eq!(told(Builder::new(root.join("empty"))), "T/empty is empty: there is nothing to share");
    let url = |url: &str| vec![url.to_owned()];
    assert_eq!(
        told(Builder { trackers: vec![url("ftp://x/")], ..base() }),
        "`ftp://x/` is of a kind that is not supported"
    );
    assert_eq!(
        told(Builder { web_seeds: url("udp://x/"), ..base() }),
        "`udp://x/` is of a kind that is not supported"
    );
    assert_eq!(
        told(Builder { nodes: vec![("x".to_owned(), 0)], ..base() }),
        "`x:0` is no DHT node: it takes a host and a port"
    );
    assert_eq!(
        told(Builder { name: Some("../x".to_owned()), ..base() }),
        "the name of T can't go into a torrent: the path `../x` leads out of the download directory"
    );
    let exactly = |format, length| Builder { format, piece_length: PieceLength::Exactly(length), ..base() };
    assert_eq!(told(exactly(Format::V1, 0)), "piece length 0 is not between 1 and 134217728");
    assert_eq!(
        told(exactly(Format::Hybrid, 1_000_000)),
        "a hybrid torrent can't have pieces of 1000000 bytes: only of a power of two between 16384 and 134217728"
    );
    std::fs::write(root.join("a\nb"), "x").unwrap();
    assert_eq!(told(base()), "the name of T/a\nb can't go into a torrent: it would be saved as `t/a_b`");
    std::fs::remove_file(root.join("a\nb")).unwrap();
    std::fs::remove_file(root.join("f")).unwrap();
    assert_eq!(told(base()), "T is empty: there is nothing to share");
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let (_dir, root) = tree(&[("f", b"x")]);
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"latin \xe4")), "x").unwrap();
    let error = Builder::new(&root).plan().unwrap_err().to_string();
    assert!(error.ends_with("can't go into a torrent: it is not UTF-8"), "{error}");
}

#[test]
fn a_file_that_changes_meanwhile_is_named() {
    let (_dir, root) = tree(&[("a", &[1; 40_000]), ("b", &[2; 40_000])]);
    let changed = |change: &dyn Fn()| {
        let plan = Builder::new(&root).plan().unwrap();
        change();
        match plan.hash(&|_| {}).unwrap_err() {
            CreateError::Changed { path } => path,
            error => panic!("{error}"),
        }
    };
    assert_eq!(changed(&|| std::fs::write(root.join("b"), [2; 39_999]).unwrap()), root.join("b"));
    assert_eq!(changed(&|| std::fs::write(root.join("a"), [1; 40_001]).unwrap()), root.join("a"));
    let plan = Builder::new(&root).plan().unwrap();
    std::fs::remove_file(root.join("b")).unwrap();
    assert!(matches!(plan.hash(&|_| {}), Err(CreateError::Io { path, .. }) if path == root.join("b")));
}

#[test]
fn a_plan_tells_what_the_torrent_will_be() {
    let (_dir, root) = tree(&[("a", b"x"), ("b", &[1; 40_000]), ("c", b"")]);
    for (format, pieces, padding) in
        [(Format::V1, 3, 0), (Format::V2, 4, 0), (Format::Hybrid, 4, 16_383 + 3 * 16_384 - 40_000)]
    {
        let plan = Builder { format, ..Builder::new(&root) }.plan().unwrap();
        assert_eq!((plan.format(), plan.files().len(), plan.total()), (format, 3, 40_001));
        assert_eq!((plan.layout().piece_length(), plan.layout().piece_count()), (16_384, pieces), "{format}");
        assert_eq!(plan.padding(), padding, "{format}");
    }
}

#[test]
fn what_would_be_too_long_to_be_read_again_is_refused_before_it_is_hashed() {
    let (_dir, root) = tree(&[("holes", b"")]);
    let path = root.join("holes");
    let most = u64::from(MAX_INFO_LENGTH) / 20;
    for format in FORMATS {
        let fits = |pieces: u64| {
            std::fs::File::create(&path).unwrap().set_len(pieces * 16_384).unwrap();
            let piece_length = PieceLength::Exactly(16_384);
            match (Builder { format, piece_length, ..Builder::new(&path) }).plan() {
                Ok(_) => true,
                Err(CreateError::Unreadable(MetainfoError::TooLong)) => false,
                Err(error) => panic!("{error}"),
            }
        };
        // The piece layers of v2 are outside the info, and bounded by the number of pieces.
        assert!(fits(most - 20) && fits(most + 1) == (format == Format::V2), "{format}");
    }
}

#[test]
fn a_file_that_is_called_like_padding_is_a_file_all_the_same() {
    // M67
    let (dir, root) = tree(&[("a", b"x"), (".pad/16383", b"y")]);
    let walk = Walk { hidden: true, ..Walk::default() };
    let info = Builder { walk, ..Builder::new(&root) }.build(&|_| {}).unwrap().metainfo.info;
    let files: Vec<_> = info.files().iter().map(|file| (file.path.as_str(), file.pad)).collect();
    let pad = ("t/.pad/16383", true);
    assert_eq!(files, [("t/.pad/16383", false), pad, ("t/a", false), pad]);
    assert!(verify(&info, dir.path(), 1, &|_| {}).is_ok());
}

#[test]
fn a_hybrid_lints_padding_and_files_that_are_called_like_it() {
    let (_dir, root) = tree(&[("a", b"x"), (".pad/16383", b"x"), ("holes", b"")]);
    let length = 100 << 20;
    std::fs::File::create(root.join("holes")).unwrap().set_len(length + 1).unwrap();
    let lints = |format, piece_length| {
        let walk = Walk { hidden: true, ..Walk::default() };
        let piece_length = PieceLength::Exactly(piece_length);
        Builder { format, piece_length, walk, ..Builder::new(&root) }.plan().unwrap().lints()
    };
    assert_eq!(lints(Format::Hybrid, 16_384), [Lint::PadName { path: "t/.pad/16383".to_owned(), more: 0 }]);
    let padding = 2 * ((64 << 20) - 1) + (28 << 20) - 1;
    assert_eq!(lints(Format::Hybrid, 64 << 20), [Lint::MuchPadding { padding, total: length + 3 }]);
    for format in [Format::V1, Format::V2] {
        assert_eq!(lints(format, 64 << 20), []);
    }
}

#[test]
fn lints_are_known_before_hashing() {
    let (_dir, root) = tree(&[("CON", b"x")]);
    let builder = Builder {
        format: Format::V1,
        private: true,
        piece_length: PieceLength::Exactly(1_000),
        ..Builder::new(&root)
    };
    let plan = builder.plan().unwrap();
    let names = plan.lints();
    assert_eq!(crate::lint::lint(&plan.hash(&|_| {}).unwrap().metainfo), names);
    let names: Vec<_> = names.iter().map(Lint::name).collect();
    assert_eq!(
        names,
        ["private-trackerless", "uneven-piece-length", "small-piece-length", "non-portable-name"]
    );
}
