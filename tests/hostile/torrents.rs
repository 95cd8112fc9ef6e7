//! .torrent files that are none, or lie.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use harness::bencode::Value;
use harness::content::Content;
use harness::peer;
use harness::sandbox::{Sandbox, free_port};
use harness::tree;
use harness::wait::SOON;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};
use sha1::{Digest as _, Sha1};

use crate::{assert_no_panic, assert_refused};

/// The longest .torrent that is read, in bytes.
const CAP: u64 = torrent_format::metainfo::MAX_TORRENT_LENGTH as u64;

fn single(name: &[u8]) -> Value {
    Value::dict([
        ("length", Value::Int(40_000)),
        ("name", Value::bytes(name)),
        ("piece length", Value::Int(32_768)),
        ("pieces", Value::Bytes(vec![7; 40])),
    ])
}

/// A multi-file info with these paths, 20,000 bytes each.
fn multi(paths: &[&[&[u8]]]) -> Value {
    let files = paths
        .iter()
        .map(|path| Value::dict([("length", Value::Int(20_000)), ("path", Value::strings(path.iter()))]));
    let pieces = (paths.len() * 20_000).div_ceil(32_768);
    Value::dict([
        ("files", Value::List(files.collect())),
        ("name", Value::bytes("tree")),
        ("piece length", Value::Int(32_768)),
        ("pieces", Value::Bytes(vec![7; 20 * pieces])),
    ])
}

fn torrent(info: Value) -> Vec<u8> {
    Value::dict([("announce", Value::bytes("http://127.0.0.1:9/announce")), ("info", info)]).encode()
}

/// `get`, `show`, `verify` and `seed` refuse it with exit code 4 and leave everything as it was.
#[track_caller]
fn refused_everywhere(what: &str, bytes: &[u8]) {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("bad.torrent"), bytes).expect("a test file can be written");
    std::fs::create_dir_all(sandbox.path("a/b/target")).expect("a test directory can be made");
    let outside = || {
        let mut listing = tree::listing(sandbox.root());
        listing.retain(|path, _| !path.starts_with("home"));
        listing
    };
    let before = outside();
    let commands: [(&str, &[&str]); 4] = [
        ("get", &["bad.torrent", "-o", "a/b/target", "--port", "0", "--timeout", "1s"]),
        ("show", &["bad.torrent"]),
        ("verify", &["bad.torrent", "a/b/target"]),
        ("seed", &["bad.torrent", "--data", "a/b/target", "--port", "0"]),
    ];
    for (command, arguments) in commands {
        println!("{what}: {command}");
        assert_refused(sandbox.sprat(command).args(arguments).run(SOON), 4, "bad.torrent");
        assert_eq!(outside(), before, "{what}: {command} wrote something");
    }
}

