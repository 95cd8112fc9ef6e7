//! SHA-1 and SHA-256: many messages in, many digests out.
//!
//! One stream of either hash is bound by latency: each step waits for the one before, however wide the CPU. A torrent is many
//! messages that don't depend on each other (pieces, 16 KiB leaves, nodes of a merkle tree), so that several can go through the
//! CPU at the same time: sixteen in AVX-512's vectors, eight in AVX2's, two by interleaved SHA instructions. What the CPU has is
//! found out at run time; what it lacks is left to the crates `sha1` and `sha2` ([`Kernel`]).
//!
//! - [`sha1_each`], [`sha256_each`]: whole messages of any lengths.
//! - [`leaf_hashes`], [`parent_hashes`]: what BEP 52's merkle trees are made of.
//! - [`Sha1State`], [`Sha256State`]: messages that come in parts, and [`update_each`], [`zeros_each`], [`finish_each`] to take many
//!   of them on together. Hand over as many as there are: from six or eight on the widest lanes are used, best are multiples of sixteen.
//!
//! This is the one room with `unsafe` code: calls of functions that want a CPU feature, which was looked for, and loads and stores
//! of arrays whose length the types guarantee.

mod algorithm;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_pair;
#[cfg(target_arch = "x86_64")]
mod constants;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "one message at a time needs no lanes"))]
mod schedule;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
mod state;
#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Sha1, Sha256};
pub use kernel::{Kernel, UnknownKernel, kernel, limit_kernel};
pub use state::{Sha1State, Sha256State, State, finish_each, update_each, zeros_each};

use crate::BLOCK_LENGTH;
use schedule::Job;

/// What both algorithms take in at a time.
type Block = [u8; 64];

/// The most messages that are prepared at a time: their states stay in the CPU's nearest cache.
const GROUP: usize = 64;

/// Appends the SHA-1 of every message.
pub fn sha1_each(messages: &[&[u8]], digests: &mut Vec<[u8; 20]>) {
    each::<Sha1>(messages, digests);
}

/// Appends the SHA-256 of every message.
pub fn sha256_each(messages: &[&[u8]], digests: &mut Vec<[u8; 32]>) {
    each::<Sha256>(messages, digests);
}

/// Appends the SHA-256 of every 16 KiB of `data`; the last may be shorter (BEP 52: the leaves of a file's merkle tree).
pub fn leaf_hashes(data: &[u8], leaves: &mut Vec<[u8; 32]>) {
    for data in data.chunks(GROUP * BLOCK_LENGTH as usize) {
        each::<Sha256>(&data.chunks(BLOCK_LENGTH as usize).collect::<Vec<_>>(), leaves);
    }
}

/// Appends the SHA-256 of every two neighbours (BEP 52: the next layer of a merkle tree). One left over is ignored.
pub fn parent_hashes(nodes: &[[u8; 32]], parents: &mut Vec<[u8; 32]>) {
    for nodes in nodes.chunks(2 * GROUP) {
        each::<Sha256>(&nodes.as_flattened().chunks_exact(64).collect::<Vec<_>>(), parents);
    }
}

fn each<A: Algorithm>(messages: &[&[u8]], digests: &mut Vec<A::Digest>) {
    for messages in messages.chunks(GROUP) {
        let mut words = vec![A::INITIAL; messages.len()];
        let (bodies, endings): (Vec<&[Block]>, Vec<_>) = messages
            .iter()
            .map(|message| {
                let (body, rest) = message.as_chunks();
                (body, Ending::new(rest, message.len() as u64))
            })
            .unzip();
        let jobs = words.iter_mut().zip(bodies).map(|(words, blocks)| Job { words, blocks });
        A::compress_each(jobs.collect());
        finish::<A>(&mut words, &endings, digests);
    }
}

/// Takes in the endings of messages of which everything else has been taken in.
fn finish<A: Algorithm>(words: &mut [A::Words], endings: &[Ending], digests: &mut Vec<A::Digest>) {
    let jobs = words.iter_mut().zip(endings);
    A::compress_each(jobs.map(|(words, ending)| Job { words, blocks: ending.blocks() }).collect());
    digests.extend(words.iter().map(A::digest));
}

/// The last blocks of a message: what is left of it, a bit, zeros, the length in bits.
struct Ending {
    blocks: [Block; 2],
    count: usize,
}

impl Ending {
    /// `rest` is shorter than a block; `length`, that of the message, is in bytes.
    fn new(rest: &[u8], length: u64) -> Self {
        let mut blocks = [[0; 64]; 2];
        blocks[0][..rest.len()].copy_from_slice(rest);
        blocks[0][rest.len()] = 0x80;
        let count = if rest.len() < 56 { 1 } else { 2 };
        blocks[count - 1][56..].copy_from_slice(&(length * 8).to_be_bytes());
        Self { blocks, count }
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks[..self.count]
    }
}
