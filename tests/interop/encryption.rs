//! Encrypted connections (MSE) with the others, in both directions: required by both, and by either alone. Whoever requires it refuses
//! anything else, so that a transfer is the proof.

use harness::foreign::{Client, Encryption, Options};
use harness::netns::{Host, Network};
use harness::require::require_networks;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::LONG;

const PIECE: u32 = 64 * 1024;

/// Each way in which at least one side requires it: what sprat is told, and the other.
const WAYS: [(&str, Encryption); 3] =
    [("require", Encryption::Required), ("prefer", Encryption::Required), ("require", Encryption::Allowed)];

#[track_caller]
fn both_directions(client: Client) {
    if !(require_networks() && client.require()) {
        return;
    }
    for (ours, theirs) in WAYS {
        let sandbox = Sandbox::new();
        let network = Network::new();
        let tracker = sandbox.tracker(Some(&network.host()));
        tree::write(&sandbox.path("data/tree"), &tree::mixed(21, PIECE as usize));
        let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE);
        let options = Options { encryption: theirs, ..Options::default() };
        // Each is gone with its host.
        let (seed_host, peer_host, get_host) = (network.host(), network.host(), network.host());
        let start = |work: &str, data: &str| {
            client.start_with(&peer_host, &sandbox.path(work), &torrent, &sandbox.path(data), options)
        };
        let sprat = |host: &Host, command: &str| {
            let run = sandbox.sprat_on(Some(host), command).arg(&torrent);
            run.args(["--json", "--encryption", ours])
        };

        let seed = sprat(&seed_host, "seed").arg("--data").arg(sandbox.path("data")).spawn();
        tracker.wait_seeds(info_hash(&torrent), 1);
        let peer = start("first", "theirs");
        peer.wait_seeding();
        drop(seed);
        tree::assert_same_bytes(&sandbox.path("data/tree"), &sandbox.path("theirs/tree"));

        // Nobody but the other has it now.
        tracker.wait_seeds(info_hash(&torrent), 1);
        sprat(&get_host, "get").arg("-o").arg(sandbox.path("ours")).spawn().wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("ours/tree"));
        drop(peer);
    }
}

#[test]
fn encrypted_with_transmission() {
    both_directions(Client::Transmission);
}

#[test]
fn encrypted_with_aria2() {
    both_directions(Client::Aria2);
}

#[test]
fn encrypted_with_libtorrent() {
    both_directions(Client::Libtorrent);
}
