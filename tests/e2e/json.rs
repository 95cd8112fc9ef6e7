//! What scripts read.

use harness::sandbox::{Sandbox, events, info_hash};
use harness::tree;
use harness::wait::{LONG, SOON};
use serde_json::{Value, json};

const PIECE: usize = 32 * 1024;

fn only_document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("one JSON document: {error}\n{text}"))
}

#[test]
fn show_says_everything_in_one_document() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("tree"), &[("a".into(), vec![1; 3]), ("b/c".into(), vec![2; PIECE])].into());
    let create = sandbox.sprat("create").args([
        "tree",
        "--format",
        "v1",
        "-l",
        "32KiB",
        "-p",
        "-c",
        "a comment",
        "-s",
        "a source",
    ]);
    let trackers = [
        "-t",
        "http://one.example/announce,http://two.example/announce",
        "-t",
        "http://three.example/announce",
    ];
    create.args(trackers).args(["-w", "http://seed.example/"]).run(SOON).expect(0);
    let shown =
        only_document(&sandbox.sprat("show").args(["--json", "tree.torrent"]).run(SOON).expect(0).stdout());

    let hash = info_hash(&sandbox.path("tree.torrent")).to_string();
    let wanted = json!({
        "schema": 1, "name": "tree", "info_hash_v1": hash, "info_hash_v2": null, "version": "v1", "piece_length": 32768,
        "piece_count": 2, "total_size": 32771, "private": true, "comment": "a comment", "source": "a source",
        "trackers": [["http://one.example/announce", "http://two.example/announce"], ["http://three.example/announce"]],
        "web_seeds": ["http://seed.example/"], "nodes": [], "creation_date": null,
    });
    for (key, value) in wanted.as_object().expect("an object") {
        assert_eq!(&shown[key], value, "{key}");
    }
    let files: Vec<_> = shown["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| (&file["path"], &file["length"]))
        .collect();
    assert_eq!(files.len(), 2, "{shown:#}");
    assert!(files[0].0.as_str().is_some_and(|path| path.ends_with('a')) && files[0].1 == 3, "{shown:#}");
    assert!(
        files[1].0.as_str().is_some_and(|path| path.ends_with("b/c")) && files[1].1 == 32768,
        "{shown:#}"
    );
    assert!(shown["magnet"].as_str().is_some_and(|magnet| magnet.contains(&hash)), "{shown:#}");
    assert!(shown["lints"].is_array(), "{shown:#}");
    assert!(shown.as_object().is_some_and(|keys| keys.contains_key("created_by")), "{shown:#}");
}

#[test]
fn a_download_is_a_line_of_json_for_each_thing_that_happens() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data/tree"), &tree::mixed(1, PIECE));
    let torrent = sandbox.create(sandbox.path("data/tree"), [tracker.url().as_str()], PIECE as u32);
    let hash = info_hash(&torrent);
    let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    tracker.wait_seeds(hash, 1);
    let finished = sandbox.get(&torrent, sandbox.path("copy"), [""; 0]).process.wait_exit(LONG).expect(0);

    let events = events(&finished.lines);
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).cloned().collect::<Vec<_>>();
    let known = ["started", "progress", "peer", "tracker", "piece_failed", "complete", "stopped", "error"];
    for event in &events {
        assert!(event["event"].as_str().is_some_and(|kind| known.contains(&kind)), "{event}");
        assert_eq!(event["schema"], 1, "{event}");
    }
    assert_eq!(of("started").len(), 1, "{events:#?}");
    assert_eq!(of("complete").len(), 1, "{events:#?}");
    assert_eq!(of("error"), [] as [Value; 0]);
    assert_eq!(of("piece_failed"), [] as [Value; 0]);
    assert!(!of("progress").is_empty() && !of("tracker").is_empty() && !of("peer").is_empty(), "{events:#?}");
    for progress in of("progress") {
        assert_eq!(progress["info_hash"], hash.to_string());
        for key in ["bytes_done", "bytes_total", "download_rate", "upload_rate", "uploaded", "peers", "seeds"]
        {
            assert!(progress[key].is_u64(), "{key} in {progress}");
        }
        assert!(progress["eta_s"].is_u64() || progress["eta_s"].is_null(), "{progress}");
    }
    let total: u64 = tree::mixed(1, PIECE).values().map(|bytes| bytes.len() as u64).sum();
    let last = of("progress").pop().expect("not empty");
    assert_eq!((&last["bytes_done"], &last["bytes_total"]), (&json!(total), &json!(total)), "{last}");
    // The seeder counts what it sent: nothing twice.
    seed.wait_event("progress", SOON, |event| (event["uploaded"] == total).then_some(()));
}

#[test]
fn one_shot_commands_print_one_document() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("tree"), &tree::mixed(1, PIECE));
    let created = sandbox.sprat("create").args(["--json", "tree", "--format", "v1"]).run(SOON).expect(0);
    let hash = info_hash(&sandbox.path("tree.torrent")).to_string();
    let created = only_document(&created.stdout());
    assert_eq!((&created["schema"], &created["info_hash_v1"]), (&json!(1), &json!(hash)), "{created:#}");
    let verified =
        only_document(&sandbox.sprat("verify").args(["--json", "tree.torrent"]).run(SOON).expect(0).stdout());
    assert_eq!(verified["schema"], 1, "{verified:#}");
    let magnet =
        only_document(&sandbox.sprat("magnet").args(["--json", "tree.torrent"]).run(SOON).expect(0).stdout());
    assert_eq!(magnet["schema"], 1, "{magnet:#}");
}
