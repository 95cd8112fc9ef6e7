//! By a magnet alone, and by one way alone to whoever has the torrent: every other is switched off. From sprat and from libtorrent, v1, v2
//! and hybrid.

use std::net::SocketAddr;
use std::path::PathBuf;

use harness::foreign::{Client, Libtorrent};
use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::require_networks;
use harness::sandbox::{Sandbox, events};
use harness::tracker::Tracker;
use harness::tree;
use harness::wait::LONG;

use crate::made::{FORMATS, Made, create};

const PIECE: usize = 32 * 1024;

/// How the downloader is to find a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    HttpTracker,
    UdpTracker,
    /// `x.pe` in the magnet.
    Named,
    /// One peer is named, which has not got everything itself, and tells of another.
    Pex,
    Lsd,
}

/// Who has the torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    Sprat,
    Libtorrent,
}

/// A program that lives as long as this, and its host.
#[expect(dead_code, reason = "killed when dropped")]
enum Running {
    Sprat(Process, Host),
    Libtorrent(Libtorrent),
}

struct Scene {
    sandbox: Sandbox,
    way: Way,
    // The network goes last.
    tracker: Option<Tracker>,
    network: Network,
}

impl Scene {
    #[track_caller]
    fn new(way: Way) -> Self {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let tracker = matches!(way, Way::HttpTracker | Way::UdpTracker).then(|| {
            let host = network.host();
            let at = SocketAddr::new(host.address(), 6969).to_string();
            let tracker =
                sandbox.sprat_on(Some(&host), "tracker").args(["--json", "--http", &at, "--udp", &at]);
            Tracker::adopt(tracker.spawn())
        });
        Self { sandbox, way, tracker, network }
    }

    fn announce_url(&self) -> Option<String> {
        let tracker = self.tracker.as_ref()?;
        Some(match self.way {
            Way::UdpTracker => format!("udp://{}/announce", tracker.udp[0]),
            _ => format!("http://{}/announce", tracker.http[0]),
        })
    }

    /// Flags that switch off all other ways.
    fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec!["--no-dht", "--no-upnp"];
        flags.extend((self.way != Way::Pex).then_some("--no-pex"));
        flags.extend((self.way != Way::Lsd).then_some("--no-lsd"));
        flags
    }

    /// Serves `made` from `data`; with more flags or words.
    #[track_caller]
    fn seed(&self, from: From, made: &Made, data: &str, limit: Option<&str>) -> (Running, SocketAddr) {
        let host = self.network.host();
        let addr = SocketAddr::new(host.address(), 6881);
        let data = self.sandbox.path(data);
        let running = match from {
            From::Sprat => {
                let seed =
                    self.sandbox.sprat_on(Some(&host), "seed").arg(&made.path).arg("--data").arg(&data);
                let seed =
                    seed.args(["--json", "--port", "6881"]).args(self.flags()).env("SPRAT_SEED_NO_LSD", "0");
                let seed = seed.args(limit.iter().flat_map(|limit| ["-u", limit])).spawn();
                seed.wait_line("\"started\"", LONG);
                Running::Sprat(seed, host)
            }
            From::Libtorrent => {
                let peer = Libtorrent::start_with(&host, &made.path, &data, self.words());
                peer.wait_seeding();
                Running::Libtorrent(peer)
            }
        };
        (running, addr)
    }

    /// What libtorrent is to use.
    fn words(&self) -> &'static [&'static str] {
        match self.way {
            Way::Lsd => &["lsd"],
            Way::Pex => &["pex"],
            _ => &[],
        }
    }

    /// A peer that has nothing yet, and is connected to the one at `seed`.
    #[track_caller]
    fn middle(&self, from: From, made: &Made, seed: SocketAddr, copy: &str) -> (Running, SocketAddr) {
        let host = self.network.host();
        let addr = SocketAddr::new(host.address(), 6881);
        let copy = self.sandbox.path(copy);
        let running = match from {
            From::Sprat => {
                let get = self.sandbox.sprat_on(Some(&host), "get").arg(&made.path).arg("-o").arg(&copy);
                let get = get.args(["--json", "--seed", "--port", "6881", "--peer", &seed.to_string()]);
                let get = get.args(self.flags()).spawn();
                get.wait_line("\"connected\"", LONG);
                Running::Sprat(get, host)
            }
            From::Libtorrent => {
                let peer = format!("peer={seed}");
                let middle = Libtorrent::start_with(&host, &made.path, &copy, &["pex", &peer]);
                middle.wait_listening();
                Running::Libtorrent(middle)
            }
        };
        (running, addr)
    }
}

