//! Random trees, and what holds for each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::Info;
use crate::merkle::Hash;

/// A random tree: the paths of its files below the root, and their contents. At least one is not empty. The lengths are those at
/// which something begins or ends: nothing, a byte, a block, a piece; and some at random.
pub(super) fn random_tree(rng: &mut fastrand::Rng, piece_length: u32) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut lengths = vec![0, 1, 16_383, 16_384, 16_385];
    lengths.extend([1, 2, 3].map(|pieces| pieces * piece_length as usize));
    lengths.extend([
        piece_length as usize - 1,
        piece_length as usize + 1,
        3 * piece_length as usize + 20_000,
    ]);
    fill(rng, "", 0, &lengths, &mut files);
    if files.values().all(Vec::is_empty) {
        files.insert("z".to_owned(), vec![7; rng.usize(1..100_000)]);
    }
    files
}

fn fill(
    rng: &mut fastrand::Rng,
    dir: &str,
    depth: usize,
    lengths: &[usize],
    files: &mut BTreeMap<String, Vec<u8>>,
) {
    let mut names =
        ["a", "a-b", "a.b", "a b", "A", "b", "ä", "日本", "~", "!", "0", "aa", "_", "e\u{301}", "😀", ".h"];
    rng.shuffle(&mut names);
    for name in &names[..rng.usize(1..6)] {
        let path = if dir.is_empty() { (*name).to_owned() } else { format!("{dir}/{name}") };
        if depth < 7 && rng.u8(..) < 90 {
            fill(rng, &path, depth + 1, lengths, files);
        } else if files.len() < 60 {
            let length = if rng.bool() { *rng.choice(lengths).unwrap() } else { rng.usize(0..120_000) };
            let mut content = vec![0; length];
            rng.fill(&mut content);
            files.insert(path, content);
        }
    }
}

/// As [`tree`], from a map.
pub(super) fn write(files: &BTreeMap<String, Vec<u8>>) -> (tempfile::TempDir, PathBuf) {
    tree(&files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect::<Vec<_>>())
}

fn make(root: &Path, format: Format, length: u32, threads: usize) -> Created {
    let seen = AtomicU64::new(0);
    let piece_length = PieceLength::Exactly(length);
    let walk = Walk { hidden: true, junk: true, ..Walk::default() };
    let plan = Builder { format, threads, piece_length, walk, ..Builder::new(root) }.plan().unwrap();
    let total = plan.total();
    let created = plan.hash(&|done| _ = seen.fetch_max(done, Ordering::Relaxed)).unwrap();
    assert_eq!(seen.into_inner(), total);
    created
}

/// The v1 hashes, as BEP 3 has them, of these files and paddings end to end.
fn piece_hashes(info: &Info, files: &BTreeMap<String, Vec<u8>>) -> Vec<[u8; 20]> {
    use sha1::{Digest as _, Sha1};
    let mut payload = Vec::new();
    for file in info.files() {
        match files.get(file.path.as_str().strip_prefix("t/").unwrap()).filter(|_| !file.pad) {
            Some(content) => payload.extend(content),
            None => payload.resize(payload.len() + file.length as usize, 0),
        }
    }
    payload.chunks(info.layout().piece_length() as usize).map(|piece| Sha1::digest(piece).into()).collect()
}

/// The root of a file's tree, as BEP 52 has it, by no way round through pieces.
fn root_of(content: &[u8]) -> Option<Hash> {
    use sha2::{Digest as _, Sha256};
    let leaves: Vec<Hash> = content.chunks(16_384).map(|block| Sha256::digest(block).into()).collect();
    let mut layer = leaves;
    layer.resize(layer.len().next_power_of_two(), [0; 32]);
    while layer.len() > 1 {
        layer = layer.chunks(2).map(|pair| Sha256::digest(pair.concat()).into()).collect();
    }
    (!content.is_empty()).then(|| layer[0])
}

#[test]
fn every_form_says_of_random_trees_what_they_are_on_any_number_of_threads() {
    let mut rng = fastrand::Rng::with_seed(0xc4ea7e);
    for n in 0..20 {
        let length = *rng.choice(&[16_384, 32_768, 131_072]).unwrap();
        let files = random_tree(&mut rng, length);
        let (dir, root) = write(&files);
        for format in FORMATS {
            let length = if format == Format::V1 { rng.u32(200..100_000) } else { length };
            let made = [1, 4].map(|threads| make(&root, format, length, threads));
            assert_eq!(made[0].bytes, made[1].bytes);
            let read = Metainfo::from_bytes(&made[0].bytes).unwrap();
            assert_eq!(read, made[0].metainfo);
            assert_eq!(read.warnings, [""; 0]);
            let info = read.info;
            assert_eq!(info.version(), format.version());
            assert_eq!(info.missing_layers().count(), 0);
            let real: Vec<_> = info.files().iter().filter(|file| !file.pad).collect();
            assert_eq!(real.len(), files.len());
            for file in real {
                let content = &files[file.path.as_str().strip_prefix("t/").unwrap()];
                let root = root_of(content).filter(|_| format != Format::V1);
                assert_eq!((file.length, file.root), (content.len() as u64, root), "{n} {:?}", file.path);
            }
            if format != Format::V2 {
                let found: Vec<_> =
                    info.layout().pieces().filter_map(|piece| info.piece_hash(piece).copied()).collect();
                assert_eq!(found, piece_hashes(&info, &files), "{n} {format}");
            }
            let report = verify(&info, dir.path(), 2, &|_| {});
            assert!(report.is_ok(), "{n} {format} {report:?}");
        }
    }
}

#[test]
fn files_of_the_same_content_have_the_same_root() {
    // M84
    let content = vec![3; 100_000];
    let (dir, root) = tree(&[("a", &content), ("b/a", &content), ("c", b"")]);
    for format in [Format::V2, Format::Hybrid] {
        let info = make(&root, format, 16_384, 1).metainfo.info;
        let roots: Vec<_> = info.files().iter().filter(|file| !file.pad).map(|file| file.root).collect();
        assert_eq!(roots, [root_of(&content), root_of(&content), None]);
        assert_eq!(info.missing_layers().count(), 0);
        assert!(verify(&info, dir.path(), 1, &|_| {}).is_ok());
    }
}

#[test]
fn a_byte_that_changes_shows_in_both_versions() {
    // M91: whoever makes a hybrid reads each byte once, so that v1 and v2 can't be of different data.
    let content = vec![9; 70_000];
    let (dir, root) = tree(&[("a", &content), ("b", b"x")]);
    let info = make(&root, Format::Hybrid, 16_384, 2).metainfo.info;
    let mut changed = content;
    changed[20_000] ^= 1;
    std::fs::write(root.join("a"), &changed).unwrap();
    let report = verify(&info, dir.path(), 1, &|_| {});
    assert_eq!(report.bad.iter().map(|piece| piece.get()).collect::<Vec<_>>(), [1]);
    let again = make(&root, Format::Hybrid, 16_384, 1).metainfo.info;
    for piece in info.layout().pieces() {
        let same = piece.get() != 1;
        assert_eq!(info.piece_hash(piece) == again.piece_hash(piece), same);
        assert_eq!(info.piece_root(piece) == again.piece_root(piece), same);
    }
}
