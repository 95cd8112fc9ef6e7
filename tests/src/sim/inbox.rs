//! `have`s on their way to a node: [`Inbox`].
//!
//! They are more than half of all that happens in a swarm, and small news: one waits up to [`PATIENCE`] for other news to its node, or for
//! more of its kind, and then all are taken in together, while the node's memory is at hand. Never later than what came after them.

use std::time::Duration;

use client::torrent::{PeerKey, Time};

use super::link::LinkId;

/// How long a `have` waits at most after it has come. Senders' stacks do the like (Nagle); a link takes 25 ms.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// A `have` for a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Have<From = (PeerKey, LinkId)> {
    /// When it comes.
    pub at: Time,
    /// Over which connection of the node's. Also over which link: a node that is reborn uses the keys of its former life again.
    pub from: From,
    /// Which piece.
    pub index: u32,
}

/// What is under way to one node.
#[derive(Debug)]
pub struct Inbox<From = (PeerKey, LinkId)> {
    coming: Vec<Have<From>>,
    /// When the first of them comes.
    first: Option<Time>,
    /// For when the node's turn is in the queue.
    pub due: Option<Time>,
}

impl<From> Default for Inbox<From> {
    fn default() -> Self {
        Self { coming: Vec::new(), first: None, due: None }
    }
}

impl<From> Inbox<From> {
    /// A `have` was sent.
    pub fn push(&mut self, have: Have<From>) {
        self.first = Some(self.first.map_or(have.at, |first| first.min(have.at)));
        self.coming.push(have);
    }

    /// When the next must be taken in.
    pub fn deadline(&self) -> Option<Time> {
        Some(self.first? + PATIENCE)
    }

    /// Moves what has come by now into `taken`, in the order in which it came.
    pub fn take(&mut self, now: Time, taken: &mut Vec<Have<From>>) {
        if self.first.is_none_or(|first| first > now) {
            return;
        }
        // Stable: of two that come at one moment over one connection, the first sent is the first.
        self.coming.sort_by_key(|have| have.at);
        let come = self.coming.partition_point(|have| have.at <= now);
        taken.extend(self.coming.drain(..come));
        self.first = self.coming.first().map(|have| have.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_is_taken_in_order_and_the_rest_waits() {
        let (mut inbox, mut taken) = (Inbox::default(), Vec::new());
        let at = |millis| Time(Duration::from_millis(millis));
        for (millis, index) in [(30, 0), (10, 1), (20, 2), (10, 3), (40, 4)] {
            inbox.push(Have { at: at(millis), from: 'x', index });
        }
        assert_eq!(inbox.deadline(), Some(at(10) + PATIENCE));
        inbox.take(at(5), &mut taken);
        assert_eq!(taken, []);
        inbox.take(at(30), &mut taken);
        assert_eq!(taken.iter().map(|have| have.index).collect::<Vec<_>>(), [1, 3, 2, 0]);
        assert_eq!(inbox.deadline(), Some(at(40) + PATIENCE));
    }
}
