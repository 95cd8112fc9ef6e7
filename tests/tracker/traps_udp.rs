//! Traps 23 to 27: UDP.

use std::net::{IpAddr, Ipv4Addr};

use harness::sandbox::Sandbox;
use harness::tracker::udp::{Announce, Client, MAGIC, Reply, head, transaction};
use harness::tracker::{BOTH_FAMILIES, Tracker};

const HASH: [u8; 20] = *b"datagrams of peers!!";

#[test]
fn trap_23_fields_are_signed_as_they_are_and_longer_packets_pass() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &BOTH_FAMILIES);
    for addr in tracker.udp.clone() {
        let udp = Client::connected(addr);
        for port in 1..=60 {
            udp.join(&Announce::leecher(HASH, port));
        }
        assert_eq!(udp.join(&Announce { num_want: -1, ..Announce::leecher(HASH, 99) }).len(), 50, "{addr}");
        let announce = Announce { num_want: 3, ..Announce::leecher(HASH, 99) };
        let path = b"/announce?passkey=0123456789abcdef0123456789abcdef";
        let url = [&[2, path.len() as u8][..], path].concat();
        let unknown = [&[77, 5][..], b"hello"].concat();
        let long = [&[2, 255][..], &[b'a'; 255]].concat();
        for (what, options) in [
            ("URLData, as libtorrent has it behind every URL with a path", url.clone()),
            ("URLData and an end", [&url[..], &[0]].concat()),
            ("no-ops", vec![1; 40]),
            ("an unknown option before URLData", [unknown.clone(), url.clone()].concat()),
            ("URLData in two parts", [&long[..], &url].concat()),
            ("an empty option", vec![2, 0]),
            ("an end, and then anything", [&[0][..], &[0xff; 30]].concat()),
            ("zeros to a round size", vec![0; 30]),
            ("an option longer than the packet", vec![2, 200, b'/']),
            ("an option without a length", vec![2]),
        ] {
            let reply = udp.announce_with(&announce, &options);
            assert!(
                matches!(&reply, Reply::Announce { peers, .. } if peers.len() == 3),
                "{addr}: {what}: {reply:?}"
            );
        }
    }
}

#[test]
fn trap_24_a_scrape_is_answered_by_position() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    let [a, b, c, unknown] = [[0xaa; 20], [0x0b; 20], [0x55; 20], [0xee; 20]];
    udp.join(&Announce::seed(a, 1));
    for port in 1..=2 {
        udp.join(&Announce::leecher(b, port));
    }
    for port in 1..=3 {
        udp.join(&Announce::leecher(c, port));
    }
    udp.join(&Announce { event: 1, ..Announce::seed(c, 3) });
    let (of_a, of_b, of_c, none) = ([1, 0, 0], [0, 0, 2], [1, 1, 2], [0, 0, 0]);
    assert_eq!(udp.scrape(&[c, a, unknown, b, a, c, c]), [of_c, of_a, none, of_b, of_a, of_c, of_c]);
    assert_eq!(udp.scrape(&[unknown]), [none]);
    let many: Vec<_> = [a, b].into_iter().cycle().take(74).collect();
    assert_eq!(udp.scrape(&many), [of_a, of_b].into_iter().cycle().take(74).collect::<Vec<_>>());
    // More than fit into an answer: as many as do, still by position.
    let more: Vec<_> = [c, a, b].into_iter().cycle().take(90).collect();
    let answer = udp.scrape(&more);
    assert!((70..=90).contains(&answer.len()), "{}", answer.len());
    assert_eq!(answer, [of_c, of_a, of_b].into_iter().cycle().take(answer.len()).collect::<Vec<_>>());
    // Part of a hash, and none.
    for tail in [&a[..19], &[&a[..], &b[..1]].concat(), &[]] {
        let transaction = transaction();
        let reply = udp.ask(&[&head(udp.id, 2, transaction), tail].concat(), transaction);
        assert!(matches!(reply, Reply::Error(_)), "{tail:?}: {reply:?}");
    }
}