#[test]
fn what_is_no_torrent_is_refused() {
    let good = torrent(single(b"file"));
    let cases: [(&str, &[u8]); 8] = [
        ("empty", b""),
        ("HTML", b"<!DOCTYPE html><html><head><title>404</title></head></html>"),
        ("an executable", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("truncated", &good[..good.len() - 9]),
        ("half of it", &good[..good.len() / 2]),
        ("something behind it", &[&good[..], b"trailing"].concat()),
        ("lists without end", &[b'l'; 100_000]),
        ("a huge string", b"d4:info99999999999999999999:"),
    ];
    for (what, bytes) in cases {
        refused_everywhere(what, bytes);
    }
}

#[test]
fn lies_about_sizes_are_refused() {
    let with = |key: &str, value: Value| single(b"file").with(key, Some(value));
    let cases = [
        ("no name", single(b"file").with("name", None)),
        ("no pieces", single(b"file").with("pieces", None)),
        ("no length", single(b"file").with("length", None)),
        ("one piece too few", with("pieces", Value::Bytes(vec![7; 20]))),
        ("one piece too many", with("pieces", Value::Bytes(vec![7; 60]))),
        ("pieces not in twenties", with("pieces", Value::Bytes(vec![7; 41]))),
        ("negative length", with("length", Value::Int(-1))),
        ("length 2^63", with("length", Value::Int(1 << 63))),
        ("length 2^63 - 1", with("length", Value::Int((1 << 63) - 1))),
        ("length as text", with("length", Value::bytes("40000"))),
        ("piece length 0", with("piece length", Value::Int(0))),
        ("negative piece length", with("piece length", Value::Int(-32_768))),
        ("piece length 2^63 - 1", with("piece length", Value::Int((1 << 63) - 1))),
        ("length and files", with("files", Value::List(vec![]))),
        ("no files", multi(&[])),
        ("info as a list", Value::List(vec![])),
    ];
    for (what, info) in cases {
        refused_everywhere(what, &torrent(info));
    }
    let file = |length| Value::dict([("length", Value::Int(length)), ("path", Value::strings(["a"]))]);
    let sum = multi(&[&[b"a"], &[b"b"]])
        .with("files", Some(Value::List(vec![file(1 << 62), file(1 << 62), file(1 << 62)])));
    refused_everywhere("lengths that add up to more than 2^63", &torrent(sum));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [&b".."[..], b"../../x", b"/abs", b"a/b", b"/"] {
        let shown = name.escape_ascii().to_string();
        refused_everywhere(&format!("the name {shown:?}"), &torrent(single(name)));
        refused_everywhere(
            &format!("the element {shown:?}"),
            &torrent(multi(&[&[b"good"], &[b"dir", name]])),
        );
        refused_everywhere(
            &format!("the directory {shown:?}"),
            &torrent(multi(&[&[b"good"], &[name, b"file"]])),
        );
    }
    refused_everywhere("no name", &torrent(single(b"")));
    refused_everywhere("a climb out", &torrent(multi(&[&[b"..", b"..", b"x"]])));
    refused_everywhere("a path of nothing", &torrent(multi(&[&[b"good"], &[]])));
}

/// Names that a disk or a terminal may not bear, but that lead nowhere else.
const WILD: [&[u8]; 16] = [
    b".",
    b"CON",
    b"con.txt",
    b"NUL",
    b"COM1",
    &[b'n'; 300],
    b"nul\0byte",
    b"bell\x07",
    b"\x1b]0;title\x07",
    b"line\nfeed",
    b"\x7f",
    b"a\\..\\b",
    b"-rf",
    b"~",
    b"not UTF-8 \xc0\xae\xff",
    "right\u{202e}to left".as_bytes(),
];

/// Downloads a torrent of these paths (100 bytes each), and checks that there is a file for each, below the target and in no
/// other place, under names that every disk and terminal bears.
#[track_caller]
fn arrives_tamed(what: &str, name: &[u8], paths: &[Vec<&[u8]>]) {
    println!("{what}");
    let payload = vec![b'p'; 100 * paths.len()];
    let files =
        paths.iter().map(|path| Value::dict([("length", Value::Int(100)), ("path", Value::strings(path))]));
    let info = Value::dict([
        ("files", Value::List(files.collect())),
        ("name", Value::bytes(name)),
        ("piece length", Value::Int(32_768)),
        ("pieces", Value::Bytes(Sha1::digest(&payload).to_vec())),
    ]);
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("wild.torrent"), torrent(info)).expect("a test file can be written");
    std::fs::create_dir_all(sandbox.path("a/b/target")).expect("a test directory can be made");
    let content = Content::new(&sandbox.path("wild.torrent"), &[("all".to_owned(), payload)].into());
    let outside = || {
        let mut listing = tree::listing(sandbox.root());
        listing.retain(|path, _| !path.starts_with("home") && !path.starts_with("a/b/target"));
        listing
    };
    let before = outside();
    let port = free_port();
    let get =
        sandbox.sprat("get").args(["wild.torrent", "-o", "a/b/target", "--port", &port.to_string()]).spawn();
    peer::dial_and_serve(([127, 0, 0, 1], port).into(), &Arc::new(content));
    let get = get.wait_exit(SOON).expect(0);
    assert_no_panic(&get.lines);
    for line in &get.lines {
        assert!(
            !line.text.contains(char::is_control),
            "{what}: nothing that a terminal would obey: {line:?}"
        );
    }
    assert_eq!(outside(), before, "{what}: it wrote outside of the target");
    let written = tree::listing(&sandbox.path("a/b/target"));
    assert_eq!(written.values().flatten().count(), paths.len(), "{what}: a file for each path: {written:#?}");
    for path in written.keys().flat_map(|path| path.iter()) {
        let name = path.to_str().unwrap_or_else(|| panic!("{what}: {path:?} is not UTF-8"));
        assert!(name.len() <= 255 && !name.contains(char::is_control), "{what}: {name:?}");
    }
}

