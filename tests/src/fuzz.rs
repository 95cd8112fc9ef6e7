//! What must hold for any input, as functions of that input: the bodies of the fuzz targets in `tests/fuzz`, which a stable compiler
//! runs as well, over seeded mutations of the same corpus.
//!
//! A body panics if something does not hold. Refusing the input is always right.

use peak_alloc::PeakAlloc;

mod announce;
mod bencode;
mod hashes;
mod magnet;
mod metainfo;
mod mutate;
mod utp;

/// A parser of what strangers send, and how to try it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As the directory of its corpus and its file in `tests/fuzz/targets`.
    pub name: &'static str,
    /// Panics if something does not hold for this input; else whether it was read, and not refused.
    pub check: fn(&[u8]) -> bool,
    /// Changes an input into a similar one, at most this long.
    pub mutate: fn(&mut fastrand::Rng, &[u8], usize) -> Vec<u8>,
}

/// Bencode, as all of the formats read it.
pub const BENCODE: Target = Target { name: "bencode", check: bencode::check, mutate: mutate::bencode };

/// Torrents of every version, and info dictionaries from peers.
pub const METAINFO: Target = Target { name: "metainfo", check: metainfo::check, mutate: mutate::bencode };

/// Magnets and bare info hashes.
pub const MAGNET: Target = Target { name: "magnet", check: magnet::check, mutate: mutate::magnet };

/// Frames from a peer, and hash messages against a file's hash tree.
pub const HASHES: Target = Target { name: "hashes", check: hashes::check, mutate: mutate::frames };

/// What a client asks a tracker over HTTP.
pub const QUERY: Target = Target { name: "query", check: announce::query, mutate: mutate::query };

/// What a client asks a tracker over UDP.
pub const PACKET: Target = Target { name: "packet", check: announce::packet, mutate: mutate::bytes };

/// What comes to a uTP port.
pub const UTP: Target = Target { name: "utp", check: utp::check, mutate: mutate::bytes };

/// Runs `parse`, and panics if it takes more memory at any time than four times the input and 1 MiB.
///
/// Counts only where [`PeakAlloc`] is the global allocator, and while no other thread allocates.
pub fn within_memory<T>(input_length: usize, parse: impl FnOnce() -> T) -> T {
    let before = PeakAlloc.current_usage();
    PeakAlloc.reset_peak_usage();
    let parsed = parse();
    let extra = PeakAlloc.peak_usage().saturating_sub(before);
    let allowed = 4 * input_length + (1 << 20);
    assert!(extra <= allowed, "{extra} bytes of memory for {input_length} bytes of input");
    parsed
}
