//! What uplinks do while they are not sending: [`Idle`] watches one, [`Slices`] sum over all, [`Share`] is the report's figure.

use std::time::Duration;

use client::torrent::Time;

/// What a node's uplink is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uplink {
    /// A block is on the wire.
    Busy,
    /// No neighbour has said that it wants anything.
    Unwanted,
    /// Some neighbours want something, and all of them are choked.
    Choking,
    /// An unchoked neighbour wants something and has asked for nothing, or what it asked for is not queued yet.
    Unasked,
}

/// How many kinds of [`Uplink`] there are.
const KINDS: usize = 4;

/// What one uplink is at, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    now: Uplink,
    since: Time,
}

impl Default for Idle {
    fn default() -> Self {
        Self { now: Uplink::Unwanted, since: Time::default() }
    }
}

impl Idle {
    /// Its node joins.
    pub fn start(&mut self, now: Time) {
        *self = Self { since: now, ..Self::default() };
    }

    /// From here on it is at `what`. Returns what it was at until now, and since when, if that has changed.
    pub fn turn(&mut self, now: Time, what: Uplink) -> Option<(Uplink, Time)> {
        if what == self.now {
            return None;
        }
        let past = (self.now, self.since);
        *self = Self { now: what, since: now };
        Some(past)
    }

    /// What it is at, and since when.
    pub fn current(&self) -> (Uplink, Time) {
        (self.now, self.since)
    }
}

/// What all uplinks together left unused, by slices of time.
#[derive(Clone, Debug)]
pub struct Slices {
    length: Duration,
    /// Bytes that could have been sent, by kind.
    slices: Vec<[f64; KINDS]>,
}

impl Slices {
    /// In slices of this length.
    pub fn new(length: Duration) -> Self {
        Self { length, slices: Vec::new() }
    }

    /// From one moment to another, an uplink of this rate was at `what`.
    pub fn book(&mut self, what: Uplink, rate: u64, from: Time, to: Time) {
        let mut from = from.0;
        while from < to.0 {
            let slice = (from.as_nanos() / self.length.as_nanos()) as usize;
            let until = to.0.min(self.length * (slice as u32 + 1));
            if self.slices.len() <= slice {
                self.slices.resize(slice + 1, [0.0; KINDS]);
            }
            self.slices[slice][what as usize] += rate as f64 * (until - from).as_secs_f64();
            from = until;
        }
    }

    /// The shares from one moment to another, to the nearest slices.
    pub fn shares(&self, from: Duration, to: Duration) -> Share {
        let slice =
            |time: Duration| ((time.as_nanos() / self.length.as_nanos()) as usize).min(self.slices.len());
        let slices = &self.slices[slice(from)..slice(to).max(slice(from))];
        Share::new(
            slices
                .iter()
                .fold([0.0; KINDS], |sum, slice| std::array::from_fn(|kind| sum[kind] + slice[kind])),
        )
    }
}

/// Shares of all uplinks' capacity, 0 to 1. What is missing to 1 was used.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Share {
    /// See [`Uplink::Unwanted`].
    pub unwanted: f64,
    /// See [`Uplink::Choking`].
    pub choking: f64,
    /// See [`Uplink::Unasked`].
    pub unasked: f64,
}

impl Share {
    fn new(bytes: [f64; KINDS]) -> Self {
        let all = bytes.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let share = |what: Uplink| bytes[what as usize] / all;
        Self {
            unwanted: share(Uplink::Unwanted),
            choking: share(Uplink::Choking),
            unasked: share(Uplink::Unasked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    #[test]
    fn time_is_booked_under_what_it_was_spent_on_and_weighed_by_rate() {
        let mut slices = Slices::new(Duration::from_secs(5));
        let mut fast = Idle::default();
        fast.start(at(10));
        for (second, what) in
            [(11, Uplink::Unwanted), (12, Uplink::Busy), (17, Uplink::Choking), (20, Uplink::Busy)]
        {
            if let Some((was, since)) = fast.turn(at(second), what) {
                slices.book(was, 3, since, at(second));
            }
        }
        slices.book(Uplink::Unasked, 1, at(10), at(20));
        let share = slices.shares(Duration::from_secs(10), Duration::from_secs(20));
        assert_eq!(share, Share { unwanted: 6.0 / 40.0, choking: 9.0 / 40.0, unasked: 10.0 / 40.0 });
        let late = slices.shares(Duration::from_secs(15), Duration::from_secs(100));
        assert_eq!(late, Share { unwanted: 0.0, choking: 9.0 / 20.0, unasked: 5.0 / 20.0 });
        assert_eq!(slices.shares(Duration::from_secs(50), Duration::from_secs(60)), Share::default());
    }
}
