//! Magnets: what `seed` prints is enough to download.

use harness::content::Content;
use harness::process::Signal;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::{LONG, SOON};

const PIECE: usize = 16 * 1024;

#[test]
fn the_line_that_seed_prints_downloads() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    // A plain path: the torrent is made in memory.
    let seed = sandbox.sprat("seed").args(["data/tree", "--port", "0", "-t", &tracker.url()]).spawn();
    let magnet = seed.wait_line("magnet:?", LONG);
    assert!(magnet.starts_with("magnet:?xt=urn:btih:"), "{magnet}");
    let hash = magnet["magnet:?xt=urn:btih:".len()..][..40].parse().expect("40 hexadecimal digits");
    tracker.wait_seeds(hash, 1);
    let gets = ["one", "two"].map(|name| (name, sandbox.get(&magnet, sandbox.path(name), [""; 0])));
    for (name, get) in gets {
        get.process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/tree"), &sandbox.path(name).join("tree"));
    }
    seed.signal(Signal::INT);
    seed.wait_exit(SOON).expect(0);
    let left: Vec<_> = tree::listing(sandbox.root())
        .into_keys()
        .filter(|path| path.extension().is_some_and(|e| e == "torrent"))
        .collect();
    assert_eq!(left, [] as [std::path::PathBuf; 0], "no .torrent was asked for");
}

#[test]
fn metadata_of_many_parts_comes_from_a_peer() {
    let sandbox = Sandbox::new();
    // 5,000 pieces: 100 KB of metadata, seven parts of 16 KiB.
    let files = tree::single(2, "file.bin", 5000 * PIECE);
    tree::write(&sandbox.path("data"), &files);
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
    assert!(Content::new(&torrent, &files).info.raw().len() > 6 * 16 * 1024);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();

    let magnet = sandbox.sprat("magnet").arg(&torrent).args(["--peer", &peer]).run(SOON).expect(0).stdout();
    let magnet = magnet.trim();
    assert!(magnet.contains(&info_hash(&torrent).to_string()) && magnet.contains("x.pe="), "{magnet}");
    // A loopback address in a link is nobody's business but this machine's: only a flag makes us dial it.
    // As pasted from a page: in quotes, with HTML's ampersands.
    let pasted = format!(" \"{}\"\n", magnet.replace('&', "&amp;"));
    sandbox.get(&pasted, sandbox.path("copy"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));

    // From standard input, and a bare info hash with a peer beside it.
    let get = sandbox.sprat("get").args(["-", "-o", "stdin", "--port", "0", "--peer", &peer]);
    get.run_with_input(format!("{magnet}\n").as_bytes(), LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("stdin/file.bin"));
    let bare = info_hash(&torrent).to_string().to_uppercase();
    sandbox.get(&bare, sandbox.path("bare"), ["--peer", &peer]).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("bare/file.bin"));
}

#[test]
fn a_magnet_that_nobody_answers_times_out() {
    let sandbox = Sandbox::new();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let get =
        sandbox.sprat("get").args([hash, "-o", "copy", "--port", "0", "--timeout", "1s"]).run(SOON).expect(8);
    assert!(get.stderr().contains(hash), "{get:#?}");
    assert_eq!(
        tree::listing(&sandbox.path("copy")).len().min(1),
        tree::listing(&sandbox.path("copy")).len(),
        "no file was made"
    );
}
