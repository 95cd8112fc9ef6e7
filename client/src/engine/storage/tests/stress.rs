//! Everything at once, by seed: odd layouts, blocks of several pieces in any order, bad data, little memory, kills.

use torrent_format::BLOCK_LENGTH;

use super::super::worker::block_digest;
use super::*;

/// What one seed makes of it all.
struct Plan {
    case: Case,
    options: OpenStorage,
    random: fastrand::Rng,
    /// Blocks of wrong pieces that are right, and kept.
    kept: BTreeMap<u32, Vec<u32>>,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let names = ["a", "b", "c/a", "c/b", "c/d/e", "f", "g"];
        let lengths: Vec<usize> = names
            .iter()
            .map(|_| match random.u32(..4) {
                0 => random.usize(..3),
                1 => random.usize(..20_000),
                _ => random.usize(..200_000),
            })
            .collect();
        let files: Vec<(&str, usize)> = names.into_iter().zip(lengths).collect();
        let version = *random.choice(&sample::VERSIONS).unwrap();
        let odd: &[usize] = if version == Version::V1 { &[10_000, 50_000] } else { &[] };
        let piece_length = *random.choice(&[&[16 << 10, 64 << 10, 256 << 10], odd].concat()).unwrap();
        let case = Case::of(version, piece_length, &files);
        let allocate = *random.choice(&[Allocate::None, Allocate::Sparse, Allocate::Full]).unwrap();
        let selected = if random.bool() {
            Vec::new()
        } else {
            case.info.files().iter().map(|_| random.bool()).collect()
        };
        let options = OpenStorage { allocate, selected, ..case.options() };
        Self { case, options, random, kept: BTreeMap::new() }
    }

    fn wanted(&self) -> Vec<u32> {
        let layout = self.case.info.layout();
        let selected = |file: usize| self.options.selected.get(file).copied().unwrap_or(true);
        let files = self.case.files().into_iter().filter(|&file| selected(file));
        let mut wanted: Vec<u32> = files.flat_map(|file| layout.file_pieces(file)).collect();
        wanted.dedup();
        wanted
    }

    /// One run that ends in a kill, or once all is there. Returns the pieces verified.
    async fn run(&mut self, had_before: &[u32]) -> Vec<u32> {
        self.kept.clear();
        let pool = BufferPool::new(self.random.usize(4..32) << 14);
        let mut opened = open(OpenStorage { pool, ..self.options.clone() }).unwrap();
        opened.assert_honest(&self.case);
        let mut had = opened.had();
        assert!(had_before.iter().all(|piece| had.contains(piece)), "{had_before:?} had, {had:?} left");
        let mut missing: Vec<u32> = self.wanted().into_iter().filter(|piece| !had.contains(piece)).collect();
        self.random.shuffle(&mut missing);
        let mut kill_after = self.random.usize(..60);
        while !missing.is_empty() && kill_after > 0 {
            let some = missing.split_off(missing.len().saturating_sub(self.random.usize(1..6)));
            kill_after = kill_after.saturating_sub(some.len());
            let good = self.feed_some(&mut opened, &some).await;
            had.extend(&good);
            missing.extend(some.iter().filter(|piece| !good.contains(piece)));
            if self.random.u32(..8) == 0 {
                patiently(opened.storage.flush()).await.unwrap();
            }
        }
        if missing.is_empty() {
            patiently(opened.storage.flush()).await.unwrap();
        }
        opened.kill().await;
        had
    }

    /// The blocks of these pieces in any order; a few are bad. Returns the pieces that came out good.
    async fn feed_some(&mut self, opened: &mut Opened, pieces: &[u32]) -> Vec<u32> {
        let layout = std::sync::Arc::clone(self.case.info.layout());
        let mut blocks: Vec<Block> =
            pieces.iter().flat_map(|&p| layout.blocks(self.case.piece(p)).collect::<Vec<_>>()).collect();
        blocks.retain(|block| {
            !self.kept.get(&block.piece.get()).is_some_and(|kept| kept.contains(&block.number()))
        });
        self.random.shuffle(&mut blocks);
        let bad: Vec<Block> = blocks.iter().filter(|_| self.random.u32(..30) == 0).copied().collect();
        let mut left: BTreeMap<u32, u32> = BTreeMap::new();
        for block in &blocks {
            *left.entry(block.piece.get()).or_default() += 1;
        }
        for block in blocks {
            let mut bytes =
                self.case.bytes(block.piece)[block.begin as usize..][..block.length as usize].to_vec();
            if bad.contains(&block) {
                bytes[0] ^= 1;
            }
            opened.write(block, &bytes).await;
            let left = left.get_mut(&block.piece.get()).unwrap();
            *left -= 1;
            if *left == 0 {
                opened.storage.verify(block.piece, false);
            }
        }
        let mut good = Vec::new();
        let mut answers = 0;
        while answers < pieces.len() {
            match opened.event().await {
                StorageEvent::Verified(piece, verdict) => {
                    answers += 1;
                    let expected = !bad.iter().any(|block| block.piece == piece);
                    assert_eq!(matches!(verdict, Verification::Good(_)), expected, "{piece:?}");
                    if expected {
                        good.push(piece.get());
                    }
                    self.kept.remove(&piece.get());
                    let right = self.case.bytes(piece);
                    let differ: Option<Vec<bool>> = match verdict {
                        Verification::Wrong(leaves) => {
                            let right = sample::leaves(&right[..layout.piece_payload(piece) as usize]);
                            Some(leaves.iter().zip(&right).map(|(leaf, right)| leaf != right).collect())
                        }
                        Verification::Doubtful(digests) => {
                            let right = right.chunks(BLOCK_LENGTH as usize).map(block_digest);
                            Some(digests.iter().zip(right).map(|(digest, right)| *digest != right).collect())
                        }
                        _ => None,
                    };
                    if let Some(differ) = differ {
                        let (wrong, kept): (Vec<u32>, Vec<u32>) =
                            (0..differ.len() as u32).partition(|&number| differ[number as usize]);
                        assert!(bad.iter().all(|it| it.piece != piece || wrong.contains(&it.number())));
                        opened.storage.drop_blocks(piece, &wrong);
                        self.kept.insert(piece.get(), kept);
                    }
                }
                StorageEvent::FileDone { .. } | StorageEvent::NoRoom(_) | StorageEvent::Room => {}
                StorageEvent::Failed(error) => panic!("{error}"),
            }
        }
        good
    }
}

#[tokio::test]
async fn whatever_comes_the_files_come_out_right() {
    for seed in 0..40 {
        let mut plan = Plan::new(seed);
        let mut had = Vec::new();
        while had.len() < plan.wanted().len() {
            had = plan.run(&had).await;
        }
        // Once more, for those that had nothing to download.
        plan.run(&had).await;
        let mut expected = plan.case.whole_tree();
        for (file, selected) in plan.options.selected.iter().enumerate() {
            if !selected {
                expected.remove(plan.case.info.files()[file].path.as_path().to_str().unwrap());
            }
        }
        assert!(plan.case.tree() == expected, "seed {seed}: {:?}", plan.case.tree().keys());
    }
}
