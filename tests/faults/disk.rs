//! Disks that fill up, and files that change under a seeder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use client::wire::{BlockRequest, Message};
use harness::content::Content;
use harness::peer::{CAPABLE, Received, Wire};
use harness::process::{self, Process};
use harness::require::require_mounts;
use harness::sandbox::{Running, Sandbox, events};
use harness::tree;
use harness::wait::{LONG, SOON};
use rustix::process::Signal;

const PIECE: usize = 64 * 1024;

/// A small disk of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("a test directory can be made");
        let mut mount = Command::new("mount");
        process::run("mount", mount.args(["-t", "tmpfs", "-o", options, "sprat-test"]).arg(at), SOON)
            .expect(0);
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_exit_code_9_and_the_download_goes_on_once_there_is_room() {
    if !require_mounts() {
        return;
    }
    for allocate in ["none", "full"] {
        let sandbox = Sandbox::new();
        tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 48 * PIECE));
        let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
        let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
        let peer = seed.wait_listening().addr.to_string();
        let disk = SmallDisk::mount(&sandbox.path("disk"), "size=1m,mode=0777");

        let more = ["-o", "disk", "--port", "0", "--allocate", allocate, "--peer", &peer];
        let full = sandbox.sprat("get").arg(&torrent).args(more).run(LONG).expect(9);
        assert!(full.stderr().contains("file.bin"), "{full:#?}");
        assert!(!full.stderr().contains("panicked"), "{full:#?}");
        assert!(!sandbox.path("disk/file.bin").exists());

        let mut remount = Command::new("mount");
        process::run("mount", remount.args(["-o", "remount,size=16m"]).arg(&disk.0), SOON).expect(0);
        sandbox.sprat("get").arg(&torrent).args(more).run(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("disk/file.bin"));
    }
}

/// A download to a disk of 16 MiB that somebody else fills up meanwhile.
struct Filled {
    sandbox: Sandbox,
    torrent: PathBuf,
    arguments: Vec<String>,
    get: Process,
    /// What takes all the room.
    other: PathBuf,
    _seed: Running,
    _disk: SmallDisk,
}

impl Filled {
    /// It has said that it waits.
    fn new(memory: &str) -> Self {
        let sandbox = Sandbox::new();
        tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 96 * PIECE));
        let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
        let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "1MiB"]);
        let peer = seed.wait_listening().addr.to_string();
        let disk = SmallDisk::mount(&sandbox.path("disk"), "size=16m,mode=0777");
        let arguments = ["-o", "disk", "--port", "0", "--peer", &peer, "--json", "--memory", memory];
        let arguments = arguments.map(str::to_owned).to_vec();
        let get = sandbox.sprat("get").arg(&torrent).args(&arguments).spawn();
        get.wait_for("progress", LONG, |lines| {
            let some = |event: &serde_json::Value| event["bytes_done"].as_u64().is_some_and(|done| done > 0);
            events(lines).iter().any(some).then_some(())
        });
        let other = sandbox.path("disk/other");
        let mut file = fs::File::create(&other).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let paused = get.wait_line("\"paused\"", LONG);
        assert!(paused.contains("disk full") && paused.contains("file.bin"), "{paused}");
        Self { sandbox, torrent, arguments, get, other, _seed: seed, _disk: disk }
    }
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_waited_for() {
    if !require_mounts() {
        return;
    }
    for memory in ["64MiB", "4MiB"] {
        let filled = Filled::new(memory);
        fs::remove_file(&filled.other).unwrap();
        filled.get.wait_line("\"resumed\"", LONG);
        filled.get.wait_exit(LONG).expect(0);
        let path = |path| filled.sandbox.path(path);
        tree::assert_same(&path("data/file.bin"), &path("disk/file.bin"));
    }
}

#[test]
fn a_download_that_waits_for_room_can_be_stopped_and_says_why_it_is_not_whole() {
    if !require_mounts() {
        return;
    }
    let filled = Filled::new("64MiB");
    filled.get.signal(Signal::INT);
    let stopped = filled.get.wait_exit(LONG);
    assert!(matches!(stopped.code, Some(9 | 130)), "{stopped:#?}");
    fs::remove_file(&filled.other).unwrap();
    filled.sandbox.sprat("get").arg(&filled.torrent).args(&filled.arguments).run(LONG).expect(0);
    let path = |path| filled.sandbox.path(path);
    tree::assert_same(&path("data/file.bin"), &path("disk/file.bin"));
}

