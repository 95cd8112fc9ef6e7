//! The port that peers dial, TCP and UDP: opened by [`listen`]; TCP is served by [`serve`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};

use super::handshake;
use super::net::Outside;
use super::session::Shared;
use super::stream::Stream;
use super::utp::Utp;
use crate::wire::mse::Proof;

/// Where BitTorrent clients listen by custom (BEP 3), so where firewalls expect them.
const CUSTOMARY: std::ops::RangeInclusive<u16> = 6881..=6889;

/// What trackers are told where nobody can dial us. They take 0 for a mistake.
const NOBODYS: u16 = 1;

/// How often another port is tried for IPv6's sake: the system picks one that is free for IPv4, not for both.
const ATTEMPTS: usize = 16;

/// Incoming connections without a handshake. Beyond it the oldest is dropped: one that dawdles makes room for one that may not.
const MAX_UNSHAKEN: usize = 256;

/// The wait after a failure to accept. Without one, running out of file descriptors would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// One port, open; a socket a version of IP.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) port: u16,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) udp: Vec<UdpSocket>,
}

/// Opens the port of CLI.md's `--port` on the address of `--bind`, or on all, IPv4 and IPv6. With a proxy there is nothing to open.
///
/// # Errors
/// If a port that was asked for by number is taken, or none is free; with the address.
pub(super) fn listen(port: Option<u16>, outside: &Outside) -> Result<Listening, (SocketAddr, io::Error)> {
    if outside.via().proxy.is_some() {
        return Ok(Listening { port: NOBODYS, tcp: vec![], udp: vec![] });
    }
    match port {
        None => open_first(CUSTOMARY, outside),
        Some(0) => open_any(outside),
        Some(port) => open(port, outside),
    }
}

/// The first of these that is free, else any.
fn open_first(
    ports: impl IntoIterator<Item = u16>,
    outside: &Outside,
) -> Result<Listening, (SocketAddr, io::Error)> {
    ports.into_iter().find_map(|port| open(port, outside).ok()).map_or_else(|| open_any(outside), Ok)
}

fn open_any(outside: &Outside) -> Result<Listening, (SocketAddr, io::Error)> {
    let mut outcome = open(0, outside);
    for _ in 1..ATTEMPTS {
        match &outcome {
            Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse => outcome = open(0, outside),
            _ => break,
        }
    }
    outcome
}

fn open(port: u16, outside: &Outside) -> Result<Listening, (SocketAddr, io::Error)> {
    let at = |ip: IpAddr, port| {
        let addr = SocketAddr::new(ip, port);
        open_both(addr, outside).map_err(|e| (addr, e))
    };
    if let Some(ip) = outside.via().bind {
        return at(ip, port);
    }
    match at(Ipv4Addr::UNSPECIFIED.into(), port) {
        Ok(mut v4) => match at(Ipv6Addr::UNSPECIFIED.into(), v4.port) {
            Ok(v6) => {
                v4.tcp.extend(v6.tcp);
                v4.udp.extend(v6.udp);
                Ok(v4)
            }
            Err((_, error)) if is_absent(&error) => Ok(v4),
            Err(failure) => Err(failure),
        },
        Err((_, error)) if is_absent(&error) => at(Ipv6Addr::UNSPECIFIED.into(), port),
        Err(failure) => Err(failure),
    }
}

fn open_both(addr: SocketAddr, outside: &Outside) -> io::Result<Listening> {
    let tcp = outside.tcp_listener(addr)?;
    let port = tcp.local_addr()?.port();
    let udp = outside.udp_socket(SocketAddr::new(addr.ip(), port))?;
    Ok(Listening { port, tcp: vec![tcp], udp: vec![udp] })
}

/// The machine does not speak this version of IP.
fn is_absent(error: &io::Error) -> bool {
    // `Unsupported` is EAFNOSUPPORT's kind on some systems, none on others.
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Accepts for as long as it is polled; whoever shakes hands for a torrent of this session is handed to it.
pub(super) async fn serve(listeners: Vec<TcpListener>, shared: Arc<Shared>) {
    let mut shaking = Unshaken::default();
    loop {
        match accept(&listeners, shared.manner.utp.as_ref()).await {
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

async fn accept(listeners: &[TcpListener], utp: Option<&Utp>) -> io::Result<(Stream, SocketAddr)> {
    let over_tcp = poll_fn(|context| {
        for listener in listeners {
            if let Poll::Ready(outcome) = listener.poll_accept(context) {
                return Poll::Ready(outcome.map(|(tcp, addr)| (Stream::from(tcp), addr)));
            }
        }
        Poll::Pending
    });
    let over_utp = async {
        match utp {
            Some(utp) => {
                let (utp, addr) = utp.accept().await;
                (Stream::from(utp), addr)
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = over_tcp => outcome,
        accepted = over_utp => Ok(accepted),
    }
}

async fn welcome(stream: Stream, addr: SocketAddr, shared: Arc<Shared>) {
    let known = |info_hash: &_| shared.hashes_of(info_hash);
    let proven = |proof: &Proof| shared.name_of(proof);
    match handshake::accept(stream, addr, &shared.manner, known, proven).await {
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
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    use super::*;

    fn localhost() -> Outside {
        Outside::new(IpAddr::from(Ipv4Addr::LOCALHOST).into()).unwrap()
    }

    #[tokio::test]
    async fn both_protocols_and_both_versions_of_ip_have_one_port() {
        let Listening { port, tcp, udp } = listen(Some(0), &Outside::default()).unwrap();
        let ports = tcp.iter().map(TcpListener::local_addr).chain(udp.iter().map(UdpSocket::local_addr));
        assert!(ports.into_iter().all(|addr| addr.unwrap().port() == port));
        assert_eq!(tcp.len(), udp.len());
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_was_asked_for_and_is_taken_is_an_error() {
        let localhost = localhost();
        let taken = listen(Some(0), &localhost).unwrap();
        let (addr, error) = listen(Some(taken.port), &localhost).unwrap_err();
        assert_eq!((addr.port(), error.kind()), (taken.port, io::ErrorKind::AddrInUse));
        assert_ne!(listen(Some(0), &localhost).unwrap().port, taken.port);
        // Either half of it.
        let Listening { port, tcp, udp: _udp } = taken;
        drop(tcp);
        let (_, error) = listen(Some(port), &localhost).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn the_first_port_that_is_free_is_taken_else_any() {
        let localhost = localhost();
        let taken = listen(Some(0), &localhost).unwrap();
        let free = listen(Some(0), &localhost).unwrap().port;
        let first = open_first([taken.port, free], &localhost).unwrap();
        assert_eq!(first.port, free);
        let any = open_first([taken.port, free], &localhost).unwrap();
        assert!(any.port != taken.port && any.port != free);
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
