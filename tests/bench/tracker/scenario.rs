//! What can be measured.

use std::fmt;

/// A table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scenario {
    Udp,
    UdpConnect,
    Http,
    HttpClose,
    Memory,
    Memory6,
    Expiry,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] =
        [Self::Udp, Self::UdpConnect, Self::Http, Self::HttpClose, Self::Memory, Self::Memory6, Self::Expiry];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.to_string() == name)
    }

    /// Whether its load comes over UDP, for a tracker that speaks it.
    pub(crate) fn is_udp(self) -> bool {
        !matches!(self, Self::Http | Self::HttpClose)
    }

    /// What its table is of.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Udp => "UDP, connection ids used again",
            Self::UdpConnect => "UDP, a connect before each announce",
            Self::Http => "HTTP, connections kept",
            Self::HttpClose => "HTTP, a connection for each announce",
            Self::Memory => "Memory, IPv4",
            Self::Memory6 => "Memory, IPv6",
            Self::Expiry => "Expiry",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Udp => "udp",
            Self::UdpConnect => "udp-connect",
            Self::Http => "http",
            Self::HttpClose => "http-close",
            Self::Memory => "memory",
            Self::Memory6 => "memory6",
            Self::Expiry => "expiry",
        })
    }
}
