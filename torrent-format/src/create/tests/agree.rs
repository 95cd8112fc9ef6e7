//! The same input makes the same torrent here and elsewhere.

use std::process::Command;

use super::random::{random_tree, write};
use super::*;
use crate::bencode::Raw;

/// The Python for which Debian packages libtorrent's binding.
const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = include_str!("libtorrent_create.py");

fn is_there(what: &str, command: &mut Command) -> bool {
    let there = command.output().is_ok_and(|output| output.status.success());
    if !there {
        let required = std::env::var_os("SPRAT_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{what} is not installed");
        eprintln!("skipped: {what} is not installed");
    }
    there
}

/// What libtorrent makes of each.
fn libtorrent(jobs: &[Job]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let output = |number: usize| dir.path().join(number.to_string());
    let mut python = Command::new(PYTHON);
    python.args(["-c", SCRIPT]);
    for (number, job) in jobs.iter().enumerate() {
        let links = if job.links { "links" } else { "-" };
        python.args([&job.format.to_string(), &job.piece_length.to_string(), links]);
        python.arg(&job.path).arg(output(number));
    }
    let ran = python.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    (0..jobs.len()).map(|number| std::fs::read(output(number)).unwrap()).collect()
}

#[derive(Debug)]
struct Job {
    path: PathBuf,
    format: Format,
    piece_length: u32,
    links: bool,
}

impl Job {
    fn ours(&self) -> Created {
        let symlinks = if self.links { Symlinks::Store } else { Symlinks::Skip };
        let builder = Builder {
            format: self.format,
            piece_length: PieceLength::Exactly(self.piece_length),
            walk: Walk { hidden: true, junk: true, symlinks, ..Walk::default() },
            ..Builder::new(&self.path)
        };
        builder.build(&|_| {}).unwrap()
    }
}

/// Everything but `info` is only compared in `piece layers`: there are dates and names in the rest.
#[track_caller]
fn assert_agree(jobs: &[Job]) {
    for (job, theirs) in jobs.iter().zip(libtorrent(jobs)) {
        let ours = job.ours().bytes;
        for key in ["info", "piece layers"] {
            let raw = |bytes: &[u8]| {
                let scan = bencode::scan(bytes, &Limits::TORRENT).unwrap();
                let value = scan.root().as_dict().unwrap().get(key).map(Raw::bytes);
                value.map(|value| value.escape_ascii().to_string())
            };
            assert_eq!(raw(&ours), raw(&theirs), "{job:?}");
        }
        let read = Metainfo::from_bytes(&theirs).unwrap();
        assert!(verify(&read.info, job.path.parent().unwrap(), 1, &|_| {}).is_ok(), "{job:?}");
    }
}

#[test]
fn libtorrent_makes_the_same_bytes_of_random_trees() {
    if !is_there("libtorrent", Command::new(PYTHON).args(["-c", "import libtorrent"])) {
        return;
    }
    let mut rng = fastrand::Rng::with_seed(52);
    let mut dirs = Vec::new();
    let mut jobs = Vec::new();
    for n in 0..36 {
        let piece_length = 16_384 << (n % 5);
        let (dir, path) = write(&random_tree(&mut rng, piece_length));
        dirs.push(dir);
        jobs.extend(FORMATS.map(|format| Job { path: path.clone(), format, piece_length, links: false }));
    }
    assert_agree(&jobs);
}

#[test]
fn libtorrent_makes_the_same_bytes_of_single_files_and_directories_of_one() {
    if !is_there("libtorrent", Command::new(PYTHON).args(["-c", "import libtorrent"])) {
        return;
    }
    let mut dirs = Vec::new();
    let mut jobs = Vec::new();
    for length in [1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 131_072, 150_000, 1_000_000] {
        let (dir, path) = tree(&[("f", &vec![7; length])]);
        dirs.push(dir);
        for path in [path.join("f"), path] {
            let job = |format| Job { path: path.clone(), format, piece_length: 65_536, links: false };
            jobs.extend(FORMATS.map(job));
        }
    }
    // A file of no bytes counts as another, and so makes a pad file.
    let (dir, path) = tree(&[("a", b"x"), ("b", b"")]);
    dirs.push(dir);
    jobs.extend(FORMATS.map(|format| Job { path: path.clone(), format, piece_length: 16_384, links: false }));
    assert_agree(&jobs);
}

#[cfg(unix)]
#[test]
fn libtorrent_makes_the_same_bytes_of_links() {
    if !is_there("libtorrent", Command::new(PYTHON).args(["-c", "import libtorrent"])) {
        return;
    }
    let (_dir, path) = tree(&[("f", &[1; 40_000]), ("d/e/g", b"x"), ("z", b"z")]);
    for (target, link) in [("f", "a"), ("d/e", "b"), ("d/e/g", "e"), ("a", "y"), ("../../f", "d/e/up")] {
        std::os::unix::fs::symlink(target, path.join(link)).unwrap();
    }
    assert_agree(&FORMATS.map(|format| Job {
        path: path.clone(),
        format,
        piece_length: 16_384,
        links: true,
    }));
}

#[test]
fn info_hashes_agree_with_mktorrent() {
    if !is_there("mktorrent", Command::new("mktorrent").arg("-h")) {
        return;
    }
    let mut rng = fastrand::Rng::with_seed(0x3c7);
    let mut noise = |length: usize| {
        let mut content = vec![0; length];
        rng.fill(&mut content);
        content
    };
    let contents: Vec<_> =
        [0, 1, 100, 32_768, 1 << 20, 70_001, 5, 0, 3, 9_000_000, 17, 18].map(&mut noise).into();
    let names = ["a.txt", "a/b", "a-b/c", "a0", "A/z", "ä/ö", "a/é", "b", "B", "z/y/x/w", "sp ace", "~"];
    let files: Vec<_> = names.iter().zip(&contents).map(|(&name, content)| (name, &content[..])).collect();
    let (dir, root) = tree(&files);
    for (path, exponent, private, source) in [
        (root.clone(), 15, false, None),
        (root.clone(), 18, true, Some("S")),
        (root.join("z"), 16, false, None),
        (root.join("z/y/x/w"), 15, false, None),
        (root.join("a0"), 20, false, None),
    ] {
        let output = dir.path().join("theirs.torrent");
        let mut command = Command::new("mktorrent");
        command.args(["-a", "http://t.example/", "-l", &exponent.to_string(), "-o"]).arg(&output);
        command.args(private.then_some("-p")).args(source.map(|source| format!("-s{source}")));
        let ran = command.arg(&path).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let theirs = Metainfo::from_bytes(&std::fs::read(&output).unwrap()).unwrap();
        std::fs::remove_file(&output).unwrap();

        let builder = Builder {
            format: Format::V1,
            piece_length: PieceLength::Exactly(1 << exponent),
            private,
            source: source.map(str::to_owned),
            ..Builder::new(&path)
        };
        let ours = builder.build(&|_| {}).unwrap().metainfo;
        assert_eq!(ours.info.info_hash(), theirs.info.info_hash(), "{} 2^{exponent}", path.display());
        assert_eq!(theirs.trackers, [["http://t.example/"]]);
        assert!(verify(&theirs.info, path.parent().unwrap(), 0, &|_| {}).is_ok());
    }
}
