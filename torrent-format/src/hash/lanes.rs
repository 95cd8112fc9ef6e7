//! SHA-1 and SHA-256 written once, over vectors whose lane `i` belongs to message `i`.
//!
//! A vector type brings its few operations (`add`, `rotate_left`, …) and its loading of blocks; the macros here are instantiated
//! beside them, so that everything is compiled for, and inlined into, a function of that target feature.

/// `sha1`: as many blocks as the shortest of `blocks` has, of each message.
macro_rules! sha1_lanes {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(in crate::hash) fn sha1(words: &mut [[u32; LANES]; 5], blocks: &[&[Block]; LANES]) {
            let mut state = load_words(words);
            for index in 0..fewest(blocks) {
                let mut w = load_blocks(blocks, index);
                sha1_block!(state, [w]);
            }
            store_words(words, state);
        }
    };
}

/// `sha1_zeros`: as many blocks of zeros as the least of `counts`, of each message.
macro_rules! sha1_zeros_lanes {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(in crate::hash) fn sha1_zeros(words: &mut [[u32; LANES]; 5], counts: &[u64; LANES]) {
            let mut state = load_words(words);
            for _ in 0..fewest(counts) {
                sha1_block!(state, []);
            }
            store_words(words, state);
        }
    };
}

/// Takes in the block of these words; without words, one of zeros.
macro_rules! sha1_block {
    ($state:ident, $w:tt) => {
        let [mut a, mut b, mut c, mut d, mut e] = $state;
        sha1_rounds!($w, a b c d e, choose, SHA1_K[0], 0 5 10 15);
        sha1_rounds!($w, a b c d e, xor3, SHA1_K[1], 20 25 30 35);
        sha1_rounds!($w, a b c d e, majority, SHA1_K[2], 40 45 50 55);
        sha1_rounds!($w, a b c d e, xor3, SHA1_K[3], 60 65 70 75);
        let [a0, b0, c0, d0, e0] = $state;
        $state = [add(a0, a), add(b0, b), add(c0, c), add(d0, d), add(e0, e)];
    };
}

macro_rules! sha1_rounds {
    ($w:tt, $a:ident $b:ident $c:ident $d:ident $e:ident, $f:ident, $k:expr, $($t:literal)*) => {
        let k = splat($k);
        $(
            sha1_round!($w, $t, $f, k, $a $b $c $d $e);
            sha1_round!($w, $t + 1, $f, k, $e $a $b $c $d);
            sha1_round!($w, $t + 2, $f, k, $d $e $a $b $c);
            sha1_round!($w, $t + 3, $f, k, $c $d $e $a $b);
            sha1_round!($w, $t + 4, $f, k, $b $c $d $e $a);
        )*
    };
}

macro_rules! sha1_round {
    ($w:tt, $t:expr, $f:ident, $k:ident, $a:ident $b:ident $c:ident $d:ident $e:ident) => {
        let sum = add(add($e, sha1_term!($w, $t, $k)), $f($b, $c, $d));
        $e = add(sum, rotate_left::<5, 27>($a));
        $b = rotate_left::<30, 2>($b);
    };
}

/// What a round adds: its constant, and its word of the message schedule.
macro_rules! sha1_term {
    ([$w:ident], $t:expr, $k:ident) => {{
        let t = $t;
        if t >= 16 {
            let sum = xor3($w[(t - 3) % 16], $w[(t - 8) % 16], $w[(t - 14) % 16]);
            $w[t % 16] = rotate_left::<1, 31>(xor(sum, $w[t % 16]));
        }
        add($w[t % 16], $k)
    }};
    // The whole schedule of a block of zeros is zeros.
    ([], $t:expr, $k:ident) => {
        $k
    };
}

/// `sha256`: as many blocks as the shortest of `blocks` has, of each message.
macro_rules! sha256_lanes {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(in crate::hash) fn sha256(words: &mut [[u32; LANES]; 8], blocks: &[&[Block]; LANES]) {
            let mut state = load_words(words);
            for index in 0..fewest(blocks) {
                let mut w = load_blocks(blocks, index);
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                sha256_rounds!(w, a b c d e f g h, 0 8 16 24 32 40 48 56);
                let [a0, b0, c0, d0, e0, f0, g0, h0] = state;
                state = [
                    add(a0, a), add(b0, b), add(c0, c), add(d0, d), add(e0, e), add(f0, f), add(g0, g), add(h0, h),
                ];
            }
            store_words(words, state);
        }
    };
}

macro_rules! sha256_rounds {
    ($w:ident, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $($t:literal)*) => {$(
        sha256_round!($w, $t, $a $b $c $d $e $f $g $h);
        sha256_round!($w, $t + 1, $h $a $b $c $d $e $f $g);
        sha256_round!($w, $t + 2, $g $h $a $b $c $d $e $f);
        sha256_round!($w, $t + 3, $f $g $h $a $b $c $d $e);
        sha256_round!($w, $t + 4, $e $f $g $h $a $b $c $d);
        sha256_round!($w, $t + 5, $d $e $f $g $h $a $b $c);
        sha256_round!($w, $t + 6, $c $d $e $f $g $h $a $b);
        sha256_round!($w, $t + 7, $b $c $d $e $f $g $h $a);
    )*};
}

macro_rules! sha256_round {
    ($w:ident, $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        let t = $t;
        if t >= 16 {
            let (w1, w14) = ($w[(t - 15) % 16], $w[(t - 2) % 16]);
            let sigma0 = xor3(rotate_left::<25, 7>(w1), rotate_left::<14, 18>(w1), shift_right::<3>(w1));
            let sigma1 = xor3(rotate_left::<15, 17>(w14), rotate_left::<13, 19>(w14), shift_right::<10>(w14));
            $w[t % 16] = add(add($w[t % 16], sigma0), add($w[(t - 7) % 16], sigma1));
        }
        let sum1 = xor3(rotate_left::<26, 6>($e), rotate_left::<21, 11>($e), rotate_left::<7, 25>($e));
        let sum0 = xor3(rotate_left::<30, 2>($a), rotate_left::<19, 13>($a), rotate_left::<10, 22>($a));
        let t1 = add(add($h, add($w[t % 16], splat(SHA256_K[t]))), add(choose($e, $f, $g), sum1));
        $d = add($d, t1);
        $h = add(t1, add(sum0, majority($a, $b, $c)));
    };
}

pub(super) use {sha1_block, sha1_lanes, sha1_round, sha1_rounds, sha1_term, sha1_zeros_lanes};
pub(super) use {sha256_lanes, sha256_round, sha256_rounds};
