//! What a packet is answered: [`answer`]. No socket is known here.
//!
//! Before a connection id has shown that the sender is where it says it is, it gets nothing but an answer as long as its
//! question (16 bytes to 16 bytes), so that nobody can be flooded through us.

use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::announce::AnnounceEvent;
use torrent_format::announce::udp::{self, Action, Header, PacketError};

use crate::connection_id::ConnectionIds;
use crate::core::{Refusal, Tracker};
use crate::swarm::Picked;

/// Longest path that is read from the options of an announce (BEP 41): `/KEY/announce` and some.
const MAX_PATH: usize = 256;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Connect,
    Announce,
    Scrape,
    /// Answered with an error.
    Refused,
    /// Not answered: it makes no sense.
    Malformed,
    /// Not answered: its connection id is wrong or too old.
    ConnectionId,
}

/// Appends the answer to this packet from `from` (in canonical form) to `out`, which is empty.
pub(crate) fn answer(
    tracker: &Tracker,
    ids: &ConnectionIds,
    now: Duration,
    packet: &[u8],
    from: SocketAddr,
    out: &mut Vec<u8>,
) -> Outcome {
    // What is sent to port 0 reaches nobody.
    let Some(header) = Header::parse(packet).filter(|_| from.port() != 0) else {
        return Outcome::Malformed;
    };
    let time = tracker.clock.epoch(now);
    if header.action == Action::Connect {
        if header.connection_id != udp::PROTOCOL_ID {
            return Outcome::Malformed;
        }
        out.extend_from_slice(&udp::connect_reply(header.transaction, ids.issue(from.ip(), time)));
        return Outcome::Connect;
    }
    if !ids.is_valid(header.connection_id, from.ip(), time) {
        return Outcome::ConnectionId;
    }
    let result = match header.action {
        Action::Announce => announce(tracker, now, header.transaction, packet, from, out),
        _ => scrape(tracker, header.transaction, packet, out),
    };
    match result {
        Ok(outcome) => outcome,
        Err(Problem::Packet(PacketError::Short)) => Outcome::Malformed,
        Err(problem) => {
            out.clear();
            udp::error_reply(header.transaction, &problem.to_string(), out);
            Outcome::Refused
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

fn announce(
    tracker: &Tracker,
    now: Duration,
    transaction: u32,
    packet: &[u8],
    from: SocketAddr,
    out: &mut Vec<u8>,
) -> Result<Outcome, Problem> {
    let request = udp::parse_announce(packet)?;
    if tracker.private {
        tracker.admit_key(key_in(packet).as_deref())?;
    }
    if request.event != AnnounceEvent::Stopped {
        tracker.admit(&request.info_hash, &request.peer_id)?;
    }
    out.resize(udp::ANNOUNCE_REPLY, 0);
    let peer = SocketAddr::new(from.ip(), request.port);
    let picked = match peer {
        SocketAddr::V4(_) => Picked { v4: Some(out), v6: None, limit: udp::MAX_V4 },
        SocketAddr::V6(_) => Picked { v4: None, v6: Some(out), limit: udp::MAX_V6 },
    };
    let answer = tracker.announce(now, peer, &request, picked);
    let counts = answer.counts;
    let head = udp::announce_reply(transaction, answer.interval, counts.incomplete, counts.complete);
    out[..udp::ANNOUNCE_REPLY].copy_from_slice(&head);
    Ok(Outcome::Announce)
}

fn scrape(tracker: &Tracker, transaction: u32, packet: &[u8], out: &mut Vec<u8>) -> Result<Outcome, Problem> {
    // A scrape has no room for a key.
    tracker.admit_key(None)?;
    let info_hashes = udp::parse_scrape(packet)?;
    udp::scrape_reply(transaction, info_hashes.map(|info_hash| tracker.scrape(&info_hash)), out);
    Ok(Outcome::Scrape)
}

/// The key in the path `/KEY/announce` of the options, if there is one.
fn key_in(packet: &[u8]) -> Option<String> {
    let mut path = Vec::new();
    for part in udp::url_data(packet) {
        if path.len() + part.len() > MAX_PATH {
            return None;
        }
        path.extend_from_slice(part);
    }
    let path = path.split(|&byte| byte == b'?').next()?;
    let mut parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
    let (key, announce) = (parts.next()?, parts.next()?);
    let is_whole = announce.starts_with(b"announce") && parts.next().is_none();
    is_whole.then(|| String::from_utf8(key.to_vec()).ok())?
}
