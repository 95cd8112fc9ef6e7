//! mktorrent.

use std::path::Path;
use std::process::Command;

use crate::process;
use crate::require::require_peer;
use crate::wait::LONG;

/// Whether it is installed.
pub fn require() -> bool {
    require_peer("mktorrent")
}

/// Makes a .torrent of `payload` at `output`, with pieces of `2^exponent` bytes, announced at `tracker`.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn create(payload: &Path, output: &Path, exponent: u32, tracker: &str) {
    let mut mktorrent = Command::new("mktorrent");
    mktorrent.args(["-d", "-a", tracker, "-l", &exponent.to_string(), "-o"]).arg(output).arg(payload);
    process::run("mktorrent", &mut mktorrent, LONG).expect(0);
}
