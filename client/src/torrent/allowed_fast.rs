//! The pieces that a newcomer may fetch while choked: the canonical allowed-fast set of BEP 6.
//!
//! It depends on the peer's /24 and the torrent only, so every neighbour offers the same few pieces, and connecting to many of
//! them gains nothing. BEP 6 defines it for IPv4 only.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha1::{Digest as _, Sha1};
use torrent_format::{InfoHash, Layout, PieceIndex};

/// How many pieces. BEP 6 speaks of ten; libtorrent gives five. Enough to have something to trade.
pub(super) const ALLOWED_FAST: usize = 4;

/// The set for a peer at this address; empty for IPv6.
pub(super) fn allowed_fast_set(ip: IpAddr, info_hash: InfoHash, layout: &Layout) -> BTreeSet<PieceIndex> {
    let IpAddr::V4(ip) = ip.to_canonical() else { return BTreeSet::new() };
    let size = ALLOWED_FAST.min(layout.piece_count() as usize);
    let [a, b, c, _] = ip.octets();
    let mut x = [&[a, b, c, 0][..], info_hash.as_bytes()].concat();
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
        assert!(allowed_fast_set("::1".parse().unwrap(), InfoHash([1; 20]), &layout).is_empty());
    }
}
