//! What tells SHA-1 from SHA-256, and which kernel takes which of the messages.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "a function that wants a CPU feature may only be called where there is one"
    )
)]

use std::fmt::Debug;

use super::Block;
use super::schedule::Job;
#[cfg(target_arch = "x86_64")]
use super::{Kernel::*, avx2, avx512, avx512_pair, schedule::run, sha_ni};

/// A hash algorithm: [`Sha1`] or [`Sha256`].
pub trait Algorithm: Clone + Debug + sealed::Sealed + 'static {
    /// The state between two blocks.
    type Words: Copy + Debug + Send + Sync;
    /// What comes out.
    type Digest: Copy + Debug;
    /// The state before the first block.
    #[doc(hidden)]
    const INITIAL: Self::Words;

    /// Takes in all blocks of every job.
    #[doc(hidden)]
    fn compress_each(jobs: Vec<Job<'_, Self::Words, &[Block]>>);

    /// The digest that this state is, after the last block.
    #[doc(hidden)]
    fn digest(words: &Self::Words) -> Self::Digest;
}

/// SHA-1 (RFC 3174): pieces and info hashes of v1.
#[derive(Clone, Copy, Debug)]
pub enum Sha1 {}

/// SHA-256 (RFC 6234): leaves, nodes and info hashes of v2.
#[derive(Clone, Copy, Debug)]
pub enum Sha256 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Sha1 {}
    impl Sealed for super::Sha256 {}
}

// The least numbers of messages, here and below: measured on Zen 5, where the lanes overtake what would take the messages otherwise.

impl Algorithm for Sha1 {
    type Words = [u32; 5];
    type Digest = [u8; 20];
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

    fn compress_each(mut jobs: Vec<Job<'_, [u32; 5], &[Block]>>) {
        jobs.retain(|job| !job.blocks.is_empty());
        #[cfg(target_arch = "x86_64")]
        {
            if Avx512.is_usable() {
                let least = if ShaNi.is_usable() { 6 } else { 2 };
                // SAFETY: the CPU has the features.
                run(&mut jobs, least, |words, blocks| unsafe { avx512::sha1(words, blocks) });
            }
            if ShaNi.is_usable() {
                // SAFETY: the CPU has the features.
                run(&mut jobs, 2, |words, blocks| unsafe { sha_ni::sha1(words, blocks) });
            } else if Avx2.is_usable() {
                // SAFETY: the CPU has the features.
                run(&mut jobs, 3, |words, blocks| unsafe { avx2::sha1(words, blocks) });
            }
        }
        for job in jobs {
            sha1::block_api::compress(job.words, job.blocks);
        }
    }

    fn digest(words: &[u32; 5]) -> [u8; 20] {
        digest(words)
    }
}

impl Sha1 {
    /// Takes in all the blocks of zeros of every job: half the work of blocks that have to be read.
    pub(super) fn compress_zeros_each(mut jobs: Vec<Job<'_, [u32; 5], u64>>) {
        jobs.retain(|job| job.blocks > 0);
        #[cfg(target_arch = "x86_64")]
        {
            if Avx512.is_usable() {
                // SAFETY: the CPU has the features.
                run(&mut jobs, 18, |words, counts| unsafe { avx512_pair::sha1_zeros(words, counts) });
                let least = if ShaNi.is_usable() { 4 } else { 2 };
                // SAFETY: the CPU has the features.
                run(&mut jobs, least, |words, counts| unsafe { avx512::sha1_zeros(words, counts) });
            }
            if Avx2.is_usable() {
                let least = if ShaNi.is_usable() { 5 } else { 2 };
                // SAFETY: the CPU has the features.
                run(&mut jobs, least, |words, counts| unsafe { avx2::sha1_zeros(words, counts) });
            }
        }
        static ZEROS: [Block; 64] = [[0; 64]; 64];
        while !jobs.is_empty() {
            let parts = jobs.iter_mut().map(|job| {
                let count = job.blocks.min(ZEROS.len() as u64);
                job.blocks -= count;
                Job { words: &mut *job.words, blocks: &ZEROS[..count as usize] }
            });
            Self::compress_each(parts.collect());
            jobs.retain(|job| job.blocks > 0);
        }
    }
}

impl Algorithm for Sha256 {
    type Words = [u32; 8];
    type Digest = [u8; 32];
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn compress_each(mut jobs: Vec<Job<'_, [u32; 8], &[Block]>>) {
        jobs.retain(|job| !job.blocks.is_empty());
        #[cfg(target_arch = "x86_64")]
        {
            if Avx512.is_usable() {
                // SAFETY: the CPU has the features.
                run(&mut jobs, 25, |words, blocks| unsafe { avx512_pair::sha256(words, blocks) });
                let least = if ShaNi.is_usable() { 8 } else { 2 };
                // SAFETY: the CPU has the features.
                run(&mut jobs, least, |words, blocks| unsafe { avx512::sha256(words, blocks) });
            }
            if ShaNi.is_usable() {
                // SAFETY: the CPU has the features.
                run(&mut jobs, 2, |words, blocks| unsafe { sha_ni::sha256(words, blocks) });
            } else if Avx2.is_usable() {
                // SAFETY: the CPU has the features.
                run(&mut jobs, 3, |words, blocks| unsafe { avx2::sha256(words, blocks) });
            }
        }
        for job in jobs {
            sha2::block_api::compress256(job.words, job.blocks);
        }
    }

    fn digest(words: &[u32; 8]) -> [u8; 32] {
        digest(words)
    }
}

/// Big-endian, one word after the other.
fn digest<const BYTES: usize>(words: &[u32]) -> [u8; BYTES] {
    let mut digest = [0; BYTES];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    digest
}
