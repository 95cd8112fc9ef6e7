//! Ports, trackers, directories and permissions that are not what they should be.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use harness::fake_tracker::{Answer, FakeTracker};
use harness::require::{require_peer, require_root};
use harness::sandbox::{Sandbox, Sprat};
use harness::tree;
use harness::wait::{LONG, SOON};

use crate::{assert_no_panic, assert_refused};

const PIECE: usize = 32 * 1024;

/// A file in `data`, its torrent, and a seeder's address.
fn seeded() -> (Sandbox, PathBuf, harness::sandbox::Running, String) {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    (sandbox, torrent, seed, peer)
}

#[test]
fn a_port_in_use_is_exit_code_10() {
    let (sandbox, torrent, _seed, _) = seeded();
    let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    assert_refused(
        sandbox.sprat("get").arg(&torrent).args(["-o", "copy", "--port", &port]).run(SOON),
        10,
        &port,
    );
    let seed = sandbox.sprat("seed").arg(&torrent).args(["--data", "data", "--port", &port]);
    assert_refused(seed.run(SOON), 10, &port);
    let addr = format!("127.0.0.1:{port}");
    assert_refused(sandbox.sprat("tracker").args(["--http", &addr]).run(SOON), 10, &port);
    assert_eq!(tree::listing(&sandbox.path("copy")).values().flatten().count(), 0);
}

#[test]
fn trackers_that_answer_nonsense_are_named_and_survived() {
    let answers = [
        Answer::Body(b"<!DOCTYPE html><html><body>Log in to the network</body></html>".to_vec()),
        Answer::Body(Vec::new()),
        Answer::Body(b"d8:intervali60e5:peers5:12345e".to_vec()),
        Answer::Body(b"d8:intervali60e5:pe".to_vec()),
        Answer::Body(b"d14:failure reason6:go \x1b[2Je".to_vec()),
        Answer::Body([b"d14:failure reason1000000:".to_vec(), vec![b'x'; 1_000_000], b"e".to_vec()].concat()),
        Answer::Body(
            [b"d8:intervali60e5:peers6000000:".to_vec(), vec![1; 6_000_000], b"e".to_vec()].concat(),
        ),
        Answer::Body(vec![b'l'; 200_000]),
        Answer::Raw(b"HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Answer::Raw(b"HTTP/1.1 302 Found\r\nLocation: /announce\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nd8:interval".to_vec()),
        Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_vec()),
        Answer::Raw(b"\x16\x03\x01\x02\0\x01\0".to_vec()),
        Answer::Close,
    ];
    for answer in answers {
        let (sandbox, torrent, _seed, peer) = seeded();
        let said = format!("{answer:.60?}");
        let tracker = FakeTracker::start(move |_| answer.clone());
        // Alone, it is the end after a while …
        let more = ["-o", "alone", "--port", "0", "-t", &tracker.url(), "--timeout", "3s"];
        let alone = sandbox.sprat("get").arg(&torrent).args(more).run(LONG);
        assert_no_panic(&alone.lines);
        assert!(matches!(alone.code, Some(8 | 10)), "{said}: {alone:#?}");
        assert!(alone.stderr().contains(&tracker.url()), "{said}: it names the tracker\n{}", alone.stderr());
        assert!(!alone.stderr().contains('\x1b'), "{said}");
        // … and with a peer at hand it does not matter.
        let beside = sandbox.get(&torrent, sandbox.path("copy"), ["-t", &tracker.url(), "--peer", &peer]);
        assert_no_panic(&beside.process.wait_exit(LONG).expect(0).lines);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    }
}

#[test]
fn data_that_is_not_there_or_wrong_is_exit_code_6() {
    let (sandbox, torrent, _seed, _) = seeded();
    fs::create_dir(sandbox.path("empty")).expect("a test directory can be made");
    let seed =
        |data: &str| sandbox.sprat("seed").arg(&torrent).args(["--data", data, "--port", "0"]).run(SOON);
    assert_refused(seed("empty"), 6, "tree");
    assert_refused(seed("nowhere"), 6, "nowhere");

    let mut files = tree::mixed(1, PIECE);
    files.remove("more");
    tree::write(&sandbox.path("lacking/tree"), &files);
    assert_refused(seed("lacking"), 6, "more");
    let mut files = tree::mixed(1, PIECE);
    // In its middle: a piece at its edge is another file's as well.
    files.get_mut("zz/large").expect("a file of the tree")[4 * PIECE] ^= 1;
    tree::write(&sandbox.path("wrong/tree"), &files);
    assert_refused(seed("wrong"), 6, "large");
    let verify = sandbox.sprat("verify").arg(&torrent).arg("empty").run(SOON);
    assert_no_panic(&verify.lines);
    verify.expect(6);
}

/// Runs sprat as a user who may do nothing but write in `home`; from a copy, which that user can reach.
fn as_nobody(sandbox: &Sandbox, command: &str) -> Sprat {
    let binary = sandbox.path("sprat");
    if !binary.exists() {
        // By another process: one that we had open for writing could not be started while some other test's child holds on to it.
        let copied = Command::new("cp").arg(harness::binary::sprat()).arg(&binary).status();
        assert!(copied.is_ok_and(|status| status.success()), "the binary can be copied");
        fs::create_dir_all(sandbox.path("home")).expect("a test directory can be made");
        fs::create_dir_all(sandbox.path("nobody")).expect("a test directory can be made");
        fs::set_permissions(sandbox.path("nobody"), Permissions::from_mode(0o777)).expect("it is ours");
    }
    let state = sandbox.path("nobody");
    let unprivileged = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    sandbox
        .program(&binary, command)
        .env("HOME", &state)
        .env("XDG_STATE_HOME", &state)
        .under("setpriv", &unprivileged)
}

