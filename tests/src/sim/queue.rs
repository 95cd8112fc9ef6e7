//! The queue of what will happen: [`Queue`].
//!
//! Whatever a node does reaches another after a link's latency at the earliest. So within a window as short as the shortest link, no node
//! can hear of what another does meanwhile, and the nodes may take their turns one after the other: each comes once a window,
//! handles all that happens to it therein, and its memory is fetched once rather than for each event. In a swarm of a thousand, that is what
//! an event costs most.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use client::torrent::{PeerKey, Time};

use super::event::{Event, NodeId, nanos};
use super::link::LinkId;

/// Windows in the ring: about two seconds.
const RING: u64 = 128;

/// See the module. What happens to a node comes out by time, and what happens to it at one moment in the order it was put in.
#[derive(Debug)]
pub struct Queue {
    /// The length of a window, in nanoseconds.
    width: u64,
    /// The number of the first window that has yet to begin.
    ahead: u64,
    /// Whose turn it is.
    turn: NodeId,
    /// What is left of the window that has begun, the next one last.
    current: Vec<Entry>,
    /// What the node whose turn it is has put in for itself since, for this window.
    fresh: BinaryHeap<Entry>,
    later: Windows<Entry>,
    /// `have`s that are left of the window that has begun, the next one last.
    haves: Vec<(NodeId, Have)>,
    later_haves: Windows<(NodeId, Have)>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    node: NodeId,
    nanos: u64,
    sequence: u64,
    event: Event,
}

/// A `have` on its way to a node. They are more than half of all that happens in a swarm, and small news: they wait for other news to their
/// node, at most until the window ends, and then all that have come are taken in together. Never later than what came after them. Senders'
/// stacks do the like (Nagle).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Have {
    /// When it comes.
    pub at: Time,
    /// Over which connection of the node's.
    pub key: PeerKey,
    /// Over which link: a node that is reborn uses the keys of its former life again.
    pub link: LinkId,
    /// Which piece.
    pub index: u32,
}

impl Queue {
    /// An empty one for nodes that can't hear of each other within `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            width: (window.as_nanos() as u64).max(1),
            ahead: 0,
            turn: 0,
            current: Vec::new(),
            fresh: BinaryHeap::new(),
            later: Windows::default(),
            haves: Vec::new(),
            later_haves: Windows::default(),
            sequence: 0,
        }
    }

    /// Puts in what will happen to `node`: within the window that has begun only if it is that node's turn, and then not before
    /// the last that came out.
    pub fn push(&mut self, time: Time, node: NodeId, event: Event) {
        let entry = Entry { node, nanos: nanos(time), sequence: self.sequence, event };
        self.sequence += 1;
        let window = entry.nanos / self.width;
        if window < self.ahead {
            assert_eq!(node, self.turn, "{:?} would come too late", entry.event);
            self.fresh.push(entry);
        } else {
            self.later.push(self.ahead, window, entry);
        }
    }

    /// Puts in a `have` for `node`.
    pub fn push_have(&mut self, node: NodeId, have: Have) {
        let window = nanos(have.at) / self.width;
        assert!(window >= self.ahead, "{have:?} would come too late");
        self.later_haves.push(self.ahead, window, (node, have));
    }

    /// When the window that has begun ends. Until then, nobody's turn comes again.
    pub fn end_of_window(&self) -> Time {
        Time(Duration::from_nanos(self.ahead * self.width))
    }

    /// Whose turn is next within the window that has begun.
    pub fn next_turn(&mut self) -> Option<NodeId> {
        let event = self.current.last().map(|entry| entry.node);
        let have = self.haves.last().map(|&(node, _)| node);
        self.turn = [event, have].into_iter().flatten().min()?;
        Some(self.turn)
    }

    /// The next of this turn, and its moment.
    pub fn pop(&mut self) -> Option<(Time, Event)> {
        let current = self.current.last().filter(|entry| entry.node == self.turn);
        let fresh_first = match (current, self.fresh.peek()) {
            (Some(current), Some(fresh)) => fresh > current,
            (None, None) => return None,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let entry = if fresh_first { self.fresh.pop() } else { self.current.pop() }?;
        Some((Time(Duration::from_nanos(entry.nanos)), entry.event))
    }

    /// The `have`s that have come by `now` to the node whose turn it is, in order.
    pub fn haves(&mut self, now: Time) -> impl Iterator<Item = Have> {
        let turn = self.turn;
        std::iter::from_fn(move || {
            let next = self.haves.pop_if(|(node, have)| *node == turn && have.at <= now);
            next.map(|(_, have)| have)
        })
    }

    /// When the last `have` of this turn comes, if there is any left.
    pub fn last_have(&self) -> Option<Time> {
        let of_turn = self.haves.iter().rev().take_while(|(node, _)| *node == self.turn);
        of_turn.last().map(|(_, have)| have.at)
    }

    /// All that has yet to come out, but `have`s, in no order.
    pub fn rest(&mut self) -> impl Iterator<Item = Event> {
        let now = self.current.drain(..).chain(self.fresh.drain());
        now.chain(self.later.rest()).map(|entry| entry.event)
    }

    /// Goes on to the next window in which anything happens, once all of this one has come out, and says when it begins; `None`: there
    /// is none.
    pub fn next_window(&mut self) -> Option<Time> {
        let candidates = [self.later.first(self.ahead), self.later_haves.first(self.ahead)];
        let window = candidates.into_iter().flatten().min()?;
        self.ahead = window + 1;
        self.later.take(window, &mut self.current);
        self.current.sort_unstable();
        self.later_haves.take(window, &mut self.haves);
        // The last first; of two that come at one moment, the one that was put in first.
        self.haves.reverse();
        self.haves.sort_by_key(|(node, have)| std::cmp::Reverse((*node, have.at)));
        Some(Time(Duration::from_nanos(window * self.width)))
    }
}

