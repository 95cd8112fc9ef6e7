//! The same over IPv6.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use harness::require::say_skipped;
use harness::sandbox::{Sandbox, free_port, info_hash};
use harness::tree;
use harness::wait::LONG;

#[test]
fn a_swarm_lives_on_ipv6_loopback() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return say_skipped("this machine has no IPv6 loopback");
    }
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker_at(SocketAddr::from((Ipv6Addr::LOCALHOST, free_port())), None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, 32 * 1024));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], 32 * 1024);
    let _seed = sandbox.seed(&torrent, sandbox.path("data"), ["--bind", "::1"]);
    tracker.wait_seeds(info_hash(&torrent), 1);
    let gets =
        ["one", "two"].map(|name| (name, sandbox.get(&torrent, sandbox.path(name), ["--bind", "::1"])));
    for (name, get) in gets {
        get.process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path(name).join("tree"));
    }
}

#[test]
fn a_peer_is_named_by_its_ipv6_address() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return say_skipped("this machine has no IPv6 loopback");
    }
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(2, 32 * 1024));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], 32 * 1024);
    // Not bound to an address, it listens on both.
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = format!("[::1]:{}", seed.wait_listening().addr.port());
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}
