//! Round trips, and how long to wait for an acknowledgement (RFC 6298): [`RoundTrip`].

use std::time::Duration;

/// The wait before anything is known (RFC 6298, section 2).
const FIRST: Duration = Duration::from_secs(1);

/// The shortest wait. BEP 29 has the same; the other may keep an acknowledgement back for 100 ms.
const LEAST: Duration = Duration::from_millis(500);

/// The longest, however often it was doubled.
const MOST: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    /// Mean and mean deviation.
    known: Option<(Duration, Duration)>,
    /// How often in a row the wait was in vain.
    in_vain: u32,
}

impl RoundTrip {
    /// Of a packet that was sent once: of another nobody knows which of them was acknowledged (Karn).
    pub(super) fn sample(&mut self, rtt: Duration) {
        self.known = Some(match self.known {
            None => (rtt, rtt / 2),
            Some((mean, deviation)) => ((mean * 7 + rtt) / 8, (deviation * 3 + mean.abs_diff(rtt)) / 4),
        });
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        self.known.map(|(mean, _)| mean)
    }

    /// Something was acknowledged.
    pub(super) fn progress(&mut self) {
        self.in_vain = 0;
    }

    /// Nothing was, for as long as [`Self::timeout`] said.
    pub(super) fn timed_out(&mut self) {
        self.in_vain += 1;
    }

    pub(super) fn in_vain(&self) -> u32 {
        self.in_vain
    }

    /// How long to wait for an acknowledgement.
    pub(super) fn timeout(&self) -> Duration {
        let once = self.known.map_or(FIRST, |(mean, deviation)| (mean + deviation * 4).max(LEAST));
        (once * 2_u32.saturating_pow(self.in_vain.min(8))).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_wait_follows_round_trips_and_doubles_when_it_is_in_vain() {
        let mut trip = RoundTrip::default();
        assert_eq!((trip.timeout(), trip.mean()), (FIRST, None));
        trip.sample(ms(400));
        assert_eq!((trip.timeout(), trip.mean()), (ms(1_200), Some(ms(400))));
        (0..50).for_each(|_| trip.sample(ms(400)));
        assert_eq!(trip.timeout(), LEAST);
        (0..3).for_each(|_| trip.timed_out());
        assert_eq!((trip.timeout(), trip.in_vain()), (ms(4_000), 3));
        (0..100).for_each(|_| trip.timed_out());
        assert_eq!(trip.timeout(), MOST);
        trip.progress();
        assert_eq!(trip.timeout(), LEAST);
    }
}
