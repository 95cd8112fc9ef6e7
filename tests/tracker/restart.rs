//! kill -9 in the middle of everything, and what is there afterwards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use harness::sandbox::{Sandbox, events, free_port};
use harness::tracker::http::{Client, peers};
use harness::tracker::udp::{Announce, Reply};
use harness::tracker::{LOOPBACK, Tracker};
use harness::wait::{self, SOON};

const TORRENTS: u8 = 40;

fn hash(number: u8) -> [u8; 20] {
    [number; 20]
}

#[test]
fn killed_under_load_it_comes_back_with_counts_keys_and_swarms() {
    let sandbox = Sandbox::new();
    let (state, port) = (sandbox.path("state"), free_port());
    let (at, metrics) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", free_port()));
    let arguments = [
        "--http",
        &at,
        "--udp",
        &at,
        "--metrics",
        &metrics,
        "--state",
        state.to_str().unwrap(),
        "--save-every",
        "1s",
    ];
    let mut tracker = Tracker::with(&sandbox, &arguments);
    let key =
        sandbox.sprat("tracker").args(["key", "create", "--state"]).arg(&state).run(SOON).expect(0).stdout();

    // What was there, and known to be kept, before the load: a seed and a finished download in each torrent.
    let udp = tracker.udp_client();
    for number in 0..TORRENTS {
        udp.join(&Announce::leecher(hash(number), 1));
        udp.join(&Announce { event: 1, ..Announce::seed(hash(number), 1) });
    }
    save(&tracker, &state);

    let mut random = fastrand::Rng::with_seed(9);
    for round in 0..3 {
        let before = downloaded(&tracker);
        let (over, finished) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| load(&tracker, round, &over, &finished));
            wait::until("load", SOON, || (finished.load(Ordering::Relaxed) > 200).then_some(()));
            wait::moment(std::time::Duration::from_millis(random.u64(0..1200)));
            tracker.process.signal(harness::process::Signal::KILL);
            over.store(true, Ordering::Relaxed);
        });
        let finished = finished.load(Ordering::Relaxed);
        tracker.process.wait_exit(SOON);
        tracker = Tracker::with(&sandbox, &arguments);
        let client = tracker.client();
        for number in 0..TORRENTS {
            let counts = client.scrape(&hash(number));
            assert!(counts.downloaded >= 1 && counts.complete >= 1, "round {round}, {number}: {counts:?}");
            assert!(
                peers(&client.join(&hash(number), 60_000, "left=1&numwant=200"))
                    .iter()
                    .any(|peer| peer.port() == 1)
            );
        }
        let completed = downloaded(&tracker);
        assert!(
            (before..=before + finished).contains(&completed),
            "round {round}: {completed} completed, {before} before and {finished} asked for since"
        );
    }
    let listed =
        sandbox.sprat("tracker").args(["key", "list", "--state"]).arg(&state).run(SOON).expect(0).stdout();
    assert!(listed.contains(key.trim()), "{listed}");
    // Those who come back are not told to come all at once again.
    let udp = tracker.udp_client();
    let told: BTreeSet<u32> = (1..=100)
        .map(|port| match udp.announce(&Announce::leecher(hash(1), port)) {
            Reply::Announce { interval, .. } => interval,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(told.len() > 20 && told.last().unwrap() - told.first().unwrap() > 120, "{told:?}");
}

/// Clients that come, finish and go, until it is over; `finished` counts downloads that were asked to be counted.
fn load(tracker: &Tracker, round: u16, over: &AtomicBool, finished: &AtomicU64) {
    let udp = tracker.udp_client();
    let mut port = 1000 + 15_000 * round;
    while !over.load(Ordering::Relaxed) {
        port += 1;
        let hash = hash((port % u16::from(TORRENTS)) as u8);
        let announces = [
            Announce { event: 2, ..Announce::leecher(hash, port) },
            Announce { event: 1, ..Announce::seed(hash, port) },
        ];
        finished.fetch_add(1, Ordering::Relaxed);
        for announce in announces {
            // Unanswered once it is killed.
            if udp.socket.send(&announce.packet(udp.id, port.into())).is_err()
                || udp.socket.recv(&mut [0; 2048]).is_err()
            {
                return;
            }
        }
        if port.is_multiple_of(3) {
            let _ = udp.socket.send(&Announce { event: 3, ..announces[1] }.packet(udp.id, 0));
            let _ = udp.socket.recv(&mut [0; 2048]);
        }
    }
}

/// Finished downloads of all torrents.
fn downloaded(tracker: &Tracker) -> u64 {
    let client = tracker.client();
    (0..TORRENTS).map(|number| client.scrape(&hash(number)).downloaded as u64).sum()
}

/// Has it write its snapshot.
fn save(tracker: &Tracker, state: &std::path::Path) {
    let token = std::fs::read_to_string(state.join("admin.token")).expect("the token");
    let header = format!("Authorization: Bearer {}", token.trim());
    let admin = Client::new(tracker.admin.expect("an admin API")).header(&header);
    assert_eq!(admin.method("POST", "/save").status, 204);
}

#[test]
fn stopped_in_peace_it_comes_back_with_everything() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state");
    let arguments = ["--state", state.to_str().unwrap()];
    let tracker = Tracker::start(&sandbox, &arguments);
    let udp = tracker.udp_client();
    for port in 1..=300 {
        udp.join(&Announce { num_want: 0, ..Announce::leecher(hash((port % 7) as u8), port) });
    }
    for port in 1..=100 {
        udp.join(&Announce { num_want: 0, event: 1, ..Announce::seed(hash((port % 7) as u8), port) });
    }
    let (before, completed) = (tracker.stats(), downloaded(&tracker));
    assert_eq!(completed, 100);
    let scrapes: Vec<_> = (0..7).map(|number| tracker.client().scrape(&hash(number))).collect();
    tracker.stop();
    let tracker = Tracker::start(&sandbox, &arguments);
    let after = tracker.stats();
    for key in ["torrents", "peers", "ipv4", "ipv6", "seeds", "leechers"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!((0..7).map(|number| tracker.client().scrape(&hash(number))).collect::<Vec<_>>(), scrapes);
    // A seed of before that says so again has not finished again.
    tracker.udp_client().join(&Announce { event: 1, ..Announce::seed(hash(1), 1) });
    assert_eq!(downloaded(&tracker), completed);
    // A snapshot that is damaged, which no crash of ours leaves behind, is named, or done without; and without it counts are there.
    tracker.stop();
    let snapshot = state.join("swarms.snapshot");
    let whole = std::fs::read(&snapshot).expect("a snapshot");
    for damaged in
        [whole[..whole.len() / 2].to_vec(), vec![], vec![0xff; 4096], [&whole[..], &[0; 100]].concat()]
    {
        std::fs::write(&snapshot, damaged).unwrap();
        let process = sandbox.sprat("tracker").arg("--json").args(LOOPBACK).args(arguments).spawn();
        let started = process.wait_for("a start or an error", SOON, |lines| {
            events(lines).iter().find_map(|event| match event["event"].as_str() {
                Some("started") => Some(true),
                Some("error") => Some(false),
                _ => None,
            })
        });
        if started {
            process.kill();
        } else {
            let ended = process.wait_exit(SOON).expect(3);
            assert!(ended.stderr().contains("swarms.snapshot"), "{}", ended.stderr());
        }
    }
    let _ = std::fs::remove_file(&snapshot);
    let tracker = Tracker::start(&sandbox, &arguments);
    assert_eq!(downloaded(&tracker), completed, "counts are kept apart");
}
