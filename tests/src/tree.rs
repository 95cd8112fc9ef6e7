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

/// A payload on which creators of torrents may differ, with the piece length that brings it out.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of the file or directory.
    pub name: String,
    /// Below the directory; of a single file, that file by its name.
    pub files: Tree,
    /// Whether it is one file without a directory.
    pub single: bool,
    /// In bytes, a power of two from 16 KiB.
    pub piece_length: u32,
}

impl Sample {
    /// Writes it into `dir`, and gives its path.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join(&self.name);
        write(if self.single { dir } else { &path }, &self.files);
        path
    }
}

/// The samples: lengths around a block and a piece, alone and in trees; empty files at every place; names that sort differently by
/// directory than by joined path; deep, Unicode and long names; equal files; and random trees. Always the same.
/// None has names that differ only in case: libtorrent renames one of them.
pub fn samples() -> Vec<Sample> {
    const BLOCK: usize = 16 << 10;
    const PIECE: usize = 32 << 10;
    let mut random = fastrand::Rng::with_seed(0x5a);
    let mut samples = Vec::new();
    for (piece_length, length) in [
        (BLOCK, 1),
        (BLOCK, BLOCK),
        (BLOCK, BLOCK + 1),
        (BLOCK, 7 * BLOCK),
        (PIECE, 1),
        (PIECE, BLOCK - 1),
        (PIECE, BLOCK),
        (PIECE, BLOCK + 1),
        (PIECE, PIECE - 1),
        (PIECE, PIECE),
        (PIECE, PIECE + 1),
        (PIECE, 8 * PIECE),
        (PIECE, 5 * PIECE + 777),
        (4 * PIECE, 9 * PIECE + 1),
        (32 * PIECE, 3 * PIECE),
    ] {
        let name = format!("{length} in {piece_length}");
        samples.push(Sample {
            files: Tree::from([(name.clone(), bytes(&mut random, length))]),
            name,
            single: true,
            piece_length: piece_length as u32,
        });
    }
    let deep = format!("{}file", "deeper/".repeat(24));
    let long = format!("{}/{}", "l".repeat(200), "n".repeat(200));
    type Files<'a> = &'a [(&'a str, usize)];
    let trees: [(&str, usize, Files<'_>); 15] = [
        ("deep", PIECE, &[(&deep, 2 * PIECE + 5), ("deeper/shallow", 70)]),
        ("empty first", PIECE, &[("a", 0), ("b", 3 * PIECE + 9)]),
        ("empty last", PIECE, &[("a", 3 * PIECE + 9), ("b", 0)]),
        ("empty between", PIECE, &[("a", 9), ("b/b", 0), ("c", 0), ("d", PIECE + 9), ("e", 0), ("f", PIECE)]),
        ("unicode ☃", PIECE, &[("Ünïcode/文件 🦀", BLOCK + 3), ("Ünïcode/é", 40_000), ("ﬀ", 1), ("𝄞", 2)]),
        ("one byte each", BLOCK, &[("a", 1), ("b", 1), ("c/d", 1), ("c/e", 1), ("f", 1)]),
        ("multiples", PIECE, &[("a", PIECE), ("b", 4 * PIECE), ("c", 2 * PIECE)]),
        ("one piece", PIECE, &[("only", PIECE)]),
        ("around a block", PIECE, &[("a", BLOCK - 1), ("b", BLOCK), ("c", BLOCK + 1), ("d", BLOCK)]),
        ("around a piece", BLOCK, &[("a", BLOCK - 1), ("b", BLOCK), ("c", BLOCK + 1), ("d", 2 * BLOCK - 1)]),
        ("one in a directory", PIECE, &[("inner", 100_001)]),
        ("one deep in directories", PIECE, &[("x/y/z", 65)]),
        (
            "order",
            PIECE,
            &[("a-b/x", 99), ("a.b", 5), ("a/x", PIECE + 1), ("a0", 7), ("Z", 11), ("a!/a/b", 13)],
        ),
        ("large pieces", 32 * PIECE, &[("a", 100_000), ("b", 2_000_000), ("c", 3)]),
        ("long names", PIECE, &[(&long, 50_000), ("short", 50_000)]),
    ];
    for (name, piece_length, files) in trees {
        let files = files.iter().map(|&(path, length)| (path.to_owned(), bytes(&mut random, length)));
        samples.push(Sample {
            name: name.to_owned(),
            files: files.collect(),
            single: false,
            piece_length: piece_length as u32,
        });
    }
    let twin = bytes(&mut random, 3 * PIECE);
    let twins = ["a", "b", "c/a"].map(|path| (path.to_owned(), twin.clone()));
    let others = (0..12).map(random_sample);
    let more = [
        Sample { name: "twins".into(), files: twins.into(), single: false, piece_length: PIECE as u32 },
        Sample { name: "mixed".into(), files: mixed(3, PIECE), single: false, piece_length: PIECE as u32 },
    ];
    samples.extend(more);
    samples.extend(others);
    samples
}

fn random_sample(seed: u64) -> Sample {
    let count = 2 + 5 * seed as usize;
    let piece_length = (16 << 10) << (seed % 5);
    Sample { name: format!("random {seed}"), files: random(seed, count, 90_000), single: false, piece_length }
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

/// Writes a tree of so many files of random bytes and lengths, which add up to `size`, a hundred in a directory.
///
/// # Panics
/// If the disk refuses.
pub fn write_many(root: &Path, seed: u64, size: u64, files: u32) {
    const FILES_A_DIRECTORY: u32 = 100;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut left = size;
    for number in 0..files {
        let mean = left / u64::from(files - number);
        let length = if number + 1 == files { left } else { random.u64(0..=2 * mean).min(left) };
        left -= length;
        let directory = root.join(format!("directory {:03}", number / FILES_A_DIRECTORY));
        if number % FILES_A_DIRECTORY == 0 {
            fs::create_dir_all(&directory).expect("a directory can be made");
        }
        let bytes = bytes(&mut random, length as usize);
        fs::write(directory.join(format!("file {number:05}")), bytes).expect("a file can be written");
    }
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

/// Like [`assert_same_bytes`], but for pad files (BEP 47) in `actual`: clients of v1 alone write those of a hybrid as any others.
#[track_caller]
pub fn assert_same_but_padding(expected: &Path, actual: &Path) {
    let pads = actual.join(".pad");
    if pads.is_dir() {
        fs::remove_dir_all(pads).expect("a test directory can be removed");
    }
    assert_same_bytes(expected, actual);
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