#[test]
fn names_that_a_disk_or_a_terminal_may_not_bear_arrive_tamed() {
    let alone = WILD.iter().map(|name| vec![*name]);
    let files = WILD.iter().map(|name| vec![b"dir".as_slice(), *name]);
    let directories = WILD.iter().map(|name| vec![b"other".as_slice(), *name, b"file"]);
    let empty = [vec![b"third".as_slice(), b"", b"file"]];
    let all: Vec<_> = alone.chain(files).chain(directories).chain(empty).collect();
    arrives_tamed("all of them", b"tree", &all);
    for name in WILD {
        arrives_tamed(&name.escape_ascii().to_string(), name, &[vec![b"file"]]);
    }
}

#[test]
fn paths_that_collide_are_refused() {
    refused_everywhere("two equal paths", &torrent(multi(&[&[b"a", b"b"], &[b"c"], &[b"a", b"b"]])));
    refused_everywhere("a file that is a directory as well", &torrent(multi(&[&[b"a"], &[b"a", b"b"]])));
    refused_everywhere("a directory that is a file as well", &torrent(multi(&[&[b"a", b"b"], &[b"a"]])));
}

/// A v2 info of the directory `tree` with this file tree.
fn v2(tree: Value) -> Value {
    Value::dict([
        ("file tree", tree),
        ("meta version", Value::Int(2)),
        ("name", Value::bytes("tree")),
        ("piece length", Value::Int(32_768)),
    ])
}

/// A file in a tree.
fn leaf(length: i128) -> Value {
    let root = (length > 0).then(|| Value::bytes([7; 32]));
    let file = Value::dict([("length", Value::Int(length))]).with("pieces root", root);
    Value::dict([("", file)])
}

#[test]
fn trees_that_lead_elsewhere_or_are_none_are_refused() {
    for name in ["..", "../../x", "/abs", "a/b", "/"] {
        refused_everywhere(&format!("the name {name:?}"), &torrent(v2(Value::dict([(name, leaf(5))]))));
        let inside = Value::dict([("dir", Value::dict([(name, Value::dict([("file", leaf(5))]))]))]);
        refused_everywhere(&format!("the directory {name:?}"), &torrent(v2(inside)));
    }
    let both = leaf(5).with("b", Some(leaf(5)));
    let deep = (0..5000).fold(leaf(5), |inside, _| Value::dict([("d", inside)]));
    for (what, tree) in [
        ("no file", Value::dict([])),
        ("an empty name", Value::dict([("", leaf(5))])),
        ("a file beside others", Value::dict([("a", both)])),
        ("5,000 directories deep", deep),
        ("more than 2^48 bytes", Value::dict([("a", leaf(1 << 48)), ("b", leaf(1 << 48))])),
    ] {
        refused_everywhere(what, &torrent(v2(tree)));
    }
}

