//! Traps 11 to 18: swarms and their counts.

use std::collections::BTreeMap;

use harness::process::Signal;
use harness::sandbox::Sandbox;
use harness::tracker::http::{Client, Counts, failure, peers, ports, query};
use harness::tracker::udp::Announce;
use harness::tracker::{BOTH_FAMILIES, Tracker};
use harness::wait::{self, SOON};

const HASH: &[u8; 20] = b"counting the swarms!";

fn start() -> (Sandbox, Tracker) {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    (sandbox, tracker)
}

#[test]
fn trap_11_a_completed_download_is_counted_once() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let downloaded = || client.scrape(HASH).downloaded;
    // One that nobody knew before, as after a restart of the tracker.
    client.join(HASH, 1, "left=0&event=completed");
    assert_eq!(downloaded(), 0, "an unknown peer's is no transition");
    // One that lacks something.
    client.join(HASH, 2, "left=1&event=started");
    client.join(HASH, 2, "left=1&event=completed");
    assert_eq!(downloaded(), 0, "with something left");
    client.join(HASH, 2, "left=0&event=completed");
    assert_eq!(downloaded(), 1);
    for _ in 0..3 {
        client.join(HASH, 2, "left=0&event=completed");
    }
    assert_eq!(downloaded(), 1, "said again");
    client.join(HASH, 2, "left=0&event=started");
    client.join(HASH, 2, "left=0");
    assert_eq!(downloaded(), 1, "started again as a seed");
    // Over UDP.
    let udp = tracker.udp_client();
    udp.join(&Announce::leecher(*HASH, 3));
    for _ in 0..2 {
        udp.join(&Announce { event: 1, ..Announce::seed(*HASH, 3) });
    }
    assert_eq!(downloaded(), 2);
    assert_eq!(udp.scrape(&[*HASH]), [[3, 2, 0]]);
}

#[test]
fn trap_12_every_event_is_taken_from_known_and_unknown_peers() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let counts = || {
        let counts = client.scrape(HASH);
        (counts.complete, counts.incomplete)
    };
    client.join(HASH, 1, "left=1&event=started");
    client.join(HASH, 1, "left=1&event=started");
    assert_eq!(counts(), (0, 1), "started twice");
    client.join(HASH, 2, "left=0&event=completed");
    client.join(HASH, 3, "left=1");
    assert_eq!(counts(), (1, 2), "unknown peers");
    let reply = client.join(HASH, 4, "left=1&event=stopped");
    assert!(peers(&reply).is_empty());
    assert_eq!(counts(), (1, 2), "an unknown peer leaves");
    // A recheck: what was whole is not.
    client.join(HASH, 2, "left=7");
    assert_eq!(counts(), (0, 3));
    client.join(HASH, 2, "left=0");
    assert_eq!(counts(), (1, 2));
    client.join(HASH, 2, "left=0&event=stopped");
    client.join(HASH, 2, "left=0&event=stopped");
    assert_eq!(counts(), (0, 2));
}

#[test]
fn trap_13_one_who_leaves_gets_no_peers_and_leaves_no_torrent_behind() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let udp = tracker.udp_client();
    let stopped = Announce { event: 3, ..Announce::leecher(*HASH, 1) };
    assert!(peers(&client.join(HASH, 1, "left=1&event=stopped")).is_empty());
    assert!(udp.join(&stopped).is_empty());
    assert_eq!(tracker.stats()["torrents"], 0, "a torrent of nobody");
    for port in 1..=3 {
        client.join(HASH, port, "left=1");
    }
    assert!(peers(&client.join(HASH, 1, "left=1&event=stopped&numwant=50")).is_empty());
    assert!(udp.join(&Announce { num_want: 50, port: 2, ..stopped }).is_empty());
    assert_eq!(ports(&peers(&client.join(HASH, 4, "left=1"))), [3]);
    assert_eq!(tracker.stats()["torrents"], 1);
}

#[test]
fn trap_14_nobody_gets_itself_and_no_seed_gets_seeds() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    assert!(peers(&client.join(HASH, 1, "left=1")).is_empty(), "alone");
    assert!(peers(&client.join(HASH, 1, "left=1")).is_empty(), "alone, and known");
    let reply = client.join(HASH, 1, "left=1");
    assert_eq!(
        (reply.int("complete"), reply.int("incomplete")),
        (Some(0), Some(1)),
        "counts include the asker"
    );
    for port in 2..=4 {
        client.join(HASH, port, "left=0");
    }
    assert_eq!(ports(&peers(&client.join(HASH, 1, "left=1"))), [2, 3, 4], "a lone leecher gets the seeds");
    assert_eq!(ports(&peers(&client.join(HASH, 2, "left=0"))), [1], "a seed gets leechers alone");
    let udp = tracker.udp_client();
    assert_eq!(ports(&udp.join(&Announce::seed(*HASH, 3))), [1]);
    assert_eq!(ports(&udp.join(&Announce::leecher(*HASH, 1))), [2, 3, 4]);
    // The first answer of an unknown peer does not hold it either.
    assert_eq!(ports(&udp.join(&Announce::leecher(*HASH, 5))), [1, 2, 3, 4]);
}

