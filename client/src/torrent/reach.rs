//! How a peer is dialled, and how one that dials is taken: hidden or plain, and what is tried after a failure.

use std::net::IpAddr;

use super::candidates::is_local;
use crate::wire::mse::Methods;

/// `--encryption`: whether connections are hidden from whoever is on the way (see [`crate::wire::mse`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encryption {
    /// Nothing plain, neither how a connection begins nor what follows.
    Require,
    /// A hidden beginning where the peer can do that; what follows is plain if the peer takes that, else RC4.
    #[default]
    Prefer,
    /// Everything plain.
    Off,
}

/// How a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// With a BitTorrent handshake.
    Plain,
    /// With a negotiation, and the handshake in it.
    Hidden,
}

impl Encryption {
    /// How to begin with a peer at this address; if that fails, how to begin anew. On this machine and its own network nobody is to hide
    /// from, and plain needs a round trip less.
    pub fn openings(self, ip: IpAddr) -> &'static [Opening] {
        match self {
            Self::Require => &[Opening::Hidden],
            Self::Prefer if is_local(ip) => &[Opening::Plain, Opening::Hidden],
            Self::Prefer => &[Opening::Hidden, Opening::Plain],
            Self::Off => &[Opening::Plain],
        }
    }

    /// Whether a peer that dialled us may begin so.
    pub fn takes(self, opening: Opening) -> bool {
        match self {
            Self::Require => opening == Opening::Hidden,
            Self::Prefer => true,
            Self::Off => opening == Opening::Plain,
        }
    }

    /// How it may go on after a hidden beginning.
    pub fn methods(self) -> Methods {
        match self {
            Self::Require => Methods::RC4,
            Self::Prefer | Self::Off => Methods::ANY,
        }
    }
}

/// `--transport`: what carries connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transports {
    /// TCP; uTP where that does not come about.
    #[default]
    Both,
    /// TCP alone.
    Tcp,
    /// uTP (BEP 29) alone.
    Utp,
}

impl Transports {
    /// Whether connections may go over TCP.
    pub fn has_tcp(self) -> bool {
        self != Self::Utp
    }

    /// Whether they may go over uTP.
    pub fn has_utp(self) -> bool {
        self != Self::Tcp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Opening::{Hidden, Plain};

    #[test]
    fn what_is_tried_and_taken_follows_from_the_flag_and_the_address() {
        for (encryption, public, private, takes) in [
            (Encryption::Require, &[Hidden][..], &[Hidden][..], [false, true]),
            (Encryption::Prefer, &[Hidden, Plain], &[Plain, Hidden], [true, true]),
            (Encryption::Off, &[Plain], &[Plain], [true, false]),
        ] {
            assert_eq!(encryption.openings("203.0.113.1".parse().unwrap()), public, "{encryption:?}");
            assert_eq!(encryption.openings("2001:db8::1".parse().unwrap()), public, "{encryption:?}");
            for near in ["127.0.0.1", "192.168.1.7", "fd00::1"] {
                assert_eq!(encryption.openings(near.parse().unwrap()), private, "{encryption:?}, {near}");
            }
            assert_eq!([Plain, Hidden].map(|opening| encryption.takes(opening)), takes, "{encryption:?}");
        }
        assert!(!Encryption::Require.methods().plaintext && Encryption::Prefer.methods().plaintext);
    }
}
