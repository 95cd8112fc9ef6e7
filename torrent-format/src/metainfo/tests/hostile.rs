//! Section 2.2 of the table of hostile input, M1–M105: what is refused, and with which words; what is read, and as what.

use std::collections::BTreeSet;

use super::*;
use crate::merkle::Hash;

/// Cases whose outcome shows only where there is a disk, a swarm or a session, with the place of their tests.
const ELSEWHERE: &[(u32, &str)] = &[
    (61, "tests/hostile/environment.rs: links that lead out of the target are not followed"),
    (64, "client/src/engine/storage/beneath.rs: only regular files are opened"),
    (91, "super::libtorrent: right by one version and wrong by the other is a conflict"),
    (104, "client/src/engine/session.rs: a torrent that is given twice is named"),
    (105, "super::libtorrent: v2 tells what SHA-1 can't; in v1 nobody can"),
];

enum Input {
    Info(Dict),
    /// Around an info that is right, unless it has one.
    Torrent(Dict),
}

enum Expected {
    Refused(MetainfoError),
    /// Read, with these paths, and not a word about them.
    Paths(&'static [&'static str]),
    /// Read, with these warnings.
    Warnings(&'static [&'static str]),
    /// Read as what [`outline`] says.
    Outline(&'static str),
}

type Case = (&'static str, Input, Expected);

#[test]
fn every_case_has_its_outcome() {
    let mut wrong = Vec::new();
    for (id, input, expected) in cases() {
        let (bytes, read) = match input {
            Input::Info(info) => (info.bytes(), info.info().map(Metainfo::new)),
            Input::Torrent(torrent) => (torrent.bytes(), Metainfo::from_bytes(&torrent.bytes())),
        };
        let (found, expected) = match (read, expected) {
            (Err(found), Expected::Refused(expected)) => (format!("{found:?}"), format!("{expected:?}")),
            (Err(found), _) => (format!("{found:?}"), "no error".to_owned()),
            (Ok(_), Expected::Refused(expected)) => ("no error".to_owned(), format!("{expected:?}")),
            (Ok(read), Expected::Paths(expected)) => {
                let paths: Vec<_> = read.info.files().iter().map(|file| file.path.as_str()).collect();
                let warnings: &[&str] = &[];
                (format!("{paths:?} {:?}", read.info.warnings()), format!("{expected:?} {warnings:?}"))
            }
            (Ok(read), Expected::Warnings(expected)) => {
                let all = if read.warnings.is_empty() { read.info.warnings() } else { &read.warnings };
                (format!("{all:?}"), format!("{expected:?}"))
            }
            (Ok(read), Expected::Outline(expected)) => (outline(&read), expected.to_owned()),
        };
        if found != expected {
            let input = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
            wrong.push(format!("{id}: {input}\n  expected {expected}\n     found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_case_is_left_out() {
    let mut found: BTreeSet<u32> = ELSEWHERE.iter().map(|&(id, _)| id).collect();
    found.extend(cases().iter().map(|(id, ..)| id[1..].parse::<u32>().unwrap()));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), (1..=105).collect::<Vec<_>>());
}

/// What is around the info, and what is odd about files.
fn outline(read: &Metainfo) -> String {
    let mut parts = Vec::new();
    let mut say = |what: &str, said: &dyn std::fmt::Debug, count: usize| {
        parts.extend((count > 0).then(|| format!("{what} {said:?}")));
    };
    let trackers: usize = read.trackers.iter().map(Vec::len).sum();
    match trackers {
        ..=10 => say("trackers", &read.trackers, trackers),
        _ => say("trackers", &trackers, trackers),
    }
    say("web seeds", &read.web_seeds, read.web_seeds.len());
    say("nodes", &read.nodes, read.nodes.len());
    say("comment", &read.comment, read.comment.iter().len());
    say("date", &read.creation_date, read.creation_date.iter().len());
    say("private", &true, usize::from(read.info.is_private()));
    for file in read.info.files() {
        let path = file.path.as_str();
        say("pad", &path, usize::from(file.pad && file.symlink.is_none()));
        say("executable", &path, usize::from(file.executable));
        say("hidden", &path, usize::from(file.hidden));
        say("link", &(path, &file.symlink), file.symlink.iter().len());
    }
    parts.join("; ")
}

fn refused(id: &'static str, info: Dict, error: MetainfoError) -> Case {
    (id, Input::Info(info), Expected::Refused(error))
}

fn paths(id: &'static str, info: Dict, paths: &'static [&'static str]) -> Case {
    (id, Input::Info(info), Expected::Paths(paths))
}

/// A tree of one file, with these names in a list.
fn in_tree(names: &[&str]) -> Dict {
    let file = dict().with("", leaf(5, 'r').bytes());
    let tree = names.iter().rev().fold(file, |inside, name| dict().with(name, inside.bytes()));
    v2().with("file tree", tree.bytes())
}

/// One file in a directory `t`, with its raw names in a list.
fn listed(names: &[&[u8]]) -> Dict {
    let names: Vec<u8> = names.iter().flat_map(|name| blob(name)).collect();
    let path = [&b"l"[..], &names, b"e"].concat();
    let file = dict().with("length", "i5e").with("path", path);
    multi(&[]).with("files", [&b"l"[..], &file.bytes(), b"e"].concat()).with("pieces", hashes(1))
}

fn cases() -> Vec<Case> {
    [shape(), sizes(), names(), collisions(), attributes(), trees(), layers(), hybrids(), around()]
        .into_iter()
        .flatten()
        .collect()
}

fn shape() -> Vec<Case> {
    use MetainfoError as E;
    let count = |expected, found| E::PieceCount { expected, found };
    let good = multi(&[(20_000, "l1:ae"), (20_000, "l1:be")]);
    let around = |id, torrent: Dict, error| (id, Input::Torrent(torrent), Expected::Refused(error));
    let piece_length = |length: i64| single().with("piece length", int(length));
    let v2_piece_length = |length: i64| v2().with("piece length", int(length));
    let uneven = || bad_value("piece length", "is not a power of two of at least 16 KiB, as v2 has it");
    vec![
        paths("M1", single(), &["f"]),
        paths("M1", good.clone(), &["t/a", "t/b"]),
        paths("M1", v2(), &["t/a", "t/b", "t/empty"]),
        paths("M1", hybrid(), &["t/a", "t/.pad/12768", "t/b", "t/empty"]),
        around("M1", dict().with("announce", "3:abc"), E::Missing("info")),
        around("M2", dict().with("info", "3:abc"), wrong_type("info", "a dictionary")),
        refused("M3", single().without("name"), E::Missing("name")),
        refused("M3", v2().without("name"), E::Missing("name")),
        refused("M4", single().with("name", "i1e"), wrong_type("name", "a string")),
        refused("M4", single().with("name", "li102ee"), wrong_type("name", "a string")),
        refused("M5", single().with("name", "0:"), bad_value("name", "is empty")),
        refused("M6", single().without("piece length"), E::Missing("piece length")),
        refused("M6", v2().without("piece length"), E::Missing("piece length")),
        refused("M7", single().with("piece length", "5:16384"), wrong_type("piece length", "an integer")),
        refused("M8", piece_length(0), E::Layout(LayoutError::PieceLength(0))),
        refused("M8", v2_piece_length(0), uneven()),
        refused("M9", piece_length(-1), bad_value("piece length", "is negative")),
        refused("M10", piece_length(0x7fff_ffff), E::Layout(LayoutError::PieceLength(0x7fff_ffff))),
        refused("M10", piece_length(i64::MAX), E::Layout(LayoutError::PieceLength(i64::MAX as u64))),
        refused("M10", v2_piece_length(0x7fff_ffff), uneven()),
        refused("M10", v2_piece_length(1 << 30), E::Layout(LayoutError::PieceLength(1 << 30))),
        refused("M11", v2_piece_length(8192), uneven()),
        refused("M11", v2_piece_length(16_383), uneven()),
        refused("M11", v2_piece_length(49_152), uneven()),
        refused("M11", hybrid().with("piece length", "i49152e"), uneven()),
        refused("M12", piece_length(1), count(40_000, 3)),
        paths("M12", piece_length(1).with("length", "i3e"), &["f"]),
        refused("M13", single().without("pieces"), E::Missing("pieces")),
        refused("M13", hybrid().without("pieces"), E::Missing("pieces")),
        refused("M14", single().with("pieces", "0:"), count(3, 0)),
        refused(
            "M15",
            single().with("pieces", string(&"h".repeat(59))),
            bad_value("pieces", "is not a whole number of SHA-1 hashes"),
        ),
        refused("M16", single().with("pieces", hashes(2)), count(3, 2)),
        refused("M17", single().with("pieces", hashes(4)), count(3, 4)),
        refused("M18", single().with("pieces", format!("l{}e", hashes(3))), wrong_type("pieces", "a string")),
        refused("M19", good.clone().with("length", "i40000e"), E::Ambiguous),
        refused("M19", hybrid().with("length", "i40000e"), E::Ambiguous),
        refused("M20", single().without("length"), E::Missing("length` or `files")),
        refused("M20", v2().with("pieces", hashes(1)), E::Missing("length` or `files")),
        refused("M21", good.clone().with("files", "le"), bad_value("files", "is empty")),
        refused("M21", good.clone().with("files", "de"), wrong_type("files", "a list")),
        refused("M21", good.clone().with("files", "li1ee"), wrong_type("files[0]", "a dictionary")),
        refused("M21", v2().with("file tree", "de"), bad_value("file tree", "is empty")),
        refused("M21", v2().with("file tree", "d1:adee"), bad_value("file tree", "is empty")),
        refused("M21", v2().with("file tree", "le"), wrong_type("file tree", "a dictionary")),
        // A torrent of empty files is one without pieces.
        paths("M22", multi(&[(0, "l1:ae"), (0, "l1:be")]), &["t/a", "t/b"]),
        paths("M22", v2().with("file tree", tree(&[("a", leaf(0, '-'))]).bytes()), &["t/a"]),
    ]
}

fn sizes() -> Vec<Case> {
    use MetainfoError as E;
    let too_long = || E::Layout(LayoutError::TooLong);
    let one = |length: i64| v2().with("file tree", tree(&[("a", leaf(length, 'r'))]).bytes());
    let two =
        |a: i64, b: i64| v2().with("file tree", tree(&[("a", leaf(a, 'r')), ("b", leaf(b, 'r'))]).bytes());
    let million: String = (0..1_000_000).map(|i| format!("d6:lengthi0e4:pathl6:{i:06}ee")).collect();
    vec![
        refused("M23", single().with("length", "i-1e"), bad_value("length", "is negative")),
        refused("M23", multi(&[(1, "l1:ae"), (-1, "l1:be")]), bad_value("files[1].length", "is negative")),
        refused("M23", one(-1), bad_value("file tree[a].length", "is negative")),
        refused("M24", single().with("length", int(i64::MAX)), too_long()),
        refused("M24", one(i64::MAX), too_long()),
        refused("M25", multi(&[(i64::MAX, "l1:ae"), (i64::MAX, "l1:be")]), too_long()),
        refused("M25", two(i64::MAX, i64::MAX), too_long()),
        refused("M26", multi(&[(1 << 48, "l1:ae"), (1, "l1:be")]), too_long()),
        refused("M26", two(1 << 48, 1), too_long()),
        refused(
            "M27",
            single().with("length", int((1 << 21) + 1)).with("piece length", "i1e"),
            E::Layout(LayoutError::TooManyPieces((1 << 21) + 1)),
        ),
        refused("M27", one((1 << 35) + 1), E::Layout(LayoutError::TooManyPieces((1 << 21) + 1))),
        refused("M28", multi(&[]).with("files", format!("l{million}e")).with("pieces", "0:"), E::TooLong),
        refused("M29", single().with("length", "5:40000"), wrong_type("length", "an integer")),
        refused(
            "M29",
            v2().with("file tree", tree(&[("a", leaf(5, 'r').with("length", "1:5"))]).bytes()),
            wrong_type("file tree[a].length", "an integer"),
        ),
    ]
}

fn names() -> Vec<Case> {
    use MetainfoError as E;
    let escapes = |file, path: &str| E::Path { file, error: PathError::Escapes(path.to_owned()) };
    let bad_path = || bad_value("files[0].path", "is empty");
    let warned = |id, info, warnings| (id, Input::Info(info), Expected::Warnings(warnings));
    let long = |stem: usize, rest: &str| format!("{}{rest}", "n".repeat(stem));
    let deep = vec![&b"d"[..]; 100];
    let too_deep = |depth| E::Path { file: 1, error: PathError::TooDeep(depth) };
    let too_long = |length| E::Path { file: 1, error: PathError::TooLong(length) };
    vec![
        refused("M30", single().with("name", "2:.."), escapes(1, "..")),
        refused("M30", v2().with("name", "2:.."), escapes(1, "../a")),
        refused("M30", in_tree(&["x", "..", "y"]), escapes(1, "t/x/../y")),
        refused("M31", multi(&[(1, "l1:ae"), (1, "l11:../../etc/xe")]), escapes(2, "t/../../etc/x")),
        refused("M31", in_tree(&["../../etc/x"]), escapes(1, "t/../../etc/x")),
        refused("M32", single().with("name", "4:/abs"), escapes(1, "/abs")),
        refused("M32", in_tree(&["/abs"]), escapes(1, "t//abs")),
        refused("M33", listed(&[b"a/../../b"]), escapes(1, "t/a/../../b")),
        paths("M34", listed(&[b"a\\..\\b"]), &["t/a\\..\\b"]),
        paths("M34", in_tree(&["a\\..\\b"]), &["t/a\\..\\b"]),
        warned("M35", listed(&[b"."]), &["file 1 has an unusual name: it is saved as `t/_`"]),
        warned("M35", in_tree(&["."]), &["file 1 has an unusual name: it is saved as `t/_`"]),
        warned("M36", listed(&[b"", b"x"]), &["file 1 has an unusual name: it is saved as `t/_/x`"]),
        refused("M36", in_tree(&["x", "", "y"]), bad_value("file tree[x].length", "is missing")),
        refused("M37", listed(&[b"", b""]), bad_path()),
        refused("M37", listed(&[]), bad_path()),
        refused("M37", multi(&[(1, "1:a")]), wrong_type("files[0].path", "a list of strings")),
        refused("M37", multi(&[(1, "li1ee")]), wrong_type("files[0].path", "a list of strings")),
        warned("M38", listed(&[b"a\0b"]), &["file 1 has an unusual name: it is saved as `t/a_b`"]),
        warned("M39", listed(&[b"\x1b[31m\x7f"]), &["file 1 has an unusual name: it is saved as `t/_[31m_`"]),
        warned("M39", in_tree(&["\u{1b}[31m\n"]), &["file 1 has an unusual name: it is saved as `t/_[31m_`"]),
        warned(
            "M40",
            listed(&[long(300, ".tar").as_bytes()]),
            // A warning shows only the start of a path.
            &[
                "file 1 has an unusual name: it is saved as `t/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…`",
            ],
        ),
        refused("M41", listed(&[long(255, "").as_bytes(); 16]), too_long(4097)),
        refused("M41", listed(&[long(5000, "").as_bytes()]), too_long(5000)),
        refused("M41", single().with("name", string(&long(1_000_000, ""))), too_long(1_000_000)),
        refused("M42", listed(&deep), too_deep(101)),
        refused("M42", listed(&[&b"d"[..]; 1000]), too_deep(1001)),
        warned(
            "M43",
            listed(&[b"\xc0\xae"]),
            &["file 1 has an unusual name: it is saved as `t/\u{fffd}\u{fffd}`"],
        ),
        paths("M44", listed(&["\u{202b}a\u{200e}".as_bytes()]), &["t/\u{202b}a\u{200e}"]),
        paths("M45", in_tree(&["CON", "NUL.txt", "COM1"]), &["t/CON/NUL.txt/COM1"]),
        paths("M46", in_tree(&["dot.", "space "]), &["t/dot./space "]),
        paths("M47", listed(&[b"foo:bar"]), &["t/foo:bar"]),
        paths("M48", listed(&[b"~", b"-rf"]), &["t/~/-rf"]),
        warned(
            "M49",
            listed(&[b"\xed\xa0\x80"]),
            &["file 1 has an unusual name: it is saved as `t/\u{fffd}\u{fffd}\u{fffd}`"],
        ),
        paths("M50", single().with("name", "4:.git"), &[".git"]),
        paths("M50", in_tree(&["authorized_keys"]).with("name", "4:.ssh"), &[".ssh/authorized_keys"]),
    ]
}

fn collisions() -> Vec<Case> {
    use MetainfoError as E;
    let same = |file, path: &str| E::Path { file, error: PathError::Same(path.to_owned()) };
    let both = |file, path: &str| E::Path { file, error: PathError::FileAndDirectory(path.to_owned()) };
    let many = |count| multi(&vec![(0, "l1:ae"); count]);
    let files = |names: &[&str]| {
        let files: Vec<_> = names.iter().map(|&name| (name, leaf(0, '-'))).collect();
        v2().with("file tree", tree(&files).bytes())
    };
    let duplicate = BencodeError { kind: BencodeErrorKind::DuplicateKey, offset: 36 };
    vec![
        refused("M51", multi(&[(1, "l1:ae"), (1, "l1:ae")]), same(2, "t/a")),
        refused(
            "M51",
            v2().with("file tree", "d1:ad0:d6:lengthi0eee1:ad0:d6:lengthi0eeee"),
            E::Bencode(duplicate),
        ),
        paths("M52", multi(&[(1, "l5:A.txte"), (1, "l5:a.txte")]), &["t/A.txt", "t/a.txt"]),
        paths("M52", files(&["A.txt", "a.txt"]), &["t/A.txt", "t/a.txt"]),
        paths("M53", files(&["a\u{308}", "\u{e4}"]), &["t/a\u{308}", "t/\u{e4}"]),
        refused("M54", multi(&[(1, "l1:a1:be"), (1, "l1:ae")]), both(1, "t/a")),
        (
            "M55",
            Input::Info(files(&["\u{1}", "\u{2}", "_"])),
            Expected::Warnings(&[
                "file 1 has an unusual name: it is saved as `t/_-bf8b4530d8d246dd`",
                "file 2 has an unusual name: it is saved as `t/_-c4ea21bb365bbeea`",
            ]),
        ),
        refused("M56", many(120), same(2, "t/a")),
        refused("M57", many(100_000), same(2, "t/a")),
    ]
}

fn attributes() -> Vec<Case> {
    use MetainfoError as E;
    let outline = |id, info, outline| (id, Input::Info(info), Expected::Outline(outline));
    let with = |files: &[Dict]| multi(&[]).with("files", list(files)).with("pieces", hashes(1));
    let link = |target: &[&str]| entry(0, "l1:le").with("attr", "1:l").with("symlink path", strings(target));
    let attr = |attr: &str| entry(5, "l1:ae").with("attr", string(attr));
    let tree_attr =
        |attr: &str| v2().with("file tree", tree(&[("a", leaf(5, 'r').with("attr", string(attr)))]).bytes());
    // libtorrent writes a link in a tree without a length.
    let tree_link = |link: Dict| v2().with("file tree", tree(&[("a", leaf(5, 'r')), ("l", link)]).bytes());
    let only_link = dict().with("attr", "1:l").with("symlink path", strings(&["..", "..", "x"]));
    vec![
        outline("M58", with(&[attr(""), link(&["..", "..", "x"])]), r#"link ("t/l", Some("../../x"))"#),
        outline("M58", tree_link(only_link.clone()), r#"link ("t/l", Some("../../x"))"#),
        (
            "M58",
            Input::Info(tree_link(only_link)),
            Expected::Warnings(&["`t/l` is a symbolic link, which is not made"]),
        ),
        outline("M59", with(&[attr(""), link(&["/etc/passwd"])]), r#"link ("t/l", Some("/etc/passwd"))"#),
        outline("M60", with(&[attr(""), link(&["l"])]), r#"link ("t/l", Some("l"))"#),
        refused(
            "M62",
            single().with("attr", "1:l"),
            bad_value("length", "is not 0, although the file is a symbolic link"),
        ),
        refused(
            "M62",
            tree_link(leaf(5, 'r').with("attr", "1:l")),
            bad_value("file tree[l].length", "is not 0, although the file is a symbolic link"),
        ),
        outline("M63", with(&[attr(""), link(&["gone"])]), r#"link ("t/l", Some("gone"))"#),
        outline("M63", with(&[attr(""), entry(0, "l1:le").with("attr", "1:l")]), r#"link ("t/l", Some(""))"#),
        // What is hashed for it shows only in the data: it never gets a place on disk.
        outline("M65", with(&[attr(""), pad(5)]), r#"pad "t/.pad/5""#),
        refused("M66", with(&[pad(1 << 40)]), E::Layout(LayoutError::TooManyPieces(1 << 26))),
        refused("M66", with(&[attr(""), pad(1 << 62)]), E::Layout(LayoutError::TooLong)),
        outline("M67", with(&[entry(5, "l4:.pad1:5e"), pad(5), pad(5)]), r#"pad "t/.pad/5"; pad "t/.pad/5""#),
        outline("M68", with(&[attr("xh?")]), r#"executable "t/a"; hidden "t/a""#),
        outline("M68", tree_attr("xh?"), r#"executable "t/a"; hidden "t/a""#),
        refused(
            "M68",
            tree_attr("p"),
            bad_value("file tree[a].attr", "makes it a pad file, which has no place in a tree"),
        ),
        outline("M69", single().with("attr", "1:x"), r#"executable "f""#),
    ]
}

fn trees() -> Vec<Case> {
    use MetainfoError as E;
    let one = |file: Dict| v2().with("file tree", tree(&[("a", file)]).bytes());
    let of = |text: &str| v2().with("file tree", text);
    let bencode = |kind, offset| E::Bencode(BencodeError { kind, offset });
    let bomb = |depth: usize| of(&format!("{}de{}", "d1:a".repeat(depth), "e".repeat(depth)));
    vec![
        refused(
            "M70",
            one(leaf(5, 'r').with("pieces root", string(&"r".repeat(31)))),
            bad_value("file tree[a].pieces root", "is not 32 bytes long"),
        ),
        refused(
            "M70",
            one(leaf(5, 'r').with("pieces root", "i1e")),
            wrong_type("file tree[a].pieces root", "a string"),
        ),
        refused(
            "M70",
            one(leaf(5, 'r').without("pieces root")),
            bad_value("file tree[a].pieces root", "is missing"),
        ),
        refused("M71", one(leaf(5, '\0')), bad_value("file tree[a].pieces root", "is zero")),
        refused(
            "M78",
            one(leaf(5, 'r').with("length", "i0e")),
            bad_value("file tree[a].pieces root", "is there, although the file is empty"),
        ),
        refused("M78", one(leaf(0, '-').without("length")), bad_value("file tree[a].length", "is missing")),
        refused(
            "M79",
            of("d1:ad0:d6:lengthi0ee1:bd0:d6:lengthi0eeeee"),
            bad_value("file tree[a]", "is both a file and a directory"),
        ),
        refused("M79", of("d1:ad0:i5eee"), wrong_type("file tree[a]", "a dictionary")),
        refused("M79", of("d1:ai5ee"), wrong_type("file tree[a]", "a dictionary")),
        refused("M80", of("d0:d6:lengthi0eee"), bad_value("file tree[]", "has an empty name")),
        refused("M80", of("d0:d0:d6:lengthi0eeee"), bad_value("file tree[]", "has an empty name")),
        refused("M80", of("d1:ad0:d0:d6:lengthi0eeeee"), bad_value("file tree[a].length", "is missing")),
        refused(
            "M81",
            of("d1:bd0:d6:lengthi0eee1:ad0:d6:lengthi0eeee"),
            bencode(BencodeErrorKind::UnsortedKeys, 36),
        ),
        // So is any other form of v2 that nobody writes.
        refused("M81", v2().with("zoo", "i007e"), bencode(BencodeErrorKind::LeadingZero, 235)),
        refused("M82", single().with("meta version", "1:2"), wrong_type("meta version", "an integer")),
        refused(
            "M82",
            v2().with("meta version", "i1e"),
            bad_value("meta version", "is not 2, although there is a `file tree`"),
        ),
        refused("M82", v2().without("meta version"), E::Missing("pieces")),
        refused("M82", v2().without("file tree"), E::Missing("file tree")),
        refused("M82", hybrid().without("file tree"), E::Missing("file tree")),
        refused("M82", v2().with("meta version", "i3e"), E::TooNew(3)),
        refused("M82", hybrid().with("meta version", "i3e").without("pieces"), E::TooNew(3)),
        refused("M82", hybrid().with("meta version", "i3e").without("files"), E::TooNew(3)),
        (
            "M82",
            Input::Info(hybrid().with("meta version", "i3e")),
            Expected::Warnings(&["`meta version` is 3, which is too new: only the v1 form is used"]),
        ),
        refused("M83", bomb(1_000_000), bencode(BencodeErrorKind::Depth, 12 + 4 * 99)),
        refused("M83", bomb(98), bad_value("file tree", "is empty")),
    ]
}

fn layers() -> Vec<Case> {
    let (root, layer) = layer(1);
    let info = with_root(&v2(), &root);
    let around = |root: &[u8], layer: &[u8]| {
        let layers = [&b"d"[..], &blob(root), layer, b"e"].concat();
        Input::Torrent(dict().with("info", info.bytes()).with("piece layers", layers))
    };
    let of = |hashes: &[Hash]| blob(hashes.as_flattened());
    let refused = |id, input, problem| {
        // The root's hexadecimal digits are in the key.
        (id, input, Expected::Refused(bad_value(problem_key(&root), problem)))
    };
    let twice = v2().with("file tree", tree(&[("a", leaf(20_000, 'a')), ("b", leaf(20_000, 'a'))]).bytes());
    let twice = with_root(&with_root(&twice, &root), &root);
    let twice = dict()
        .with("info", twice.bytes())
        .with("piece layers", [&b"d"[..], &blob(&root), &of(&layer), b"e"].concat());
    vec![
        ("M72", Input::Torrent(dict().with("info", info.bytes())), Expected::Outline("")),
        (
            "M72",
            Input::Torrent(dict().with("info", info.bytes()).with("piece layers", "de")),
            Expected::Outline(""),
        ),
        ("M72", around(&root, &of(&layer)), Expected::Warnings(&[])),
        refused("M73", around(&root, &blob(&[1; 63])), "is not a whole number of SHA-256 hashes"),
        refused("M74", around(&root, &of(&layer[..1])), "does not hold one hash for each piece of the file"),
        refused(
            "M74",
            around(&root, &of(&[[1; 32]; 3])),
            "does not hold one hash for each piece of the file",
        ),
        refused("M74", around(&root, b"0:"), "does not hold one hash for each piece of the file"),
        refused("M75", around(&root, &of(&[layer[1], layer[0]])), "does not hash to its root"),
        (
            "M76",
            around(&[b'x'; 32], &of(&layer)),
            Expected::Refused(bad_value(problem_key(&[b'x'; 32]), "belongs to no file")),
        ),
        (
            "M76",
            around(b"short", &of(&layer)),
            Expected::Refused(bad_value("piece layers[73686f7274]", "belongs to no file")),
        ),
        // A file of one piece has no layer, but some write one.
        (
            "M76",
            around(&[b'b'; 32], &of(&[[b'b'; 32]])),
            Expected::Warnings(&[
                "`piece layers[6262626262626262626262626262626262626262626262626262626262626262]` belongs to a file that needs none: ignored",
            ]),
        ),
        ("M77", around(&root, b"i1e"), Expected::Refused(wrong_type(problem_key(&root), "a string"))),
        (
            "M77",
            Input::Torrent(dict().with("info", info.bytes()).with("piece layers", "le")),
            Expected::Refused(wrong_type("piece layers", "a dictionary")),
        ),
        ("M84", Input::Torrent(twice), Expected::Warnings(&[])),
    ]
}

fn problem_key(root: &[u8]) -> String {
    format!("piece layers[{}]", data_encoding::HEXLOWER.encode(root))
}

fn hybrids() -> Vec<Case> {
    let inconsistent =
        |file: &str, problem| MetainfoError::Inconsistent { file: format!("`{file}`"), problem };
    let with = |change: &dyn Fn(&mut Vec<Dict>), pieces| {
        let mut files = hybrid_files();
        change(&mut files);
        hybrid_of(&files, pieces)
    };
    let single_in_both = v2()
        .with("file tree", tree(&[("t", leaf(5, 'r'))]).bytes())
        .with("length", "i5e")
        .with("pieces", hashes(1));
    vec![
        refused(
            "M85",
            with(&|files| files[2] = entry(10, "l1:ce"), 3),
            inconsistent("c", "is not in the file tree"),
        ),
        refused(
            "M85",
            with(&|files| files[2] = entry(10, "l1:b1:ce"), 3),
            inconsistent("b/c", "is not in the file tree"),
        ),
        refused(
            "M85",
            with(&|files| drop(files.pop()), 3),
            inconsistent("empty", "is only in the file tree"),
        ),
        refused(
            "M85",
            with(&|files| files.push(entry(0, "l1:ze")), 3),
            inconsistent("z", "is not in the file tree"),
        ),
        refused(
            "M85",
            single_in_both.clone().with("name", "1:u"),
            inconsistent("u", "is not in the file tree"),
        ),
        refused(
            "M85",
            with(&|files| files[3] = entry(0, "l5:emptye").with("attr", "1:l"), 3),
            inconsistent("empty", "is a symbolic link in only one of them"),
        ),
        // Names are compared as they are written, not as they are saved.
        refused(
            "M85",
            with(&|files| files[2] = entry(10, "l2:b\u{1}e"), 3),
            inconsistent("b\u{fffd}", "is not in the file tree"),
        ),
        paths("M85", single_in_both, &["t"]),
        refused(
            "M86",
            with(&|files| files[0] = entry(20_001, "l1:ae"), 3),
            inconsistent("a", "has another length in the file tree"),
        ),
        refused(
            "M86",
            with(&|files| files[3] = entry(1, "l5:emptye"), 3),
            inconsistent("empty", "has another length in the file tree"),
        ),
        refused(
            "M87",
            with(&|files| files.swap(0, 2), 3),
            inconsistent("b", "stands at another place in the file tree"),
        ),
        refused(
            "M87",
            with(&|files| files.swap(2, 3), 3),
            inconsistent("empty", "stands at another place in the file tree"),
        ),
        refused(
            "M88",
            with(&|files| drop(files.remove(1)), 2),
            inconsistent("b", "is not padded to the start of its piece"),
        ),
        refused(
            "M88",
            with(&|files| files[1] = pad(12_767), 3),
            inconsistent("b", "is not padded to the start of its piece"),
        ),
        refused(
            "M88",
            with(&|files| files[1] = pad(12_768 + 16_384), 4),
            inconsistent("b", "is not padded to the start of its piece"),
        ),
        refused(
            "M88",
            with(&|files| files.insert(0, pad(16_384)), 4),
            inconsistent("a", "is not padded to the start of its piece"),
        ),
        refused(
            "M88",
            with(&|files| files.push(pad(16_384)), 4),
            inconsistent("empty", "is followed by more padding than its piece needs"),
        ),
        paths("M89", hybrid(), &["t/a", "t/.pad/12768", "t/b", "t/empty"]),
        paths(
            "M89",
            with(&|files| files.push(pad(16_374)), 3),
            &["t/a", "t/.pad/12768", "t/b", "t/empty", "t/.pad/16374"],
        ),
        refused(
            "M90",
            hybrid().with("pieces", hashes(2)),
            MetainfoError::PieceCount { expected: 3, found: 2 },
        ),
        refused(
            "M90",
            hybrid().with("pieces", hashes(4)),
            MetainfoError::PieceCount { expected: 3, found: 4 },
        ),
    ]
}

fn around() -> Vec<Case> {
    let case = |id, torrent: Dict, outline| {
        (id, Input::Torrent(torrent.with("info", single().bytes())), Expected::Outline(outline))
    };
    let warned = |id, torrent: Dict, warnings| {
        (id, Input::Torrent(torrent.with("info", single().bytes())), Expected::Warnings(warnings))
    };
    let announce = |url: &str| dict().with("announce", string(url));
    let private = |value: &str| dict().with("info", single().with("private", value).bytes());
    let many: String = (0..100_000).map(|i| string(&format!("http://t{i}.example/"))).collect();
    let (a, b) = (string("http://a.example/"), string("https://b.example/x"));
    vec![
        // A flat list is one of tiers of one.
        case(
            "M92",
            dict().with("announce-list", format!("l{a}{b}e")),
            r#"trackers [["http://a.example/"], ["https://b.example/x"]]"#,
        ),
        case("M92", dict().with("announce-list", format!("lll{a}eei1ele1:xe")), ""),
        warned("M92", dict().with("announce-list", "i1e"), &["`announce-list` is not a list: ignored"]),
        case("M93", dict().with("announce-list", format!("ll{many}ee")), "trackers 200"),
        case("M94", announce(&format!("http://t.example/{}", "x".repeat(1 << 20))), ""),
        case("M95", announce("file:///etc/passwd"), ""),
        case("M95", announce("ftp://t.example/"), ""),
        case("M95", announce("gopher://t.example/"), ""),
        warned(
            "M95",
            announce("javascript:alert(1)"),
            &["the tracker `javascript:alert(1)` is of a kind that is not supported: ignored"],
        ),
        case("M96", announce("http://u:p@t.example/a"), r#"trackers [["http://u:p@t.example/a"]]"#),
        case(
            "M97",
            announce("http://xn--bcher-kva.example/"),
            r#"trackers [["http://xn--bcher-kva.example/"]]"#,
        ),
        case("M98", announce("http://t.example/\r\nX: y"), ""),
        case("M99", dict().with("url-list", &a), r#"web seeds ["http://a.example/"]"#),
        case(
            "M99",
            dict().with("url-list", format!("l{a}{b}{a}0:e")),
            r#"web seeds ["http://a.example/", "https://b.example/x"]"#,
        ),
        case("M99", dict().with("url-list", "0:"), ""),
        case("M99", dict().with("url-list", "le"), ""),
        case("M99", dict().with("url-list", "i1e"), ""),
        // Kept as it is: whoever shows it makes it fit for where it is shown.
        case("M100", dict().with("comment", string("<b>\u{1b}[31m")), r#"comment Some("<b>\u{1b}[31m")"#),
        ("M101", Input::Torrent(private("i2e")), Expected::Outline("private true")),
        (
            "M101",
            Input::Torrent(private("1:1")),
            Expected::Warnings(&["`private` is neither 0 nor 1: taken as 1"]),
        ),
        ("M101", Input::Torrent(private("i0e")), Expected::Outline("")),
        warned("M102", dict().with("creation date", "i-1e"), &["`creation date` is not a time: ignored"]),
        case("M102", dict().with("creation date", int(i64::MAX)), "date Some(9223372036854775807)"),
        (
            "M102",
            Input::Torrent(dict().with("creation date", "i9223372036854775808e")),
            Expected::Refused(MetainfoError::Bencode(BencodeError {
                kind: BencodeErrorKind::Overflow,
                offset: 17,
            })),
        ),
        // Whether it may be dialled is for others to say.
        case("M103", dict().with("nodes", "ll9:127.0.0.1i6881eee"), r#"nodes [("127.0.0.1", 6881)]"#),
    ]
}