#[test]
fn hybrids_whose_forms_differ_are_refused() {
    let hybrid = |names: &[&str], lengths: &[i128]| {
        let tree = Value::dict([("a", leaf(20_000)), ("b", leaf(20_000))]);
        let file = |(name, length): (&&str, &i128)| {
            let file = Value::dict([("length", Value::Int(*length)), ("path", Value::strings([name]))]);
            file.with("attr", name.starts_with("pad").then(|| Value::bytes("p")))
        };
        let total: i128 = lengths.iter().sum();
        let pieces = usize::try_from(total).unwrap().div_ceil(32_768);
        v2(tree)
            .with("files", Some(Value::List(names.iter().zip(lengths).map(file).collect())))
            .with("pieces", Some(Value::Bytes(vec![7; 20 * pieces])))
    };
    for (what, info) in [
        ("another name", hybrid(&["a", "pad", "c"], &[20_000, 12_768, 20_000])),
        ("another length", hybrid(&["a", "pad", "b"], &[20_000, 12_768, 20_001])),
        ("another order", hybrid(&["b", "pad", "a"], &[20_000, 12_768, 20_000])),
        ("no padding", hybrid(&["a", "b"], &[20_000, 20_000])),
        ("too much padding", hybrid(&["a", "pad", "b"], &[20_000, 12_768 + 32_768, 20_000])),
    ] {
        refused_everywhere(what, &torrent(info));
    }
}

#[test]
fn links_and_padding_leave_nothing_on_disk() {
    // M58–M60, M63, M65, M67
    let file = |name: &str, length: i128, attr: &str, target: &[&str]| {
        Value::dict([
            ("attr", Value::bytes(attr)),
            ("length", Value::Int(length)),
            ("path", Value::strings([name])),
            ("symlink path", Value::strings(target)),
        ])
    };
    let payload = [vec![b'p'; 100], vec![0; 5], vec![b'p'; 10]].concat();
    let files = vec![
        file("a", 100, "", &[]),
        file("pad", 5, "p", &[]),
        file("pad", 10, "", &[]),
        file("out", 0, "l", &["..", "..", "x"]),
        file("absolute", 0, "l", &["/etc/passwd"]),
        file("itself", 0, "l", &["itself"]),
        file("gone", 0, "xl", &["gone", "for", "good"]),
    ];
    let info = Value::dict([
        ("files", Value::List(files)),
        ("name", Value::bytes("tree")),
        ("piece length", Value::Int(32_768)),
        ("pieces", Value::Bytes(Sha1::digest(&payload).to_vec())),
    ]);
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("links.torrent"), torrent(info)).expect("a test file can be written");
    let content = Content::new(&sandbox.path("links.torrent"), &[("all".to_owned(), payload)].into());
    let port = free_port();
    let get =
        sandbox.sprat("get").args(["links.torrent", "-o", "target", "--port", &port.to_string()]).spawn();
    peer::dial_and_serve(([127, 0, 0, 1], port).into(), &Arc::new(content));
    assert_no_panic(&get.wait_exit(SOON).expect(0).lines);
    let written: Vec<_> = tree::listing(&sandbox.path("target")).into_keys().collect();
    assert_eq!(written, ["", "tree", "tree/a", "tree/pad"].map(std::path::Path::new));
}

#[test]
fn depth_without_end_is_refused() {
    let deep: Vec<&[u8]> = vec![b"d"; 5000];
    refused_everywhere("5,000 directories deep", &torrent(multi(&[&deep])));
}

