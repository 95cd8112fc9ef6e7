//! v1, v2 and hybrid torrents, each by every command and every kind of link.

use std::fs;
use std::path::Path;

use harness::sandbox::Sandbox;
use harness::tree::{self, Tree};
use harness::wait::{LONG, SOON};

const TRACKER: &str = "http://tracker.example/announce";

/// A version's torrent of [`small`] in pieces of 16 KiB. The info hashes are libtorrent's for the same files.
struct Version {
    format: &'static str,
    v1: Option<&'static str>,
    v2: Option<&'static str>,
    /// What `create` and `show` say of it.
    created: &'static str,
    shown: &'static str,
    pieces: u32,
}

const VERSIONS: [Version; 3] = [
    Version {
        format: "v1",
        v1: Some("2b4ec83e79ffe3911818dc2c5cfb5a7a4ad3f9d7"),
        v2: None,
        created: "39.1 KiB in 2 files, 3 pieces of 16 KiB, v1, 2b4ec83e79ffe3911818dc2c5cfb5a7a4ad3f9d7\n",
        shown: "\
name         tree
info hash v1 2b4ec83e79ffe3911818dc2c5cfb5a7a4ad3f9d7
version      v1
size         39.1 KiB (40,007 bytes) in 2 files
pieces       3 of 16 KiB
",
        pieces: 3,
    },
    Version {
        format: "v2",
        v1: None,
        v2: Some("f65f5551105dd14a7c9d370f83b2033431214b26d030d8406b601540f8a9713a"),
        created: "39.1 KiB in 2 files, 4 pieces of 16 KiB, v2, \
                  f65f5551105dd14a7c9d370f83b2033431214b26d030d8406b601540f8a9713a\n",
        shown: "\
name         tree
info hash v2 f65f5551105dd14a7c9d370f83b2033431214b26d030d8406b601540f8a9713a
version      v2
size         39.1 KiB (40,007 bytes) in 2 files
pieces       4 of 16 KiB
",
        pieces: 4,
    },
    Version {
        format: "hybrid",
        v1: Some("60094137824ea600627ce423c0e138ae948dfe69"),
        v2: Some("f1fd5f0bbeed3cdadc0a253a29bfeda2ab9b73e16e398f496c7242be32b158e4"),
        created: "39.1 KiB in 2 files, 4 pieces of 16 KiB, hybrid with 24.9 KiB of padding, \
                  60094137824ea600627ce423c0e138ae948dfe69\n",
        shown: "\
name         tree
info hash v1 60094137824ea600627ce423c0e138ae948dfe69
info hash v2 f1fd5f0bbeed3cdadc0a253a29bfeda2ab9b73e16e398f496c7242be32b158e4
version      hybrid
size         39.1 KiB (40,007 bytes) in 2 files
pieces       4 of 16 KiB
padding      24.9 KiB in 2 pad files
",
        pieces: 4,
    },
];

impl Version {
    fn magnet(&self, v1: bool, v2: bool, tracker: &str) -> String {
        let v1 = self.v1.filter(|_| v1).map(|hash| format!("xt=urn:btih:{hash}"));
        let v2 = self.v2.filter(|_| v2).map(|hash| format!("xt=urn:btmh:1220{hash}"));
        let topics: Vec<String> = v1.into_iter().chain(v2).collect();
        let tracker = tracker.replace(':', "%3A").replace('/', "%2F");
        format!("magnet:?{}&dn=tree&xl=40007&tr={tracker}\n", topics.join("&"))
    }
}

/// 40,000 bytes and 7.
fn small() -> Tree {
    let large = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
    [("a.bin".to_owned(), large), ("sub/b.txt".to_owned(), b"content".to_vec())].into()
}

