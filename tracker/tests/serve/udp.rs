//! UDP.

use std::net::SocketAddr;

use torrent_format::InfoHash;
use torrent_format::announce::udp::{self, Reply};
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};
use tracker::Config;

use crate::harness::{HASH, Tracker, UdpClient, both, leech};

#[test]
fn both_protocols_share_the_swarms() {
    let tracker = Tracker::start(both());
    let udp = tracker.udp();
    assert_eq!(udp.peers(&leech(1)), []);
    let reply = tracker.announce("", &AnnounceRequest { left: 0, ..leech(2) }).unwrap();
    assert_eq!(reply.peers, ["127.0.0.1:1".parse::<SocketAddr>().unwrap()]);
    match udp.announce(&leech(1)) {
        Reply::Announce(reply) => {
            assert_eq!(reply.peers, ["127.0.0.1:2".parse::<SocketAddr>().unwrap()]);
            assert_eq!((reply.complete, reply.incomplete), (Some(1), Some(1)));
            assert!((1620..=1980).contains(&reply.interval.as_secs()));
        }
        other => panic!("{other:?}"),
    }
    let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, port: 2, ..leech(2) };
    assert_eq!(udp.peers(&stopped), []);
    assert_eq!(tracker.scrape(HASH), (0, 1, 0));
}

#[test]
fn trap_24_a_scrape_answers_in_the_order_asked() {
    let tracker = Tracker::start(both());
    let client = tracker.udp();
    client.peers(&leech(1));
    client.peers(&AnnounceRequest { left: 0, ..leech(2) });
    let other = InfoHash([b'b'; 20]);
    match client.ask(&udp::scrape(client.id, 3, &[other, HASH, other, HASH])) {
        Reply::Scrape(entries) => {
            let counts: Vec<_> = entries.iter().map(|entry| (entry.complete, entry.incomplete)).collect();
            assert_eq!(counts, [(0, 0), (1, 1), (0, 0), (1, 1)]);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.ask(&udp::scrape(client.id, 3, &[])), Reply::Error(_)));
    let mut partial = udp::scrape(client.id, 3, &[HASH]);
    partial.pop();
    assert!(matches!(client.ask(&partial), Reply::Error(_)));
    match client.ask(&udp::scrape(client.id, 3, &[HASH; 75])) {
        Reply::Scrape(entries) => assert_eq!(entries.len(), 74),
        other => panic!("{other:?}"),
    }
}

#[test]
fn trap_26_nothing_but_a_connect_is_answered_without_a_valid_id() {
    let tracker = Tracker::start(both());
    let client = tracker.udp();
    let stranger = tracker.udp();
    for id in [0, client.id ^ 1, !client.id, udp::PROTOCOL_ID] {
        client.assert_silence(&udp::announce(id, 1, &leech(1), ""));
    }
    client.assert_silence(&udp::scrape(1, 1, &[HASH]));
    for length in 0..16 {
        client.socket.send(&udp::connect(1)[..length]).unwrap();
    }
    let mut other_action = udp::connect(1);
    other_action[11] = 3;
    client.socket.send(&other_action).unwrap();
    let mut other_magic = udp::connect(1);
    other_magic[0] = 1;
    client.assert_silence(&other_magic);
    client.assert_silence(&udp::announce(client.id, 1, &leech(1), "")[..97]);
    // The same address may use it from another port.
    assert!(matches!(stranger.ask(&udp::announce(client.id, 1, &leech(1), "")), Reply::Announce(_)));
    assert_eq!(tracker.scrape(HASH), (0, 1, 0));
}

#[test]
fn u07_an_error_says_why() {
    let tracker = Tracker::start(both());
    let client = tracker.udp();
    match client.announce(&leech(0)) {
        Reply::Error(text) => assert_eq!(text, "port is not a number from 1 to 65535"),
        other => panic!("{other:?}"),
    }
    assert_eq!(tracker.scrape(HASH), (0, 0, 0));
}

#[test]
fn trap_21_answers_come_from_the_address_that_was_asked() {
    let everywhere = vec!["0.0.0.0:0".parse().unwrap()];
    let tracker = Tracker::start(Config { udp: everywhere, ..Config::default() });
    let port = tracker.server.udp_addrs()[0].port();
    for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 9, 9]] {
        // A connected socket takes answers from that address only.
        let client = UdpClient::connect((host, port).into());
        assert!(matches!(client.announce(&leech(1)), Reply::Announce(_)));
    }
}

#[test]
fn trap_22_ipv6_has_peers_of_its_own_family() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let addrs = ["[::1]:0", "127.0.0.1:0"].map(|addr| addr.parse().unwrap()).to_vec();
    let tracker = Tracker::start(Config { udp: addrs, threads: 2, ..Config::default() });
    let [v6, v4] = tracker.server.udp_addrs() else { panic!("two") };
    let (v6, v4) = (UdpClient::connect(*v6), UdpClient::connect(*v4));
    for port in 1..=100 {
        v4.peers(&leech(port));
        v6.peers(&leech(port));
    }
    let many = AnnounceRequest { numwant: Some(1000), ..leech(1) };
    let (v6, v4) = (v6.peers(&many), v4.peers(&many));
    assert_eq!((v6.len(), v4.len()), (74, 99));
    assert!(v6.iter().all(SocketAddr::is_ipv6) && v4.iter().all(SocketAddr::is_ipv4));
}

#[test]
fn many_packets_at_once_are_answered_one_by_one() {
    let tracker = Tracker::start(both());
    let client = tracker.udp();
    let mut bursts = std::collections::BTreeSet::new();
    for transaction in 0..200 {
        client.socket.send(&udp::announce(client.id, transaction, &leech(1), "")).unwrap();
    }
    let mut buffer = [0; 2048];
    client.socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    while bursts.len() < 200 {
        let length = client.socket.recv(&mut buffer).unwrap();
        bursts.insert(udp::parse_reply(&buffer[..length], false).unwrap().0);
    }
    assert_eq!(bursts, (0..200).collect());
}
