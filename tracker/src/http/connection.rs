//! Sockets: who may connect, for how long, and how much he may send.
//!
//! `axum::serve` has no deadline for the head of a request, so that a handful of slow senders could keep a tracker busy.
//! Here hyper is driven directly.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as channel};
use tokio::task::JoinSet;
use torrent_format::announce::canonical;
use torrent_format::announce::http::{RetryIn, encode_failure};

use super::watch::{self, Life, Lives, Watch};
use super::{BUSY_RETRY, Service, Site};
use crate::metrics::{Drop, ListenerMetrics, Metrics};

/// Longest head of a request in bytes: a scrape of a hundred torrents just fits.
const MAX_HEAD: usize = 8 * 1024;

/// Most headers of a request; clients send five to ten, proxies add some.
const MAX_HEADERS: usize = 64;

/// How long a connection may take to end once it is told to.
const LAST_WORDS: Duration = Duration::from_secs(5);

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

/// What accepts connections, and what they are counted and limited by.
pub(crate) struct Listener {
    pub(crate) socket: StdListener,
    pub(crate) site: Arc<Site>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) counters: ListenerMetrics,
    pub(crate) stopped: channel::Receiver<bool>,
}

/// Serves what connects, until `stopped`; then closes the listener and sees the last connections to their end.
pub(crate) async fn accept(listener: Listener) {
    let Listener { socket, site, slots, metrics, counters, mut stopped } = listener;
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "can't listen"),
    };
    let mut connections = JoinSet::new();
    let (watch, mut lives, mut ticks) = (Arc::new(Watch::default()), Lives::default(), watch::ticks());
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => break,
            Some(_) = connections.join_next() => continue,
            _ = ticks.tick() => {
                lives.look(&watch);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let (site, counters) = (site.clone(), counters.clone());
                let (watch, life) = (watch.clone(), watch.life());
                let open = Open::new(metrics.connections.clone(), slot);
                let served = life.clone();
                let task = connections.spawn(async move {
                    serve_connection(stream, remote, site, counters, &watch, served).await;
                    drop(open);
                });
                lives.add(life, task);
            }
            Err(_) => {
                counters.received.inc();
                counters.dropped(Drop::Busy).inc();
                turn_away(&stream);
            }
        }
    }
    drop(listener);
    watch.close_all();
    while connections.join_next().await.is_some() {}
}

/// A connection that is open, however it ends.
struct Open {
    count: Gauge,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(count: Gauge, slot: OwnedSemaphorePermit) -> Self {
        count.inc();
        Self { count, _slot: slot }
    }
}

impl std::ops::Drop for Open {
    fn drop(&mut self) {
        self.count.dec();
    }
}

async fn serve_connection(
    stream: TcpStream,
    remote: SocketAddr,
    site: Arc<Site>,
    metrics: ListenerMetrics,
    watch: &Watch,
    life: Arc<Life>,
) {
    let Ok(local) = stream.local_addr() else {
        return; // Gone already.
    };
    // An answer is one small write; there is nothing to gather it with.
    let _ = stream.set_nodelay(true);
    let endpoints = Endpoints { remote: canonical(remote), local: canonical(local) };
    let malformed = metrics.dropped(Drop::Malformed).clone();
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        // Some clients close their half as soon as they have asked.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), Service { site, metrics, endpoints, life });
    let mut connection = pin!(connection);
    let end = |result: hyper::Result<()>| {
        if result.as_ref().is_err_and(hyper::Error::is_parse) {
            malformed.inc();
        }
        log_end(endpoints.remote.ip(), result);
    };

    let mut close = pin!(watch.close.notified());
    close.as_mut().enable();
    if !watch.is_closing() {
        tokio::select! {
            biased;
            result = connection.as_mut() => return end(result),
            () = close => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(result) = tokio::time::timeout(LAST_WORDS, connection).await {
        end(result);
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
