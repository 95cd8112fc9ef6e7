//! BEP 15's packets, as a client writes and reads them.

use crate::population::{Event, Member};

/// Bytes of a connect request.
pub(crate) const CONNECT: usize = 16;

/// Bytes of an announce without options.
pub(crate) const ANNOUNCE: usize = 98;

/// The protocol id of BEP 15.
const MAGIC: u64 = 0x0417_2710_1980;

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Connect {
        transaction: u32,
        connection_id: u64,
    },
    /// With the number of peers.
    Announce {
        transaction: u32,
        peers: u32,
    },
    /// An error, or nothing that BEP 15 knows.
    Bad,
}

/// Writes a connect request.
pub(crate) fn connect(packet: &mut [u8; CONNECT], transaction: u32) {
    packet[..8].copy_from_slice(&MAGIC.to_be_bytes());
    packet[8..12].fill(0);
    packet[12..].copy_from_slice(&transaction.to_be_bytes());
}

/// Writes an announce.
pub(crate) fn announce(
    packet: &mut [u8; ANNOUNCE],
    transaction: u32,
    connection_id: u64,
    (hash, member, event, numwant): (&[u8; 20], Member, Event, i32),
) {
    packet[..8].copy_from_slice(&connection_id.to_be_bytes());
    packet[8..12].copy_from_slice(&1u32.to_be_bytes());
    packet[12..16].copy_from_slice(&transaction.to_be_bytes());
    packet[16..36].copy_from_slice(hash);
    packet[36..56].copy_from_slice(&member.id());
    packet[56..64].fill(0);
    packet[64..72].copy_from_slice(&member.left().to_be_bytes());
    packet[72..80].fill(0);
    let event: u32 = match event {
        Event::None => 0,
        Event::Stopped => 3,
    };
    packet[80..84].copy_from_slice(&event.to_be_bytes());
    packet[84..88].fill(0);
    packet[88..92].copy_from_slice(&member.number.to_be_bytes());
    packet[92..96].copy_from_slice(&numwant.to_be_bytes());
    packet[96..].copy_from_slice(&member.port.to_be_bytes());
}

/// Reads a reply; `peer` is the size of an address in it.
pub(crate) fn read(packet: &[u8], peer: usize) -> Reply {
    let word = |at: usize| packet.get(at..at + 4).map(|word| u32::from_be_bytes(word.try_into().expect("4")));
    match (word(0), word(4)) {
        (Some(0), Some(transaction)) if packet.len() == 16 => {
            let id = packet[8..].try_into().expect("8");
            Reply::Connect { transaction, connection_id: u64::from_be_bytes(id) }
        }
        // Interval, leechers, seeders, and whole addresses.
        (Some(1), Some(transaction))
            if packet.len() >= 20 && (packet.len() - 20).is_multiple_of(peer) && word(8) > Some(0) =>
        {
            Reply::Announce { transaction, peers: ((packet.len() - 20) / peer) as u32 }
        }
        _ => Reply::Bad,
    }
}
