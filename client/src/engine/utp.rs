//! uTP (BEP 29): streams over the UDP port of the session, by librqbit-utp: [`Utp`].
//!
//! The library brings windows, retransmission and selective acknowledgements; its congestion control is CUBIC, so that it shares a line
//! with TCP as TCP does, where BEP 29's LEDBAT would give way. That is one more reason to dial TCP first.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use librqbit_dualstack_sockets::PollSendToVectored;
use librqbit_utp::{SocketOpts, Transport, UtpSocket, UtpSocketUdp, UtpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::datagrams::{Datagram, Datagrams};

/// uTP connections at once. Each may hold [`WINDOW`] in either direction.
const MAX_STREAMS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Bytes that a connection may hold in either direction: 2.5 MB/s at 100 ms.
const WINDOW: NonZeroUsize = NonZeroUsize::new(256 * 1024).unwrap();

/// How long the other end may acknowledge nothing of what was sent to it.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the answer to a SYN is waited for before another is sent: the library sends each once.
const SYN_TIMEOUT: Duration = Duration::from_secs(2);

/// The library's own clock and randomness, which it does not export by name.
type Environment = <UtpSocketUdp as Of>::Environment;

trait Of {
    type Environment;
}

impl<T, E> Of for UtpSocket<T, E> {
    type Environment = E;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Utp {
    socket: Arc<UtpSocket<Port, Environment>>,
    datagrams: Datagrams,
    /// Ends the library's tasks.
    cancel: CancellationToken,
}

impl Utp {
    /// Over these datagrams, if nobody else has those of uTP.
    pub(super) fn start(datagrams: &Datagrams) -> Option<Self> {
        let local = datagrams.local_addrs().next()?;
        let incoming = Mutex::new(datagrams.take_utp()?);
        let port = Port { datagrams: datagrams.clone(), incoming, local };
        let cancel = CancellationToken::new();
        let options = SocketOpts {
            cancellation_token: cancel.clone(),
            vsock_rx_bufsize_bytes: Some(WINDOW),
            vsock_tx_bufsize_bytes_max: Some(WINDOW),
            disable_nagle: true,
            remote_inactivity_timeout: Some(SILENCE),
            max_live_vsocks: Some(MAX_STREAMS),
            ..SocketOpts::default()
        };
        let socket = UtpSocket::new_with_opts(port, Environment::default(), options);
        let socket = socket.inspect_err(|error| tracing::warn!("no uTP: {error}")).ok()?;
        Some(Self { socket, datagrams: datagrams.clone(), cancel })
    }

    /// Connects, for as long as it is polled.
    ///
    /// # Errors
    /// If there is no way to such an address.
    pub(super) async fn connect(&self, to: SocketAddr) -> io::Result<UtpStream> {
        if !self.datagrams.reaches(to) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        loop {
            if let Ok(outcome) = timeout(SYN_TIMEOUT, self.socket.connect(to)).await {
                return outcome.map_err(io::Error::other);
            }
        }
    }

    /// The next connection that comes in.
    ///
    /// # Errors
    /// If there will be none.
    pub(super) async fn accept(&self) -> io::Result<(UtpStream, SocketAddr)> {
        let stream = self.socket.accept().await.map_err(io::Error::other)?;
        let addr = stream.remote_addr();
        Ok((stream, addr))
    }
}

impl Drop for Utp {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The datagrams of the session, as the library wants them.
struct Port {
    datagrams: Datagrams,
    incoming: Mutex<mpsc::Receiver<Datagram>>,
    local: SocketAddr,
}

impl Transport for Port {
    fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send + Sync + 'a {
        std::future::poll_fn(move |context| {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((packet, from)) = ready!(incoming.poll_recv(context)) else {
                // The session is over, and the library will be told; an error here would be one more warning.
                return Poll::Pending;
            };
            let length = packet.len().min(buffer.len());
            buffer[..length].copy_from_slice(&packet[..length]);
            Poll::Ready(Ok((length, from)))
        })
    }

    fn send_to<'a>(
        &'a self,
        packet: &'a [u8],
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send + Sync + 'a {
        std::future::poll_fn(move |context| self.datagrams.poll_send_to(context, packet, to))
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        packet: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.datagrams.poll_send_to(context, packet, to)
    }

    fn bind_addr(&self) -> SocketAddr {
        self.local
    }
}

impl PollSendToVectored for Port {
    fn poll_send_to_vectored(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let mut packet = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| packet.extend_from_slice(part));
        self.datagrams.poll_send_to(context, &packet, to)
    }
}
