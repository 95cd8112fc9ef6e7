//! The names of a torrent and of a peer: [`InfoHash`], [`InfoHashV2`], both of a torrent's in [`InfoHashes`], and [`PeerId`].

use std::fmt;
use std::str::FromStr;

/// The 20 bytes that name a swarm, on the wire and to trackers: the v1 info hash, which is SHA-1 over the raw bytes of the `info`
/// dictionary (BEP 3), or a v2 info hash cut to 20 bytes (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// The text is no info hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInfoHashError {
    /// No info hash is that long.
    #[error("an info hash is {expected} characters; this has {length}")]
    Length {
        /// How long it is, in which characters.
        expected: &'static str,
        /// How many characters were given.
        length: usize,
    },
    /// As long as an info hash, but made of other characters.
    #[error("an info hash of {length} characters is {alphabet}; this is not")]
    Alphabet {
        /// What it is made of.
        alphabet: &'static str,
        /// How many characters were given.
        length: usize,
    },
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

/// The v2 info hash: SHA-256 over the raw bytes of the `info` dictionary (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV2(pub [u8; 32]);

impl InfoHashV2 {
    /// The hash of these raw bytes of an `info` dictionary.
    pub fn of_info(raw_info: &[u8]) -> Self {
        use sha2::{Digest as _, Sha256};
        Self(Sha256::digest(raw_info).into())
    }

    /// Its first 20 bytes, by which handshakes and trackers name the v2 swarm.
    pub fn truncated(&self) -> InfoHash {
        let mut short = [0; 20];
        short.copy_from_slice(&self.0[..20]);
        InfoHash(short)
    }
}

impl fmt::Display for InfoHashV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InfoHashV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHashV2({self})")
    }
}

/// What is known of a torrent's info hashes: either, or both of a hybrid. Invariant: at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InfoHashes {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
}

impl InfoHashes {
    /// Both, as far as they are known; `None` if neither is.
    pub fn new(v1: Option<InfoHash>, v2: Option<InfoHashV2>) -> Option<Self> {
        (v1.is_some() || v2.is_some()).then_some(Self { v1, v2 })
    }

    /// The v1 info hash.
    pub fn v1(&self) -> Option<InfoHash> {
        self.v1
    }

    /// The v2 info hash.
    pub fn v2(&self) -> Option<InfoHashV2> {
        self.v2
    }

    /// The name of its v2 swarm: the v2 info hash cut short.
    pub fn v2_swarm(&self) -> Option<InfoHash> {
        self.v2.map(|v2| v2.truncated())
    }

    /// The one name of the torrent where only one can be: v1 if it is known, else v2 cut short.
    pub fn primary(&self) -> InfoHash {
        self.v1.or(self.v2_swarm()).unwrap_or(InfoHash([0; 20]))
    }

    /// The names of its swarms: of v1, then of v2.
    pub fn swarms(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.v1.into_iter().chain(self.v2_swarm())
    }

    /// Whether these raw bytes of an `info` dictionary have every hash that is known.
    pub fn match_info(&self, raw_info: &[u8]) -> bool {
        self.v1.is_none_or(|v1| v1 == InfoHash::of_info(raw_info))
            && self.v2.is_none_or(|v2| v2 == InfoHashV2::of_info(raw_info))
    }
}

impl From<InfoHash> for InfoHashes {
    fn from(v1: InfoHash) -> Self {
        Self { v1: Some(v1), v2: None }
    }
}

impl From<InfoHashV2> for InfoHashes {
    fn from(v2: InfoHashV2) -> Self {
        Self { v1: None, v2: Some(v2) }
    }
}

impl fmt::Display for InfoHashes {
    /// v1 in 40 hexadecimal digits; a torrent that has only v2 in 64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v1, self.v2) {
            (Some(v1), _) => v1.fmt(f),
            (None, Some(v2)) => v2.fmt(f),
            (None, None) => Ok(()),
        }
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

impl FromStr for InfoHash {
    type Err = ParseInfoHashError;

    /// Reads 40 hexadecimal or 32 base32 characters, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            40 => hexadecimal(text).map(Self),
            32 => base32(text).map(Self),
            _ => Err(wrong_length("40 hexadecimal or 32 base32", text)),
        }
    }
}

impl FromStr for InfoHashV2 {
    type Err = ParseInfoHashError;

    /// Reads 64 hexadecimal characters, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            64 => hexadecimal(text).map(Self),
            _ => Err(wrong_length("64 hexadecimal", text)),
        }
    }
}

