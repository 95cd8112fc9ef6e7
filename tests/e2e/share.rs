//! `sprat share`: for someone who has nothing.

use std::fs;
use std::process::Command;

use harness::process::{self, Signal};
use harness::sandbox::{Sandbox, free_port};
use harness::tree;
use harness::wait::{LONG, SOON};

#[test]
fn the_line_that_share_prints_downloads_when_pasted_into_a_shell() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("my files/it's a $tree"), &tree::mixed(1, 32 * 1024));
    let http = format!("127.0.0.1:{}", free_port());
    let share = sandbox.sprat("share").args([
        "my files/it's a $tree",
        "--port",
        "0",
        "--http",
        &http,
        "--advertise",
        "127.0.0.1",
    ]);
    let share = share.spawn();
    let line = share.wait_line("sprat get ", LONG);

    let mut shell = Command::new("sh");
    let path = [
        harness::binary::sprat().parent().expect("it lies in a directory").as_os_str(),
        &std::env::var_os("PATH").unwrap_or_default(),
    ]
    .join(std::ffi::OsStr::new(":"));
    fs::create_dir(sandbox.path("there")).expect("a test directory can be made");
    shell
        .args(["-c", line.trim()])
        .env("PATH", path)
        .env("HOME", sandbox.path("home"))
        .current_dir(sandbox.path("there"));
    process::run("the pasted line", &mut shell, LONG).expect(0);
    tree::assert_same(&sandbox.path("my files/it's a $tree"), &sandbox.path("there/it's a $tree"));

    share.signal(Signal::INT);
    share.wait_exit(SOON).expect(0);
}

#[test]
fn a_share_is_found_by_either_of_its_names() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, 32 * 1024));
    let http = format!("127.0.0.1:{}", free_port());
    let share = sandbox.sprat("share").args(["data/tree", "--port", "0", "--http", &http]);
    let share = share.args(["--advertise", "127.0.0.1"]).spawn();
    let line = share.wait_line("sprat get ", LONG);
    // The quotes around it are no matter.
    let magnet = line.trim().trim_start_matches("sprat get ");
    for version in ["--v1", "--v2"] {
        let link = sandbox.sprat("magnet").args([magnet, version]).run(SOON).expect(0).stdout();
        assert!(!link.contains("x.pe=127"), "only the tracker leads to the seeder: {link}");
        sandbox.get(link.trim(), sandbox.path(version), [""; 0]).process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path(version).join("tree"));
    }
    let scrape = sandbox.sprat("show").args(["--scrape", "--field", "scrape", magnet]).run(SOON).expect(0);
    let swarms = scrape.stdout();
    let swarms: Vec<serde_json::Value> =
        swarms.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let told = swarms.iter().map(|swarm| (swarm["version"].as_str(), swarm["seeds"].as_u64()));
    // The tracker lists its own seeder in both; it announces itself to none.
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(Some("v1"), Some(1)), (Some("v2"), Some(1))], "{swarms:?}");
    share.signal(Signal::INT);
    share.wait_exit(SOON).expect(0);
}
