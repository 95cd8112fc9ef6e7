//! `sprat share` on one machine, the pasted line on another.

use std::ffi::OsString;
use std::fs;

use harness::netns::Network;
use harness::process::{self, Signal};
use harness::require::require_networks;
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};

#[test]
fn the_printed_line_pasted_on_another_host_downloads() {
    if !require_networks() {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let (here, there) = (network.host(), network.host());
    tree::write(&sandbox.path("some tree"), &tree::mixed(5, 32 * 1024));
    let share = sandbox.sprat_on(Some(&here), "share").arg("some tree").spawn();
    let line = share.wait_line("sprat get ", LONG);
    assert!(line.contains(&here.address().to_string()), "an address that others can reach: {line}");

    let mut path = OsString::from(harness::binary::sprat().parent().expect("it lies in a directory"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    fs::create_dir(sandbox.path("there")).expect("a test directory can be made");
    let mut shell = there.command("sh");
    shell.args(["-c", line.trim()]).env("PATH", path).env("HOME", sandbox.path("their home"));
    process::run("the pasted line", shell.current_dir(sandbox.path("there")), LONG).expect(0);
    tree::assert_same(&sandbox.path("some tree"), &sandbox.path("there/some tree"));

    share.signal(Signal::INT);
    share.wait_exit(SOON).expect(0);
}

#[test]
fn the_magnet_that_seed_prints_without_a_tracker_leads_to_the_seeder() {
    if !require_networks() {
        return;
    }
    let sandbox = Sandbox::new();
    let network = Network::new();
    let (here, there) = (network.host(), network.host());
    tree::write(&sandbox.path("tree"), &tree::mixed(6, 32 * 1024));
    let seed = sandbox.sprat_on(Some(&here), "seed").arg("tree").spawn();
    let magnet = seed.wait_line("magnet:?", LONG);
    assert!(magnet.contains("x.pe="), "{magnet}");
    sandbox.sprat_on(Some(&there), "get").args([magnet.as_str(), "-o", "there"]).run(LONG).expect(0);
    tree::assert_same(&sandbox.path("tree"), &sandbox.path("there/tree"));
}
