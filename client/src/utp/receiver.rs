//! What comes: [`Receiver`] puts packets in order, and holds what is not read yet.

use std::collections::VecDeque;
use std::io::IoSliceMut;

use super::packet::MAX_MASK;
use super::seq::Seq;

/// Bytes that a connection may hold for its reader, packets that came early included: 5 MB/s at 100 ms.
pub(super) const CAPACITY: usize = 512 * 1024;

/// How far ahead of the next a packet may come: as many as a mask can name.
pub(super) const MAX_EARLY: usize = 8 * MAX_MASK;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It was the next.
    InOrder,
    /// It was the next, and more after it had come before.
    Filled,
    /// Some before it are missing.
    Early,
    /// It came before.
    Again,
    /// There is no room for it, or it is beyond the end.
    Refused,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The next packet.
    next: Seq,
    /// In order, and not read.
    ready: VecDeque<u8>,
    /// Packets from `next + 1` on, as far as they came.
    early: VecDeque<Option<Vec<u8>>>,
    /// Bytes in them.
    early_bytes: usize,
    /// The number of the FIN.
    end: Option<Seq>,
    /// All came, up to the FIN.
    ended: bool,
    /// Nobody reads: what comes is acknowledged and dropped.
    unread: bool,
    /// How many more bytes the other may send, by what we told it.
    told: usize,
}

impl Receiver {
    pub(super) fn new(next: Seq) -> Self {
        Self {
            next,
            ready: VecDeque::new(),
            early: VecDeque::new(),
            early_bytes: 0,
            end: None,
            ended: false,
            unread: false,
            told: CAPACITY,
        }
    }

    /// The last packet that came in order.
    pub(super) fn ack(&self) -> Seq {
        self.next.before()
    }

    /// Whether a packet of this number may be one of the other's: neither far behind nor far ahead.
    pub(super) fn is_plausible(&self, seq: Seq) -> bool {
        seq.since(self.next).unsigned_abs() as usize <= MAX_EARLY
    }

    pub(super) fn data(&mut self, seq: Seq, payload: &[u8]) -> Arrival {
        let ahead = seq.since(self.next);
        if ahead < 0 {
            return Arrival::Again;
        }
        let beyond = self.end.is_some_and(|end| seq.since(end) >= 0);
        let held = self.ready.len() + self.early_bytes;
        if beyond || ahead as usize > MAX_EARLY || held + payload.len() > CAPACITY {
            return Arrival::Refused;
        }
        let Some(index) = (ahead as usize).checked_sub(1) else {
            self.told = self.told.saturating_sub(payload.len());
            self.deliver(payload);
            return self.advance();
        };
        if self.early.len() <= index {
            self.early.resize(index + 1, None);
        }
        let slot = &mut self.early[index];
        if slot.is_some() {
            return Arrival::Again;
        }
        *slot = Some(payload.to_vec());
        self.early_bytes += payload.len();
        self.told = self.told.saturating_sub(payload.len());
        Arrival::Early
    }

    /// There will be nothing behind this number. The first that says so is believed.
    pub(super) fn fin(&mut self, seq: Seq) -> Arrival {
        let ahead = seq.since(self.next);
        if self.ended || ahead < 0 {
            return Arrival::Again;
        }
        if ahead as usize > MAX_EARLY || self.end.is_some_and(|end| end != seq) {
            return Arrival::Refused;
        }
        self.end = Some(seq);
        let last = ahead.saturating_sub(1) as usize;
        let beyond = self.early.drain(last.min(self.early.len())..);
        self.early_bytes -= beyond.flatten().map(|payload| payload.len()).sum::<usize>();
        if ahead > 0 {
            return Arrival::Early;
        }
        self.finish();
        Arrival::InOrder
    }

    /// The packet `next` is here: on to the first that is not.
    fn advance(&mut self) -> Arrival {
        let mut filled = false;
        self.next = self.next.plus(1);
        while let Some(Some(payload)) = self.early.pop_front() {
            self.early_bytes -= payload.len();
            self.deliver(&payload);
            self.next = self.next.plus(1);
            filled = true;
        }
        if self.end == Some(self.next) {
            self.finish();
        }
        if filled || !self.early.is_empty() { Arrival::Filled } else { Arrival::InOrder }
    }

    fn finish(&mut self) {
        self.next = self.next.plus(1);
        self.ended = true;
    }

    fn deliver(&mut self, payload: &[u8]) {
        if !self.unread {
            self.ready.extend(payload);
        }
    }

    /// Which packets came early, one bit each; none if none did.
    pub(super) fn mask(&self) -> ([u8; MAX_MASK], usize) {
        let (mut mask, mut length) = ([0; MAX_MASK], 0);
        for (index, slot) in self.early.iter().enumerate().take(8 * MAX_MASK) {
            if slot.is_some() {
                mask[index / 8] |= 1 << (index % 8);
                length = index / 8 + 1;
            }
        }
        // BEP 29 wants whole words.
        (mask, length.next_multiple_of(4))
    }

    /// Some packets came early.
    pub(super) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// All has come, and was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// Nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether there is something to read, or there never will be.
    pub(super) fn is_readable(&self) -> bool {
        self.ended || !self.ready.is_empty()
    }