#[test]
fn each_is_created_shown_edited_linked_and_verified() {
    for version in &VERSIONS {
        let sandbox = Sandbox::new();
        tree::write(&sandbox.path("tree"), &small());
        let run = |command: &str, args: &[&str]| sandbox.sprat(command).args(args).run(SOON).expect(0);

        let created = run("create", &["tree", "--format", version.format, "-l", "16KiB", "-t", TRACKER]);
        assert_eq!((created.stdout(), created.stderr()), ("tree.torrent\n".into(), version.created.into()));
        let made = fs::read(sandbox.path("tree.torrent")).expect("it was made");

        let magnet = version.magnet(true, true, TRACKER);
        let (by, shown) = (env!("CARGO_PKG_VERSION"), version.shown);
        let shown = format!("{shown}trackers     {TRACKER}\ncreated by   sprat {by}\nmagnet       {magnet}");
        assert_eq!(run("show", &["tree.torrent"]).stdout(), shown);
        let files = "     1   39.1 KiB  tree/a.bin\n     2        7 B  tree/sub/b.txt\n";
        assert_eq!(run("show", &["tree.torrent", "--files"]).stdout(), files);
        assert_eq!(run("show", &["tree.torrent", "--field", "version"]).stdout().trim(), version.format);

        let other = "http://other.example/announce";
        let edit = ["tree.torrent", "--replace-tracker", TRACKER, other, "-c", "moved"];
        let changes =
            format!("comment      none → moved\ntrackers     - {TRACKER}\ntrackers     + {other}\n");
        assert_eq!(run("edit", &[&edit[..], &["--dry-run"]].concat()).stdout(), changes);
        assert_eq!(fs::read(sandbox.path("tree.torrent")).expect("it is there"), made);
        assert_eq!(run("edit", &[&edit[..], &["-o", "moved.torrent"]].concat()).stdout(), changes);
        let diff =
            sandbox.sprat("show").args(["tree.torrent", "--diff", "moved.torrent"]).run(SOON).expect(1);
        assert_eq!(diff.stdout(), changes);
        assert_eq!(run("show", &["tree.torrent", "--diff", "tree.torrent"]).stdout(), "");

        assert_eq!(run("magnet", &["moved.torrent"]).stdout(), version.magnet(true, true, other));
        for (flag, hash, magnet) in [
            ("--v1", version.v1, version.magnet(true, false, other)),
            ("--v2", version.v2, version.magnet(false, true, other)),
        ] {
            let run = sandbox.sprat("magnet").args(["moved.torrent", flag]).run(SOON);
            match hash {
                Some(_) => assert_eq!(run.expect(0).stdout(), magnet),
                None => assert!(run.expect(4).stderr().contains("no v"), "{flag}"),
            }
        }

        let good = format!("tree: all {} pieces match\n", version.pieces);
        assert_eq!(run("verify", &["moved.torrent"]).stderr(), good);
        fs::write(sandbox.path("tree/sub/b.txt"), "CONTENT").expect("it can be written");
        let bad = sandbox.sprat("verify").args(["moved.torrent", "--pieces"]).run(SOON).expect(6);
        // In v1 the piece is the other file's too, and nobody knows whose fault it is.
        let named = match version.v2 {
            Some(_) => "tree/sub/b.txt: 1 bad piece, bytes 0-6\nbad pieces: 3\n",
            None => {
                "tree/a.bin: 1 bad piece, bytes 32768-39999\ntree/sub/b.txt: 1 bad piece, bytes 0-6\nbad pieces: 2\n"
            }
        };
        assert_eq!(bad.stdout(), named);
    }
}

#[test]
fn a_change_inside_the_info_needs_a_word_and_names_the_hashes() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("tree"), &small());
    for version in &VERSIONS {
        let create = sandbox.sprat("create").args(["tree", "-f", "--format", version.format, "-l", "16KiB"]);
        create.run(SOON).expect(0);
        let edit = || sandbox.sprat("edit").args(["tree.torrent", "--source", "mine", "--in-place"]);
        assert!(edit().run(SOON).expect(2).stderr().contains("--new-info-hash"));
        let edited = edit().arg("--new-info-hash").run(SOON).expect(0).stdout();
        let old: Vec<&str> = version.v1.into_iter().chain(version.v2).collect();
        let new = sandbox.sprat("create").args(["tree", "-n", "--format", version.format, "-l", "16KiB"]);
        let new = new.args(["--source", "mine", "--print", "info-hash"]).run(SOON).expect(0).stdout();
        let labels = version.v1.map(|_| "v1").into_iter().chain(version.v2.map(|_| "v2"));
        let hashes = labels.zip(old).zip(new.lines());
        let hashes = hashes.map(|((label, old), new)| format!("info hash {label} {old} → {new}\n"));
        assert_eq!(edited, hashes.collect::<String>() + "source       none → mine\n");
        sandbox.sprat("verify").arg("tree.torrent").run(SOON).expect(0);
    }
}

