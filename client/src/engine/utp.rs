#![expect(clippy::disallowed_methods, reason = "the endpoint's time is this room's clock")]
//! uTP (BEP 29) over the UDP port of the session: [`Utp`] dials and accepts, [`UtpStream`] reads and writes. No rule is here.
//!
//! One [`Endpoint`] has all connections. A task of its own hands it the packets that come, wakes it, and sends what it says. Those who read
//! and write do so from their own tasks, under the endpoint's lock: it is held for one read, one write or some packets, never while anybody waits.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::datagrams::{Datagram, Datagrams};
use crate::torrent::Time;
use crate::utp::{ConnectionKey, Endpoint, Event, Failure};

/// Packets that are taken in, or made to be sent, at a time: so long may others wait for the lock.
const BATCH: usize = 32;

/// When nothing is to be waited for but packets.
const LONG: Duration = Duration::from_secs(60 * 60);

/// See the module.
#[derive(Debug)]
pub(super) struct Utp {
    port: Arc<Port>,
    task: AbortHandle,
}

/// A connection. Dropped, it is closed, after what was written has gone out.
#[derive(Debug)]
pub(super) struct UtpStream {
    port: Arc<Port>,
    key: ConnectionKey,
}

#[derive(Debug)]
struct Port {
    datagrams: Datagrams,
    epoch: Instant,
    state: Mutex<State>,
    /// Something is to be sent.
    work: Notify,
}

#[derive(Debug)]
struct State {
    endpoint: Endpoint,
    acceptor: Option<Waker>,
    /// By [`ConnectionKey::index`].
    waiting: Vec<Waiting>,
}

