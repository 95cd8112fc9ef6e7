//! How fast bytes flow: [`Meter`], by whole seconds over a window.

use std::time::Duration;

use super::Time;

/// Seconds that a [`Meter`] remembers: two rounds of the choker, so that one burst does not buy a slot for ever and one
/// silent moment does not lose it.
pub(super) const WINDOW_SECONDS: u64 = 20;

/// Counts bytes into the seconds in which they passed.
///
/// Invariant: `buckets[s % WINDOW_SECONDS]` holds the bytes of second `s`, for the seconds `latest - 19 ..= latest`.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    buckets: [u64; WINDOW_SECONDS as usize],
    latest: u64,
    since: Option<Time>,
    total: u64,
}

impl Meter {
    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        self.since.get_or_insert(now);
        self.advance(now);
        self.buckets[(self.latest % WINDOW_SECONDS) as usize] += bytes;
        self.total += bytes;
    }

    /// All bytes ever.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of the current second and the `seconds - 1` before it.
    pub(super) fn recent(&self, now: Time, seconds: u64) -> u64 {
        let current = now.0.as_secs();
        let oldest = (current + 1).saturating_sub(seconds.min(WINDOW_SECONDS));
        let first_kept = (self.latest + 1).saturating_sub(WINDOW_SECONDS);
        (oldest.max(first_kept)..=self.latest).map(|s| self.buckets[(s % WINDOW_SECONDS) as usize]).sum()
    }

    /// Bytes a second over about the last `seconds`; over less if the meter is younger.
    pub(super) fn rate(&self, now: Time, seconds: u64) -> u64 {
        let Some(since) = self.since else { return 0 };
        // The current second has only begun: count just what of it has passed.
        let window = Duration::from_secs(seconds - 1) + Duration::from_nanos(u64::from(now.0.subsec_nanos()));
        let span = window.min(now - since).max(Duration::from_millis(250));
        (self.recent(now, seconds) as f64 / span.as_secs_f64()) as u64
    }

    fn advance(&mut self, now: Time) {
        let current = now.0.as_secs();
        let passed = current.saturating_sub(self.latest).min(WINDOW_SECONDS);
        for step in 0..passed {
            self.buckets[((current - step) % WINDOW_SECONDS) as usize] = 0;
        }
        self.latest = self.latest.max(current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    #[test]
    fn a_steady_flow_is_its_rate_and_silence_fades_within_the_window() {
        let mut meter = Meter::default();
        for tick in 0..100 {
            meter.add(at(tick * 100), 100);
        }
        let rate = meter.rate(at(10_000), 5);
        assert!((900..=1_100).contains(&rate), "{rate}");
        assert_eq!(meter.recent(at(10_000), 20), 10_000);
        assert_eq!(meter.recent(at(31_000), 20), 0);
        assert_eq!(meter.total(), 10_000);
    }

    #[test]
    fn a_young_meter_is_not_diluted_by_time_before_it() {
        let mut meter = Meter::default();
        meter.add(at(100_000), 0);
        meter.add(at(100_500), 500);
        assert_eq!(meter.rate(at(100_500), 20), 1_000);
    }

    #[test]
    fn a_long_pause_leaves_nothing_behind() {
        let mut meter = Meter::default();
        meter.add(at(1_000), 7);
        meter.add(at(1_000_000_000), 5);
        assert_eq!(meter.recent(at(1_000_000_000), 20), 5);
    }
}
