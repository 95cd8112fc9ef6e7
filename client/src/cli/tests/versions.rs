//! v1, v2 and hybrid torrents, padding and links, as each command tells of them.

use serde_json::json;

use super::*;

/// Makes `name` of the tree, with these flags.
fn create(place: &Place, name: &str, flags: &[&str]) -> String {
    let torrent = place.path(name);
    let done = sprat(&[&["create", &place.path("tree"), "-o", &torrent], flags].concat());
    assert_eq!(done.exit, Exit::Ok, "{done:?}");
    torrent
}

#[test]
fn links_are_stored_shown_and_have_no_number() {
    let place = Place::new();
    std::os::unix::fs::symlink("sub/b.txt", place.path("tree/Link")).unwrap();
    std::os::unix::fs::symlink("/etc/hosts", place.path("tree/out")).unwrap();
    for format in ["v1", "v2", "hybrid"] {
        let torrent = place.path("linked.torrent");
        let args =
            ["create", &place.path("tree"), "-f", "-o", &torrent, "--symlinks", "store", "--format", format];
        let done = sprat(&args);
        assert_eq!(done.exit, Exit::Ok, "{done:?}");
        assert!(done.stderr.starts_with("left out out: a symbolic link that leads elsewhere\n"), "{done:?}");
        assert!(done.stderr.contains("39.1 KiB in 2 files and 1 link, "), "{done:?}");
        let files = "             link  tree/Link -> sub/b.txt\n     1   39.1 KiB  tree/a.bin\n     2        7 B  tree/sub/b.txt\n";
        assert_eq!(sprat(&["show", &torrent, "--files"]).stdout, files);
        let tree = "tree/  39.1 KiB\n├── Link -> sub/b.txt\n├── a.bin  39.1 KiB\n└── sub/  7 B\n    └── b.txt  7 B\n";
        assert_eq!(sprat(&["show", &torrent, "--tree"]).stdout, tree);
        let field = sprat(&["show", &torrent, "--json", "--field", "symlinks"]).stdout;
        let expected = json!({"schema": 1, "symlinks": [{"path": "tree/Link", "target": "sub/b.txt"}]});
        assert_eq!(serde_json::from_str::<Value>(&field).unwrap(), expected);
        let selected = sprat(&["get", "-S", &torrent, "--select-file", "2", "--state", "/nonexistent"]);
        assert_eq!(selected.stdout, "     2        7 B  tree/sub/b.txt\n");
        assert_eq!(sprat(&["verify", &torrent, &place.path("tree")]).exit, Exit::Ok);
    }
}

#[test]
fn attributes_are_shown() {
    let torrent = b"d4:infod5:filesld4:attr2:xh6:lengthi1e4:pathl1:aeed4:attr1:h6:lengthi1e4:pathl1:beed4:attr1:p6:lengthi9e4:pathl4:.pad1:9eee\
        4:name1:t12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let done = sprat_with(&["show", "-", "--files"], torrent, &[]);
    assert_eq!(
        done.stdout,
        "     1        1 B  t/a  (executable, hidden)\n     2        1 B  t/b  (hidden)\n"
    );
    let done = sprat_with(&["show", "-", "--json", "--field", "files"], torrent, &[]);
    let files = json!({"schema": 1, "files": [
        {"path": "t/a", "length": 1, "executable": true, "hidden": true}, {"path": "t/b", "length": 1, "hidden": true},
    ]});
    assert_eq!(serde_json::from_str::<Value>(&done.stdout).unwrap(), files);
}

#[test]
fn the_bytes_of_a_file_that_lie_in_bad_pieces_are_named() {
    let place = Place::new();
    let hybrid = create(&place, "hybrid.torrent", &[]);
    let v1 = create(&place, "v1.torrent", &["--format", "v1"]);
    let mut bytes = std::fs::read(place.path("tree/a.bin")).unwrap();
    (bytes[0], bytes[39_999]) = (!bytes[0], !bytes[39_999]);
    std::fs::write(place.path("tree/a.bin"), bytes).unwrap();
    let tree = place.path("tree");
    for torrent in [&hybrid, &v1] {
        let done = sprat(&["verify", torrent, &tree]);
        assert_eq!(done.stdout, "tree/a.bin: 2 bad pieces, bytes 0-16383, 32768-39999\n");
    }

    let report: Value = serde_json::from_str(&sprat(&["verify", "--json", &hybrid, &tree]).stdout).unwrap();
    assert_eq!(
        report,
        json!({
            "schema": 1, "name": "tree", "info_hash_v1": V1, "info_hash_v2": V2, "version": "hybrid", "path": tree,
            "ok": false, "piece_count": 4, "pieces_good": 2, "bad_pieces": [0, 2],
            "conflicting_pieces": [], "unknown_pieces": [],
            "files": [
                {
                    "path": "tree/a.bin", "length": 40000, "status": "bad_pieces", "count": 2,
                    "bad_ranges": [{"offset": 0, "length": 16384}, {"offset": 32768, "length": 7232}],
                },
                {"path": "tree/sub/b.txt", "length": 7, "status": "ok"},
            ],
        })
    );
}

