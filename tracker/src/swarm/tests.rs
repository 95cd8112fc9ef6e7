use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use torrent_format::PeerId;

use super::settings::EXPIRY_GRACE;
use super::*;

const A: InfoHash = InfoHash([b'a'; 20]);
const B: InfoHash = InfoHash([b'b'; 20]);
const START: Duration = Duration::ZERO;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A public IPv4 peer.
fn v4(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x0100_0000 + number), 6881))
}

/// A public IPv6 peer in a network of its own.
fn v6(number: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 1), 6881))
}

fn request(left: u64, event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: A,
        peer_id: PeerId([b'p'; 20]),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        numwant: None,
        key: None,
        tracker_id: None,
    }
}

fn leech() -> AnnounceRequest {
    request(1, AnnounceEvent::Regular)
}

fn seed() -> AnnounceRequest {
    request(0, AnnounceEvent::Regular)
}

fn counts(swarms: &Swarms) -> (u32, u32, u32) {
    let entry = swarms.scrape(&A);
    (entry.complete, entry.incomplete, entry.downloaded)
}

/// The lists must agree with the counts that are kept beside them.
fn check(swarms: &Swarms) {
    let stats = swarms.stats();
    let torrents = || swarms.table.iter();
    assert_eq!(peers(swarms), stats.ipv4 + stats.ipv6);
    assert_eq!(peers(swarms), stats.seeds + stats.leechers + stats.dual_stack);
    assert_eq!(peers(swarms), torrents().map(Torrent::len).sum::<usize>());
    assert_eq!(swarms.usage.torrents.load(Relaxed), stats.swarms);
    let bytes = torrents().map(|torrent| TORRENT_BYTES + torrent.heap_bytes()).sum::<usize>();
    assert_eq!(swarms.usage.bytes.load(Relaxed), bytes);
}

fn peers(swarms: &Swarms) -> usize {
    swarms.usage.peers.load(Relaxed)
}

#[test]
fn trap_11_a_completion_is_counted_once_for_a_leecher_that_we_know() {
    let mut swarms = Swarms::new(1);
    let completed = request(0, AnnounceEvent::Completed);
    swarms.announce(START, v4(1), &completed);
    assert_eq!(counts(&swarms), (1, 0, 0), "a peer never seen without the torrent");

    swarms.announce(START, v4(2), &request(5, AnnounceEvent::Started));
    let reply = swarms.announce(START, v4(2), &completed);
    assert_eq!((reply.complete, reply.incomplete, reply.downloaded), (Some(2), Some(0), Some(1)));
    swarms.announce(START, v4(2), &completed);
    assert_eq!(counts(&swarms), (2, 0, 1), "sent again");

    swarms.announce(START, v4(2), &leech());
    swarms.announce(START, v4(2), &completed);
    assert_eq!(counts(&swarms), (2, 0, 1), "checked its data again");

    swarms.announce(START, v4(3), &leech());
    swarms.announce(START, v4(3), &request(1, AnnounceEvent::Completed));
    assert_eq!(counts(&swarms), (2, 1, 1), "with bytes left");
}

#[test]
fn trap_12_every_announce_of_an_unknown_peer_adds_it_and_counts_move_both_ways() {
    let mut swarms = Swarms::new(1);
    for (number, event) in
        [AnnounceEvent::Started, AnnounceEvent::Completed, AnnounceEvent::Regular].iter().enumerate()
    {
        swarms.announce(START, v4(number as u32), &request(1, *event));
    }
    assert_eq!(counts(&swarms), (0, 3, 0));
    swarms.announce(START, v4(0), &request(1, AnnounceEvent::Started));
    assert_eq!(counts(&swarms), (0, 3, 0));
    swarms.announce(START, v4(0), &seed());
    assert_eq!(counts(&swarms), (1, 2, 0));
    swarms.announce(START, v4(0), &leech());
    assert_eq!(counts(&swarms), (0, 3, 0));

    let reply = swarms.announce(START, v4(9), &request(1, AnnounceEvent::Stopped));
    assert_eq!((reply.incomplete, reply.peers), (Some(3), vec![]), "an unknown peer may stop");
}

