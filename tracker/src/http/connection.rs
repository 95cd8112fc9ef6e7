//! Sockets: who may connect, for how long, and how much he may send.
//!
//! `axum::serve` has no deadline for the head of a request, so that a handful of slow senders could keep a tracker busy.
//! Here hyper is driven directly.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as channel};
use torrent_format::announce::canonical;
use torrent_format::announce::http::{RetryIn, encode_failure};

use super::lane::{self, Left};
use super::rewound::Rewound;
use super::watch::{self, Fate, Life, Watch};
use super::{BUSY_RETRY, Service, Site};
use crate::metrics::{Drop, ListenerMetrics};

/// Longest head of a request in bytes: a scrape of a hundred torrents just fits.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// Most headers of a request; clients send five to ten, proxies add some.
pub(super) const MAX_HEADERS: usize = 64;

/// How often it is looked whether the last connections have ended.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// Connections that wait in the kernel while we are busy.
const BACKLOG: i32 = 1024;

/// How long to wait after a failed accept: out of file descriptors, most likely, and trying on at once would help nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Both ends of a connection, in canonical form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoints {
    pub(crate) remote: SocketAddr,
    /// Our address that was connected to.
    pub(crate) local: SocketAddr,
}

/// Listens on this address. An IPv6 one takes IPv6 only, whatever the system's default is: `[::]` and `0.0.0.0` can stand
/// side by side, and no IPv4 peer comes in under an IPv6 name. `shared`: so that more sockets like this one may.
pub(crate) fn bind(addr: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A tracker that is started again need not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What accepts connections.
pub(crate) struct Listener {
    pub(crate) socket: StdListener,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) connections: Gauge,
    pub(crate) front: Front,
    pub(crate) stopped: channel::Receiver<bool>,
}

/// What the connections of a listener share.
pub(crate) struct Front {
    pub(crate) site: Arc<Site>,
    pub(crate) metrics: ListenerMetrics,
    /// Where it listens.
    pub(crate) local: SocketAddr,
    pub(super) watch: Watch,
}

impl Front {
    pub(crate) fn new(site: Arc<Site>, metrics: ListenerMetrics, local: SocketAddr) -> Self {
        Self { site, metrics, local, watch: Watch::default() }
    }
}

/// Serves what connects, until `stopped`; then closes the listener and sees the last connections to their end.
pub(crate) async fn accept(listener: Listener) {
    let Listener { socket, slots, connections, front, mut stopped } = listener;
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "can't listen"),
    };
    let front = Arc::new(front);
    let mut ticks = watch::ticks();
    {
        let mut stop = pin!(stopped.wait_for(|&stopped| stopped));
        loop {
            // New connections first: the others are looked at whenever there is none, and now and then all the same, since
            // tokio lets no task go on for ever.
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                _ = stop.as_mut() => break,
                _ = ticks.tick() => {
                    front.watch.look();
                    continue;
                }
            };
            match accepted {
                Ok((stream, remote)) => welcome(stream, remote, &front, &slots, &connections),
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    front.watch.close_all();
    while front.watch.count() > 0 {
        tokio::time::sleep(LAST_LOOK).await;
    }
}

/// Serves this connection in the background, or turns it away.
fn welcome(stream: TcpStream, remote: SocketAddr, front: &Arc<Front>, slots: &Arc<Semaphore>, count: &Gauge) {
    match slots.clone().try_acquire_owned() {
        Ok(slot) => {
            count.inc();
            let (listed, life) = front.watch.begin();
            let open = Open { count: count.clone(), front: front.clone(), listed, _slot: slot };
            let front = front.clone();
            tokio::spawn(async move {
                serve_connection(stream, remote, front, life).await;
                drop(open);
            });
        }
        Err(_) => {
            front.metrics.received.inc();
            front.metrics.dropped(Drop::Busy).inc();
            turn_away(&stream);
        }
    }
}

/// A connection that is open, however it ends.
struct Open {
    count: Gauge,
    front: Arc<Front>,
    listed: usize,
    _slot: OwnedSemaphorePermit,
}

impl std::ops::Drop for Open {
    fn drop(&mut self) {
        self.count.dec();
        self.front.watch.end(self.listed);
    }
}

async fn serve_connection(stream: TcpStream, remote: SocketAddr, front: Arc<Front>, life: Arc<Life>) {
    // Which of our addresses it is matters only to a seeder that is listed there.
    let local = match front.site.tracker.own_seeder {
        Some(_) => stream.local_addr().unwrap_or(front.local),
        None => front.local,
    };
    // An answer is one small write; there is nothing to gather it with.
    let _ = stream.set_nodelay(true);
    let endpoints = Endpoints { remote: canonical(remote), local: canonical(local) };
    let service = Service { front: front.clone(), endpoints, life: life.clone() };
    let read = match lane::serve(&stream, &service).await {
        Left::Ended => return,
        Left::Unusual(read) => read,
    };
    // Rarely, and not in the memory of each connection.
    Box::pin(serve_unusual(Rewound::new(read, stream), front, life, service)).await;
}

/// Serves whatever comes with hyper.
async fn serve_unusual(stream: Rewound, front: Arc<Front>, life: Arc<Life>, service: Service) {
    let remote = service.endpoints.remote.ip();
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        // Some clients close their half as soon as they have asked.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut is_told = false;
    let served = poll_fn(|cx| {
        match front.watch.fate(&life, cx) {
            Fate::Overdue => return Poll::Ready(None),
            Fate::Closing if !is_told => {
                is_told = true;
                connection.as_mut().graceful_shutdown();
            }
            Fate::Closing | Fate::Lives => {}
        }
        connection.as_mut().poll(cx).map(Some)
    });
    if let Some(result) = served.await {
        if result.as_ref().is_err_and(hyper::Error::is_parse) {
            front.metrics.dropped(Drop::Malformed).inc();
        }
        log_end(remote, result);
    }
}

fn log_end(remote: IpAddr, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%remote, %error, "connection ended");
    }
}

/// Says that there is no room, in words that a client understands, without waiting for its question: one that is turned away
/// costs no memory.
fn turn_away(stream: &TcpStream) {
    let body = encode_failure("the tracker is busy", Some(RetryIn::After(BUSY_RETRY)));
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    // The kernel's buffer is empty: it takes all of it, or the other side is gone.
    let _ = stream.try_write(&answer);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;
    use torrent_format::announce::http::{ReplyError, RetryIn, decode_reply};

    use super::*;

    #[test]
    fn trap_30_who_is_turned_away_is_told_when_to_come_back() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let socket = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
            let listener = TcpListener::from_std(socket).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            turn_away(&stream);
            drop(stream);

            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let retry_in = Some(RetryIn::After(Duration::from_secs(300)));
            let reason = "the tracker is busy".to_owned();
            assert_eq!(decode_reply(body.as_bytes()), Err(ReplyError::Failure { reason, retry_in }));
        });
    }
}