#[test]
fn a_directory_that_may_not_be_written_is_exit_code_5() {
    if !(require_root() && require_peer("setpriv")) {
        return;
    }
    let (sandbox, torrent, _seed, peer) = seeded();
    fs::create_dir(sandbox.path("locked")).expect("a test directory can be made");
    fs::set_permissions(sandbox.path("locked"), Permissions::from_mode(0o555)).expect("it is ours");
    let get = as_nobody(&sandbox, "get").arg(&torrent).args(["-o", "locked", "--port", "0", "--peer", &peer]);
    assert_refused(get.run(SOON), 5, "locked");
    let create =
        as_nobody(&sandbox, "create").args(["data/tree", "--format", "v1", "-o", "locked/tree.torrent"]);
    assert_refused(create.run(SOON), 5, "locked");
    assert_eq!(tree::listing(&sandbox.path("locked")).len(), 1);
}

#[test]
fn a_payload_that_may_not_be_read_is_named() {
    if !(require_root() && require_peer("setpriv")) {
        return;
    }
    let (sandbox, torrent, _seed, _) = seeded();
    fs::set_permissions(sandbox.path("data/tree/more"), Permissions::from_mode(0o000)).expect("it is ours");
    let create = as_nobody(&sandbox, "create")
        .args(["data/tree", "--format", "v1", "-o", "nobody/tree.torrent"])
        .run(SOON);
    assert_no_panic(&create.lines);
    assert!(create.code.is_some_and(|code| code != 0) && create.stderr().contains("more"), "{create:#?}");
    let seed = as_nobody(&sandbox, "seed").arg(&torrent).args(["--data", "data", "--port", "0"]).run(SOON);
    assert_no_panic(&seed.lines);
    assert!(seed.code.is_some_and(|code| code != 0) && seed.stderr().contains("more"), "{seed:#?}");
    assert!(!sandbox.path("nobody/tree.torrent").exists());
}

#[test]
fn a_state_directory_that_may_not_be_written_does_not_cost_the_download() {
    if !(require_root() && require_peer("setpriv")) {
        return;
    }
    let (sandbox, torrent, _seed, peer) = seeded();
    fs::create_dir(sandbox.path("locked")).expect("a test directory can be made");
    fs::set_permissions(sandbox.path("locked"), Permissions::from_mode(0o555)).expect("it is ours");
    let get =
        as_nobody(&sandbox, "get").arg(&torrent).args(["-o", "nobody/copy", "--port", "0", "--peer", &peer]);
    let finished = get.env("XDG_STATE_HOME", sandbox.path("locked")).run(LONG);
    assert_no_panic(&finished.lines);
    // Either it runs without a record and says so, or it refuses and says why.
    assert!(finished.stderr().contains("locked"), "{finished:#?}");
    if finished.code == Some(0) {
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("nobody/copy/tree"));
    } else {
        finished.expect(5);
    }
}

#[test]
fn a_target_that_is_no_directory_is_exit_code_5() {
    let (sandbox, torrent, _seed, peer) = seeded();
    fs::write(sandbox.path("file"), "mine").expect("a test file can be written");
    let get = sandbox.sprat("get").arg(&torrent).args(["-o", "file", "--port", "0", "--peer", &peer]);
    assert_refused(get.run(SOON), 5, "file");
    assert_eq!(fs::read(sandbox.path("file")).expect("it is still there"), b"mine");
}

#[test]
fn links_that_lead_out_of_the_target_are_not_followed() {
    // The torrent's own directory, a directory in it, a file, and a file's temporary name.
    for link in ["copy/tree", "copy/tree/zz", "copy/tree/a", "copy/tree/a.part"] {
        let (sandbox, torrent, _seed, peer) = seeded();
        let link = sandbox.path(link);
        fs::create_dir_all(sandbox.path("outside")).expect("a test directory can be made");
        fs::write(sandbox.path("outside/mine"), "mine").expect("a test file can be written");
        fs::create_dir_all(link.parent().expect("below the sandbox")).expect("a test directory can be made");
        let target = if link.ends_with("tree") || link.ends_with("zz") { "outside" } else { "outside/mine" };
        symlink(sandbox.path(target), &link).expect("a link can be made");

        let get =
            sandbox.sprat("get").arg(&torrent).args(["-o", "copy", "--port", "0", "--peer", &peer]).run(LONG);
        assert_no_panic(&get.lines);
        assert_eq!(
            tree::listing(&sandbox.path("outside")).len(),
            2,
            "{}: nothing but the directory and `mine`",
            link.display()
        );
        assert_eq!(
            fs::read(sandbox.path("outside/mine")).expect("it is still there"),
            b"mine",
            "{}",
            link.display()
        );
        assert_ne!(get.code, Some(101), "{get:#?}");
    }
}
