//! A router before us that maps ports: asked at the start, told off at the end, and its port is what others hear of.

use std::net::IpAddr;

use harness::gateway::{Asked, Gateway, SHIFT, Speaks};
use harness::http;
use harness::netns::{Host, Network};
use harness::process::{Process, Signal};
use harness::require::require_networks;
use harness::sandbox::{Sandbox, Tracker, info_hash};
use harness::tree;
use harness::wait::{self, LONG, SOON};

const PORT: u16 = 7000;

/// A seeder behind a router that is its way out, which also runs the tracker.
struct Scene {
    sandbox: Sandbox,
    home: Host,
    router: Host,
    tracker: Tracker,
    gateway: Gateway,
    _network: Network,
}

impl Scene {
    fn new(speaks: Speaks) -> Self {
        let (sandbox, network) = (Sandbox::new(), Network::new());
        let (home, router) = (network.host(), network.host());
        home.set_gateway(router.address());
        let gateway = Gateway::start(&router, speaks);
        let tracker = sandbox.tracker(Some(&router));
        tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 100_000));
        Self { sandbox, home, router, tracker, gateway, _network: network }
    }

    fn seed(&self, more: &[&str]) -> Process {
        let torrent =
            self.sandbox.create(self.sandbox.path("data/file.bin"), [self.tracker.url().as_str()], 16 * 1024);
        let seed = self.sandbox.sprat_on(Some(&self.home), "seed").port_mapping().arg(torrent);
        let seed =
            seed.arg("--data").arg(self.sandbox.path("data")).args(["-v", "--port", &PORT.to_string()]);
        seed.args(more).spawn()
    }

    /// The seeder stops, and has the router forget both of its ports.
    #[track_caller]
    fn ends(&self, seed: Process) {
        seed.signal(Signal::INT);
        seed.wait_exit(SOON).expect(0);
        let removed = self.gateway.asked().split_off(2);
        assert_eq!(sorted(removed), both(|protocol| Asked::Unmap { protocol, port: PORT }));
    }

    /// Whether the tracker tells others of the seeder at this port.
    fn is_announced(&self, port: u16) -> bool {
        let hash = info_hash(&self.sandbox.path("file.bin.torrent"));
        let hash: String = hash.as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
        let query = format!(
            "/announce?info_hash={hash}&peer_id=-XX0001-000000000001&port=1&uploaded=0&downloaded=0&left=1&compact=1&numwant=50"
        );
        let reply = self.router.run(|| http::get(self.tracker.addr, &query)).expect("the tracker answers");
        let IpAddr::V4(ip) = self.home.address() else { panic!("hosts have IPv4 addresses") };
        let peer = [&ip.octets()[..], &port.to_be_bytes()].concat();
        reply.body.windows(6).any(|window| window == peer)
    }
}

fn both(asked: fn(&'static str) -> Asked) -> Vec<Asked> {
    vec![asked("TCP"), asked("UDP")]
}

fn sorted(mut asked: Vec<Asked>) -> Vec<Asked> {
    asked.sort();
    asked
}

#[test]
fn by_nat_pmp_the_port_that_the_router_chose_is_announced_and_given_back_at_the_end() {
    if !require_networks() {
        return;
    }
    let scene = Scene::new(Speaks::NatPmp);
    let seed = scene.seed(&[]);
    seed.wait_line("the router lets peers in", LONG);
    wait::until("the router's port at the tracker", LONG, || scene.is_announced(PORT + SHIFT).then_some(()));
    let mapped = both(|protocol| Asked::Map { protocol, internal: PORT });
    assert_eq!(scene.gateway.asked(), mapped);
    scene.ends(seed);
}

#[test]
fn by_upnp_the_port_is_mapped_and_given_back_at_the_end() {
    if !require_networks() {
        return;
    }
    let scene = Scene::new(Speaks::Upnp);
    let address = scene.home.address().to_string();
    let seed = scene.seed(&["--bind", &address]);
    seed.wait_line("the router lets peers in", LONG);
    assert_eq!(scene.gateway.asked(), both(|protocol| Asked::Map { protocol, internal: PORT }));
    scene.ends(seed);
}

#[test]
fn no_upnp_asks_nobody() {
    if !require_networks() {
        return;
    }
    for speaks in [Speaks::NatPmp, Speaks::Upnp] {
        let scene = Scene::new(speaks);
        let seed = scene.seed(&["--no-upnp"]);
        wait::until("the seeder at the tracker", LONG, || scene.is_announced(PORT).then_some(()));
        seed.signal(Signal::INT);
        seed.wait_exit(SOON).expect(0);
        assert_eq!(scene.gateway.asked(), []);
    }
}
