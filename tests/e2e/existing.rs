//! Data that is there already: adopted, completed, or left alone.

use std::fs;

use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};

const PIECE: usize = 32 * 1024;

#[test]
fn complete_data_is_verified_without_a_byte_of_payload() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(1, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    tree::write(&sandbox.path("copy/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    // With a seeder at hand, and offline; the second time there may be a record of the first.
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    sandbox.get(&torrent, sandbox.path("copy"), [""; 0]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    assert_eq!(seed.uploaded(), 0);
}

#[test]
fn partial_data_is_adopted_and_only_the_rest_fetched() {
    let sandbox = Sandbox::new();
    let mut files = tree::mixed(2, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    files.get_mut("zz/large").expect("a file of the tree")[3 * PIECE] ^= 1;
    files.get_mut("a").expect("a file of the tree").truncate(PIECE);
    files.remove("less");
    tree::write(&sandbox.path("copy/tree"), &files);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
    // One byte spoils a piece; what is cut off or gone spoils the pieces that reach into it.
    let uploaded =
        seed.wait_event("progress", SOON, |event| event["uploaded"].as_u64().filter(|&bytes| bytes > 0));
    assert!((PIECE as u64..=8 * PIECE as u64).contains(&uploaded), "{uploaded} bytes fetched");
}

#[test]
fn foreign_data_under_the_name_is_left_alone_without_force() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 4 * PIECE));
    tree::write(&sandbox.path("copy"), &tree::single(99, "file.bin", 4 * PIECE));
    let mine = fs::read(sandbox.path("copy/file.bin")).expect("it was just written");
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    let refused = sandbox
        .sprat("get")
        .arg(&torrent)
        .args(["-o", "copy", "--port", "0", "--peer", &peer])
        .run(LONG)
        .expect(13);
    assert!(refused.stderr().contains("file.bin"), "{refused:#?}");
    assert_eq!(fs::read(sandbox.path("copy/file.bin")).expect("it is still there"), mine);

    sandbox
        .get(&torrent, sandbox.path("copy"), ["--force", "--peer", &peer])
        .process
        .wait_exit(LONG)
        .expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
}

#[test]
fn data_that_went_bad_after_a_download_is_found_and_mended() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 16 * PIECE + 5));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);

    let mut bytes = fs::read(sandbox.path("copy/file.bin")).expect("it was downloaded");
    bytes[5 * PIECE + 1] ^= 0xff;
    fs::write(sandbox.path("copy/file.bin"), bytes).expect("it can be written");
    sandbox.sprat("verify").arg(&torrent).arg("copy").run(SOON).expect(6);
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
}
