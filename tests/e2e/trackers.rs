//! Trackers that fail: the torrent goes on.

use std::net::SocketAddr;

use harness::fake_tracker::{Answer, FakeTracker};
use harness::process::Signal;
use harness::sandbox::{Sandbox, free_port, info_hash};
use harness::tree;
use harness::wait::{LONG, SOON};

const PIECE: usize = 32 * 1024;

#[test]
fn a_tracker_that_dies_in_a_transfer_does_not_end_it_and_is_used_again_when_it_is_back() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
    let hash = info_hash(&torrent);
    let _seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "256KiB"]);
    tracker.wait_seeds(hash, 1);
    let get = sandbox.get(&torrent, sandbox.path("copy"), ["--seed"]);
    get.wait_event("progress", LONG, |event| event["bytes_done"].as_u64().filter(|&bytes| bytes > 0));

    let addr = tracker.addr;
    tracker.process.kill();
    // Its `completed` finds nobody.
    get.wait_event("complete", LONG, |_| Some(()));
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    // The tracker is back, and knows nobody until the client tries again, as it must after a failed announce.
    let tracker = sandbox.tracker_at(addr, None);
    harness::wait::until("the downloader, now a seed, at the new tracker", LONG, || {
        (tracker.scrape(hash).complete >= 1).then_some(())
    });
    get.process.signal(Signal::INT);
    get.process.wait_exit(SOON).expect(0);
}

#[test]
fn a_tracker_that_is_not_there_yet_is_asked_again() {
    let sandbox = Sandbox::new();
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    tree::write(&sandbox.path("data/tree"), &tree::mixed(2, PIECE));
    let torrent =
        sandbox.create(sandbox.path("data/tree"), [format!("http://{addr}/announce").as_str()], PIECE as u32);
    let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let get = sandbox.get(&torrent, sandbox.path("copy"), [""; 0]);
    seed.wait_event("tracker", SOON, |_| Some(()));
    get.wait_event("tracker", SOON, |_| Some(()));
    let _tracker = sandbox.tracker_at(addr, None);
    get.process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

#[test]
fn the_next_in_line_is_asked_when_one_fails() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    let nobody = format!("http://127.0.0.1:{}/announce", free_port());
    let html = FakeTracker::start(|_| Answer::Body(b"<!DOCTYPE html><title>It works!</title>".to_vec()));
    tree::write(&sandbox.path("data/tree"), &tree::mixed(3, PIECE));
    let tier = format!("{nobody},{}", html.url());
    let torrent = sandbox.create(sandbox.path("data/tree"), [tier.as_str(), &tracker.url()], PIECE as u32);
    let _seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    tracker.wait_seeds(info_hash(&torrent), 1);
    sandbox.get(&torrent, sandbox.path("copy"), [""; 0]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    assert!(!html.queries().is_empty());
}

#[test]
fn a_reply_with_ourselves_and_nonsense_among_the_peers_is_still_of_use() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(4, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let honest = seed.wait_listening().addr;
    // The asker itself, as its announce says; port 0; an address of nobody; the same peer many times.
    let tracker = FakeTracker::start(move |query| {
        let own: u16 = query.text("port").parse().unwrap_or(1);
        let mut peers = vec![
            SocketAddr::from(([127, 0, 0, 1], own)),
            SocketAddr::from(([127, 0, 0, 1], 0)),
            SocketAddr::from(([0, 0, 0, 0], 6881)),
            SocketAddr::from(([255, 255, 255, 255], 6881)),
            SocketAddr::from(([224, 0, 0, 1], 6881)),
        ];
        peers.extend([honest; 50]);
        Answer::peers(0, &peers)
    });
    sandbox.get(&torrent, sandbox.path("copy"), ["-t", &tracker.url()]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

#[test]
fn however_short_a_download_is_the_tracker_hears_started_completed_stopped() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(5, "file.bin", PIECE));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr;
    let tracker = FakeTracker::start(move |_| Answer::peers(1800, &[peer]));
    for n in 0..10 {
        let before = tracker.queries().len();
        let copy = sandbox.path(format!("copy{n}"));
        sandbox.get(&torrent, &copy, ["-t", &tracker.url()]).process.wait_exit(LONG).expect(0);
        let heard: Vec<_> = tracker.queries()[before..].iter().map(|query| query.text("event")).collect();
        assert_eq!(heard, ["started", "completed", "stopped"], "download {n}");
    }
}
