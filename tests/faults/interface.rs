//! `--interface`: that way or none. The host under test has a second interface, which leads to a network of its own and which all routes
//! prefer once the first is down; what comes out of it is counted on the other side.

use std::net::UdpSocket;

use harness::netns::{Host, Network};
use harness::process::Process;
use harness::require::require_networks;
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{self, LONG, SOON};

const PIECE: u32 = 64 * 1024;
const LENGTH: usize = 16 << 20;

/// `progress` events, of which there is one each second, that are waited for while the interface is down.
const REPORTS: usize = 8;

/// How much is there, by each `progress` event so far.
fn reports(get: &Process) -> Vec<u64> {
    let bytes = |text: &str| {
        let event: serde_json::Value = serde_json::from_str(text).ok()?;
        if event["event"] != "progress" { None } else { event["bytes_done"].as_u64() }
    };
    get.look(|lines| lines.iter().filter_map(|line| bytes(&line.text)).collect())
}

#[test]
fn an_interface_that_is_down_lets_nothing_out_elsewhere_and_goes_on_when_it_is_back() {
    if !require_networks() {
        return;
    }
    let sandbox = Sandbox::new();
    let (network, elsewhere) = (Network::new(), Network::new());
    let tracker = sandbox.tracker(Some(&network.host()));
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", LENGTH));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [tracker.url().as_str()], PIECE);
    let (seeder, getter) = (network.host(), network.host());
    seeder.limit_rate("10mbit");
    elsewhere.plug(&getter, "eth1");
    let escaped = || elsewhere.traffic()[0].sent;
    let get = |host: &Host, copy: &str, more: &[&str]| {
        let get = sandbox.sprat_on(Some(host), "get").arg(&torrent).args(["--json", "-o"]);
        get.arg(sandbox.path(copy)).args(more).spawn()
    };
    let seed = sandbox.sprat_on(Some(&seeder), "seed").arg(&torrent);
    let _seed = seed.args(["--json", "--data"]).arg(sandbox.path("data")).spawn();
    tracker.wait_seeds(harness::sandbox::info_hash(&torrent), 1);
    assert_eq!(escaped(), 0, "what is counted is what is sent");

    // A name to look up, and an address that only the other way leads to.
    let more = ["--interface", "eth0", "--peer", "peer.example:6881", "--peer", "203.0.113.9:6881"];
    let bound = get(&getter, "bound", &more);
    wait::until("some of it", LONG, || reports(&bound).last().copied().filter(|&bytes| bytes > 0));
    getter.set_link(false);
    let (before, have) = (reports(&bound).len(), reports(&bound).last().copied());
    let last = wait::until("a while without an interface", LONG, || {
        let reports = reports(&bound);
        (reports.len() >= before + REPORTS).then(|| reports.last().copied())
    });
    assert!(last < Some(LENGTH as u64), "it was complete before the interface was down: {have:?}");
    assert_eq!(escaped(), 0, "bytes that left elsewhere");

    // The way out is open: who is not held to an interface takes it.
    let free = get(&getter, "free", &[]);
    wait::until("somebody who goes elsewhere", SOON, || (escaped() > 0).then_some(()));
    free.kill();
    // What is on its way by then, of ARP or of a dead process's sockets, is waited for.
    let mut last = escaped();
    wait::until("silence", LONG, || {
        wait::moment(std::time::Duration::from_secs(2));
        let before = std::mem::replace(&mut last, escaped());
        (before == last).then_some(())
    });

    getter.set_link(true);
    bound.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("bound/file.bin"));
    assert_eq!(escaped(), last, "bytes that left elsewhere");
    // And the counter counts still.
    getter.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let _ = socket.send_to(b"out", "203.0.113.9:9");
    });
    wait::until("a packet of our own", SOON, || (escaped() > last).then_some(()));
}
