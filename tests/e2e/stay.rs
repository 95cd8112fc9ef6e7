//! How long a command stays, and what it does at the end.

use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::LONG;

const PIECE: usize = 32 * 1024;

#[test]
fn a_seed_ends_by_itself_once_its_ratio_or_time_is_reached() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["--seed-ratio", "1"]);
    let peer = seed.wait_listening().addr.to_string();
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    seed.process.wait_exit(LONG).expect(0);

    sandbox.seed(&torrent, sandbox.path("data"), ["--seed-time", "1s"]).process.wait_exit(LONG).expect(0);
}

#[test]
fn a_download_that_is_to_seed_for_a_time_ends_after_it_and_runs_its_command_before() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    let more = ["--seed-time", "1s", "--on-done", "echo done > marker", "--peer", &peer];
    sandbox.get(&torrent, sandbox.path("copy"), more).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    assert_eq!(std::fs::read_to_string(sandbox.path("marker")).expect("the command ran"), "done\n");
}
