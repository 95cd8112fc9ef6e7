//! Announce and scrape over UDP (BEP 15, with the options of BEP 41): the packets that a client and a tracker exchange.
//!
//! A tracker looks at the [`Header`] first, and at nothing else before it has checked the connection id in it.

use std::net::SocketAddr;
use std::time::Duration;

use super::http::ScrapeEntry;
use super::{AnnounceEvent, AnnounceReply, AnnounceRequest, parse_compact_v4, parse_compact_v6};
use crate::{InfoHash, PeerId};

/// What stands for the connection id in the packet that asks for one.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// Bytes of a header, and of the packet that asks for a connection id.
pub const HEADER: usize = 16;

/// Bytes of an announce without options.
pub const ANNOUNCE: usize = 98;

/// Bytes of the answer to an announce before its peers.
pub const ANNOUNCE_REPLY: usize = 20;

/// Most torrents in one scrape, so that the answer fits one packet of Ethernet.
pub const MAX_SCRAPE: usize = 74;

/// Most IPv4 peers in one answer: 1.2 KB.
pub const MAX_V4: usize = 200;

/// Most IPv6 peers in one answer: 1.4 KB.
pub const MAX_V6: usize = 74;

/// Longest text of an error that is passed on, in characters.
const MAX_TEXT: usize = super::http::MAX_TEXT;

/// What a packet is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Asks for a connection id.
    Connect,
    /// See [`AnnounceRequest`].
    Announce,
    /// Asks how swarms are doing.
    Scrape,
}

/// The first 16 bytes of every packet to a tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Shows that the sender receives what is sent to its address.
    pub connection_id: u64,
    /// What is asked.
    pub action: Action,
    /// Comes back with the answer.
    pub transaction: u32,
}

/// What a tracker can't answer but with an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// An announce that ends too soon: not even an error is due.
    #[error("an announce has at least {ANNOUNCE} bytes")]
    Short,
    /// Port 0, and not leaving.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// A scrape of nothing.
    #[error("a scrape names at least one torrent")]
    NoTorrents,
    /// Bytes that are no whole info hash.
    #[error("a scrape names torrents by 20 bytes each")]
    PartialHash,
}

impl Header {
    /// Reads the header. `None` if there is none, or it asks for nothing that is known: not even an error is due then.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (&connection_id, rest) = packet.split_first_chunk::<8>()?;
        let (&action, rest) = rest.split_first_chunk::<4>()?;
        let (&transaction, _) = rest.split_first_chunk::<4>()?;
        let action = match u32::from_be_bytes(action) {
            0 => Action::Connect,
            1 => Action::Announce,
            2 => Action::Scrape,
            _ => return None,
        };
        let connection_id = u64::from_be_bytes(connection_id);
        Some(Self { connection_id, action, transaction: u32::from_be_bytes(transaction) })
    }

    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.connection_id.to_be_bytes());
        bytes[8..12].copy_from_slice(&(self.action as u32).to_be_bytes());
        bytes[12..].copy_from_slice(&self.transaction.to_be_bytes());
        bytes
    }
}

/// Reads an announce, header and all. What stands behind its 98 bytes are options (see [`url_data`]).
///
/// The address in it is ignored, as anyone could be named; an unknown event is none; a negative number of peers is the tracker's
/// choice. What is left may be any 64 bits: a number below zero is a size that is not known.
///
/// # Errors
/// If it ends too soon, or names no port.
pub fn parse_announce(packet: &[u8]) -> Result<AnnounceRequest, PacketError> {
    let (packet, _) = packet.split_first_chunk::<ANNOUNCE>().ok_or(PacketError::Short)?;
    let event = match u32::from_be_bytes(part(packet, 80)) {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        4 => AnnounceEvent::Paused,
        _ => AnnounceEvent::Regular,
    };
    let port = u16::from_be_bytes(part(packet, 96));
    if port == 0 && event != AnnounceEvent::Stopped {
        return Err(PacketError::Port);
    }
    Ok(AnnounceRequest {
        info_hash: InfoHash(part(packet, 16)),
        peer_id: PeerId(part(packet, 36)),
        port,
        downloaded: u64::from_be_bytes(part(packet, 56)),
        left: u64::from_be_bytes(part(packet, 64)),
        uploaded: u64::from_be_bytes(part(packet, 72)),
        event,
        numwant: u32::try_from(i32::from_be_bytes(part(packet, 92))).ok(),
        key: Some(u32::from_be_bytes(part(packet, 88))),
        tracker_id: None,
    })
}

