//! Whom to upload to: tit-for-tat (BEP 3, "Choking and optimistic unchoking"; Cohen 2003).
//!
//! Upload goes to few peers at a time, the *unchoked*. While we lack pieces, the slots go to those that gave us most lately: who
//! gives, gets. One slot goes round among all others, whatever they gave, so that a newcomer gets a first taste and we find
//! better partners: the *optimistic unchoke*. Once we have everything there is nothing to get back, and the slots go round in turns
//! of equal length, so that a fast peer gains nothing by being fast (Legout et al. 2006, the seed state).
//!
//! Two clocks: every [`ROUND`] all slots are judged anew, and only then does anybody lose one (but who is spent, and at a first
//! seed who asks for nothing new: [`restraint`](super::restraint)). Between rounds slots are given: one that
//! falls free, or whose holder has no use for it at the moment, goes to somebody else at once, for an uplink that waits for the next round
//! is lost to the whole swarm. Those that owe us least come first, and of these who lacks more than a few of our pieces: mostly a slot is free because
//! its holders have no use for it, and who has nearly all that we have would have none either.
//!
//! What is left over is not for those who only take: a peer that has had a free first piece, and twice what it gave, is *spent*. While we trade
//! it has no slot until it gives something (then at once), and be it that our uplink idles; else many neighbours' left-overs add up to a whole torrent.
//!
//! A first seed that finds somebody to sit on what it gave is wary ([`Choker::beware`]): until each piece is in several hands, who has passed one on must
//! not wait for a slot that riders hold, and of those who have yet to show that they pass anything on, who has most is likely one who trades.
//!
//! Being unchoked is leave to ask; who of those that asked is served first is the [`feeder`](super::feeder)'s business.
//!
//! This file decides; it sees peers only as [`View`]s, and its tests are scenarios of these.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Time;
use super::peers::PeerKey;
use super::slots::{Round, Slots};

/// How often the slots are judged. BEP 3 says ten seconds; but nobody loses a slot before the round is over, and by the end of so long a one
/// slots have been given to so many that pieces arrive late, and all of them at once.
pub(super) const ROUND: Duration = Duration::from_secs(5);

/// Rounds that one optimistic unchoke lasts: 30 s, long enough for it to give something back (BEP 3).
const OPTIMISTIC_ROUNDS: u32 = 6;

/// How long a peer keeps its slot at a seed while others wait. Short, so that soon many have something that others lack; who loses its
/// slot may finish its piece.
const SEED_TURN: Duration = Duration::from_secs(10);

/// A peer that has what it asked for may take so long to ask for more before its slot counts as free: a round trip.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// A peer that holds a slot keeps it unless another gave this much more, in tenths: two that give alike must not take turns every round.
const INCUMBENT_TENTHS: u64 = 11;

/// Pieces that a peer may owe us before it waits behind others.
pub(super) const MUCH: u32 = 2;

/// Who lacks fewer of our pieces has likely asked others for them already, and waits for a slot behind those who lack more.
const FEW: u32 = 6;

/// Peers that are unchoked at a time, at most, those included that have no use for it at the moment.
const MAX_UNCHOKED: usize = 128;

/// A peer as the choker sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) key: PeerKey,
    /// How many pieces more it got from us than we from it; at a seed, how many it got that it could pass on and did not.
    pub(super) debt: u32,
    /// It gets nothing more before it gives something.
    pub(super) spent: bool,
    /// It has nothing yet, and nothing from us.
    pub(super) is_new: bool,
    /// It wants something from us.
    pub(super) interested: bool,
    /// It holds a slot.
    pub(super) unchoked: bool,
    /// When it got or lost its slot; `None`: it never had one.
    pub(super) changed: Option<Time>,
    pub(super) connected: Time,
    /// Bytes that it gave us over the last [`super::rate::WINDOW_SECONDS`].
    pub(super) gave: u64,
    /// It keeps us waiting for what it owes.
    pub(super) snubs: bool,
    /// It holds a slot, and has asked for nothing that it did not get, for [`GRACE`].
    pub(super) idle: bool,
    /// How many of our pieces it lacks, at least.
    pub(super) lacks: u32,
    /// How many pieces it has.
    pub(super) has: u32,
    /// It has passed on what nobody else had but we.
    pub(super) proven: bool,
}

impl View {
    fn uses_its_slot(&self) -> bool {
        self.unchoked && self.interested && !self.idle
    }
}

