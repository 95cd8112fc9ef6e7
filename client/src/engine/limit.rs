#![expect(clippy::disallowed_methods, reason = "a rate is bytes over real time")]
//! Rate limits: [`Limiter`], shared by all connections of a session for one direction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use torrent_format::BLOCK_LENGTH;

/// What may go at once after a pause, as time at the full rate: long enough for timers that tick in milliseconds, short enough for the
/// rate to hold within any second.
const BURST: Duration = Duration::from_millis(100);

/// A rate that is kept. Cheap to clone; clones share it. Turns are given in the order in which they are asked for.
///
/// It is a schedule, not a bucket that is refilled: each taker gets the moment at which all bytes before its own are through, so that a
/// timer that fires late does not slow the sum down.
#[derive(Clone, Debug)]
pub struct Limiter {
    schedule: Option<Arc<Schedule>>,
}

#[derive(Debug)]
struct Schedule {
    /// Bytes a second; at least 1.
    rate: f64,
    /// When all bytes given out so far are through.
    through: Mutex<Instant>,
}

impl Limiter {
    /// Bytes a second; `None`: as many as there are, at no cost.
    pub fn new(rate: Option<u64>) -> Self {
        let schedule = rate.map(|rate| {
            let through = Mutex::new(Instant::now());
            Arc::new(Schedule { rate: rate.max(1) as f64, through })
        });
        Self { schedule }
    }

    /// Whether there is a limit at all.
    pub fn is_limited(&self) -> bool {
        self.schedule.is_some()
    }

    /// Waits until these bytes may go. Dropped before that, it has taken nothing.
    pub async fn take(&self, bytes: u32) {
        let Some(schedule) = &self.schedule else { return };
        let (turn, start) = schedule.reserve(bytes);
        tokio::time::sleep_until(start).await;
        turn.keep();
    }

    /// Returns bytes that were taken and did not go after all.
    pub fn give_back(&self, bytes: u32) {
        if let Some(schedule) = &self.schedule {
            schedule.give_back(bytes);
        }
    }

    /// How many bytes one taker should ask for at most, so that others wait no longer than a burst for it.
    pub fn portion(&self) -> u32 {
        let Some(schedule) = &self.schedule else { return u32::MAX };
        // `as` saturates.
        ((schedule.rate * BURST.as_secs_f64()) as u32).max(BLOCK_LENGTH)
    }
}

impl Schedule {
    fn reserve(&self, bytes: u32) -> (Turn<'_>, Instant) {
        let mut through = self.through();
        let now = Instant::now();
        let start = (*through).max(now.checked_sub(BURST).unwrap_or(now));
        *through = start + self.duration(bytes);
        (Turn { schedule: self, bytes }, start)
    }

    fn give_back(&self, bytes: u32) {
        let mut through = self.through();
        if let Some(earlier) = through.checked_sub(self.duration(bytes)) {
            *through = earlier;
        }
    }

    fn duration(&self, bytes: u32) -> Duration {
        Duration::from_secs_f64(f64::from(bytes) / self.rate)
    }

    fn through(&self) -> MutexGuard<'_, Instant> {
        self.through.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the schedule, given back when it is dropped before its time.
struct Turn<'a> {
    schedule: &'a Schedule,
    bytes: u32,
}

impl Turn<'_> {
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.schedule.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Virtual seconds that `takers` need together, each for `blocks` blocks one after another.
    async fn seconds(limiter: &Limiter, takers: usize, blocks: usize) -> f64 {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..takers {
            let limiter = limiter.clone();
            tasks.spawn(async move {
                for _ in 0..blocks {
                    limiter.take(BLOCK_LENGTH).await;
                }
            });
        }
        tasks.join_all().await;
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_whatever_the_number_of_takers() {
        for takers in [1, 7, 64] {
            let limiter = Limiter::new(Some(1_000_000));
            let blocks = 640 / takers;
            let ideal = (takers * blocks) as f64 * f64::from(BLOCK_LENGTH) / 1e6;
            let took = seconds(&limiter, takers, blocks).await;
            assert!((took / ideal - 1.0).abs() < 0.05, "{takers} takers: {took} s, not {ideal} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_no_more_than_one_burst() {
        let limiter = Limiter::new(Some(163_840));
        tokio::time::advance(Duration::from_secs(60)).await;
        // 100 ms at this rate are one block: one from the burst, one on credit, then one every 100 ms.
        let took = seconds(&limiter, 1, 12).await;
        assert!((0.99..1.02).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_costs_no_time() {
        assert_eq!(seconds(&Limiter::new(None), 3, 1_000).await, 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_has_taken_nothing() {
        let limiter = Limiter::new(Some(1_000));
        limiter.take(1_000).await;
        let gave_up = tokio::time::timeout(Duration::from_millis(10), limiter.take(1_000_000)).await;
        assert!(gave_up.is_err());
        let start = Instant::now();
        limiter.take(1).await;
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_given_back_can_be_taken_again() {
        let limiter = Limiter::new(Some(1_000));
        limiter.take(5_000).await;
        limiter.give_back(5_000);
        let start = Instant::now();
        limiter.take(1).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
