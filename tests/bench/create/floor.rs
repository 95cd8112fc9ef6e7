//! What the hardware can do: all cores running the fastest kernels over bytes that are in this process's memory already. No file
//! is opened or read, no list is made.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use harness::bench::machine::cores;
use harness::bench::usage::cpu_of_self;
use harness::wait::Stopwatch;
use torrent_format::BLOCK_LENGTH;
use torrent_format::hash::{self, Sha1State, update_each};

use crate::contenders::Format;
use crate::measure::Run;

/// Of a larger file, only so much is hashed, again and again: far more than any cache holds, and no burden on the memory that
/// caches the payload.
const HELD: u64 = 1 << 30;

/// The most messages that any kernel takes at a time.
const LANES: usize = 16;

/// Bytes of each piece in one step: a leaf of v2.
const STEP: usize = BLOCK_LENGTH as usize;

/// The floor of one format.
#[derive(Debug)]
pub(crate) struct Floor {
    format: Format,
    file: PathBuf,
    piece_length: u32,
}

impl Floor {
    pub(crate) fn new(format: Format, file: &Path, piece_length: u32) -> Self {
        Self { format, file: file.to_owned(), piece_length }
    }

    /// Which kernels.
    pub(crate) fn kernels(&self) -> String {
        hash::kernel().to_string()
    }

    /// Reads the bytes, then times the hashing alone.
    pub(crate) fn run(&self) -> Run {
        let size = self.file.metadata().expect("it was written").len();
        let mut bytes = Vec::with_capacity(size.min(HELD) as usize);
        let file = File::open(&self.file).expect("it was written");
        file.take(HELD).read_to_end(&mut bytes).expect("it can be read");
        let share = bytes.len().div_ceil(cores()).next_multiple_of(self.piece_length as usize);
        let before = cpu_of_self();
        let stopwatch = Stopwatch::start();
        std::thread::scope(|scope| {
            for share in bytes.chunks(share) {
                scope.spawn(|| self.hash(share));
            }
        });
        let seconds = stopwatch.elapsed().as_secs_f64();
        let whole = size as f64 / bytes.len() as f64;
        Run { seconds: seconds * whole, cpu: (cpu_of_self() - before) * whole }
    }

    /// Sixteen pieces at a time, as many as the widest kernel has lanes, in steps that the core's own cache holds; for a hybrid both
    /// hashes a step.
    fn hash(&self, share: &[u8]) {
        let piece_length = self.piece_length as usize;
        let mut leaves = Vec::new();
        for group in share.chunks(LANES * piece_length) {
            let mut pieces: Vec<_> = group.chunks(piece_length).map(|piece| piece.chunks(STEP)).collect();
            let mut states = vec![Sha1State::new(); pieces.len()];
            for _ in 0..piece_length / STEP {
                // Those that have ended, as the last may, get nothing more.
                let parts: Vec<&[u8]> =
                    pieces.iter_mut().map(|piece| piece.next().unwrap_or_default()).collect();
                if self.format != Format::V2 {
                    update_each(&mut states, &parts);
                }
                if self.format != Format::V1 {
                    leaves.clear();
                    hash::sha256_each(&parts, &mut leaves);
                }
            }
            std::hint::black_box((&states, &leaves));
        }
    }
}
