//! Peer exchange (BEP 11): whom the sender is connected to now, and whom no more.

use std::net::SocketAddr;

use serde_bencode::value::Value;
use torrent_format::announce::{COMPACT_V4, COMPACT_V6, canonical, compact_v4, compact_v6};
use torrent_format::announce::{parse_compact_v4, parse_compact_v6};
use torrent_format::bencode::Raw;

use super::extension::{ExtensionError, decode_dictionary, encode_dictionary};

/// Entries of each of the four lists that are read; the rest of a longer one is passed over. A first message names all peers of its
/// sender, later ones at most 50.
pub const MAX_PEX_ENTRIES: usize = 200;

/// What is said of a peer (`added.f`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It would rather have encryption.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It has everything, or all that it wants.
    pub const SEED: Self = Self(0x02);
    /// It takes uTP.
    pub const UTP: Self = Self(0x04);
    /// It understands `ut_holepunch`.
    pub const HOLEPUNCH: Self = Self(0x08);
    /// The sender has dialled it, so that it can be reached.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether all of `flags` are set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for PexFlags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

/// A `ut_pex` message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Connected since the last message, where they can be dialled.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Not connected any more.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// A bencoded dictionary; lists that are empty are left out.
    pub fn encode(&self) -> Vec<u8> {
        let (mut added, mut flags) = (Compact::default(), [Vec::new(), Vec::new()]);
        for &(peer, PexFlags(bits)) in &self.added {
            flags[added.push(peer)].push(bits);
        }
        let mut dropped = Compact::default();
        for &peer in &self.dropped {
            dropped.push(peer);
        }
        let value = |bytes: Vec<u8>| (!bytes.is_empty()).then_some(Value::Bytes(bytes));
        let [flags, flags6] = flags;
        encode_dictionary([
            ("added", value(added.v4)),
            ("added.f", value(flags)),
            ("added6", value(added.v6)),
            ("added6.f", value(flags6)),
            ("dropped", value(dropped.v4)),
            ("dropped6", value(dropped.v6)),
        ])
    }

    /// Reads one: of each list the first [`MAX_PEX_ENTRIES`]. Without flags nothing is said of the peers.
    ///
    /// # Errors
    /// If it is no dictionary, a list is not of whole entries, or has not as many flags as peers.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        let (said, _) = decode_dictionary(payload)?;
        let bytes = |key| said.get(key).and_then(Raw::as_bytes);
        let mut message = Self::default();
        for (key, flags_key, is_ipv6) in [("added", "added.f", false), ("added6", "added6.f", true)] {
            let (count, peers) = list(key, bytes(key).unwrap_or_default(), is_ipv6)?;
            let flags = bytes(flags_key).filter(|flags| !flags.is_empty());
            if let Some(flags) = flags.filter(|flags| flags.len() != count) {
                let length = flags.len();
                return Err(ExtensionError(format!("{length} flags for {count} peers of `{key}`")));
            }
            let flags = flags.unwrap_or_default().iter().copied().chain(std::iter::repeat(0));
            message.added.extend(peers.into_iter().zip(flags.map(PexFlags)));
        }
        for (key, is_ipv6) in [("dropped", false), ("dropped6", true)] {
            message.dropped.extend(list(key, bytes(key).unwrap_or_default(), is_ipv6)?.1);
        }
        Ok(message)
    }
}

/// Peers of both families, in the form of BEP 23 and BEP 7.
#[derive(Default)]
struct Compact {
    v4: Vec<u8>,
    v6: Vec<u8>,
}

impl Compact {
    /// Says to which of the two it went.
    fn push(&mut self, peer: SocketAddr) -> usize {
        match canonical(peer) {
            SocketAddr::V4(peer) => self.v4.extend_from_slice(&compact_v4(peer)),
            SocketAddr::V6(peer) => self.v6.extend_from_slice(&compact_v6(peer)),
        }
        usize::from(canonical(peer).is_ipv6())
    }
}

