//! The names of a torrent and of a peer: [`InfoHash`] and [`PeerId`].

use std::fmt;
use std::str::FromStr;

/// The v1 info hash: SHA-1 over the raw bytes of the `info` dictionary (BEP 3). It names a torrent, and its swarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// The text is no info hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an info hash is 40 hexadecimal or 32 base32 characters; this has {length}")]
pub struct ParseInfoHashError {
    /// How many characters were given.
    pub length: usize,
}

impl InfoHash {
    /// The hash of these raw bytes of an `info` dictionary.
    pub fn of_info(raw_info: &[u8]) -> Self {
        use sha1::{Digest as _, Sha1};
        Self(Sha1::digest(raw_info).into())
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FromStr for InfoHash {
    type Err = ParseInfoHashError;

    /// Reads 40 hexadecimal or 32 base32 characters, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseInfoHashError { length: text.chars().count() };
        let bytes = match text.len() {
            40 => data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
            32 => data_encoding::BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok(),
            _ => None,
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(error)
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

/// The 20 bytes that a client calls itself by for one run (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// Azureus-style: `-`, two letters and four digits of client and version, `-`, then twelve random bytes (BEP 20).
    pub fn azureus(client: [u8; 6], random: [u8; 12]) -> Self {
        let mut id = [b'-'; 20];
        id[1..7].copy_from_slice(&client);
        id[8..].copy_from_slice(&random);
        Self(id)
    }
}

impl fmt::Display for PeerId {
    /// Bytes that a terminal may show stand for themselves, the rest as `%XX`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            if byte.is_ascii_graphic() && byte != b'%' {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base32_in_either_case_name_the_same_hash() {
        let hash =
            InfoHash(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\xaa\xbb\xcc\xdd\xee\xff\x10\x20\x30\x40");
        let hex = hash.to_string();
        let base32 = data_encoding::BASE32.encode(&hash.0);
        for text in [hex.clone(), hex.to_uppercase(), base32.clone(), base32.to_lowercase()] {
            assert_eq!(text.parse(), Ok(hash), "{text}");
        }
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        for text in
            ["", "ab", &"a".repeat(39), &"a".repeat(41), &"g".repeat(40), &"1".repeat(32), &"ä".repeat(20)]
        {
            assert!(text.parse::<InfoHash>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_peer_id_prints_nothing_that_a_terminal_would_obey() {
        let id = PeerId::azureus(*b"SR0100", *b"\x1b[31mabcdef%");
        assert_eq!(id.to_string(), "-SR0100-%1B[31mabcdef%25");
    }
}
