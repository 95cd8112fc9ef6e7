use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::bencode::{self, Limits};
use crate::metainfo::Version;
use crate::verify::verify;

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

fn with_walk(root: &Path, walk: Walk) -> Plan {
    Builder { walk, ..Builder::new(root) }.plan().unwrap()
}

#[test]
fn the_piece_length_makes_about_one_to_two_thousand_pieces() {
    const KIB: u64 = 1 << 10;
    const GIB: u64 = 1 << 30;
    for (total, expected) in [
        (0, 16 * KIB),
        (1, 16 * KIB),
        (2048 * 16 * KIB, 16 * KIB),
        (2048 * 16 * KIB + 1, 32 * KIB),
        (GIB, 512 * KIB),
        (GIB + 1, 1024 * KIB),
        (32 * GIB, 16 * 1024 * KIB),
        (u64::MAX, 16 * 1024 * KIB),
    ] {
        assert_eq!(u64::from(auto_piece_length(total)), expected, "{total}");
    }
}

#[test]
fn a_single_file_is_written_out_in_full() {
    let (_dir, root) = tree(&[("f", b"hello")]);
    let builder = Builder {
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
fn a_directory_has_files_in_bytewise_order_of_the_whole_path() {
    let files: Vec<_> =
        ["a.txt", "a/b", "a-b/c", "a0", "A/z", "ä", "a/é", "b", "B"].map(|path| (path, &b"x"[..])).into();
    let (_dir, root) = tree(&files);
    let expected = ["t/A/z", "t/B", "t/a-b/c", "t/a.txt", "t/a/b", "t/a/é", "t/a0", "t/b", "t/ä"];
    let plan = Builder::new(&root).plan().unwrap();
    assert_eq!(paths(&plan), expected);
    let info = plan.hash(&|_| {}).unwrap().metainfo.info;
    assert_eq!(info.files().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), expected);
    assert!(bencode::scan(info.raw(), &Limits::TORRENT.strict()).is_ok());

    let (_dir, root) = tree(&[("only", b"x")]);
    assert!(!Builder::new(&root).build(&|_| {}).unwrap().metainfo.info.is_single_file());
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

#[cfg(unix)]
#[test]
fn links_are_skipped_or_followed_and_special_files_skipped() {
    let (dir, root) = tree(&[("f", b"x"), ("d/g", b"x")]);
    std::fs::write(dir.path().join("outside"), "y").unwrap();
    std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
    std::os::unix::fs::symlink("d", root.join("dirlink")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let plan = with_walk(&root, Walk::default());
    assert_eq!(paths(&plan), ["t/d/g", "t/f"]);
    let skipped: Vec<_> =
        plan.skipped().iter().map(|skipped| (skipped.path.to_str().unwrap(), skipped.reason)).collect();
    use SkipReason::{Special, Symlink};
    assert_eq!(skipped, [("dirlink", Symlink), ("link", Symlink), ("socket", Special)]);

    let follow = Walk { symlinks: Symlinks::Follow, ..Walk::default() };
    assert_eq!(paths(&with_walk(&root, follow.clone())), ["t/d/g", "t/dirlink/g", "t/f", "t/link"]);
    std::os::unix::fs::symlink("..", root.join("d/loop")).unwrap();
    let looped = Builder { walk: follow, ..Builder::new(&root) }.plan();
    assert!(matches!(looped, Err(CreateError::Io { path, .. }) if path.ends_with("loop")));
    // What is named on the command line is meant, link or not.
    assert_eq!(paths(&Builder::new(root.join("link")).plan().unwrap()), ["link"]);
    assert!(matches!(Builder::new(root.join("socket")).plan(), Err(CreateError::NotAFile { .. })));
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
    let none = Builder { piece_length: PieceLength::Exactly(0), ..base() };
    assert_eq!(told(none), "piece length 0 is not between 1 and 134217728");
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
fn lints_are_known_before_hashing() {
    let (_dir, root) = tree(&[("CON", b"x")]);
    let builder = Builder { private: true, piece_length: PieceLength::Exactly(1_000), ..Builder::new(&root) };
    let plan = builder.plan().unwrap();
    let names = plan.lints();
    assert_eq!(lint::lint(&plan.hash(&|_| {}).unwrap().metainfo), names);
    let names: Vec<_> = names.iter().map(Lint::name).collect();
    assert_eq!(
        names,
        ["private-trackerless", "uneven-piece-length", "small-piece-length", "non-portable-name"]
    );
}

#[test]
fn random_trees_are_created_read_and_verified_alike_on_any_number_of_threads() {
    let mut rng = fastrand::Rng::with_seed(0xc4ea7e);
    for _ in 0..15 {
        let mut files = BTreeMap::from([("x".to_owned(), vec![1])]);
        for i in 0..rng.usize(1..30) {
            let most = *rng.choice(&[1, 100, 70_000, 400_000]).unwrap();
            let mut content = vec![0; rng.usize(0..most)];
            rng.fill(&mut content);
            let dir = rng.choice(["d", "d/e", "-", "ü"]).unwrap();
            let prefix = rng.choice(["", "f.", "g "]).unwrap();
            files.insert(format!("{dir}/{prefix}{i}"), content);
        }
        let listed: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
        let (dir, root) = tree(&listed);
        let piece_length = PieceLength::Exactly(rng.u32(1..100_000).max(200));
        let made = [1, 4].map(|threads| {
            let seen = AtomicU64::new(0);
            let builder = Builder { threads, piece_length, ..Builder::new(&root) };
            let created = builder
                .build(&|done| {
                    seen.fetch_max(done, Ordering::Relaxed);
                })
                .unwrap();
            assert_eq!(seen.into_inner(), created.metainfo.info.layout().total());
            created
        });
        assert_eq!(made[0].bytes, made[1].bytes);
        let read = Metainfo::from_bytes(&made[0].bytes).unwrap();
        assert_eq!(read, made[0].metainfo);
        assert!(read.warnings.is_empty());
        assert!(verify(&read.info, dir.path(), 2, &|_| {}).is_ok());
    }
}

#[test]
fn info_hashes_agree_with_mktorrent() {
    if Command::new("mktorrent").arg("-h").output().is_err() {
        assert!(
            std::env::var_os("SPRAT_REQUIRE_PEERS").is_none_or(|value| value != "1"),
            "mktorrent is not installed"
        );
        eprintln!("skipped: mktorrent is not installed");
        return;
    }
    let mut rng = fastrand::Rng::with_seed(0x3c7);
    let mut noise = |length: usize| {
        let mut content = vec![0; length];
        rng.fill(&mut content);
        content
    };
    let contents: Vec<_> =
        [0, 1, 100, 32_768, 1 << 20, 70_001, 5, 0, 3, 9_000_000, 17, 18].map(&mut noise).into();
    let names = ["a.txt", "a/b", "a-b/c", "a0", "A/z", "ä/ö", "a/é", "b", "B", "z/y/x/w", "sp ace", "~"];
    let files: Vec<_> = names.iter().zip(&contents).map(|(&name, content)| (name, &content[..])).collect();
    let (dir, root) = tree(&files);
    for (path, exponent, private, source) in [
        (root.clone(), 15, false, None),
        (root.clone(), 18, true, Some("S")),
        (root.join("z"), 16, false, None),
        (root.join("z/y/x/w"), 15, false, None),
        (root.join("a0"), 20, false, None),
    ] {
        let output = dir.path().join("theirs.torrent");
        let mut command = Command::new("mktorrent");
        command.args(["-a", "http://t.example/", "-l", &exponent.to_string(), "-o"]).arg(&output);
        command.args(private.then_some("-p")).args(source.map(|source| format!("-s{source}")));
        let ran = command.arg(&path).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let theirs = Metainfo::from_bytes(&std::fs::read(&output).unwrap()).unwrap();
        std::fs::remove_file(&output).unwrap();

        let builder = Builder {
            piece_length: PieceLength::Exactly(1 << exponent),
            private,
            source: source.map(str::to_owned),
            ..Builder::new(&path)
        };
        let ours = builder.build(&|_| {}).unwrap().metainfo;
        assert_eq!(ours.info.info_hash(), theirs.info.info_hash(), "{} 2^{exponent}", path.display());
        assert_eq!(theirs.trackers, [["http://t.example/"]]);
        assert!(verify(&theirs.info, path.parent().unwrap(), 0, &|_| {}).is_ok());
    }
}

#[test]
fn a_link_to_nothing_is_skipped_and_reported_also_when_links_are_followed() {
    let (_dir, root) = tree(&[("f", b"x")]);
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    let plan = with_walk(&root, Walk { symlinks: Symlinks::Follow, ..Walk::default() });
    assert_eq!(paths(&plan), ["t/f"]);
    let expected = [Skipped { path: "dangling".into(), reason: SkipReason::Symlink }];
    assert_eq!(plan.skipped(), expected);
}