/// What is in windows that have yet to begin.
#[derive(Debug)]
struct Windows<T> {
    /// Each at its number modulo [`RING`].
    ring: Vec<Vec<T>>,
    /// How many the ring holds.
    in_ring: usize,
    /// Those that were beyond the ring when something was put in, by number.
    far: BTreeMap<u64, Vec<T>>,
}

impl<T> Default for Windows<T> {
    fn default() -> Self {
        let ring = std::iter::repeat_with(Vec::new).take(RING as usize).collect();
        Self { ring, in_ring: 0, far: BTreeMap::new() }
    }
}

impl<T> Windows<T> {
    /// `ahead`: the first that there may be.
    fn push(&mut self, ahead: u64, window: u64, what: T) {
        if window - ahead < RING {
            self.ring[(window % RING) as usize].push(what);
            self.in_ring += 1;
        } else {
            self.far.entry(window).or_default().push(what);
        }
    }

    /// The first with anything in it.
    fn first(&self, ahead: u64) -> Option<u64> {
        let in_ring = || (ahead..).find(|window| !self.ring[(window % RING) as usize].is_empty());
        let near = (self.in_ring > 0).then(in_ring).flatten();
        [near, self.far.keys().next().copied()].into_iter().flatten().min()
    }

    /// Moves what is in the first one into `taken`, which is empty.
    fn take(&mut self, window: u64, taken: &mut Vec<T>) {
        if self.first(window) != Some(window) {
            return;
        }
        std::mem::swap(taken, &mut self.ring[(window % RING) as usize]);
        self.in_ring -= taken.len();
        taken.extend(self.far.remove(&window).into_iter().flatten());
    }

    fn rest(&mut self) -> impl Iterator<Item = T> {
        self.ring.iter_mut().chain(self.far.values_mut()).flat_map(std::mem::take)
    }
}

impl Entry {
    fn order(&self) -> (NodeId, u64, u64) {
        (self.node, self.nanos, self.sequence)
    }
}

