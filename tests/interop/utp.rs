//! uTP (BEP 29) with the others, in both directions. sprat is told to use nothing else, so that a transfer is the proof; once more with
//! encryption in it.

use harness::foreign::{Client, Encryption, Options};
use harness::netns::{Host, Network};
use harness::require::require_networks;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::LONG;

const PIECE: u32 = 64 * 1024;

#[track_caller]
fn both_directions(client: Client) {
    if !(require_networks() && client.require()) {
        return;
    }
    for (ours, theirs) in [("off", Encryption::Off), ("require", Encryption::Required)] {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let tracker = sandbox.tracker(Some(&network.host()));
        let mut files = tree::mixed(31, PIECE as usize);
        files.extend(tree::single(32, "zz/larger", 4 << 20));
        tree::write(&sandbox.path("data/tree"), &files);
        let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE);
        let options = Options { encryption: theirs, utp: true, ..Options::default() };
        // Each is gone with its host.
        let (seed_host, peer_host, get_host) = (network.host(), network.host(), network.host());
        let start = |work: &str, data: &str| {
            client.start_with(&peer_host, &sandbox.path(work), &torrent, &sandbox.path(data), options)
        };
        let sprat = |host: &Host, command: &str| {
            let run = sandbox.sprat_on(Some(host), command).arg(&torrent);
            run.args(["--json", "--transport", "utp", "--encryption", ours])
        };

        let seed = sprat(&seed_host, "seed").arg("--data").arg(sandbox.path("data")).spawn();
        tracker.wait_seeds(info_hash(&torrent), 1);
        let peer = start("first", "theirs");
        peer.wait_seeding();
        drop(seed);
        tree::assert_same_bytes(&sandbox.path("data/tree"), &sandbox.path("theirs/tree"));

        sprat(&get_host, "get").arg("-o").arg(sandbox.path("ours")).spawn().wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("ours/tree"));
        drop(peer);
    }
}

#[test]
fn over_utp_with_transmission() {
    both_directions(Client::Transmission);
}

#[test]
fn over_utp_with_libtorrent() {
    both_directions(Client::Libtorrent);
}
