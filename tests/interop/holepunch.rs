//! Hole punching (BEP 55): of two peers that are each behind a router which lets in nothing but answers, one downloads from the other. Both know
//! only a third, which is nearly without data and takes hardly any. No port is mapped. Where that is a real client, both hear of each other from
//! it, so that their own dials may meet too; one by script tells only one of them, so that nothing but its word brings them together.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use client::wire::Message;
use client::wire::extension::ExtensionHandshake;
use client::wire::ut_holepunch::HolepunchMessage;
use client::wire::ut_pex::{PexFlags, PexMessage};
use harness::foreign::libtorrent::{self, Libtorrent};
use harness::netns::{BehindNat, Host, Network};
use harness::peer::{self, Received, Wire};
use harness::process::Process;
use harness::require::{require_networks, require_peer};
use harness::sandbox::{Sandbox, Sprat, info_hash};
use harness::tree;
use harness::wait::{self, LONG};
use serde_json::json;
use torrent_format::InfoHash;

const PIECE: u32 = 64 * 1024;

/// Where all of them listen.
const PORT: u16 = 6881;

/// The numbers of the one by script.
const UT_PEX: u8 = 1;
const UT_HOLEPUNCH: u8 = 2;

/// What the one in the middle takes at most, in bytes a second: it shall be of use as a relay only.
const TRICKLE: u32 = 1000;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    Sprat,
    Libtorrent,
}

struct Scene {
    sandbox: Sandbox,
    torrent: PathBuf,
    relay: Host,
    seed: BehindNat,
    leech: BehindNat,
    _network: Network,
}

/// Whatever runs on a host until it is dropped.
enum Running {
    Sprat { _process: Process },
    Libtorrent(Libtorrent),
}

impl Scene {
    fn new() -> Self {
        let (sandbox, network) = (Sandbox::new(), Network::new());
        tree::write(&sandbox.path("data"), &tree::single(71, "file.bin", 4 << 20));
        let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE);
        let relay = network.host();
        let (seed, leech) = (network.host_behind_nat(), network.host_behind_nat());
        Self { sandbox, torrent, relay, seed, leech, _network: network }
    }

    fn sprat(&self, host: &Host, command: &str) -> Sprat {
        let run = self.sandbox.sprat_on(Some(host), command).arg(&self.torrent);
        run.args(["-v", "--port", &PORT.to_string()])
    }

    fn libtorrent(&self, host: &Host, data: &str, settings: serde_json::Value) -> Running {
        let mut all = json!({ "enable_outgoing_utp": true, "enable_incoming_utp": true });
        all.as_object_mut().expect("a table").extend(settings.as_object().expect("a table").clone());
        let peer = format!("peer={}:{PORT}", self.relay.address());
        let named = if host.address() == self.relay.address() { vec![] } else { vec![peer] };
        let settings = format!("settings={all}");
        let words: Vec<_> = ["pex", &settings].into_iter().chain(named.iter().map(String::as_str)).collect();
        let peer = Libtorrent::start_with(host, &self.torrent, &self.sandbox.path(data), &words);
        peer.wait_listening();
        Running::Libtorrent(peer)
    }

    /// The address of the relay, for sprat.
    fn middle(&self) -> [String; 2] {
        ["--peer".to_owned(), format!("{}:{PORT}", self.relay.address())]
    }

    fn start_relay(&self, who: Who) -> Running {
        match who {
            Who::Libtorrent => {
                self.libtorrent(&self.relay, "middle", json!({ "download_rate_limit": TRICKLE }))
            }
            Who::Sprat => {
                let get = self.sprat(&self.relay, "get").arg("-o").arg(self.sandbox.path("middle"));
                let process = get.args(["--max-download-limit", &TRICKLE.to_string()]).spawn();
                process.wait_line("nobody known who has it", LONG);
                Running::Sprat { _process: process }
            }
        }
    }

    fn start_seed(&self, who: Who) -> Running {
        match who {
            Who::Libtorrent => self.libtorrent(&self.seed.inside, "data", json!({})),
            Who::Sprat => {
                let seed = self.sprat(&self.seed.inside, "seed").arg("--data").arg(self.sandbox.path("data"));
                let process = seed.args(self.middle()).spawn();
                process.wait_line("every piece is verified", LONG);
                Running::Sprat { _process: process }
            }
        }
    }
}

/// A connection to the one in the middle, whose end is ours.
struct End {
    wire: Wire,
    /// Its numbers for messages of ours.
    shaken: ExtensionHandshake,
}

