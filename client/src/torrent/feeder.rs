//! In which order blocks leave: [`Feeder`], a whole piece to one peer, then one to the next, the rarest first.
//!
//! Only whole pieces can be passed on. Four peers that get their blocks by turns have nothing to give until all four pieces are done;
//! if each gets its piece at the full rate, the first has one to trade after a quarter of that time. In a young swarm that is what sets
//! the pace: with `s` at a time it doubles `s / log2(s + 1)` times slower than with one (Mundinger, Weber and Weiss 2008: one at a time
//! is optimal). For the same reason a piece that few have goes before one that many have, whoever asked first: what is common can be had
//! from others, and while a rare one waits, those who lack it have nothing to give each other.
//!
//! So little is handed out at a time, to one peer as long as its turn lasts; what others asked for waits, where it can be taken back. A
//! peer that does not take what it is given, since its own line is slow, holds nobody up: the next is fed beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use torrent_format::PieceIndex;

use super::first_copies::MANY;
use super::peers::PeerKey;
use super::time::Time;

/// A turn ends with a piece, and after this long: longer pieces would let the others wait until they take us for dead.
const TURN: Duration = Duration::from_secs(1);

/// The least that a turn may be worth, bytes.
const LEAST_TURN: u64 = 256 * 1024;

/// A peer that has taken nothing for so long is fed beside others: 16 KiB in this time is 53 KiB/s.
const STALL: Duration = Duration::from_millis(300);

/// A piece that this many times fewer have goes before the rest of the one that is going out. And who wants it asks for it although enough is asked
/// for already, or its turn would not come before all of that is served.
pub(super) const PREEMPT: u32 = 2;

/// Who has waited for so long gets what it asked for, however common.
const PATIENCE: Duration = Duration::from_secs(5);

/// And after so long even though something else has never left us: soon it would take us for dead.
const LAST_PATIENCE: Duration = Duration::from_secs(15);

/// Bytes handed out and not yet sent, to all who take them: a twentieth of a second's worth in this range, so that the uplink does not run
/// dry between two events, and what is sent next is decided late.
const AHEAD: std::ops::RangeInclusive<u64> = 32 * 1024..=64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Feeder {
    /// Who has asked for something that has not been handed out, and since when it waits: since it asked, or was handed something.
    line: BTreeMap<PeerKey, Time>,
    /// The number of each peer's last turn.
    last: BTreeMap<PeerKey, u64>,
    turns: u64,
    turn: Option<Turn>,
    /// Who has been handed something that has not left.
    fed: BTreeMap<PeerKey, Fed>,
}

/// A peer is being given a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) key: PeerKey,
    pub(super) piece: PieceIndex,
    /// See [`Wished::again`]. Not so if its peer has waited too long.
    pub(super) again: bool,
    began: Time,
    bytes: u64,
}

/// What goes first, however rare: what is for those who do not stall, for no rider, what never left the first seed, what is for those who owe the
/// swarm least, who have waited too long, who had least for nothing.
type Claim = (bool, bool, bool, u32, bool, u32);

/// And of those alike: what is rarest, who has least, whose last turn was longest ago.
type Wish = (u32, u32, u64);

/// A piece that a peer asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wished {
    pub(super) piece: PieceIndex,
    /// How many have it; the piece that the peer got a part of last counts as a little rarer, so that it becomes whole.
    pub(super) rarity: u32,
    /// It is elsewhere too, or the first seed sent it to somebody else before. No swarm can finish before everything has left that seed once, and
    /// who waits for this gets it of others soon.
    pub(super) again: bool,
}

/// How a peer stands with us.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Standing {
    /// What it owes the swarm, in pieces: what it had of the first seed and did not pass on. Of those who trade with us, whether it owes us much.
    pub(super) debt: u32,
    /// How many pieces it had of us, where each is to have as many as the others, rare or not.
    pub(super) had: u32,
    /// How many pieces it has.
    pub(super) wealth: u32,
}

