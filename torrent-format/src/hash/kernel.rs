//! Which code hashes: what the CPU has, unless the caller wants less.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// Code that hashes several messages at a time, in order of speed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kernel {
    /// One message at a time, by the crates `sha1` and `sha2`, which use the SHA extensions of x86 and ARM where there are any.
    Portable,
    /// Eight messages at a time in AVX2's vectors: for CPUs without SHA extensions.
    Avx2,
    /// Two messages at a time by x86's SHA extensions.
    ShaNi,
    /// Sixteen messages at a time in AVX-512's vectors; few are left to the others.
    Avx512,
}

/// A name that is no kernel's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is none of portable, avx2, sha-ni, avx512")]
pub struct UnknownKernel(String);

/// The last of [`Kernel::ALL`] that may be used.
static LIMIT: AtomicU8 = AtomicU8::new(Kernel::Avx512 as u8);

/// The kernel in use when there are many messages.
pub fn kernel() -> Kernel {
    let usable = |kernel: &Kernel| kernel.is_usable();
    Kernel::ALL.into_iter().rfind(usable).unwrap_or(Kernel::Portable)
}

/// From now on, in the whole process, no faster kernel than this is used, even if the CPU has one: for benchmarks, and for those who
/// don't trust theirs.
pub fn limit_kernel(fastest: Kernel) {
    LIMIT.store(fastest as u8, Ordering::Relaxed);
}

impl Kernel {
    /// All there are, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::ShaNi, Self::Avx512];

    /// Whether this CPU has what it takes.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => {
                is_x86_feature_detected!("sha")
                    && is_x86_feature_detected!("ssse3")
                    && is_x86_feature_detected!("sse4.1")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Whether the CPU has it and [`limit_kernel`] allows it.
    pub(super) fn is_usable(self) -> bool {
        self as u8 <= LIMIT.load(Ordering::Relaxed) && self.is_available()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::ShaNi => "sha-ni",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        let named = Self::ALL.into_iter().find(|kernel| kernel.name() == name);
        named.ok_or_else(|| UnknownKernel(name.to_owned()))
    }
}
