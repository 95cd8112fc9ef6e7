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

#[test]
fn a_magnet_s_own_selection_holds_before_its_metadata_is_known_and_a_flag_goes_before_it() {
    let sandbox = Sandbox::new();
    let files = tree::mixed(9, PIECE);
    tree::write(&sandbox.path("data/tree"), &files);
    let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    let magnet = format!("magnet:?xt=urn:btih:{}&so=1,3-4", info_hash(&torrent));
    for (copy, more, selected) in
        [("by so", &[][..], &[1, 3, 4][..]), ("by flag", &["--select-file", "1-2"], &[0, 1])]
    {
        let more = ["--peer", &peer].into_iter().chain(more.iter().copied());
        sandbox.get(&magnet, sandbox.path(copy), more).process.wait_exit(LONG).expect(0);
        let found: Vec<_> = tree::listing(&sandbox.path(copy).join("tree"))
            .into_iter()
            .filter_map(|(path, length)| length.map(|_| path))
            .collect();
        let mut wanted: Vec<_> = files
            .keys()
            .enumerate()
            .filter(|(number, _)| selected.contains(number))
            .map(|(_, path)| std::path::PathBuf::from(path))
            .collect();
        wanted.sort();
        assert_eq!(found, wanted, "{copy}");
    }
}

#[test]
fn peers_without_the_metadata_are_told_of() {
    let sandbox = Sandbox::new();
    let hash = "89abcdef0123456789abcdef0123456789abcd00";
    let info_hash = hash.parse().expect("hexadecimal");
    let peers: Vec<String> = (0..2)
        .map(|_| {
            let serve = move |mut wire: harness::peer::Wire| {
                if wire.shake_hands(info_hash, harness::peer::CAPABLE).is_some() {
                    std::thread::spawn(move || wire.is_closed_within(LONG));
                }
            };
            harness::peer::listen(serve).to_string()
        })
        .collect();
    for (command, more) in [("get", &["--json"][..]), ("magnet", &["--resolve", "-o", "x.torrent"])] {
        let sprat = sandbox.sprat(command).args([hash, "--port", "0", "--timeout", "4s"]).args(more);
        let done = sprat.args(peers.iter().flat_map(|peer| ["--peer", peer])).run(SOON).expect(8);
        assert!(
            done.stderr().contains("no metadata for 4s: 2 peers asked, none has the metadata yet"),
            "{done:#?}"
        );
    }
}