#[derive(Clone, Copy, Debug)]
struct Fed {
    bytes: u64,
    /// When the first of it was handed out, or some of it left.
    progress: Time,
}

impl Feeder {
    /// Whether this peer has requests that wait.
    pub(super) fn line_up(&mut self, now: Time, key: PeerKey, waits: bool) {
        if waits {
            self.line.entry(key).or_insert(now);
        } else {
            self.line.remove(&key);
        }
    }

    /// This peer is gone.
    pub(super) fn remove(&mut self, key: PeerKey) {
        self.line.remove(&key);
        self.last.remove(&key);
        self.fed.remove(&key);
        if self.turn.is_some_and(|turn| turn.key == key) {
            self.turn = None;
        }
    }

    /// Whether nothing is on its way and nothing waits: the uplink has run dry.
    pub(super) fn is_dry(&self) -> bool {
        self.line.is_empty() && self.fed.is_empty()
    }

    /// Whether no more is to be handed out now, since enough is on its way. `rate`: what we send to all, bytes a second.
    pub(super) fn is_ahead(&self, now: Time, rate: u64) -> bool {
        let taking = self.fed.values().filter(|fed| !fed.is_stalled(now));
        taking.map(|fed| fed.bytes).sum::<u64>() >= (rate / 20).clamp(*AHEAD.start(), *AHEAD.end())
    }

    /// The turn that is not over.
    pub(super) fn turn(&self, now: Time) -> Option<Turn> {
        self.turn.filter(|turn| !turn.is_over(now) && !self.stalls(now, turn.key))
    }

    /// A piece was asked for. If it is far rarer than the one that is going out, that waits.
    pub(super) fn asked(&mut self, rarity: u32, rarity_of: impl Fn(PieceIndex) -> u32) {
        if self.turn.is_some_and(|turn| PREEMPT * rarity <= rarity_of(turn.piece)) {
            self.turn = None;
        }
    }

    pub(super) fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Whose turn is next, and with which piece. `wishes(peer)`: what it asked for, if it may be handed anything.
    pub(super) fn begin_turn<W>(
        &mut self,
        now: Time,
        standing: impl Fn(PeerKey) -> Standing,
        wishes: impl Fn(PeerKey) -> W,
    ) -> Option<Turn>
    where
        W: Iterator<Item = Wished>,
    {
        let mut best: Option<(Claim, Wish, PeerKey, PieceIndex)> = None;
        for (&key, &since) in &self.line {
            let last = self.last.get(&key).copied().unwrap_or_default();
            let patient = now - since < PATIENCE;
            let stalls = self.stalls(now, key);
            let Standing { debt, had, wealth } = standing(key);
            let claim = |again| (stalls, debt >= MANY, again, debt, patient, had);
            if best.is_some_and(|(least, ..)| least < claim(false)) {
                continue;
            }
            for Wished { piece, rarity, again } in wishes(key) {
                let claim = claim(again && now - since < LAST_PATIENCE);
                let wish = (rarity, wealth, last);
                if best.is_none_or(|(least, of_that, ..)| (claim, wish) < (least, of_that)) {
                    best = Some((claim, wish, key, piece));
                }
            }
        }
        let ((_, _, again, ..), _, key, piece) = best?;
        self.turns += 1;
        self.last.insert(key, self.turns);
        self.turn = Some(Turn { key, piece, again, began: now, bytes: 0 });
        self.turn
    }

    /// A block is handed out, in the turn that [`Self::turn`] or [`Self::begin_turn`] named.
    pub(super) fn handed(&mut self, now: Time, key: PeerKey, bytes: u64) {
        let fed = self.fed.entry(key).or_insert(Fed { bytes: 0, progress: now });
        fed.bytes += bytes;
        if let Some(since) = self.line.get_mut(&key) {
            *since = now;
        }
        if let Some(turn) = &mut self.turn {
            turn.bytes += bytes;
        }
    }