#[test]
fn what_is_not_there_or_no_file_at_all_is_refused() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("directory.torrent")).expect("a test directory can be made");
    std::os::unix::fs::symlink("/dev/zero", sandbox.path("endless.torrent")).expect("a link can be made");
    // As a .torrent may begin, and longer than any is.
    let begin = format!("d4:info{}:", CAP - 10);
    let long = sandbox.path("long.torrent");
    std::fs::write(&long, &begin).expect("a test file can be written");
    File::options().write(true).open(&long).and_then(|file| file.set_len(CAP + 1)).expect("it can grow");
    let sparse = File::create(sandbox.path("sparse.torrent"));
    sparse.and_then(|file| file.set_len(8 << 30)).expect("the disk takes sparse files");
    for source in [
        "missing.torrent",
        "directory.torrent", // B47
        "endless.torrent",   // B47
        "long.torrent",      // B45
        "sparse.torrent",    // B46
    ] {
        for command in ["get", "show", "verify", "magnet"] {
            println!("{command} {source}");
            assert_refused(sandbox.sprat(command).arg(source).run(SOON), 4, source);
        }
    }
}

#[test]
fn no_more_is_read_of_a_stream_without_end_than_a_torrent_may_have() {
    // B47
    const CHUNK: u64 = 4096;
    // What a pipe holds that nobody has read.
    const PIPE: u64 = 64 * 1024;
    for command in ["show", "get"] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.path("fifo.torrent");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO can be made");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut to = File::options().write(true).open(&fifo).expect("a FIFO can be opened");
                let mut written = 0;
                while to.write_all(&[b'l'; CHUNK as usize]).is_ok() {
                    written += CHUNK;
                }
                written
            });
            let finished = sandbox.sprat(command).arg("fifo.torrent").run(SOON);
            // Wakes the writer if nobody else did.
            let reader = openat(CWD, &fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
            drop(reader.expect("a FIFO can be opened"));
            let written = writer.join().expect("the writer ends when nobody reads");
            assert_refused(finished, 4, "fifo.torrent");
            assert!(written > 0 && written <= CAP + PIPE + CHUNK, "{command} took {written} bytes");
        });
    }
}

#[test]
fn text_that_is_no_magnet_is_refused() {
    let sandbox = Sandbox::new();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let hash_v2 = "0123456789abcdef".repeat(4);
    let cases = [
        ("G1", "magnet:?".to_owned()),
        ("G1", "magnet:?dn=name".to_owned()),
        ("G2", format!("magnet:?xt=urn:btih:{}", &hash[1..])),
        ("G2", format!("magnet:?xt=urn:btih:{hash}f")),
        ("G3", format!("magnet:?xt=urn:btih:{}", hash.replace('a', "g"))),
        ("G5", format!("magnet:?xt=urn:sha1:{hash}")),
        ("G6", format!("magnet:?xt=urn:btmh:1120{hash_v2}")),
        ("G7", format!("magnet:?xt=urn:btmh:1220{}", &hash_v2[1..])),
        ("G8", format!("magnet:?xt=urn:btih:{hash}&xt=urn:btih:{}", hash.replace('0', "1"))),
        ("G8", format!("magnet:?xt=urn:btmh:1220{hash_v2}&xt=urn:btmh:1220{}", hash_v2.replace('0', "1"))),
        ("", format!("magnet:?xt=urn:btih:\u{1b}[31m{hash}")),
    ];
    for (id, magnet) in cases {
        println!("{id} {magnet:?}");
        let finished = sandbox.sprat("get").args([&magnet, "--port", "0", "--timeout", "1s"]).run(SOON);
        assert_refused(finished, 4, "magnet");
    }
    let many: String = (0..100_000).map(|i| format!("&tr=http://{i}.example/")).collect();
    for (id, more) in [("G11", many), ("G12", format!("&dn={}", "x".repeat(10 << 20)))] {
        let magnet = format!("magnet:?xt=urn:btih:{hash}{more}");
        for command in ["show", "get"] {
            println!("{id} {command}");
            let finished = sandbox.sprat(command).arg("-").run_with_input(magnet.as_bytes(), SOON);
            assert!(finished.stderr().len() < 1000, "{id}: the error does not repeat all of it");
            assert_refused(finished, 4, "magnet");
        }
    }
}
