//! Scenarios of picking.

use std::time::Duration;

use super::*;

const BLOCK: u64 = torrent_format::BLOCK_LENGTH as u64;

fn picker(pieces: u64, blocks: u64) -> Picker {
    let layout = Arc::new(Layout::new(blocks * BLOCK, [pieces * blocks * BLOCK]).unwrap());
    let count = layout.piece_count();
    let mut picker = Picker::new(layout, Bitfield::none(count), Bitfield::all(count), 7);
    picker.check();
    picker
}

fn key(number: u32) -> PeerKey {
    PeerKey::for_test(number)
}

fn asker(number: u32, pieces: &Bitfield) -> Asker<'_> {
    Asker {
        key: key(number),
        pieces,
        only: None,
        suggested: &NO_PIECES,
        avoid: &NOTHING,
        current: None,
        is_seed: true,
        at_most: None,
    }
}

static NOTHING: BTreeSet<Block> = BTreeSet::new();
static NO_PIECES: VecDeque<PieceIndex> = VecDeque::new();

fn some(picker: &Picker, pieces: &[u32]) -> Bitfield {
    let mut field = Bitfield::none(picker.layout.piece_count());
    for &piece in pieces {
        field.set(picker.layout.piece(piece).unwrap());
    }
    field
}

fn pick(picker: &mut Picker, asker: Asker<'_>) -> Option<Block> {
    let block = picker.pick(Time::default(), asker, |_| true);
    picker.check();
    block
}

fn gained(picker: &mut Picker, piece: u32, times: u32) {
    for _ in 0..times {
        let piece = picker.layout.piece(piece).unwrap();
        picker.gained(piece);
        picker.check();
    }
}

impl Picker {
    /// The invariants of the array.
    fn check(&mut self) {
        for (at, piece) in self.order.iter().enumerate() {
            assert_eq!(self.position[piece.as_usize()], at as u32);
            let class = self.availability[piece.as_usize()] as usize;
            assert!(self.starts[class] as usize <= at && at < self.class_end(class), "{self:?}");
        }
        let free: u32 = self.partials.values().map(|partial| partial.free).sum();
        assert_eq!(free, self.free_blocks);
    }
}

#[test]
fn the_rarest_piece_comes_first() {
    let mut picker = picker(4, 1);
    for (piece, times) in [(0, 3), (1, 1), (2, 2), (3, 4)] {
        gained(&mut picker, piece, times);
    }
    let all = Bitfield::all(4);
    let picked: Vec<_> = std::iter::from_fn(|| picker.pick(Time::default(), asker(1, &all), |_| false))
        .map(|b| b.piece.get())
        .collect();
    assert_eq!(picked, [1, 2, 0, 3]);
}

#[test]
fn who_is_asked_for_enough_is_asked_for_what_so_few_have_only() {
    for (at_most, expected) in [(0, vec![]), (1, vec![]), (2, vec![0, 0]), (4, vec![0, 0, 1, 1])] {
        // As the very first pieces are at random, but only among those.
        for have in [0, 4] {
            let mut picker = picker(8, 2);
            for (piece, times) in [(0, 1), (1, 3), (2, 4), (3, 4)] {
                gained(&mut picker, piece, times);
            }
            picker.seed_came();
            for piece in 8 - have..8 {
                let piece = picker.layout.piece(piece).unwrap();
                picker.have.set(piece);
            }
            let pieces = some(&picker, &[0, 1, 2, 3]);
            let few = || Asker { at_most: Some(at_most), is_seed: false, ..asker(1, &pieces) };
            let picked = std::iter::from_fn(|| pick(&mut picker, few()));
            let mut picked: Vec<_> = picked.map(|block| block.piece.get()).collect();
            picked.sort_unstable();
            assert_eq!(picked, expected, "{at_most} {have}");
        }
    }
}

#[test]
fn losing_a_peer_makes_its_pieces_rarer_again() {
    let mut picker = picker(2, 1);
    gained(&mut picker, 0, 2);
    gained(&mut picker, 1, 1);
    for _ in 0..2 {
        let first = picker.layout.piece(0).unwrap();
        picker.lost(first);
        picker.check();
    }
    assert_eq!(pick(&mut picker, asker(1, &Bitfield::all(2))).unwrap().piece.get(), 0);
}

#[test]
fn a_started_piece_is_finished_before_another_is_started() {
    let mut picker = picker(3, 4);
    let all = Bitfield::all(3);
    let first = pick(&mut picker, asker(1, &all)).unwrap().piece;
    let next: Vec<_> = (2..5).map(|peer| pick(&mut picker, asker(peer, &all)).unwrap().piece).collect();
    assert_eq!(next, [first; 3]);
    assert_ne!(pick(&mut picker, asker(5, &all)).unwrap().piece, first);
}