/// Who waits at a connection.
#[derive(Debug, Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Utp {
    /// Over these datagrams, if nobody else has those of uTP.
    pub(super) fn start(datagrams: &Datagrams) -> Option<Self> {
        datagrams.local_addrs().next()?;
        let packets = datagrams.take_utp()?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system has random bytes");
        let state = State { endpoint: Endpoint::new(secret), acceptor: None, waiting: vec![] };
        let port = Arc::new(Port {
            datagrams: datagrams.clone(),
            epoch: Instant::now(),
            state: Mutex::new(state),
            work: Notify::new(),
        });
        let task = tokio::spawn(run(Arc::clone(&port), packets)).abort_handle();
        Some(Self { port, task })
    }

    /// Connects, for as long as it is polled.
    ///
    /// # Errors
    /// If there is no way to such an address, nobody answers, or there are too many connections.
    pub(super) async fn connect(&self, to: SocketAddr) -> io::Result<UtpStream> {
        if !self.port.datagrams.reaches(to) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let now = self.port.now();
        let dialled = self.port.with(|state| state.endpoint.connect(now, to));
        let key = dialled.map_err(io::Error::other)?;
        let stream = UtpStream { port: Arc::clone(&self.port), key };
        stream.writable().await;
        let connected = stream.port.state().endpoint.connected(key);
        connected?;
        Ok(stream)
    }

    /// The next connection that comes in.
    pub(super) async fn accept(&self) -> (UtpStream, SocketAddr) {
        let (key, from) = std::future::poll_fn(|context| {
            let mut state = self.port.state();
            match state.endpoint.accept() {
                Some(accepted) => Poll::Ready(accepted),
                None => {
                    state.acceptor = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        (UtpStream { port: Arc::clone(&self.port), key }, from)
    }
}

impl Drop for Utp {
    fn drop(&mut self) {
        self.task.abort();
        let (now, mut packet) = (self.port.now(), vec![]);
        let mut state = self.port.state();
        // What there is no room for is not sent: others find out by themselves.
        let mut send_all = |endpoint: &mut Endpoint| {
            while let Some(to) = endpoint.poll_transmit(now, &mut packet) {
                let _ = self.port.datagrams.try_send_to(&packet, to);
            }
        };
        send_all(&mut state.endpoint);
        state.endpoint.farewell_all(now);
        send_all(&mut state.endpoint);
    }
}

impl UtpStream {
    /// Reads what is there into these parts, one after the other; 0 bytes if the peer has closed.
    ///
    /// # Errors
    /// That of the connection; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub(super) fn try_read_vectored(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.port.with(|state| state.endpoint.read(self.key, parts))?;
        read.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Writes what there is room for, and says how much that is.
    ///
    /// # Errors
    /// That of the connection; [`io::ErrorKind::WouldBlock`] if there is no room.
    pub(super) fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.port.with(|state| state.endpoint.write(self.key, parts))?;
        written.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Waits for something to read, the end, or a failure. One task may wait at a time.
    pub(super) async fn readable(&self) {
        std::future::poll_fn(|context| self.poll(context, Endpoint::wait_readable, |it| &mut it.reader))
            .await;
    }

    /// Waits for room, or a failure. One task may wait at a time.
    pub(super) async fn writable(&self) {
        std::future::poll_fn(|context| self.poll(context, Endpoint::wait_writable, |it| &mut it.writer))
            .await;
    }

    fn poll(
        &self,
        context: &Context<'_>,
        ready: impl Fn(&mut Endpoint, ConnectionKey) -> bool,
        waker: impl Fn(&mut Waiting) -> &mut Option<Waker>,
    ) -> Poll<()> {
        let mut state = self.port.state();
        if ready(&mut state.endpoint, self.key) {
            return Poll::Ready(());
        }
        let index = self.key.index();
        if state.waiting.len() <= index {
            state.waiting.resize_with(index + 1, Waiting::default);
        }
        *waker(&mut state.waiting[index]) = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for UtpStream {
    fn drop(&mut self) {
        let now = self.port.now();
        self.port.with(|state| {
            if let Some(waiting) = state.waiting.get_mut(self.key.index()) {
                *waiting = Waiting::default();
            }
            state.endpoint.release(now, self.key);
        });
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::TimedOut => io::ErrorKind::TimedOut,
            Failure::Reset => io::ErrorKind::ConnectionReset,
            Failure::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, failure)
    }
}

impl Port {
    fn now(&self) -> Time {
        Time(self.epoch.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wish of somebody's; what comes of it is told and sent.
    fn with<T>(&self, wish: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let outcome = wish(&mut state);
        state.wake();
        if state.endpoint.is_busy() {
            drop(state);
            self.work.notify_one();
        }
        outcome
    }
}

impl State {
    fn wake(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            let waker = match event {
                Event::Incoming => self.acceptor.take(),
                Event::Readable(key) => self.waiting.get_mut(key.index()).and_then(|it| it.reader.take()),
                Event::Writable(key) => self.waiting.get_mut(key.index()).and_then(|it| it.writer.take()),
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

async fn run(port: Arc<Port>, mut packets: mpsc::Receiver<Datagram>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut outgoing = Outgoing::default();
    let timeout = sleep_until(Instant::now());
    tokio::pin!(timeout);
    loop {
        let wake = outgoing.send_all(&port).await;
        let wake = wake.map_or_else(|| Instant::now() + LONG, |at| port.epoch + at.0);
        if timeout.deadline() != wake {
            timeout.as_mut().reset(wake);
        }
        tokio::select! {
            count = packets.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                let mut state = port.state();
                let now = port.now();
                for (packet, from) in batch.drain(..) {
                    state.endpoint.handle_packet(now, from, &packet);
                }
                state.wake();
            }
            () = port.work.notified() => {}
            () = &mut timeout => {
                let mut state = port.state();
                state.endpoint.handle_timeout(port.now());
                state.wake();
            }
        }
    }
}

/// Packets on their way to the socket. Kept, so that their memory is used again.
#[derive(Default)]
struct Outgoing {
    packets: Vec<(SocketAddr, Vec<u8>)>,
}

impl Outgoing {
    /// Sends all that is to be sent; says when the endpoint wants to be woken.
    async fn send_all(&mut self, port: &Port) -> Option<Time> {
        loop {
            let (count, wake) = self.collect(port);
            for (to, packet) in &self.packets[..count] {
                // Lost, as it may be anywhere.
                if let Err(error) = port.datagrams.send_to(packet, *to).await {
                    tracing::trace!(%to, "can't send: {error}");
                }
            }
            if count < BATCH {
                return wake;
            }
        }
    }

    /// Has the next packets made: how many there are.
    fn collect(&mut self, port: &Port) -> (usize, Option<Time>) {
        let mut state = port.state();
        let now = port.now();
        let mut count = 0;
        while count < BATCH {
            if self.packets.len() == count {
                self.packets.push((([0; 4], 0).into(), vec![]));
            }
            let (to, packet) = &mut self.packets[count];
            let Some(addr) = state.endpoint.poll_transmit(now, packet) else { break };
            *to = addr;
            count += 1;
        }
        state.wake();
        (count, state.endpoint.poll_timeout())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::engine::datagrams::Receiving;

    async fn start() -> (Utp, SocketAddr, Receiving) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let (datagrams, receiving) = Datagrams::start(vec![socket]);
        (Utp::start(&datagrams).unwrap(), addr, receiving)
    }

    async fn write(stream: &UtpStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match stream.try_write_vectored(&[IoSlice::new(bytes)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// All until the end.
    async fn read(stream: &UtpStream) -> io::Result<Vec<u8>> {
        let (mut all, mut buffer) = (vec![], vec![0; 10_000]);
        loop {
            match stream.try_read_vectored(&mut [IoSliceMut::new(&mut buffer)]) {
                Ok(0) => return Ok(all),
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await,
                Err(error) => return Err(error),
            }
        }
    }

    #[tokio::test]
    async fn what_is_written_before_a_stream_is_dropped_comes_whole_at_both_ends() {
        let (one, _, _one) = start().await;
        let (other, addr, _other) = start().await;
        let mut rng = fastrand::Rng::with_seed(1);
        let sent: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(3_000_000).collect();
        let dialling = async {
            let stream = one.connect(addr).await.unwrap();
            write(&stream, b"hello").await;
            let received = read(&stream).await.unwrap();
            assert!(received == sent);
        };
        let accepting = async {
            let (stream, _) = other.accept().await;
            write(&stream, &sent).await;
            drop(stream);
        };
        tokio::join!(dialling, accepting);
    }

    #[tokio::test]
    async fn two_that_dial_each_other_at_once_both_get_through() {
        let (one, at_one, _one) = start().await;
        let (other, at_other, _other) = start().await;
        let dial = async |from: &Utp, to| {
            let stream = from.connect(to).await.unwrap();
            write(&stream, b"dialled").await;
            stream
        };
        let take = async |at: &Utp| {
            let stream = at.accept().await.0;
            let mut buffer = [0; 100];
            loop {
                match stream.try_read_vectored(&mut [IoSliceMut::new(&mut buffer)]) {
                    Ok(read) => return buffer[..read].to_vec(),
                    Err(_) => stream.readable().await,
                }
            }
        };
        let (_first, _second, first, second) =
            tokio::join!(dial(&one, at_other), dial(&other, at_one), take(&one), take(&other));
        assert_eq!((&first[..], &second[..]), (&b"dialled"[..], &b"dialled"[..]));
    }

    #[tokio::test]
    async fn a_session_that_ends_says_so_and_a_dial_that_is_given_up_leaves_nothing() {
        let (one, _, _one) = start().await;
        let (other, addr, _other) = start().await;
        let (stream, _accepted) = tokio::join!(
            async {
                let stream = one.connect(addr).await.unwrap();
                write(&stream, b"hello").await;
                stream
            },
            other.accept()
        );
        drop(other);
        assert_eq!(read(&stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dial = one.connect(nobody.local_addr().unwrap());
        assert!(tokio::time::timeout(Duration::from_millis(50), dial).await.is_err());
        assert!(matches!(one.connect("[::1]:1".parse().unwrap()).await, Err(error) if
            error.kind() == io::ErrorKind::AddrNotAvailable));
    }
}