impl End {
    /// Waits for it to dial, and shakes hands.
    #[track_caller]
    fn accept(listener: &TcpListener, info_hash: InfoHash) -> Self {
        let (stream, _) = wait::until("somebody who dials", LONG, || listener.accept().ok());
        stream.set_nonblocking(false).expect("a socket can wait");
        let mut wire = Wire::new(stream);
        wire.read_handshake().expect("a handshake");
        wire.send_raw(&peer::handshake(info_hash, peer::CAPABLE));
        let ours = ExtensionHandshake {
            ut_pex: Some(UT_PEX),
            ut_holepunch: Some(UT_HOLEPUNCH),
            ..ExtensionHandshake::default()
        };
        wire.send(&Message::Extended { id: 0, payload: ours.encode() });
        wire.send(&Message::HaveNone);
        let shaken = wire.receive_until(LONG, |received| match received {
            Received::Message(Message::Extended { id: 0, payload }) => {
                ExtensionHandshake::decode(payload).ok()
            }
            _ => None,
        });
        Self { wire, shaken: shaken.expect("an extension handshake") }
    }

    /// The next that it says of holes; `None`: it has gone.
    fn receive_holepunch(&mut self) -> Option<HolepunchMessage> {
        self.wire.receive_until(LONG, |received| match received {
            Received::Message(Message::Extended { id: UT_HOLEPUNCH, payload }) => {
                HolepunchMessage::decode(payload).ok()
            }
            _ => None,
        })
    }

    fn send_holepunch(&mut self, message: HolepunchMessage) {
        let id = self.shaken.ut_holepunch.expect("it punches holes");
        self.wire.send(&Message::Extended { id, payload: message.encode() });
    }
}

#[test]
fn a_relays_word_alone_brings_two_together() {
    if !(require_networks() && require_peer("nft")) {
        return;
    }
    let scene = Scene::new();
    let listener = scene.relay.run(|| TcpListener::bind((scene.relay.address(), PORT)).expect("a free port"));
    listener.set_nonblocking(true).expect("a socket need not wait");
    let info_hash = info_hash(&scene.torrent);
    let at = |host: &BehindNat| SocketAddr::new(host.router.address(), PORT);
    // Plain, and known to be the only one that is dialled at first.
    let plain = |run: Sprat| run.args(scene.middle()).args(["--encryption", "off"]).spawn();

    let seed = scene.sprat(&scene.seed.inside, "seed").arg("--data").arg(scene.sandbox.path("data"));
    let _seed = plain(seed);
    let mut seed = End::accept(&listener, info_hash);
    let get = scene.sprat(&scene.leech.inside, "get").arg("-o").arg(scene.sandbox.path("copy"));
    let get = plain(get);
    let mut leech = End::accept(&listener, info_hash);

    let told = PexMessage { added: vec![(at(&scene.seed), PexFlags::HOLEPUNCH)], dropped: Vec::new() };
    let id = leech.shaken.ut_pex.expect("it exchanges peers");
    leech.wire.send(&Message::Extended { id, payload: told.encode() });
    let (here, there) = (at(&scene.leech), at(&scene.seed));
    assert_eq!(leech.receive_holepunch(), Some(HolepunchMessage::Rendezvous(there)));
    let relay = std::thread::spawn(move || {
        loop {
            leech.send_holepunch(HolepunchMessage::Connect(there));
            seed.send_holepunch(HolepunchMessage::Connect(here));
            // On a busy machine it may have to try again.
            if leech.receive_holepunch().is_none() {
                break;
            }
        }
    });
    get.wait_exit(LONG).expect(0);
    tree::assert_same_bytes(&scene.sandbox.path("data"), &scene.sandbox.path("copy"));
    relay.join().expect("the relay does not panic");
}

#[track_caller]
fn punched(relay: Who, seed: Who, leech: Who) {
    if !(require_networks() && require_peer("nft"))
        || ([relay, seed, leech].contains(&Who::Libtorrent) && !libtorrent::require())
    {
        return;
    }
    let scene = Scene::new();
    let _relay = scene.start_relay(relay);
    let _seed = scene.start_seed(seed);
    match leech {
        Who::Sprat => {
            let get = scene.sprat(&scene.leech.inside, "get").arg("-o").arg(scene.sandbox.path("copy"));
            get.args(scene.middle()).spawn().wait_exit(LONG).expect(0);
        }
        Who::Libtorrent => {
            let Running::Libtorrent(peer) = scene.libtorrent(&scene.leech.inside, "copy", json!({})) else {
                unreachable!("it was started as libtorrent");
            };
            peer.wait_seeding();
            peer.verify();
        }
    }
    tree::assert_same_bytes(&scene.sandbox.path("data"), &scene.sandbox.path("copy"));
}

#[test]
fn two_behind_routers_meet_through_a_third() {
    punched(Who::Sprat, Who::Sprat, Who::Sprat);
}

#[test]
fn libtorrent_is_the_relay() {
    punched(Who::Libtorrent, Who::Sprat, Who::Sprat);
}

#[test]
fn libtorrent_is_called() {
    punched(Who::Sprat, Who::Libtorrent, Who::Sprat);
}

#[test]
fn libtorrent_calls() {
    punched(Who::Sprat, Who::Sprat, Who::Libtorrent);
}
