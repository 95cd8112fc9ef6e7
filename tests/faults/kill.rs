//! kill -9 at any moment: what was verified and durable is not downloaded again, and nothing unverified is ever taken as good.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::process::{Line, Process};
use harness::require::{require_peer, say};
use harness::sandbox::{Running, Sandbox, events, last_number};
use harness::tree::{self, Tree};
use harness::wait::{self, LONG, SOON};

const PIECE: u64 = 64 * 1024;

/// What a record may lag behind (ARCHITECTURE.md, CLI.md): verified in these last seconds before a kill, it may be fetched again.
const LAST_SECONDS: Duration = Duration::from_secs(5);

/// Pieces that are under way at a kill at most: what they had of blocks was never verified, and is lost. Well above what a download
/// from one peer at these rates has open.
const OPEN_PIECES: u64 = 16;

/// The system calls that make something durable, or give it its name.
const DURABLE_CALLS: &str =
    "fsync,fdatasync,sync_file_range,rename,renameat,renameat2,ftruncate,unlink,unlinkat";

/// A download that is killed again and again, and what it costs.
struct Victim {
    sandbox: Sandbox,
    files: Tree,
    torrent: PathBuf,
    seed: Running,
    /// What the kills so far allow to be fetched again.
    allowed: u64,
    kills: u32,
}

impl Victim {
    fn new(length: u64, rate: u64) -> Self {
        let sandbox = Sandbox::new();
        let length = length as usize;
        let mut files = tree::mixed(1, PIECE as usize);
        files.extend(tree::single(2, "large one", length / 2));
        files.extend(tree::single(3, "zz/another", length / 2));
        tree::write(&sandbox.path("data/tree"), &files);
        let torrent = sandbox.create(sandbox.path("data/tree"), [], PIECE as u32);
        let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", &rate.to_string()]);
        seed.wait_listening();
        Self { sandbox, files, torrent, seed, allowed: 0, kills: 0 }
    }

    fn total(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    fn start(&self, copy: &Path) -> Process {
        self.sandbox.get(&self.torrent, copy, ["--peer", &self.seed.addr.to_string()]).process
    }

    /// Runs the download until `moment`, then kills it; false: it was done before.
    fn run_and_kill(&mut self, copy: &Path, moment: Duration) -> bool {
        let mut get = self.start(copy);
        wait::try_until(moment, || (!get.is_running()).then_some(()));
        let finished = get.kill();
        if finished.code.is_some() {
            finished.expect(0);
            return false;
        }
        self.kills += 1;
        self.allowed += verified_lately(&finished.lines) + OPEN_PIECES * PIECE;
        self.check_names(copy);
        true
    }

    /// A file that bears its own name is whole.
    fn check_names(&self, copy: &Path) {
        for path in self.files.keys() {
            let (original, copy) = (self.sandbox.path("data/tree").join(path), copy.join("tree").join(path));
            if copy.exists() {
                tree::assert_same(&original, &copy);
            }
        }
    }

    fn check_copy(&self, copy: &Path) {
        tree::assert_same(&self.sandbox.path("data/tree"), &copy.join("tree"));
    }

    /// Bytes that the seeder has sent, once it has nothing more to say.
    fn uploaded(&self) -> u64 {
        let before = self.seed.events().len();
        self.seed.process.wait_for("two more reports of the seeder", SOON, |lines| {
            let events = events(lines);
            let fresh = events[before..].iter().filter(|event| event["event"] == "progress").count() >= 2;
            fresh.then(|| last_number(&events, "uploaded").unwrap_or(0))
        })
    }

    fn check_cost(&self, copies: u64) {
        let uploaded = self.uploaded();
        let needed = copies * self.total();
        let again = uploaded.saturating_sub(needed);
        let (kills, allowed) = (self.kills, self.allowed);
        say(&format!("{kills} kills: {again} bytes fetched again beyond {needed}, {allowed} allowed"));
        assert!(uploaded >= needed, "the seeder sent {uploaded} of {needed} bytes");
        assert!(again <= allowed, "{again} bytes fetched again, {allowed} allowed");
    }
}

/// What was verified in the last 5 s of a run, by its own reports.
fn verified_lately(lines: &[Line]) -> u64 {
    let reports: Vec<(Duration, u64)> = lines
        .iter()
        .filter_map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line.text).ok()?;
            Some((line.at, event["bytes_done"].as_u64()?))
        })
        .collect();
    let Some(&(end, done)) = reports.last() else { return 0 };
    let before = reports.iter().take_while(|(at, _)| *at + LAST_SECONDS <= end).last().or(reports.first());
    done.saturating_sub(before.map_or(0, |&(_, done)| done))
}

#[test]
fn fifty_kills_at_seeded_moments_end_in_the_same_bytes() {
    let mut random = fastrand::Rng::with_seed(50);
    let mut victim = Victim::new(16 << 20, 8 << 20);
    let mut copies = 0;
    while victim.kills < 50 {
        let copy = victim.sandbox.path(format!("copy{copies}"));
        while victim.kills < 50 && victim.run_and_kill(&copy, Duration::from_millis(random.u64(50..2500))) {}
        victim.start(&copy).wait_exit(LONG).expect(0);
        victim.check_copy(&copy);
        copies += 1;
    }
    victim.check_cost(copies);
}

#[test]
fn a_kill_late_in_a_long_run_costs_its_last_seconds_only() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut victim = Victim::new(40 << 20, 2 << 20);
    let copy = victim.sandbox.path("copy");
    for _ in 0..2 {
        assert!(
            victim.run_and_kill(&copy, Duration::from_millis(random.u64(7000..9000))),
            "it can't be done yet"
        );
    }
    victim.start(&copy).wait_exit(LONG).expect(0);
    victim.check_copy(&copy);
    victim.check_cost(1);
}

#[test]
fn a_kill_at_each_call_that_makes_things_durable_ends_in_the_same_bytes() {
    if !require_peer("strace") {
        return;
    }
    let victim = Victim::new(1 << 20, 64 << 20);
    let peer = victim.seed.addr.to_string();
    let (mut number, mut kills, mut step) = (1, 0, 1);
    loop {
        let copy = victim.sandbox.path(format!("copy{number}"));
        let trace = format!("trace={DURABLE_CALLS}");
        let inject = format!("inject={DURABLE_CALLS}:signal=SIGKILL:when={number}");
        let get = victim
            .sandbox
            .sprat("get")
            .arg(&victim.torrent)
            .args(["--port", "0", "--peer", &peer, "-o"])
            .arg(&copy);
        let traced =
            get.under("strace", &["-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).run(LONG);
        victim.check_names(&copy);
        if traced.code == Some(0) {
            break;
        }
        kills += 1;
        victim.start(&copy).wait_exit(LONG).expect(0);
        victim.check_copy(&copy);
        // Every one of the first few, then in growing strides: they repeat themselves file by file.
        step += u32::from(kills > 8);
        number += step;
    }
    say(&format!("killed at {kills} of about {number} calls that make things durable"));
    assert!(kills > 0, "strace killed nothing: does it still know how the program makes things durable?");
}