/// Bytes of a packet whose length is known to suffice.
fn part<const N: usize>(packet: &[u8; ANNOUNCE], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&packet[at..at + N]);
    bytes
}

/// The parts of the path and query of the URL that an announce was made to (BEP 41), to be joined. Other options are skipped;
/// reading ends where the options do not make sense.
pub fn url_data(announce: &[u8]) -> impl Iterator<Item = &[u8]> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const URL_DATA: u8 = 2;
    let mut rest = announce.get(ANNOUNCE..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            match rest {
                [] | [END, ..] => return None,
                [NOTHING, next @ ..] => rest = next,
                [kind, length, next @ ..] => {
                    let (data, next) = next.split_at_checked(usize::from(*length))?;
                    rest = next;
                    if *kind == URL_DATA {
                        return Some(data);
                    }
                }
                [_] => return None,
            }
        }
    })
}

/// The torrents that a scrape names, in order, the first [`MAX_SCRAPE`] of them.
///
/// # Errors
/// If it names none, or ends within one.
pub fn parse_scrape(packet: &[u8]) -> Result<impl Iterator<Item = InfoHash>, PacketError> {
    let (hashes, rest) = packet.get(HEADER..).unwrap_or_default().as_chunks::<20>();
    match (hashes, rest) {
        (_, [_, ..]) => Err(PacketError::PartialHash),
        ([], []) => Err(PacketError::NoTorrents),
        _ => Ok(hashes.iter().take(MAX_SCRAPE).map(|&hash| InfoHash(hash))),
    }
}

/// The answer to the request for a connection id: as long as the question.
pub fn connect_reply(transaction: u32, connection_id: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&transaction.to_be_bytes());
    bytes[8..].copy_from_slice(&connection_id.to_be_bytes());
    bytes
}

