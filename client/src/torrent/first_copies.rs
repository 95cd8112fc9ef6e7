//! Who passes on what a seed gives: [`FirstCopies`], the pieces that only the one peer has that a seed gave them to.
//!
//! Until every piece is elsewhere too, each first copy is worth more than anything else in the swarm: others wait for it. One that goes
//! to somebody who keeps it is lost, and what is worse, it looks as if it were there. A seed gets nothing back by which to tell, but it
//! hears who has what: a piece that a second peer has was passed on by the first. So whoever sits on its first copies waits behind those
//! who do not. The idea is super-seeding's (BEP 16), without its pretence to have less.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use torrent_format::PieceIndex;

use super::accounts::Account;
use super::peers::PeerKey;
use super::time::Time;

/// Once so many have passed a first copy on, they come before those who have yet to show that they do. Fewer could not carry on all that a seed
/// puts out.
const ENOUGH: usize = 8;

/// And of those who have yet to show it, one to so many of the others is tried at a time. Who keeps what it got is a trial without end, so
/// riders, however many there are, have one first copy to eight who pass theirs on, while those who are honest are soon all among these.
const TRIALS: usize = 8;

/// Pieces that somebody sits on who has passed others on count up to this many; whoever has not, and should have, counts for more.
pub(super) const MANY: u32 = 16;

/// Who has sat on a first copy for so long, and never passed any on, is likely one that never will. Where pieces are long or lines slow the honest take longer
/// too: then a seed is wary for nothing, which in the simulator did no harm.
const PATIENCE: Duration = Duration::from_secs(6);

/// Once nothing is left that nobody has, who had so many pieces of us waits behind those who have passed one on.
const FAIR_TRIAL: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct FirstCopies {
    /// Who got a piece first, until somebody has it who did not get it from us.
    holders: BTreeMap<PieceIndex, First>,
    /// How many each of those that got any sits on.
    counts: BTreeMap<PeerKey, u32>,
    /// Those that have passed one on.
    proven: BTreeSet<PeerKey>,
    /// How many sit on some and have passed none on.
    on_trial: usize,
}

/// A first copy.
#[derive(Debug)]
struct First {
    holder: PeerKey,
    since: Time,
    /// Those to whom we gave the piece as well. That they have it is not the holder's doing, and they sit on it too.
    others: BTreeSet<PeerKey>,
}

impl FirstCopies {
    /// Somebody comes from where another left.
    pub(super) fn came(&mut self, key: PeerKey, before: Account) {
        if before.kept > 0 {
            self.counts.insert(key, before.kept);
        }
        if before.proven {
            self.proven.insert(key);
        }
        self.count_trials();
    }

    /// How many it sits on, and whether it has passed any on.
    pub(super) fn standing(&self, key: PeerKey) -> (u32, bool) {
        (self.counts.get(&key).copied().unwrap_or_default(), self.proven.contains(&key))
    }

    /// A piece goes to this peer. `first`: nobody else has it.
    pub(super) fn given(&mut self, now: Time, piece: PieceIndex, key: PeerKey, first: bool) {
        match self.holders.entry(piece) {
            Entry::Vacant(vacant) if first => {
                vacant.insert(First { holder: key, since: now, others: BTreeSet::new() });
                *self.counts.entry(key).or_default() += 1;
                self.count_trials();
            }
            Entry::Vacant(_) => {}
            Entry::Occupied(mut known) => {
                if known.get().holder != key && known.get_mut().others.insert(key) {
                    *self.counts.entry(key).or_default() += 1;
                    self.count_trials();
                }
            }
        }
    }

    /// A peer has this piece.
    pub(super) fn seen(&mut self, piece: PieceIndex, key: PeerKey) {
        let passed_on = |first: &First| first.holder != key && !first.others.contains(&key);
        if self.holders.get(&piece).is_some_and(passed_on)
            && let Some(First { holder, others, .. }) = self.holders.remove(&piece)
        {
            // If we gave it to several, nobody knows which of them it was.
            if others.is_empty() {
                self.proven.insert(holder);
                self.recount(holder);
            } else {
                for key in others.into_iter().chain([holder]) {
                    if let Some(count) = self.counts.get_mut(&key) {
                        *count = count.saturating_sub(1);
                    }
                }
            }
            self.count_trials();
        }
    }