#[test]
fn every_kind_of_link_downloads() {
    for version in &VERSIONS {
        let sandbox = Sandbox::new();
        let files = tree::mixed(3, 64 * 1024);
        tree::write(&sandbox.path("data/tree"), &files);
        let create = sandbox.sprat("create").args(["data/tree", "--format", version.format, "-l", "64KiB"]);
        create.run(SOON).expect(0);
        let mut seed = sandbox.seed("tree.torrent", sandbox.path("data"), [""; 0]);
        let peer = seed.wait_listening().addr.to_string();
        let print = |command: &str, args: &[&str]| {
            sandbox.sprat(command).args(args).run(SOON).expect(0).stdout().trim().to_owned()
        };
        let hashes =
            ["info_hash_v1", "info_hash_v2"].map(|key| print("show", &["tree.torrent", "--field", key]));
        let mut links = vec!["tree.torrent".to_owned(), print("magnet", &["tree.torrent"])];
        links.extend(hashes.into_iter().filter(|hash| !hash.is_empty()));
        if version.format == "hybrid" {
            links.extend(["--v1", "--v2"].map(|flag| print("magnet", &["tree.torrent", flag])));
        }
        for link in links.iter().filter(|link| !link.ends_with("torrent")) {
            let resolve = ["--resolve", "-f", "-o", "resolved.torrent", link, "--port", "0", "--peer", &peer];
            assert_eq!(
                sandbox.sprat("magnet").args(resolve).run(LONG).expect(0).stdout(),
                "resolved.torrent\n"
            );
            // By whatever name it was asked for, it is all there, with the hashes of every piece.
            let diff = ["tree.torrent", "--diff", "resolved.torrent"];
            let diff = sandbox.sprat("show").args(diff).run(SOON).expect(1).stdout();
            assert!(diff.starts_with("created by ") && diff.lines().count() == 1, "{diff}");
            let bytes = |name: &str| fs::metadata(sandbox.path(name)).expect("it was made").len();
            let maker = concat!("sprat ", env!("CARGO_PKG_VERSION"));
            let maker = format!("10:created by{}:{maker}", maker.len()).len() as u64;
            assert_eq!(bytes("resolved.torrent") + maker, bytes("tree.torrent"), "{link}");
            sandbox.sprat("verify").args(["resolved.torrent", "data"]).run(SOON).expect(0);
        }
        let gets: Vec<_> = links
            .iter()
            .enumerate()
            .map(|(number, link)| {
                let output = sandbox.path(number.to_string());
                (sandbox.get(link, &output, ["--peer", &peer]), output)
            })
            .collect();
        for (get, output) in gets {
            get.process.wait_exit(LONG).expect(0);
            tree::assert_same(&sandbox.path("data/tree"), &output.join("tree"));
        }
    }
}

#[test]
fn files_have_the_same_numbers_everywhere_and_padding_has_none() {
    let sandbox = Sandbox::new();
    let names = ["a", "b", "c", "d"];
    let files: Tree =
        names.into_iter().map(|name| (name.to_owned(), name.repeat(20_000).into_bytes())).collect();
    tree::write(&sandbox.path("data/tree"), &files);
    sandbox.sprat("create").args(["data/tree", "-l", "16KiB"]).run(SOON).expect(0);
    let listed =
        |flags: &[&str]| sandbox.sprat("get").args(["-S", "tree.torrent"]).args(flags).run(SOON).expect(0);
    let line = |number: usize| format!("     {number}   19.5 KiB  tree/{}\n", names[number - 1]);
    assert_eq!(listed(&[]).stdout(), (1..=4).map(line).collect::<String>());
    assert_eq!(listed(&["--select-file", "2,4"]).stdout(), line(2) + &line(4));

    // BEP 53 counts the pad file after each.
    let magnet = sandbox.sprat("magnet").args(["tree.torrent", "--no-trackers", "--select-file", "2,4"]);
    let magnet = magnet.run(SOON).expect(0).stdout();
    assert!(magnet.trim().ends_with("&so=2,6"), "{magnet}");

    let mut seed = sandbox.seed("tree.torrent", sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    let by_number =
        sandbox.get("tree.torrent", sandbox.path("one"), ["--select-file", "2,4", "--peer", &peer]);
    let by_magnet = sandbox.get(magnet.trim(), sandbox.path("two"), ["--peer", &peer]);
    for (get, output) in [(by_number, "one"), (by_magnet, "two")] {
        get.process.wait_exit(LONG).expect(0);
        let found: Vec<_> = tree::listing(&sandbox.path(output))
            .into_iter()
            .filter_map(|(path, length)| Some((path, length?)))
            .collect();
        let wanted = ["tree/b", "tree/d"].map(|path| (Path::new(path).to_owned(), 20_000));
        assert_eq!(found, wanted);
    }
}

#[test]
fn what_runs_when_a_hybrid_is_complete_knows_both_of_its_names() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data/tree"), &small());
    let hybrid = &VERSIONS[2];
    sandbox.sprat("create").args(["data/tree", "-l", "16KiB"]).run(SOON).expect(0);
    let hook = "echo $SPRAT_INFO_HASH $SPRAT_INFO_HASH_V2 > hashes";
    let get = sandbox.sprat("get").args(["tree.torrent", "-o", "data", "--port", "0", "--on-done", hook]);
    get.run(LONG).expect(0);
    let hashes = fs::read_to_string(sandbox.path("hashes")).expect("the hook wrote it");
    assert_eq!(hashes.split_whitespace().map(Some).collect::<Vec<_>>(), [hybrid.v1, hybrid.v2]);
}

#[test]
fn every_way_to_hash_makes_the_same_torrent() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("tree"), &tree::mixed(5, 64 * 1024));
    let hashes = |kernel: &str| {
        let create = sandbox.sprat("create").args(["tree", "-n", "--print", "info-hash"]);
        create.env("SPRAT_HASH_KERNEL", kernel).run(SOON).expect(0).stdout()
    };
    let portable = hashes("portable");
    assert_eq!(portable.lines().count(), 2);
    for kernel in ["avx2", "sha-ni", "avx512", ""] {
        assert_eq!(hashes(kernel), portable, "{kernel}");
    }
}