/// What stands before the peers in the answer to an announce; `interval` in seconds.
pub fn announce_reply(transaction: u32, interval: u32, leechers: u32, seeds: u32) -> [u8; ANNOUNCE_REPLY] {
    let mut bytes = [0; ANNOUNCE_REPLY];
    for (at, number) in [(0, 1), (4, transaction), (8, interval), (12, leechers), (16, seeds)] {
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

/// Appends the answer to a scrape: an entry for each torrent that was named, in that order.
pub fn scrape_reply(transaction: u32, entries: impl Iterator<Item = ScrapeEntry>, out: &mut Vec<u8>) {
    out.extend_from_slice(&2_u32.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
    for entry in entries {
        for number in [entry.complete, entry.downloaded, entry.incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends an error.
pub fn error_reply(transaction: u32, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&3_u32.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The packet that asks for a connection id.
pub fn connect(transaction: u32) -> [u8; HEADER] {
    Header { connection_id: PROTOCOL_ID, action: Action::Connect, transaction }.to_bytes()
}

/// An announce to the tracker at this path (with its query), if that says anything.
pub fn announce(connection_id: u64, transaction: u32, request: &AnnounceRequest, path: &str) -> Vec<u8> {
    let mut packet = Vec::with_capacity(ANNOUNCE + 2 + path.len());
    packet.extend_from_slice(&Header { connection_id, action: Action::Announce, transaction }.to_bytes());
    packet.extend_from_slice(request.info_hash.as_bytes());
    packet.extend_from_slice(&request.peer_id.0);
    // Not so large a number that it is below zero elsewhere: see there.
    let left = if request.left == u64::MAX { super::http::UNKNOWN_LEFT } else { request.left };
    for number in [request.downloaded, left, request.uploaded] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    let event: u32 = match request.event {
        AnnounceEvent::Regular => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
        AnnounceEvent::Paused => 4,
    };
    let numwant = request.numwant.map_or(-1, |numwant| i32::try_from(numwant).unwrap_or(i32::MAX));
    for number in [event, 0, request.key.unwrap_or(0), numwant.cast_unsigned()] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    packet.extend_from_slice(&request.port.to_be_bytes());
    for part in path.as_bytes().chunks(usize::from(u8::MAX)) {
        packet.extend_from_slice(&[2, part.len() as u8]);
        packet.extend_from_slice(part);
    }
    packet
}

/// A scrape of these torrents; a tracker answers the first [`MAX_SCRAPE`].
pub fn scrape(connection_id: u64, transaction: u32, info_hashes: &[InfoHash]) -> Vec<u8> {
    let mut packet = Header { connection_id, action: Action::Scrape, transaction }.to_bytes().to_vec();
    info_hashes.iter().for_each(|info_hash| packet.extend_from_slice(info_hash.as_bytes()));
    packet
}

/// What a tracker sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A connection id.
    Connect(u64),
    /// Peers and more.
    Announce(AnnounceReply),
    /// How the torrents that were named are doing, in that order.
    Scrape(Vec<ScrapeEntry>),
    /// Why not, as it was sent.
    Error(String),
}

/// Reads what a tracker sent, and to which transaction. `is_ipv6`: it came over IPv6, so its peers have IPv6 addresses.
/// `None`: it is no answer.
pub fn parse_reply(packet: &[u8], is_ipv6: bool) -> Option<(u32, Reply)> {
    let number = |at: usize| Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk::<4>()?));
    let transaction = number(4)?;
    let body = &packet[8..];
    let reply = match number(0)? {
        0 => Reply::Connect(u64::from_be_bytes(*body.first_chunk::<8>()?)),
        1 => {
            let (interval, incomplete, complete) = (number(8)?, number(12)?, number(16)?);
            let peers: Vec<SocketAddr> = match is_ipv6 {
                false => parse_compact_v4(&packet[ANNOUNCE_REPLY..])?.collect(),
                true => parse_compact_v6(&packet[ANNOUNCE_REPLY..])?.collect(),
            };
            Reply::Announce(AnnounceReply {
                interval: Duration::from_secs(interval.into()),
                complete: Some(complete),
                incomplete: Some(incomplete),
                peers,
                ..AnnounceReply::default()
            })
        }
        2 => {
            let (entries, rest) = body.as_chunks::<12>();
            let entry = |entry: &[u8; 12]| {
                let number =
                    |at: usize| u32::from_be_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
                ScrapeEntry {
                    complete: number(0),
                    downloaded: number(4),
                    downloaders: None,
                    incomplete: number(8),
                }
            };
            rest.is_empty().then(|| Reply::Scrape(entries.iter().map(entry).collect()))?
        }
        3 => Reply::Error(String::from_utf8_lossy(body).chars().take(MAX_TEXT).collect()),
        _ => return None,
    };
    Some((transaction, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            info_hash: InfoHash(*b"aaaaaaaaaaaaaaaaaaaa"),
            peer_id: PeerId(*b"-SR0100-abcdefghijkl"),
            port: 6881,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: AnnounceEvent::Started,
            numwant: Some(50),
            key: Some(0xbeef),
            tracker_id: None,
        }
    }

    /// The layouts of BEP 15, byte by byte.
    #[test]
    fn packets_are_laid_out_as_published() {
        assert_eq!(connect(7), [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(connect_reply(7, 0x0102_0304_0506_0708), [0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8]);

        let packet = announce(0x0102_0304_0506_0708, 9, &request(), "");
        let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 9];
        expected.extend(b"aaaaaaaaaaaaaaaaaaaa-SR0100-abcdefghijkl");
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0xbe, 0xef, 0, 0, 0, 50, 0x1a, 0xe1]);
        assert_eq!((packet.len(), &packet), (ANNOUNCE, &expected));

        let header = announce_reply(9, 1800, 3, 4);
        assert_eq!(header, [0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 7, 8, 0, 0, 0, 3, 0, 0, 0, 4]);
    }

    #[test]
    fn an_announce_comes_back_as_it_went() {
        for request in [
            request(),
            AnnounceRequest { event: AnnounceEvent::Stopped, port: 0, numwant: None, ..request() },
            AnnounceRequest { event: AnnounceEvent::Paused, left: 1 << 62, ..request() },
        ] {
            let packet = announce(1, 2, &request, "/announce?key=1");
            let header = Header::parse(&packet).unwrap();
            assert_eq!((header.connection_id, header.action, header.transaction), (1, Action::Announce, 2));
            assert_eq!(parse_announce(&packet), Ok(request));
            assert_eq!(url_data(&packet).collect::<Vec<_>>(), [b"/announce?key=1"]);
        }
    }

    #[test]
    fn trap_23_fields_are_signed_or_not_as_published_and_trailing_bytes_pass() {
        let with = |at: usize, bytes: &[u8]| {
            let mut packet = announce(1, 2, &request(), "");
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            packet.extend([9; 7]);
            parse_announce(&packet)
        };
        for (numwant, expected) in [(-1, None), (-2, None), (0, Some(0)), (i32::MAX, Some(i32::MAX as u32))] {
            assert_eq!(with(92, &numwant.to_be_bytes()).map(|request| request.numwant), Ok(expected));
        }
        for (event, expected) in [(4_u32, AnnounceEvent::Paused), (5, AnnounceEvent::Regular)] {
            assert_eq!(with(80, &event.to_be_bytes()).map(|request| request.event), Ok(expected));
        }
        let left = with(64, &(-1_i64).to_be_bytes()).map(|request| request.left);
        assert_eq!(left, Ok(u64::MAX));
        assert_eq!(with(96, &[0, 0]), Err(PacketError::Port));
        assert_eq!(with(84, &[10, 0, 0, 1]), Ok(request()), "the address is not looked at");
        assert_eq!(parse_announce(&announce(1, 2, &request(), "")[..97]), Err(PacketError::Short));
    }

    #[test]
    fn options_are_joined_or_skipped_and_end_where_they_make_no_sense() {
        let parts = |options: &[u8]| {
            let mut packet = announce(1, 2, &request(), "");
            packet.extend_from_slice(options);
            url_data(&packet).map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(parts(b""), [""; 0]);
        assert_eq!(parts(b"\x02\x02/a\x01\x01\x02\x01b\x00\x02\x01c"), ["/a", "b"]);
        assert_eq!(parts(b"\x07\x03xyz\x02\x01a"), ["a"], "an unknown option");
        assert_eq!(parts(b"\x02\x09/a"), [""; 0], "cut short");
        assert_eq!(parts(b"\x02"), [""; 0]);
        let long = "x".repeat(600);
        let packet = announce(1, 2, &request(), &long);
        assert_eq!(url_data(&packet).collect::<Vec<_>>().concat(), long.as_bytes());
    }

    #[test]
    fn trap_24_a_scrape_is_positional() {
        let hashes = [InfoHash([b'b'; 20]), InfoHash([b'a'; 20]), InfoHash([b'b'; 20])];
        let packet = scrape(1, 2, &hashes);
        assert_eq!(parse_scrape(&packet).unwrap().collect::<Vec<_>>(), hashes);
        let error = |packet: &[u8]| parse_scrape(packet).map(drop).unwrap_err();
        assert_eq!(error(&packet[..75]), PacketError::PartialHash);
        assert_eq!(error(&packet[..16]), PacketError::NoTorrents);
        let many = scrape(1, 2, &[InfoHash([b'a'; 20]); 100]);
        assert_eq!(parse_scrape(&many).unwrap().count(), MAX_SCRAPE);

        let entries = [1, 2, 3].map(|complete| ScrapeEntry { complete, ..ScrapeEntry::default() });
        let mut reply = Vec::new();
        scrape_reply(7, entries.into_iter(), &mut reply);
        assert_eq!(reply.len(), 8 + 3 * 12);
        assert_eq!(parse_reply(&reply, false), Some((7, Reply::Scrape(entries.to_vec()))));
    }

    #[test]
    fn replies_are_read_by_the_family_that_they_came_over() {
        let peers = |bytes: usize, is_ipv6| {
            let mut packet = announce_reply(7, 1800, 3, 4).to_vec();
            packet.extend((0..bytes).map(|byte| byte as u8 + 1));
            match parse_reply(&packet, is_ipv6) {
                Some((7, Reply::Announce(reply))) => {
                    Some((reply.peers.len(), reply.complete, reply.incomplete))
                }
                other => other.map(|_| panic!()),
            }
        };
        assert_eq!(peers(12, false), Some((2, Some(4), Some(3))));
        assert_eq!(peers(18, true), Some((1, Some(4), Some(3))));
        assert_eq!(peers(12, true), None);
        assert_eq!(peers(13, false), None);

        let mut packet = Vec::new();
        error_reply(5, "no", &mut packet);
        assert_eq!(parse_reply(&packet, false), Some((5, Reply::Error("no".into()))));
        assert_eq!(parse_reply(&connect_reply(5, 6), false), Some((5, Reply::Connect(6))));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let packet: Vec<u8> = (0..rng.usize(..160)).map(|_| rng.u8(..)).collect();
            // Either answer is fine; that there is one is what counts.
            let _ = Header::parse(&packet);
            let _ = parse_announce(&packet);
            let _ = parse_scrape(&packet).map(Iterator::count);
            let _ = url_data(&packet).count();
            let _ = (parse_reply(&packet, false), parse_reply(&packet, true));
        }
    }
}