#[test]
fn trap_13_stopped_removes_gives_no_peers_and_makes_no_swarm() {
    let mut swarms = Swarms::new(1);
    let stopped = request(1, AnnounceEvent::Stopped);
    assert_eq!(swarms.announce(START, v4(1), &stopped).peers, []);
    assert_eq!(swarms.stats(), Stats::default());

    swarms.announce(START, v4(1), &leech());
    swarms.announce(START, v4(2), &leech());
    let reply = swarms.announce(START, v4(1), &stopped);
    assert_eq!((reply.peers, reply.incomplete), (vec![], Some(1)));
    assert_eq!(swarms.announce(START, v4(3), &leech()).peers, [v4(2)]);
    swarms.announce(START, v4(2), &stopped);
    swarms.announce(START, v4(3), &stopped);
    assert_eq!(swarms.stats(), Stats::default());
    swarms.announce(START, v4(3), &stopped);
    assert_eq!(swarms.stats(), Stats::default());
}

#[test]
fn trap_14_never_the_asker_no_seeds_for_seeds_and_a_leecher_is_filled_up() {
    let mut swarms = Swarms::new(1);
    assert_eq!(swarms.announce(START, v4(1), &seed()).peers, []);
    assert_eq!(swarms.announce(START, v4(1), &seed()).peers, []);
    assert_eq!(swarms.announce(START, v4(2), &seed()).peers, []);
    let reply = swarms.announce(START, v4(3), &leech());
    assert_eq!(reply.peers.iter().copied().collect::<BTreeSet<_>>(), [v4(1), v4(2)].into());
    assert_eq!((reply.complete, reply.incomplete), (Some(2), Some(1)), "the asker is counted");
    assert_eq!(swarms.announce(START, v4(1), &seed()).peers, [v4(3)]);

    // Sixty seeds and one leecher: the leecher gets as many as anyone.
    for number in 10..68 {
        swarms.announce(START, v4(number), &seed());
    }
    assert_eq!(swarms.announce(START, v4(3), &leech()).peers.len(), DEFAULT_NUMWANT);
}

#[test]
fn trap_15_a_peer_is_an_address_and_a_port() {
    let mut swarms = Swarms::new(1);
    let (one, two) = (addr("203.0.113.1:1000"), addr("203.0.113.1:1001"));
    swarms.announce(START, one, &leech());
    let reply = swarms.announce(START, two, &leech());
    assert_eq!(reply.peers, [one], "behind one address, with one peer id");
    assert_eq!(swarms.announce(START, one, &leech()).peers, [two]);
    assert_eq!(counts(&swarms), (0, 2, 0));
}

#[test]
fn trap_16_counts_agree_with_the_lists_whatever_happens() {
    for seed in 0..4 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let settings =
            Settings { max_swarms: 8, max_peers: 120, max_peers_per_host: 3, ..Settings::default() };
        let mut swarms = Swarms::with_settings(seed, settings);
        let mut now = START;
        for _ in 0..20_000 {
            now += Duration::from_secs(rng.u64(..5));
            let peer = match rng.u8(..4) {
                0 => v6(rng.u16(..40)),
                1 => SocketAddr::from((Ipv4Addr::new(203, 0, 113, 1), rng.u16(..8))),
                _ => v4(rng.u32(..60)),
            };
            let events = [
                AnnounceEvent::Regular,
                AnnounceEvent::Started,
                AnnounceEvent::Completed,
                AnnounceEvent::Stopped,
                AnnounceEvent::Paused,
            ];
            let request = AnnounceRequest {
                info_hash: InfoHash([rng.u8(..12); 20]),
                numwant: Some(rng.u32(..300)).filter(|_| rng.bool()),
                ..request(rng.u64(..3), events[rng.usize(..events.len())])
            };
            let reply = swarms.announce(now, peer, &request);
            assert!(!reply.peers.contains(&peer));
            assert!(
                reply.peers.len() <= request.numwant.map_or(DEFAULT_NUMWANT, |n| n as usize).min(MAX_NUMWANT)
            );
            assert_eq!(reply.peers.iter().collect::<BTreeSet<_>>().len(), reply.peers.len());
            match rng.u16(..400) {
                0 => swarms.expire(now),
                1..20 => drop(swarms.expire_some(now, 10)),
                _ => {}
            }
            check(&swarms);
            assert!(peers(&swarms) <= 120 && swarms.table.len() <= 8);
        }
    }
}

