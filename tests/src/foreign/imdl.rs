//! intermodal, whose program is `imdl`. Debian does not package it: it takes part where it happens to be installed.

use std::path::Path;
use std::process::Command;

use crate::process;
use crate::require::find;
use crate::wait::LONG;

/// Whether it is installed. Nothing requires it.
pub fn is_installed() -> bool {
    find("imdl").is_some()
}

/// Makes a .torrent of `payload` at `output`.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn create(payload: &Path, output: &Path, piece_length: u32) {
    let mut imdl = Command::new("imdl");
    imdl.args(["torrent", "create", "--piece-length", &piece_length.to_string()]);
    imdl.arg("--output").arg(output).arg("--input").arg(payload);
    process::run("imdl", &mut imdl, LONG).expect(0);
}
