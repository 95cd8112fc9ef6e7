//! Ctrl-C and its relatives.

use std::time::Duration;

use harness::fake_tracker::{Answer, FakeTracker, Query};
use harness::process::Signal;
use harness::require::say;
use harness::sandbox::{Running, Sandbox};
use harness::tree;
use harness::wait::{LONG, SOON, Stopwatch};

const PIECE: usize = 64 * 1024;

/// The promise is 3 s (printed below); a busy machine gets more, but far less than any time-out of a network that was waited for.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A slow download in the middle, from a seeder that the tracker names; the tracker answers `stopped` as the test wants.
fn half_way(on_stopped: Answer) -> (Sandbox, FakeTracker, Running, Running) {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 64 * PIECE));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "512KiB"]);
    let peer = seed.wait_listening().addr;
    let tracker = FakeTracker::start(move |query| match query.text("event").as_str() {
        "stopped" => on_stopped.clone(),
        _ => Answer::peers(1800, &[peer]),
    });
    let get = sandbox.get(&torrent, sandbox.path("copy"), ["-t", &tracker.url()]);
    get.wait_event("progress", LONG, |event| event["bytes_done"].as_u64().filter(|&bytes| bytes > 0));
    (sandbox, tracker, seed, get)
}

fn stopped(queries: &[Query]) -> Option<Query> {
    queries.iter().find(|query| query.text("event") == "stopped").cloned()
}

#[test]
fn ctrl_c_ends_a_download_with_130_and_the_tracker_hears_it() {
    let (sandbox, tracker, _seed, get) = half_way(Answer::peers(1800, &[]));
    let watch = Stopwatch::start();
    get.process.signal(Signal::INT);
    let finished = get.process.wait_exit(STOP_LIMIT).expect(130);
    say(&format!("Ctrl-C: ended after {:?}", watch.elapsed()));

    let heard = tracker.queries();
    let goodbye = stopped(&heard).unwrap_or_else(|| panic!("no `stopped` in {heard:#?}"));
    assert_ne!(goodbye.text("left"), "0");
    assert_eq!(heard.iter().filter(|query| query.text("event") == "started").count(), 1);
    assert_eq!(heard.iter().filter(|query| query.text("event") == "completed").count(), 0);
    assert!(!finished.stderr().contains("panicked"), "{finished:#?}");
    assert!(!sandbox.path("copy/file.bin").exists(), "an unfinished file does not bear its own name");
}

#[test]
fn a_tracker_that_hangs_does_not_hold_up_ctrl_c() {
    let (_sandbox, tracker, _seed, get) = half_way(Answer::Silence);
    let watch = Stopwatch::start();
    get.process.signal(Signal::INT);
    get.process.wait_exit(STOP_LIMIT).expect(130);
    say(&format!("Ctrl-C with a tracker that hangs: ended after {:?}", watch.elapsed()));
    tracker.wait_for("`stopped`", SOON, stopped);
}

#[test]
fn sigterm_and_sighup_end_a_download_with_7() {
    for signal in [Signal::TERM, Signal::HUP] {
        let (_sandbox, tracker, _seed, get) = half_way(Answer::peers(1800, &[]));
        get.process.signal(signal);
        get.process.wait_exit(STOP_LIMIT).expect(7);
        tracker.wait_for("`stopped`", SOON, stopped);
    }
}

#[test]
fn a_stopped_download_is_resumed_by_the_same_command() {
    let (sandbox, tracker, seed, get) = half_way(Answer::peers(1800, &[]));
    get.process.signal(Signal::INT);
    get.process.wait_exit(STOP_LIMIT).expect(130);
    let torrent = sandbox.path("file.bin.torrent");
    sandbox.get(&torrent, sandbox.path("copy"), ["-t", &tracker.url()]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
    // Stopped in peace, it kept all that it had verified: what is fetched twice are blocks of pieces that were open.
    let total = 64 * PIECE as u64;
    let uploaded =
        seed.wait_event("progress", SOON, |event| event["uploaded"].as_u64().filter(|&sent| sent >= total));
    say(&format!("stopped and resumed: {uploaded} bytes sent for {total}"));
    assert!(uploaded < total + total / 2, "{uploaded} bytes sent for {total}");
}

#[test]
fn a_seed_stopped_by_a_signal_did_its_job() {
    let tracker = FakeTracker::start(|_| Answer::peers(1800, &[]));
    for signal in [Signal::INT, Signal::TERM] {
        let sandbox = Sandbox::new();
        tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", PIECE));
        let torrent = sandbox.create(sandbox.path("data/file.bin"), [tracker.url().as_str()], PIECE as u32);
        let before = tracker.queries().len();
        let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
        let started = tracker.wait_for("`started`", SOON, |queries| queries.get(before).cloned());
        assert_eq!((started.text("event").as_str(), started.text("left").as_str()), ("started", "0"));
        assert!(started.parameters["peer_id"].starts_with(b"-SR"), "{started:?}");
        assert_eq!(started.text("compact"), "1");
        seed.process.signal(signal);
        seed.process.wait_exit(STOP_LIMIT).expect(0);
        tracker.wait_for("`stopped`", SOON, |queries| stopped(&queries[before..]));
    }
}