#[test]
fn trap_15_a_peer_is_its_address_and_port() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &BOTH_FAMILIES);
    let [v4, v6] = [tracker.client(), Client::new(tracker.http[1])];
    let join = |client: &Client, port: u16, id: &str, more: &str| {
        let query = query(HASH, port, more).replace(&format!("-XX0001-0000000{port:05}"), id);
        let reply = client.announce(&query);
        assert_eq!(failure(&reply), None);
        reply
    };
    // The same peer id elsewhere evicts nobody.
    join(&v4, 1, "-XX0001-aaaaaaaaaaaa", "left=1");
    join(&v4.clone().from([127, 0, 0, 2]), 1, "-XX0001-aaaaaaaaaaaa", "left=1");
    join(&v4, 2, "-XX0001-aaaaaaaaaaaa", "left=1");
    assert_eq!(v4.scrape(HASH).incomplete, 3);
    // Another peer id at the same address and port is the same peer.
    join(&v4, 2, "-XX0001-bbbbbbbbbbbb", "left=0");
    let counts = v4.scrape(HASH);
    assert_eq!((counts.complete, counts.incomplete), (1, 2));
    // A dual-stack client is two peers to others, and one to the counts, if its key says that it is one (BEP 7).
    join(&v4, 7, "-XX0001-cccccccccccc", "left=0&key=5EC2E7AA");
    join(&v6, 7, "-XX0001-cccccccccccc", "left=0&key=5EC2E7AA");
    assert_eq!(v4.scrape(HASH).complete, 2);
    let stats = tracker.stats();
    assert_eq!(
        (&stats["peers"], &stats["ipv4"], &stats["ipv6"], &stats["dual_stack"]),
        (&5.into(), &4.into(), &1.into(), &1.into()),
        "{stats}"
    );
    // Without its key it could be anybody.
    join(&v6, 1, "-XX0001-aaaaaaaaaaaa", "left=1");
    assert_eq!(v4.scrape(HASH).incomplete, 3);
}

#[test]
fn trap_16_counts_are_what_the_lists_hold() {
    let (_sandbox, tracker) = start();
    let (client, udp) = (tracker.client(), tracker.udp_client());
    let mut random = fastrand::Rng::with_seed(16);
    let hashes: Vec<[u8; 20]> = (0..5).map(|n| [n; 20]).collect();
    let mut model: BTreeMap<([u8; 20], u16), bool> = BTreeMap::new();
    for _ in 0..3000 {
        let hash = hashes[random.usize(0..hashes.len())];
        let (port, seed, event) = (random.u16(1..=40), random.bool(), random.u32(0..6));
        let announce = if seed { Announce::seed(hash, port) } else { Announce::leecher(hash, port) };
        udp.join(&Announce { event, num_want: 0, ..announce });
        match event {
            3 => model.remove(&(hash, port)),
            _ => model.insert((hash, port), seed),
        };
    }
    let mut torrents = 0;
    for hash in &hashes {
        let members: Vec<bool> = model.range((*hash, 0)..=(*hash, u16::MAX)).map(|(_, &seed)| seed).collect();
        let seeds = members.iter().filter(|seed| **seed).count();
        let counts = client.scrape(hash);
        assert_eq!((counts.complete, counts.incomplete), (seeds as i128, (members.len() - seeds) as i128));
        let listed = ports(&peers(&client.announce(&query(hash, 99, "left=1&numwant=200"))));
        let expected: Vec<_> =
            model.range((*hash, 0)..=(*hash, u16::MAX)).map(|((_, port), _)| *port).collect();
        assert_eq!(listed, expected);
        client.join(hash, 99, "left=1&event=stopped");
        torrents += u64::from(!members.is_empty());
    }
    let stats = tracker.stats();
    let seeds = model.values().filter(|seed| **seed).count();
    assert_eq!(
        ["torrents", "peers", "seeds", "leechers"].map(|key| stats[key].as_u64()),
        [torrents, model.len() as u64, seeds as u64, (model.len() - seeds) as u64].map(Some),
        "{stats}"
    );
}

#[test]
fn trap_17_who_comes_back_when_told_is_never_missing() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &["--interval", "1s"]);
    let client = tracker.client();
    let reply = client.join(HASH, 1, "left=0");
    let told = reply.int("interval").expect("an interval");
    assert!((1..=2).contains(&told), "{told}");
    // One and a half intervals later it is there still: what others see when its announce is late.
    wait::moment(std::time::Duration::from_millis(1500 * told as u64));
    assert_eq!(ports(&peers(&client.join(HASH, 2, "left=1"))), [1]);
}

#[test]
fn trap_18_a_torrent_that_is_no_longer_allowed_is_gone_from_announces_and_scrapes() {
    let sandbox = Sandbox::new();
    let deny = sandbox.path("deny");
    std::fs::write(&deny, "").unwrap();
    let tracker = Tracker::start(&sandbox, &["--deny", deny.to_str().unwrap()]);
    let client = tracker.client();
    client.join(HASH, 1, "left=0");
    client.join(b"another one, allowed", 1, "left=0");
    assert_eq!(client.scrape(HASH).complete, 1);

    let hex: String = HASH.iter().map(|byte| format!("{byte:02X}")).collect();
    std::fs::write(&deny, format!("# no longer\n\n{hex}\n")).unwrap();
    tracker.process.signal(Signal::HUP);
    wait::until("the list", SOON, || failure(&client.announce(&query(HASH, 1, "left=0"))));
    assert_eq!(client.scrape(HASH), Counts { downloaders: Some(0), ..Counts::default() });
    assert_eq!(tracker.stats()["peers"], 1, "the swarm is dropped");
    assert_eq!(client.scrape(b"another one, allowed").complete, 1);
    let udp = tracker.udp_client();
    assert_eq!(udp.scrape(&[*HASH]), [[0, 0, 0]]);
    assert!(matches!(udp.announce(&Announce::seed(*HASH, 1)), harness::tracker::udp::Reply::Error(_)));

    std::fs::write(&deny, "").unwrap();
    tracker.process.signal(Signal::HUP);
    wait::until("the list", SOON, || {
        failure(&client.announce(&query(HASH, 2, "left=1&event=stopped"))).is_none().then_some(())
    });
    assert_eq!(client.scrape(HASH).complete, 0, "allowed again, it begins anew");
}
