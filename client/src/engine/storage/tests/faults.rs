//! Disks that are full or refuse, and things planted where our files go.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use sha1::{Digest as _, Sha1};

use super::*;

const K: usize = 1024;

fn case() -> Case {
    Case::new(16 * K, &[("d/a", 40 * K), ("d/e/b", 40 * K), ("d/z", 0)])
}

/// A small file system of its own, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with a word about it, where we may not mount.
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("skipped: a small tmpfs can't be mounted here");
        None
    }

    /// Leaves no room; returns the file to remove.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::copy(&mut std::io::repeat(1), &mut file).expect_err("the disk is full in the end");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn links_in_our_way_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("a"), b"theirs").unwrap();
    std::fs::create_dir(outside.path().join("e")).unwrap();
    let before = tree(outside.path());
    for planted in ["t", "t/d", "t/d/e", "t/d/a", "t/d/a.part", "t/d/e/b.part", "t/d/z"] {
        let case = case();
        let link = case.dir.path().join(planted);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        let target =
            if planted.contains(['a', 'b', 'z']) { outside.path().join("a") } else { outside.path().into() };
        symlink(target, &link).unwrap();
        let force = OpenStorage { access: Access::Download { force: true }, ..case.options() };
        for options in [case.options(), force, case.seed()] {
            let error = open(options).unwrap_err();
            assert!(
                matches!(error, StorageError::Io { .. } | StorageError::Mismatch { .. }),
                "{planted}: {error}"
            );
        }
        assert!(link.is_symlink());
        assert_eq!(tree(outside.path()), before, "{planted}");
    }
}

