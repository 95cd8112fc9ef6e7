//! 160-bit ids of nodes and torrents, the distance between them, and which ids an address may have (BEP 42).

use std::net::IpAddr;

use torrent_format::InfoHash;

use crate::torrent::is_local;

/// A node's id, or what is looked for. Its distance to another is their exclusive or.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub [u8; 20]);

/// How many bits an id has.
pub(super) const BITS: usize = 160;

/// The bits of an IPv4 address that count, the more the higher (BEP 42).
const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];

/// Those of the upper half of an IPv6 address.
const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];

impl From<InfoHash> for Id {
    fn from(hash: InfoHash) -> Self {
        Self(hash.0)
    }
}

impl Id {
    /// Any.
    pub(super) fn random(rng: &mut fastrand::Rng) -> Self {
        Self(std::array::from_fn(|_| rng.u8(..)))
    }

    /// One that a node at this address may have.
    pub fn for_address(ip: IpAddr, rng: &mut fastrand::Rng) -> Self {
        let mut id = Self::random(rng);
        let [a, b, c] = prefix(ip, id.0[19]);
        id.0[0] = a;
        id.0[1] = b;
        id.0[2] = c | (id.0[2] & 0x07);
        id
    }

    /// Whether a node at this address may have this id. At a loopback or private address it may have any.
    pub fn fits(&self, ip: IpAddr) -> bool {
        let [a, b, c] = prefix(ip, self.0[19]);
        is_local(ip) || (self.0[0] == a && self.0[1] == b && self.0[2] & 0xf8 == c)
    }

    /// The exclusive or, which compares as the distance that it is.
    pub(super) fn distance(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// How many bits they share from the left; one less than all if they are the same.
    pub(super) fn common_bits(&self, other: &Self) -> usize {
        let distance = self.distance(other).0;
        let zeros = distance.iter().take_while(|&&byte| byte == 0).count();
        let rest = distance.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
        (8 * zeros + rest).min(BITS - 1)
    }

    /// One that shares just so many bits with this.
    pub(super) fn beside(&self, common_bits: usize, rng: &mut fastrand::Rng) -> Self {
        let mut id = Self::random(rng);
        for bit in 0..=common_bits {
            let (byte, mask) = (bit / 8, 0x80 >> (bit % 8));
            let wanted = if bit < common_bits { self.0[byte] & mask } else { !self.0[byte] & mask };
            id.0[byte] = (id.0[byte] & !mask) | wanted;
        }
        id
    }
}

/// The 21 bits with which an id begins at this address, given the id's last byte.
fn prefix(ip: IpAddr, last: u8) -> [u8; 3] {
    let random = last & 0x07;
    let crc = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mut octets = ip.octets();
            octets.iter_mut().zip(MASK_V4).for_each(|(octet, mask)| *octet &= mask);
            octets[0] |= random << 5;
            crc32c(&octets)
        }
        IpAddr::V6(ip) => {
            let mut octets: [u8; 8] = std::array::from_fn(|i| ip.octets()[i] & MASK_V6[i]);
            octets[0] |= random << 5;
            crc32c(&octets)
        }
    };
    let [a, b, c, _] = crc.to_be_bytes();
    [a, b, c & 0xf8]
}

/// CRC-32C (Castagnoli), bit by bit: it is never asked for more than eight bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(hex: &str) -> Id {
        Id(hex.parse::<InfoHash>().unwrap().0)
    }

    #[test]
    fn the_ids_of_bep_42_fit_their_addresses_and_no_others() {
        // The last one is from libtorrent's tests: the BEP has none of IPv6.
        let vectors = [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
            ("2001:b829:2123:be84:e16c:d6ae:5290:49f1", "0a8ad123be84e16cd6ae529049f1f1bbe9ebb304"),
        ];
        for (ip, hex) in vectors {
            for (other, _) in vectors {
                assert_eq!(id(hex).fits(other.parse().unwrap()), ip == other, "{hex} at {other}");
            }
            let made = Id::for_address(ip.parse().unwrap(), &mut fastrand::Rng::with_seed(1));
            assert!(made.fits(ip.parse().unwrap()));
        }
        assert!(id(vectors[0].1).fits("127.0.0.1".parse().unwrap()), "at home anything goes");
    }

    #[test]
    fn an_id_beside_another_shares_just_so_many_bits() {
        let mut rng = fastrand::Rng::with_seed(1);
        let own = Id::random(&mut rng);
        for bits in [0, 1, 7, 8, 100, 159] {
            assert_eq!(own.common_bits(&own.beside(bits, &mut rng)), bits);
        }
        assert_eq!(own.common_bits(&own), 159);
    }
}
