//! Many packets in one system call: [`BatchSocket`].
//!
//! A tracker's packets are small and its answers take less time than the two system calls around them, so a batch is read by one
//! and answered by another. A socket that is bound to every address of the machine also learns which of them a packet was sent
//! to, and answers from there: with several addresses the system would choose one, and a client that asked another would not
//! take the answer.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux::Family;
#[cfg(not(target_os = "linux"))]
mod portable;

/// Most packets that are read at once.
pub(super) const BATCH: usize = 64;

/// Longest packet that is read: a scrape of 74 torrents and an announce with a long path fit well. What is longer is dropped.
const MAX_PACKET: usize = 2048;

/// Packets that wait in the kernel: some 100 ms at full load. The system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 8 << 20;

/// Answers that wait in the kernel.
const SEND_BUFFER: usize = 4 << 20;

/// How often a worker without packets looks whether it should end.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Answers to one batch.
#[derive(Default)]
pub(crate) struct Replies {
    /// The first `count` are in use; the buffers are kept.
    replies: Vec<Reply>,
    count: usize,
}

#[derive(Default)]
struct Reply {
    bytes: Vec<u8>,
    to: Option<SocketAddr>,
    /// Which of our addresses it is sent from; [`None`]: the socket has but one.
    from: Option<Source>,
}

/// One of our addresses; of IPv6, with the interface, without which one of a link says little.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Source {
    ip: std::net::IpAddr,
    interface: u32,
}

impl Replies {
    /// The buffer of the next answer, empty. It is in use only once it is [kept](Self::keep).
    fn next(&mut self) -> &mut Vec<u8> {
        if self.count == self.replies.len() {
            self.replies.push(Reply::default());
        }
        let bytes = &mut self.replies[self.count].bytes;
        bytes.clear();
        bytes
    }

    /// Keeps the answer in the next buffer, if there is one.
    fn keep(&mut self, to: SocketAddr, from: Option<Source>) {
        let reply = &mut self.replies[self.count];
        if !reply.bytes.is_empty() {
            (reply.to, reply.from) = (Some(to), from);
            self.count += 1;
        }
    }
}

/// A UDP socket that listens.
pub(crate) struct Bound {
    socket: UdpSocket,
    local: SocketAddr,
}

/// A UDP socket that reads and writes many packets at once; stays in the thread that it is made in.
pub(crate) struct BatchSocket {
    bound: Bound,
    #[cfg(target_os = "linux")]
    family: Family,
}

impl Bound {
    /// Listens on this address; an IPv6 one takes IPv6 only. `shared`: so that more sockets like this one may.
    pub(crate) fn listen(addr: SocketAddr, shared: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if shared {
            socket.set_reuse_port(true)?;
        }
        // As much as the system grants.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        socket.set_read_timeout(Some(LOOK_UP))?;
        #[cfg(target_os = "linux")]
        if addr.ip().is_unspecified() {
            linux::ask_for_destination(&socket, addr)?;
        }
        socket.bind(&addr.into())?;
        let socket: UdpSocket = socket.into();
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl BatchSocket {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            family: Family::new(bound.local),
            bound,
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.bound.local
    }
}
