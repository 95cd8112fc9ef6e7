//! Payload: seeded random trees of files, on disk and compared byte by byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

/// Files by their path below a directory. Sorted as torrents list them: bytewise by the joined path.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// A tree with what goes wrong first: empty files, one byte, piece ± 1, names in Unicode, with spaces and dashes, deep ones, and
/// names that sort differently by directory than by joined path. About `20 × piece_length` bytes.
pub fn mixed(seed: u64, piece_length: usize) -> Tree {
    let mut random = fastrand::Rng::with_seed(seed);
    [
        ("a", 2 * piece_length + 77),
        ("a.b", 3),
        ("a-b/inner", piece_length),
        ("deep/er/and/deep/er/still/file.bin", 3 * piece_length),
        ("empty", 0),
        ("empty too/nothing", 0),
        ("less", piece_length - 1),
        ("more", piece_length + 1),
        ("one byte", 1),
        ("Über/naïve – 文件 🦀.txt", 4321),
        ("-leading dash", 17),
        ("zz/large", 8 * piece_length + 12_345),
        ("zz/middle/of it", 2 * piece_length),
        ("zzz last empty", 0),
    ]
    .into_iter()
    .map(|(path, length)| (path.to_owned(), bytes(&mut random, length)))
    .collect()
}

/// One file of random bytes.
pub fn single(seed: u64, name: &str, length: usize) -> Tree {
    let mut random = fastrand::Rng::with_seed(seed);
    BTreeMap::from([(name.to_owned(), bytes(&mut random, length))])
}

/// A random tree of `files` files of up to `largest` bytes, up to four directories deep.
pub fn random(seed: u64, files: usize, largest: usize) -> Tree {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..files)
        .map(|number| {
            let mut path = String::new();
            for _ in 0..random.usize(..4) {
                path.push_str(&format!("d{}/", random.u8(..6)));
            }
            path.push_str(&format!("{}{number}", ["file ", "File", "f.", "é", "_"][random.usize(..5)]));
            let length = random.usize(..=largest);
            (path, bytes(&mut random, length))
        })
        .collect()
}

/// `length` random bytes.
pub fn bytes(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Writes a tree below `dir`, which is made.
///
/// # Panics
/// If the disk refuses.
pub fn write(dir: &Path, tree: &Tree) {
    fs::create_dir_all(dir).expect("a test directory can be made");
    for (path, bytes) in tree {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("below dir")).expect("a test directory can be made");
        fs::write(&path, bytes).expect("a test file can be written");
    }
}

/// Writes one large file of random bytes without holding it.
///
/// # Panics
/// If the disk refuses.
pub fn write_large(path: &Path, seed: u64, length: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut file = BufWriter::new(File::create(path).expect("a test file can be made"));
    let mut left = length;
    let mut chunk = vec![0; 1 << 20];
    while left > 0 {
        let take = left.min(chunk.len() as u64) as usize;
        random.fill(&mut chunk[..take]);
        file.write_all(&chunk[..take]).expect("a test file can be written");
        left -= take as u64;
    }
    file.flush().expect("a test file can be written");
}

/// Fails the test unless both are the same file, or directories with the same files of the same bytes, and nothing else in them.
#[track_caller]
pub fn assert_same(expected: &Path, actual: &Path) {
    compare(expected, actual, |_| true);
}

/// Like [`assert_same`], but for empty files and the directories that hold nothing else: Transmission 3.00 does not make them.
#[track_caller]
pub fn assert_same_bytes(expected: &Path, actual: &Path) {
    compare(expected, actual, |length| length.is_some_and(|length| length > 0));
}

#[track_caller]
fn compare(expected: &Path, actual: &Path, counts: impl Fn(Option<u64>) -> bool) {
    let listing = |path| listing(path).into_iter().filter(|(_, length)| counts(*length)).collect::<Listing>();
    let (wanted, found) = (listing(expected), listing(actual));
    let names = |listing: &Listing| listing.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&wanted),
        names(&found),
        "the names below {} and {}",
        expected.display(),
        actual.display()
    );
    for (name, length) in &wanted {
        assert_eq!(Some(length), found.get(name), "the kind and length of {}", name.display());
        if length.is_some() && !same_bytes(&expected.join(name), &actual.join(name)) {
            panic!("{} differs from {}", actual.join(name).display(), expected.join(name).display());
        }
    }
}

/// Every name below a path with its length; `None`: a directory. The path itself is "".
pub type Listing = BTreeMap<PathBuf, Option<u64>>;

/// Lists what is there, following no symlinks. Empty if there is nothing.
///
/// # Panics
/// If a directory can't be read.
pub fn listing(root: &Path) -> Listing {
    let mut found = Listing::new();
    let mut open = vec![PathBuf::new()];
    while let Some(name) = open.pop() {
        let path = if name.as_os_str().is_empty() { root.to_owned() } else { root.join(&name) };
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).expect("a test directory can be read") {
                open.push(name.join(entry.expect("a test directory can be read").file_name()));
            }
        }
        found.insert(name, (!metadata.is_dir()).then_some(metadata.len()));
    }
    found
}

fn same_bytes(a: &Path, b: &Path) -> bool {
    const CHUNK: usize = 1 << 18;
    // "" joined to a file's path leaves a slash behind.
    let open = |path: &Path| {
        BufReader::new(File::open(path.components().as_path()).expect("a file that was listed"))
    };
    let (mut a, mut b) = (open(a), open(b));
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let (n, m) = (fill(&mut a, &mut left), fill(&mut b, &mut right));
        if n != m || left[..n] != right[..m] {
            return false;
        }
        if n == 0 {
            return true;
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]).expect("a test file can be read") {
            0 => break,
            n => filled += n,
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_tree_equals_itself_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let tree = mixed(1, 1000);
        write(&dir.path().join("a"), &tree);
        write(&dir.path().join("b"), &tree);
        assert_same(&dir.path().join("a"), &dir.path().join("b"));
        assert_same(&dir.path().join("a/zz/large"), &dir.path().join("b/zz/large"));

        fs::write(dir.path().join("b/one byte"), [tree["one byte"][0] ^ 1]).unwrap();
        let differs = std::panic::catch_unwind(|| assert_same(&dir.path().join("a"), &dir.path().join("b")));
        assert!(differs.is_err());
    }
}
