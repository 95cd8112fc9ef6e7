//! Keyed hashes: whoever chooses info hashes or addresses must not be able to choose where they stand in a table.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;
use torrent_format::{InfoHash, PeerId};

/// Keys of all hashes of a tracker; they follow from its seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys(u64, u64);

impl Keys {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self(rng.u64(..), rng.u64(..))
    }

    pub(super) fn hash_torrent(&self, info_hash: &InfoHash) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(info_hash.as_bytes());
        hasher.finish()
    }

    pub(super) fn hash_numbers(&self, a: u64, b: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write_u64(a);
        hasher.write_u64(b);
        hasher.finish()
    }
}

/// Tells clients apart across address families: 24 bits, never 0, of a client's key and peer id; 0 if it has no key. Not keyed
/// with a secret, so that all nodes of a tracker agree: whoever makes two clients look like one only miscounts them.
pub(super) fn identity(key: Option<u32>, peer_id: &PeerId) -> u32 {
    let Some(key) = key.filter(|&key| key != 0) else { return 0 };
    let (parts, rest) = peer_id.0.as_chunks::<8>();
    let mut tail = [0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    let mut mixed = u64::from(key);
    for part in parts.iter().chain([&tail]) {
        let product = u128::from(mixed ^ u64::from_le_bytes(*part)) * 0x9e37_79b9_7f4a_7c15_u128;
        mixed = (product as u64) ^ (product >> 64) as u64;
    }
    (mixed >> 40).max(1) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn identities_need_a_key_and_differ() {
        let id = |text: &[u8; 20]| PeerId(*text);
        assert_eq!(identity(None, &id(b"-SR0100-abcdefghijkl")), 0);
        assert_eq!(identity(Some(0), &id(b"-SR0100-abcdefghijkl")), 0, "what clients without a key send");
        let all = [
            identity(Some(1), &id(b"-SR0100-abcdefghijkl")),
            identity(Some(2), &id(b"-SR0100-abcdefghijkl")),
            identity(Some(1), &id(b"-SR0100-abcdefghijkm")),
            identity(Some(1), &id(b"-TR0100-abcdefghijkl")),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4);
        assert!(all.iter().all(|&identity| identity > 0 && identity < 1 << 24));
    }
}
