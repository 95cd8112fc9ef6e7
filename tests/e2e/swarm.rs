//! Create, track, seed, get.

use std::net::SocketAddr;

use harness::process::Signal;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree::{self, Tree};
use harness::wait::{LONG, SOON};

const PIECE: usize = 32 * 1024;

#[test]
fn five_downloaders_get_a_tree_from_one_seeder() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
    let info_hash = info_hash(&torrent);
    let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    tracker.wait_seeds(info_hash, 1);

    let gets = [0, 1, 2, 3, 4].map(|n| sandbox.get(&torrent, sandbox.path(format!("copy{n}")), [""; 0]));
    for (n, get) in gets.into_iter().enumerate() {
        get.process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path(format!("copy{n}/tree")));
        assert_eq!(
            tree::listing(&sandbox.path(format!("copy{n}")))
                .keys()
                .filter(|path| path.iter().count() == 1)
                .count(),
            1
        );
    }
    tracker.wait_scrape(info_hash, "five completed downloads, all gone but the seeder", |scrape| {
        (scrape.complete, scrape.downloaded, scrape.incomplete) == (1, 5, 0)
    });

    seed.process.signal(Signal::INT);
    seed.process.wait_exit(SOON).expect(0);
    tracker.wait_scrape(info_hash, "nobody left", |scrape| (scrape.complete, scrape.incomplete) == (0, 0));
    tracker.process.signal(Signal::INT);
    tracker.process.wait_exit(SOON).expect(0);
}

#[test]
fn a_super_seed_serves_several_and_one_alone() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
    let _seed = sandbox.seed(&torrent, sandbox.path("data"), ["--super-seed"]);
    tracker.wait_seeds(info_hash(&torrent), 1);
    for copies in [["a", "b", "c"].as_slice(), ["alone"].as_slice()] {
        let gets: Vec<_> =
            copies.iter().map(|copy| sandbox.get(&torrent, sandbox.path(copy), [""; 0])).collect();
        for (get, copy) in gets.into_iter().zip(copies) {
            get.process.wait_exit(LONG).expect(0);
            tree::assert_same(&sandbox.path("data/tree"), &sandbox.path(copy).join("tree"));
        }
    }
}

#[test]
fn single_files_of_awkward_sizes_arrive() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    let lengths = [1, 16 * 1024 - 1, 16 * 1024, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 16 * 1024 + 1];
    let mut torrents = Vec::new();
    for length in lengths {
        let name = format!("{length} bytes");
        tree::write(&sandbox.path("data"), &tree::single(length as u64, &name, length));
        torrents.push(sandbox.create(
            sandbox.path("data").join(name),
            [tracker.url().as_str()],
            PIECE as u32,
        ));
    }
    let _seed = sandbox.seed(&torrents[0], sandbox.path("data"), &torrents[1..]);
    for torrent in &torrents {
        tracker.wait_seeds(info_hash(torrent), 1);
    }
    // Several torrents in one command, on both sides.
    sandbox.get(&torrents[0], sandbox.path("copy"), &torrents[1..]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data"), &sandbox.path("copy"));
}

#[test]
fn a_torrent_of_nothing_but_empty_files_is_a_torrent_or_a_clear_refusal() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &Tree::from([("a".into(), vec![]), ("b/c".into(), vec![])]));
    let create = sandbox.sprat("create").arg(sandbox.path("data/tree")).args(["--format", "v1"]).run(SOON);
    if create.code == Some(0) {
        sandbox.get("tree.torrent", sandbox.path("copy"), [""; 0]).process.wait_exit(SOON).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    } else {
        assert_eq!(
            create.clone().expect(4).stderr().lines().filter(|line| line.starts_with("error")).count(),
            1
        );
    }
}

#[test]
fn a_peer_by_address_needs_no_tracker_and_get_prints_the_paths() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(2, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    let get = sandbox
        .sprat("get")
        .arg(&torrent)
        .args(["-o", "copy", "--port", "0", "--peer", &peer])
        .run(LONG)
        .expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    assert_eq!(get.stdout(), "copy/tree\n");
}

#[test]
fn sequential_and_reserved_room_change_nothing_in_the_result() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(3, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer: SocketAddr = seed.wait_listening().addr;
    for (n, allocate) in ["none", "sparse", "full"].into_iter().enumerate() {
        let copy = sandbox.path(format!("copy{n}"));
        let more = ["--sequential", "--allocate", allocate, "--memory", "4MiB", "--peer", &peer.to_string()];
        sandbox.get(&torrent, &copy, more).process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &copy.join("tree"));
    }
}

#[test]
fn a_downloader_that_stays_passes_the_torrent_on() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(4, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
    let info_hash = info_hash(&torrent);
    let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    tracker.wait_seeds(info_hash, 1);

    let first = sandbox.get(&torrent, sandbox.path("first"), ["--seed"]);
    first.wait_event("complete", LONG, |_| Some(()));
    tracker.wait_seeds(info_hash, 2);
    seed.process.signal(Signal::TERM);
    seed.process.wait_exit(SOON).expect(0);

    sandbox.get(&torrent, sandbox.path("second"), [""; 0]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("second/tree"));
    // Complete when stopped: it did what it was asked to.
    first.process.signal(Signal::INT);
    first.process.wait_exit(SOON).expect(0);
}
