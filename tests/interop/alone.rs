//! The others without sprat: if these fail, it is the machine or the harness, not sprat.

use harness::foreign::libtorrent::{self, Job, Libtorrent};
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

#[test]
fn libtorrent_to_libtorrent_by_a_magnet_of_v2() {
    if !(require_networks() && opentracker::require() && Client::Libtorrent.require()) {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let (tracker_host, seed_host, get_host) = (network.host(), network.host(), network.host());
    let payload = sandbox.path("data/tree");
    tree::write(&payload, &tree::mixed(8, 32 * 1024));
    let torrent = sandbox.path("tree.torrent");
    let job =
        Job { format: "v2", piece_length: 32 * 1024, payload: payload.clone(), output: torrent.clone() };
    let v2 = libtorrent::create(&[job]).remove(0).v2.expect("a v2 torrent has a v2 hash");
    let swarm = v2[..40].parse().expect("libtorrent prints hexadecimal");
    let tracker = Opentracker::start(&tracker_host, &sandbox.path("opentracker"), &[swarm]);
    let url = tracker.url();
    let magnet = format!("magnet:?xt=urn:btmh:1220{v2}&tr={url}");
    // The first key of all.
    let bytes = std::fs::read(&torrent).expect("the .torrent can be read");
    let announced = [format!("d8:announce{}:{url}", url.len()).as_bytes(), &bytes[1..]].concat();
    std::fs::write(&torrent, announced).expect("a test file can be written");

    let seed = Libtorrent::start(&seed_host, &torrent, &sandbox.path("data"));
    seed.wait_seeding();
    tracker.wait_seeds(swarm, 1);
    let get = Libtorrent::start(&get_host, &magnet, &sandbox.path("copy"));
    get.wait_seeding();
    get.verify();
    tree::assert_same(&payload, &sandbox.path("copy/tree"));
}