    /// Something that was handed to this peer has left, or was taken back.
    pub(super) fn settled(&mut self, now: Time, key: PeerKey, bytes: u64) {
        if let Some(fed) = self.fed.get_mut(&key) {
            fed.bytes = fed.bytes.saturating_sub(bytes);
            fed.progress = now;
            if fed.bytes == 0 {
                self.fed.remove(&key);
            }
        }
    }

    /// When more may be handed out though nothing has happened until then.
    pub(super) fn due(&self, now: Time) -> Option<Time> {
        let taking = self.fed.values().filter(|fed| !self.line.is_empty() && !fed.is_stalled(now));
        taking.map(|fed| fed.progress + STALL).min()
    }

    fn stalls(&self, now: Time, key: PeerKey) -> bool {
        self.fed.get(&key).is_some_and(|fed| fed.is_stalled(now))
    }
}

impl Turn {
    fn is_over(&self, now: Time) -> bool {
        self.bytes >= LEAST_TURN && now - self.began >= TURN
    }
}

impl Fed {
    fn is_stalled(&self, now: Time) -> bool {
        now - self.progress >= STALL
    }
}

#[cfg(test)]
mod tests {
    use torrent_format::Layout;

    use super::*;

    const BLOCK: u64 = 16 * 1024;

    fn at(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    fn key(number: u32) -> PeerKey {
        PeerKey::for_test(number)
    }

    fn piece(number: u32) -> PieceIndex {
        Layout::new(16_384, [16_384 * 100]).unwrap().piece(number).unwrap()
    }

    /// Everybody owes nothing, has nothing, and asked for the piece of its own number, with these rarities.
    fn begin(feeder: &mut Feeder, now: Time, rarities: &[u32]) -> Option<u32> {
        begin_as(feeder, now, |_| Standing::default(), rarities)
    }

    fn begin_as(
        feeder: &mut Feeder,
        now: Time,
        standing: impl Fn(PeerKey) -> Standing,
        rarities: &[u32],
    ) -> Option<u32> {
        let wishes = |peer| {
            let number = (0..100).find(|&number| key(number) == peer).unwrap();
            std::iter::once(Wished { piece: piece(number), rarity: rarities[number as usize], again: false })
        };
        feeder.begin_turn(now, standing, wishes).map(|turn| turn.piece.get())
    }

    fn line_up(feeder: &mut Feeder, numbers: std::ops::Range<u32>) {
        numbers.for_each(|number| feeder.line_up(at(0), key(number), true));
    }

    #[test]
    fn little_is_handed_out_at_a_time() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..1);
        begin(&mut feeder, at(0), &[1]);
        assert!(!feeder.is_ahead(at(0), 0));
        feeder.handed(at(0), key(0), 2 * BLOCK);
        assert!(feeder.is_ahead(at(0), 500_000), "one block on the wire, one behind it");
        assert!(!feeder.is_ahead(at(0), 10_000_000), "a fast line takes more");
        feeder.settled(at(10), key(0), BLOCK);
        assert!(!feeder.is_ahead(at(10), 500_000));
    }

    #[test]
    fn the_rarest_goes_first_and_alike_ones_in_turn() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..3);
        let order: Vec<_> = (0..4).map(|_| begin(&mut feeder, at(0), &[7, 2, 2])).collect();
        assert_eq!(order, [Some(1), Some(2), Some(1), Some(2)]);
    }

    #[test]
    fn who_has_waited_long_gets_what_many_have() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..2);
        feeder.handed(at(4_900), key(1), BLOCK);
        assert_eq!(begin(&mut feeder, at(5_000), &[7, 2]), Some(0));
    }

    #[test]
    fn what_was_sent_before_waits_for_what_never_was_but_not_for_riders() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..2);
        let wishes = |peer| {
            let number = u32::from(peer == key(1));
            std::iter::once(Wished { piece: piece(number), rarity: 1, again: number == 0 })
        };
        let standing = |debt| {
            move |peer| Standing { debt: if peer == key(1) { debt } else { 0 }, ..Standing::default() }
        };
        // The first has waited too long, the second owes something.
        feeder.handed(at(14_999), key(1), BLOCK);
        feeder.settled(at(14_999), key(1), BLOCK);
        let mut first = |at, debt| feeder.begin_turn(at, standing(debt), wishes).map(|turn| turn.key);
        assert_eq!([1, MANY].map(|debt| first(at(14_999), debt)), [Some(key(1)), Some(key(0))]);
        assert_eq!(first(at(15_000), 1), Some(key(0)), "not for ever");
    }

    #[test]
    fn who_owes_most_goes_last_and_who_has_least_first() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..3);
        let standing = |peer| Standing {
            debt: if peer == key(1) { 3 } else { 0 },
            wealth: if peer == key(0) { 9 } else { 0 },
            ..Standing::default()
        };
        assert_eq!(begin_as(&mut feeder, at(0), standing, &[5, 1, 5]), Some(2));
        feeder.remove(key(2));
        assert_eq!(begin_as(&mut feeder, at(0), standing, &[5, 1, 5]), Some(0));
    }

    #[test]
    fn of_debtors_the_one_that_had_least_goes_first_however_rare_what_others_want() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..3);
        let had = |peer| (0..3).position(|number| peer == key(number)).map_or(0, |number| [4, 2, 3][number]);
        let standing = |peer| Standing { debt: 1, had: had(peer), ..Standing::default() };
        assert_eq!(begin_as(&mut feeder, at(0), standing, &[1, 5, 1]), Some(1));
    }

    #[test]
    fn who_takes_nothing_holds_nobody_up() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..2);
        assert_eq!(begin(&mut feeder, at(0), &[1, 5]), Some(0));
        feeder.handed(at(0), key(0), 2 * BLOCK);
        assert!(feeder.is_ahead(at(299), 100_000));
        assert_eq!(feeder.due(at(299)), Some(at(300)));
        assert!(!feeder.is_ahead(at(300), 100_000));
        assert!(feeder.turn(at(300)).is_none());
        assert_eq!(begin(&mut feeder, at(300), &[1, 5]), Some(1));
        assert_eq!(feeder.due(at(300)), None, "that has been seen");
    }

    #[test]
    fn a_far_rarer_piece_breaks_a_turn_and_one_that_is_about_as_rare_does_not() {
        let mut feeder = Feeder::default();
        line_up(&mut feeder, 0..2);
        begin(&mut feeder, at(0), &[4, 9]);
        feeder.asked(3, |_| 4);
        assert!(feeder.turn(at(0)).is_some());
        feeder.asked(2, |_| 4);
        assert!(feeder.turn(at(0)).is_none());
    }

    #[test]
    fn a_long_piece_takes_a_second_at_a_time_and_a_slow_line_enough_for_a_short_one() {
        for (bytes, millis, over) in
            [(LEAST_TURN, 1_000, true), (LEAST_TURN - BLOCK, 9_000, false), (9 * LEAST_TURN, 999, false)]
        {
            let mut feeder = Feeder::default();
            line_up(&mut feeder, 0..1);
            begin(&mut feeder, at(0), &[1]);
            feeder.handed(at(0), key(0), bytes);
            feeder.settled(at(millis), key(0), bytes);
            assert_eq!(feeder.turn(at(millis)).is_none(), over, "{bytes} {millis}");
        }
    }

    #[test]
    fn the_uplink_is_dry_once_nothing_waits_and_nothing_is_on_its_way() {
        let mut feeder = Feeder::default();
        assert!(feeder.is_dry());
        line_up(&mut feeder, 0..1);
        feeder.handed(at(0), key(0), BLOCK);
        feeder.line_up(at(0), key(0), false);
        assert!(!feeder.is_dry());
        feeder.settled(at(1), key(0), BLOCK);
        assert!(feeder.is_dry());
    }
}
