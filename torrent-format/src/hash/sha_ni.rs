//! Two messages at a time, by the SHA extensions: one stream waits for each instruction's result, two fill the wait.
#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use std::arch::x86_64::*;

use super::Block;
use super::constants::SHA256_K;
use super::schedule::fewest;

/// Messages in flight.
pub(super) const LANES: usize = 2;

/// As many blocks as the shortest of `blocks` has, of each message.
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn sha1(words: &mut [[u32; LANES]; 5], blocks: &[&[Block]; LANES]) {
    // The extensions want `a` in the highest word, and `e` in the highest of a vector of its own.
    let mut abcd =
        [0, 1].map(|lane| vector([words[3][lane], words[2][lane], words[1][lane], words[0][lane]]));
    let mut e = [0, 1].map(|lane| vector([0, 0, 0, words[4][lane]]));
    // Big-endian words, the first in the highest place.
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    for index in 0..fewest(blocks) {
        let mut w = load_blocks(blocks, index, order);
        let (abcd0, e0) = (abcd, e);
        let mut previous = e;
        // Four rounds a step; the function and constant change every five steps.
        macro_rules! rounds {
            ($($step:literal)*, $function:literal) => {$(
                for lane in [0, 1] {
                    let w = &mut w[lane];
                    if $step >= 4 {
                        let sum = _mm_xor_si128(_mm_sha1msg1_epu32(w[$step % 4], w[($step + 1) % 4]), w[($step + 2) % 4]);
                        w[$step % 4] = _mm_sha1msg2_epu32(sum, w[($step + 3) % 4]);
                    }
                    let w = w[$step % 4];
                    let sum = if $step == 0 { _mm_add_epi32(previous[lane], w) } else { _mm_sha1nexte_epu32(previous[lane], w) };
                    previous[lane] = abcd[lane];
                    abcd[lane] = _mm_sha1rnds4_epu32::<$function>(abcd[lane], sum);
                }
            )*};
        }
        rounds!(0 1 2 3 4, 0);
        rounds!(5 6 7 8 9, 1);
        rounds!(10 11 12 13 14, 2);
        rounds!(15 16 17 18 19, 3);
        for lane in [0, 1] {
            abcd[lane] = _mm_add_epi32(abcd[lane], abcd0[lane]);
            e[lane] = _mm_sha1nexte_epu32(previous[lane], e0[lane]);
        }
    }
    for lane in [0, 1] {
        let [d, c, b, a] = array(abcd[lane]);
        let [_, _, _, e] = array(e[lane]);
        for (word, value) in words.iter_mut().zip([a, b, c, d, e]) {
            word[lane] = value;
        }
    }
}

/// As many blocks as the shortest of `blocks` has, of each message.
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn sha256(words: &mut [[u32; LANES]; 8], blocks: &[&[Block]; LANES]) {
    let mut abef =
        [0, 1].map(|lane| vector([words[5][lane], words[4][lane], words[1][lane], words[0][lane]]));
    let mut cdgh =
        [0, 1].map(|lane| vector([words[7][lane], words[6][lane], words[3][lane], words[2][lane]]));
    // Big-endian words, the first in the lowest place.
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    for index in 0..fewest(blocks) {
        let mut w = load_blocks(blocks, index, order);
        let (abef0, cdgh0) = (abef, cdgh);
        for step in 0..16 {
            let k = vector(SHA256_K.as_chunks().0[step]);
            for lane in [0, 1] {
                let w = &mut w[lane];
                if step >= 4 {
                    let seventh = _mm_alignr_epi8::<4>(w[(step + 3) % 4], w[(step + 2) % 4]);
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[step % 4], w[(step + 1) % 4]), seventh);
                    w[step % 4] = _mm_sha256msg2_epu32(sum, w[(step + 3) % 4]);
                }
                let kw = _mm_add_epi32(w[step % 4], k);
                cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], kw);
                abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32::<0x0e>(kw));
            }
        }
        for lane in [0, 1] {
            abef[lane] = _mm_add_epi32(abef[lane], abef0[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh0[lane]);
        }
    }
    for lane in [0, 1] {
        let [f, e, b, a] = array(abef[lane]);
        let [h, g, d, c] = array(cdgh[lane]);
        for (word, value) in words.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            word[lane] = value;
        }
    }
}

/// A vector of four words, the first in the lowest place.
#[target_feature(enable = "sse2")]
fn vector(words: [u32; 4]) -> __m128i {
    // SAFETY: four words are 16 bytes.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[target_feature(enable = "sse2")]
fn array(vector: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: four words are 16 bytes.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) };
    words
}

/// Block `index` of every message, four words to a vector.
#[target_feature(enable = "ssse3")]
fn load_blocks(blocks: &[&[Block]; LANES], index: usize, order: __m128i) -> [[__m128i; 4]; LANES] {
    let mut w = [[order; 4]; LANES];
    for (w, blocks) in w.iter_mut().zip(blocks) {
        for (words, quarter) in w.iter_mut().zip(blocks[index].as_chunks::<16>().0) {
            // SAFETY: a quarter is 16 bytes long.
            *words = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(quarter.as_ptr().cast()) }, order);
        }
    }
    w
}
