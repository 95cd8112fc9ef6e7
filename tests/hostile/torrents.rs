//! .torrent files that are none, or lie.

use std::sync::Arc;

use harness::bencode::Value;
use harness::content::Content;
use harness::peer;
use harness::sandbox::{Sandbox, free_port};
use harness::tree;
use harness::wait::SOON;
use sha1::{Digest as _, Sha1};

use crate::{assert_no_panic, assert_refused};

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
    for source in ["missing.torrent", "directory.torrent", "endless.torrent"] {
        for command in ["get", "show"] {
            assert_refused(sandbox.sprat(command).arg(source).run(SOON), 4, source);
        }
    }
}

#[test]
fn text_that_is_no_magnet_is_refused() {
    let sandbox = Sandbox::new();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let cases = [
        "magnet:?".to_owned(),
        "magnet:?dn=name".to_owned(),
        format!("magnet:?xt=urn:btih:{}", &hash[1..]),
        format!("magnet:?xt=urn:btih:{hash}f"),
        format!("magnet:?xt=urn:btih:{}", hash.replace('a', "g")),
        format!("magnet:?xt=urn:sha1:{hash}"),
        format!("magnet:?xt=urn:btih:{hash}&xt=urn:btih:{}", hash.replace('0', "1")),
    ];
    for magnet in cases {
        let finished = sandbox.sprat("get").args([&magnet, "--port", "0", "--timeout", "1s"]).run(SOON);
        assert_refused(finished, 4, "magnet");
    }
}
