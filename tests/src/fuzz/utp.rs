//! What comes to a uTP port: whatever it is, an endpoint reads no more than was sent, and in the end nothing is left of it.
//!
//! An input is a talk, record by record: a byte of what to do, the length of a packet, the packet. Numbers of packets are taken as
//! differences from those that fit, if the record says so, so that a change of a byte does not end the talk.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use client::torrent::Time;
use client::utp::{ConnectionKey, Endpoint, Event};

/// Bits of a record's first byte: the packet's numbers are differences; the endpoint's users write; it comes from somebody else. The rest is the time that
/// passes before, in steps.
const FITS: u8 = 1;
const WRITES: u8 = 2;
const STRANGER: u8 = 4;
const STEP: Duration = Duration::from_millis(200);

/// Bytes of a packet's header.
const HEADER: usize = 20;

/// The type of a SYN.
const SYN: u8 = 4;

/// The number of our first packet.
const FIRST: u16 = 1_000;

/// More than any connection lasts that nobody uses.
const END: Duration = Duration::from_secs(10 * 60);

/// Packets that it may send at one time without hearing more: a window of them, and answers.
const MAX_AT_ONCE: usize = 2_000;

struct Talk {
    endpoint: Endpoint,
    now: Time,
    users: Vec<ConnectionKey>,
    /// The name that it has given itself, and the number of its last packet.
    id: u16,
    last: u16,
    read: usize,
}

pub(super) fn check(input: &[u8]) -> bool {
    let peer: SocketAddr = ([198, 51, 100, 7], 6881).into();
    let stranger: SocketAddr = ([203, 0, 113, 9], 6881).into();
    let mut talk = Talk {
        endpoint: Endpoint::new([7; 32]),
        now: Time(Duration::from_secs(1)),
        users: vec![],
        id: 0,
        last: 0,
        read: 0,
    };
    let dialled = talk.endpoint.connect(talk.now, peer).expect("there is room for one");
    talk.users.push(dialled);
    talk.go_on(false);
    let mut rest = input;
    while let [what, length, after @ ..] = rest {
        let (packet, after) = after.split_at((*length as usize).min(after.len()));
        rest = after;
        talk.now = talk.now + STEP * u32::from(what >> 3);
        talk.endpoint.handle_timeout(talk.now);
        let mut packet = packet.to_vec();
        if what & FITS != 0 && packet.len() >= HEADER {
            talk.fit(&mut packet);
        }
        let from = if what & STRANGER != 0 { stranger } else { peer };
        talk.endpoint.handle_packet(talk.now, from, &packet);
        talk.go_on(what & WRITES != 0);
    }
    let connected = talk.endpoint.connected(dialled) == Ok(true);
    assert!(talk.read <= input.len(), "{} bytes were read of {}", talk.read, input.len());
    talk.end();
    connected
}

impl Talk {
    /// Its users do what they can, and all that is to be sent is sent.
    fn go_on(&mut self, writes: bool) {
        while let Some(event) = self.endpoint.poll_event() {
            assert_eq!(event, Event::Incoming, "nobody has asked for more");
        }
        while let Some((key, _)) = self.endpoint.accept() {
            self.users.push(key);
        }
        for key in &self.users {
            let mut buffer = [0; 1_000];
            while let Ok(Some(read @ 1..)) = self.endpoint.read(*key, &mut [IoSliceMut::new(&mut buffer)]) {
                self.read += read;
            }
            if writes {
                // Refused if it has failed, which is told again at the end.
                let _ = self.endpoint.write(*key, &[IoSlice::new(&[9; 5_000])]);
            }
        }
        self.send();
    }

    fn send(&mut self) {
        let (mut packet, mut count) = (vec![], 0);
        while self.endpoint.poll_transmit(self.now, &mut packet).is_some() {
            count += 1;
            assert!(count <= MAX_AT_ONCE, "it sends without end");
            assert!((HEADER..=1_392).contains(&packet.len()), "{} bytes", packet.len());
            if packet[0] >> 4 == SYN {
                self.id = u16::from_be_bytes([packet[2], packet[3]]);
            }
            self.last = u16::from_be_bytes([packet[16], packet[17]]);
        }
    }

    /// Puts the numbers of a packet right.
    fn fit(&self, packet: &mut [u8]) {
        for (at, right) in [(2, self.id), (16, FIRST), (18, self.last)] {
            let given = u16::from_be_bytes([packet[at], packet[at + 1]]);
            packet[at..at + 2].copy_from_slice(&right.wrapping_add(given).to_be_bytes());
        }
    }

    /// Everybody lets go, and nobody says anything more.
    fn end(mut self) {
        for key in std::mem::take(&mut self.users) {
            self.endpoint.release(self.now, key);
        }
        let end = self.now + END;
        self.send();
        while let Some(at) = self.endpoint.poll_timeout() {
            assert!(at <= end, "it waits for something at {at:?}");
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.send();
        }
        assert!(!self.endpoint.is_busy());
    }
}
