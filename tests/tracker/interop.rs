//! Other people's clients at the tracker, one network address each: they announce, scrape and find a peer, and are found by it, over
//! HTTP and UDP, IPv4 and IPv6. The matrix is printed, with the reason for each empty cell.

mod clients;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::{require_libtorrent, require_networks, say};
use harness::sandbox::{Sandbox, info_hash};
use harness::tracker::Tracker;
use harness::tracker::http::{self, peers, query};
use harness::wait::{self, LONG};

use clients::Client;

/// Where the peer listens that a client must find.
const PEER_PORT: u16 = 7001;

/// How a client is told to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wire {
    Http4,
    Http6,
    Udp4,
    Udp6,
}

/// A tracker, a peer and a client, on a host each.
struct Scene {
    sandbox: Sandbox,
    tracker_host: Host,
    tracker: Tracker,
    peer_host: Host,
    host: Host,
    /// Of the client, in this family.
    address: IpAddr,
    peer: SocketAddr,
    torrent: PathBuf,
    _network: Network,
}

impl Wire {
    const ALL: [Self; 4] = [Self::Http4, Self::Http6, Self::Udp4, Self::Udp6];

    fn is_ipv6(self) -> bool {
        matches!(self, Self::Http6 | Self::Udp6)
    }

    fn is_udp(self) -> bool {
        matches!(self, Self::Udp4 | Self::Udp6)
    }

    fn protocol(self) -> &'static str {
        if self.is_udp() { "protocol=\"udp\"" } else { "protocol=\"http\"" }
    }
}

impl Scene {
    fn new(wire: Wire) -> Self {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let hosts = [network.host(), network.host(), network.host()];
        let of = |host: &Host| {
            let ipv6 = host.add_ipv6();
            if wire.is_ipv6() { ipv6 } else { host.address() }
        };
        let [at, peer, address] = hosts.each_ref().map(of);
        let [tracker_host, peer_host, host] = hosts;
        let at = SocketAddr::new(at, 6969);
        let start = sandbox.sprat_on(Some(&tracker_host), "tracker").args(["--json", "--interval", "2s"]);
        let start =
            start.args(["--http", &at.to_string(), "--udp", &at.to_string(), "--metrics", "127.0.0.1:9090"]);
        let tracker = Tracker::adopt(start.spawn());
        let scheme = if wire.is_udp() { "udp" } else { "http" };
        let data = sandbox.path("payload");
        std::fs::create_dir_all(&data).unwrap();
        for (name, byte) in [("a-first", 1u8), ("b-second", 2)] {
            std::fs::write(data.join(name), vec![byte; 256 * 1024]).unwrap();
        }
        let torrent = sandbox.create(&data, [format!("{scheme}://{at}/announce").as_str()], 64 * 1024);
        let peer = SocketAddr::new(peer, PEER_PORT);
        Self { sandbox, tracker_host, tracker, peer_host, host, address, peer, torrent, _network: network }
    }

    fn hash(&self) -> [u8; 20] {
        *info_hash(&self.torrent).as_bytes()
    }

    /// The peer announces itself, and gets others.
    fn peer_announces(&self) -> Vec<SocketAddr> {
        self.peer_host.run(|| {
            let client = http::Client::new(self.tracker.http[0]);
            let answer = client.join(&self.hash(), PEER_PORT, "left=1&numwant=50");
            peers(&answer)
        })
    }

    fn scrapes(&self, wire: Wire) -> f64 {
        self.tracker_host.run(|| {
            self.tracker.metric("sprat_tracker_answered_total", &[wire.protocol(), "kind=\"scrape\""])
        })
    }

    fn counts(&self) -> http::Counts {
        self.peer_host.run(|| http::Client::new(self.tracker.http[0]).scrape(&self.hash()))
    }

