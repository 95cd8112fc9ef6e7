//! What is kept of one peer, in 12 bytes (IPv4) or 24 (IPv6): [`Entry`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an IPv4 peer's address and port, as they are sent.
pub(super) const V4: usize = torrent_format::announce::COMPACT_V4;

/// Bytes of an IPv6 peer's address and port, as they are sent.
pub(super) const V6: usize = torrent_format::announce::COMPACT_V6;

/// Ticks are counted modulo this.
pub(super) const TICKS: u32 = 1 << TICK_BITS;

const TICK_BITS: u32 = 20;
const TICK_SHIFT: u32 = 4;
const IDENTITY_SHIFT: u32 = TICK_SHIFT + TICK_BITS;
const IDENTITY_BITS: u32 = 24;
const ROLE: u64 = 0b11;
const COUNTED: u64 = 0b100;
const PAIRED: u64 = 0b1000;

/// A peer: where it is reached, in the bytes that are sent, and what is remembered of it in 48 bits beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Entry<const N: usize> {
    /// Address and port in network order.
    pub(super) addr: [u8; N],
    low: u16,
    high: u32,
}

/// What is remembered of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// What it has.
    pub(super) role: Role,
    /// Its completion was counted already.
    pub(super) counted: bool,
    /// An IPv6 peer that is listed by IPv4 too: one client, counted once.
    pub(super) paired: bool,
    /// When it last announced, in ticks modulo [`TICKS`].
    pub(super) seen: u32,
    /// Tells clients apart across address families: 24 bits of a hash of key and peer id. 0: it has none.
    pub(super) identity: u32,
}

/// What a peer has of the torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Not everything.
    Leecher,
    /// Not everything, but all it wants (BEP 21). Counts as a leecher that does not download.
    PartialSeed,
    /// Everything.
    Seed,
}

impl<const N: usize> Entry<N> {
    pub(super) fn new(addr: [u8; N], mark: Mark) -> Self {
        let mut entry = Self { addr, low: 0, high: 0 };
        entry.set_mark(mark);
        entry
    }

    pub(super) fn mark(&self) -> Mark {
        let bits = self.bits();
        Mark {
            role: self.role(),
            counted: bits & COUNTED != 0,
            paired: bits & PAIRED != 0,
            seen: (bits >> TICK_SHIFT) as u32 & (TICKS - 1),
            identity: (bits >> IDENTITY_SHIFT) as u32,
        }
    }

    pub(super) fn set_mark(&mut self, mark: Mark) {
        let bits = mark.role as u64
            | if mark.counted { COUNTED } else { 0 }
            | if mark.paired { PAIRED } else { 0 }
            | u64::from(mark.seen & (TICKS - 1)) << TICK_SHIFT
            | u64::from(mark.identity & ((1 << IDENTITY_BITS) - 1)) << IDENTITY_SHIFT;
        self.low = bits as u16;
        self.high = (bits >> 16) as u32;
    }

    pub(super) fn role(&self) -> Role {
        match self.bits() & ROLE {
            0 => Role::Leecher,
            1 => Role::PartialSeed,
            _ => Role::Seed,
        }
    }

    pub(super) fn identity(&self) -> u32 {
        self.high >> (IDENTITY_SHIFT - 16)
    }

    /// How many ticks ago it was seen; `now` is a tick modulo [`TICKS`].
    pub(super) fn age(&self, now: u32) -> u32 {
        now.wrapping_sub(self.mark().seen) & (TICKS - 1)
    }

    fn bits(&self) -> u64 {
        u64::from(self.high) << 16 | u64::from(self.low)
    }
}

/// Whether nobody but this machine reaches the peer at these bytes.
pub(super) fn is_loopback<const N: usize>(addr: &[u8; N]) -> bool {
    if N == V4 { addr[0] == 127 } else { addr[..15] == [0; 15] && addr[15] == 1 }
}

/// The bytes of an address before its port.
pub(super) fn ip<const N: usize>(addr: &[u8; N]) -> IpAddr {
    socket_addr(addr).ip()
}

/// Address and port from the bytes that are sent.
pub(super) fn socket_addr<const N: usize>(addr: &[u8; N]) -> SocketAddr {
    let port = u16::from_be_bytes([addr[N - 2], addr[N - 1]]);
    if N == V4 {
        (Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3]), port).into()
    } else {
        let mut octets = [0; 16];
        octets.copy_from_slice(&addr[..16]);
        (Ipv6Addr::from(octets), port).into()
    }
}

/// What counts as one host, as a number: an IPv4 address, or an IPv6 network of 64 bits, which is what one host can choose its
/// addresses from.
pub(super) fn host<const N: usize>(addr: &[u8; N]) -> u64 {
    if N == V4 {
        u64::from(u32::from_be_bytes([addr[0], addr[1], addr[2], addr[3]]))
    } else {
        let mut network = [0; 8];
        network.copy_from_slice(&addr[..8]);
        u64::from_be_bytes(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_takes_the_bytes_that_are_meant() {
        assert_eq!((size_of::<Entry<V4>>(), size_of::<Entry<V6>>()), (12, 24));
    }

    #[test]
    fn marks_come_back_as_they_went() {
        for role in [Role::Leecher, Role::PartialSeed, Role::Seed] {
            for (counted, paired) in [(false, false), (true, false), (false, true), (true, true)] {
                for (seen, identity) in [(0, 0), (1, 1), (TICKS - 1, (1 << 24) - 1), (0x54321, 0xabcdef)] {
                    let mark = Mark { role, counted, paired, seen, identity };
                    let entry = Entry::<V6>::new([7; V6], mark);
                    assert_eq!(entry.mark(), mark);
                    assert_eq!((entry.role(), entry.identity(), entry.addr), (role, identity, [7; V6]));
                }
            }
        }
    }

    #[test]
    fn ages_are_right_across_the_turn_of_the_clock() {
        let seen = TICKS - 5;
        let mark = Mark { role: Role::Seed, counted: false, paired: false, seen, identity: 0 };
        let entry = Entry::<V4>::new([1; V4], mark);
        assert_eq!((entry.age(TICKS - 5), entry.age(TICKS - 1), entry.age(3)), (0, 4, 8));
    }
}
