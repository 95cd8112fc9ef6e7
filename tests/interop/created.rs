//! One payload, one name, whoever makes the torrent, in every version; and everyone's torrents are read and checked by the others.
//! The payloads are [`harness::tree::samples`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::foreign::libtorrent::{self, Hashes, Job};
use harness::foreign::{imdl, mktorrent, transmission};
use harness::require::say_skipped;
use harness::sandbox::Sandbox;
use harness::tree::{self, Sample};
use harness::wait::LONG;

use crate::made::{FORMATS, create, hash_without_private};

/// The least exponent of mktorrent's piece length.
const MKTORRENT_LEAST: u32 = 15;

/// Programs that run at a time.
const AT_A_TIME: usize = 6;

#[test]
fn libtorrent_agrees_on_both_hashes_and_finds_the_data_whole() {
    if !libtorrent::require() {
        return;
    }
    let (sandbox, samples) = written();
    let jobs: Vec<_> = samples
        .iter()
        .flat_map(|sample| FORMATS.map(|format| (sample, format)))
        .map(|(sample, format)| Job {
            format,
            piece_length: sample.piece_length,
            payload: sandbox.path(&sample.name),
            output: sandbox.path(format!("{}.libtorrent.{format}", sample.name)),
        })
        .collect();
    let theirs = libtorrent::create(&jobs);
    let ours = each(&jobs, |job| create(&sandbox, &job.payload, job.format, job.piece_length, &[]));
    for ((job, ours), theirs) in jobs.iter().zip(&ours).zip(&theirs) {
        let what = format!("{} of {} in {}", job.format, job.payload.display(), job.piece_length);
        assert_eq!(Hashes { v1: ours.v1.clone(), v2: ours.v2.clone() }, *theirs, "{what}");
    }
    let torrents: Vec<_> =
        jobs.iter().zip(&ours).map(|(job, made)| (made.path.clone(), where_libtorrent_looks(job))).collect();
    assert_eq!(libtorrent::check(&torrents), theirs);
    each(&jobs, |job| verify(&sandbox, &job.output));
}

#[test]
fn mktorrent_agrees_and_sprat_verifies_with_its_torrents() {
    if !mktorrent::require() {
        return;
    }
    let (sandbox, samples) = written();
    let within = |sample: &&Sample| sample.piece_length.ilog2() >= MKTORRENT_LEAST;
    let samples: Vec<_> = samples.iter().filter(within).collect();
    each(&samples, |sample| {
        let (payload, theirs) = (sandbox.path(&sample.name), sandbox.path(format!("{}.theirs", sample.name)));
        mktorrent::create(&payload, &theirs, sample.piece_length.ilog2(), "http://tracker.example/announce");
        let ours = create(&sandbox, &payload, "v1", sample.piece_length, &[]);
        assert_eq!(ours.v1, shown_v1(&sandbox, &theirs), "{}", sample.name);
        verify(&sandbox, &theirs);
    });
}

#[test]
fn transmission_agrees_on_pieces_and_sprat_verifies_with_its_torrents() {
    if !transmission::require_create() {
        return;
    }
    let (sandbox, samples) = written();
    each(&samples, |sample| {
        let (payload, theirs) = (sandbox.path(&sample.name), sandbox.path(format!("{}.theirs", sample.name)));
        transmission::create(&payload, &theirs, sample.piece_length);
        verify(&sandbox, &theirs);
        // It leaves out empty files, and has an order of its own: case is folded.
        if sample.single {
            let ours = create(&sandbox, &payload, "v1", sample.piece_length, &[]);
            assert_eq!(ours.v1, Some(hash_without_private(&theirs)), "{}", sample.name);
        }
    });
}

#[test]
fn intermodal_agrees_and_sprat_verifies_with_its_torrents() {
    if !imdl::is_installed() {
        return say_skipped("imdl is not installed");
    }
    let (sandbox, samples) = written();
    each(&samples, |sample| {
        let (payload, theirs) = (sandbox.path(&sample.name), sandbox.path(format!("{}.theirs", sample.name)));
        imdl::create(&payload, &theirs, sample.piece_length);
        verify(&sandbox, &theirs);
        // It sorts by directory even in v1.
        if sample.single {
            let ours = create(&sandbox, &payload, "v1", sample.piece_length, &[]);
            assert_eq!(ours.v1, shown_v1(&sandbox, &theirs), "{}", sample.name);
        }
    });
}

/// All samples, in a directory.
fn written() -> (Sandbox, Vec<Sample>) {
    let (sandbox, samples) = (Sandbox::new(), tree::samples());
    assert!(samples.len() >= 30, "{} samples", samples.len());
    samples.iter().for_each(|sample| drop(sample.write(sandbox.root())));
    (sandbox, samples)
}

/// The directory that holds what libtorrent takes the torrent to be of. To BEP 52 a lone file at the root of the file tree is all there
/// is, whatever the torrent's name: libtorrent does not look for the directory from which it was made.
fn where_libtorrent_looks(job: &Job) -> PathBuf {
    let lone = job.format == "v2" && {
        let inside: Vec<_> = tree::listing(&job.payload).into_iter().skip(1).collect();
        matches!(&inside[..], [(_, Some(_))])
    };
    let above = job.payload.parent().expect("it lies in the sandbox");
    if lone { job.payload.clone() } else { above.to_owned() }
}

/// `sprat verify` finds the data whole.
#[track_caller]
fn verify(sandbox: &Sandbox, torrent: &Path) {
    sandbox.sprat("verify").arg(torrent).arg(sandbox.root()).run(LONG).expect(0);
}

#[track_caller]
fn shown_v1(sandbox: &Sandbox, torrent: &PathBuf) -> Option<String> {
    let shown = sandbox.sprat("show").arg(torrent).arg("--json").run(LONG).expect(0).stdout();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("one JSON document");
    shown["info_hash_v1"].as_str().map(str::to_owned)
}

/// Does `work` for all items, some at a time, and gives what comes of it in their order.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(number) else { return done };
                done.push((number, work(item)));
            }
        };
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        let finished = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        finished.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
