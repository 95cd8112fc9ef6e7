//! How many upload slots: [`Slots`], as few as fill the uplink.
//!
//! Few slots are good: a piece that goes to one peer at the full rate can be traded on sooner, and two that fetch from a seed at the same
//! time may fetch the same piece. But the uplink must be full, and nobody tells us how fast it is, or how slow those are at
//! the other ends. So while seeding we try: half as many slots more for a round, and if that brings at least half of what it would
//! if every slot were as good as those before, they stay.

/// Slots while downloading, the optimistic one included (BEP 3).
const LEECHING: usize = 4;

/// Slots while seeding. Nothing is to be found out about anybody, so fewer will do.
const SEEDING: usize = 3;

/// Slots at most.
const MAX_SLOTS: usize = 64;

/// Below this many bytes a second for a slot, an upload limit is spread over fewer slots.
const SLOT_RATE: u64 = 5 * 1024;

/// Rounds from a trial that brought nothing to the next: two minutes, for the path and the peers change.
const REST: u32 = 24;

/// What a round was like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Peers that held a slot and wanted it.
    pub(super) held: usize,
    /// Those of them for whom we had nothing to send.
    pub(super) idle: usize,
    /// Somebody wants a slot and has none.
    pub(super) wanted: bool,
    /// Bytes that left.
    pub(super) sent: u64,
}

#[derive(Debug)]
pub(super) struct Slots {
    /// Slots beyond the base.
    extra: usize,
    affordable: usize,
    trial: Option<Sample>,
    upwards: bool,
    rest: u32,
}

/// So many slots sent so much in a round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    extra: usize,
    slots: usize,
    sent: u64,
}

impl Slots {
    pub(super) fn new(upload_limit: Option<u64>) -> Self {
        let affordable =
            upload_limit.map_or(MAX_SLOTS, |limit| usize::try_from(limit / SLOT_RATE).unwrap_or(MAX_SLOTS));
        Self { extra: 0, affordable: affordable.clamp(2, MAX_SLOTS), trial: None, upwards: true, rest: 0 }
    }

    /// How many there are.
    pub(super) fn count(&self, seeding: bool) -> usize {
        let base = if seeding { SEEDING } else { LEECHING };
        (base + self.extra).min(self.affordable)
    }

    /// A round is over.
    pub(super) fn judge(&mut self, round: Round, seeding: bool) {
        let slots = self.count(seeding);
        let full = round.held >= slots;
        if full && round.idle * 2 > round.held {
            // Most leave their slots unused: others may have more use for one.
            self.extra = (self.extra + (slots / 2).max(1)).min(MAX_SLOTS);
            self.trial = None;
        } else if seeding {
            self.try_others(slots, full && round.wanted, round.sent);
        } else if round.idle == 0 {
            self.extra = self.extra.saturating_sub(1);
        }
    }

    fn try_others(&mut self, slots: usize, full: bool, sent: u64) {
        let now = Sample { extra: self.extra, slots, sent };
        if let Some(before) = self.trial.take().filter(|_| full) {
            let (fewer, more) = if before.slots < slots { (before, now) } else { (now, before) };
            let better = if is_worth_it(fewer, more) { more } else { fewer };
            if better.extra != self.extra {
                self.extra = better.extra;
                self.upwards = !self.upwards;
                self.rest = REST;
            }
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        if !full {
            return;
        }
        let extra = if self.upwards { self.extra + (slots / 2).max(1) } else { self.extra / 2 };
        let before = std::mem::replace(&mut self.extra, extra);
        if self.count(true) == slots {
            // This way there is nothing more to try.
            self.extra = before;
            self.upwards = !self.upwards;
        } else {
            self.trial = Some(now);
        }
    }
}

/// Whether `more` slots send more, by over half of what they would if each were as good as the `fewer`.
fn is_worth_it(fewer: Sample, more: Sample) -> bool {
    let half_way = (fewer.slots + more.slots) as u64;
    more.sent.saturating_mul(2 * fewer.slots as u64) > fewer.sent.saturating_mul(half_way)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds for so many rounds through an uplink of so many bytes a round to peers that take so many each; the slots after each round.
    fn seed(slots: &mut Slots, rounds: usize, uplink: u64, peer: u64) -> Vec<usize> {
        let one = |_| {
            let held = slots.count(true);
            let sent = uplink.min(held as u64 * peer);
            slots.judge(Round { held, idle: 0, wanted: true, sent }, true);
            slots.count(true)
        };
        (0..rounds).map(one).collect()
    }

    fn average(counts: &[usize]) -> usize {
        counts.iter().sum::<usize>() / counts.len()
    }

    #[test]
    fn a_full_uplink_has_no_use_for_more_slots_and_asks_seldom() {
        let counts = seed(&mut Slots::new(None), 60, 1_000, 1_000);
        assert!(counts.iter().filter(|&&count| count != SEEDING).count() <= 60 / 12, "{counts:?}");
    }

    #[test]
    fn slow_peers_get_as_many_slots_as_the_uplink_carries() {
        let counts = seed(&mut Slots::new(None), 60, 40_000, 1_000);
        assert!((25..=45).contains(&average(&counts[10..])), "{counts:?}");
    }

    #[test]
    fn when_the_uplink_slows_down_slots_close() {
        let mut slots = Slots::new(None);
        seed(&mut slots, 60, 40_000, 1_000);
        let counts = seed(&mut slots, 200, 4_000, 1_000);
        assert!((3..=8).contains(&average(&counts[150..])), "{counts:?}");
    }

    #[test]
    fn slots_that_nobody_wants_or_uses_are_no_reason_for_more_but_idle_ones_are() {
        let mut slots = Slots::new(None);
        for _ in 0..20 {
            slots.judge(Round { held: 3, idle: 0, wanted: false, sent: 1 }, true);
        }
        assert_eq!(slots.count(true), SEEDING);
        slots.judge(Round { held: 3, idle: 2, wanted: false, sent: 1 }, true);
        assert_eq!((slots.count(true), slots.count(false)), (SEEDING + 1, LEECHING + 1));
        slots.judge(Round { held: 5, idle: 0, wanted: true, sent: 1 }, false);
        assert_eq!(slots.count(false), LEECHING);
    }

    #[test]
    fn a_small_limit_has_few_slots_and_a_large_one_no_more_than_can_be_looked_after() {
        assert_eq!(Slots::new(Some(12 * 1024)).count(true), 2);
        assert_eq!(Slots::new(Some(0)).count(false), 2);
        let counts = seed(&mut Slots::new(None), 100, u64::MAX / 1_000, 1_000);
        assert_eq!(counts.iter().max(), Some(&MAX_SLOTS));
    }
}