    /// Plays it with a client that comes with nothing.
    fn play(&self, client: Client, wire: Wire) {
        let listener = self.peer_host.run(|| TcpListener::bind(self.peer).unwrap());
        listener.set_nonblocking(true).unwrap();
        assert!(self.peer_announces().is_empty());
        let running = client.start(&clients::Job {
            host: &self.host,
            address: self.address,
            torrent: &self.torrent,
            hash: self.hash(),
            url: self.url(wire),
            work: &self.sandbox.path("client"),
        });
        let found = wait::until(&format!("{client:?} announces over {wire:?}"), LONG, || {
            self.peer_announces().first().copied()
        });
        assert_eq!(found.ip(), self.address, "{client:?} over {wire:?}");
        wait::until(&format!("{client:?} finds the peer over {wire:?}"), LONG, || {
            let came = listener.accept().is_ok_and(|(_, from)| from.ip() == self.address);
            (came || running.says_peer(self.peer)).then_some(())
        });
        if client.scrapes(wire).is_ok() {
            wait::until(&format!("{client:?} scrapes over {wire:?}"), LONG, || {
                (self.scrapes(wire) >= 1.0).then_some(())
            });
        }
    }

    fn url(&self, wire: Wire) -> String {
        match wire.is_udp() {
            true => format!("udp://{}/announce", self.tracker.udp[0]),
            false => format!("http://{}/announce", self.tracker.http[0]),
        }
    }
}

/// A column of the matrix.
fn every_wire(client: Client) {
    if !(require_networks() && client.require()) {
        return;
    }
    let mut row = format!("tracker interop: {client:?}:");
    std::thread::scope(|scope| {
        let cells = Wire::ALL.map(|wire| match client.announces(wire) {
            Ok(()) => Ok(scope.spawn(move || Scene::new(wire).play(client, wire))),
            Err(reason) => Err(reason),
        });
        for (wire, cell) in Wire::ALL.into_iter().zip(cells) {
            let said = match cell {
                Ok(play) => {
                    play.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    match client.scrapes(wire) {
                        Ok(()) => "announces, scrapes, finds and is found".to_owned(),
                        Err(reason) => format!("announces, finds and is found (no scrape: {reason})"),
                    }
                }
                Err(reason) => format!("– ({reason})"),
            };
            let _ = write!(row, "\n  {wire:?}: {said}");
        }
    });
    say(&row);
}

#[test]
fn transmission() {
    every_wire(Client::Transmission);
}

#[test]
fn libtorrent() {
    every_wire(Client::Libtorrent);
}

#[test]
fn aria2() {
    every_wire(Client::Aria2);
}

#[test]
fn rtorrent() {
    every_wire(Client::Rtorrent);
}

#[test]
fn bittorrent_tracker_of_npm() {
    every_wire(Client::Npm);
}

/// BEP 21: one who wants no more, but lacks something, is no downloader, and stays listed.
#[test]
fn a_partial_seed_of_libtorrent_is_kept() {
    if !(require_networks() && require_libtorrent()) {
        return;
    }
    for wire in [Wire::Http4, Wire::Udp4] {
        let scene = Scene::new(wire);
        let data = scene.sandbox.path("have");
        std::fs::create_dir_all(data.join("payload")).unwrap();
        std::fs::copy(scene.sandbox.path("payload/a-first"), data.join("payload/a-first")).unwrap();
        let peer: Process = clients::libtorrent(
            &scene.host,
            &scene.torrent,
            &data,
            &format!("{}:6881", scene.address),
            "partial",
        );
        peer.wait_line("finished", LONG);
        let expected = http::Counts { incomplete: 1, downloaders: Some(0), ..http::Counts::default() };
        wait::until(&format!("a partial seed over {wire:?}"), LONG, || {
            (scene.counts() == expected).then_some(())
        });
        // Whoever looks for it finds it.
        let listed = scene.peer_host.run(|| {
            peers(&http::Client::new(scene.tracker.http[0]).announce(&query(
                &scene.hash(),
                9,
                "left=1&event=started",
            )))
        });
        assert_eq!(listed, [SocketAddr::new(scene.address, 6881)]);
    }
}
