//! Thirty-two messages at a time, in pairs of AVX-512's vectors: where one vector's operations wait for each other, two fill the wait.
//! Not so for SHA-1, whose two states and schedules don't fit into the registers.

use std::arch::x86_64::__m512i;

use super::Block;
use super::avx512 as one;
use super::constants::{SHA1_K, SHA256_K};
use super::lanes::{sha1_block, sha1_round, sha1_rounds, sha1_term, sha1_zeros_lanes};
use super::lanes::{sha256_lanes, sha256_round, sha256_rounds};
use super::schedule::fewest;

/// Messages in flight.
pub(super) const LANES: usize = 32;

type Pair = [__m512i; 2];

sha1_zeros_lanes!("avx512f");
sha256_lanes!("avx512f,avx512bw");

#[target_feature(enable = "avx512f")]
fn add(a: Pair, b: Pair) -> Pair {
    [one::add(a[0], b[0]), one::add(a[1], b[1])]
}

#[target_feature(enable = "avx512f")]
fn xor3(a: Pair, b: Pair, c: Pair) -> Pair {
    [one::xor3(a[0], b[0], c[0]), one::xor3(a[1], b[1], c[1])]
}

#[target_feature(enable = "avx512f")]
fn choose(a: Pair, b: Pair, c: Pair) -> Pair {
    [one::choose(a[0], b[0], c[0]), one::choose(a[1], b[1], c[1])]
}

#[target_feature(enable = "avx512f")]
fn majority(a: Pair, b: Pair, c: Pair) -> Pair {
    [one::majority(a[0], b[0], c[0]), one::majority(a[1], b[1], c[1])]
}

#[target_feature(enable = "avx512f")]
fn rotate_left<const N: i32, const REST: i32>(a: Pair) -> Pair {
    [one::rotate_left::<N, REST>(a[0]), one::rotate_left::<N, REST>(a[1])]
}

#[target_feature(enable = "avx512f")]
fn shift_right<const N: u32>(a: Pair) -> Pair {
    [one::shift_right::<N>(a[0]), one::shift_right::<N>(a[1])]
}

#[target_feature(enable = "avx512f")]
fn splat(a: u32) -> Pair {
    [one::splat(a); 2]
}

#[target_feature(enable = "avx512f")]
fn load_words<const WORDS: usize>(words: &[[u32; LANES]; WORDS]) -> [Pair; WORDS] {
    let mut state = [splat(0); WORDS];
    for (pair, word) in state.iter_mut().zip(words) {
        for (vector, half) in pair.iter_mut().zip(word.as_chunks().0) {
            *vector = one::load(half);
        }
    }
    state
}

#[target_feature(enable = "avx512f")]
fn store_words<const WORDS: usize>(words: &mut [[u32; LANES]; WORDS], state: [Pair; WORDS]) {
    for (word, pair) in words.iter_mut().zip(state) {
        for (half, vector) in word.as_chunks_mut().0.iter_mut().zip(pair) {
            one::store(half, vector);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn load_blocks(blocks: &[&[Block]; LANES], index: usize) -> [Pair; 16] {
    let (halves, _) = blocks.as_chunks();
    let (low, high) = (one::load_blocks(&halves[0], index), one::load_blocks(&halves[1], index));
    let mut words = [splat(0); 16];
    for (pair, halves) in words.iter_mut().zip(low.into_iter().zip(high)) {
        *pair = [halves.0, halves.1];
    }
    words
}
