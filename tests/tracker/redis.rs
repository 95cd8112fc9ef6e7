//! Several nodes on one Redis: one swarm, as long as Redis is there, and again when it is back.

use std::net::SocketAddr;
use std::process::Command;

use harness::foreign::{self, Client as Foreign};
use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::{find, require_networks, require_peer};
use harness::sandbox::{Sandbox, free_port, info_hash};
use harness::tracker::http::{Client, Counts, peers, ports};
use harness::tracker::udp::Announce;
use harness::tracker::{LOOPBACK, Tracker};
use harness::tree;
use harness::wait::{self, LONG, SOON};

const HASH: &[u8; 20] = b"shared among nodes!!";

/// A Redis of a test's own, that keeps nothing.
struct Redis {
    process: Process,
    addr: SocketAddr,
}

impl Redis {
    fn start(sandbox: &Sandbox, addr: SocketAddr, host: Option<&Host>) -> Self {
        let program = find("redis-server").expect("it was asked for");
        let mut command = match host {
            Some(host) => host.command(program),
            None => Command::new(program),
        };
        command.args(["--bind", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
        command.args(["--protected-mode", "no", "--save", "", "--appendonly", "no"]);
        let process = Process::spawn("redis-server", command.current_dir(sandbox.root()));
        process.wait_line("Ready to accept connections", SOON);
        Self { process, addr }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }
}

fn node(sandbox: &Sandbox, url: &str) -> Tracker {
    Tracker::start(sandbox, &["--store", url, "--sync-every", "1s"])
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Waits until a node says so of the torrent.
#[track_caller]
fn wait_counts(node: &Tracker, complete: i128, incomplete: i128) {
    let mut last = Counts::default();
    let reached = wait::try_until(SOON, || {
        last = node.client().scrape(HASH);
        ((last.complete, last.incomplete) == (complete, incomplete)).then_some(())
    });
    assert!(reached.is_some(), "never {complete} seeds and {incomplete} leechers; last {last:?}");
}

/// What a leecher on this port gets; it does not stay.
fn listed(node: &Tracker) -> Vec<u16> {
    let found = ports(&peers(&node.client().join(HASH, 999, "left=1&numwant=200")));
    node.client().join(HASH, 999, "left=1&event=stopped");
    found
}

#[test]
fn two_nodes_are_one_tracker() {
    if !require_peer("redis-server") {
        return;
    }
    let sandbox = Sandbox::new();
    let redis = Redis::start(&sandbox, loopback(), None);
    let [one, two] = [(); 2].map(|()| node(&sandbox, &redis.url()));
    one.client().join(HASH, 1, "left=0");
    two.udp_client().join(&Announce::leecher(*HASH, 2));
    for node in [&one, &two] {
        wait_counts(node, 1, 1);
        assert_eq!(listed(node), [1, 2]);
    }
    // It finishes at the other node: one peer, one download.
    wait::until("the leecher at the other node", SOON, || (listed(&one) == [1, 2]).then_some(()));
    one.udp_client().join(&Announce { event: 1, ..Announce::seed(*HASH, 2) });
    for node in [&one, &two] {
        wait_counts(node, 2, 0);
        wait::until("the download at both", SOON, || {
            (node.client().scrape(HASH).downloaded == 1).then_some(())
        });
    }
    // It leaves by the first.
    two.client().join(HASH, 1, "left=0&event=stopped");
    for node in [&one, &two] {
        wait_counts(node, 1, 0);
        assert_eq!(node.metric("sprat_tracker_store_up", &[]), 1.0);
    }
    // A third that comes later knows all.
    let three = node(&sandbox, &redis.url());
    wait_counts(&three, 1, 0);
    assert_eq!(listed(&three), [2]);
    // One that goes takes nobody with it.
    two.stop();
    assert_eq!(listed(&one), [2]);
}

#[test]
fn without_their_redis_the_nodes_go_on_and_with_it_they_heal() {
    if !require_peer("redis-server") {
        return;
    }
    let sandbox = Sandbox::new();
    let redis = Redis::start(&sandbox, loopback(), None);
    let (addr, url) = (redis.addr, redis.url());
    let [one, two] = [(); 2].map(|()| node(&sandbox, &url));
    one.client().join(HASH, 1, "left=0");
    two.client().join(HASH, 2, "left=1");
    wait_counts(&one, 1, 1);
    wait_counts(&two, 1, 1);
    redis.process.kill();
    // What they knew, they tell; who is new, they take.
    for node in [&one, &two] {
        assert_eq!(listed(node), [1, 2]);
    }
    one.client().join(HASH, 3, "left=1");
    two.client().join(HASH, 4, "left=1");
    for node in [&one, &two] {
        wait::until("a node that knows", SOON, || {
            (node.metric("sprat_tracker_store_up", &[]) == 0.0).then_some(())
        });
    }
    assert_eq!(listed(&one), [1, 2, 3]);
    assert_eq!(listed(&two), [1, 2, 4]);
    // One that starts now starts, too.
    let three = node(&sandbox, &url);
    three.client().join(HASH, 5, "left=1");

    // Back, and empty: what was kept there is told again.
    let _redis = Redis::start(&sandbox, addr, None);
    for node in [&one, &two, &three] {
        wait_counts(node, 1, 4);
        assert_eq!(listed(node), [1, 2, 3, 4, 5]);
        assert_eq!(node.metric("sprat_tracker_store_up", &[]), 1.0);
    }
}

#[test]
fn an_address_that_is_none_is_said_at_the_start() {
    let sandbox = Sandbox::new();
    for url in ["redis://", "redis://127.0.0.1:notaport", "mysql://127.0.0.1", "redis://127.0.0.1/notadb"] {
        let ended = sandbox.sprat("tracker").args(LOOPBACK).args(["--store", url]).run(SOON);
        assert!(matches!(ended.code, Some(2 | 3 | 10)), "{url}: {:?}", ended.code);
        assert!(ended.stderr().lines().count() <= 4, "{}", ended.stderr());
    }
}

/// The seed knows one node, who downloads the other; then the other way round, with sprat's own.
#[test]
fn a_swarm_of_sprat_and_libtorrent_across_two_nodes() {
    if !(require_networks() && require_peer("redis-server") && Foreign::Libtorrent.require()) {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let hosts: Vec<_> = (0..6).map(|_| network.host()).collect();
    let redis = Redis::start(&sandbox, SocketAddr::new(hosts[0].address(), 6379), Some(&hosts[0]));
    let nodes = [&hosts[1], &hosts[2]].map(|host| {
        let at = SocketAddr::new(host.address(), 6969).to_string();
        let start = sandbox.sprat_on(Some(host), "tracker").args(["--json", "--http", &at, "--udp", &at]);
        Tracker::adopt(start.args(["--store", &redis.url(), "--sync-every", "1s"]).spawn())
    });
    tree::write(&sandbox.path("data/tree"), &tree::mixed(5, 64 * 1024));
    let at = |node: usize| nodes[node].http[0];
    let torrent = |name: &str, url: String| {
        let made = sandbox.create(sandbox.path("data/tree"), [url.as_str()], 64 * 1024);
        let torrent = sandbox.path(name);
        std::fs::rename(made, &torrent).unwrap();
        torrent
    };
    let here = torrent("here.torrent", format!("http://{}/announce", at(0)));
    let there = torrent("there.torrent", format!("udp://{}/announce", nodes[1].udp[0]));
    let there_http = torrent("there-http.torrent", format!("http://{}/announce", at(1)));
    assert_eq!(info_hash(&here), info_hash(&there));

    let seed = sandbox.sprat_on(Some(&hosts[3]), "seed").arg(&here).args(["--json", "--data"]);
    let _seed = seed.arg(sandbox.path("data")).spawn();
    let hash = *info_hash(&here).as_bytes();
    // At the node that the seed does not know.
    let seeds = || hosts[5].run(|| Client::new(at(1)).scrape(&hash).complete);
    wait::until("the seed at the other node", LONG, || (seeds() >= 1).then_some(()));
    let copy = sandbox.path("libtorrent");
    let get = foreign::Libtorrent::start(&hosts[4], &there, &copy);
    get.wait_seeding();
    tree::assert_same_bytes(&sandbox.path("data/tree"), &copy.join("tree"));
    wait::until("both seeds", LONG, || (seeds() >= 2).then_some(()));
    let get = sandbox.sprat_on(Some(&hosts[5]), "get").arg(&there_http).arg("-o").arg(sandbox.path("copy"));
    get.run(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}
