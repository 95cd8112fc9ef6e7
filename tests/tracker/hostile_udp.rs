//! Bad packets by the names of our catalogue (U1 to U20). Where it and the traps differ, the traps decide. What of U6 takes two
//! minutes is tested in `tracker::connection_id`, with a clock of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use harness::netns::Network;
use harness::require::{require_networks, require_root};
use harness::sandbox::Sandbox;
use harness::tracker::Tracker;
use harness::tracker::udp::{Announce, Client, MAGIC, Reply, head, transaction};
use harness::wait::{self, SOON};
use socket2::{Domain, Protocol, Socket, Type};

const HASH: [u8; 20] = *b"hostile to trackers!";

#[test]
fn u01_to_u06_what_is_no_packet_of_ours_is_dropped() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    let good = Announce::leecher(HASH, 1).packet(udp.id, 7);
    let mut cases = vec![
        ("U2 another magic".to_owned(), head(MAGIC + 1, 0, 7)),
        ("U2 none".to_owned(), head(0, 0, 7)),
        ("U3 action 3".to_owned(), head(udp.id, 3, 7)),
        ("U3 action 99".to_owned(), head(udp.id, 99, 7)),
        ("U3 action -1".to_owned(), head(udp.id, u32::MAX, 7)),
        ("U3 action 1 in the other order".to_owned(), head(udp.id, 1 << 24, 7)),
        ("U4 97 bytes".to_owned(), good[..97].to_vec()),
        ("U4 16 bytes".to_owned(), good[..16].to_vec()),
        ("U6 a wrong id".to_owned(), Announce::leecher(HASH, 1).packet(udp.id ^ 1, 7)),
        ("U12 65,507 bytes of nothing".to_owned(), vec![0; 65_507]),
        ("U12 65,507 bytes with a wrong id".to_owned(), [head(!udp.id, 1, 7), vec![0; 65_491]].concat()),
    ];
    cases.extend((0..16).map(|length| (format!("U1 {length} bytes"), head(MAGIC, 0, 7)[..length].to_vec())));
    for (name, packet) in &cases {
        udp.assert_ignored(packet, name);
    }
    assert_eq!(tracker.stats()["torrents"], 0);
    udp.join(&Announce::leecher(HASH, 1));
}

#[test]
fn u05_to_u18_what_a_known_client_says_amiss() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    for port in 1..=3 {
        udp.join(&Announce::leecher(HASH, port));
    }
    let is_error = |reply: &Reply| matches!(reply, Reply::Error(_));
    let is_taken = |reply: &Reply| matches!(reply, Reply::Announce { .. });
    let announce = Announce::leecher(HASH, 4);
    // U5, truncated, looping and unknown options: the trap of their number has more of them.
    for options in [&[2u8, 9][..], &[2, 0, 2, 0, 2, 0], &[200, 1, 1], &[0xff; 1000]] {
        assert!(is_taken(&udp.announce_with(&announce, options)), "U5 {options:02x?}");
    }
    // U6: the same id from another port of the same address is the same client.
    let mut sibling = Client::new(tracker.udp[0]);
    sibling.id = udp.id;
    assert!(is_taken(&sibling.announce(&announce)), "U6");
    assert!(is_error(&udp.announce(&Announce { port: 0, ..announce })), "U7");
    for num_want in [-1, -2, i32::MIN, i32::MAX] {
        assert_eq!(udp.join(&Announce { num_want, ..announce }).len(), 3, "U8 {num_want}");
    }
    udp.join(&Announce { ip: 0x0808_0808, ..announce });
    let listed = udp.join(&Announce { num_want: 200, ..Announce::leecher(HASH, 5) });
    assert!(listed.iter().all(|peer| peer.ip() == Ipv4Addr::LOCALHOST), "U9 {listed:?}");
    let scrape = |bytes: &[u8]| {
        let transaction = transaction();
        udp.ask(&[&head(udp.id, 2, transaction), bytes].concat(), transaction)
    };
    assert!(is_error(&scrape(&[])), "U10");
    assert!(is_error(&scrape(&[7; 39])), "U11 no whole number of hashes");
    assert!(
        matches!(scrape(&[7; 75 * 20]), Reply::Scrape(counts) if (70..=75).contains(&counts.len())),
        "U11"
    );
    // No client needs 2 KiB: what is longer is nothing.
    let long = [announce.packet(udp.id, 1), vec![1; 65_507 - 98]].concat();
    udp.assert_ignored(&long, "U12 an announce of 65,507 bytes");
    udp.assert_ignored(&[head(udp.id, 2, 1), vec![7; 60_000]].concat(), "U12 a scrape of 60,016 bytes");
    for event in [4, 5, 1 << 24, u32::MAX] {
        assert!(is_taken(&udp.announce(&Announce { event, ..announce })), "U16 {event}");
    }
    udp.join(&Announce { left: u64::MAX, port: 6, ..announce });
    assert_eq!(udp.scrape(&[HASH]), [[0, 0, 6]], "U17: less than nothing is left of a leecher");
}

