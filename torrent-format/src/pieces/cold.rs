//! Bytes that are not in the operating system's cache yet.
//!
//! Sixteen pieces in flight are good for a CPU, but bad for a disk: it would see sixteen readers, each with short reads, and a
//! rotating one would do nothing but seek. So whatever is missing from the cache is asked for together with the megabytes behind it,
//! which often are the next pieces', and the system sorts such long runs by where they lie. There is no waiting for them, and no
//! looking whether a disk rotates: virtual ones say so that do not, and suffer if they are read by one thread at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// How much is asked for at a time: several times what passes the head of a rotating disk while it seeks.
#[cfg(target_os = "linux")]
const READ_AHEAD: std::num::NonZero<u64> = std::num::NonZero::new(8 << 20).unwrap();

/// As `pread`: may read less than asked for, and nothing only at the end of the file. What is not in memory is asked for together with the
/// megabytes behind it: for one of many readers that will want those too.
#[cfg(target_os = "linux")]
pub fn read(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    use rustix::fs::{Advice, fadvise};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    match preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Err(Errno::AGAIN) => {
            // If it can't be done, the disk is slower, no more.
            let _ = fadvise(file, offset, Some(READ_AHEAD), Advice::WillNeed);
        }
        // Not every file system knows how not to wait.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {}
        in_cache => return Ok(in_cache?),
    }
    file.read_at(buffer, offset)
}

/// As `pread`: may read less than asked for, and nothing only at the end of the file. What is not in memory is asked for together with the
/// megabytes behind it: for one of many readers that will want those too.
#[cfg(not(target_os = "linux"))]
pub fn read(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_cache_is_read_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut content = vec![0; 20 << 20];
        fastrand::Rng::with_seed(1).fill(&mut content);
        std::fs::write(dir.path().join("file"), &content).unwrap();
        let file = File::open(dir.path().join("file")).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();

        let (mut found, mut buffer) = (Vec::new(), vec![0; 300_000]);
        loop {
            let count = read(&file, found.len() as u64, &mut buffer).unwrap();
            if count == 0 {
                break;
            }
            found.extend_from_slice(&buffer[..count]);
        }
        assert!(found == content);
    }
}
