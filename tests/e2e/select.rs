//! `--select-file`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, SOON};

const PIECE: usize = 32 * 1024;

#[test]
fn only_the_selected_files_arrive_and_no_neighbour_with_them() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(1, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    // Numbered from 1, in the torrent's order, which is the tree's: bytewise by the joined path.
    let selected: BTreeSet<usize> = [2, 4, 5, 6, 11].into();
    let wanted: Vec<&String> =
        files.keys().enumerate().filter(|(n, _)| selected.contains(&(n + 1))).map(|(_, path)| path).collect();
    sandbox
        .get(&torrent, sandbox.path("copy"), ["--select-file", "2,4-6,11", "--peer", &peer])
        .process
        .wait_exit(LONG)
        .expect(0);

    let found: Vec<PathBuf> = tree::listing(&sandbox.path("copy/tree"))
        .into_iter()
        .filter_map(|(path, length)| length.map(|_| path))
        .collect();
    assert_eq!(
        found.iter().collect::<BTreeSet<_>>(),
        wanted.iter().map(PathBuf::from).collect::<BTreeSet<_>>().iter().collect()
    );
    for path in wanted {
        tree::assert_same(&sandbox.path("data/tree").join(path), &sandbox.path("copy/tree").join(path));
    }
    // The pieces of the selected files, and no more than their edges beyond them.
    let bytes: usize = files
        .values()
        .enumerate()
        .filter(|(n, _)| selected.contains(&(n + 1)))
        .map(|(_, bytes)| bytes.len())
        .sum();
    let uploaded = seed.wait_event("progress", SOON, |event| {
        event["uploaded"].as_u64().filter(|&sent| sent >= bytes as u64)
    });
    assert!(uploaded <= (bytes + 2 * selected.len() * PIECE) as u64, "{uploaded} bytes for {bytes}");

    // Later the rest: what is there stays.
    sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/tree"), &sandbox.path("copy/tree"));
}

#[test]
fn a_selection_that_does_not_fit_is_a_usage_error() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    for selection in ["0", "99", "3-1", "x", ""] {
        let get = sandbox.sprat("get").arg(&torrent).args([
            "-o",
            "copy",
            "--port",
            "0",
            "--select-file",
            selection,
        ]);
        get.run(SOON).expect(2);
    }
    assert_eq!(tree::listing(&sandbox.path("copy")).values().flatten().count(), 0);
}