#[derive(Debug)]
pub(super) struct Choker {
    slots: Slots,
    optimistic: Option<PeerKey>,
    round: u32,
    rng: fastrand::Rng,
    wary: bool,
    off: bool,
}

impl Choker {
    pub(super) fn new(upload_limit: Option<u64>, seed: u64) -> Self {
        Self {
            slots: Slots::new(upload_limit),
            optimistic: None,
            round: 0,
            rng: fastrand::Rng::with_seed(seed),
            wary: false,
            off: false,
        }
    }

    /// For experiments: slots go to whoever is there, and stay.
    pub(super) fn switch_off(&mut self) {
        self.off = true;
    }

    /// Whether somebody sits on what a first seed gave it.
    pub(super) fn beware(&mut self, wary: bool) {
        self.wary = wary;
    }

    /// How long the first round takes: part of one, another with each of us, or a crowd that began together would judge together for ever, and
    /// its uplinks stand still together before that.
    pub(super) fn first_round(&mut self) -> Duration {
        ROUND.mul_f64(self.rng.f64())
    }

    /// Judges all slots: who is to hold one now. `sent`: bytes that left since the round before.
    pub(super) fn judge(&mut self, now: Time, views: &[View], sent: u64, seeding: bool) -> BTreeSet<PeerKey> {
        self.fit_slots(views, sent, seeding);
        self.round += 1;
        if self.off {
            return self.fill(now, views, seeding);
        }
        let mut chosen = if seeding { self.turns(now, views) } else { self.reciprocate(views) };
        let spare = self.slots.count(seeding).saturating_sub(chosen.len());
        chosen.extend(self.waiting(now, views, &chosen, seeding).iter().take(spare).map(|v| v.key));
        chosen
    }

    /// Something changed between rounds: for every free slot whoever waits. Nobody loses one before the round is over: who lost
    /// interest, or has asked for nothing for a moment, may be back at once, and holds nobody up meanwhile, for its slot counts as free.
    pub(super) fn fill(&mut self, now: Time, views: &[View], seeding: bool) -> BTreeSet<PeerKey> {
        let mut chosen: BTreeSet<_> = views.iter().filter(|v| v.unchoked).map(|v| v.key).collect();
        let spare = self.spare(views, seeding);
        if spare > 0 {
            let mut waiting = self.waiting(now, views, &chosen, seeding);
            if seeding && self.wary {
                // A debtor's slot is for those only who have passed something on.
                let in_use = views.iter().filter(|v| v.uses_its_slot()).count();
                let unused = self.slots.count(seeding).saturating_sub(in_use);
                let rest = waiting.split_off(unused.min(waiting.len()));
                waiting.extend(rest.into_iter().filter(|v| v.proven && v.debt == 0));
            }
            chosen.extend(waiting.iter().take(spare).map(|v| v.key));
        }
        chosen
    }

    /// How many slots [`Self::fill`] would give at most. Only those who hold one matter.
    pub(super) fn spare(&self, views: &[View], seeding: bool) -> usize {
        // Whoever owes much waits behind the others for what is left over: it keeps nobody from a slot.
        let much = match seeding {
            false => MUCH,
            true if self.wary => 1,
            true => u32::MAX,
        };
        let used = views.iter().filter(|v| v.uses_its_slot() && v.debt < much).count();
        let held = views.iter().filter(|v| v.unchoked).count();
        self.slots.count(seeding).saturating_sub(used).min(MAX_UNCHOKED.saturating_sub(held))
    }

    /// While downloading: the best givers, and one optimistic unchoke.
    fn reciprocate(&mut self, views: &[View]) -> BTreeSet<PeerKey> {
        let mut givers: Vec<_> =
            views.iter().filter(|v| v.interested && !v.spent && v.gave > 0 && !v.snubs).collect();
        givers.sort_by_key(|v| {
            std::cmp::Reverse(if v.unchoked { v.gave * INCUMBENT_TENTHS / 10 } else { v.gave })
        });
        let mut chosen: BTreeSet<_> =
            givers.iter().take(self.slots.count(false) - 1).map(|v| v.key).collect();
        let eligible = |v: &&View| v.interested && !v.spent && !chosen.contains(&v.key);
        let keeps = self
            .optimistic
            .is_some_and(|key| views.iter().any(|v| v.key == key && v.unchoked && eligible(&v)));
        if !keeps || self.round.is_multiple_of(OPTIMISTIC_ROUNDS) {
            // Whoever has waited longest; a newcomer has waited since for ever, so its first taste comes soon.
            self.optimistic = views
                .iter()
                .filter(eligible)
                .min_by_key(|v| (v.unchoked, v.changed, v.connected))
                .map(|v| v.key);
        }
        chosen.extend(self.optimistic);
        chosen
    }

