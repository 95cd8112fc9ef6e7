//! Traps 28 to 31: what is answered.

use std::collections::BTreeSet;
use std::io::Write as _;

use harness::bencode::Value;
use harness::sandbox::Sandbox;
use harness::tracker::http::{self, escape, failure, peers, ports, query};
use harness::tracker::udp::{Announce, Reply};
use harness::tracker::{BOTH_FAMILIES, Tracker};

const HASH: &[u8; 20] = b"the answer to peers!";

#[test]
fn trap_28_replies_are_sorted_and_always_have_peers() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &[&BOTH_FAMILIES[..], &["--trust-proxy", "127.0.0.1/32"]].concat());
    let client = tracker.client();
    // That all keys are sorted, the reader of the harness insists on.
    let alone = client.join(HASH, 1, "left=1&compact=1");
    assert_eq!(alone.string("peers"), Some(&b""[..]));
    assert!(client.join(HASH, 1, "left=1&event=stopped").get("peers").is_some());
    for (port, more) in [(1, "left=0"), (0x1234, "left=1")] {
        client.join(HASH, port, more);
    }
    client.clone().header("X-Forwarded-For: 2a00:1450::1").join(HASH, 0x1234, "left=1&key=7");
    client.clone().header("X-Forwarded-For: 203.0.113.9").join(HASH, 0x1234, "left=1&key=8");
    let abroad = client.clone().header("X-Forwarded-For: 203.0.113.7");
    let Value::Dict(entries) = abroad.join(HASH, 2, "left=1&compact=1") else { panic!() };
    abroad.join(HASH, 2, "left=1&event=stopped");
    let keys: Vec<_> = entries.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    for needed in ["complete", "external ip", "incomplete", "interval", "min interval", "peers", "peers6"] {
        assert!(keys.iter().any(|key| key == needed), "{needed} among {keys:?}");
    }
    // Whoever asks for dictionaries gets numbers in them, if he gets dictionaries.
    let reply = client.join(HASH, 2, "left=1&compact=0");
    if let Some(Value::List(listed)) = reply.get("peers") {
        let mut ports: Vec<_> = listed.iter().map(|peer| peer.int("port").expect("a number")).collect();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.contains(&1) && ports.contains(&0x1234), "{ports:?}");
        assert!(listed.iter().all(|peer| peer.string("ip").is_some()));
    } else {
        assert!(peers(&reply).len() >= 2, "{reply:?}");
    }
}

#[test]
fn trap_29_what_libtorrent_reads_is_what_is_said() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &["--trust-proxy", "127.0.0.1/32"]);
    let client = tracker.client();
    client.clone().header("X-Forwarded-For: 203.0.113.1").join(HASH, 1, "left=0");
    for (address, external) in [
        ("203.0.113.7", Some(vec![203, 0, 113, 7])),
        ("2a00:1450::1", Some([&[0x2a, 0, 0x14, 0x50][..], &[0; 11], &[1]].concat())),
        // Of use to nobody, and libtorrent would vote for it.
        ("192.168.1.1", None),
    ] {
        let client = client.clone().header(&format!("X-Forwarded-For: {address}"));
        let reply = client.join(HASH, 2, "left=1");
        let interval = reply.int("interval").expect("an interval");
        let min = reply.int("min interval").expect("a min interval");
        // Also what newTrackon takes for a good tracker: 5 minutes to 3 hours.
        assert!((300..=10_800).contains(&interval), "{interval}");
        assert!((1..=interval).contains(&min), "{min}");
        assert_eq!(reply.string("external ip"), external.as_deref(), "{address}");
        assert!(!peers(&reply).is_empty());
    }
    // A hash that nobody knows, of one who has it all, is fine.
    assert_eq!(failure(&tracker.client().announce(&query(&[0xf7; 20], 6881, "left=0"))), None);
    assert_eq!(tracker.client().scrape(HASH).downloaders, Some(3));
}

#[test]
fn trap_30_intervals_differ_and_those_who_are_too_many_are_told_when_to_come_back() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &["--max-connections", "2"]);
    let client = tracker.client();
    let told: BTreeSet<i128> = (1..=200)
        .map(|port| client.join(HASH, port, "left=1").int("interval").expect("an interval"))
        .collect();
    assert!(told.len() > 20, "{told:?}");
    assert!(
        told.iter().all(|interval| (1620..=1980).contains(interval)),
        "half an hour, give or take a tenth: {told:?}"
    );
    let udp = tracker.udp_client();
    let told: BTreeSet<u32> = (1..=50)
        .map(|port| match udp.announce(&Announce::leecher(*HASH, port)) {
            Reply::Announce { interval, .. } => interval,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(told.len() > 10, "{told:?}");

    // Two connections are all that it takes; the third is told so.
    let ask = format!("GET /announce?{} HTTP/1.1\r\nHost: t\r\n\r\n", query(HASH, 1, "left=1"));
    let mut kept: Vec<_> = (0..2).map(|_| client.stream()).collect();
    for stream in &mut kept {
        stream.write_all(ask.as_bytes()).unwrap();
        assert_eq!(failure(&http::read(stream, false).unwrap().dictionary()), None);
    }
    let turned_away = client.try_get(&format!("/announce?{}", query(HASH, 1, "left=1")));
    let reply = turned_away.expect("an answer").dictionary();
    assert!(failure(&reply).is_some());
    assert!(reply.int("retry in").is_some_and(|minutes| (1..=60).contains(&minutes)), "{reply:?}");
    // Those who were there are still served.
    for stream in &mut kept {
        stream.write_all(ask.as_bytes()).unwrap();
        assert_eq!(failure(&http::read(stream, false).unwrap().dictionary()), None);
    }
    drop(kept);
    harness::wait::until("room", harness::wait::SOON, || {
        let reply = client.try_get(&format!("/announce?{}", query(HASH, 1, "left=1")))?.dictionary();
        failure(&reply).is_none().then_some(())
    });
    assert!(tracker.metric("sprat_tracker_dropped_total", &["reason=\"busy\""]) >= 1.0);
}

#[test]
fn trap_31_who_comes_too_early_is_answered_as_ever_and_nothing_is_logged() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let (client, udp) = (tracker.client(), tracker.udp_client());
    client.join(HASH, 1, "left=0");
    let lines = tracker.process.lines().len();
    for _ in 0..100 {
        assert_eq!(ports(&peers(&client.join(HASH, 2, "left=1"))), [1]);
        assert_eq!(udp.join(&Announce::leecher(*HASH, 2)).len(), 1);
        client.announce("info_hash=bad");
        client.get(&format!("/scrape?info_hash={}", escape(HASH)));
    }
    assert_eq!(tracker.process.lines().len(), lines, "{:?}", tracker.process.lines());
}
