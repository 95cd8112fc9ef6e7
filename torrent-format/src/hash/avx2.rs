//! Eight messages at a time, in AVX2's vectors.
#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use std::arch::x86_64::*;

use super::Block;
use super::constants::{SHA1_K, SHA256_K};
use super::lanes::{sha1_block, sha1_lanes, sha1_round, sha1_rounds, sha1_term, sha1_zeros_lanes};
use super::lanes::{sha256_lanes, sha256_round, sha256_rounds};
use super::schedule::fewest;

/// Messages in flight.
pub(super) const LANES: usize = 8;

sha1_lanes!("avx2");
sha1_zeros_lanes!("avx2");
sha256_lanes!("avx2");

#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[target_feature(enable = "avx2")]
fn xor(a: __m256i, b: __m256i) -> __m256i {
    _mm256_xor_si256(a, b)
}

#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    xor(xor(a, b), c)
}

/// The bits of `b` where `a` has ones, of `c` where it has zeros.
#[target_feature(enable = "avx2")]
fn choose(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    xor(c, _mm256_and_si256(a, xor(b, c)))
}

#[target_feature(enable = "avx2")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}

#[target_feature(enable = "avx2")]
fn rotate_left<const N: i32, const REST: i32>(a: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<N>(a), _mm256_srli_epi32::<REST>(a))
}

#[target_feature(enable = "avx2")]
fn shift_right<const N: i32>(a: __m256i) -> __m256i {
    _mm256_srli_epi32::<N>(a)
}

#[target_feature(enable = "avx2")]
fn splat(a: u32) -> __m256i {
    _mm256_set1_epi32(a.cast_signed())
}

#[target_feature(enable = "avx2")]
fn load_words<const WORDS: usize>(words: &[[u32; LANES]; WORDS]) -> [__m256i; WORDS] {
    // SAFETY: each element is 32 bytes long.
    words.each_ref().map(|word| unsafe { _mm256_loadu_si256(word.as_ptr().cast()) })
}

#[target_feature(enable = "avx2")]
fn store_words<const WORDS: usize>(words: &mut [[u32; LANES]; WORDS], state: [__m256i; WORDS]) {
    for (word, vector) in words.iter_mut().zip(state) {
        // SAFETY: each element is 32 bytes long.
        unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), vector) };
    }
}

/// Block `index` of every message: vector `i` is the `i`-th word of all of them.
#[target_feature(enable = "avx2")]
fn load_blocks(blocks: &[&[Block]; LANES], index: usize) -> [__m256i; 16] {
    let big_endian = _mm_set_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let big_endian = _mm256_broadcastsi128_si256(big_endian);
    let row = |lane: usize, half: usize| {
        // SAFETY: a block is 64 bytes long, twice 32.
        let row = unsafe { _mm256_loadu_si256(blocks[lane][index].as_ptr().cast::<__m256i>().add(half)) };
        _mm256_shuffle_epi8(row, big_endian)
    };
    // Not loops: the compiler would keep them, with the rows in memory.
    macro_rules! rows { ($half:literal, $($lane:literal)*) => { [$(row($lane, $half)),*] } }
    let mut words = [splat(0); 16];
    words[..8].copy_from_slice(&transpose(rows!(0, 0 1 2 3 4 5 6 7)));
    words[8..].copy_from_slice(&transpose(rows!(1, 0 1 2 3 4 5 6 7)));
    words
}

#[target_feature(enable = "avx2")]
fn transpose(r: [__m256i; 8]) -> [__m256i; 8] {
    let mut t = r;
    for i in 0..4 {
        t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut u = t;
    for i in 0..2 {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    let mut w = u;
    for c in 0..4 {
        w[c] = _mm256_permute2x128_si256::<0x20>(u[c], u[4 + c]);
        w[4 + c] = _mm256_permute2x128_si256::<0x31>(u[c], u[4 + c]);
    }
    w
}