    /// Reads into these parts, one after the other.
    pub(super) fn read(&mut self, parts: &mut [IoSliceMut<'_>]) -> usize {
        let mut read = 0;
        for part in parts {
            let here = part.len().min(self.ready.len());
            let (front, back) = self.ready.as_slices();
            let first = here.min(front.len());
            part[..first].copy_from_slice(&front[..first]);
            part[first..here].copy_from_slice(&back[..here - first]);
            self.ready.drain(..here);
            read += here;
        }
        read
    }

    /// Nobody will read any more.
    pub(super) fn drop_all(&mut self) {
        self.unread = true;
        self.ready = VecDeque::new();
    }

    /// Bytes that there is room for, as the other is told now.
    pub(super) fn tell_window(&mut self) -> u32 {
        self.told = self.window();
        self.told as u32
    }

    fn window(&self) -> usize {
        CAPACITY - self.ready.len() - self.early_bytes
    }

    /// Whether the room has grown so much since the other was told that it should know: it may be waiting for it.
    pub(super) fn has_opened(&self) -> bool {
        self.window() - self.told.min(self.window()) >= CAPACITY / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Seq = Seq(65_530);

    fn read(receiver: &mut Receiver) -> Vec<u8> {
        let (mut one, mut other) = ([0; 3], vec![0; 2 * CAPACITY]);
        let read = receiver.read(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)]);
        [&one[..read.min(3)], &other[..read.saturating_sub(3)]].concat()
    }

    #[test]
    fn packets_are_put_in_order_and_come_once() {
        let mut receiver = Receiver::new(FIRST);
        let order = [(0, Arrival::InOrder), (2, Arrival::Early), (2, Arrival::Again), (9, Arrival::Early)];
        for (number, expected) in order {
            assert_eq!(receiver.data(FIRST.plus(number), &[number as u8; 2]), expected);
        }
        let (mask, length) = receiver.mask();
        assert_eq!((receiver.ack(), length, mask[..4].to_vec()), (FIRST, 4, vec![0b1000_0001, 0, 0, 0]));
        assert_eq!(receiver.data(FIRST.plus(1), &[1; 2]), Arrival::Filled);
        assert_eq!(receiver.data(FIRST.plus(1), &[7; 2]), Arrival::Again);
        assert_eq!(read(&mut receiver), [0, 0, 1, 1, 2, 2]);
        for number in 3..9 {
            receiver.data(FIRST.plus(number), &[number as u8]);
        }
        assert_eq!(read(&mut receiver), [3, 4, 5, 6, 7, 8, 9, 9]);
        assert_eq!((receiver.ack(), receiver.mask().1), (FIRST.plus(9), 0));
        assert!(!receiver.is_readable() && !receiver.has_early());
    }

    #[test]
    fn the_end_comes_after_all_else_and_there_is_but_one() {
        let mut receiver = Receiver::new(FIRST);
        assert_eq!(receiver.data(FIRST.plus(3), b"beyond"), Arrival::Early);
        assert_eq!(receiver.data(FIRST.plus(1), b"b"), Arrival::Early);
        assert_eq!(receiver.fin(FIRST.plus(2)), Arrival::Early);
        assert_eq!(receiver.fin(FIRST.plus(9)), Arrival::Refused, "another end");
        assert_eq!(receiver.data(FIRST.plus(3), b"beyond"), Arrival::Refused);
        assert_eq!(receiver.data(FIRST, b"a"), Arrival::Filled);
        assert!(receiver.has_ended() && !receiver.is_at_end());
        assert_eq!(read(&mut receiver), b"ab");
        assert!(receiver.is_at_end());
        assert_eq!((receiver.ack(), receiver.early_bytes), (FIRST.plus(2), 0));
        for _ in 0..2 {
            assert_eq!(receiver.fin(FIRST.plus(2)), Arrival::Again);
            assert_eq!(receiver.data(FIRST.plus(3), b"c"), Arrival::Refused);
        }
        assert_eq!(receiver.ack(), FIRST.plus(2));
    }

    #[test]
    fn a_flood_of_numbers_meets_limits() {
        let mut receiver = Receiver::new(FIRST);
        for number in 1..=u16::MAX {
            receiver.data(FIRST.plus(number.into()), &[0; 1]);
        }
        assert_eq!((receiver.early.len(), receiver.early_bytes), (MAX_EARLY, MAX_EARLY));
        assert_eq!(receiver.mask().1, MAX_MASK);
        assert!(receiver.is_plausible(FIRST.plus(MAX_EARLY)) && !receiver.is_plausible(FIRST.plus(30_000)));
        let mut receiver = Receiver::new(FIRST);
        for number in 0..2 * CAPACITY {
            receiver.data(FIRST.plus(number), &[0]);
        }
        assert_eq!(read(&mut receiver).len(), CAPACITY, "what nobody reads is refused at last");
        assert!(receiver.ready.capacity() <= 2 * CAPACITY);
    }

    #[test]
    fn the_other_hears_when_there_is_room_again() {
        let mut receiver = Receiver::new(FIRST);
        assert_eq!(receiver.tell_window() as usize, CAPACITY);
        for number in 0..4 {
            receiver.data(FIRST.plus(number), &vec![0; CAPACITY / 4]);
        }
        assert!(!receiver.has_opened());
        assert_eq!(receiver.tell_window(), 0);
        let mut half = vec![0; CAPACITY / 8];
        receiver.read(&mut [IoSliceMut::new(&mut half)]);
        assert!(!receiver.has_opened(), "not for every few bytes");
        receiver.read(&mut [IoSliceMut::new(&mut half)]);
        assert!(receiver.has_opened());
        assert_eq!(receiver.tell_window() as usize, CAPACITY / 4);
        assert!(!receiver.has_opened());
        receiver.drop_all();
        receiver.data(FIRST.plus(4), b"x");
        assert_eq!(receiver.tell_window() as usize, CAPACITY);
    }
}
