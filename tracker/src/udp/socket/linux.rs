//! `recvmmsg` and `sendmmsg`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike,
    recvmmsg, sendmmsg, setsockopt, sockopt,
};

use socket2::Socket;

use super::{BATCH, BatchSocket, MAX_PACKET, Replies, Reply, Source};

/// What the calls need, which differs by address family.
pub(super) enum Family {
    V4(Headers<SockaddrIn>),
    V6(Headers<SockaddrIn6>),
}

pub(super) struct Headers<A> {
    received: MultiHeaders<A>,
    sent: MultiHeaders<A>,
    /// As `sent`, with room for the address that is sent from.
    sent_from: MultiHeaders<A>,
    buffers: Vec<[u8; MAX_PACKET]>,
}

impl<A: SockaddrLike + Copy> Headers<A> {
    fn new(is_everywhere: bool, space: fn() -> Vec<u8>) -> Self {
        Self {
            received: MultiHeaders::preallocate(BATCH, is_everywhere.then(space)),
            sent: MultiHeaders::preallocate(BATCH, None),
            sent_from: MultiHeaders::preallocate(BATCH, Some(space())),
            buffers: vec![[0; MAX_PACKET]; BATCH],
        }
    }
}

impl Family {
    pub(super) fn new(local: SocketAddr) -> Self {
        let is_everywhere = local.ip().is_unspecified();
        match local {
            SocketAddr::V4(_) => Self::V4(Headers::new(is_everywhere, || cmsg_space!(libc::in_pktinfo))),
            SocketAddr::V6(_) => Self::V6(Headers::new(is_everywhere, || cmsg_space!(libc::in6_pktinfo))),
        }
    }
}

/// From now on each packet says which of our addresses it was sent to.
pub(super) fn ask_for_destination(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    match addr {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

impl BatchSocket {
    /// Waits for packets and has each of them answered: `answer` is given the packet, its sender, and an empty buffer for the
    /// answer. Says how many there were: 0, if none came for a while.
    pub(crate) fn receive(
        &mut self,
        replies: &mut Replies,
        answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>),
    ) -> io::Result<usize> {
        replies.count = 0;
        let fd = self.bound.socket.as_raw_fd();
        let received = match &mut self.family {
            Family::V4(headers) => {
                receive(fd, headers, replies, |addr| SocketAddrV4::from(*addr).into(), answer)
            }
            Family::V6(headers) => {
                receive(fd, headers, replies, |addr| SocketAddrV6::from(*addr).into(), answer)
            }
        };
        match received {
            Err(Errno::EAGAIN) => Ok(0),
            result => Ok(result?),
        }
    }

    /// Sends the answers; says how many the system took.
    pub(crate) fn send(&mut self, replies: &mut Replies) -> usize {
        let fd = self.bound.socket.as_raw_fd();
        let replies = &replies.replies[..replies.count];
        // Those from one of our addresses go together; mostly, that is all.
        replies
            .chunk_by(|a, b| a.from == b.from)
            .map(|together| match (&mut self.family, together[0].from) {
                (Family::V4(headers), None) => send(fd, &mut headers.sent, together, v4, &[]),
                (Family::V6(headers), None) => send(fd, &mut headers.sent, together, v6, &[]),
                (Family::V4(headers), Some(source)) => {
                    let info = info_v4(source);
                    let from = [ControlMessage::Ipv4PacketInfo(&info)];
                    send(fd, &mut headers.sent_from, together, v4, &from)
                }
                (Family::V6(headers), Some(source)) => {
                    let info = info_v6(source);
                    let from = [ControlMessage::Ipv6PacketInfo(&info)];
                    send(fd, &mut headers.sent_from, together, v6, &from)
                }
            })
            .sum()
    }
}

fn receive<A: SockaddrLike + Copy>(
    fd: i32,
    headers: &mut Headers<A>,
    replies: &mut Replies,
    sender: impl Fn(&A) -> SocketAddr,
    mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>),
) -> nix::Result<usize> {
    let mut buffers: Vec<_> = headers.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    // Waits for the first, and takes what else has come already.
    let flags = MsgFlags::MSG_WAITFORONE;
    let packets = recvmmsg(fd, &mut headers.received, buffers.iter_mut(), flags, None)?;
    let mut count = 0;
    for packet in packets {
        count += 1;
        let Some(from) = packet.address.as_ref().map(&sender) else { continue };
        let bytes = match packet.flags.contains(MsgFlags::MSG_TRUNC) {
            // Nothing that makes sense is so long.
            true => &[][..],
            false => packet.iovs().next().unwrap_or_default(),
        };
        answer(bytes, from, replies.next());
        let source = packet.cmsgs().ok().and_then(|mut messages| messages.find_map(source));
        replies.keep(from, source);
    }
    Ok(count)
}

fn send<A: SockaddrLike + Copy>(
    fd: i32,
    headers: &mut MultiHeaders<A>,
    replies: &[Reply],
    address: impl Fn(SocketAddr) -> Option<A>,
    from: &[ControlMessage<'_>],
) -> usize {
    let mut sent = 0;
    let mut rest = replies;
    while !rest.is_empty() {
        let slices: Vec<_> = rest.iter().map(|reply| [IoSlice::new(&reply.bytes)]).collect();
        let addresses: Vec<_> = rest.iter().map(|reply| reply.to.and_then(&address)).collect();
        let result = sendmmsg(fd, headers, slices.iter(), &addresses, from, MsgFlags::MSG_DONTWAIT);
        match result.map(Iterator::count) {
            Ok(count @ 1..) => {
                sent += count;
                rest = &rest[count.min(rest.len())..];
            }
            Err(Errno::EINTR) => {}
            // The first can't be sent: to a network that is not there, say. The others may be.
            _ => rest = &rest[1..],
        }
    }
    sent
}

fn v4(addr: SocketAddr) -> Option<SockaddrIn> {
    match addr {
        SocketAddr::V4(addr) => Some(addr.into()),
        SocketAddr::V6(_) => None,
    }
}

fn v6(addr: SocketAddr) -> Option<SockaddrIn6> {
    match addr {
        SocketAddr::V6(addr) => Some(addr.into()),
        SocketAddr::V4(_) => None,
    }
}

/// Which of our addresses a packet was sent to.
fn source(message: ControlMessageOwned) -> Option<Source> {
    match message {
        // Of one sent to all, this is the address of the interface that it came in by.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr));
            Some(Source { ip: ip.into(), interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // An address of a link is one on that link only.
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(Source { ip: ip.into(), interface }).filter(|_| !ip.is_multicast())
        }
        _ => None,
    }
}

fn info_v4(source: Source) -> libc::in_pktinfo {
    let ip = match source.ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let addr = libc::in_addr { s_addr: ip.to_bits().to_be() };
    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: addr, ipi_addr: libc::in_addr { s_addr: 0 } }
}

fn info_v6(source: Source) -> libc::in6_pktinfo {
    let ip = match source.ip {
        IpAddr::V6(ip) => ip,
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    };
    libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
        ipi6_ifindex: source.interface as _,
    }
}