#[test]
fn a_rarer_piece_is_started_before_a_commoner_one_is_finished() {
    let mut picker = picker(2, 4);
    gained(&mut picker, 0, 1);
    let common = some(&picker, &[0]);
    assert_eq!(pick(&mut picker, asker(1, &common)).unwrap().piece.get(), 0);
    assert_eq!(pick(&mut picker, asker(2, &Bitfield::all(2))).unwrap().piece.get(), 1);
    let layout = picker.layout.clone();
    let own = Asker { current: layout.piece(0), ..asker(1, &common) };
    assert_eq!(pick(&mut picker, own).unwrap().piece.get(), 0);
}

#[test]
fn a_peer_is_never_asked_for_what_it_lacks() {
    let mut picker = picker(5, 2);
    let one = some(&picker, &[3]);
    let picked: Vec<_> =
        (0..4).map_while(|_| pick(&mut picker, asker(1, &one))).map(|b| b.piece.get()).collect();
    assert_eq!(picked, [3, 3]);
}

#[test]
fn while_choked_only_the_allowed_pieces() {
    let mut picker = picker(5, 1);
    let all = Bitfield::all(5);
    let only = [picker.layout.piece(2).unwrap()].into();
    let choked = Asker { only: Some(&only), ..asker(1, &all) };
    assert_eq!(pick(&mut picker, choked).unwrap().piece.get(), 2);
    assert_eq!(pick(&mut picker, choked), None);
}

#[test]
fn the_first_pieces_from_a_leecher_are_random() {
    let all = Bitfield::all(64);
    let firsts: BTreeSet<_> = (0..32)
        .map(|seed| {
            let layout = Arc::new(Layout::new(BLOCK, [64 * BLOCK]).unwrap());
            let mut picker = Picker::new(layout, Bitfield::none(64), Bitfield::all(64), seed);
            gained(&mut picker, 0, 1);
            pick(&mut picker, Asker { is_seed: false, ..asker(1, &all) }).unwrap().piece.get()
        })
        .collect();
    assert!(firsts.len() > 16, "{firsts:?}");
}

#[test]
fn sequential_is_by_number() {
    let mut picker = picker(4, 1);
    picker.set_sequential(true);
    gained(&mut picker, 0, 3);
    let all = Bitfield::all(4);
    let picked: Vec<_> = (0..4).map(|_| pick(&mut picker, asker(1, &all)).unwrap().piece.get()).collect();
    assert_eq!(picked, [0, 1, 2, 3]);
}

#[test]
fn the_endgame_asks_two_peers_at_most_and_only_for_slower_ones() {
    let mut picker = picker(1, 1);
    let all = Bitfield::all(1);
    let block = pick(&mut picker, asker(1, &all)).unwrap();
    assert_eq!(picker.pick(Time::default(), asker(2, &all), |_| false), None);
    assert_eq!(pick(&mut picker, asker(1, &all)), None, "not from the same peer");
    assert_eq!(pick(&mut picker, asker(2, &all)), Some(block));
    assert_eq!(pick(&mut picker, asker(3, &all)), None);
    let from = Culprit::for_test(2);
    assert_eq!(picker.received(block, key(2), from), Receipt::New { whole: true, others: vec![key(1)] });
    assert_eq!(picker.received(block, key(1), from), Receipt::Unneeded);
}

#[test]
fn a_released_block_is_asked_for_again_but_not_while_another_holds_it() {
    let mut picker = picker(1, 1);
    let all = Bitfield::all(1);
    let block = pick(&mut picker, asker(1, &all)).unwrap();
    assert_eq!(pick(&mut picker, asker(2, &all)), Some(block));
    picker.release(block, key(1));
    picker.check();
    assert_eq!(picker.free_blocks, 0);
    picker.release(block, key(2));
    picker.check();
    assert_eq!(pick(&mut picker, asker(3, &all)), Some(block));
}

#[test]
fn a_piece_of_which_nothing_came_is_no_longer_preferred_to_what_is_suggested() {
    let mut picker = picker(4, 2);
    picker.seed_came();
    let all = Bitfield::all(4);
    let blocks = [pick(&mut picker, asker(0, &all)), pick(&mut picker, asker(0, &all))].map(Option::unwrap);
    let other = picker.layout.pieces().find(|&piece| piece != blocks[0].piece).unwrap();
    let suggested = VecDeque::from([other]);
    let suggests = || Asker { suggested: &suggested, ..asker(0, &all) };
    picker.release(blocks[0], key(0));
    picker.check();
    assert_eq!(pick(&mut picker, suggests()), Some(blocks[0]), "the other half is still asked for");
    blocks.iter().for_each(|&block| picker.release(block, key(0)));
    picker.check();
    assert_eq!(pick(&mut picker, suggests()).unwrap().piece, other);
}

