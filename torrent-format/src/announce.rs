//! What a tracker and a client say to each other (BEP 3, 7, 15, 23, 31, 41, 48).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::{InfoHash, PeerId};

pub mod http;
pub mod udp;

/// What a peer tells a tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceRequest {
    /// Which swarm.
    pub info_hash: InfoHash,
    /// Who.
    pub peer_id: PeerId,
    /// Where it listens. 0 only with [`AnnounceEvent::Stopped`].
    pub port: u16,
    /// Bytes of payload sent since `started`.
    pub uploaded: u64,
    /// Bytes of payload received since `started`.
    pub downloaded: u64,
    /// Bytes that it lacks. [`u64::MAX`] if not known.
    pub left: u64,
    /// What happened.
    pub event: AnnounceEvent,
    /// How many peers are wanted; `None`: the tracker's default.
    pub numwant: Option<u32>,
    /// Survives a change of address.
    pub key: Option<u32>,
    /// What the tracker gave as `tracker id`.
    pub tracker_id: Option<Vec<u8>>,
}

/// Why a peer announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AnnounceEvent {
    /// At the interval.
    #[default]
    Regular,
    /// First announce of a run.
    Started,
    /// The last byte has arrived.
    Completed,
    /// Leaving.
    Stopped,
    /// A partial seed (BEP 21); otherwise as `Regular`.
    Paused,
}

/// What a tracker answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnounceReply {
    /// When to come back.
    pub interval: Duration,
    /// Not before.
    pub min_interval: Option<Duration>,
    /// Seeds in the swarm.
    pub complete: Option<u32>,
    /// Leechers in the swarm.
    pub incomplete: Option<u32>,
    /// How often the torrent was completed.
    pub downloaded: Option<u32>,
    /// Peers, IPv4 (`peers`) and IPv6 (`peers6`).
    pub peers: Vec<SocketAddr>,
    /// To be sent back with the next announce.
    pub tracker_id: Option<Vec<u8>>,
    /// For the user, made fit for a terminal.
    pub warning: Option<String>,
    /// The address that the tracker saw us at (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// Bytes of one IPv4 peer in compact form (BEP 23): address and port, both in network order.
pub const COMPACT_V4: usize = 6;

/// Bytes of one IPv6 peer in compact form (BEP 7).
pub const COMPACT_V6: usize = 18;

/// One IPv4 peer in compact form (BEP 23).
pub fn compact_v4(peer: SocketAddrV4) -> [u8; COMPACT_V4] {
    let [a, b, c, d] = peer.ip().octets();
    let [high, low] = peer.port().to_be_bytes();
    [a, b, c, d, high, low]
}

/// One IPv6 peer in compact form (BEP 7).
pub fn compact_v6(peer: SocketAddrV6) -> [u8; COMPACT_V6] {
    let mut bytes = [0; COMPACT_V6];
    bytes[..16].copy_from_slice(&peer.ip().octets());
    bytes[16..].copy_from_slice(&peer.port().to_be_bytes());
    bytes
}

/// The IPv4 peers in `bytes`, whatever their ports. `None` if the length is no multiple of [`COMPACT_V4`].
pub fn parse_compact_v4(bytes: &[u8]) -> Option<impl ExactSizeIterator<Item = SocketAddr>> {
    let (peers, rest) = bytes.as_chunks::<COMPACT_V4>();
    rest.is_empty().then(|| {
        peers.iter().map(|&[a, b, c, d, high, low]| {
            SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
        })
    })
}

/// The IPv6 peers in `bytes`, whatever their ports; an IPv4-mapped one comes out as IPv4. `None` if the length is no multiple
/// of [`COMPACT_V6`].
pub fn parse_compact_v6(bytes: &[u8]) -> Option<impl ExactSizeIterator<Item = SocketAddr>> {
    let (peers, rest) = bytes.as_chunks::<COMPACT_V6>();
    rest.is_empty().then(|| {
        peers.iter().map(|peer| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&peer[..16]);
            let port = u16::from_be_bytes([peer[16], peer[17]]);
            canonical(SocketAddr::from((Ipv6Addr::from(octets), port)))
        })
    })
}

/// The same peer with an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) as plain IPv4, and without flow label and scope: the one
/// form in which addresses are compared, kept and sent.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_peers_come_back_as_they_went() {
        let v4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 6881);
        assert_eq!(compact_v4(v4), [192, 0, 2, 1, 0x1a, 0xe1]);
        let peers: Vec<_> = parse_compact_v4(&compact_v4(v4)).unwrap().collect();
        assert_eq!(peers, [SocketAddr::V4(v4)]);

        let v6 = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 6881, 0, 0);
        let peers: Vec<_> = parse_compact_v6(&compact_v6(v6)).unwrap().collect();
        assert_eq!(peers, [SocketAddr::V6(v6)]);
    }

    #[test]
    fn lists_of_odd_length_are_no_lists() {
        assert!(parse_compact_v4(&[0; 7]).is_none());
        assert!(parse_compact_v6(&[0; 12]).is_none());
        assert_eq!(parse_compact_v4(&[]).unwrap().count(), 0);
        assert_eq!(parse_compact_v6(&[]).unwrap().count(), 0);
    }

    #[test]
    fn mapped_addresses_come_out_as_ipv4() {
        let mapped = SocketAddrV6::new(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(), 80, 7, 9);
        let plain: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(canonical(SocketAddr::V6(mapped)), plain);
        assert_eq!(parse_compact_v6(&compact_v6(mapped)).unwrap().collect::<Vec<_>>(), [plain]);
    }
}