#[test]
fn trap_17_peers_outlive_one_lost_announce_and_no_more() {
    let mut swarms = Swarms::new(1);
    let interval = Settings::default().interval;
    swarms.announce(START, v4(1), &leech());
    swarms.announce(interval, v4(2), &seed());
    swarms.expire(interval * 2);
    assert_eq!(counts(&swarms), (1, 1, 0));
    swarms.expire(interval * 2 + EXPIRY_GRACE + Duration::from_secs(1));
    assert_eq!(counts(&swarms), (1, 0, 0));
    swarms.expire(interval * 10);
    assert_eq!(swarms.stats(), Stats::default());
}

#[test]
fn trap_17_a_sweep_can_be_done_in_parts() {
    let mut swarms = Swarms::new(1);
    for number in 0..100_u8 {
        swarms.announce(START, v4(1), &AnnounceRequest { info_hash: InfoHash([number; 20]), ..leech() });
    }
    let late = Duration::from_secs(100_000);
    swarms.expire_some(late, 20);
    assert_eq!(swarms.stats().swarms, 90, "each has one peer: two looks");
    // New swarms in the meantime are neither lost nor in the way.
    swarms.announce(late, v4(1), &leech());
    for _ in 0..20 {
        swarms.expire_some(late, 20);
        check(&swarms);
    }
    assert_eq!(swarms.stats(), Stats { swarms: 1, leechers: 1, ipv4: 1, ..Stats::default() });
}

#[test]
fn a_completed_torrent_is_remembered_for_a_day_without_peers() {
    let mut swarms = Swarms::new(1);
    swarms.announce(START, v4(1), &leech());
    swarms.announce(START, v4(1), &request(0, AnnounceEvent::Completed));
    swarms.announce(START, v4(1), &request(0, AnnounceEvent::Stopped));
    assert_eq!(counts(&swarms), (0, 0, 1));
    swarms.expire(Duration::from_secs(24 * 60 * 60));
    assert_eq!(counts(&swarms), (0, 0, 1));
    swarms.expire(Duration::from_secs(24 * 60 * 60 + 1));
    assert_eq!(swarms.stats(), Stats::default());
}

#[test]
fn trap_09_numwant_is_capped_and_zero_is_none() {
    let mut swarms = Swarms::new(1);
    for number in 0..500 {
        swarms.announce(START, v4(number), &leech());
    }
    for (numwant, expected) in
        [(None, 50), (Some(0), 0), (Some(7), 7), (Some(200), 200), (Some(u32::MAX), 200)]
    {
        let request = AnnounceRequest { numwant, ..leech() };
        assert_eq!(swarms.announce(START, v4(1000), &request).peers.len(), expected, "{numwant:?}");
    }
}

#[test]
fn trap_21_mapped_addresses_are_ipv4() {
    let mut swarms = Swarms::new(1);
    swarms.announce(START, addr("[::ffff:203.0.113.1]:6881"), &leech());
    let reply = swarms.announce(START, addr("203.0.113.1:6881"), &leech());
    assert_eq!((reply.peers, reply.incomplete), (vec![], Some(1)), "the same peer");
    let reply = swarms.announce(START, addr("[::ffff:203.0.113.2]:1"), &leech());
    assert_eq!(
        (reply.peers, reply.external_ip),
        (vec![addr("203.0.113.1:6881")], Some("203.0.113.2".parse().unwrap()))
    );
}

#[test]
fn trap_22_families_are_kept_apart_and_the_limit_comes_after() {
    let mut swarms = Swarms::new(1);
    for number in 0..300 {
        swarms.announce(START, v4(number), &leech());
    }
    let families = |reply: AnnounceReply| {
        let v4 = reply.peers.iter().filter(|peer| peer.is_ipv4()).count();
        (v4, reply.peers.len() - v4)
    };
    assert_eq!(families(swarms.announce(START, v6(0), &leech())), (50, 0), "only the other family is there");
    for number in 1..5 {
        swarms.announce(START, v6(number), &leech());
    }
    assert_eq!(families(swarms.announce(START, v4(0), &leech())), (45, 5), "five of six or more");
    assert_eq!(families(swarms.announce(START, v6(0), &leech())), (46, 4), "all of its own");
    for number in 5..300 {
        swarms.announce(START, v6(number), &leech());
    }
    assert_eq!(families(swarms.announce(START, v4(0), &leech())), (38, 12));
    assert_eq!(families(swarms.announce(START, v6(0), &leech())), (12, 38));
}