#[test]
fn a_failed_piece_is_fetched_from_one_peer_that_is_not_a_suspect() {
    let mut picker = picker(1, 2);
    let all = Bitfield::all(1);
    for peer in [1, 2] {
        let block = pick(&mut picker, asker(peer, &all)).unwrap();
        picker.received(block, key(peer), Culprit::for_test(peer as u16));
    }
    let piece = picker.layout.piece(0).unwrap();
    picker.failed(Time::default(), piece, &[0, 1, 2, 3], [key(1), key(2)].into());
    picker.check();
    assert_eq!(pick(&mut picker, asker(1, &all)), None, "a suspect");
    assert!(pick(&mut picker, asker(3, &all)).is_some());
    assert_eq!(pick(&mut picker, asker(4, &all)), None, "peer 3 owns it");
    picker.disown(key(3));
    let later = Time(SUSPECTS_WAIT + Duration::from_secs(1));
    assert!(picker.pick(later, asker(1, &all), |_| true).is_some(), "nobody else is there");
}

#[test]
fn only_the_bad_blocks_of_a_piece_are_fetched_again_by_anybody() {
    let mut picker = picker(1, 4);
    let all = Bitfield::all(1);
    for _ in 0..4 {
        let block = pick(&mut picker, asker(1, &all)).unwrap();
        picker.received(block, key(1), Culprit::for_test(1));
    }
    let piece = picker.layout.piece(0).unwrap();
    picker.drop_blocks(piece, &[1, 3, 99]);
    picker.check();
    assert!(!picker.verified(piece));
    let again: Vec<_> = std::iter::from_fn(|| pick(&mut picker, asker(1, &all))).map(Block::number).collect();
    assert_eq!(again, [1, 3]);
    let [second, last] = [1, 3].map(|number| picker.layout.block(piece, number));
    let from = Culprit::for_test(2);
    assert_eq!(picker.received(second, key(2), from), Receipt::New { whole: false, others: vec![key(1)] });
    assert_eq!(picker.received(last, key(2), from), Receipt::New { whole: true, others: vec![key(1)] });
    let senders = [1, 2, 1, 2].map(Culprit::for_test);
    assert_eq!(picker.senders(piece), senders);
    assert!(picker.verified(piece));
}

#[test]
fn a_block_to_be_avoided_is_passed_over() {
    let mut picker = picker(2, 2);
    picker.set_sequential(true);
    let all = Bitfield::all(2);
    let [first, second] = [0, 1].map(|piece| picker.layout.piece(piece).unwrap());
    let avoid: BTreeSet<_> = [(first, 0), (second, 1)].map(|(p, n)| picker.layout.block(p, n)).into();
    let wary = Asker { avoid: &avoid, ..asker(1, &all) };
    let picked: Vec<_> = std::iter::from_fn(|| pick(&mut picker, wary)).collect();
    assert_eq!(picked, [(first, 1), (second, 0)].map(|(p, n)| picker.layout.block(p, n)));
    assert_eq!(pick(&mut picker, asker(2, &all)), Some(picker.layout.block(first, 0)));
}

#[test]
fn verified_pieces_count_once_and_forgotten_ones_are_wanted_again() {
    let mut picker = picker(2, 1);
    let all = Bitfield::all(2);
    let piece = picker.layout.piece(0).unwrap();
    assert!(!picker.verified(piece), "not started");
    for _ in 0..2 {
        let block = pick(&mut picker, asker(1, &all)).unwrap();
        picker.received(block, key(1), Culprit::for_test(1));
        assert!(picker.verified(block.piece) && !picker.verified(block.piece));
    }
    assert!(picker.is_complete());
    gained(&mut picker, 0, 2);
    picker.forget(piece, true);
    picker.check();
    assert!(!picker.is_complete() && picker.needs(piece));
    assert_eq!(pick(&mut picker, asker(1, &all)).unwrap().piece, piece);
}

#[test]
fn random_moves_keep_the_array_sorted() {
    let mut picker = picker(40, 1);
    let mut rng = fastrand::Rng::with_seed(3);
    let all = Bitfield::all(40);
    for _ in 0..4_000 {
        let piece = picker.layout.piece(rng.u32(0..40)).unwrap();
        match rng.u8(0..8) {
            0..=3 => picker.gained(piece),
            4..=5 if picker.availability[piece.as_usize()] > 0 => picker.lost(piece),
            6 => {
                if let Some(block) = picker.pick(Time::default(), asker(1, &all), |_| true) {
                    picker.received(block, key(1), Culprit::for_test(1));
                    picker.verified(block.piece);
                }
            }
            _ => assert!(picker.forget(piece, true) || !picker.have.has(piece)),
        }
        picker.check();
    }
}
