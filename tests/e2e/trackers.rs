//! Trackers that fail: the torrent goes on.

use std::net::SocketAddr;

use harness::fake_tracker::{Answer, FakeTracker};
use harness::process::Signal;
use harness::sandbox::{Sandbox, free_port, info_hash};
use harness::tracker::Tracker;
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

#[test]
fn a_udp_tracker_alone_will_do_and_is_told_of_the_end() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let url = format!("udp://{}/announce", tracker.udp[0]);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(6, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [url.as_str()], PIECE as u32);
    let hash = info_hash(&torrent);
    let scrape = || harness::http::scrape(tracker.http[0], hash.as_bytes()).unwrap_or_default();
    let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    harness::wait::until("the seed at the tracker", SOON, || (scrape().complete == 1).then_some(()));
    for (source, copy) in [
        (torrent.display().to_string(), "by torrent"),
        (format!("magnet:?xt=urn:btih:{hash}&tr={url}"), "by magnet"),
    ] {
        sandbox.get(&source, sandbox.path(copy), [""; 0]).process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path(copy).join("tree"));
    }
    assert_eq!(
        (scrape().complete, scrape().incomplete, scrape().downloaded),
        (1, 0, 2),
        "both said completed and stopped"
    );
    let shown = sandbox.sprat("show").args(["--scrape", "--json"]).arg(&torrent).run(SOON).expect(0).stdout();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("one JSON document");
    let entry = &shown["scrape"][0];
    assert_eq!(
        (&entry["url"], &entry["seeds"], &entry["downloaded"]),
        (&url.into(), &1.into(), &2.into()),
        "{shown:#}"
    );
    seed.process.signal(Signal::INT);
    seed.process.wait_exit(SOON).expect(0);
    assert_eq!(scrape().complete, 0, "it said that it stopped");
}

#[test]
fn dead_trackers_of_a_magnet_cost_no_time() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    // One says nothing, one nobody listens to, one hangs.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let hangs = FakeTracker::start(|_| Answer::Silence);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(7, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
    let hash = info_hash(&torrent);
    let _seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    tracker.wait_seeds(hash, 1);
    let dead = format!(
        "udp://{}&tr=http://127.0.0.1:{}/announce&tr={}",
        silent.local_addr().expect("bound"),
        free_port(),
        hangs.url()
    );
    let magnet = format!("magnet:?xt=urn:btih:{hash}&tr={dead}&tr={}", tracker.url());
    let get = sandbox.get(&magnet, sandbox.path("copy"), ["-v"]);
    // The first of the list have not given up by then: a UDP tracker is waited for 45 s.
    let finished = get.process.wait_exit(SOON).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    assert!(!finished.stderr().contains("no answer within"), "{finished:#?}");
}

#[test]
fn a_download_says_why_it_does_not_get_on() {
    let sandbox = Sandbox::new();
    let nobody = format!("udp://127.0.0.1:{}", free_port());
    let hash = "89abcdef0123456789abcdef0123456789abcdef";
    let get = sandbox.get(
        format!("magnet:?xt=urn:btih:{hash}&tr={nobody}"),
        sandbox.path("copy"),
        ["-v", "--timeout", "5s"],
    );
    let finished = get.process.wait_exit(SOON).expect(8);
    let events = harness::sandbox::events(&finished.lines);
    let why =
        events.iter().rev().find(|event| event["event"] == "progress").map(|event| event["why"].clone());
    assert_eq!(why.expect("it told of its progress")["code"], "trackers_fail", "{finished:#?}");
    assert!(
        finished.stderr().contains("its tracker does not answer (0 peers of 0 known, 1 of 1 trackers fail)"),
        "{finished:#?}"
    );
    assert!(
        events.iter().any(|event| event["event"] == "error"
            && event["message"]
                .as_str()
                .is_some_and(|text| text.ends_with("no peers for 5s: its tracker does not answer"))),
        "{finished:#?}"
    );
}
