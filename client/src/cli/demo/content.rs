//! Files to share when there are none: random bytes, in a tree that has what real ones have.

#![expect(
    clippy::disallowed_methods,
    reason = "content that nobody has seen before, so that nothing can be there already"
)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Names, and hundredths of the whole. The first gets what rounding leaves; one stays empty.
const FILES: [(&str, u64); 9] = [
    ("film.mkv", 50),
    ("music/01 - overture.flac", 14),
    ("music/02 - aria.flac", 12),
    ("music/cover.png", 3),
    ("photos/2026/beach.raw", 9),
    ("photos/2026/mountains.raw", 7),
    ("photos/portrait.jpg", 4),
    ("readme.txt", 1),
    ("empty.txt", 0),
];

/// Bytes that are made at a time.
const CHUNK: usize = 1 << 20;

/// Makes the tree below `root`, `size` bytes in all.
pub(super) fn make_up(root: &Path, size: u64) -> io::Result<()> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let mut random = fastrand::Rng::with_seed(u64::from_ne_bytes(seed));
    let share = |percent: u64| (u128::from(size) * u128::from(percent) / 100) as u64;
    let rest: u64 = FILES[1..].iter().map(|(_, percent)| share(*percent)).sum();
    for (index, (name, percent)) in FILES.iter().enumerate() {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        write_random(&path, if index == 0 { size - rest } else { share(*percent) }, &mut random)?;
    }
    Ok(())
}

fn write_random(path: &Path, mut length: u64, random: &mut fastrand::Rng) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut chunk = vec![0; CHUNK];
    while length > 0 {
        let now = length.min(CHUNK as u64) as usize;
        random.fill(&mut chunk[..now]);
        file.write_all(&chunk[..now])?;
        length -= now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_add_up() {
        let dir = tempfile::tempdir().unwrap();
        for size in [1, 99, 1_234_567] {
            let root = dir.path().join(size.to_string());
            make_up(&root, size).unwrap();
            let lengths = FILES.map(|(name, _)| fs::metadata(root.join(name)).unwrap().len());
            assert_eq!((lengths.iter().sum::<u64>(), lengths[8]), (size, 0));
        }
    }
}
