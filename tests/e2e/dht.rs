//! By magnet alone, all other ways switched off: a private DHT on this machine, half of its nodes libtorrent's.

use std::path::PathBuf;

use harness::foreign::libtorrent::{self, DhtNodes};
use harness::process::Process;
use harness::sandbox::{Sandbox, free_port};
use harness::tree;
use harness::wait::{LONG, SOON};

/// Of libtorrent, and of sprat.
const NODES: usize = 10;

const FORMATS: [&str; 3] = ["v1", "v2", "hybrid"];

/// A torrent of each format, without a tracker: its path and its name.
fn torrents(sandbox: &Sandbox, by: &str, seed: u64) -> Vec<(PathBuf, String)> {
    FORMATS
        .iter()
        .zip(seed..)
        .map(|(format, seed)| {
            let name = format!("{by}-{format}.bin");
            tree::write(&sandbox.path("data"), &tree::single(seed, &name, 300_000));
            let torrent = sandbox.path(format!("{name}.torrent"));
            let create =
                sandbox.sprat("create").arg(sandbox.path("data").join(&name)).args(["--format", format]);
            create.arg("-o").arg(&torrent).run(LONG).expect(0);
            (torrent, name)
        })
        .collect()
}

/// Waits until its node of the DHT knows others.
fn wait_answers(process: &Process) {
    process.wait_for("a DHT that answers", LONG, |lines| {
        lines.iter().any(|line| line.text.contains("the DHT answers")).then_some(())
    });
}

#[test]
fn a_magnet_and_a_dht_of_twenty_nodes_are_enough_for_v1_v2_and_hybrids() {
    if !libtorrent::require() {
        return;
    }
    let sandbox = Sandbox::new();
    let theirs = torrents(&sandbox, "libtorrent", 100);
    let ours = torrents(&sandbox, "sprat", 200);
    let paths: Vec<_> = theirs.iter().map(|(path, _)| path.clone()).collect();
    let nodes = DhtNodes::start(NODES, &sandbox.path("data"), &paths);
    // Each with a torrent of its own, without which its node would not begin.
    let others: Vec<_> = (1..NODES)
        .map(|n| {
            let payload = sandbox.path(format!("other-{n}"));
            tree::write(&payload, &tree::single(300 + n as u64, "file.bin", 20_000));
            let seed = sandbox.sprat("seed").arg(payload).args(["-v", "--port", &free_port().to_string()]);
            seed.arg("--state").arg(sandbox.path(format!("state-{n}"))).dht(&[nodes.router]).spawn()
        })
        .collect();
    others.iter().for_each(wait_answers);
    nodes.wait_known(8);
    let seed =
        sandbox.sprat("seed").args(ours.iter().map(|(path, _)| path)).arg("--data").arg(sandbox.path("data"));
    let seed = seed.args(["-v", "--port", &free_port().to_string()]).dht(&[nodes.router]).spawn();
    wait_answers(&seed);

    for (torrent, name) in theirs.iter().chain(&ours) {
        let magnet = sandbox.sprat("magnet").arg(torrent).run(SOON).expect(0).stdout();
        assert!(!magnet.contains("tr=") && !magnet.contains("x.pe="), "{magnet}");
        let get = sandbox.sprat("get").arg(magnet.trim()).args(["-v", "--port", &free_port().to_string()]);
        let get = get.arg("--state").arg(sandbox.path("getting")).arg("-o").arg(sandbox.path("copy"));
        get.dht(&[nodes.router]).run(LONG).expect(0);
        tree::assert_same(&sandbox.path("data").join(name), &sandbox.path("copy").join(name));
    }
    assert!(sandbox.path("getting/dht").exists(), "the nodes are kept for the next run");
}

#[test]
fn what_an_earlier_run_knew_is_enough_to_begin_with() {
    let sandbox = Sandbox::new();
    let torrents = torrents(&sandbox, "sprat", 400);
    let (first, name) = &torrents[0];
    let ports: Vec<_> = (0..2).map(|_| free_port()).collect();
    let routers: Vec<_> = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
    let nodes: Vec<_> = ports
        .iter()
        .map(|port| {
            let seed = sandbox.sprat("seed").arg(first).arg("--data").arg(sandbox.path("data"));
            let seed = seed.args(["-v", "--port", &port.to_string()]).arg("--state");
            seed.arg(sandbox.path(format!("state-{port}"))).dht(&routers).spawn()
        })
        .collect();
    let magnet = sandbox.sprat("magnet").arg(first).run(SOON).expect(0).stdout();
    for (run, routers) in [(1, routers.as_slice()), (2, &[])] {
        let get = sandbox.sprat("get").arg(magnet.trim()).args(["--port", &free_port().to_string()]);
        let copy = sandbox.path(format!("copy-{run}"));
        get.arg("--state").arg(sandbox.path("state")).arg("-o").arg(&copy).dht(routers).run(LONG).expect(0);
        tree::assert_same(&sandbox.path("data").join(name), &copy.join(name));
    }
    drop(nodes);
}
