//! The fuzz targets without a fuzzer: the corpus, and seeded mutations of it, a bounded number each.
//!
//! `tests/fuzz/run` runs the same bodies under libFuzzer for as long as it is told; what it finds is put into the corpus.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use harness::fuzz::{BENCODE, HASHES, MAGNET, METAINFO, PACKET, QUERY, Target, UTP, within_memory};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// The longest mutation, in bytes.
const LONGEST: usize = 64 * 1024;

/// How many inputs are changed on.
const POOL: usize = 500;

/// Checks the corpus of `target`, and `rounds` mutations.
#[track_caller]
fn run(target: Target, rounds: u64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let entries = std::fs::read_dir(&directory).expect("there is a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    let corpus: Vec<_> =
        paths.iter().map(|path| std::fs::read(path).expect("the corpus can be read")).collect();
    assert!(!corpus.is_empty());
    for (path, input) in paths.iter().zip(&corpus) {
        check(target, input, &path.display().to_string());
    }

    let mut rng = fastrand::Rng::with_seed(0x5eed_f022);
    // What is still read after a change is changed on: a walk away from the corpus.
    let mut pool = corpus;
    let mut read = 0;
    for round in 0..rounds {
        let from = rng.usize(..pool.len());
        let input = (target.mutate)(&mut rng, &pool[from], LONGEST);
        if check(target, &input, &format!("mutation {round}")) {
            read += 1;
            match pool.len() < POOL {
                true => pool.push(input),
                false => {
                    let at = rng.usize(paths.len()..POOL);
                    pool[at] = input;
                }
            }
        }
    }
    println!("{}: {read} of {rounds} mutations were read", target.name);
    assert!(read > rounds / 50, "{}: only {read} of {rounds} mutations were read", target.name);
}

/// Whether it was read. Keeps what does not hold, to be put into the corpus.
#[track_caller]
fn check(target: Target, input: &[u8], which: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.check)(input))).unwrap_or_else(|panic| {
        let path = std::env::temp_dir().join(format!("{}-finding", target.name));
        let kept = std::fs::write(&path, input).is_ok();
        println!("{}: {which}, {} bytes, kept at {}: {kept}", target.name, input.len(), path.display());
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn bencode_holds() {
    run(BENCODE, 60_000);
}

#[test]
fn metainfo_holds() {
    run(METAINFO, 30_000);
}

#[test]
fn magnets_hold() {
    run(MAGNET, 60_000);
}

#[test]
fn frames_and_hash_messages_hold() {
    run(HASHES, 30_000);
}

#[test]
fn queries_hold() {
    run(QUERY, 60_000);
}

#[test]
fn packets_hold() {
    run(PACKET, 60_000);
}

#[test]
fn talks_over_utp_hold() {
    run(UTP, 30_000);
}

#[test]
fn memory_is_counted() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(within_memory(0, || vec![0_u8; 1 << 19].len()), 1 << 19);
    let more = catch_unwind(|| within_memory(0, || vec![0_u8; 1 << 21].len()));
    assert!(more.is_err(), "2 MiB are too much for no input");
    assert_eq!(within_memory(1 << 19, || vec![0_u8; 1 << 21].len()), 1 << 21);
}
