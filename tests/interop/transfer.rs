//! Transfers with the others, in both directions, through `sprat tracker`, one network address a peer; what arrived is checked by
//! the hashes of whoever received it.

use std::path::PathBuf;

use harness::foreign::Client;
use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::require_networks;
use harness::sandbox::{Sandbox, Tracker, info_hash};
use harness::tree;
use harness::wait::LONG;

const PIECE: usize = 64 * 1024;

/// A network with a tracker and two more hosts, and a torrent of a tree in `data`.
struct Scene {
    sandbox: Sandbox,
    // The network goes last.
    tracker: Tracker,
    seed_host: Host,
    get_host: Host,
    torrent: PathBuf,
    network: Network,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let tracker = sandbox.tracker(Some(&network.host()));
        let mut files = tree::mixed(11, PIECE);
        files.extend(tree::single(12, "zz/larger", 8 << 20));
        tree::write(&sandbox.path("data/tree"), &files);
        let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
        let (seed_host, get_host) = (network.host(), network.host());
        Self { sandbox, tracker, seed_host, get_host, torrent, network }
    }

    fn seed(&self) -> Process {
        self.seed_with(&[])
    }

    fn seed_with(&self, more: &[&str]) -> Process {
        let seed = self.sandbox.sprat_on(Some(&self.seed_host), "seed").arg(&self.torrent);
        let seed = seed.args(more).args(["--json", "--data"]).arg(self.sandbox.path("data")).spawn();
        self.tracker.wait_seeds(info_hash(&self.torrent), 1);
        seed
    }

    fn get(&self, host: &Host, copy: &str) -> Process {
        let get = self.sandbox.sprat_on(Some(host), "get").arg(&self.torrent);
        get.args(["--json", "-o"]).arg(self.sandbox.path(copy)).spawn()
    }
}

/// `to` downloads from `sprat seed`.
#[track_caller]
fn sprat_to(to: Client) {
    if !(require_networks() && to.require()) {
        return;
    }
    let scene = Scene::new();
    let _seed = scene.seed();
    let get =
        to.start(&scene.get_host, &scene.sandbox.path("work"), &scene.torrent, &scene.sandbox.path("copy"));
    get.wait_seeding();
    get.verify();
    tree::assert_same_bytes(&scene.sandbox.path("data/tree"), &scene.sandbox.path("copy/tree"));
}

/// `sprat get` downloads from `from`.
#[track_caller]
fn sprat_from(from: Client) {
    if !(require_networks() && from.require()) {
        return;
    }
    let scene = Scene::new();
    let seed = from.start(
        &scene.seed_host,
        &scene.sandbox.path("work"),
        &scene.torrent,
        &scene.sandbox.path("data"),
    );
    seed.wait_seeding();
    scene.tracker.wait_seeds(info_hash(&scene.torrent), 1);
    scene.get(&scene.get_host, "copy").wait_exit(LONG).expect(0);
    tree::assert_same(&scene.sandbox.path("data/tree"), &scene.sandbox.path("copy/tree"));
    scene.sandbox.sprat("verify").arg(&scene.torrent).arg(scene.sandbox.path("copy")).run(LONG).expect(0);
}

/// `sprat get` has only a magnet, and only `from` to get everything from.
#[track_caller]
fn metadata_from(from: Client) {
    if !(require_networks() && from.require()) {
        return;
    }
    let scene = Scene::new();
    let seed = from.start(
        &scene.seed_host,
        &scene.sandbox.path("work"),
        &scene.torrent,
        &scene.sandbox.path("data"),
    );
    seed.wait_seeding();
    scene.tracker.wait_seeds(info_hash(&scene.torrent), 1);
    let magnet = scene.sandbox.sprat("magnet").arg(&scene.torrent).run(LONG).expect(0).stdout();
    let get = scene.sandbox.sprat_on(Some(&scene.get_host), "get").args([magnet.trim(), "-o", "copy"]);
    get.run(LONG).expect(0);
    tree::assert_same(&scene.sandbox.path("data/tree"), &scene.sandbox.path("copy/tree"));
}

#[test]
fn transmission_downloads_from_sprat() {
    sprat_to(Client::Transmission);
}

#[test]
fn aria2_downloads_from_sprat() {
    sprat_to(Client::Aria2);
}

#[test]
fn libtorrent_downloads_from_sprat() {
    sprat_to(Client::Libtorrent);
}

#[test]
fn sprat_downloads_from_transmission() {
    sprat_from(Client::Transmission);
}

#[test]
fn sprat_downloads_from_aria2() {
    sprat_from(Client::Aria2);
}

#[test]
fn sprat_downloads_from_libtorrent() {
    sprat_from(Client::Libtorrent);
}

#[test]
fn sprat_has_metadata_and_payload_from_transmission() {
    metadata_from(Client::Transmission);
}

#[test]
fn sprat_has_metadata_and_payload_from_aria2() {
    metadata_from(Client::Aria2);
}

#[test]
fn sprat_has_metadata_and_payload_from_libtorrent() {
    metadata_from(Client::Libtorrent);
}

#[test]
fn all_of_them_in_one_swarm_finish() {
    one_swarm(&[]);
}

/// They take a seed that names one piece at a time (BEP 16) for what it says it is.
#[test]
fn all_of_them_finish_with_a_super_seed() {
    one_swarm(&["--super-seed"]);
}

#[track_caller]
fn one_swarm(seed_with: &[&str]) {
    let others = [Client::Transmission, Client::Aria2, Client::Libtorrent];
    if !(require_networks() && others.into_iter().all(Client::require)) {
        return;
    }
    let scene = Scene::new();
    // Slow enough that they have time to trade.
    scene.seed_host.limit_rate("20mbit");
    let _seed = scene.seed_with(seed_with);
    let peers = others.map(|client| {
        let (name, host) = (format!("{client:?}"), scene.network.host());
        let copy = scene.sandbox.path(format!("copy {name}"));
        (client.start(&host, &scene.sandbox.path(&name), &scene.torrent, &copy), copy)
    });
    let get = scene.get(&scene.get_host, "copy");
    get.wait_exit(LONG).expect(0);
    tree::assert_same(&scene.sandbox.path("data/tree"), &scene.sandbox.path("copy/tree"));
    for (peer, copy) in peers {
        peer.wait_seeding();
        peer.verify();
        tree::assert_same_bytes(&scene.sandbox.path("data/tree"), &copy.join("tree"));
    }
}