    /// How many this peer sits on, `at_hand` not among them, of which it has only a part. To somebody who has passed others on one is nothing, for
    /// it may be on its way. Who has not waits behind all who have: who falls behind holds pieces that nobody lacks any more, and must not wait
    /// behind riders for ever. `had`: so many pieces it had of us. `more`: there are pieces that nobody has yet, so it matters who gets them.
    pub(super) fn kept(&self, key: PeerKey, at_hand: Option<PieceIndex>, had: u32, more: bool) -> u32 {
        let in_part =
            at_hand.is_some_and(|piece| self.holders.get(&piece).is_some_and(|it| it.holder == key));
        let count = self.counts.get(&key).copied().unwrap_or_default();
        match count.saturating_sub(u32::from(in_part)) {
            kept if self.proven.contains(&key) => kept.saturating_sub(1).min(MANY),
            // Half a piece is of use to nobody: who was begun with is tried to the end.
            0 if in_part => 0,
            // Not for ever: those who have passed on are done some day, and who comes late has nothing to prove itself by.
            0 if had >= FAIR_TRIAL && !more && !self.proven.is_empty() => MANY,
            0 => {
                u32::from(more && self.proven.len() >= ENOUGH && self.on_trial * TRIALS >= self.proven.len())
            }
            kept => MANY + kept,
        }
    }

    /// To somebody who has passed one on, only those count that it may pass on yet.
    fn recount(&mut self, key: PeerKey) {
        let sits = |first: &&First| first.holder == key || first.others.contains(&key);
        let count = self.holders.values().filter(sits).count();
        self.counts.insert(key, count as u32);
    }

    fn count_trials(&mut self) {
        let on_trial = |&(key, &count): &(&PeerKey, &u32)| count > 0 && !self.proven.contains(key);
        self.on_trial = self.counts.iter().filter(on_trial).count();
    }

    /// Whether somebody who has never passed one on has had one for too long.
    pub(super) fn has_sitters(&self, now: Time) -> bool {
        let sits = |first: &First| now - first.since >= PATIENCE && !self.proven.contains(&first.holder);
        self.holders.values().any(sits)
    }

    /// Whether this piece went to this peer first, and nobody else has it yet.
    pub(super) fn is_first(&self, piece: PieceIndex, key: PeerKey) -> bool {
        self.holders.get(&piece).is_some_and(|first| first.holder == key)
    }

    /// Whether this peer has something that only it was given.
    pub(super) fn holds(&self, key: PeerKey) -> bool {
        self.holders.values().any(|first| first.holder == key)
    }

    /// A peer is gone, and with it these pieces.
    pub(super) fn lost(&mut self, key: PeerKey) -> Vec<PieceIndex> {
        self.proven.remove(&key);
        self.counts.remove(&key);
        let theirs = self.holders.iter().filter(|(_, first)| first.holder == key);
        let lost: Vec<_> = theirs.map(|(&piece, _)| piece).collect();
        let of_theirs = self.holders.values().filter(|first| first.holder == key);
        let others: BTreeSet<PeerKey> = of_theirs.flat_map(|first| first.others.iter().copied()).collect();
        self.holders.retain(|_, first| first.holder != key);
        for first in self.holders.values_mut() {
            first.others.remove(&key);
        }
        for other in others {
            self.recount(other);
        }
        self.count_trials();
        lost
    }
}

#[cfg(test)]
mod tests {
    use torrent_format::Layout;

    use super::*;

    const NOW: Time = Time(Duration::ZERO);

