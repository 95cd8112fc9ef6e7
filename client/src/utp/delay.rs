//! How long packets wait on their way, apart from what the way itself takes: [`Delays`].
//!
//! The clocks of two machines are apart by anything, so a single difference between a packet's time stamp and its arrival says nothing;
//! by how much it exceeds the least of the last minutes is what the packet has waited (RFC 6817, section 3.4). Clocks also run at different
//! speeds: one direction's least goes down with time, which shows, and the other's should go up as much, which does not show.

use std::collections::VecDeque;
use std::time::Duration;

use crate::torrent::Time;

/// Minutes over which the least counts (RFC 6817: `BASE_HISTORY`). Clocks drift apart by some ten milliseconds meanwhile.
const MINUTES: usize = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// Of so many differences the least is what packets wait at present (RFC 6817: `CURRENT_FILTER`): what a single one has waited may be noise.
const FILTER: usize = 4;

/// The most that clocks drift apart in a minute, in microseconds: 100 millionths. What is more is no drift, but a better way.
const MAX_DRIFT: u32 = 6_000;

/// Of both directions. All differences are in microseconds, and go round.
#[derive(Debug, Default)]
pub(super) struct Delays {
    ours: Base,
    theirs: Base,
    recent: VecDeque<u32>,
}

impl Delays {
    /// A packet of the other's came so long after its time stamp.
    pub(super) fn heard(&mut self, now: Time, difference: u32) {
        if self.theirs.add(now, difference)
            && let [.., before, last, _] = *self.theirs.minutes.make_contiguous()
        {
            // Whole minutes: within one, the least sinks because packets are found that were delayed less.
            let sunk = before.wrapping_sub(last);
            if sunk <= MAX_DRIFT {
                self.ours.raise(sunk);
            }
        }
    }

    /// The other says that a packet of ours came so long after its time stamp. It may be one of the handshake, or of long ago: what it says of
    /// the way holds, of the present it says nothing.
    pub(super) fn reported(&mut self, now: Time, difference: u32) {
        self.ours.add(now, difference);
    }

    /// The other says that a packet of ours that it acknowledges came so long after its time stamp.
    pub(super) fn told(&mut self, now: Time, difference: u32) {
        self.reported(now, difference);
        if self.recent.len() == FILTER {
            self.recent.pop_front();
        }
        self.recent.push_back(difference);
    }

    /// What packets of ours take at present, if that is known. Two such levels tell which way the queue goes, wherever the clocks stand.
    pub(super) fn level(&self) -> Option<Level> {
        self.recent.iter().copied().reduce(least).map(Level)
    }

    /// How long packets of ours wait at present, if that is known.
    pub(super) fn current(&self) -> Option<Duration> {
        Some(self.level()?.above(Level(self.ours.least()?)))
    }
}

/// A difference between a time stamp and an arrival, in microseconds by two clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Level(pub(super) u32);

impl Level {
    /// By how much it exceeds the other; zero if it does not.
    pub(super) fn above(self, other: Self) -> Duration {
        let above = self.0.wrapping_sub(other.0);
        if is_negative(above) { Duration::ZERO } else { micros(above) }
    }

    pub(super) fn min(self, other: Self) -> Self {
        Self(least(self.0, other.0))
    }
}

/// The least difference of the last minutes.
#[derive(Debug, Default)]
struct Base {
    /// The least of each minute, the present one last.
    minutes: VecDeque<u32>,
    began: Time,
}

impl Base {
    /// Whether it begins a minute.
    fn add(&mut self, now: Time, difference: u32) -> bool {
        match self.minutes.back_mut() {
            Some(least) if now - self.began < MINUTE => {
                if is_negative(difference.wrapping_sub(*least)) {
                    *least = difference;
                }
                false
            }
            _ => {
                if self.minutes.len() == MINUTES {
                    self.minutes.pop_front();
                }
                self.minutes.push_back(difference);
                self.began = now;
                true
            }
        }
    }

    fn least(&self) -> Option<u32> {
        self.minutes.iter().copied().reduce(least)
    }

    fn raise(&mut self, by: u32) {
        self.minutes.iter_mut().for_each(|least| *least = least.wrapping_add(by));
    }
}

/// The one that is less, as they go round.
fn least(a: u32, b: u32) -> u32 {
    if is_negative(b.wrapping_sub(a)) { b } else { a }
}

fn is_negative(difference: u32) -> bool {
    (difference as i32) < 0
}

fn micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    fn milliseconds(delays: &Delays) -> u128 {
        delays.current().unwrap().as_millis()
    }

    #[test]
    fn what_exceeds_the_least_is_the_wait_wherever_the_clocks_stand() {
        for offset in [0_u32, 5_000_000, u32::MAX - 10_000, 1 << 31] {
            let mut delays = Delays::default();
            assert_eq!(delays.current(), None);
            for waited in [30_000, 0, 40_000, 60_000, 50_000, 70_000, 90_000] {
                delays.told(at(1), offset.wrapping_add(waited));
            }
            assert_eq!(milliseconds(&delays), 50, "the least of the last four");
        }
    }

    #[test]
    fn what_is_reported_of_the_handshake_counts_for_the_way_alone() {
        let mut delays = Delays::default();
        delays.reported(at(0), 1_000_000);
        assert_eq!((delays.level(), delays.current()), (None, None));
        delays.told(at(1), 1_070_000);
        assert_eq!(milliseconds(&delays), 70);
        delays.reported(at(2), 1_010_000);
        assert_eq!((milliseconds(&delays), delays.level()), (70, Some(Level(1_070_000))));
    }

    #[test]
    fn a_way_that_became_longer_is_known_as_such_after_ten_minutes() {
        let mut delays = Delays::default();
        delays.told(at(0), 1_000_000);
        for second in 1..=9 * 60 {
            delays.told(at(second), 1_080_000);
        }
        assert_eq!(milliseconds(&delays), 80);
        for second in 9 * 60..11 * 60 {
            delays.told(at(second), 1_080_000);
        }
        assert_eq!(milliseconds(&delays), 0);
    }

    #[test]
    fn a_clock_that_runs_fast_is_no_delay() {
        // Ours loses 10 ms in 10 minutes: their packets seem to come earlier and earlier, ours later and later.
        let drifting = |correct: bool| {
            let mut delays = Delays::default();
            for second in 0..8 * 60 {
                let drift = (second * 1_000_000 / 60_000) as u32;
                if correct {
                    delays.heard(at(second), 5_000_000 - drift);
                }
                delays.told(at(second), 7_000_000 + drift);
            }
            milliseconds(&delays)
        };
        assert_eq!((drifting(true), drifting(false)), (1, 7));
    }

    #[test]
    fn what_is_no_drift_changes_nothing_for_us() {
        // A better way for them, and the least that is found with time.
        for after in [4_900_000, 4_997_000] {
            let mut delays = Delays::default();
            delays.told(at(0), 7_000_000);
            for second in 0..4 * 60 {
                let found = if after == 4_997_000 { 30 } else { 90 };
                delays.heard(at(second), if second < found { 5_000_000 } else { after });
            }
            for _ in 0..FILTER {
                delays.told(at(4 * 60), 7_050_000);
            }
            assert_eq!(milliseconds(&delays), 50, "{after}");
        }
    }
}
