//! The others without sprat: if these fail, it is the machine or the harness, not sprat.

use harness::foreign::opentracker::{self, Opentracker};
use harness::foreign::transmission::show_info_hash;
use harness::foreign::{Client, mktorrent};
use harness::netns::Network;
use harness::require::require_networks;
use harness::sandbox::Sandbox;
use harness::tree;

/// `from` seeds, `to` downloads and checks, with a torrent by mktorrent and opentracker between them.
#[track_caller]
fn trade(from: Client, to: Client) {
    if !(require_networks()
        && opentracker::require()
        && mktorrent::require()
        && from.require()
        && to.require())
    {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let (tracker_host, seed_host, get_host) = (network.host(), network.host(), network.host());
    tree::write(&sandbox.path("data/tree"), &tree::mixed(7, 32 * 1024));
    let torrent = sandbox.path("tree.torrent");
    let announce = format!("http://{}:6969/announce", tracker_host.address());
    mktorrent::create(&sandbox.path("data/tree"), &torrent, 15, &announce);
    let info_hash = show_info_hash(&torrent).parse().expect("transmission-show prints hexadecimal");

    let tracker = Opentracker::start(&tracker_host, &sandbox.path("opentracker"), &[info_hash]);
    let seed = from.start(&seed_host, &sandbox.path("seed"), &torrent, &sandbox.path("data"));
    seed.wait_seeding();
    tracker.wait_seeds(info_hash, 1);
    let get = to.start(&get_host, &sandbox.path("get"), &torrent, &sandbox.path("copy"));
    get.wait_seeding();
    get.verify();
    tree::assert_same_bytes(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

#[test]
fn transmission_to_aria2() {
    trade(Client::Transmission, Client::Aria2);
}

#[test]
fn aria2_to_libtorrent() {
    trade(Client::Aria2, Client::Libtorrent);
}

#[test]
fn libtorrent_to_transmission() {
    trade(Client::Libtorrent, Client::Transmission);
}