    /// While seeding: whoever has a turn left.
    fn turns(&self, now: Time, views: &[View]) -> BTreeSet<PeerKey> {
        let in_turn = |v: &&View| v.changed.is_some_and(|since| now - since < SEED_TURN) && v.debt < MUCH;
        let mut holders: Vec<_> =
            views.iter().filter(|v| v.unchoked && v.interested).filter(in_turn).collect();
        holders.sort_by_key(|v| std::cmp::Reverse(v.changed));
        holders.iter().take(self.slots.count(true)).map(|v| v.key).collect()
    }

    /// Who gets a free slot, best first.
    fn waiting(&mut self, now: Time, views: &[View], chosen: &BTreeSet<PeerKey>, seeding: bool) -> Vec<View> {
        let mut waiting: Vec<_> =
            views.iter().filter(|v| v.interested && !v.spent && !chosen.contains(&v.key)).copied().collect();
        self.rng.shuffle(&mut waiting);
        let since = |v: &View| match v.changed {
            // It holds a slot whose turn is over: only if nobody else wants it.
            Some(_) if v.unchoked => Time(now.0 + Duration::from_secs(1)),
            Some(choked) => choked,
            None => Time::default(),
        };
        waiting.sort_by_key(|v| {
            let gave = if seeding { 0 } else { v.gave };
            let owes = if seeding { v.debt } else { 0 };
            let lacks_few = !seeding && v.lacks < FEW;
            let best = std::cmp::Reverse(gave);
            // Riders have little: nobody gives them more than a taste.
            let promises = std::cmp::Reverse(if seeding && self.wary && !v.proven { v.has } else { 0 });
            (owes, promises, !v.is_new, !seeding && v.snubs, v.debt, lacks_few, best, since(v))
        });
        waiting
    }

