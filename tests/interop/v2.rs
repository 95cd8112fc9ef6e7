//! Swarms of v2 and hybrid torrents: sprat and libtorrent in both directions, by .torrent and by every kind of magnet; sprat alone;
//! and hybrids among clients that know only v1.

use std::ffi::OsString;
use std::path::PathBuf;

use harness::foreign::{Client, Libtorrent, aria2, transmission};
use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::require_networks;
use harness::sandbox::{Sandbox, Tracker};
use harness::tree;
use harness::wait::LONG;

use crate::made::{Made, create};

const PIECE: usize = 32 * 1024;

/// By what a downloader knows the torrent.
#[derive(Clone, Copy, Debug)]
enum By {
    Torrent,
    /// A .torrent without piece layers.
    Stripped,
    /// A magnet with the v1 hash alone.
    MagnetV1,
    /// A magnet with the v2 hash alone.
    MagnetV2,
    /// A magnet with every hash that the torrent has.
    Magnet,
}

/// Every way to come by a v2 torrent and a hybrid.
const WAYS: [(&str, By); 8] = [
    ("v2", By::Torrent),
    ("v2", By::Stripped),
    ("v2", By::MagnetV2),
    ("hybrid", By::Torrent),
    ("hybrid", By::Stripped),
    ("hybrid", By::MagnetV1),
    ("hybrid", By::MagnetV2),
    ("hybrid", By::Magnet),
];

/// A torrent of a tree of its own: so many swarms share a network and don't meet.
struct Swarm {
    name: String,
    by: By,
    made: Made,
}

/// A running `sprat get`.
struct Get {
    process: Process,
    // Its network stays as long as it runs.
    _host: Host,
}

/// A network with a tracker, and torrents of trees in `data`.
struct Scene {
    sandbox: Sandbox,
    // The network goes last.
    tracker: Tracker,
    swarms: Vec<Swarm>,
    network: Network,
}

impl Scene {
    #[track_caller]
    fn new(ways: &[(&str, By)]) -> Self {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let tracker = sandbox.tracker(Some(&network.host()));
        let swarms = ways.iter().enumerate().map(|(number, &(format, by))| {
            let name = format!("tree {number}");
            let mut files = tree::mixed(number as u64, PIECE);
            files.extend(tree::single(100 + number as u64, "zz/larger", 3 << 20));
            let payload = sandbox.path("data").join(&name);
            tree::write(&payload, &files);
            let made = create(&sandbox, &payload, format, PIECE as u32, &[&tracker.url()]);
            Swarm { name, by, made }
        });
        let swarms = swarms.collect();
        Self { sandbox, tracker, swarms, network }
    }

    /// `sprat seed` of all torrents.
    #[track_caller]
    fn seed(&self) -> (Process, Host) {
        let host = self.network.host();
        let torrents = self.swarms.iter().map(|swarm| &swarm.made.path);
        let seed = self.sandbox.sprat_on(Some(&host), "seed").args(torrents);
        let seed = seed.args(["--json", "--data"]).arg(self.sandbox.path("data")).spawn();
        self.wait_seeds();
        (seed, host)
    }

    /// Every torrent has a seed, under every name it has.
    #[track_caller]
    fn wait_seeds(&self) {
        for swarm in self.swarms.iter().flat_map(|swarm| swarm.made.swarms()) {
            self.tracker.wait_seeds(swarm, 1);
        }
    }

    /// What the swarm's downloader is given.
    #[track_caller]
    fn source(&self, swarm: &Swarm) -> OsString {
        match swarm.by {
            By::Torrent => swarm.made.path.clone().into(),
            By::Stripped => swarm.made.without_layers().into(),
            By::MagnetV1 => swarm.made.magnet(&self.sandbox, &["--v1"]).into(),
            By::MagnetV2 => swarm.made.magnet(&self.sandbox, &["--v2"]).into(),
            By::Magnet => swarm.made.magnet(&self.sandbox, &[]).into(),
        }
    }

    /// `sprat get` of a swarm on a host of its own.
    #[track_caller]
    fn get(&self, swarm: &Swarm, copy: &str) -> Get {
        let host = self.network.host();
        let get = self.sandbox.sprat_on(Some(&host), "get").arg(self.source(swarm));
        let process = get.args(["--json", "-o"]).arg(self.sandbox.path(copy)).spawn();
        Get { process, _host: host }
    }

    /// Where a swarm's data is, and where its copy below `copy`.
    fn both(&self, swarm: &Swarm, copy: &str) -> (PathBuf, PathBuf) {
        (self.sandbox.path("data").join(&swarm.name), self.sandbox.path(copy).join(&swarm.name))
    }
}

