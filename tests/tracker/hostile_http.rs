//! Bad input over HTTP by the names of our catalogue, as far as it takes the whole program. H1 to H29, H32 and H35 to H39 stand in
//! `tracker/tests/http/hostile.rs`; H30 and H31 are traps 19 and 20.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;

use harness::bench::usage::resident;
use harness::sandbox::Sandbox;
use harness::tracker::Tracker;
use harness::tracker::http::{self, Counts, failure, peers, query};
use harness::tracker::udp::{Announce, Client};

const HASH: &[u8; 20] = b"hostile to trackers!";

/// Every address of the world may ask through 127.0.0.1.
fn behind_proxy(sandbox: &Sandbox, more: &[&str]) -> Tracker {
    Tracker::start(sandbox, &[&["--trust-proxy", "127.0.0.1/32"], more].concat())
}

/// Announces on one connection, each from an address of its own; gives how many were not refused.
fn announce_from(tracker: &Tracker, announces: impl Iterator<Item = (String, String)>) -> usize {
    let mut stream = tracker.client().stream();
    announces
        .filter(|(address, query)| {
            let request =
                format!("GET /announce?{query} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("the tracker reads");
            failure(&http::read(&mut stream, false).expect("an answer").dictionary()).is_none()
        })
        .count()
}

#[test]
fn h33_one_host_with_very_many_ports_gets_few_entries() {
    let sandbox = Sandbox::new();
    let tracker = behind_proxy(&sandbox, &[]);
    for (address, expected) in
        [("203.0.113.5", 32), ("2001:db8:1:2::5", 32), ("10.1.2.3", 500), ("127.5.5.5", 500)]
    {
        let hash: [u8; 20] = std::array::from_fn(|at| address.as_bytes()[at % address.len()]);
        let ports = 1..=500u16;
        announce_from(
            &tracker,
            ports.map(|port| (address.to_owned(), query(&hash, port, "left=1&numwant=0"))),
        );
        assert_eq!(tracker.client().scrape(&hash).incomplete, expected, "{address}");
    }
    // A household's IPv6 is a /64.
    let addresses =
        (1..=500u16).map(|number| (format!("2001:db8:7:7::{number:x}"), query(HASH, number, "left=1")));
    announce_from(&tracker, addresses);
    assert_eq!(tracker.client().scrape(HASH).incomplete, 32);
    // Others still get in.
    announce_from(&tracker, [("203.0.113.77".to_owned(), query(HASH, 1, "left=1"))].into_iter());
    assert_eq!(tracker.client().scrape(HASH).incomplete, 33);
}

#[test]
fn h34_very_many_torrents_of_one_host_take_no_more_memory_than_there_may_be() {
    const TORRENTS: u32 = 300_000;
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &["--max-memory", "16MiB"]);
    // One that others want.
    let udp = tracker.udp_client();
    for port in 1..=20 {
        udp.join(&Announce::seed(*HASH, port));
    }
    let before = resident(tracker.process.pid());
    flood_torrents(&udp, TORRENTS);
    let grown = resident(tracker.process.pid()).saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB", grown >> 20);
    assert!(tracker.metric("sprat_tracker_evicted_torrents_total", &[]) > 0.0);
    let stats = tracker.stats();
    assert!(stats["torrents"].as_u64().unwrap() < u64::from(TORRENTS), "{stats}");
    // What one more torrent takes may come before the next is evicted.
    assert!(stats["memory_bytes"].as_u64().unwrap() <= (16 << 20) + 4096, "{stats}");
    // The emptiest went, not the full one, and new ones are still taken.
    assert_eq!(tracker.client().scrape(HASH).complete, 20);
    assert!(peers(&tracker.client().join(b"the last one of them", 1, "left=1")).is_empty());
    assert_eq!(tracker.client().scrape(b"the last one of them").incomplete, 1);
}

#[test]
fn h34_there_are_no_more_torrents_and_peers_than_there_may_be() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &["--max-torrents", "1000", "--max-peers", "1500"]);
    let udp = tracker.udp_client();
    flood_torrents(&udp, 5000);
    let stats = tracker.stats();
    assert!(stats["torrents"].as_u64().unwrap() <= 1000, "{stats}");
    for port in 1..=3000 {
        udp.announce(&Announce { num_want: 0, ..Announce::leecher(*HASH, port) });
    }
    let stats = tracker.stats();
    assert!(stats["peers"].as_u64().unwrap() <= 1500, "{stats}");
    tracker.assert_alive();
}

/// So many torrents with a peer each, a window of announces at a time.
fn flood_torrents(udp: &Client, torrents: u32) {
    for numbers in (0..torrents).collect::<Vec<_>>().chunks(100) {
        for number in numbers {
            let mut hash = [0xf0; 20];
            hash[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
            let packet = Announce { num_want: 0, ..Announce::leecher(hash, 1) }.packet(udp.id, *number);
            udp.socket.send(&packet).expect("it can be sent");
        }
        for _ in numbers {
            if udp.receive().is_none() {
                break;
            }
        }
    }
}

#[test]
fn h35_one_peer_id_from_ten_thousand_addresses_is_ten_thousand_peers() {
    let sandbox = Sandbox::new();
    let tracker = behind_proxy(&sandbox, &[]);
    let same = query(HASH, 1, "left=1&numwant=0&key=1");
    let addresses = (0..10_000u32).map(|number| Ipv4Addr::from(0xcb00_0000 + number * 7));
    let taken = announce_from(&tracker, addresses.map(|address| (address.to_string(), same.clone())));
    assert_eq!(taken, 10_000);
    assert_eq!(tracker.client().scrape(HASH).incomplete, 10_000);
}

#[test]
fn h36_a_peer_that_completes_again_and_again_has_completed_once() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    udp.join(&Announce::leecher(*HASH, 1));
    for _ in 0..1000 {
        udp.join(&Announce { event: 1, ..Announce::seed(*HASH, 1) });
    }
    for _ in 0..100 {
        udp.join(&Announce::leecher(*HASH, 1));
        udp.join(&Announce { event: 1, ..Announce::seed(*HASH, 1) });
    }
    assert_eq!(udp.scrape(&[*HASH]), [[1, 1, 0]]);
}

#[test]
fn h40_a_scrape_does_not_tell_what_is_not_listed() {
    let sandbox = Sandbox::new();
    let allow = sandbox.path("allow");
    let hex = HASH.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    std::fs::write(&allow, format!("{hex}\n")).unwrap();
    let tracker = Tracker::start(&sandbox, &["--allow", allow.to_str().unwrap()]);
    let client = tracker.client();
    client.join(HASH, 1, "left=0");
    assert!(failure(&client.announce(&query(b"one that is unlisted", 1, "left=0"))).is_some());
    let nothing = Counts { downloaders: Some(0), ..Counts::default() };
    assert_eq!(client.scrape(b"one that is unlisted"), nothing);
    assert_eq!(client.scrape(HASH).complete, 1);
    assert_eq!(tracker.udp_client().scrape(&[*b"one that is unlisted", *HASH]), [[0, 0, 0], [1, 0, 0]]);
}
