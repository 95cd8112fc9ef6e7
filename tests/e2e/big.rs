//! The size that people come with: 1 GiB in one file, and 5,000 files, to two downloaders at a time from a seeder limited to
//! 20 MiB/s. Moves gigabytes: it runs with `SPRAT_BIG=1` only, best in a release build, and says so otherwise.

use std::path::Path;
use std::time::Duration;

use harness::require::{say, say_skipped};
use harness::sandbox::{Sandbox, events, info_hash, last_number};
use harness::tree;
use harness::wait::{SOON, Stopwatch};

/// At 20 MiB/s, 1 GiB in 1.4 copies takes 72 s; a slow machine gets many times that.
const LIMIT: Duration = Duration::from_secs(900);

/// The payload at `data/NAME` to two downloaders.
fn two_downloads(sandbox: &Sandbox, name: &str, total: u64) {
    let watch = Stopwatch::start();
    let tracker = sandbox.tracker(None);
    let create = sandbox.sprat("create").arg(Path::new("data").join(name)).args([
        "--format",
        "v1",
        "-t",
        &tracker.url(),
    ]);
    create.run(LIMIT).expect(0);
    let torrent = sandbox.path(format!("{name}.torrent"));
    let created = watch.elapsed();
    let seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "20MiB"]);
    seed.wait_event("started", LIMIT, |_| Some(()));
    harness::wait::until("the seed at the tracker", LIMIT, || {
        (tracker.scrape(info_hash(&torrent)).complete > 0).then_some(())
    });

    let watch = Stopwatch::start();
    let gets = ["one", "two"].map(|copy| (copy, sandbox.get(&torrent, sandbox.path(copy), [""; 0])));
    let mut uploads = Vec::new();
    for (copy, get) in gets {
        let finished = get.process.wait_exit(LIMIT).expect(0);
        uploads.push(
            last_number(&events(&finished.lines), "uploaded").expect("progress says what was uploaded"),
        );
        tree::assert_same(&sandbox.path("data").join(name), &sandbox.path(copy).join(name));
    }
    let taken = watch.elapsed();
    let reports = seed.events().len();
    let sent = seed.process.wait_for("the seeder's last report", SOON, |lines| {
        let events = events(lines);
        let fresh = events[reports..].iter().filter(|event| event["event"] == "progress").count() >= 2;
        fresh.then(|| last_number(&events, "uploaded").unwrap_or(0))
    });
    let of_total = |bytes: u64| bytes as f64 / total as f64;
    say(&format!(
        "{name}: created in {created:.1?}, downloaded twice in {taken:.1?}; the seeder sent {:.2} copies, the downloaders gave each \
         other {:.2} and {:.2}",
        of_total(sent),
        of_total(uploads[0]),
        of_total(uploads[1])
    ));
    // What one uploaded, the other has: there is nobody else who wants it. How they share that is the seeder's choice: the first of them to pass
    // something on may be given all of it for as long as it does.
    assert!(of_total(uploads.iter().sum()) >= 0.5, "together they gave each other half a copy");
    assert!(of_total(sent) <= 1.4, "the seeder sent at most 1.4 copies");
}

fn wanted() -> bool {
    let wanted = std::env::var_os("SPRAT_BIG").is_some_and(|value| value == "1");
    if !wanted {
        say_skipped("it moves gigabytes; SPRAT_BIG=1 runs it");
    }
    wanted
}

#[test]
fn a_file_of_one_gibibyte_and_then_a_tree_of_5000_files() {
    if !wanted() {
        return;
    }
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("data")).expect("a test directory can be made");
    tree::write_large(&sandbox.path("data/file.bin"), 1, 1 << 30);
    two_downloads(&sandbox, "file.bin", 1 << 30);
    drop(sandbox);

    let sandbox = Sandbox::new();
    let files = tree::random(2, 5000, 80_000);
    tree::write(&sandbox.path("data/tree"), &files);
    two_downloads(&sandbox, "tree", files.values().map(|bytes| bytes.len() as u64).sum());
}
