//! What strangers and bad peers may send, and what it costs.

use std::net::SocketAddr;
use std::time::Duration;

use super::line::{FAST, Net, User};
use crate::torrent::Time;
use crate::utp::packet::{Header, Kind};
use crate::utp::seq::Seq;
use crate::utp::{
    ConnectionKey, Endpoint, Failure, MAX_ANSWERING, MAX_CONNECTIONS, MAX_PER_ADDRESS, TooMany,
};

const SECOND: Duration = Duration::from_secs(1);

fn addr(number: u32) -> SocketAddr {
    SocketAddr::from(((0x0808_0000 + number).to_be_bytes(), 6881))
}

fn packet(kind: Kind, id: u16, seq: u16, ack: u16, window: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let header = Header { kind, id, timestamp: 1, difference: 0, window, seq: Seq(seq), ack: Seq(ack) };
    header.encode(&[], &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// All that it sends.
fn sent(endpoint: &mut Endpoint, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut packet = vec![];
    std::iter::from_fn(|| endpoint.poll_transmit(now, &mut packet).map(|to| (to, packet.clone()))).collect()
}

fn number(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// An endpoint with a connection that came in from `addr(1)`, where we are called 11, and the peer 10. What we send first has the second
/// number; the peer's next is 2.
fn met() -> (Endpoint, ConnectionKey, u16) {
    let (mut endpoint, now) = (Endpoint::new([1; 32]), Time(SECOND));
    endpoint.handle_packet(now, addr(1), &packet(Kind::Syn, 10, 0, 0, 1 << 20, b""));
    let answer = sent(&mut endpoint, now);
    assert_eq!((answer.len(), answer[0].0, answer[0].1[0] >> 4), (1, addr(1), 2));
    assert!(endpoint.accept().is_none(), "nobody is known to be there");
    let first = number(&answer[0].1, 16);
    endpoint.handle_packet(now, addr(1), &packet(Kind::Data, 11, 1, first.wrapping_sub(1), 1 << 20, b"hi"));
    let (key, from) = endpoint.accept().unwrap();
    assert_eq!(from, addr(1));
    (endpoint, key, first)
}

fn write(endpoint: &mut Endpoint, key: ConnectionKey, bytes: usize) {
    assert_eq!(endpoint.write(key, &[std::io::IoSlice::new(&vec![7; bytes])]), Ok(Some(bytes)));
}

#[test]
fn a_reset_has_to_name_what_was_sent() {
    for (id, behind, resets) in [
        (11, 1, true),
        (10, 1, true),
        (11, 0, true),
        (12, 1, false),
        (11, 100, false),
        (11, u16::MAX, false),
        (11, u16::MAX - 30_000, false),
    ] {
        let (mut endpoint, key, first) = met();
        let reset = packet(Kind::Reset, id, 77, first.wrapping_sub(behind), 0, b"");
        endpoint.handle_packet(Time(SECOND), addr(2), &reset);
        assert_eq!(endpoint.connected(key), Ok(true), "from elsewhere");
        endpoint.handle_packet(Time(SECOND), addr(1), &reset);
        let expected = if resets { Err(Failure::Reset) } else { Ok(true) };
        assert_eq!(endpoint.connected(key), expected, "{id}, {behind}");
    }
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_passed_over_with_its_payload() {
    let (mut endpoint, key, first) = met();
    write(&mut endpoint, key, 3_000);
    let out = sent(&mut endpoint, Time(SECOND));
    assert_eq!(out.iter().filter(|(_, packet)| packet[0] >> 4 == 0).count(), 3);
    let mut buffer = [0; 10];
    let mut read =
        |endpoint: &mut Endpoint| endpoint.read(key, &mut [std::io::IoSliceMut::new(&mut buffer)]).unwrap();
    assert_eq!(read(&mut endpoint), Some(2));
    for (ack, seq) in [(3, 2), (30_000, 2), (40_000, 2), (0, 10_000), (0, 40_000)] {
        let forged = packet(Kind::Data, 11, seq, first.wrapping_add(ack), 1 << 20, b"forged");
        endpoint.handle_packet(Time(SECOND), addr(1), &forged);
        assert_eq!(read(&mut endpoint), None, "{ack}, {seq}");
        assert!(sent(&mut endpoint, Time(SECOND)).is_empty());
    }
    let honest = packet(Kind::Data, 11, 2, first.wrapping_add(2), 1 << 20, b"honest");
    endpoint.handle_packet(Time(SECOND), addr(1), &honest);
    assert_eq!(read(&mut endpoint), Some(6));
}

#[test]
fn packets_of_strangers_are_not_answered() {
    let (mut endpoint, ..) = met();
    sent(&mut endpoint, Time(SECOND));
    for kind in [Kind::Data, Kind::Fin, Kind::State, Kind::Reset] {
        endpoint.handle_packet(Time(SECOND), addr(2), &packet(kind, 11, 2, 0, 0, b"x"));
        endpoint.handle_packet(Time(SECOND), addr(1), &packet(kind, 300, 2, 0, 0, b"x"));
    }
    assert!(sent(&mut endpoint, Time(SECOND)).is_empty());
    let mut rng = fastrand::Rng::with_seed(1);
    for length in 0..2_000 {
        let mut noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length % 100).collect();
        if let Some(first) = noise.first_mut() {
            *first = *first & 0x30 | 1;
        }
        endpoint.handle_packet(Time(SECOND), addr(2), &noise);
    }
    assert!(sent(&mut endpoint, Time(SECOND)).is_empty());
}

#[test]
fn a_flood_of_syns_is_held_in_bounds_and_keeps_nobody_out() {
    let (mut endpoint, key, _) = met();
    sent(&mut endpoint, Time(SECOND));
    for number in 0..100_000 {
        let syn = packet(Kind::Syn, number as u16, number as u16, 0, 0, b"");
        endpoint.handle_packet(Time(SECOND), addr(2 + number / 3), &syn);
        assert!(endpoint.answering.len() <= MAX_ANSWERING);
        for (_, answer) in sent(&mut endpoint, Time(SECOND)) {
            assert!(answer.len() <= syn.len(), "no more than came");
        }
    }
    assert_eq!(endpoint.connections.len(), MAX_ANSWERING + 1);
    assert_eq!(endpoint.connected(key), Ok(true));
    assert!(endpoint.accept().is_none());
    let now = Time(60 * SECOND);
    endpoint.handle_timeout(now);
    sent(&mut endpoint, now);
    assert_eq!((endpoint.connections.len(), endpoint.answering.len()), (1, 0));
}

#[test]
fn one_address_has_so_many_connections_and_all_together_so_many() {
    let mut endpoint = Endpoint::new([1; 32]);
    let now = Time(SECOND);
    for _ in 0..MAX_PER_ADDRESS {
        endpoint.connect(now, addr(1)).unwrap();
    }
    let other_port = SocketAddr::new(addr(1).ip(), 7);
    assert_eq!(endpoint.connect(now, other_port), Err(TooMany));
    endpoint.handle_packet(now, other_port, &packet(Kind::Syn, 1, 1, 0, 0, b""));
    assert_eq!(endpoint.connections.len(), MAX_PER_ADDRESS);
    // Our own network is another matter.
    let local: SocketAddr = "192.168.1.7:6881".parse().unwrap();
    for _ in MAX_PER_ADDRESS..MAX_CONNECTIONS {
        endpoint.connect(now, local).unwrap();
    }
    assert_eq!(endpoint.connect(now, local), Err(TooMany));
    assert_eq!(endpoint.connect(now, addr(2)), Err(TooMany));
}

#[test]
fn a_syn_that_comes_again_is_answered_again_and_another_of_its_name_is_not() {
    let (mut endpoint, now) = (Endpoint::new([1; 32]), Time(SECOND));
    let syn = packet(Kind::Syn, 10, 5, 0, 0, b"");
    let mut answers = vec![];
    for _ in 0..3 {
        endpoint.handle_packet(now, addr(1), &syn);
        answers.extend(sent(&mut endpoint, now));
    }
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the same numbers");
    endpoint.handle_packet(now, addr(1), &packet(Kind::Syn, 10, 6, 0, 0, b""));
    assert!(sent(&mut endpoint, now).is_empty());
}

#[test]
fn a_tiny_window_is_sent_a_packet_now_and_then() {
    for window in [0, 1, 100] {
        let (mut endpoint, key, first) = met();
        let mut now = Time(SECOND);
        let tiny = packet(Kind::State, 11, 2, first.wrapping_sub(1), window, b"");
        endpoint.handle_packet(now, addr(1), &tiny);
        write(&mut endpoint, key, 10_000);
        let mut packets = 0;
        while now.0 < 120 * SECOND {
            now = endpoint.poll_timeout().unwrap_or(now + SECOND).max(now);
            endpoint.handle_timeout(now);
            packets += sent(&mut endpoint, now).len();
            // Nothing new, but a sign of life.
            endpoint.handle_packet(now, addr(1), &tiny);
            now = now + Duration::from_millis(10);
        }
        assert!((5..40).contains(&packets), "{window}: {packets}");
        assert_eq!(endpoint.connected(key), Ok(true));
    }
}

#[test]
fn many_fins_are_one_end() {
    let (mut endpoint, key, first) = met();
    let ack = first.wrapping_sub(1);
    for seq in [2, 2, 9, 2, 300, 1, 2] {
        endpoint.handle_packet(
            Time(SECOND),
            addr(1),
            &packet(Kind::Fin, 11, seq, ack, 1 << 20, b"with payload"),
        );
    }
    endpoint.handle_packet(Time(SECOND), addr(1), &packet(Kind::Data, 11, 3, ack, 1 << 20, b"beyond"));
    let mut buffer = [0; 100];
    let mut read = || endpoint.read(key, &mut [std::io::IoSliceMut::new(&mut buffer)]);
    assert_eq!((read(), read(), read()), (Ok(Some(2)), Ok(Some(0)), Ok(Some(0))));
    assert_eq!(number(&sent(&mut endpoint, Time(SECOND)).last().unwrap().1, 18), 2);
}

#[test]
fn a_flood_of_small_packets_holds_no_more_than_a_window() {
    let (mut endpoint, _, first) = met();
    let ack = first.wrapping_sub(1);
    let mut seq = 2_u16;
    for _ in 0..700_000 {
        endpoint.handle_packet(Time(SECOND), addr(1), &packet(Kind::Data, 11, seq, ack, 1 << 20, b"x"));
        seq = seq.wrapping_add(1);
    }
    let answers = sent(&mut endpoint, Time(SECOND));
    assert_eq!(answers.len(), 1, "they are acknowledged together");
    assert_eq!(answers[0].1[12..16], [0; 4], "there is no room any more");
}

#[test]
fn what_others_inject_does_not_harm_a_transfer() {
    let mut net = Net::new(&[FAST; 2]);
    let sent = super::payload(5, 300_000);
    net.dial(0, 1, User::writing(&sent));
    net.records = true;
    net.run_for(Duration::from_millis(1));
    let (from, syn) = (net.hosts[0].addr, number(&net.sent[0], 16));
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..2_000 {
        let kind = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset][rng.usize(..4)];
        // Names are on every packet; numbers are what has to be guessed.
        let id = net.hosts[1].endpoint.names.keys().next().map_or(0, |(_, id)| *id);
        let seq = syn.wrapping_add(rng.u16(2_000..60_000));
        net.inject(1, from, &packet(kind, id, seq, rng.u16(..), rng.u32(..), b"forged"));
        net.run_for(Duration::from_millis(1));
    }
    let whole = |net: &Net| net.hosts[1].users.values().any(|user| user.read.len() == sent.len());
    assert!(net.run_until(60 * SECOND, whole));
    assert!(super::user(&net, 1).read == sent);
}

#[test]
fn whatever_comes_in_whatever_order_nothing_breaks() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut endpoint = Endpoint::new([seed as u8; 32]);
        let mut now = Time(SECOND);
        let mut users: Vec<ConnectionKey> = vec![];
        // What was sent tells what is plausible.
        let mut seen: Vec<(u16, u16, u16)> = vec![];
        let mut taken = 0;
        for _ in 0..10_000 {
            let (id, seq, ack) = if seen.is_empty() { (10, 5, 5) } else { seen[rng.usize(..seen.len())] };
            let kind = [Kind::Data, Kind::Data, Kind::State, Kind::State, Kind::Fin, Kind::Reset, Kind::Syn];
            let kinds = if rng.u8(..) < 16 { 7 } else { 4 };
            let kind = kind[rng.usize(..kinds)];
            let near =
                |rng: &mut fastrand::Rng, number: u16| number.wrapping_add(rng.u16(..9)).wrapping_sub(4);
            let header = Header {
                kind,
                id: near(&mut rng, id),
                timestamp: rng.u32(..),
                difference: rng.u32(..),
                window: rng.u32(..) >> rng.u32(..32),
                seq: Seq(near(&mut rng, ack)),
                ack: Seq(near(&mut rng, seq)),
            };
            let length = 4 * rng.usize(..5);
            let mask: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            let mut bytes = vec![];
            header.encode(&mask, &mut bytes);
            bytes.resize(bytes.len() + rng.usize(..1_400), 7);
            if rng.u8(..) < 8 {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(..8);
            }
            endpoint.handle_packet(now, addr(rng.u32(..3)), &bytes);
            now = now + Duration::from_millis(rng.u64(..40));
            endpoint.handle_timeout(now);
            users.extend(std::iter::from_fn(|| endpoint.accept()).map(|(key, _)| key));
            if rng.u8(..) < 20 {
                users.extend(endpoint.connect(now, addr(rng.u32(..3))));
            }
            if let Some(&key) = users.get(rng.usize(..users.len().max(1))) {
                let mut buffer = vec![0; rng.usize(..5_000)];
                match rng.u8(..20) {
                    0 => {
                        users.retain(|other| *other != key);
                        endpoint.release(now, key);
                    }
                    1..10 => {
                        let written = endpoint.write(key, &[std::io::IoSlice::new(&buffer)]);
                        taken += written.ok().flatten().unwrap_or(0);
                    }
                    _ => _ = endpoint.read(key, &mut [std::io::IoSliceMut::new(&mut buffer)]),
                }
            }
            for (_, packet) in sent(&mut endpoint, now) {
                assert!(packet.len() <= 1_392);
                seen.push((number(&packet, 2), number(&packet, 16), number(&packet, 18)));
            }
            seen.drain(..seen.len().saturating_sub(50));
            assert!(endpoint.connections.len() <= 3 * MAX_PER_ADDRESS);
            assert!(endpoint.names.len() == endpoint.connections.len() && !endpoint.is_busy());
        }
        assert!(taken > 0, "none of it was plausible");
    }
}