impl Ord for Entry {
    /// Reversed: heaps give out their greatest, and so does the end of a sorted window.
    fn cmp(&self, other: &Self) -> Ordering {
        other.order().cmp(&self.order())
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

    fn at(micros: u64) -> Time {
        Time(Duration::from_micros(micros))
    }

    /// Moment, node, and the number that it was put in with.
    fn pop(queue: &mut Queue) -> Option<(u64, NodeId, usize)> {
        let (time, event) = queue.pop().or_else(|| {
            queue.next_turn()?;
            queue.pop()
        })?;
        match event {
            Event::Join(number) => Some((time.0.as_micros() as u64, queue.turn, number)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn within_a_window_each_node_has_its_turn() {
        let mut queue = Queue::new(Duration::from_millis(10));
        for (number, (millis, node)) in
            [(5, 1), (1, 0), (15, 0), (3, 1), (3, 1), (9, 0), (4_000, 2)].into_iter().enumerate()
        {
            queue.push(at(millis * 1000), node, Event::Join(number));
        }
        assert_eq!(pop(&mut queue), None);
        assert_eq!(queue.next_window(), Some(at(0)));
        assert_eq!(queue.end_of_window(), at(10_000));
        assert_eq!(pop(&mut queue), Some((1_000, 0, 1)));
        queue.push(at(2_000), 0, Event::Join(7));
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).collect();
        assert_eq!(order, [(2_000, 0, 7), (9_000, 0, 5), (3_000, 1, 3), (3_000, 1, 4), (5_000, 1, 0)]);
        assert_eq!(queue.next_window(), Some(at(10_000)));
        assert_eq!(pop(&mut queue), Some((15_000, 0, 2)));
        assert_eq!(pop(&mut queue), None);
        assert_eq!(queue.next_window(), Some(at(4_000_000)));
        assert_eq!(pop(&mut queue), Some((4_000_000, 2, 6)));
        assert_eq!(pop(&mut queue), None);
        assert_eq!(queue.next_window(), None);
    }

    #[test]
    fn haves_wait_for_other_news_to_their_node() {
        let mut queue = Queue::new(Duration::from_millis(10));
        let have =
            |millis: u64, index| Have { at: at(millis * 1000), key: PeerKey::default(), link: 0, index };
        queue.push(at(5_000), 1, Event::Join(0));
        for (node, millis, index) in [(1, 7, 0), (1, 4, 1), (0, 3, 2), (1, 5, 3), (1, 4, 4), (1, 17, 5)] {
            queue.push_have(node, have(millis, index));
        }
        let taken = |queue: &mut Queue, millis: u64| {
            queue.haves(at(millis * 1000)).map(|have| have.index).collect::<Vec<_>>()
        };
        assert_eq!(queue.next_window(), Some(at(0)));
        assert_eq!((queue.next_turn(), queue.last_have()), (Some(0), Some(at(3_000))));
        assert_eq!(taken(&mut queue, 3), [2]);
        assert_eq!(queue.last_have(), None);
        assert_eq!(pop(&mut queue), Some((5_000, 1, 0)));
        assert_eq!(taken(&mut queue, 5), [1, 4, 3]);
        assert_eq!(queue.last_have(), Some(at(7_000)));
        assert_eq!(taken(&mut queue, 7), [0]);
        assert_eq!((queue.next_turn(), queue.next_window()), (None, Some(at(10_000))));
        assert_eq!((queue.next_turn(), queue.last_have()), (Some(1), Some(at(17_000))));
        assert_eq!(taken(&mut queue, 17), [5]);
        assert_eq!((queue.next_turn(), queue.next_window()), (None, None));
    }

    #[test]
    #[should_panic(expected = "too late")]
    fn nothing_reaches_another_node_within_a_window() {
        let mut queue = Queue::new(Duration::from_millis(10));
        queue.push(at(1_000), 0, Event::Join(0));
        queue.next_window();
        queue.next_turn();
        queue.push(at(9_000), 1, Event::Join(1));
    }

    #[test]
    fn near_and_far_are_one_queue_whatever_is_put_in_meanwhile() {
        const WIDTH: u64 = 10_000;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut queue = Queue::new(Duration::from_micros(WIDTH));
        let mut expected = std::collections::BTreeSet::new();
        let mut number = 0;
        let mut put = |queue: &mut Queue, expected: &mut std::collections::BTreeSet<_>, time: u64, node| {
            queue.push(at(time), node, Event::Join(number));
            expected.insert((time / WIDTH, node, time, number));
            number += 1;
        };
        for _ in 0..500 {
            let (time, node) = (rng.u64(..60_000_000), rng.usize(..5));
            put(&mut queue, &mut expected, time, node);
        }
        while let Some(begin) = queue.next_window() {
            while let Some(next) = pop(&mut queue) {
                let (window, node, time, number) = expected.pop_first().expect("nothing comes out twice");
                assert_eq!((begin, next), (at(window * WIDTH), (time, node, number)));
                // On the whole less comes after each than it is.
                if rng.u8(..4) == 0 {
                    put(&mut queue, &mut expected, time + rng.u64(..WIDTH / 2), node);
                }
                if rng.u8(..2) == 0 {
                    let wait = [0, 900_000, 3_000_000, 60_000_000][rng.usize(..4)];
                    put(&mut queue, &mut expected, (window + 1) * WIDTH + rng.u64(..=wait), rng.usize(..5));
                }
            }
        }
        assert!(expected.is_empty() && number > 1_000);
    }
}
