//! One peer: a task that reads frames from the socket and writes what its [`Outbox`] holds. Payload passes through here and nowhere else:
//! read straight into a [`Buffer`], written straight from the file, by the kernel, or from what the disk gave.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use self::reader::Reader;
use self::writer::{MIN_RATE, Writer};
use super::buffer::{Buffer, BufferPool};
use super::handshake::Shaken;
use super::limit::Limiter;
use super::outbox::{Outbox, Overflow};
use super::storage::{Storage, StorageError};
use crate::torrent::PeerKey;
use crate::wire::{BlockRequest, FrameError, Message};

/// How long a peer may take nothing of what is being sent to it, and how long a block that it has begun may be on its way: the buffer that
/// it goes into is missing elsewhere meanwhile.
const STALLED: Duration = Duration::from_secs(60);

/// News of a connection, in order.
#[derive(Debug)]
pub(super) enum PeerEvent {
    Message(Message),
    Block(BlockRequest, Buffer),
    BlockSent(BlockRequest),
    ReadFailed(BlockRequest, StorageError),
    /// The last one.
    Closed,
}

/// What a connection needs from its torrent and its session.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// To the driver. Bounded: a driver that is behind stops the reading.
    pub(super) events: mpsc::Sender<(PeerKey, PeerEvent)>,
    /// Set once the info is known and the data is open.
    pub(super) storage: Arc<OnceLock<Storage>>,
    /// For blocks that come.
    pub(super) pool: BufferPool,
    /// Bytes that may be held for blocks that go, for all peers together. Apart from `pool`: peers that don't read must not stop us
    /// from downloading.
    pub(super) upload_memory: Arc<Semaphore>,
    pub(super) upload: Limiter,
    pub(super) download: Limiter,
}

/// The driver's end of a connection. Dropped, the connection is closed, without any further news.
#[derive(Debug)]
pub(super) struct Connection {
    outbox: Arc<Outbox>,
    task: AbortHandle,
}

impl Connection {
    /// Starts the task of a connection whose handshakes are done.
    pub(super) fn start(key: PeerKey, shaken: Shaken, link: Link) -> Self {
        let outbox = Arc::new(Outbox::default());
        let task = tokio::spawn(run(key, shaken, link, Arc::clone(&outbox))).abort_handle();
        Self { outbox, task }
    }

    /// It leaves with the next [`Self::flush`].
    pub(super) fn send(&self, message: &Message) -> Result<(), Overflow> {
        self.outbox.push(message)
    }

    /// The same.
    pub(super) fn send_block(&self, block: BlockRequest) -> Result<(), Overflow> {
        self.outbox.push_block(block)
    }

    /// What was to be sent may leave.
    pub(super) fn flush(&self) {
        self.outbox.flush();
    }

    /// Whether the block had not left yet; it will not now.
    pub(super) fn drop_block(&self, block: BlockRequest) -> bool {
        self.outbox.drop_block(block)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a connection ended by itself.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the peer")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer took nothing for {} s", STALLED.as_secs())]
    Stalled,
    #[error("the peer takes less than {MIN_RATE} bytes a second")]
    TooSlow,
    #[error("a block has not come within {} s", STALLED.as_secs())]
    Unfinished,
    #[error("a block that it was promised can't be read")]
    Unreadable,
    #[error("the torrent has ended")]
    Ended,
}

async fn run(key: PeerKey, shaken: Shaken, link: Link, outbox: Arc<Outbox>) {
    let Shaken { mut stream, peer, received, .. } = shaken;
    tracing::debug!(addr = %peer.addr, id = %peer.peer_id, direction = ?peer.direction, "connected");
    if let Some(tcp) = stream.tcp() {
        tune(tcp);
    }
    let (inlet, outlet) = stream.split();
    let reader = Reader::new(inlet, received, key, &link);
    let writer = Writer::new(outlet, &outbox, key, &link);
    let end = tokio::select! {
        Err(end) = reader.run() => end,
        Err(end) = writer.run() => end,
    };
    tracing::debug!(addr = %peer.addr, "disconnected: {end}");
    // If nobody listens, the torrent has ended, and nobody needs to know.
    let _ = link.events.send((key, PeerEvent::Closed)).await;
}

/// Small messages leave at once.
fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_nodelay(true) {
        // It still works, only less well.
        tracing::debug!("can't tune a socket: {error}");
    }
}
