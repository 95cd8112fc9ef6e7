//! sprat with a tracker that others wrote, over both of its protocols.

use harness::foreign::opentracker::{self, Opentracker};
use harness::netns::Network;
use harness::require::require_networks;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::LONG;

const PIECE: usize = 32 * 1024;

/// A seed and a downloader that know of each other by this URL alone.
#[track_caller]
fn meet(url: impl Fn(&Opentracker) -> String) {
    if !(require_networks() && opentracker::require()) {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let (tracker_host, seed_host, get_host) = (network.host(), network.host(), network.host());
    tree::write(&sandbox.path("data/tree"), &tree::mixed(41, PIECE));
    // It serves the torrents that it was started with, and its URLs are known when it has started: the torrent is made twice.
    let swarm = info_hash(&sandbox.create(sandbox.path("data/tree"), [], PIECE as u32));
    let tracker = Opentracker::start(&tracker_host, &sandbox.path("opentracker"), &[swarm]);
    let url = url(&tracker);
    std::fs::remove_file(sandbox.path("tree.torrent")).expect("it was made");
    let torrent = sandbox.create(sandbox.path("data/tree"), [url.as_str()], PIECE as u32);

    let alone = ["--json", "--no-dht", "--no-lsd", "--no-pex"];
    let seed = sandbox.sprat_on(Some(&seed_host), "seed").arg(&torrent).args(alone);
    let seed = seed.arg("--data").arg(sandbox.path("data")).spawn();
    tracker.wait_seeds(swarm, 1);
    let get = sandbox.sprat_on(Some(&get_host), "get").arg(&torrent).args(alone);
    get.arg("-o").arg(sandbox.path("copy")).spawn().wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    drop(seed);
}

#[test]
fn sprat_meets_sprat_by_opentracker_over_http() {
    meet(Opentracker::url);
}

#[test]
fn sprat_meets_sprat_by_opentracker_over_udp() {
    meet(Opentracker::udp_url);
}
