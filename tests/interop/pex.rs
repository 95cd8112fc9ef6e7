//! Peers that others tell of (BEP 11), and that we tell them of. The one that is told knows nobody but the one that tells, and what there is to
//! have comes so slowly that it is not done by then.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use harness::foreign::{Client, Options, Peer};
use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::require_networks;
use harness::sandbox::{Sandbox, Tracker, events, info_hash};
use harness::tree;
use harness::wait::{self, LONG};

const PIECE: u32 = 32 * 1024;

/// So much for all: more than the tests last.
const SIZE: u64 = 8 << 20;

/// Bytes a second that the seed gives.
const LIMIT: &str = "16KiB";

const PORT: &str = "6881";

/// A tracker that some know of, and a seed.
struct Scene {
    sandbox: Sandbox,
    // The network goes last.
    tracker: Tracker,
    seed_host: Host,
    /// The same torrent with the tracker in it, and without.
    torrents: [PathBuf; 2],
    network: Network,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let tracker = sandbox.tracker(Some(&network.host()));
        let seed_host = network.host();
        tree::write_large(&sandbox.path("payload.bin"), 51, SIZE);
        let torrents =
            [("with.torrent", vec![tracker.url()]), ("without.torrent", vec![])].map(|(name, urls)| {
                let made =
                    sandbox.create(sandbox.path("payload.bin"), urls.iter().map(String::as_str), PIECE);
                let kept = sandbox.path(name);
                std::fs::rename(made, &kept).expect("it was made");
                kept
            });
        Self { sandbox, tracker, seed_host, torrents, network }
    }

    /// It is told nothing, so that it is the other who was, if they meet.
    fn seed(&self, torrent: &Path) -> Process {
        let seed = self.sandbox.sprat_on(Some(&self.seed_host), "seed").arg(torrent);
        let seed =
            seed.args(["--json", "--port", PORT, "--no-dht", "--no-lsd", "--no-pex", "-u", LIMIT, "--data"]);
        let seed = seed.arg(self.sandbox.root()).spawn();
        seed.wait_line("\"started\"", LONG);
        seed
    }

    /// `sprat get`, which is told of one peer at most.
    fn get(&self, host: &Host, torrent: &Path, copy: &str, peer: Option<&str>) -> Process {
        let get = self.sandbox.sprat_on(Some(host), "get").arg(torrent);
        let get = get.args(["--json", "--port", PORT, "--no-dht", "--no-lsd", "-o"]);
        let get = get.arg(self.sandbox.path(copy));
        get.args(peer.iter().flat_map(|peer| ["--peer", peer])).spawn()
    }

    #[track_caller]
    fn foreign(&self, client: Client, host: &Host) -> Peer {
        let options = Options { pex: true, ..Options::default() };
        let (work, copy) = (self.sandbox.path("work"), self.sandbox.path("theirs"));
        client.start_with(host, &work, &self.torrents[0], &copy, options)
    }
}

/// Waits until a sprat is connected with this one.
#[track_caller]
fn wait_peer(process: &Process, ip: IpAddr) {
    let start = format!("{ip}:");
    // Some tell only after a minute and a half.
    let met = wait::try_until(2 * LONG, || {
        let all = process.look(events);
        let mut peers = all.iter().filter(|event| event["event"] == "peer" && event["state"] == "connected");
        peers.any(|event| event["addr"].as_str().is_some_and(|addr| addr.starts_with(&start))).then_some(())
    });
    assert!(met.is_some(), "never connected with {ip}: {:#?}", process.lines());
}

/// `client` is all that the downloader knows, and knows the seed from the tracker.
#[track_caller]
fn told_by(client: Client) {
    if !(require_networks() && client.require()) {
        return;
    }
    let scene = Scene::new();
    let _seed = scene.seed(&scene.torrents[0]);
    scene.tracker.wait_seeds(info_hash(&scene.torrents[0]), 1);
    let (host, get_host) = (scene.network.host(), scene.network.host());
    let _peer = scene.foreign(client, &host);
    let port = if client == Client::Transmission { "51413" } else { PORT };
    let named = format!("{}:{port}", host.address());
    let get = scene.get(&get_host, &scene.torrents[1], "ours", Some(&named));
    wait_peer(&get, scene.seed_host.address());
}

/// A sprat, which knows the seed, is all that the tracker names to `client`.
#[track_caller]
fn tells(client: Client) {
    if !(require_networks() && client.require()) {
        return;
    }
    let scene = Scene::new();
    let seed = scene.seed(&scene.torrents[1]);
    let (host, middle_host) = (scene.network.host(), scene.network.host());
    let named = format!("{}:{PORT}", scene.seed_host.address());
    let middle = scene.get(&middle_host, &scene.torrents[0], "ours", Some(&named));
    wait_peer(&middle, scene.seed_host.address());
    let _peer = scene.foreign(client, &host);
    wait_peer(&seed, host.address());
}

#[test]
fn transmission_tells_sprat_of_a_peer() {
    told_by(Client::Transmission);
}

#[test]
fn sprat_tells_transmission_of_a_peer() {
    tells(Client::Transmission);
}