impl FromStr for InfoHashes {
    type Err = ParseInfoHashError;

    /// Reads one info hash of either version, which its length tells: 40 hexadecimal or 32 base32 characters are v1, 64
    /// hexadecimal ones v2.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            40 | 32 => text.parse::<InfoHash>().map(Self::from),
            64 => text.parse::<InfoHashV2>().map(Self::from),
            _ => Err(wrong_length("40 or 64 hexadecimal or 32 base32", text)),
        }
    }
}

fn hexadecimal<const N: usize>(text: &str) -> Result<[u8; N], ParseInfoHashError> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| wrong_alphabet("hexadecimal", text))
}

fn base32<const N: usize>(text: &str) -> Result<[u8; N], ParseInfoHashError> {
    let bytes = data_encoding::BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| wrong_alphabet("base32", text))
}

fn wrong_length(expected: &'static str, text: &str) -> ParseInfoHashError {
    ParseInfoHashError::Length { expected, length: text.chars().count() }
}

fn wrong_alphabet(alphabet: &'static str, text: &str) -> ParseInfoHashError {
    ParseInfoHashError::Alphabet { alphabet, length: text.chars().count() }
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

    const V1: InfoHash =
        InfoHash(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\xaa\xbb\xcc\xdd\xee\xff\x10\x20\x30\x40");
    const V2: InfoHashV2 = InfoHashV2([0xa5; 32]);

    #[test]
    fn hex_and_base32_in_either_case_name_the_same_hash() {
        let hex = V1.to_string();
        let base32 = data_encoding::BASE32.encode(&V1.0);
        for text in [hex.clone(), hex.to_uppercase(), base32.clone(), base32.to_lowercase()] {
            assert_eq!(text.parse(), Ok(V1), "{text}");
            assert_eq!(text.parse(), Ok(InfoHashes::from(V1)), "{text}");
        }
        let hex = V2.to_string();
        for text in [hex.clone(), hex.to_uppercase()] {
            assert_eq!(text.parse(), Ok(V2), "{text}");
            assert_eq!(text.parse(), Ok(InfoHashes::from(V2)), "{text}");
        }
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        let error = |text: &str| text.parse::<InfoHashes>().unwrap_err();
        for length in [0, 2, 31, 33, 39, 41, 63, 65] {
            let expected = "40 or 64 hexadecimal or 32 base32";
            assert_eq!(error(&"a".repeat(length)), ParseInfoHashError::Length { expected, length });
        }
        for (text, alphabet, length) in [
            ("g".repeat(40), "hexadecimal", 40),
            ("g".repeat(64), "hexadecimal", 64),
            ("1".repeat(32), "base32", 32),
            (format!("{}=", "a".repeat(31)), "base32", 32),
            ("ä".repeat(20), "hexadecimal", 20),
        ] {
            assert_eq!(error(&text), ParseInfoHashError::Alphabet { alphabet, length }, "{text}");
        }
        assert!(V2.to_string().parse::<InfoHash>().is_err(), "v2 is not v1");
        assert!(V1.to_string().parse::<InfoHashV2>().is_err(), "v1 is not v2");
        assert_eq!(
            error("abc").to_string(),
            "an info hash is 40 or 64 hexadecimal or 32 base32 characters; this has 3"
        );
        assert_eq!(
            error(&"x".repeat(40)).to_string(),
            "an info hash of 40 characters is hexadecimal; this is not"
        );
    }

    #[test]
    fn an_info_must_have_every_hash_that_is_known() {
        // G9
        let (ours, other) = (b"d4:name1:ae", b"d4:name1:be");
        let both = |v1: &[u8], v2: &[u8]| {
            InfoHashes::new(Some(InfoHash::of_info(v1)), Some(InfoHashV2::of_info(v2))).unwrap()
        };
        for (hashes, matches) in [
            (InfoHash::of_info(ours).into(), true),
            (InfoHashV2::of_info(ours).into(), true),
            (both(ours, ours), true),
            (both(ours, other), false),
            (both(other, ours), false),
            (InfoHashV2::of_info(other).into(), false),
        ] {
            assert_eq!(hashes.match_info(ours), matches, "{hashes:?}");
        }
    }

    #[test]
    fn a_peer_id_prints_nothing_that_a_terminal_would_obey() {
        let id = PeerId::azureus(*b"SR0100", *b"\x1b[31mabcdef%");
        assert_eq!(id.to_string(), "-SR0100-%1B[31mabcdef%25");
    }
}
