//! Sixteen messages at a time, in AVX-512's vectors.
#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use std::arch::x86_64::*;

use super::Block;
use super::constants::{SHA1_K, SHA256_K};
use super::lanes::{sha1_block, sha1_lanes, sha1_round, sha1_rounds, sha1_term, sha1_zeros_lanes};
use super::lanes::{sha256_lanes, sha256_round, sha256_rounds};
use super::schedule::fewest;

/// Messages in flight.
pub(super) const LANES: usize = 16;

sha1_lanes!("avx512f,avx512bw");
sha1_zeros_lanes!("avx512f");
sha256_lanes!("avx512f,avx512bw");

#[target_feature(enable = "avx512f")]
pub(super) fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[target_feature(enable = "avx512f")]
pub(super) fn xor(a: __m512i, b: __m512i) -> __m512i {
    _mm512_xor_si512(a, b)
}

#[target_feature(enable = "avx512f")]
pub(super) fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// The bits of `b` where `a` has ones, of `c` where it has zeros.
#[target_feature(enable = "avx512f")]
pub(super) fn choose(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

#[target_feature(enable = "avx512f")]
pub(super) fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[target_feature(enable = "avx512f")]
pub(super) fn rotate_left<const N: i32, const REST: i32>(a: __m512i) -> __m512i {
    _mm512_rol_epi32::<N>(a)
}

#[target_feature(enable = "avx512f")]
pub(super) fn shift_right<const N: u32>(a: __m512i) -> __m512i {
    _mm512_srli_epi32::<N>(a)
}

#[target_feature(enable = "avx512f")]
pub(super) fn splat(a: u32) -> __m512i {
    _mm512_set1_epi32(a.cast_signed())
}

#[target_feature(enable = "avx512f")]
pub(super) fn load(words: &[u32; 16]) -> __m512i {
    // SAFETY: sixteen words are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
pub(super) fn store(words: &mut [u32; 16], vector: __m512i) {
    // SAFETY: sixteen words are 64 bytes.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
}

#[target_feature(enable = "avx512f")]
fn load_words<const WORDS: usize>(words: &[[u32; LANES]; WORDS]) -> [__m512i; WORDS] {
    let mut state = [splat(0); WORDS];
    for (vector, word) in state.iter_mut().zip(words) {
        *vector = load(word);
    }
    state
}

#[target_feature(enable = "avx512f")]
fn store_words<const WORDS: usize>(words: &mut [[u32; LANES]; WORDS], state: [__m512i; WORDS]) {
    for (word, vector) in words.iter_mut().zip(state) {
        store(word, vector);
    }
}

/// Block `index` of every message: vector `i` is the `i`-th word of all of them.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_blocks(blocks: &[&[Block]; LANES], index: usize) -> [__m512i; 16] {
    let big_endian = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let row = |lane: usize| {
        // SAFETY: a block is 64 bytes long.
        let row = unsafe { _mm512_loadu_si512(blocks[lane][index].as_ptr().cast()) };
        _mm512_shuffle_epi8(row, big_endian)
    };
    // Not a loop: the compiler would keep it, with the rows in memory.
    macro_rules! rows { ($($lane:literal)*) => { [$(row($lane)),*] } }
    transpose(rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15))
}

#[target_feature(enable = "avx512f")]
fn transpose(r: [__m512i; 16]) -> [__m512i; 16] {
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    // Column c of rows 4i..4i+4, for each 128-bit part.
    let mut u = t;
    for i in 0..4 {
        u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    // u[4i + c] has parts p = 0..4: rows 4i.., word 4p + c.
    let mut w = u;
    for c in 0..4 {
        let x0 = _mm512_shuffle_i32x4::<0x44>(u[c], u[4 + c]);
        let x1 = _mm512_shuffle_i32x4::<0xee>(u[c], u[4 + c]);
        let y0 = _mm512_shuffle_i32x4::<0x44>(u[8 + c], u[12 + c]);
        let y1 = _mm512_shuffle_i32x4::<0xee>(u[8 + c], u[12 + c]);
        w[c] = _mm512_shuffle_i32x4::<0x88>(x0, y0);
        w[4 + c] = _mm512_shuffle_i32x4::<0xdd>(x0, y0);
        w[8 + c] = _mm512_shuffle_i32x4::<0x88>(x1, y1);
        w[12 + c] = _mm512_shuffle_i32x4::<0xdd>(x1, y1);
    }
    w
}
