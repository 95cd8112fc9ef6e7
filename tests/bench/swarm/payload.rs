//! What is passed on: one file of random bytes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use harness::tree;

pub(crate) const NAME: &str = "payload.bin";

/// Writes it into `dir`.
pub(crate) fn write(dir: &Path, size: u64) -> PathBuf {
    let path = dir.join(NAME);
    tree::write_large(&path, 1, size);
    path
}

/// Whether `copy` has the same bytes.
pub(crate) fn is_same(payload: &Path, copy: &Path) -> bool {
    let open = |path: &Path| File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (Ok((length, mut payload)), Ok((copy_length, mut copy))) = (open(payload), open(copy)) else {
        return false;
    };
    let (mut wanted, mut found) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut left = length;
    while left > 0 && length == copy_length {
        let chunk = left.min(1 << 20) as usize;
        let read =
            payload.read_exact(&mut wanted[..chunk]).and_then(|()| copy.read_exact(&mut found[..chunk]));
        if read.is_err() || wanted[..chunk] != found[..chunk] {
            return false;
        }
        left -= chunk as u64;
    }
    length == copy_length
}
