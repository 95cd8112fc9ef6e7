//! What goes: [`Sender`] cuts bytes into packets, keeps them until they are acknowledged, and finds out which are lost.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::time::Duration;

use super::seq::Seq;
use crate::torrent::Time;

/// Packets that may be on their way: as many as others are known to put in order (libutp, the least of them).
pub(super) const MAX_SENT: usize = 500;

/// Bytes that may wait to leave, at least: a block of the wire, so that there is always a packet to send.
const MIN_WAITING: usize = 16 * 1024;

/// And at most: what waits here can't be taken back.
const MAX_WAITING: usize = 256 * 1024;

/// A packet is lost if so many that were sent after it have come (RFC 5681: three duplicate acknowledgements).
const REORDERING: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Sender {
    /// What was sent and is not acknowledged, then what waits.
    bytes: VecDeque<u8>,
    /// Bytes of the stream that were acknowledged and are gone from `bytes`.
    gone: u64,
    /// Packets that were sent, up to the last that is not acknowledged. The first has the number `first`.
    sent: VecDeque<Sent>,
    first: Seq,
    /// Bytes in `sent`.
    sent_bytes: usize,
    /// Bytes in those of `sent` that are neither acknowledged nor lost.
    in_flight: usize,
    /// Of `sent`, those that are lost and have not been sent again.
    lost: usize,
    /// Of `sent`, those that have come although others before them have not.
    early: usize,
    /// Packets that were sent, those that were sent again included.
    next_order: u64,
    /// The latest of those that have come.
    newest: Option<u64>,
    /// Acknowledgements in a row that say nothing new.
    duplicates: u32,
    end: End,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Where its bytes begin in the stream.
    start: u64,
    length: usize,
    order: u64,
    at: Time,
    again: bool,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unknown,
    Lost,
    Come,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Open,
    /// A FIN is to be sent behind what waits.
    Wanted,
    /// It was.
    Sent,
}

/// What an acknowledgement told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// Bytes that have come.
    pub(super) bytes: usize,
    /// Bytes that were on their way before.
    pub(super) in_flight: usize,
    /// The latest of the packets that have come.
    pub(super) order: Option<u64>,
    /// The round trip of the latest that was sent once.
    pub(super) rtt: Option<Duration>,
    /// The latest of those that turned out to be lost.
    pub(super) lost: Option<u64>,
}

/// A packet to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outgoing {
    pub(super) seq: Seq,
    /// Where its bytes begin in the stream.
    start: u64,
    pub(super) length: usize,
    /// It is a FIN.
    pub(super) is_end: bool,
    /// Which of `sent` is to be sent again.
    again: Option<usize>,
}

impl Sender {
    pub(super) fn new(first: Seq) -> Self {
        Self {
            bytes: VecDeque::new(),
            gone: 0,
            sent: VecDeque::new(),
            first,
            sent_bytes: 0,
            in_flight: 0,
            lost: 0,
            early: 0,
            next_order: 0,
            newest: None,
            duplicates: 0,
            end: End::Open,
        }
    }

    /// The number of the next new packet.
    pub(super) fn next(&self) -> Seq {
        self.first.plus(self.sent.len())
    }

    /// Whether `ack` may be the other's: of a packet that was sent, or not long before.
    pub(super) fn is_plausible(&self, ack: Seq, behind: usize) -> bool {
        let ahead = ack.since(self.first);
        ahead < self.sent.len() as i32 && ahead >= -1 - behind as i32
    }

