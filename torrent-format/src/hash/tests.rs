use sha1::Digest as _;

use super::*;

/// Around the ends of blocks and leaves, and a few of any length.
fn lengths(rng: &mut fastrand::Rng, count: usize) -> Vec<usize> {
    let near = [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 16_383, 16_384, 16_385];
    let any = |rng: &mut fastrand::Rng| if rng.bool() { rng.usize(..300) } else { rng.usize(..40_000) };
    (0..count).map(|_| if rng.bool() { near[rng.usize(..near.len())] } else { any(rng) }).collect()
}

fn random_bytes(rng: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
}

fn sha1_of(message: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(message).into()
}

fn sha256_of(message: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(message).into()
}

fn whole_messages(rng: &mut fastrand::Rng, count: usize) {
    let messages: Vec<_> = lengths(rng, count).into_iter().map(|length| random_bytes(rng, length)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let (mut sha1, mut sha256) = (vec![[1; 20]], vec![[1; 32]]);
    sha1_each(&messages, &mut sha1);
    sha256_each(&messages, &mut sha256);
    let expected = |message: &&[u8]| (sha1_of(message), sha256_of(message));
    let found: Vec<_> = sha1.into_iter().zip(sha256).collect();
    let first = ([1; 20], [1; 32]);
    assert_eq!(found, std::iter::once(first).chain(messages.iter().map(expected)).collect::<Vec<_>>());
}

type Zeros<A> = fn(&mut [State<A>], &[u64]);

/// Each message comes in up to five parts of any lengths; all go on together. `zeros` hashes parts that are zeros.
fn messages_in_parts<A: Algorithm<Digest: PartialEq>>(
    rng: &mut fastrand::Rng,
    count: usize,
    zeros: Option<Zeros<A>>,
    expected: fn(&[u8]) -> A::Digest,
) {
    let mut states = vec![State::<A>::new(); count];
    let mut messages = vec![Vec::new(); count];
    for _ in 0..rng.usize(1..=5) {
        let lengths = lengths(rng, count);
        let parts = match zeros {
            Some(zeros) if rng.bool() => {
                zeros(&mut states, &lengths.iter().map(|&length| length as u64).collect::<Vec<_>>());
                lengths.iter().map(|&length| vec![0; length]).collect::<Vec<_>>()
            }
            _ => {
                let parts: Vec<_> = lengths.iter().map(|&length| random_bytes(rng, length)).collect();
                update_each(&mut states, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
                parts
            }
        };
        messages.iter_mut().zip(&parts).for_each(|(message, part)| message.extend_from_slice(part));
    }
    let mut digests = Vec::new();
    finish_each(&states, &mut digests);
    let expected: Vec<_> = messages.iter().map(|message| expected(message)).collect();
    assert_eq!(digests, expected);
    assert_eq!(states.iter().map(State::finish).collect::<Vec<_>>(), expected);
    assert!(states.iter().zip(&messages).all(|(state, message)| state.length() == message.len() as u64));
}

fn leaves_and_parents(rng: &mut fastrand::Rng, length: usize) {
    let data = random_bytes(rng, length);
    let mut leaves = Vec::new();
    leaf_hashes(&data, &mut leaves);
    assert_eq!(leaves, data.chunks(16_384).map(sha256_of).collect::<Vec<_>>(), "{length}");
    let mut parents = Vec::new();
    parent_hashes(&leaves, &mut parents);
    let pairs = leaves.chunks_exact(2).map(|pair| sha256_of(pair.as_flattened()));
    assert_eq!(parents, pairs.collect::<Vec<_>>(), "{length}");
}

/// The one test that sets the limit, which is the whole process's. Whatever it is, the others hold.
#[test]
fn every_kernel_that_the_cpu_has_agrees_with_the_crates() {
    let fastest = kernel();
    for limit in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
        limit_kernel(limit);
        assert_eq!(kernel(), limit);
        let mut rng = fastrand::Rng::with_seed(42);
        for count in 1..=40 {
            whole_messages(&mut rng, count);
            messages_in_parts::<Sha1>(&mut rng, count, Some(zeros_each), sha1_of);
            messages_in_parts::<Sha256>(&mut rng, count, None, sha256_of);
        }
        whole_messages(&mut rng, 300);
        for length in [0, 1, 16_383, 16_384, 16_385, 3 * 16_384, 17 * 16_384 + 5, 260 * 16_384 - 1] {
            leaves_and_parents(&mut rng, length);
        }
        let long: Vec<_> =
            [3_000_001, 4_194_304, 1_999_999].map(|length| random_bytes(&mut rng, length)).into();
        let (mut sha1, mut sha256) = (Vec::new(), Vec::new());
        let long: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
        sha1_each(&long, &mut sha1);
        sha256_each(&long, &mut sha256);
        assert_eq!(sha1, long.iter().map(|message| sha1_of(message)).collect::<Vec<_>>());
        assert_eq!(sha256, long.iter().map(|message| sha256_of(message)).collect::<Vec<_>>());
    }
    limit_kernel(fastest);
}

#[test]
fn nothing_in_nothing_out() {
    sha1_each(&[], &mut Vec::new());
    update_each::<Sha256>(&mut [], &[]);
    zeros_each(&mut [], &[]);
    let mut digests = Vec::new();
    finish_each(&[Sha1State::new()], &mut digests);
    assert_eq!(digests, [sha1_of(b"")]);
}

#[test]
fn kernels_go_by_name() {
    for kernel in Kernel::ALL {
        assert_eq!(kernel.to_string().parse(), Ok(kernel));
    }
    let error = "neon".parse::<Kernel>().unwrap_err();
    assert_eq!(error.to_string(), "`neon` is none of portable, avx2, sha-ni, avx512");
}
