//! The port that peers dial: opened by [`listen`], served by [`serve`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::handshake;
use super::session::Shared;

/// Where BitTorrent clients listen by custom (BEP 3), so where firewalls expect them.
const CUSTOMARY: std::ops::RangeInclusive<u16> = 6881..=6889;

/// How often another port is tried for IPv6's sake: the system picks one that is free for IPv4, not for both.
const ATTEMPTS: usize = 16;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Incoming connections without a handshake. Beyond it the oldest is dropped: one that dawdles makes room for one that may not.
const MAX_UNSHAKEN: usize = 256;

/// The wait after a failure to accept. Without one, running out of file descriptors would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Opens the port of CLI.md's `--port` on `bind`, or on all addresses, IPv4 and IPv6. Says which port it is.
///
/// # Errors
/// If a port that was asked for by number is taken, or none is free; with the address.
pub(super) fn listen(
    port: Option<u16>,
    bind: Option<IpAddr>,
) -> Result<(u16, Vec<TcpListener>), (SocketAddr, io::Error)> {
    match port {
        None => open_first(CUSTOMARY, bind),
        Some(0) => open_any(bind),
        Some(port) => open(port, bind),
    }
}

/// The first of these that is free, else any.
fn open_first(
    ports: impl IntoIterator<Item = u16>,
    bind: Option<IpAddr>,
) -> Result<(u16, Vec<TcpListener>), (SocketAddr, io::Error)> {
    ports.into_iter().find_map(|port| open(port, bind).ok()).map_or_else(|| open_any(bind), Ok)
}

fn open_any(bind: Option<IpAddr>) -> Result<(u16, Vec<TcpListener>), (SocketAddr, io::Error)> {
    let mut outcome = open(0, bind);
    for _ in 1..ATTEMPTS {
        match &outcome {
            Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse => outcome = open(0, bind),
            _ => break,
        }
    }
    outcome
}

fn open(port: u16, bind: Option<IpAddr>) -> Result<(u16, Vec<TcpListener>), (SocketAddr, io::Error)> {
    let at = |ip: IpAddr, port| {
        let addr = SocketAddr::new(ip, port);
        open_at(addr)
            .and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
            .map_err(|e| (addr, e))
    };
    if let Some(ip) = bind {
        let (port, listener) = at(ip, port)?;
        return Ok((port, vec![listener]));
    }
    match at(Ipv4Addr::UNSPECIFIED.into(), port) {
        Ok((port, v4)) => match at(Ipv6Addr::UNSPECIFIED.into(), port) {
            Ok((_, v6)) => Ok((port, vec![v4, v6])),
            Err((_, error)) if is_absent(&error) => Ok((port, vec![v4])),
            Err(failure) => Err(failure),
        },
        Err((_, error)) if is_absent(&error) => {
            let (port, v6) = at(Ipv6Addr::UNSPECIFIED.into(), port)?;
            Ok((port, vec![v6]))
        }
        Err(failure) => Err(failure),
    }
}

/// The machine does not speak this version of IP.
fn is_absent(error: &io::Error) -> bool {
    // `Unsupported` is EAFNOSUPPORT's kind on some systems, none on others.
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open_at(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // IPv4 has a socket of its own; one for both would show its peers as ::ffff:a.b.c.d.
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier run in TIME_WAIT don't keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Accepts for as long as it is polled; whoever shakes hands for a torrent of this session is handed to it.
pub(super) async fn serve(listeners: Vec<TcpListener>, shared: Arc<Shared>) {
    let mut shaking = Unshaken::default();
    loop {
        match accept(&listeners).await {
            Ok((stream, addr)) => shaking.add(welcome(stream, addr, Arc::clone(&shared))),
            // The peer's doing, gone with the peer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!("can't accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        for listener in listeners {
            if let Poll::Ready(outcome) = listener.poll_accept(context) {
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

async fn welcome(stream: TcpStream, addr: SocketAddr, shared: Arc<Shared>) {
    let known = |info_hash: &_| shared.hashes_of(info_hash);
    match handshake::accept(stream, addr, shared.peer_id, known).await {
        Ok((info_hash, shaken)) => shared.deliver(&info_hash, shaken),
        Err(error) => tracing::debug!(%addr, "no handshake: {error}"),
    }
}

/// Incoming connections that have not shaken hands, oldest first.
#[derive(Debug, Default)]
struct Unshaken {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Unshaken {
    fn add(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        if self.oldest_first.len() >= MAX_UNSHAKEN {
            self.oldest_first.retain(|task| !task.is_finished());
        }
        if self.oldest_first.len() >= MAX_UNSHAKEN
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        self.oldest_first.push_back(self.tasks.spawn(task));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn both_versions_of_ip_have_one_port() {
        let (port, listeners) = listen(Some(0), None).unwrap();
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap().port(), port);
        }
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_was_asked_for_and_is_taken_is_an_error() {
        let localhost = Some(Ipv4Addr::LOCALHOST.into());
        let (port, _taken) = listen(Some(0), localhost).unwrap();
        let (addr, error) = listen(Some(port), localhost).unwrap_err();
        assert_eq!((addr.port(), error.kind()), (port, io::ErrorKind::AddrInUse));
        let (other, _listeners) = listen(Some(0), localhost).unwrap();
        assert_ne!(other, port);
    }

    #[tokio::test]
    async fn the_first_port_that_is_free_is_taken_else_any() {
        let localhost = Some(Ipv4Addr::LOCALHOST.into());
        let (taken, _listeners) = listen(Some(0), localhost).unwrap();
        let (free, listeners) = listen(Some(0), localhost).unwrap();
        drop(listeners);
        let (port, _listeners) = open_first([taken, free], localhost).unwrap();
        assert_eq!(port, free);
        let (port, _listeners) = open_first([taken, free], localhost).unwrap();
        assert!(port != taken && port != free);
    }

    #[tokio::test]
    async fn of_too_many_that_dawdle_the_oldest_go() {
        let mut unshaken = Unshaken::default();
        let (gone, mut heard) = mpsc::unbounded_channel();
        struct Tell(usize, mpsc::UnboundedSender<usize>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.1.send(self.0);
            }
        }
        for number in 0..MAX_UNSHAKEN + 3 {
            let tell = Tell(number, gone.clone());
            unshaken.add(async move {
                let _tell = tell;
                std::future::pending::<()>().await;
            });
        }
        let mut first = [heard.recv().await, heard.recv().await, heard.recv().await];
        first.sort();
        assert_eq!(first, [Some(0), Some(1), Some(2)]);
        assert!(heard.try_recv().is_err());
    }
}