#[test]
fn loopback_peers_are_for_loopback_askers() {
    let mut swarms = Swarms::new(1);
    let local = [addr("127.0.0.1:1"), addr("127.0.0.1:2"), addr("[::1]:1")];
    for peer in local {
        swarms.announce(START, peer, &leech());
    }
    let sets = |reply: AnnounceReply| reply.peers.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(sets(swarms.announce(START, addr("127.0.0.1:3"), &leech())), local.into());
    assert_eq!(swarms.announce(START, addr("10.0.0.1:1"), &leech()).peers, []);
    assert_eq!(swarms.announce(START, addr("[2001:db8::1]:1"), &leech()).peers, [addr("10.0.0.1:1")]);
}

#[test]
fn h33_a_public_host_has_a_few_entries_a_private_one_any_number() {
    for (peer, expected) in [
        ("203.0.113.1", 32),
        ("2001:db8::1", 32),
        ("127.0.0.1", 1000),
        ("192.168.0.1", 1000),
        ("fd00::1", 1000),
    ] {
        let mut swarms = Swarms::new(1);
        let ip: IpAddr = peer.parse().unwrap();
        for port in 1..=1000 {
            swarms.announce(START, SocketAddr::new(ip, port), &leech());
        }
        assert_eq!(counts(&swarms), (0, expected, 0), "{peer}");
        // The ones too many are answered like any other.
        assert_eq!(
            swarms.announce(START, SocketAddr::new(ip, 2000), &leech()).peers.len(),
            expected.min(50) as usize
        );
        check(&swarms);
    }
}

#[test]
fn h34_a_flood_of_torrents_evicts_its_own() {
    let settings = Settings { max_swarms: 100, ..Settings::default() };
    let mut swarms = Swarms::with_settings(1, settings);
    for number in 0..10 {
        swarms.announce(START, v4(number), &leech());
    }
    for number in 0..10_000_u32 {
        let mut info_hash = [0; 20];
        info_hash[..4].copy_from_slice(&number.to_be_bytes());
        swarms.announce(START, v4(99), &AnnounceRequest { info_hash: InfoHash(info_hash), ..leech() });
    }
    assert_eq!(swarms.stats().swarms, 100);
    assert_eq!(counts(&swarms), (0, 10, 0));
    check(&swarms);
}

#[test]
fn peers_beyond_the_ceiling_push_out_the_emptiest_swarm_or_are_not_kept() {
    let settings = Settings { max_peers: 10, ..Settings::default() };
    let mut swarms = Swarms::with_settings(1, settings);
    swarms.announce(START, v4(0), &AnnounceRequest { info_hash: B, ..leech() });
    for number in 0..20 {
        let reply = swarms.announce(START, v4(number), &leech());
        assert_eq!(reply.peers.len(), 10.min(number as usize), "everyone is answered");
    }
    assert_eq!(counts(&swarms), (0, 10, 0));
    assert_eq!(swarms.scrape(&B).incomplete, 0);
    check(&swarms);
}

#[test]
fn h36_counts_saturate() {
    let mut swarms = Swarms::new(1);
    swarms.announce(START, v4(1), &leech());
    swarms.table.at_mut(0).downloaded = u32::MAX;
    swarms.announce(START, v4(1), &request(0, AnnounceEvent::Completed));
    assert_eq!(counts(&swarms), (1, 0, u32::MAX));
}

#[test]
fn trap_30_intervals_vary_by_a_tenth() {
    let mut swarms = Swarms::new(1);
    let told: BTreeSet<_> =
        (0..1000).map(|number| swarms.announce(START, v4(number), &leech()).interval.as_secs()).collect();
    assert!(told.len() > 100);
    assert!(told.iter().all(|seconds| (1620..=1980).contains(seconds)), "{told:?}");

    let short = Settings { interval: Duration::from_secs(5), ..Settings::default() };
    let reply = Swarms::with_settings(1, short).announce(START, v4(1), &leech());
    assert_eq!((reply.interval, reply.min_interval), (Duration::from_secs(5), Some(Duration::from_secs(5))));
}

#[test]
fn trap_31_who_comes_back_too_early_is_answered_as_ever() {
    let mut swarms = Swarms::new(1);
    swarms.announce(START, v4(1), &leech());
    for _ in 0..10 {
        let reply = swarms.announce(START, v4(2), &leech());
        assert_eq!((reply.peers, reply.warning), (vec![v4(1)], None));
        assert_eq!(reply.min_interval, Some(Duration::from_secs(60)));
    }
}