#[test]
fn what_a_torrent_without_piece_layers_can_check_is_checked() {
    let place = Place::new();
    let v2 = create(&place, "v2.torrent", &["--format", "v2"]);
    let bytes = std::fs::read(&v2).unwrap();
    let at = bytes.windows(15).position(|window| window == b"12:piece layers").unwrap();
    std::fs::write(&v2, [&bytes[..at], b"e"].concat()).unwrap();
    let done = sprat(&["verify", &v2, &place.path("tree")]);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Input, ""));
    let error = "error: tree: 3 pieces can't be checked: the .torrent lacks piece layers\n\
                 hint: `sprat magnet --resolve -o FILE` fetches them from the swarm\n";
    assert!(done.stderr.ends_with(error), "{done:?}");
    // A file that is no longer than a piece has its hash in the info.
    std::fs::write(place.path("tree/sub/b.txt"), "CONTENT").unwrap();
    let done = sprat(&["verify", &v2, &place.path("tree")]);
    assert_eq!(
        (done.exit, done.stdout.as_str()),
        (Exit::Mismatch, "tree/sub/b.txt: 1 bad piece, bytes 0-6\n")
    );
}

#[test]
fn a_torrent_that_contradicts_itself_is_told_from_bad_data() {
    let place = Place::new();
    let torrent = create(&place, "tree.torrent", &[]);
    let mut bytes = std::fs::read(&torrent).unwrap();
    let at = bytes.windows(10).position(|window| window == b"6:pieces80").unwrap();
    bytes[at + 11] ^= 1;
    std::fs::write(&torrent, bytes).unwrap();
    let done = sprat(&["verify", &torrent, &place.path("tree")]);
    let told = "tree/a.bin: 1 bad piece, bytes 0-16383\n1 bad piece right by the hashes of one version: the torrent \
                contradicts itself, and no data can match it\n";
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Mismatch, told));
}

#[test]
fn a_magnet_names_what_it_is_asked_to() {
    let place = Place::new();
    let torrent = create(&place, "tree.torrent", &[]);
    let rest = "dn=tree&xl=40007";
    let (v1, v2) = (format!("xt=urn:btih:{V1}"), format!("xt=urn:btmh:1220{V2}"));
    for (flags, magnet) in [
        (&[][..], format!("magnet:?{v1}&{v2}&{rest}\n")),
        (&["--v1", "--v2"], format!("magnet:?{v1}&{v2}&{rest}\n")),
        (&["--v1"], format!("magnet:?{v1}&{rest}\n")),
        (&["--v2"], format!("magnet:?{v2}&{rest}\n")),
        // Each file has a pad file behind it.
        (&["--v2", "--select-file", "1-2"], format!("magnet:?{v2}&{rest}&so=0,2\n")),
    ] {
        assert_eq!(sprat(&[&["magnet", &torrent], flags].concat()).stdout, magnet, "{flags:?}");
    }
    let told: Value = serde_json::from_str(&sprat(&["magnet", &torrent, "--v2", "--json"]).stdout).unwrap();
    let magnet = format!("magnet:?{v2}&{rest}");
    let expected =
        json!({"schema": 1, "magnet": magnet, "info_hash_v1": null, "info_hash_v2": V2, "name": "tree"});
    assert_eq!(told, expected);

    // A hybrid's pad files are not known without its info.
    let hybrid = format!("magnet:?{v1}&{v2}");
    assert_eq!(sprat(&["magnet", &hybrid, "--select-file", "1"]).exit, Exit::Input);
    assert_eq!(sprat(&["magnet", &torrent, "--select-file", "3"]).exit, Exit::Usage);
}

#[test]
fn the_magnet_of_a_private_torrent_comes_with_a_warning() {
    let place = Place::new();
    let torrent = create(&place, "tree.torrent", &["--private", "-t", TRACKER]);
    let warning = "warning: tree is private, which a magnet does not say: clients may look for its peers outside its trackers\n";
    let done = sprat(&["magnet", &torrent]);
    assert_eq!((done.exit, done.stderr.as_str()), (Exit::Ok, warning));
    let printed = ["create", &place.path("tree"), "-n", "-q", "-p", "-t", TRACKER, "--print", "magnet"];
    assert_eq!(sprat(&printed).stdout, done.stdout);
    assert!(sprat(&[&printed[..3], &printed[4..]].concat()).stderr.contains(warning));
}

#[test]
fn create_says_all_that_it_made() {
    let place = Place::new();
    let done = sprat(&["create", &place.path("tree"), "-n", "-o", "x.torrent", "--json"]);
    let magnet = format!("magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}&dn=tree&xl=40007");
    let expected = json!({
        "schema": 1, "path": "x.torrent", "written": false, "name": "tree", "info_hash_v1": V1, "info_hash_v2": V2,
        "version": "hybrid", "piece_length": 16384, "piece_count": 4, "total_size": 40007, "padding": 25529,
        "file_count": 2, "magnet": magnet, "skipped": [],
    });
    assert_eq!(serde_json::from_str::<Value>(&done.stdout).unwrap(), expected);
    let done = sprat(&["create", &place.path("tree"), "-n", "-o", "x.torrent"]);
    let line = format!(
        "39.1 KiB in 2 files, 4 pieces of 16 KiB (auto), hybrid with 24.9 KiB of padding, {V1} (nothing was written)\n"
    );
    assert_eq!((done.stdout.as_str(), done.stderr), ("x.torrent\n", line));
}

#[test]
fn a_kernel_that_does_not_exist_is_a_configuration_error() {
    let place = Place::new();
    let create = ["create", &place.path("tree"), "-n"];
    let done = sprat_with(&create, b"", &[("SPRAT_HASH_KERNEL", "fast")]);
    let error = "error: SPRAT_HASH_KERNEL: `fast` is none of portable, avx2, sha-ni, avx512\n";
    assert_eq!((done.exit, done.stderr.as_str()), (Exit::Configuration, error));
}