/// One download by one way from one of them.
#[track_caller]
fn download(scene: &Scene, from: From, format: &str) {
    let name = format!("{from:?} {format}");
    let payload = scene.sandbox.path("data").join(&name);
    // Of files that no other swarm here has.
    let number =
        FORMATS.iter().position(|it| *it == format).unwrap_or(0) as u64 * 2 + u64::from(from == From::Sprat);
    let mut files = tree::mixed(number, PIECE);
    files.extend(tree::single(50 + number, "zz/larger", 1 << 20));
    tree::write(&payload, &files);
    let url = scene.announce_url();
    let made = create(
        &scene.sandbox,
        &payload,
        format,
        PIECE as u32,
        &url.iter().map(String::as_str).collect::<Vec<_>>(),
    );

    // So slow that the one in the middle has not got everything when it is asked.
    let limit = (scene.way == Way::Pex).then_some("100KiB");
    let first = if scene.way == Way::Pex { From::Sprat } else { from };
    let (_seed, seed_addr) = scene.seed(first, &made, "data", limit);
    let middle =
        (scene.way == Way::Pex).then(|| scene.middle(from, &made, seed_addr, &format!("middle {name}")));
    let named = match scene.way {
        Way::Named => Some(seed_addr),
        Way::Pex => middle.as_ref().map(|(_, addr)| *addr),
        _ => None,
    };
    let named = named.map(|addr| addr.to_string());
    let magnet =
        made.magnet(&scene.sandbox, &named.iter().flat_map(|peer| ["--peer", peer]).collect::<Vec<_>>());
    assert_eq!(magnet.contains("&tr="), url.is_some(), "{magnet}");
    assert_eq!(magnet.contains("&x.pe="), named.is_some(), "{magnet}");

    let host = scene.network.host();
    let get =
        scene.sandbox.sprat_on(Some(&host), "get").arg(&magnet).arg("-o").arg(scene.sandbox.path("copy"));
    let get = get.args(["--json"]).args(scene.flags()).env("SPRAT_GET_NO_LSD", "0");
    let finished = get.spawn().wait_exit(LONG).expect(0);
    tree::assert_same(&payload, &copy_of(scene, &name));
    let by_way = events(&finished.lines).iter().any(|event| {
        event["event"] == "peer"
            && event["addr"].as_str().is_some_and(|addr| addr.starts_with(&format!("{}:", seed_addr.ip())))
    });
    assert!(by_way, "{from:?} {format}: it came from elsewhere: {finished:#?}");
}

fn copy_of(scene: &Scene, name: &str) -> PathBuf {
    scene.sandbox.path("copy").join(name)
}

#[track_caller]
fn by(way: Way) {
    if !(require_networks() && Client::Libtorrent.require()) {
        return;
    }
    let scene = Scene::new(way);
    // Two at a time are enough for a small machine.
    std::thread::scope(|scope| {
        for from in [From::Sprat, From::Libtorrent] {
            let scene = &scene;
            scope.spawn(move || FORMATS.iter().for_each(|format| download(scene, from, format)));
        }
    });
}

#[test]
fn an_http_tracker_is_enough() {
    by(Way::HttpTracker);
}

#[test]
fn a_udp_tracker_is_enough() {
    by(Way::UdpTracker);
}

#[test]
fn a_peer_named_in_the_magnet_is_enough() {
    by(Way::Named);
}

#[test]
fn a_peer_that_tells_of_another_is_enough() {
    by(Way::Pex);
}

#[test]
fn our_own_network_is_enough() {
    by(Way::Lsd);
}