#[test]
fn trap_07_partial_seeds_are_leechers_that_do_not_download() {
    let mut swarms = Swarms::new(1);
    swarms.announce(START, v4(1), &request(5, AnnounceEvent::Paused));
    swarms.announce(START, v4(2), &leech());
    swarms.announce(START, v4(3), &request(0, AnnounceEvent::Paused));
    let expected = ScrapeEntry { complete: 1, downloaded: 0, downloaders: Some(1), incomplete: 2 };
    assert_eq!(swarms.scrape(&A), expected);
    swarms.announce(START, v4(1), &leech());
    assert_eq!(swarms.scrape(&A), ScrapeEntry { downloaders: Some(2), ..expected });
}

#[test]
fn trap_08_a_peer_with_port_zero_is_answered_and_not_remembered() {
    let mut swarms = Swarms::new(1);
    swarms.announce(START, v4(1), &leech());
    assert_eq!(swarms.announce(START, addr("203.0.113.1:0"), &leech()).peers, [v4(1)]);
    assert_eq!(counts(&swarms), (0, 1, 0));
}

#[test]
fn the_address_that_a_private_asker_has_is_not_told_as_its_external_one() {
    let mut swarms = Swarms::new(1);
    for (peer, external) in
        [("127.0.0.1:1", None), ("[fe80::1]:1", None), ("100.64.0.1:1", None), ("203.0.113.1:1", Some(()))]
    {
        let reply = swarms.announce(START, addr(peer), &leech());
        assert_eq!(reply.external_ip.map(drop), external, "{peer}");
    }
}