    /// Takes over what there is room for with such a window, and says how much that is.
    pub(super) fn write(&mut self, parts: &[IoSlice<'_>], window: usize) -> usize {
        let mut room = self.room(window);
        let before = room;
        for part in parts {
            let here = part.len().min(room);
            self.bytes.extend(&part[..here]);
            room -= here;
        }
        before - room
    }

    /// Bytes that [`Self::write`] would take.
    pub(super) fn room(&self, window: usize) -> usize {
        Self::limit(window).saturating_sub(self.waiting())
    }

    /// Whether there is enough of it that whoever waits for it should be woken.
    pub(super) fn has_room(&self, window: usize) -> bool {
        self.room(window) >= Self::limit(window) / 2
    }

    /// Bytes that may wait to leave: as much as goes in half a round trip.
    fn limit(window: usize) -> usize {
        (window / 2).clamp(MIN_WAITING, MAX_WAITING)
    }

    /// Bytes that were not sent yet.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.sent_bytes
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn next_order(&self) -> u64 {
        self.next_order
    }

    /// Nothing will be written any more.
    pub(super) fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Wanted;
        }
    }

    /// All was acknowledged, the FIN included.
    pub(super) fn is_finished(&self) -> bool {
        self.end == End::Sent && self.sent.is_empty()
    }

    /// Whether anything is to be acknowledged.
    pub(super) fn is_outstanding(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether there is something to send.
    pub(super) fn has_more(&self) -> bool {
        self.lost > 0 || self.waiting() > 0 || self.end == End::Wanted
    }

    /// The packet to be sent next, of at most so many bytes: what is lost before what is new.
    pub(super) fn peek(&self, most: usize) -> Option<Outgoing> {
        if self.lost > 0 {
            let index = self.sent.iter().position(|sent| sent.fate == Fate::Lost)?;
            let Sent { start, length, .. } = self.sent[index];
            // Only the last can be a FIN, and it alone has no bytes.
            return Some(Outgoing {
                seq: self.first.plus(index),
                start,
                length,
                is_end: length == 0,
                again: Some(index),
            });
        }
        let length = self.waiting().min(most);
        let is_end = length == 0 && self.end == End::Wanted;
        if self.sent.len() >= MAX_SENT || length == 0 && !is_end {
            return None;
        }
        let start = self.gone + self.sent_bytes as u64;
        Some(Outgoing { seq: self.next(), start, length, is_end, again: None })
    }

    /// It is sent now. Its bytes are appended to `out`.
    pub(super) fn send(&mut self, now: Time, outgoing: Outgoing, out: &mut Vec<u8>) {
        let Outgoing { start, length, again, is_end, .. } = outgoing;
        let order = self.next_order;
        self.next_order += 1;
        self.in_flight += length;
        let sent = Sent { start, length, order, at: now, again: again.is_some(), fate: Fate::Unknown };
        match again {
            Some(index) => {
                self.sent[index] = sent;
                self.lost -= 1;
            }
            None => {
                self.sent.push_back(sent);
                self.sent_bytes += length;
                if is_end {
                    self.end = End::Sent;
                }
            }
        }
        let from = (start - self.gone) as usize;
        self.copy(from..from + length, out);
    }

    fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let cut = front.len();
        out.extend_from_slice(&front[range.start.min(cut)..range.end.min(cut)]);
        out.extend_from_slice(&back[range.start.saturating_sub(cut)..range.end.saturating_sub(cut)]);
    }

    /// All up to `ack` has come, and of what follows that, the packets in `mask`. `repeats`: if it says nothing new, that tells something.
    pub(super) fn acknowledged(&mut self, now: Time, ack: Seq, mask: &[u8], repeats: bool) -> Told {
        let mut told = Told { in_flight: self.in_flight, ..Told::default() };
        let all = usize::try_from(ack.since(self.first) + 1).unwrap_or(0).min(self.sent.len());
        for _ in 0..all {
            if let Some(sent) = self.sent.pop_front() {
                self.settle(now, sent, &mut told);
                if sent.fate == Fate::Come {
                    self.early -= 1;
                }
                self.sent_bytes -= sent.length;
                self.bytes.drain(..sent.length);
                self.gone += sent.length as u64;
            }
        }
        self.first = self.first.plus(all);
        let bits = mask.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        // The mask of an old packet begins before `first`.
        let start = ack.plus(2).since(self.first);
        for (index, _) in (start..).zip(bits).filter(|(_, come)| *come) {
            let Ok(index) = usize::try_from(index) else { continue };
            let Some(&sent) = self.sent.get(index) else { break };
            if sent.fate != Fate::Come {
                self.settle(now, sent, &mut told);
                self.sent[index].fate = Fate::Come;
                self.early += 1;
            }
        }
        self.newest = self.newest.max(told.order);
        if told.order.is_some() {
            self.duplicates = 0;
        } else if repeats && !self.sent.is_empty() {
            self.duplicates += 1;
        }
        self.find_lost(&mut told);
        told
    }

    /// A packet has come.
    fn settle(&mut self, now: Time, sent: Sent, told: &mut Told) {
        match sent.fate {
            Fate::Come => return,
            Fate::Lost => self.lost -= 1,
            Fate::Unknown => self.in_flight -= sent.length,
        }
        told.bytes += sent.length;
        if !sent.again && told.order.is_none_or(|order| order < sent.order) {
            told.rtt = Some(now - sent.at);
        }
        told.order = told.order.max(Some(sent.order));
    }

    fn find_lost(&mut self, told: &mut Told) {
        if self.early > 0
            && let Some(newest) = self.newest
        {
            for sent in self.sent.iter_mut() {
                if sent.fate == Fate::Unknown && sent.order + REORDERING <= newest {
                    Self::lose(sent, &mut self.in_flight, &mut self.lost, told);
                }
            }
        }
        // For who sends no masks.
        if self.duplicates == REORDERING as u32
            && let Some(sent) = self.sent.front_mut()
            && sent.fate == Fate::Unknown
        {
            Self::lose(sent, &mut self.in_flight, &mut self.lost, told);
        }
    }

    fn lose(sent: &mut Sent, in_flight: &mut usize, lost: &mut usize, told: &mut Told) {
        sent.fate = Fate::Lost;
        *in_flight -= sent.length;
        *lost += 1;
        told.lost = told.lost.max(Some(sent.order));
    }

    /// Nothing was acknowledged for long: all that is on its way is taken for lost.
    pub(super) fn timed_out(&mut self) {
        let mut told = Told::default();
        for sent in self.sent.iter_mut().filter(|sent| sent.fate == Fate::Unknown) {
            Self::lose(sent, &mut self.in_flight, &mut self.lost, &mut told);
        }
        self.duplicates = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Seq = Seq(65_534);
    const WINDOW: usize = 1 << 20;

    fn at(milliseconds: u64) -> Time {
        Time(Duration::from_millis(milliseconds))
    }

    /// One that has sent so many packets of ten bytes, one a millisecond.
    fn sent(packets: u64) -> Sender {
        let mut sender = Sender::new(FIRST);
        for number in 0..packets {
            assert_eq!(sender.write(&[IoSlice::new(&[number as u8; 10])], WINDOW), 10);
            assert_eq!(send(&mut sender, number), (FIRST.plus(number as usize), vec![number as u8; 10]));
        }
        sender
    }

    fn send(sender: &mut Sender, milliseconds: u64) -> (Seq, Vec<u8>) {
        let (outgoing, mut bytes) = (sender.peek(10).unwrap(), vec![]);
        sender.send(at(milliseconds), outgoing, &mut bytes);
        (outgoing.seq, bytes)
    }

    fn again(sender: &mut Sender) -> Vec<u8> {
        std::iter::from_fn(|| {
            (sender.lost > 0).then(|| send(sender, 50).1.first().copied().unwrap_or(u8::MAX))
        })
        .collect()
    }

    #[test]
    fn what_is_acknowledged_is_forgotten() {
        let mut sender = sent(4);
        assert_eq!((sender.in_flight(), sender.waiting()), (40, 0));
        let told = sender.acknowledged(at(10), FIRST.plus(1), &[], true);
        let expected =
            Told { bytes: 20, in_flight: 40, order: Some(1), rtt: Some(at(9) - at(0)), lost: None };
        assert_eq!(told, expected);
        assert_eq!((sender.in_flight(), sender.bytes.len()), (20, 20));
        let nothing = Told { in_flight: 20, ..Told::default() };
        assert_eq!(sender.acknowledged(at(11), FIRST, &[], false), nothing, "an old one");
        assert_eq!(sender.acknowledged(at(11), FIRST.plus(3), &[], true).bytes, 20);
        assert!(!sender.is_outstanding() && !sender.has_more());
        assert_eq!(sender.next(), FIRST.plus(4));
    }

    #[test]
    fn an_acknowledgement_is_plausible_of_what_was_sent() {
        let sender = sent(4);
        for (ack, plausible) in [(-5, false), (-4, true), (-1, true), (3, true), (4, false), (30_000, false)]
        {
            assert_eq!(sender.is_plausible(Seq(FIRST.0.wrapping_add_signed(ack)), 3), plausible, "{ack}");
        }
    }

    #[test]
    fn three_later_packets_make_one_lost_and_two_do_not() {
        let mut sender = sent(8);
        // 1 and 2 came, 0 did not.
        assert_eq!(sender.acknowledged(at(10), FIRST.before(), &[0b011], true).lost, None);
        let told = sender.acknowledged(at(10), FIRST.before(), &[0b111], true);
        assert_eq!((told.bytes, told.lost), (10, Some(0)));
        assert_eq!(sender.in_flight(), 40);
        assert_eq!(again(&mut sender), [0]);
        // Lost again: known by those that were sent after it was sent again.
        (0..3).for_each(|_| {
            sender.write(&[IoSlice::new(&[8; 10])], WINDOW);
            send(&mut sender, 60);
        });
        assert_eq!(sender.acknowledged(at(70), FIRST.before(), &[0x7f], true).lost, None);
        let told = sender.acknowledged(at(70), FIRST.before(), &[0xff, 0b11], true);
        assert_eq!(told.lost, Some(8));
        assert_eq!(again(&mut sender), [0]);
        let told = sender.acknowledged(at(80), FIRST.plus(10), &[], true);
        assert_eq!((told.bytes, told.rtt), (10, None), "what was sent again tells no round trip");
        assert!(!sender.is_outstanding());
    }

    #[test]
    fn three_repetitions_without_a_mask_do_as_well() {
        let mut sender = sent(5);
        let lost: Vec<_> =
            (0..5).map(|_| sender.acknowledged(at(10), FIRST.before(), &[], true).lost).collect();
        assert_eq!(lost, [None, None, Some(0), None, None]);
        let mut sender = sent(5);
        assert!((0..9).all(|_| sender.acknowledged(at(10), FIRST.before(), &[], false).lost.is_none()));
    }

    #[test]
    fn masks_of_old_packets_and_of_any_length_do_no_harm() {
        let mut sender = sent(6);
        sender.acknowledged(at(10), FIRST.plus(2), &[], true);
        // From before that: 1 is missing, and 2, 4 and 5 have come.
        let told = sender.acknowledged(at(11), FIRST, &[0b1101], false);
        assert_eq!((told.bytes, told.order), (20, Some(5)));
        let told = sender.acknowledged(at(12), FIRST.plus(2), &[0xff; 255], true);
        assert_eq!(told.bytes, 0);
        assert_eq!(sender.acknowledged(at(13), FIRST.plus(5), &[0xff; 255], true).bytes, 10);
        assert_eq!((sender.in_flight(), sender.lost, sender.early), (0, 0, 0));
    }

    #[test]
    fn after_a_timeout_all_is_sent_again_but_what_has_come() {
        let mut sender = sent(5);
        sender.acknowledged(at(10), FIRST.before(), &[0b10], true);
        sender.timed_out();
        assert_eq!(sender.in_flight(), 0);
        assert_eq!(again(&mut sender), [0, 1, 3, 4]);
        assert_eq!(sender.in_flight(), 40);
        sender.timed_out();
        // They were only late.
        assert_eq!(sender.acknowledged(at(90), FIRST.plus(4), &[], true).bytes, 40);
        assert_eq!((sender.lost, sender.in_flight(), sender.has_more()), (0, 0, false));
    }

    #[test]
    fn a_fin_is_sent_behind_all_else_and_acknowledged_like_it() {
        let mut sender = sent(1);
        sender.write(&[IoSlice::new(b"last")], WINDOW);
        sender.finish();
        assert_eq!(send(&mut sender, 1), (FIRST.plus(1), b"last".to_vec()));
        let outgoing = sender.peek(10).unwrap();
        assert!(outgoing.is_end);
        sender.send(at(2), outgoing, &mut vec![]);
        sender.finish();
        assert!(!sender.has_more() && !sender.is_finished());
        sender.timed_out();
        assert_eq!(again(&mut sender), [0, b'l', u8::MAX]);
        sender.acknowledged(at(9), FIRST.plus(2), &[], true);
        assert!(sender.is_finished());
    }

    #[test]
    fn what_waits_is_bounded_by_the_window_and_what_is_on_its_way_by_number() {
        let mut sender = Sender::new(FIRST);
        let much = vec![7; 1 << 20];
        assert_eq!(sender.write(&[IoSlice::new(&much)], 10_000), MIN_WAITING);
        assert_eq!(sender.write(&[IoSlice::new(&much)], 10_000), 0);
        assert_eq!(sender.write(&[IoSlice::new(&much)], 1 << 30), MAX_WAITING - MIN_WAITING);
        let sent = std::iter::from_fn(|| {
            let outgoing = sender.peek(1)?;
            sender.send(at(0), outgoing, &mut vec![]);
            Some(())
        });
        assert_eq!(sent.count(), MAX_SENT);
    }
}
