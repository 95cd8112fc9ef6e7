//! The first 68 bytes (BEP 3), with the reserved bits of BEP 6 and BEP 10.

use torrent_format::{InfoHash, PeerId};

/// Length of a handshake in bytes.
pub const HANDSHAKE_LENGTH: usize = 68;

/// How every handshake begins: the length of the protocol's name, and the name.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// What the eight reserved bytes offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// BEP 6.
    pub fast: bool,
    /// BEP 10.
    pub extended: bool,
    /// BEP 5.
    pub dht: bool,
    /// BEP 52.
    pub v2: bool,
}

/// A handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// Reserved bits.
    pub capabilities: Capabilities,
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Who.
    pub peer_id: PeerId,
}

/// Not a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The first 20 bytes are not `\x13BitTorrent protocol`.
    #[error("it does not speak the BitTorrent protocol")]
    Protocol,
}

impl Handshake {
    /// The 68 bytes.
    pub fn encode(&self) -> [u8; HANDSHAKE_LENGTH] {
        let mut bytes = [0; HANDSHAKE_LENGTH];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.capabilities.to_reserved());
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads what has come so far: `Ok(None)` while more bytes are needed and those that are there fit. A wrong byte is an
    /// error at once, however few have come: a web browser or a port scanner need not be waited for.
    ///
    /// Takes [`HANDSHAKE_LENGTH`] bytes; what follows them belongs to the first frame.
    ///
    /// # Errors
    /// If the bytes don't begin like a handshake.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        let come = bytes.len().min(PROTOCOL.len());
        if bytes[..come] != PROTOCOL[..come] {
            return Err(HandshakeError::Protocol);
        }
        Ok(Self::after_protocol(&bytes[come..]))
    }

    fn after_protocol(bytes: &[u8]) -> Option<Self> {
        let (reserved, bytes) = bytes.split_first_chunk()?;
        let (info_hash, bytes) = bytes.split_first_chunk()?;
        let peer_id = bytes.first_chunk()?;
        Some(Self {
            capabilities: Capabilities::from_reserved(*reserved),
            info_hash: InfoHash(*info_hash),
            peer_id: PeerId(*peer_id),
        })
    }
}

/// Byte 5 of the reserved ones (BEP 10).
const EXTENDED: u8 = 0x10;
/// Byte 7 (BEP 5).
const DHT: u8 = 0x01;
/// Byte 7 (BEP 6).
const FAST: u8 = 0x04;
/// Byte 7 (BEP 52).
const V2: u8 = 0x10;

impl Capabilities {
    fn to_reserved(self) -> [u8; 8] {
        let bit = |offered: bool, bit: u8| if offered { bit } else { 0 };
        let last = bit(self.dht, DHT) | bit(self.fast, FAST) | bit(self.v2, V2);
        [0, 0, 0, 0, 0, bit(self.extended, EXTENDED), 0, last]
    }

    fn from_reserved(reserved: [u8; 8]) -> Self {
        Self {
            fast: reserved[7] & FAST != 0,
            extended: reserved[5] & EXTENDED != 0,
            dht: reserved[7] & DHT != 0,
            v2: reserved[7] & V2 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: Handshake = Handshake {
        capabilities: Capabilities { fast: true, extended: true, dht: false, v2: false },
        info_hash: InfoHash(*b"aaaaaaaaaaaaaaaaaaaa"),
        peer_id: PeerId(*b"-SR0100-bbbbbbbbbbbb"),
    };
    const BYTES: &[u8; 68] =
        b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04aaaaaaaaaaaaaaaaaaaa-SR0100-bbbbbbbbbbbb";

    #[test]
    fn a_handshake_is_these_68_bytes() {
        assert_eq!(&HANDSHAKE.encode(), BYTES);
    }

    #[test]
    fn p7_p16_every_strict_prefix_asks_for_more_and_what_follows_is_left() {
        for come in 0..BYTES.len() {
            assert_eq!(Handshake::decode(&BYTES[..come]), Ok(None), "{come} bytes");
        }
        assert_eq!(Handshake::decode(BYTES), Ok(Some(HANDSHAKE)));
        assert_eq!(Handshake::decode(&[BYTES.as_slice(), b"\0\0\0\x01\x0f"].concat()), Ok(Some(HANDSHAKE)));
    }

    #[test]
    fn p1_p2_p12_what_is_no_handshake_is_refused_by_its_first_wrong_byte() {
        let cases: [(&str, &[u8], usize); 9] = [
            ("P1 name of 0 bytes", b"\0BitTorrent protocol", 1),
            ("P1 name of 18 bytes", b"\x12BitTorrent protoco", 1),
            ("P1 name of 255 bytes", b"\xffBitTorrent protocol", 1),
            ("P2 other name", b"\x13BitTorrent protocoL", 20),
            ("P2 other case", b"\x13Bittorrent protocol", 5),
            ("P12 HTTP", b"GET / HTTP/1.1\r\n", 1),
            ("P12 TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 1),
            ("P12 SSH", b"SSH-2.0-OpenSSH_9.9\r\n", 1),
            ("P12 length, then something else", b"\x13GET / HTTP/1.1\r\n", 2),
        ];
        for (case, bytes, wrong) in cases {
            assert_eq!(Handshake::decode(&bytes[..wrong - 1]), Ok(None), "{case}");
            for come in wrong..=bytes.len() {
                assert_eq!(
                    Handshake::decode(&bytes[..come]),
                    Err(HandshakeError::Protocol),
                    "{case}, {come}"
                );
            }
        }
    }

    #[test]
    fn p10_each_reserved_bit_is_one_capability_and_unknown_bits_are_none() {
        let none = Capabilities::default();
        let cases = [
            ([0, 0, 0, 0, 0, 0, 0, 0], none),
            ([0, 0, 0, 0, 0, 0x10, 0, 0], Capabilities { extended: true, ..none }),
            ([0, 0, 0, 0, 0, 0, 0, 0x04], Capabilities { fast: true, ..none }),
            ([0, 0, 0, 0, 0, 0, 0, 0x01], Capabilities { dht: true, ..none }),
            ([0, 0, 0, 0, 0, 0, 0, 0x10], Capabilities { v2: true, ..none }),
            (
                [0, 0, 0, 0, 0, 0x10, 0, 0x15],
                Capabilities { fast: true, extended: true, dht: true, v2: true },
            ),
        ];
        for (reserved, capabilities) in cases {
            assert_eq!(capabilities.to_reserved(), reserved);
            let mut bytes = *BYTES;
            bytes[20..28].copy_from_slice(&reserved);
            assert_eq!(Handshake::decode(&bytes), Ok(Some(Handshake { capabilities, ..HANDSHAKE })));
        }
        assert_eq!(Capabilities::from_reserved([0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xea]), none);
    }
}
