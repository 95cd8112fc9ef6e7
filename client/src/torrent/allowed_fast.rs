//! The pieces that a newcomer may fetch while choked: the canonical allowed-fast set of BEP 6.
//!
//! It depends on the peer's /24 and the torrent only, so every neighbour offers the same few pieces, and connecting to many of
//! them gains nothing. BEP 6 defines it for IPv4 only. For IPv6 we hash the address's /56, what a household is given (RFC 6177), as BEP 6 does
//! the /24, padded with zeros to the whole address; other clients that offer sets there choose their own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha1::{Digest as _, Sha1};
use torrent_format::{InfoHash, Layout, PieceIndex};

/// How many pieces. BEP 6 speaks of ten; libtorrent gives five. Enough to have something to trade.
pub(super) const ALLOWED_FAST: usize = 4;

/// Bytes of an IPv6 address that are the same for one household: a /56.
const IPV6_NETWORK: usize = 7;

/// The /24 or /56 that an address is in, by its first address: what one household or one host has.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [a, b, c, 0].into()
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[IPV6_NETWORK..].fill(0);
            octets.into()
        }
    }
}

/// The set for a peer at this address.
pub(super) fn allowed_fast_set(ip: IpAddr, info_hash: InfoHash, layout: &Layout) -> BTreeSet<PieceIndex> {
    let network = match network(ip) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let size = ALLOWED_FAST.min(layout.piece_count() as usize);
    let mut x = [&network, &info_hash.as_bytes()[..]].concat();
    let mut set = BTreeSet::new();
    while set.len() < size {
        x = Sha1::digest(&x).to_vec();
        for word in x.chunks_exact(4) {
            let index = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) % layout.piece_count();
            if set.len() < size {
                set.extend(layout.piece(index));
            }
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of BEP 6: 80.4.4.200, info hash of twenty 0xaa, 1313 pieces; its first four are those of the set of seven.
    #[test]
    fn the_set_is_the_one_that_bep_6_gives() {
        let layout = Layout::new(16_384, [16_384 * 1_313]).unwrap();
        let set = allowed_fast_set("80.4.4.200".parse().unwrap(), InfoHash([0xaa; 20]), &layout);
        let numbers: BTreeSet<_> = set.iter().map(|piece| piece.get()).collect();
        assert_eq!(numbers, [1_059, 431, 808, 1_217].into());
    }

    #[test]
    fn a_small_torrent_has_a_small_set() {
        let layout = Layout::new(16_384, [16_384 * 2]).unwrap();
        assert_eq!(allowed_fast_set("80.4.4.200".parse().unwrap(), InfoHash([1; 20]), &layout).len(), 2);
    }

    #[test]
    fn one_household_has_one_set_over_ipv6_too() {
        let layout = Layout::new(16_384, [16_384 * 1_313]).unwrap();
        let set = |ip: &str| allowed_fast_set(ip.parse().unwrap(), InfoHash([0xaa; 20]), &layout);
        assert_eq!(set("2001:db8:1:200::1").len(), ALLOWED_FAST);
        assert_eq!(set("2001:db8:1:200::1"), set("2001:db8:1:2ff:1:2:3:4"));
        assert_ne!(set("2001:db8:1:200::1"), set("2001:db8:1:300::1"));
        assert_eq!(set("::ffff:80.4.4.200"), set("80.4.4.7"), "IPv4 in IPv6's clothes");
    }
}