/// How many peers there are, and the first of them.
fn list(key: &str, bytes: &[u8], is_ipv6: bool) -> Result<(usize, Vec<SocketAddr>), ExtensionError> {
    let entry = if is_ipv6 { COMPACT_V6 } else { COMPACT_V4 };
    let first = &bytes[..bytes.len().min(MAX_PEX_ENTRIES * entry)];
    let peers: Option<Vec<_>> = match is_ipv6 {
        false => parse_compact_v4(first).map(Iterator::collect),
        true => parse_compact_v6(first).map(Iterator::collect),
    };
    let peers = peers.filter(|_| bytes.len().is_multiple_of(entry));
    let length = bytes.len();
    peers
        .map(|peers| (length / entry, peers))
        .ok_or_else(|| ExtensionError(format!("{length} bytes of `{key}`, no multiple of {entry}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_message_is_that_of_bep_11() {
        let message = PexMessage {
            added: vec![
                (addr("192.0.2.1:258"), PexFlags::SEED | PexFlags::REACHABLE),
                (addr("[2001:db8::1]:258"), PexFlags::UTP),
                (addr("192.0.2.2:258"), PexFlags::default()),
            ],
            dropped: vec![addr("[2001:db8::2]:258"), addr("192.0.2.3:258")],
        };
        let v6 = |last: u8| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last, 1, 2]].concat();
        let bytes = [
            b"d5:added12:\xc0\0\x02\x01\x01\x02\xc0\0\x02\x02\x01\x027:added.f2:\x12\0",
            &b"6:added618:"[..],
            &v6(1),
            b"8:added6.f1:\x047:dropped6:\xc0\0\x02\x03\x01\x028:dropped618:",
            &v6(2),
            b"e",
        ]
        .concat();
        assert_eq!(message.encode(), bytes);
        let PexMessage { added, dropped } = PexMessage::decode(&bytes).unwrap();
        // IPv4 first.
        assert_eq!(added, [message.added[0], message.added[2], message.added[1]]);
        assert_eq!(dropped, [message.dropped[1], message.dropped[0]]);
        assert_eq!(
            (PexMessage::default().encode(), PexMessage::decode(b"de")),
            (b"de".to_vec(), Ok(PexMessage::default()))
        );
    }

    #[test]
    fn libtorrent_leaves_out_nothing_and_transmission_the_flags() {
        let of_libtorrent =
            b"d5:added6:\xc0\0\x02\x01\x1a\xe17:added.f1:\x106:added60:8:added6.f0:7:dropped0:8:dropped60:e";
        let expected = vec![(addr("192.0.2.1:6881"), PexFlags::REACHABLE)];
        assert_eq!(PexMessage::decode(of_libtorrent).unwrap().added, expected);
        let without = b"d5:added6:\xc0\0\x02\x01\x1a\xe17:dropped0:e";
        assert_eq!(PexMessage::decode(without).unwrap().added, [(expected[0].0, PexFlags::default())]);
    }

    #[test]
    fn e15_lists_of_broken_entries_are_refused_and_long_ones_are_cut() {
        for bad in [
            &b""[..],
            b"le",
            b"d5:added5:aaaaae",
            b"d5:added7:aaaaaaae",
            b"d6:added617:aaaaaaaaaaaaaaaaae",
            b"d7:dropped1:ae",
            b"d8:dropped66:aaaaaae",
            b"d5:added6:aaaaaa7:added.f2:aae",
        ] {
            assert!(PexMessage::decode(bad).is_err(), "{}", bad.escape_ascii());
        }
        let many = |key: &str| format!("{}:{key}{}:{}", key.len(), 60_000, "a".repeat(60_000));
        let message = format!("d{}{}e", many("added"), many("dropped"));
        let message = PexMessage::decode(message.as_bytes()).unwrap();
        assert_eq!((message.added.len(), message.dropped.len()), (MAX_PEX_ENTRIES, MAX_PEX_ENTRIES));
        assert_eq!(PexMessage::decode(b"d5:addedi1e7:droppedlee"), Ok(PexMessage::default()));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = fastrand::Rng::with_seed(8);
        let good = b"d5:added12:\xc0\0\x02\x01\x01\x02\xc0\0\x02\x02\x01\x027:added.f2:\x12\0e";
        let mut taken = 0;
        for _ in 0..50_000 {
            let mut bytes = good.to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = *random.choice(b"0123456789:deilx\xff-").unwrap();
            }
            taken += usize::from(PexMessage::decode(&bytes).is_ok());
        }
        assert!(taken > 1_000, "only {taken} of the buffers said anything");
    }
}