    fn fit_slots(&mut self, views: &[View], sent: u64, seeding: bool) {
        let holders = || views.iter().filter(|v| v.unchoked && v.interested);
        let round = Round {
            held: holders().count(),
            idle: holders().filter(|v| v.idle).count(),
            wanted: views.iter().any(|v| v.interested && !v.unchoked),
            sent,
        };
        self.slots.judge(round, seeding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots while downloading, and while seeding.
    const LEECHING: usize = 4;
    const SEEDING: u32 = 3;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    fn peer(number: u32, gave: u64) -> View {
        View {
            key: PeerKey::for_test(number),
            debt: 0,
            spent: false,
            is_new: false,
            interested: true,
            unchoked: false,
            changed: None,
            connected: at(0),
            gave,
            snubs: false,
            idle: false,
            lacks: 0,
            has: 0,
            proven: false,
        }
    }

    fn keys(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<PeerKey> {
        numbers.into_iter().map(PeerKey::for_test).collect()
    }

    /// Gives the chosen their slots, as the torrent would.
    fn apply(views: &mut [View], chosen: &BTreeSet<PeerKey>, now: Time) {
        for view in views {
            let unchoke = chosen.contains(&view.key);
            if view.unchoked != unchoke {
                (view.unchoked, view.changed) = (unchoke, Some(now));
            }
        }
    }

    #[test]
    fn who_gives_most_gets_and_one_other_has_a_chance() {
        let views: Vec<_> = (0..10).map(|n| peer(n, u64::from(n) * 1_000)).collect();
        let chosen = Choker::new(None, 1).judge(at(10), &views, 0, false);
        assert_eq!(chosen.len(), LEECHING);
        assert!(chosen.is_superset(&keys(7..10)), "{chosen:?}");
    }

    #[test]
    fn who_wants_nothing_takes_no_slot() {
        let mut views: Vec<_> = (0..3).map(|n| peer(n, 1_000)).collect();
        views[2].interested = false;
        assert_eq!(Choker::new(None, 1).judge(at(10), &views, 0, false), keys(0..2));
    }

    #[test]
    fn who_takes_and_keeps_us_waiting_loses_its_slot() {
        let mut views: Vec<_> = (0..8).map(|n| peer(n, 1_000)).collect();
        views[0] = View { snubs: true, unchoked: true, changed: Some(at(0)), gave: 9_000, ..views[0] };
        assert!(!Choker::new(None, 1).judge(at(10), &views, 0, false).contains(&PeerKey::for_test(0)));
    }

    #[test]
    fn the_optimistic_slot_visits_everyone() {
        let mut views: Vec<_> = (0..12).map(|n| peer(n, if n < 4 { 1_000_000 } else { 0 })).collect();
        let mut choker = Choker::new(None, 1);
        let mut visited = BTreeSet::new();
        for round in 1..=OPTIMISTIC_ROUNDS * 8 {
            let chosen = choker.judge(at(u64::from(round) * 5), &views, 0, false);
            visited.extend(chosen.iter().copied());
            apply(&mut views, &chosen, at(u64::from(round) * 5));
        }
        assert_eq!(visited, keys(0..12));
    }

    #[test]
    fn two_that_give_alike_do_not_take_turns() {
        let mut views: Vec<_> = (0..8).map(|n| peer(n, 100_000)).collect();
        let mut choker = Choker::new(None, 1);
        let first = choker.judge(at(10), &views, 0, false);
        apply(&mut views, &first, at(10));
        // The others gave a little more this round.
        for view in views.iter_mut().filter(|view| !view.unchoked) {
            view.gave += 5_000;
        }
        let second = choker.judge(at(20), &views, 0, false);
        assert_eq!(first.intersection(&second).count(), LEECHING);
    }

    #[test]
    fn a_slot_that_falls_free_is_filled_at_once() {
        let mut views: Vec<_> = (0..5).map(|n| peer(n, 1_000 - u64::from(n))).collect();
        let mut choker = Choker::new(None, 1);
        let chosen = choker.judge(at(10), &views, 0, false);
        apply(&mut views, &chosen, at(10));
        let leaver = *chosen.first().unwrap();
        let waiting: BTreeSet<_> = views.iter().map(|v| v.key).filter(|key| !chosen.contains(key)).collect();
        views.retain(|view| view.key != leaver);
        let filled = choker.fill(at(11), &views, false);
        assert_eq!(filled.len(), LEECHING);
        assert!(filled.is_superset(&waiting));
    }

    #[test]
    fn who_loses_interest_or_asks_for_nothing_stays_unchoked_for_the_round_and_keeps_nobody_from_a_slot() {
        for idle in [false, true] {
            let mut views: Vec<_> = (0..SEEDING).map(|n| peer(n, 0)).collect();
            let mut choker = Choker::new(None, 1);
            let chosen = choker.fill(at(1), &views, true);
            apply(&mut views, &chosen, at(1));
            views[0] = View { interested: idle, idle, ..views[0] };
            assert_eq!(choker.fill(at(2), &views, true), keys(0..SEEDING));
            views.push(peer(99, 0));
            assert_eq!(choker.fill(at(3), &views, true), keys((0..SEEDING).chain([99])));
        }
    }

    #[test]
    fn who_owes_us_much_waits_behind_the_others_and_takes_no_slot_from_them() {
        let mut views: Vec<_> = (0..LEECHING as u32).map(|n| View { debt: MUCH, ..peer(n, 0) }).collect();
        let mut choker = Choker::new(None, 1);
        let chosen = choker.fill(at(1), &views, false);
        assert_eq!(chosen, keys(0..4), "better than that the line is idle");
        apply(&mut views, &chosen, at(1));
        views.extend([View { debt: MUCH + 1, ..peer(8, 0) }, peer(9, 0)]);
        views.extend((10..13).map(|n| peer(n, 0)));
        assert_eq!(choker.fill(at(2), &views, false), keys((0..4).chain(9..13)));
    }

    #[test]
    fn who_lacks_but_few_of_our_pieces_waits_behind_those_who_owe_us_as_little() {
        let lacks = |number, lacks, debt, gave| View { lacks, debt, ..peer(number, gave) };
        let views = [lacks(0, FEW, 1, 9), lacks(1, FEW, 0, 1), lacks(2, FEW - 1, 0, 9), lacks(3, 90, 0, 2)];
        let order = Choker::new(None, 1).waiting(at(1), &views, &BTreeSet::new(), false);
        let order: Vec<_> = order.iter().map(|v| v.key).collect();
        assert_eq!(order, [3, 1, 2, 0].map(PeerKey::for_test));
    }

    #[test]
    fn who_is_spent_has_no_slot_though_nobody_else_wants_it() {
        for gave in [0, 9_000] {
            let spent = View { spent: true, ..peer(0, gave) };
            let mut choker = Choker::new(None, 1);
            assert_eq!(choker.fill(at(1), &[spent], false), keys([]));
            let holds = View { unchoked: true, changed: Some(at(0)), ..spent };
            assert_eq!(choker.judge(at(10), &[holds], 0, false), keys([]));
            assert_eq!(choker.judge(at(20), &[peer(0, gave)], 0, false), keys([0]));
        }
    }

    #[test]
    fn a_seed_s_free_slot_goes_to_who_passes_on_before_a_newcomer() {
        let newcomer = View { is_new: true, debt: 1, ..peer(0, 0) };
        let views: Vec<_> = std::iter::once(newcomer).chain((1..=SEEDING).map(|n| peer(n, 0))).collect();
        assert_eq!(Choker::new(None, 1).fill(at(1), &views, true), keys(1..=SEEDING));
        assert!(Choker::new(None, 1).fill(at(1), &views, false).contains(&PeerKey::for_test(0)));
    }

    #[test]
    fn who_keeps_what_a_seed_gave_it_loses_its_turn_to_others_and_only_to_them() {
        let holder = View { debt: MUCH, unchoked: true, changed: Some(at(8)), ..peer(0, 0) };
        let mut choker = Choker::new(None, 1);
        assert_eq!(choker.judge(at(10), &[holder], 0, true), keys([0]));
        let others = (1..=SEEDING).map(|n| peer(n, 0));
        let views: Vec<_> = std::iter::once(holder).chain(others).collect();
        assert_eq!(choker.judge(at(20), &views, 0, true), keys(1..=SEEDING));
    }

    #[test]
    fn a_wary_seed_gives_a_debtor_s_slot_to_those_only_who_pass_on() {
        let holders =
            (0..SEEDING).map(|n| View { debt: 1, unchoked: true, changed: Some(at(1)), ..peer(n, 0) });
        let mut views: Vec<_> = holders.collect();
        views.extend([View { debt: 1, ..peer(7, 0) }, peer(8, 0), View { proven: true, ..peer(9, 0) }]);
        let mut choker = Choker::new(None, 1);
        assert_eq!(choker.fill(at(2), &views, true), keys(0..SEEDING), "nobody sits on anything");
        choker.beware(true);
        let chosen = choker.fill(at(2), &views, true);
        assert_eq!(chosen, keys((0..SEEDING).chain([9])));
        apply(&mut views, &chosen, at(2));
        views[0].idle = true;
        assert_eq!(choker.fill(at(3), &views, true), chosen, "three use theirs");
        views[1].idle = true;
        let chosen = choker.fill(at(4), &views, true);
        assert_eq!(chosen, keys((0..SEEDING).chain([8, 9])), "nobody uses this one");
    }

    #[test]
    fn a_wary_seed_tries_those_first_who_have_most() {
        let has = |number, has, proven| View { has, proven, ..peer(number, 0) };
        let views =
            [has(0, 1, false), has(1, 5, false), has(2, 90, true), has(3, 9, false), has(4, 6, false)];
        let mut choker = Choker::new(None, 1);
        choker.beware(true);
        assert_eq!(choker.fill(at(1), &views, true), keys([1, 3, 4]));
    }

    #[test]
    fn a_seed_serves_everyone_in_turns_however_fast_they_are() {
        let mut views: Vec<_> = (0..15).map(|n| peer(n, 0)).collect();
        let mut choker = Choker::new(None, 1);
        let mut seconds = [0_u64; 15];
        for round in 1..=90 {
            let chosen = choker.judge(at(round * 10), &views, 0, true);
            assert!(chosen.len() >= SEEDING as usize);
            apply(&mut views, &chosen, at(round * 10));
            for (view, seconds) in views.iter().zip(&mut seconds) {
                *seconds += if view.unchoked { 10 } else { 0 };
            }
        }
        let (least, most) = (seconds.iter().min().unwrap(), seconds.iter().max().unwrap());
        assert!(most - least <= 60, "{seconds:?}");
    }

    #[test]
    fn a_seed_lets_peers_stay_while_nobody_waits() {
        let mut views: Vec<_> = (0..3).map(|n| peer(n, 0)).collect();
        let mut choker = Choker::new(None, 1);
        for round in 1..20 {
            let chosen = choker.judge(at(round * 10), &views, 0, true);
            assert_eq!(chosen, keys(0..3));
            apply(&mut views, &chosen, at(round * 10));
        }
        assert!(views.iter().all(|view| view.changed == Some(at(10))));
    }
}