#[test]
fn a_seed_replays_the_same_replies() {
    let run = |seed| {
        let mut swarms = Swarms::new(seed);
        (0..300).map(|number| swarms.announce(START, v4(number % 120), &leech())).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

fn keyed(left: u64, key: u32, event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest { key: Some(key), ..request(left, event) }
}

#[test]
fn a_client_of_both_families_counts_once() {
    for others in [0, 100] {
        let mut swarms = Swarms::new(1);
        // Enough to make both lists large, in any order.
        for number in 0..others {
            swarms.announce(START, v4(1000 + number), &leech());
            swarms.announce(START, v6(1000 + number as u16), &leech());
        }
        let others = 2 * others;
        let client = keyed(1, 7, AnnounceEvent::Regular);
        swarms.announce(START, v6(1), &client);
        assert_eq!(counts(&swarms), (0, others + 1, 0));
        let reply = swarms.announce(START, v4(1), &client);
        assert_eq!(reply.incomplete, Some(others + 1), "the same client");
        assert_eq!(swarms.stats().dual_stack, 1);
        swarms.announce(START, v4(2), &keyed(1, 8, AnnounceEvent::Regular));
        assert_eq!(counts(&swarms), (0, others + 2, 0), "another key");
        check(&swarms);

        // It completes, and says so over both.
        swarms.announce(START, v4(1), &keyed(0, 7, AnnounceEvent::Completed));
        swarms.announce(START, v6(1), &keyed(0, 7, AnnounceEvent::Completed));
        assert_eq!(counts(&swarms), (1, others + 1, 1));
        check(&swarms);

        // It is left by one, then by the other.
        swarms.announce(START, v4(1), &keyed(0, 7, AnnounceEvent::Stopped));
        assert_eq!(counts(&swarms), (1, others + 1, 1));
        assert_eq!(swarms.stats().dual_stack, 0);
        swarms.announce(START, v6(1), &keyed(0, 7, AnnounceEvent::Stopped));
        assert_eq!(counts(&swarms), (0, others + 1, 1));
        check(&swarms);
    }
}

#[test]
fn a_client_that_came_by_ipv4_first_is_recognized_as_well() {
    for others in [0, 100] {
        let mut swarms = Swarms::new(1);
        (0..others).for_each(|number| drop(swarms.announce(START, v4(1000 + number), &leech())));
        let client = keyed(1, 7, AnnounceEvent::Regular);
        swarms.announce(START, v4(1), &client);
        swarms.announce(START, v6(1), &client);
        // Of a large swarm with its next announce.
        swarms.announce(START, v4(1), &client);
        assert_eq!(counts(&swarms), (0, others + 1, 0));
        // With another key it is somebody else.
        swarms.announce(START, v4(1), &keyed(1, 8, AnnounceEvent::Regular));
        assert_eq!(counts(&swarms), (0, others + 2, 0));
        swarms.announce(START, v6(1), &keyed(1, 8, AnnounceEvent::Regular));
        swarms.announce(START, v4(1), &keyed(1, 8, AnnounceEvent::Regular));
        assert_eq!(counts(&swarms), (0, others + 1, 0));
        check(&swarms);
        swarms.expire(Duration::from_secs(100_000));
        assert_eq!(swarms.stats(), Stats::default());
        check(&swarms);
    }
}

#[test]
fn counts_of_clients_hold_whatever_happens() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut swarms = Swarms::with_settings(3, Settings { max_peers: 150, ..Settings::default() });
    let mut now = START;
    for _ in 0..30_000 {
        now += Duration::from_secs(rng.u64(..20));
        let client = rng.u32(1..80);
        let peer = if rng.bool() { v4(client) } else { v6(client as u16) };
        let event =
            [AnnounceEvent::Regular, AnnounceEvent::Completed, AnnounceEvent::Stopped][rng.usize(..3)];
        let request = keyed(rng.u64(..2), 1 + client + 1000 * rng.u32(..2), event);
        swarms.announce(now, peer, &AnnounceRequest { info_hash: InfoHash([rng.u8(..3); 20]), ..request });
        if rng.u8(..100) == 0 {
            swarms.expire_some(now, 20);
        }
        check(&swarms);
    }
}

fn peers_of(shards: &Shards, info_hash: InfoHash) -> BTreeSet<SocketAddr> {
    let asker = AnnounceRequest { info_hash, numwant: Some(200), ..leech() };
    let reply = shards.shard_of(&info_hash).announce(START, addr("198.51.100.1:0"), &asker);
    reply.peers.into_iter().collect()
}

fn shards_with_peers(count: u8) -> Shards {
    let shards = Shards::new(1, &Settings::default());
    for number in 0..count {
        let info_hash = InfoHash([number; 20]);
        for (peer, left, key) in [(v4(1), 1, 7), (v4(2), 0, 8), (v6(1), 1, 7)] {
            let request = AnnounceRequest { info_hash, ..keyed(left, key, AnnounceEvent::Regular) };
            shards.shard_of(&info_hash).announce(START, peer, &request);
        }
        let completed = AnnounceRequest { info_hash, ..keyed(0, 7, AnnounceEvent::Completed) };
        shards.shard_of(&info_hash).announce(START, v4(1), &completed);
    }
    shards
}

#[test]
fn a_snapshot_brings_back_what_is_not_too_old() {
    let shards = shards_with_peers(50);
    let saved_at = Duration::from_secs(100);
    let mut bytes = Vec::new();
    (0..shards.count()).for_each(|number| shards.shard(number).save(saved_at, &mut bytes));

    let hash = InfoHash([7; 20]);
    let again = Shards::new(2, &Settings::default());
    again.restore(START, Duration::from_secs(60), &bytes).unwrap();
    assert_eq!((again.stats(), again.figures().peers), (shards.stats(), 150));
    assert_eq!(again.scrape(&hash), shards.scrape(&hash));
    assert_eq!(peers_of(&again, hash), [v4(1), v4(2), v6(1)].into());
    // They are as old as they were, and the time between: 160 s.
    let expiry = Settings::default().expiry();
    let expire = |now| (0..again.count()).for_each(|number| again.shard(number).expire(now));
    expire(expiry - Duration::from_secs(160));
    assert_eq!(again.figures().peers, 150);
    expire(expiry - Duration::from_secs(159));
    assert_eq!(again.figures().peers, 0);
    assert_eq!(again.scrape(&hash).downloaded, 1, "the count stays for a while");

    let late = Shards::new(3, &Settings::default());
    late.restore(START, expiry, &bytes).unwrap();
    assert_eq!((late.figures().peers, late.scrape(&hash).downloaded), (0, 1));

    for length in 0..bytes.len().min(400) {
        let cut = Shards::new(4, &Settings::default());
        // Whole torrents are taken in; where the bytes end within one, it is said.
        let _ = cut.restore(START, START, &bytes[..length]);
    }
    let cut = Shards::new(4, &Settings::default());
    assert_eq!(cut.restore(START, START, &bytes[..bytes.len() - 1]), Err(SnapshotError));
    assert_eq!(cut.stats().swarms, 49);
}

#[test]
fn another_node_knows_what_it_hears() {
    let (one, two) = (shards_with_peers(0), shards_with_peers(0));
    let (now, epoch) = (START, Duration::from_secs(1_800_000_000));
    let announce = |peer: SocketAddr, request: &AnnounceRequest| {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let picked = Picked { v4: Some(&mut v4), v6: Some(&mut v6), limit: 50 };
        let answer = one.announce_into(now, peer, request, picked);
        let mut bytes = Vec::new();
        Heard::of(epoch, peer, request, answer.completed).write(&mut bytes);
        let (heard, rest) = Heard::read(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(Heard::read(&bytes[..bytes.len() - 1]), None);
        two.hear(now, epoch, &heard, true);
    };
    announce(v4(1), &leech());
    announce(v6(1), &keyed(1, 7, AnnounceEvent::Paused));
    announce(v4(2), &seed());
    announce(v4(1), &request(0, AnnounceEvent::Completed));
    announce(v4(3), &leech());
    announce(v4(3), &request(1, AnnounceEvent::Stopped));
    assert_eq!(two.scrape(&A), one.scrape(&A));
    assert_eq!(
        two.scrape(&A),
        ScrapeEntry { complete: 2, downloaded: 1, downloaders: Some(0), incomplete: 1 }
    );
    assert_eq!(two.stats(), one.stats());

    // All of it at once, and what is too old by then is not taken in.
    let three = Shards::new(3, &Settings::default());
    let tell = |epoch: Duration| {
        for number in 0..one.count() {
            one.shard(number).tell_all(now, epoch, |heard| three.hear(now, epoch, &heard, true));
        }
    };
    tell(epoch);
    assert_eq!(three.stats(), one.stats());
}

#[test]
fn lists_drop_what_they_do_not_permit() {
    let shards = shards_with_peers(20);
    shards.retain(|info_hash| info_hash.0[0] < 5);
    let stats = shards.stats();
    assert_eq!((stats.swarms, stats.ipv4, stats.ipv6), (5, 10, 5));
    assert_eq!(shards.figures().peers, 15);
}

#[test]
fn a_large_swarm_is_swept_in_parts_of_a_bounded_size() {
    let mut swarms = Swarms::new(1);
    for number in 0..5000 {
        swarms.announce(START, v4(number), &leech());
        swarms.announce(START, v6(number as u16), &leech());
    }
    let late = Duration::from_secs(100_000);
    let mut parts = 0;
    let mut before = peers(&swarms);
    loop {
        let done = swarms.expire_some(late, 100);
        assert!(before - peers(&swarms) <= 101, "{} at once", before - peers(&swarms));
        before = peers(&swarms);
        parts += 1;
        check(&swarms);
        if done {
            break;
        }
    }
    assert!(parts >= 100);
    assert_eq!(swarms.stats(), Stats::default());
}

#[test]
fn memory_has_a_ceiling_and_the_emptiest_make_room() {
    let settings = Settings { max_bytes: 100_000, ..Settings::default() };
    let mut swarms = Swarms::with_settings(1, settings);
    for number in 0..100 {
        swarms.announce(START, v4(number), &leech());
    }
    for number in 0..20_000_u32 {
        let mut info_hash = [0; 20];
        info_hash[..4].copy_from_slice(&number.to_be_bytes());
        swarms.announce(START, v4(99), &AnnounceRequest { info_hash: InfoHash(info_hash), ..leech() });
        assert!(swarms.usage.bytes.load(Relaxed) < 101_000);
    }
    assert_eq!(counts(&swarms), (0, 100, 0), "the large one stays");
    assert!(swarms.usage.evicted.load(Relaxed) > 10_000);
    check(&swarms);
}

/// Torrents as large as the ones that memory is reckoned by: ten peers each.
#[test]
fn a_peer_of_ten_takes_few_bytes() {
    for (is_ipv4, limit) in [(true, 24), (false, 46)] {
        let mut swarms = Swarms::new(1);
        for torrent in 0..1000_u32 {
            let mut info_hash = [0; 20];
            info_hash[..4].copy_from_slice(&torrent.to_be_bytes());
            let request = AnnounceRequest { info_hash: InfoHash(info_hash), ..leech() };
            for number in 0..10 {
                let peer = if is_ipv4 { v4(number) } else { v6(number as u16) };
                swarms.announce(START, peer, &request);
            }
        }
        let each = swarms.usage.bytes.load(Relaxed) / 10_000;
        assert!(each <= limit, "{each} bytes");
    }
}
