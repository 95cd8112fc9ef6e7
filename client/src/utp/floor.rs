//! Whether somebody else gives up his part of the queue: [`Floor`].

use std::time::Duration;

use super::delay::Level;
use crate::torrent::Time;

/// How far packets must be below the least of before. Alone it is some milliseconds up and down; a fourth of a queue is twice that.
const FALL: Duration = Duration::from_millis(12);

/// Of how long that is the least, or of two round trips: what makes packets late, a machine that is busy with other things, is shorter.
const PERIOD: Duration = Duration::from_millis(500);

/// The least that packets took of late.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// Of the last periods, the present one last.
    periods: [Option<Level>; 3],
    began: Time,
}

impl Floor {
    /// Packets take so long now: whether that is far less than all did before. A fall may last into the next period, so what counts is the least of
    /// that before the last.
    pub(super) fn falls(&mut self, now: Time, level: Level, rtt: Duration) -> bool {
        if now - self.began >= PERIOD.max(2 * rtt) {
            self.periods.rotate_left(1);
            self.periods[2] = None;
            self.began = now;
        }
        self.periods[2] = Some(self.periods[2].map_or(level, |least| least.min(level)));
        self.periods[0].is_some_and(|before| before.above(level) >= FALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of these levels is a fall, in milliseconds and a tenth of a second apart, wherever the clocks stand.
    fn falls(levels: &[u32]) -> Vec<bool> {
        let judged = |offset: u32| -> Vec<bool> {
            let mut floor = Floor::default();
            let level = |(number, level): (usize, &u32)| {
                let now = Time(Duration::from_millis(10_000 + 100 * number as u64));
                floor.falls(now, Level(offset.wrapping_add(1_000 * level)), Duration::from_millis(120))
            };
            levels.iter().enumerate().map(level).collect()
        };
        assert_eq!(judged(5), judged(u32::MAX - 100_000));
        judged(5)
    }

    #[test]
    fn a_queue_that_stands_or_grows_or_has_peaks_does_not_fall() {
        let levels: Vec<u32> =
            (0..60).map(|n| 100 + n % 3 + n / 2 + if n % 7 == 0 { 80 } else { 0 }).collect();
        assert!(falls(&levels).iter().all(|falls| !falls));
    }

    #[test]
    fn one_that_falls_within_a_period_or_into_the_next_is_seen() {
        for steady in 10..20 {
            let mut levels = vec![105; steady];
            levels.extend([101, 97, 93, 90, 87, 80]);
            let falls = falls(&levels);
            assert_eq!(falls.iter().position(|falls| *falls), Some(steady + 2), "{falls:?}");
        }
    }

    #[test]
    fn nothing_falls_before_it_is_known_where_it_stood() {
        assert_eq!(falls(&[150, 100, 50, 0]), [false; 4]);
    }
}
