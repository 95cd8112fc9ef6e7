//! Hole punching (BEP 55): two peers that can't be dialled are brought together by one that both are connected to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use torrent_format::announce::canonical;

use super::extension::ExtensionError;

/// A `ut_holepunch` message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolepunchMessage {
    /// To a relay: have that peer dial me, and tell me to dial it.
    Rendezvous(SocketAddr),
    /// From a relay: dial this peer by uTP now. It does the same.
    Connect(SocketAddr),
    /// From a relay: why it did nothing about the rendezvous with this peer.
    Failed(SocketAddr, HolepunchError),
}

/// Why a relay can't help (`err_code`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HolepunchError {
    /// The address is no peer's.
    #[error("no such peer")]
    NoSuchPeer,
    /// The relay is not connected to that peer.
    #[error("not connected to it")]
    NotConnected,
    /// That peer does not understand `ut_holepunch`.
    #[error("it does not punch holes")]
    NoSupport,
    /// It is the relay's own address.
    #[error("that is the relay itself")]
    NoSelf,
    /// A number that BEP 55 does not have.
    #[error("error {0}")]
    Other(u32),
}

const RENDEZVOUS: u8 = 0;
const CONNECT: u8 = 1;
const FAILED: u8 = 2;

const IPV4: u8 = 0;
const IPV6: u8 = 1;

impl HolepunchMessage {
    /// Type, family, address, port and error (0 where there is none).
    pub fn encode(&self) -> Vec<u8> {
        let (kind, addr, error) = match *self {
            Self::Rendezvous(addr) => (RENDEZVOUS, addr, 0),
            Self::Connect(addr) => (CONNECT, addr, 0),
            Self::Failed(addr, error) => (FAILED, addr, error.code()),
        };
        let mut bytes = vec![kind];
        match canonical(addr) {
            SocketAddr::V4(addr) => {
                bytes.push(IPV4);
                bytes.extend_from_slice(&addr.ip().octets());
            }
            SocketAddr::V6(addr) => {
                bytes.push(IPV6);
                bytes.extend_from_slice(&addr.ip().octets());
            }
        }
        bytes.extend_from_slice(&addr.port().to_be_bytes());
        bytes.extend_from_slice(&error.to_be_bytes());
        bytes
    }

    /// Reads one. The error may be missing where there is none, as libtorrent has it; what follows is ignored.
    ///
    /// # Errors
    /// If it is cut short, or of an unknown type or family.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        let bad = |what: &str| ExtensionError(format!("ut_holepunch: {what}"));
        let (&[kind, family], rest) = payload.split_first_chunk().ok_or_else(|| bad("cut short"))?;
        let (ip, rest) = match family {
            IPV4 => rest.split_first_chunk::<4>().map(|(ip, rest)| (Ipv4Addr::from(*ip).into(), rest)),
            IPV6 => rest.split_first_chunk::<16>().map(|(ip, rest)| (Ipv6Addr::from(*ip).into(), rest)),
            _ => return Err(bad("neither IPv4 nor IPv6")),
        }
        .ok_or_else(|| bad("cut short"))?;
        let (port, rest) = rest.split_first_chunk().ok_or_else(|| bad("cut short"))?;
        let addr = canonical(SocketAddr::new(ip, u16::from_be_bytes(*port)));
        match kind {
            RENDEZVOUS => Ok(Self::Rendezvous(addr)),
            CONNECT => Ok(Self::Connect(addr)),
            FAILED => {
                let code = rest.first_chunk().ok_or_else(|| bad("no error code"))?;
                Ok(Self::Failed(addr, HolepunchError::from_code(u32::from_be_bytes(*code))))
            }
            _ => Err(bad("unknown type")),
        }
    }
}

impl HolepunchError {
    fn code(self) -> u32 {
        match self {
            Self::NoSuchPeer => 1,
            Self::NotConnected => 2,
            Self::NoSupport => 3,
            Self::NoSelf => 4,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u32) -> Self {
        match code {
            1 => Self::NoSuchPeer,
            2 => Self::NotConnected,
            3 => Self::NoSupport,
            4 => Self::NoSelf,
            code => Self::Other(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_messages_are_those_of_bep_55() {
        let v4 = addr("192.0.2.1:258");
        let v6 = addr("[2001:db8::1]:6881");
        let v6_bytes = b"\x01\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1\0\0\0\0";
        for (message, bytes) in [
            (HolepunchMessage::Rendezvous(v4), &b"\0\0\xc0\0\x02\x01\x01\x02\0\0\0\0"[..]),
            (HolepunchMessage::Connect(v6), &v6_bytes[..]),
            (
                HolepunchMessage::Failed(v4, HolepunchError::NoSuchPeer),
                b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0\x01",
            ),
            (
                HolepunchMessage::Failed(v4, HolepunchError::NotConnected),
                b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0\x02",
            ),
            (
                HolepunchMessage::Failed(v4, HolepunchError::NoSupport),
                b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0\x03",
            ),
            (HolepunchMessage::Failed(v4, HolepunchError::NoSelf), b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0\x04"),
            (
                HolepunchMessage::Failed(v4, HolepunchError::Other(5)),
                b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0\x05",
            ),
        ] {
            assert_eq!(message.encode(), bytes, "{message:?}");
            assert_eq!(HolepunchMessage::decode(bytes), Ok(message));
        }
    }

    #[test]
    fn an_error_that_is_none_may_be_missing_and_a_mapped_address_is_one_of_ipv4() {
        let rendezvous = HolepunchMessage::decode(b"\0\0\xc0\0\x02\x01\x01\x02");
        assert_eq!(rendezvous, Ok(HolepunchMessage::Rendezvous(addr("192.0.2.1:258"))));
        let mapped = HolepunchMessage::Connect(addr("[::ffff:192.0.2.1]:258"));
        assert_eq!(mapped.encode(), HolepunchMessage::Connect(addr("192.0.2.1:258")).encode());
        let decoded = HolepunchMessage::decode(b"\x01\x01\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\x01\x02");
        assert_eq!(decoded, Ok(HolepunchMessage::Connect(addr("192.0.2.1:258"))));
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_refused() {
        let whole = HolepunchMessage::Failed(addr("[2001:db8::1]:1"), HolepunchError::NoSelf).encode();
        for length in 0..whole.len() {
            assert!(HolepunchMessage::decode(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(HolepunchMessage::decode(b"\x03\0\xc0\0\x02\x01\x01\x02\0\0\0\0").is_err());
        assert!(HolepunchMessage::decode(b"\0\x02\xc0\0\x02\x01\x01\x02\0\0\0\0").is_err());
    }
}
