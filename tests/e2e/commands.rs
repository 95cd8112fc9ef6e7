//! The commands that end by themselves.

use std::fs;

use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::SOON;

const PIECE: usize = 32 * 1024;

#[test]
fn create_makes_the_same_file_again_and_overwrites_nothing() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("tree"), &tree::mixed(1, PIECE));
    let create =
        || sandbox.sprat("create").args(["tree", "--format", "v1", "-t", "http://tracker.example/announce"]);
    create().run(SOON).expect(0);
    let first = fs::read(sandbox.path("tree.torrent")).expect("it was made");
    let refused = create().run(SOON).expect(13);
    assert!(refused.stderr().contains("tree.torrent"), "{refused:#?}");
    create().arg("--force").run(SOON).expect(0);
    assert_eq!(fs::read(sandbox.path("tree.torrent")).expect("it was made"), first);
    let names: Vec<_> =
        tree::listing(sandbox.root()).into_keys().filter(|path| path.iter().count() == 1).collect();
    assert_eq!(
        names.iter().filter(|name| name.to_string_lossy().contains("torrent")).count(),
        1,
        "{names:?}"
    );
}

#[test]
fn create_writes_to_standard_output_and_a_dry_run_writes_nothing() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("tree"), &tree::mixed(1, PIECE));
    let hash = sandbox
        .sprat("create")
        .args(["tree", "--format", "v1", "--dry-run", "--print", "info-hash"])
        .run(SOON)
        .expect(0);
    assert!(!sandbox.path("tree.torrent").exists());
    sandbox.sprat("create").args(["tree", "--format", "v1"]).run(SOON).expect(0);
    assert_eq!(hash.stdout().trim(), info_hash(&sandbox.path("tree.torrent")).to_string());
}

#[test]
fn verify_names_what_is_bad() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    sandbox.sprat("verify").arg(&torrent).arg("data").run(SOON).expect(0);
    let mut bytes = fs::read(sandbox.path("data/tree/zz/large")).expect("a file of the tree");
    bytes[4 * PIECE] ^= 1;
    fs::write(sandbox.path("data/tree/zz/large"), bytes).expect("it can be written");
    fs::remove_file(sandbox.path("data/tree/more")).expect("a file of the tree");
    let bad = sandbox.sprat("verify").arg(&torrent).arg("data").run(SOON).expect(6);
    let said = bad.stdout() + &bad.stderr();
    assert!(said.contains("large") && said.contains("more"), "{said}");
    assert!(!said.contains("middle"), "{said}");
}

#[test]
fn what_is_typed_wrong_is_a_usage_error_and_help_is_none() {
    let sandbox = Sandbox::new();
    for arguments in
        [&["get"][..], &["seed", "--port", "70000", "x"], &["frobnicate"], &["create", "x", "--format", "v9"]]
    {
        sandbox.sprat(arguments[0]).args(&arguments[1..]).run(SOON).expect(2);
    }
    for arguments in [&["--help"][..], &["-V"], &["get", "--help"], &["create", "-h"], &["tracker", "--help"]]
    {
        let help = sandbox.sprat(arguments[0]).args(&arguments[1..]).run(SOON).expect(0);
        assert!(!help.stdout().is_empty() && help.stderr().is_empty(), "{help:#?}");
    }
}