#[test]
fn trap_25_a_connection_id_is_good_for_the_address_that_it_was_given_to() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    let announce = Announce::leecher(HASH, 1);
    udp.join(&announce);
    for bit in 0..64 {
        udp.assert_ignored(&announce.packet(udp.id ^ (1 << bit), 7), &format!("bit {bit} turned over"));
    }
    for id in [0, MAGIC, u64::MAX] {
        udp.assert_ignored(&announce.packet(id, 7), &format!("connection id {id:x}"));
    }
    let elsewhere = Client::from(IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)), tracker.udp[0]);
    elsewhere.assert_ignored(&announce.packet(udp.id, 7), "from another address");
    let theirs = head(udp.id, 2, 7);
    elsewhere.assert_ignored(&[&theirs[..], &HASH].concat(), "a scrape from another address");
    assert_eq!(tracker.stats()["peers"], 1);
    assert!(tracker.metric("sprat_tracker_dropped_total", &["reason=\"connection_id\""]) >= 69.0);
    // A tracker that was started anew has another key.
    let (addr, id) = (tracker.udp[0].to_string(), udp.id);
    tracker.stop();
    let again = Tracker::with(&sandbox, &["--udp", &addr]);
    let udp = Client::new(again.udp[0]);
    udp.assert_ignored(&announce.packet(id, 7), "an id of before the restart");
}

#[test]
fn trap_26_nobody_gets_more_than_he_sent_before_he_is_known() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &BOTH_FAMILIES);
    for addr in tracker.udp.clone() {
        let mut udp = Client::new(addr);
        let one = transaction();
        let (bytes, _) = udp.ask_raw(&head(MAGIC, 0, one), one);
        assert_eq!(bytes.len(), 16);
        let longer = [head(MAGIC, 0, one), vec![0; 500]].concat();
        assert!(udp.ask_raw(&longer, one).0.len() <= 16);
        for (what, packet) in [
            ("an announce", Announce::leecher(HASH, 1).packet(1, 7)),
            ("a scrape", [&head(1, 2, 7)[..], &HASH].concat()),
            ("an unknown action", head(1, 9, 7)),
            ("an error", head(1, 3, 7)),
        ] {
            udp.assert_ignored(&packet, what);
        }
        // Known, and with as much to tell as there is, the answer is no fragment.
        udp.connect();
        for port in 1..=250 {
            udp.join(&Announce { num_want: 0, ..Announce::leecher(HASH, port) });
        }
        let one = transaction();
        let announce = Announce { num_want: i32::MAX, ..Announce::leecher(HASH, 300) };
        let (bytes, _) = udp.ask_raw(&announce.packet(udp.id, one), one);
        assert!(bytes.len() <= if addr.is_ipv4() { 20 + 200 * 6 } else { 20 + 74 * 18 }, "{}", bytes.len());
        // Errors are action 3 in network order.
        let one = transaction();
        let (bytes, reply) = udp.ask_raw(&Announce::leecher(HASH, 0).packet(udp.id, one), one);
        assert_eq!(bytes[..4], [0, 0, 0, 3]);
        assert!(matches!(reply, Reply::Error(text) if !text.is_empty()));
    }
}

#[test]
fn trap_27_malformed_packets_are_dropped_without_a_word() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    udp.join(&Announce::seed(HASH, 1));
    let (lines, stats) = (tracker.process.lines().len(), tracker.stats());
    let mut random = fastrand::Rng::with_seed(27);
    for _ in 0..5000 {
        let length = if random.bool() { random.usize(0..120) } else { random.usize(0..1500) };
        let mut packet: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        if length >= 16 && random.bool() {
            // One that looks more like one.
            packet[..8].copy_from_slice(&[MAGIC, 0, random.u64(..)][random.usize(0..3)].to_be_bytes());
            packet[8..12].copy_from_slice(&random.u32(0..5).to_be_bytes());
        }
        udp.socket.send(&packet).unwrap();
    }
    let sum: f64 = {
        harness::wait::until("all packets", harness::wait::SOON, || {
            let dropped = tracker.metric("sprat_tracker_dropped_total", &["protocol=\"udp\""]);
            let answered = tracker.metric("sprat_tracker_answered_total", &["protocol=\"udp\""]);
            let received = tracker.metric("sprat_tracker_received_total", &["protocol=\"udp\""]);
            (received == dropped + answered && received > 2.0).then_some(dropped)
        })
    };
    assert!(sum > 100.0, "{sum}");
    tracker.assert_alive();
    assert_eq!(tracker.process.lines().len(), lines, "{:?}", tracker.process.lines());
    let now = tracker.stats();
    assert_eq!((&now["peers"], &now["torrents"]), (&stats["peers"], &stats["torrents"]));
}
