//! One payload, one info hash, whoever makes or reads the torrent.

use std::path::Path;

use harness::foreign::{aria2, libtorrent, mktorrent, transmission};
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;

/// The trees, by name, each with the exponents of two piece lengths.
fn payloads() -> Vec<(String, tree::Tree, [u32; 2])> {
    let mut payloads: Vec<_> = (0..12)
        .map(|n| (format!("tree {n}"), tree::random(n, 1 + 7 * n as usize, 150_000), [15, 16 + n as u32 % 4]))
        .collect();
    payloads.push(("mixed".into(), tree::mixed(1, 32 * 1024), [15, 18]));
    payloads
}

#[test]
fn sprat_and_mktorrent_agree_on_trees() {
    if !mktorrent::require() {
        return;
    }
    let sandbox = Sandbox::new();
    for (name, files, exponents) in payloads() {
        let payload = sandbox.path(&name);
        tree::write(&payload, &files);
        for exponent in exponents {
            agree(&sandbox, &payload, exponent);
        }
    }
}

#[test]
fn sprat_and_mktorrent_agree_on_single_files() {
    if !mktorrent::require() {
        return;
    }
    let sandbox = Sandbox::new();
    for (exponent, length) in
        [(15, 1), (15, 32 * 1024), (15, 32 * 1024 + 1), (16, 1 << 20), (17, 3_000_000), (20, 999_999)]
    {
        let name = format!("file of {length}");
        tree::write(sandbox.root(), &tree::single(length as u64, &name, length));
        agree(&sandbox, &sandbox.path(name), exponent);
    }
}

#[track_caller]
fn agree(sandbox: &Sandbox, payload: &Path, exponent: u32) {
    const TRACKER: &str = "http://tracker.example/announce";
    let theirs = sandbox.path("theirs.torrent");
    mktorrent::create(payload, &theirs, exponent, TRACKER);
    let ours = sandbox.create(payload, [TRACKER], 1 << exponent);
    assert_eq!(info_hash(&ours), info_hash(&theirs), "{} in pieces of 2^{exponent}", payload.display());
    for torrent in [ours, theirs] {
        std::fs::remove_file(torrent).expect("it was just made");
    }
}

/// Everyone shows the hash that sprat shows, for every torrent.
#[track_caller]
fn reads_alike(show: fn(&Path) -> String) {
    let sandbox = Sandbox::new();
    for (name, files, [exponent, _]) in payloads() {
        let payload = sandbox.path(&name);
        tree::write(&payload, &files);
        let torrent = sandbox.create(&payload, ["http://tracker.example/announce"], 1 << exponent);
        let printed =
            sandbox.sprat("show").arg(&torrent).args(["--json"]).run(harness::wait::SOON).expect(0).stdout();
        let shown: serde_json::Value = serde_json::from_str(&printed).expect("one JSON document");
        assert_eq!(shown["info_hash_v1"], show(&torrent).to_lowercase(), "{name}");
    }
}

#[test]
fn transmission_shows_the_same_hash() {
    if transmission::require() {
        reads_alike(transmission::show_info_hash);
    }
}

#[test]
fn aria2_shows_the_same_hash() {
    if aria2::require() {
        reads_alike(aria2::show_info_hash);
    }
}

#[test]
fn libtorrent_shows_the_same_hash() {
    if libtorrent::require() {
        reads_alike(libtorrent::show_info_hash);
    }
}