#[tokio::test]
async fn a_directory_that_becomes_a_link_while_we_work_leads_nowhere() {
    let case = Case::new(16 * K, &[("d/a", 32 * K), ("d/b", 32 * K)]);
    let outside = tempfile::tempdir().unwrap();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0]).await;
    let (inside, moved) = (case.dir.path().join("t/d"), case.dir.path().join("t/moved"));
    std::fs::rename(&inside, &moved).unwrap();
    symlink(outside.path(), &inside).unwrap();
    for index in 1..4 {
        let piece = case.piece(index);
        opened.write(case.info.layout().block(piece, 0), case.bytes(piece)).await;
        opened.storage.verify(piece, false);
    }
    let failure = loop {
        match opened.event().await {
            StorageEvent::Failed(error) => break error,
            StorageEvent::Verified(..) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(failure.to_string().contains("symbolic link"), "{failure}");
    opened.kill().await;
    assert_eq!(tree(outside.path()), BTreeMap::new());
}

#[tokio::test]
async fn things_that_are_not_files_are_named() {
    for (planted, force) in [("t/d/a", false), ("t/d/a", true), ("t/d/a.part", true), ("t/d/z", true)] {
        let case = case();
        let path = case.dir.path().join(planted);
        std::fs::create_dir_all(&path).unwrap();
        let error = open(OpenStorage { access: Access::Download { force }, ..case.options() }).unwrap_err();
        let said = format!("can't use {}: what is there is not a regular file", path.display());
        assert_eq!(error.to_string(), said);
        assert_eq!(case.records(), [] as [&str; 0]);
    }
    let case = case();
    std::fs::write(case.dir.path().join("t"), b"a file").unwrap();
    let error = open(case.options()).unwrap_err();
    let said = format!("can't use {}: \"t\" is not a directory", case.path(0).display());
    assert_eq!(error.to_string(), said);
    let below = OpenStorage { dir: case.dir.path().join("t"), ..case.options() };
    let said = open(below).unwrap_err().to_string();
    assert!(said.starts_with(&format!("can't create {}: ", case.dir.path().join("t").display())), "{said}");
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_named() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: nothing is forbidden to root");
        return;
    }
    let case = case();
    std::fs::set_permissions(case.dir.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let error = open(case.options()).unwrap_err();
    std::fs::set_permissions(case.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let said = format!("can't create {}: Permission denied (os error 13)", case.part(0).display());
    assert_eq!(error.to_string(), said);
    assert_eq!(case.records(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_read_only_disk_is_named_and_can_still_be_served() {
    let Some(disk) = SmallDisk::new("size=1m") else { return };
    let case = case();
    let dir = disk.0.path().to_path_buf();
    for file in 0..3 {
        let path = dir.join(case.info.files()[file].path.as_path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, case.file_bytes(file)).unwrap();
    }
    std::fs::remove_file(dir.join("t/d/a")).unwrap();
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&dir).status();
    assert!(remount.unwrap().success());
    let error = open(OpenStorage { dir: dir.clone(), ..case.options() }).unwrap_err();
    let said =
        format!("can't create {}: Read-only file system (os error 30)", dir.join("t/d/a.part").display());
    assert_eq!(error.to_string(), said);
    assert_eq!(case.records(), [] as [&str; 0]);
    let opened = open(OpenStorage { dir, selected: vec![false, true, true], ..case.seed() }).unwrap();
    assert_eq!(opened.had(), [3, 4]);
    opened.assert_honest(&case);
    opened.kill().await;
}

#[tokio::test]
async fn a_torrent_that_can_not_fit_is_refused_before_anything_is_made() {
    let Some(disk) = SmallDisk::new("size=64k") else { return };
    let case = case();
    for allocate in [Allocate::None, Allocate::Sparse, Allocate::Full] {
        let dir = disk.0.path().to_path_buf();
        let error = open(OpenStorage { dir: dir.clone(), allocate, ..case.options() }).unwrap_err();
        let said =
            format!("disk full: {} (81920 bytes are still to be written, 65536 are free)", dir.display());
        assert_eq!(error.to_string(), said);
        assert_eq!(tree(disk.0.path()), BTreeMap::new());
        assert_eq!(case.records(), [] as [&str; 0]);
    }
    // Half of it fits.
    let selected = vec![true, false, true];
    let dir = disk.0.path().to_path_buf();
    open(OpenStorage { dir, selected, ..case.options() }).unwrap().kill().await;
}

#[tokio::test]
async fn a_disk_that_stays_full_ends_it_once_it_is_to_stop_and_loses_nothing() {
    let Some(disk) = SmallDisk::new("size=256k") else { return };
    let case = Case::new(16 * K, &[("a", 160 * K)]);
    let options = OpenStorage { dir: disk.0.path().to_path_buf(), ..case.options() };
    let mut opened = open(options.clone()).unwrap();
    opened.feed(&case, &[0, 1]).await;
    let filler = disk.fill();
    for index in 2..10 {
        let piece = case.piece(index);
        opened.write(case.info.layout().block(piece, 0), case.bytes(piece)).await;
        opened.storage.verify(piece, false);
    }
    let part = disk.0.path().join("t/a.part");
    let is_full = |error: &StorageError| matches!(error, StorageError::Full { path, .. } if *path == part);
    assert!(matches!(opened.event().await, StorageEvent::NoRoom(error) if is_full(&error)));
    opened.storage.stop_waiting();
    assert!(matches!(opened.event().await, StorageEvent::Failed(error) if is_full(&error)));
    // What was verified before is safe, and still served.
    patiently(opened.storage.flush()).await.unwrap();
    assert_eq!(opened.read(1, 0, 16).unwrap(), case.payload[16 * K..][..16]);
    opened.read(5, 0, 16).unwrap_err();
    assert_eq!(opened.pool.available(), opened.pool.capacity(), "nothing is held");
    assert!(opened.events.try_recv().is_err(), "nothing more is said");
    opened.kill().await;
    std::fs::remove_file(filler).unwrap();
    let mut opened = open(options).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![0, 1], 0));
    opened.feed(&case, &[2, 3, 4, 5, 6, 7, 8, 9]).await;
    opened.finish().await;
    assert_eq!(std::fs::read(disk.0.path().join("t/a")).unwrap(), case.payload);
}

#[tokio::test]
async fn a_disk_that_fills_up_is_waited_for() {
    let Some(disk) = SmallDisk::new("size=256k") else { return };
    let case = Case::new(16 * K, &[("a", 160 * K)]);
    let mut opened = open(OpenStorage { dir: disk.0.path().to_path_buf(), ..case.options() }).unwrap();
    opened.feed(&case, &[0]).await;
    let filler = disk.fill();
    let piece = case.piece(1);
    opened.write(case.info.layout().block(piece, 0), case.bytes(piece)).await;
    opened.storage.verify(piece, false);
    assert!(matches!(opened.event().await, StorageEvent::NoRoom(_)));
    std::fs::remove_file(filler).unwrap();
    assert!(matches!(opened.event().await, StorageEvent::Room));
    assert!(
        matches!(opened.event().await, StorageEvent::Verified(which, Verification::Good(_)) if which == piece)
    );
    opened.feed(&case, &[2, 3, 4, 5, 6, 7, 8, 9]).await;
    opened.finish().await;
    assert_eq!(std::fs::read(disk.0.path().join("t/a")).unwrap(), case.payload);
}

#[tokio::test]
async fn a_full_state_directory_keeps_the_old_record() {
    let Some(disk) = SmallDisk::new("size=64k") else { return };
    let case = case();
    let options = OpenStorage { state_dir: disk.0.path().to_path_buf(), ..case.options() };
    let mut opened = open(options.clone()).unwrap();
    opened.feed(&case, &[0, 1]).await;
    opened.finish().await;
    let filler = disk.fill();
    let error = open(options.clone()).unwrap_err();
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    std::fs::remove_file(filler).unwrap();
    let opened = open(options).unwrap();
    assert_eq!((opened.had(), opened.hashed), (vec![0, 1], 0));
    opened.kill().await;
}

#[tokio::test]
async fn padding_is_read_as_zeros_and_never_made() {
    let mut case = Case::new(16 * K, &[("a", 10 * K), ("pad", 6 * K), ("b", 16 * K)]);
    case.payload[10 * K..16 * K].fill(0);
    let pieces: Vec<u8> =
        case.payload.chunks(16 * K).flat_map(|it| <[u8; 20]>::from(Sha1::digest(it))).collect();
    let file = |attr: &str, length: usize, name: &str| {
        format!("d{attr}6:lengthi{length}e4:pathl{}:{name}ee", name.len()).into_bytes()
    };
    let raw = [
        b"d5:filesl".to_vec(),
        file("", 10 * K, "a"),
        file("4:attr1:p", 6 * K, "pad"),
        file("", 16 * K, "b"),
        b"e4:name1:t12:piece lengthi16384e6:pieces40:".to_vec(),
        pieces,
        b"e".to_vec(),
    ];
    case.info = Info::from_bytes(&raw.concat()).unwrap();
    let mut opened = open(case.options()).unwrap();
    opened.feed(&case, &[0, 1]).await;
    opened.have = Bitfield::all(2);
    opened.assert_honest(&case);
    patiently(opened.storage.flush()).await.unwrap();
    assert_eq!(case.tree().into_keys().collect::<Vec<_>>(), ["t/a", "t/b"]);
    assert_eq!([0, 1, 2].map(|file| opened.storage.is_whole(file)), [true, false, true]);
    opened.kill().await;
    let opened = open(case.seed()).unwrap();
    assert_eq!((opened.have.is_all(), opened.hashed), (true, 0));
    opened.assert_honest(&case);
    opened.kill().await;
}
