//! What the first seed does not send: [`Restraint`], while something has never left it.
//!
//! A seed that has sent each byte once may go, and often does; and no swarm is done before everything has left it. Yet now and then all who hold
//! its slots ask for what others were given already, and nobody for what is new. What it sends then is sent twice, and if it goes when
//! as many bytes as there are have left it, the swarm lacks a piece for ever. So it stands still for a moment, and gives
//! those slots to others, whom it suggests what is new.
//!
//! Not for long: who ignores suggestions, or reads along from the start, must not wait for what a slow peer takes.

use std::time::Duration;

use super::time::Time;

/// After this long without anything new others get what they asked for: several round trips.
const PAUSE: Duration = Duration::from_secs(1);

/// It stands still for so much of the time, at most.
const SHARE: u32 = 20;

/// How long who asks for nothing new keeps its slot: it may not have heard of it yet.
pub(super) const TENURE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Restraint {
    /// When something left that is nowhere else, first and last.
    new: Option<(Time, Time)>,
    /// It stands still since then.
    since: Option<Time>,
    /// For how long it stood still before.
    stood_still: Duration,
}

impl Restraint {
    /// Something leaves. `new`: it is nowhere else.
    pub(super) fn leaves(&mut self, now: Time, new: bool) {
        if let Some(since) = self.since.take() {
            self.stood_still += now - since;
        }
        if new {
            let first = self.new.map_or(now, |(first, _)| first);
            self.new = Some((first, now));
        }
    }

    /// Whether what is elsewhere too may have to wait.
    pub(super) fn may_hold_back(&self, now: Time) -> bool {
        let still = self.since.map_or(Duration::ZERO, |since| now - since);
        let stood_still = self.stood_still + still;
        self.new.is_some_and(|(first, last)| now - last < PAUSE && stood_still * SHARE < now - first)
    }

    /// It does wait.
    pub(super) fn hold_back(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    #[test]
    fn nothing_waits_for_long_after_what_was_new_nor_for_more_than_a_twentieth_of_the_time() {
        let mut restraint = Restraint::default();
        assert!(!restraint.may_hold_back(at(0)), "nothing new has left");
        restraint.leaves(at(0), true);
        assert!(!restraint.may_hold_back(at(0)), "it has only begun");
        restraint.leaves(at(30_000), true);
        restraint.hold_back(at(30_000));
        assert!(restraint.may_hold_back(at(30_999)));
        assert!(!restraint.may_hold_back(at(31_000)), "nobody asks for anything new");
        restraint.leaves(at(31_000), true);
        restraint.hold_back(at(31_000));
        assert!(restraint.may_hold_back(at(31_500)));
        assert!(!restraint.may_hold_back(at(31_600)), "1.6 s of 31.6");
    }
}
