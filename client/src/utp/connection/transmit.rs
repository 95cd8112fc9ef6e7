//! What a connection sends, and when.

use super::{Connection, KEEP_ALIVE, SYN_WAITS, State, stamp};
use crate::torrent::Time;
use crate::utp::packet::{Header, Kind};
use crate::utp::sender::Outgoing;
use crate::utp::seq::Seq;
use crate::utp::timers::Timer;

/// Bytes of a packet that is worth sending to one who has little room: one who says that he has room for less gets a packet now and then.
const MIN_PAYLOAD: usize = 150;

impl Connection {
    /// Appends the packet that is to be sent now, if there is one.
    pub(in crate::utp) fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        let sent = match &mut self.state {
            State::Failed(_) => false,
            State::Dialling { due, .. } => {
                return std::mem::take(due) && self.send_syn(now, out);
            }
            State::Answering { .. } => self.send_ack(now, out),
            // What came early is told by packets of their own, which have room for it.
            State::Open if self.ack_due && self.receiver.has_early() => self.send_ack(now, out),
            State::Open => match self.next(now) {
                Some(outgoing) => {
                    self.send(now, outgoing, out);
                    true
                }
                None => self.send_ack(now, out),
            },
        };
        if sent {
            self.timers.set(Timer::KeepAlive, now + KEEP_ALIVE);
        }
        sent
    }

    fn send_syn(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        let State::Dialling { syn, sent, tries, .. } = &mut self.state else { return false };
        let wait = SYN_WAITS[(*tries as usize).min(SYN_WAITS.len() - 1)];
        (*sent, *tries) = (now, *tries + 1);
        let syn = *syn;
        Header { kind: Kind::Syn, id: self.id, ..self.header(now, syn) }.encode(&[], out);
        self.timers.set(Timer::Answer, now + wait);
        true
    }

    /// The packet of data that may go now.
    fn next(&mut self, now: Time) -> Option<Outgoing> {
        let most = self.ledbat.packet().min((self.largest_room / 2).max(MIN_PAYLOAD));
        let outgoing = self.sender.peek(most)?;
        if std::mem::take(&mut self.probe) {
            return Some(outgoing);
        }
        let ahead = self.sender.in_flight() + outgoing.length;
        let alone = ahead == outgoing.length;
        if ahead > self.room && !outgoing.is_end {
            // The other says when it has room again; if that is lost, nothing else would tell.
            if alone && !self.timers.runs(Timer::Answer) {
                self.timers.set(Timer::Answer, now + self.trip.timeout());
            }
            return None;
        }
        if ahead > self.ledbat.window() && !alone {
            return None;
        }
        if let Some(rtt) = self.trip.mean() {
            let rate = self.ledbat.rate(rtt);
            if let Err(later) = self.pacer.take(now, outgoing.length, rate, self.most) {
                self.timers.set(Timer::Pace, later);
                return None;
            }
        }
        Some(outgoing)
    }

    fn send(&mut self, now: Time, outgoing: Outgoing, out: &mut Vec<u8>) {
        let kind = if outgoing.is_end { Kind::Fin } else { Kind::Data };
        Header { kind, ..self.header(now, outgoing.seq) }.encode(&[], out);
        self.sender.send(now, outgoing, out);
        if !self.timers.runs(Timer::Answer) {
            self.timers.set(Timer::Answer, now + self.trip.timeout());
        }
        if !self.receiver.has_early() {
            self.acknowledged();
        }
    }

    /// Says what has come, if that is due.
    fn send_ack(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        if !self.ack_due {
            return false;
        }
        let (mask, length) = self.receiver.mask();
        let seq = self.sender.next();
        self.header(now, seq).encode(&mask[..length], out);
        self.acknowledged();
        true
    }

    fn acknowledged(&mut self) {
        (self.ack_due, self.unacknowledged) = (false, 0);
        self.timers.stop(Timer::Ack);
    }

    /// That there is no such connection any more.
    pub(in crate::utp) fn farewell(&mut self, now: Time) -> Vec<u8> {
        let (mut packet, seq) = (vec![], self.sender.next());
        Header { kind: Kind::Reset, ..self.header(now, seq) }.encode(&[], &mut packet);
        packet
    }

    fn header(&mut self, now: Time, seq: Seq) -> Header {
        Header {
            kind: Kind::State,
            id: self.other_id,
            timestamp: stamp(now),
            difference: self.difference,
            window: self.receiver.tell_window(),
            seq,
            ack: self.receiver.ack(),
        }
    }
}