    #[test]
    fn who_passes_a_piece_on_sits_on_nothing_and_who_does_not_waits() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        let [generous, stingy] = [1, 2].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        copies.given(NOW, pieces[0], generous, true);
        copies.given(NOW, pieces[1], stingy, true);
        assert_eq!(copies.kept(generous, Some(pieces[0]), 0, true), 0, "it has only a part of it");
        assert_eq!([generous, stingy].map(|key| copies.kept(key, None, 0, true)), [MANY + 1; 2]);
        copies.seen(pieces[0], generous);
        copies.seen(pieces[0], stingy);
        copies.given(NOW, pieces[2], generous, true);
        copies.given(NOW, pieces[3], stingy, true);
        assert_eq!([generous, stingy].map(|key| copies.kept(key, None, 0, true)), [0, MANY + 2]);
        assert_eq!(copies.lost(stingy), [pieces[1], pieces[3]]);
        assert_eq!(copies.kept(stingy, None, 0, true), 0);
        assert!(copies.holds(generous) && !copies.holds(stingy));
    }

    #[test]
    fn what_we_gave_to_others_too_was_not_passed_on() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        let [rider, another, honest] = [1, 2, 3].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        copies.given(NOW, pieces[0], rider, true);
        copies.given(NOW, pieces[0], another, false);
        copies.seen(pieces[0], another);
        assert_eq!([rider, another].map(|key| copies.standing(key)), [(1, false); 2]);
        copies.seen(pieces[0], honest);
        assert_eq!(copies.standing(rider), (0, false), "somebody has it from one of the two");
        assert_eq!(copies.standing(another), (0, false));
        copies.given(NOW, pieces[1], honest, false);
        assert!(!copies.holds(honest), "others had it before");
        copies.given(NOW, pieces[2], rider, true);
        copies.given(NOW, pieces[2], another, false);
        copies.lost(rider);
        assert_eq!(copies.standing(another), (0, false), "what the first took along is nobody's");
    }

    #[test]
    fn who_passed_on_before_never_waits_behind_those_who_never_did() {
        let layout = Layout::new(16_384, [16_384 * 100]).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        let [rider, behind, gone] = [1, 2, 3].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        copies.given(NOW, pieces[99], rider, true);
        copies.given(NOW, pieces[98], behind, true);
        copies.seen(pieces[98], gone);
        for &piece in &pieces[..50] {
            copies.given(NOW, piece, behind, true);
        }
        assert_eq!([behind, rider].map(|key| copies.kept(key, None, 0, false)), [MANY, MANY + 1]);
    }

    #[test]
    fn once_enough_pass_on_few_are_tried_at_a_time_and_a_rider_s_trial_has_no_end() {
        let layout = Layout::new(16_384, [16_384 * 100]).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        let [rider, new, other] = [90, 91, 92].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        copies.given(NOW, pieces[99], rider, true);
        for (number, &piece) in pieces.iter().enumerate().take(2 * TRIALS) {
            let is_tried = copies.kept(new, None, 0, true) == 0;
            assert_eq!(is_tried, number < ENOUGH || number > TRIALS, "{number} have passed one on");
            assert_eq!(copies.kept(new, None, 0, false), 0, "nothing is left that nobody has");
            let tried = PeerKey::for_test(number as u32);
            copies.given(NOW, piece, tried, true);
            assert_eq!(copies.kept(tried, Some(piece), 0, true), 0, "it gets all of the piece");
            copies.seen(piece, other);
        }
    }

    #[test]
    fn who_sits_on_its_first_copy_for_long_is_told_from_who_passes_others_on() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let pieces: Vec<_> = layout.pieces().collect();
        let [rider, honest, other] = [1, 2, 3].map(PeerKey::for_test);
        let later = NOW + PATIENCE;
        let mut copies = FirstCopies::default();
        copies.given(NOW, pieces[0], honest, true);
        assert_eq!([NOW, later].map(|now| copies.has_sitters(now)), [false, true]);
        copies.seen(pieces[0], other);
        copies.given(NOW, pieces[1], honest, true);
        assert!(!copies.has_sitters(later), "it passed another on");
        copies.given(NOW, pieces[2], rider, true);
        assert!(copies.has_sitters(later));
        copies.seen(pieces[2], other);
        assert!(!copies.has_sitters(later));
    }

    #[test]
    fn who_comes_again_sits_on_what_it_took_along() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let piece = layout.piece(0).unwrap();
        let [before, after] = [1, 2].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        copies.given(NOW, piece, before, true);
        let (kept, proven) = copies.standing(before);
        copies.lost(before);
        copies.came(after, Account { kept, proven, ..Account::default() });
        assert_eq!(copies.kept(after, None, 0, true), MANY + 1);
        assert!(!copies.holds(after));
    }

    #[test]
    fn who_had_much_and_never_passed_on_waits_behind_who_did_once_somebody_has() {
        let layout = Layout::new(16_384, [16_384 * 10]).unwrap();
        let piece = layout.piece(0).unwrap();
        let [behind, rider, new] = [1, 2, 3].map(PeerKey::for_test);
        let mut copies = FirstCopies::default();
        assert_eq!(
            copies.kept(rider, None, FAIR_TRIAL, false),
            0,
            "perhaps there is nobody to pass it on to"
        );
        copies.given(NOW, piece, behind, true);
        copies.seen(piece, new);
        let standing = |key, had| copies.kept(key, None, had, false);
        assert_eq!(standing(rider, FAIR_TRIAL), MANY);
        assert_eq!(copies.kept(rider, None, FAIR_TRIAL, true), 0, "it may show it yet");
        assert_eq!([standing(behind, FAIR_TRIAL), standing(new, FAIR_TRIAL - 1)], [0, 0]);
        copies.lost(behind);
        assert_eq!(copies.kept(rider, None, FAIR_TRIAL, false), 0, "nobody is left who has");
    }
}