#[test]
fn libtorrent_downloads_from_sprat_by_torrent_and_by_every_magnet() {
    if !(require_networks() && Client::Libtorrent.require()) {
        return;
    }
    let scene = Scene::new(&WAYS);
    let _seed = scene.seed();
    let gets: Vec<_> = scene
        .swarms
        .iter()
        .map(|swarm| {
            let get =
                Libtorrent::start(&scene.network.host(), scene.source(swarm), &scene.sandbox.path("copy"));
            (swarm, get)
        })
        .collect();
    for (swarm, get) in gets {
        get.wait_seeding();
        get.verify();
        let (data, copy) = scene.both(swarm, "copy");
        tree::assert_same(&data, &copy);
    }
}

#[test]
fn sprat_downloads_from_libtorrent_by_torrent_and_by_every_magnet() {
    if !(require_networks() && Client::Libtorrent.require()) {
        return;
    }
    let scene = Scene::new(&WAYS);
    let seeds: Vec<_> = scene
        .swarms
        .iter()
        .map(|swarm| Libtorrent::start(&scene.network.host(), &swarm.made.path, &scene.sandbox.path("data")))
        .collect();
    seeds.iter().for_each(Libtorrent::wait_seeding);
    scene.wait_seeds();
    let gets: Vec<_> = scene.swarms.iter().map(|swarm| (swarm, scene.get(swarm, "copy"))).collect();
    for (swarm, get) in gets {
        get.process.wait_exit(LONG).expect(0);
        let (data, copy) = scene.both(swarm, "copy");
        tree::assert_same(&data, &copy);
    }
}

#[test]
fn two_sprats_download_from_one_by_torrent_and_by_every_magnet() {
    if !require_networks() {
        return;
    }
    let scene = Scene::new(&WAYS);
    let _seed = scene.seed();
    let gets: Vec<_> = scene
        .swarms
        .iter()
        .flat_map(|swarm| ["one", "two"].map(|copy| (swarm, copy, scene.get(swarm, copy))))
        .collect();
    for (swarm, copy, get) in gets {
        get.process.wait_exit(LONG).expect(0);
        let (data, copy) = scene.both(swarm, copy);
        tree::assert_same(&data, &copy);
    }
}

/// `client`, which knows only v1, downloads a hybrid from sprat, and then is all that `sprat get` has, by magnet.
#[track_caller]
fn there_and_back(client: Client) {
    let scene = Scene::new(&[("hybrid", By::Magnet)]);
    let swarm = &scene.swarms[0];
    let (seed, _host) = scene.seed();
    let work = scene.sandbox.path("work");
    let peer = client.start(&scene.network.host(), &work, &swarm.made.path, &scene.sandbox.path("copy"));
    peer.wait_seeding();
    seed.kill();
    scene.get(swarm, "back").process.wait_exit(LONG).expect(0);
    let (data, back) = scene.both(swarm, "back");
    tree::assert_same(&data, &back);
    peer.verify();
    let (data, copy) = scene.both(swarm, "copy");
    tree::assert_same_but_padding(&data, &copy);
}

#[test]
fn a_hybrid_goes_to_aria2_and_back() {
    if require_networks() && aria2::require_hybrids() {
        there_and_back(Client::Aria2);
    }
}

#[test]
fn a_hybrid_goes_to_transmission_and_back() {
    if require_networks() && transmission::require_hybrids() {
        there_and_back(Client::Transmission);
    }
}

#[test]
fn all_of_them_finish_in_one_hybrid_swarm() {
    if !(require_networks()
        && Client::Libtorrent.require()
        && aria2::require_hybrids()
        && transmission::require_hybrids())
    {
        return;
    }
    let others = [Client::Transmission, Client::Aria2, Client::Libtorrent];
    let scene = Scene::new(&[("hybrid", By::MagnetV2)]);
    let swarm = &scene.swarms[0];
    let (_seed, seed_host) = scene.seed();
    // Slow enough that they have time to trade.
    seed_host.limit_rate("20mbit");
    let peers = others.map(|client| {
        let (name, host) = (format!("{client:?}"), scene.network.host());
        let peer = client.start(
            &host,
            &scene.sandbox.path(&name),
            &swarm.made.path,
            &scene.sandbox.path(format!("copy {name}")),
        );
        (peer, format!("copy {name}"))
    });
    scene.get(swarm, "copy").process.wait_exit(LONG).expect(0);
    let (data, copy) = scene.both(swarm, "copy");
    tree::assert_same(&data, &copy);
    for (peer, copy) in peers {
        peer.wait_seeding();
        peer.verify();
        let (data, copy) = scene.both(swarm, &copy);
        tree::assert_same_but_padding(&data, &copy);
    }
}