#[test]
fn u13_a_packet_in_fragments_is_one_packet() {
    if !require_networks() {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let (host, other) = (network.host(), network.host());
    let at = SocketAddr::new(host.address(), 6969);
    let tracker = sandbox.sprat_on(Some(&host), "tracker").args(["--json", "--udp", &at.to_string()]);
    let tracker = Tracker::adopt(tracker.spawn());
    let ours = other.address();
    other.run(move || {
        let mut udp = Client::from(ours, at);
        udp.connect();
        // Ethernet takes 1,500 bytes.
        for length in [1000, 1500, 1900] {
            let reply = udp.announce_with(&Announce::leecher(HASH, 1), &vec![1; length]);
            assert!(matches!(reply, Reply::Announce { .. }), "{length}: {reply:?}");
        }
    });
    drop(tracker);
}

/// A UDP packet from this port, whatever it is, over IPv4 loopback.
fn send_from(port: u16, tracker: SocketAddr, payload: &[u8]) {
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).expect("root may");
    let length = (8 + payload.len()) as u16;
    // No checksum, which IPv4 allows.
    let header = [port, tracker.port(), length, 0].map(u16::to_be_bytes).concat();
    raw.send_to(&[&header, payload].concat(), &tracker.into()).expect("it can be sent");
}

#[test]
fn u14_nobody_is_answered_at_port_0_and_well_known_ports_get_no_more_than_they_sent() {
    if !require_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let count = |name: &str| tracker.metric(name, &["protocol=\"udp\""]);
    // Raw sockets see every packet of this machine: only counts tell.
    let (answered, received) = (count("sprat_tracker_answered_total"), count("sprat_tracker_received_total"));
    for _ in 0..10 {
        send_from(0, tracker.udp[0], &head(MAGIC, 0, 7));
    }
    wait::until("the packets", SOON, || {
        (count("sprat_tracker_received_total") >= received + 10.0).then_some(())
    });
    assert!(count("sprat_tracker_answered_total") <= answered);
    tracker.assert_alive();
}

#[test]
fn u15_a_flood_of_connects_takes_no_memory() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let before = harness::bench::usage::resident(tracker.process.pid());
    for source in 0..200u32 {
        let client = Client::from(Ipv4Addr::from(0x7f01_0001 + source).into(), tracker.udp[0]);
        for number in 0..500 {
            // A full buffer drops them, as a flood would.
            let _ = client.socket.send(&head(MAGIC, 0, number));
        }
    }
    tracker.assert_alive();
    let grown = harness::bench::usage::resident(tracker.process.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB", grown >> 10);
    assert_eq!(tracker.stats()["peers"], 0);
}

#[test]
fn u20_answers_that_nobody_takes_do_not_stop_the_tracker() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    for number in 0..2000 {
        // Closed before the answer comes: the kernel says so to the tracker's socket.
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        gone.send_to(&head(MAGIC, 0, number), tracker.udp[0]).unwrap();
    }
    let udp = tracker.udp_client();
    assert!(udp.join(&Announce::leecher(HASH, 1)).is_empty());
    tracker.assert_alive();
}
