//! When a connection has to be looked at again: [`Timers`], a table of deadlines whose least is the one that counts.

use crate::torrent::Time;

/// What there is to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// An acknowledgement, an answer to a SYN, or room at the other's.
    Answer,
    /// More data that can be acknowledged together.
    Ack,
    /// The next packet's turn.
    Pace,
    /// A sign of life is due, or routers on the way forget the connection.
    KeepAlive,
    /// The connection ends, whatever is missing.
    Expire,
}

const ALL: [Timer; 5] = [Timer::Answer, Timer::Ack, Timer::Pace, Timer::KeepAlive, Timer::Expire];

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers([Option<Time>; ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn runs(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.iter().flatten().min().copied()
    }

    /// One that is due; it is stopped.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Timer> {
        let due = ALL.into_iter().find(|timer| self.0[*timer as usize].is_some_and(|at| at <= now))?;
        self.stop(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_counts_and_each_is_due_once() {
        let at = |seconds| Time(Duration::from_secs(seconds));
        let mut timers = Timers::default();
        assert_eq!((timers.next(), timers.take_due(at(9))), (None, None));
        timers.set(Timer::Expire, at(3));
        timers.set(Timer::Ack, at(2));
        timers.set(Timer::Pace, at(1));
        timers.stop(Timer::Pace);
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.take_due(at(2)), Some(Timer::Ack));
        assert_eq!(timers.take_due(at(2)), None);
        assert!(timers.runs(Timer::Expire) && !timers.runs(Timer::Ack));
    }
}
