//! `sprat demo`.

use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::LONG;

#[test]
fn the_demo_ends_with_every_copy_verified_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.sprat("demo").args(["--size", "8MiB"]).run(LONG).expect(0);
    let left: Vec<_> =
        tree::listing(sandbox.root()).into_keys().filter(|path| !path.starts_with("home")).collect();
    assert_eq!(left, [std::path::PathBuf::new()]);
}

#[test]
fn the_demo_takes_a_path_of_ones_own() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("mine"), &tree::mixed(1, 32 * 1024));
    let before = tree::listing(&sandbox.path("mine"));
    sandbox.sprat("demo").arg("mine").run(LONG).expect(0);
    assert_eq!(tree::listing(&sandbox.path("mine")), before);
}