#[test]
fn no_room_for_a_torrent_file_is_exit_code_9_and_leaves_nothing() {
    if !require_mounts() {
        return;
    }
    let sandbox = Sandbox::new();
    // 20 bytes a piece of 16 KiB: 40 KB of torrent.
    tree::write_large(&sandbox.path("file.bin"), 1, 2000 * 16 * 1024);
    let _disk = SmallDisk::mount(&sandbox.path("disk"), "size=8k,mode=0777");
    let create = sandbox.sprat("create").args([
        "file.bin",
        "--format",
        "v1",
        "-l",
        "16KiB",
        "-o",
        "disk/file.torrent",
    ]);
    create.run(LONG).expect(9);
    assert_eq!(tree::listing(&sandbox.path("disk")).len(), 1, "nothing but the directory itself");
}

/// Asks a seeder for every block, and checks that what it sends is right. Gives the number of blocks that came.
fn blocks_that_come(wire: &mut Wire, content: &Content) -> usize {
    let blocks: Vec<BlockRequest> = (0..content.pieces())
        .flat_map(|index| (0..content.piece_length()).step_by(16 * 1024).map(move |begin| (index, begin)))
        .map(|(index, begin)| BlockRequest { index, begin, length: 16 * 1024 })
        .filter(|&request| content.block(request).is_some())
        .collect();
    let mut came = 0;
    for request in blocks {
        wire.send(&Message::Request(request));
        let answer = wire.receive_until(Duration::from_secs(5), |received| match received {
            Received::Block(block, bytes) => {
                assert_eq!(
                    Some(bytes.as_slice()),
                    content.block(*block),
                    "a block that fails its hash was sent: {block:?}"
                );
                Some(true)
            }
            Received::Message(Message::Reject(_) | Message::Choke) | Received::Closed => Some(false),
            _ => None,
        });
        came += usize::from(answer == Some(true));
        if answer != Some(true) {
            break;
        }
    }
    came
}

#[test]
fn a_file_that_changes_under_a_seeder_never_leaves_as_wrong_blocks() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("a byte is changed", |path| {
            let file = OpenOptions::new().write(true).open(path).expect("a test file");
            file.write_all_at(b"changed", 20 * PIECE as u64).expect("it can be written");
        }),
        ("it is cut off", |path| {
            OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(10))
                .expect("it can be cut");
        }),
        ("it is replaced", |path| {
            fs::write(path.with_extension("new"), vec![0; 32 * PIECE]).expect("it can be written");
            fs::rename(path.with_extension("new"), path).expect("it can be replaced");
        }),
        ("it is removed", |path| fs::remove_file(path).expect("it can be removed")),
    ];
    for (name, change) in changes {
        let sandbox = Sandbox::new();
        let files = tree::single(1, "file.bin", 32 * PIECE);
        tree::write(&sandbox.path("data"), &files);
        let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
        let content = Content::new(&torrent, &files);
        let seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
        let mut wire = Wire::connect_to_torrent(seed.addr, content.info_hash(), CAPABLE);
        wire.send(&Message::HaveNone);
        wire.send(&Message::Interested);
        let unchoked = wire
            .receive_until(SOON, |received| (*received == Received::Message(Message::Unchoke)).then_some(()));
        assert!(unchoked.is_some(), "{name}: never unchoked");
        assert!(
            blocks_that_come(&mut wire, &content) >= content.pieces() as usize,
            "{name}: not served before"
        );

        change(&sandbox.path("data/file.bin"));
        blocks_that_come(&mut wire, &content);
        assert!(
            !seed.process.lines().iter().any(|line| line.text.contains("panicked")),
            "{name}: {:#?}",
            seed.process.lines()
        );
    }
}

#[test]
fn two_downloads_into_one_directory_are_one_too_many() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", 32 * PIECE));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE as u32);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "512KiB"]);
    let peer = seed.wait_listening().addr.to_string();
    let first = sandbox.get(&torrent, sandbox.path("copy"), ["--peer", &peer]);
    first.wait_event("progress", LONG, |event| event["bytes_done"].as_u64().filter(|&bytes| bytes > 0));
    let second =
        sandbox.sprat("get").arg(&torrent).args(["-o", "copy", "--port", "0", "--peer", &peer]).run(LONG);
    assert!(second.code.is_some_and(|code| code != 0 && code != 101), "{second:#?}");
    assert!(!second.stderr().is_empty(), "it says why");
    first.process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
}
