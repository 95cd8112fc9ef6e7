//! One packet a call, where there is nothing better.

use std::io;
use std::net::SocketAddr;

use super::{BatchSocket, MAX_PACKET, Replies};

impl BatchSocket {
    /// Waits for a packet and has it answered: see the other one.
    pub(crate) fn receive(
        &mut self,
        replies: &mut Replies,
        mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>),
    ) -> io::Result<usize> {
        replies.count = 0;
        let mut buffer = [0; MAX_PACKET];
        match self.bound.socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                answer(&buffer[..length], from, replies.next());
                replies.keep(from, None);
                Ok(1)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the answers; says how many the system took.
    pub(crate) fn send(&mut self, replies: &mut Replies) -> usize {
        let replies = &replies.replies[..replies.count];
        let sent = |reply: &&super::Reply| {
            reply.to.is_some_and(|to| self.bound.socket.send_to(&reply.bytes, to).is_ok())
        };
        replies.iter().filter(sent).count()
    }
}
