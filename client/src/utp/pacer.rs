//! Spreads a window over its round trip, rather than sending it at one stroke: [`Pacer`].

use std::time::Duration;

use crate::torrent::Time;

/// Packets that may always go together: what two acknowledgements allow.
const BURST: f64 = 4.0;

/// The finest step of the clocks that callers wake up by. On a fast line more goes together, as much as passes within two such steps.
const STEP: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacer {
    /// Bytes that may go now.
    credit: f64,
    filled: Time,
}

impl Pacer {
    /// Takes `bytes` if they may go, at `rate` bytes a second and in packets of at most `packet`; else says when to ask again.
    pub(super) fn take(&mut self, now: Time, bytes: usize, rate: f64, packet: usize) -> Result<(), Time> {
        let burst = (BURST * packet as f64).max(rate * 2.0 * STEP.as_secs_f64());
        let gained = (now - self.filled).as_secs_f64() * rate;
        self.credit = (self.credit + gained).min(burst);
        self.filled = now;
        if self.credit >= bytes as f64 {
            self.credit -= bytes as f64;
            return Ok(());
        }
        let lacking = Duration::from_secs_f64((bytes as f64 - self.credit) / rate);
        Err(now + lacking.clamp(STEP, Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many packets go within a second, and how many at its beginning.
    fn within_a_second(rate: f64) -> (usize, usize) {
        let mut pacer = Pacer::default();
        let mut now = Time(Duration::from_secs(10));
        let end = now + Duration::from_secs(1);
        let (mut sent, mut first) = (0, None);
        while now < end {
            match pacer.take(now, 1_000, rate, 1_000) {
                Ok(()) => sent += 1,
                Err(later) => {
                    first.get_or_insert(sent);
                    assert!(later > now);
                    now = later;
                }
            }
        }
        (sent, first.unwrap())
    }

    #[test]
    fn packets_go_at_the_rate_and_few_together() {
        assert_eq!(within_a_second(100_000.0), (103, 4));
        let (sent, first) = within_a_second(50_000_000.0);
        assert_eq!(first, 100);
        assert!((49_900..=50_200).contains(&sent), "{sent}");
    }
}
