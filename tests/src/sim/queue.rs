//! The queue of what will happen: [`Queue`].
//!
//! Nearly all of it is a fraction of a second away, so it is a calendar: a ring of buckets, each a fraction of a millisecond, that are sorted only
//! when their time comes; a heap holds what is beyond the ring. A heap alone would touch a dozen distant cache lines for each event.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use client::torrent::Time;

use super::event::{Event, nanos};

/// A bucket is 2 to this power of nanoseconds: 0.26 ms.
const BUCKET_BITS: u32 = 18;

/// Buckets in the ring: 1.07 s.
const RING: u64 = 4096;

/// See the module. Events of one moment come out in the order they were put in.
#[derive(Debug)]
pub struct Queue {
    /// The number of the bucket that is being emptied.
    bucket: u64,
    /// What is left of it, the next one last.
    current: Vec<Entry>,
    /// What was put in for this bucket since.
    fresh: BinaryHeap<Entry>,
    /// Later buckets, each at its number modulo [`RING`].
    ring: Vec<Vec<Entry>>,
    /// How many entries the ring holds.
    in_ring: usize,
    /// Beyond the ring when it was put in.
    far: BinaryHeap<Entry>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    nanos: u64,
    sequence: u64,
    event: Event,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            bucket: 0,
            current: Vec::new(),
            fresh: BinaryHeap::new(),
            ring: std::iter::repeat_with(Vec::new).take(RING as usize).collect(),
            in_ring: 0,
            far: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl Queue {
    /// Puts in an event, not before the last that came out.
    pub fn push(&mut self, time: Time, event: Event) {
        let entry = Entry { nanos: nanos(time), sequence: self.sequence, event };
        self.sequence += 1;
        let bucket = entry.bucket();
        if bucket <= self.bucket {
            self.fresh.push(entry);
        } else if bucket - self.bucket < RING {
            self.ring[(bucket % RING) as usize].push(entry);
            self.in_ring += 1;
        } else {
            self.far.push(entry);
        }
    }

    /// The next event and its moment.
    pub fn pop(&mut self) -> Option<(Time, Event)> {
        if self.current.is_empty() && self.fresh.is_empty() {
            self.turn_over()?;
        }
        let fresh_first = match (self.current.last(), self.fresh.peek()) {
            (Some(current), Some(fresh)) => fresh > current,
            (current, _) => current.is_none(),
        };
        let entry = if fresh_first { self.fresh.pop() } else { self.current.pop() }?;
        Some((Time(std::time::Duration::from_nanos(entry.nanos)), entry.event))
    }

    /// Goes on to the next bucket with anything in it; `None`: there is none.
    fn turn_over(&mut self) -> Option<()> {
        let far = self.far.peek().map(Entry::bucket);
        let ahead = || (self.bucket + 1..).find(|bucket| !self.ring[(bucket % RING) as usize].is_empty());
        let near = (self.in_ring > 0).then(ahead).flatten();
        self.bucket = [far, near].into_iter().flatten().min()?;
        std::mem::swap(&mut self.current, &mut self.ring[(self.bucket % RING) as usize]);
        self.in_ring -= self.current.len();
        while self.far.peek().is_some_and(|entry| entry.bucket() == self.bucket) {
            self.current.extend(self.far.pop());
        }
        self.current.sort_unstable();
        Some(())
    }
}

impl Entry {
    fn bucket(&self) -> u64 {
        self.nanos >> BUCKET_BITS
    }
}

impl Ord for Entry {
    /// Reversed: heaps give out their greatest, and so does the end of a sorted bucket.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.nanos, other.sequence).cmp(&(self.nanos, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(micros: u64) -> Time {
        Time(Duration::from_micros(micros))
    }

    fn pop(queue: &mut Queue) -> Option<(u128, usize)> {
        queue.pop().map(|(time, event)| match event {
            Event::Join(node) => (time.0.as_micros(), node),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn events_come_out_by_time_and_then_in_the_order_they_went_in() {
        let mut queue = Queue::default();
        for (millis, node) in [(5, 0), (1, 1), (5, 2), (1, 3), (0, 4)] {
            queue.push(at(millis * 1000), Event::Join(node));
        }
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).collect();
        assert_eq!(order, [(0, 4), (1000, 1), (1000, 3), (5000, 0), (5000, 2)]);
    }

    #[test]
    fn near_and_far_are_one_queue_whatever_is_put_in_meanwhile() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut queue = Queue::default();
        let mut expected = std::collections::BTreeSet::new();
        let (mut now, mut number) = (0, 0);
        for _ in 0..20_000 {
            if rng.u8(..5) < 3 {
                let wait = [0, 1, 100, 10_000, 900_000, 3_000_000, 60_000_000][rng.usize(..7)];
                let time = now + rng.u64(..=wait);
                queue.push(at(time), Event::Join(number));
                expected.insert((u128::from(time), number));
                number += 1;
            } else if let Some(next) = expected.pop_first() {
                assert_eq!(pop(&mut queue), Some(next));
                now = next.0 as u64;
            }
        }
        for next in expected {
            assert_eq!(pop(&mut queue), Some(next));
        }
        assert_eq!(pop(&mut queue), None);
    }
}
