//! What the fuzz targets have in common.

/// The allocator that counts, as in the test on stable.
pub use peak_alloc::PeakAlloc;

use harness::fuzz::Target;
use libfuzzer_sys::fuzzer_mutate;

/// Changes `data` in place as the target knows how, every other time as libFuzzer does; gives the new length.
pub fn mutate(target: Target, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut rng = fastrand::Rng::with_seed(seed.into());
    let changed = (target.mutate)(&mut rng, &data[..size], max_size);
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
}

/// The fuzz target of this name in `harness::fuzz`.
#[macro_export]
macro_rules! target {
    ($target:ident) => {
        #[global_allocator]
        static ALLOCATOR: $crate::PeakAlloc = $crate::PeakAlloc;

        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            (harness::fuzz::$target.check)(data);
        });

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate(harness::fuzz::$target, data, size, max_size, seed)
        });
    };
}
