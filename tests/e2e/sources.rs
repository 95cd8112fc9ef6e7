//! Where a torrent may come from, beside a file and a magnet: the web, standard input.

use std::fs;

use harness::fake_tracker::{Answer, FakeTracker};
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};

const PIECE: usize = 32 * 1024;

#[test]
fn a_torrent_comes_from_the_web_or_from_standard_input() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let bytes = fs::read(&torrent).expect("it was just made");
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    let served = bytes.clone();
    let web = FakeTracker::start(move |_| Answer::Body(served.clone()));
    let url = web.url().replace("/announce", "/files/tree.torrent");
    sandbox.get(&url, sandbox.path("web"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("web/tree"));
    assert_eq!(web.queries()[0].path, "/files/tree.torrent");

    let get = sandbox.sprat("get").args(["-", "-o", "stdin", "--port", "0", "--peer", &peer]);
    get.run_with_input(&bytes, LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("stdin/tree"));
}

#[test]
fn a_page_instead_of_a_torrent_is_named() {
    let sandbox = Sandbox::new();
    for answer in [
        Answer::Body(b"<!DOCTYPE html><title>Not here</title>".to_vec()),
        Answer::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Answer::Close,
    ] {
        let web = FakeTracker::start(move |_| answer.clone());
        let url = web.url().replace("/announce", "/tree.torrent");
        let get = sandbox.sprat("get").args([&url, "--port", "0"]).run(SOON);
        assert!(matches!(get.code, Some(4 | 10)), "{get:#?}");
        assert!(get.stderr().contains(&url), "{get:#?}");
    }
}

#[test]
fn the_files_of_a_torrent_are_shown_without_a_download() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(1, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let shown =
        sandbox.sprat("get").arg(&torrent).args(["--show-files", "-o", "copy"]).run(SOON).expect(0).stdout();
    for path in files.keys() {
        assert!(shown.contains(path.as_str()), "{path}\n{shown}");
    }
    assert!(!sandbox.path("copy").exists());
}
