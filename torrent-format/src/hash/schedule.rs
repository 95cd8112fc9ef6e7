//! Which message goes through which lane, when.

use super::Block;

/// A message to go on with: the state of its hash, and the blocks to take in.
#[derive(Debug)]
pub struct Job<'a, W, B> {
    pub(super) words: &'a mut W,
    pub(super) blocks: B,
}

/// Blocks in a row: those of a slice, or so many of zeros.
pub(super) trait Blocks: Copy {
    fn count(self) -> u64;

    /// The first `count` of them, and the others.
    fn split(self, count: u64) -> (Self, Self);
}

impl Blocks for &[Block] {
    fn count(self) -> u64 {
        self.len() as u64
    }

    fn split(self, count: u64) -> (Self, Self) {
        self.split_at(count as usize)
    }
}

impl Blocks for u64 {
    fn count(self) -> u64 {
        self
    }

    fn split(self, count: u64) -> (Self, Self) {
        (count, self - count)
    }
}

/// How many blocks all of these have.
pub(super) fn fewest<B: Blocks>(messages: &[B]) -> usize {
    messages.iter().map(|blocks| blocks.count()).min().map_or(0, |count| count as usize)
}

/// Runs `compress` over as many jobs at a time as it has lanes, each lane getting a new job when its last is through, for as long
/// as `least` lanes are in use. Jobs that are through are taken off the list.
pub(super) fn run<const LANES: usize, const WORDS: usize, B: Blocks>(
    jobs: &mut Vec<Job<'_, [u32; WORDS], B>>,
    least: usize,
    compress: impl Fn(&mut [[u32; LANES]; WORDS], &[B; LANES]),
) {
    if jobs.len() < least {
        return;
    }
    let mut words = [[0; LANES]; WORDS];
    let mut lanes: [Option<Job<'_, [u32; WORDS], B>>; LANES] = [const { None }; LANES];
    loop {
        for (lane, slot) in lanes.iter_mut().enumerate() {
            if slot.is_none()
                && let Some(job) = jobs.pop()
            {
                for (word, value) in words.iter_mut().zip(&*job.words) {
                    word[lane] = *value;
                }
                *slot = Some(job);
            }
        }
        let in_use = || lanes.iter().flatten();
        let Some(shortest) = in_use().map(|job| job.blocks).min_by_key(|blocks| blocks.count()) else {
            return;
        };
        if in_use().count() < least {
            break;
        }
        // A lane that is not in use takes part all the same, and what comes out of it is ignored.
        let count = shortest.count();
        let blocks = std::array::from_fn(|lane| {
            lanes[lane].as_ref().map_or(shortest, |job| job.blocks.split(count).0)
        });
        compress(&mut words, &blocks);
        for (lane, slot) in lanes.iter_mut().enumerate() {
            let Some(job) = slot else { continue };
            job.blocks = job.blocks.split(count).1;
            if job.blocks.count() == 0 {
                store(&words, lane, job);
                *slot = None;
            }
        }
    }
    for (lane, slot) in lanes.into_iter().enumerate() {
        if let Some(mut job) = slot {
            store(&words, lane, &mut job);
            jobs.push(job);
        }
    }
}

fn store<const LANES: usize, const WORDS: usize, B>(
    words: &[[u32; LANES]; WORDS],
    lane: usize,
    job: &mut Job<'_, [u32; WORDS], B>,
) {
    *job.words = words.each_ref().map(|word| word[lane]);
}
