#![expect(
    clippy::disallowed_methods,
    reason = "how much is read ahead for a peer depends on how fast it takes it"
)]
//! One peer: a task that reads frames from the socket and writes what its [`Outbox`] holds. Payload passes through here and nowhere else:
//! read straight into a [`Buffer`], written straight from what the disk gave.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf as _, BufMut, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::buffer::{Buffer, BufferPool};
use super::handshake::Shaken;
use super::limit::Limiter;
use super::outbox::{Outbox, Overflow};
use super::storage::{Storage, StorageError};
use crate::torrent::PeerKey;
use crate::wire::message::{BLOCK_HEADER_LENGTH, encode_block_header};
use crate::wire::{BlockRequest, Frame, FrameDecoder, FrameError, Message};

/// A read buffer at first; thousands of idle peers must not cost much.
const MIN_READ_BUFFER: usize = 4 * 1024;

/// A read buffer of a peer that fills it each time: four blocks for one system call.
const MAX_READ_BUFFER: usize = 64 * 1024;

/// How much is read from disk for one peer at a time, in bytes: enough to be worth a hop to another thread.
const MAX_BATCH: u32 = 128 * 1024;

/// A batch that leaves within this time may be followed by a larger one; else by the smallest, since what was read ahead can't be
/// taken back, and holds up messages.
const BRISK: Duration = Duration::from_millis(60);

/// How long a peer may take nothing of what is being sent to it, and how long a block that it has begun may be on its way: the buffer that
/// it goes into is missing elsewhere meanwhile.
const STALLED: Duration = Duration::from_secs(60);

/// The bytes a second that a peer must take: what is being sent to it holds memory too. The slowest lines are several times as fast.
const MIN_RATE: u64 = 1024;

/// Unsent bytes that the kernel may hold: what waits there can't be taken back, and is shared out among all connections, where one piece at
/// a time would do more good. On a fast line a batch, for fewer system calls.
const MIN_UNSENT: u32 = 16 * 1024;
const MAX_UNSENT: u32 = MAX_BATCH;

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

    pub(super) fn send(&self, message: &Message) -> Result<(), Overflow> {
        self.outbox.push(message)
    }

    pub(super) fn send_block(&self, block: BlockRequest) -> Result<(), Overflow> {
        self.outbox.push_block(block)
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
    #[error("the torrent has ended")]
    Ended,
}

async fn run(key: PeerKey, shaken: Shaken, link: Link, outbox: Arc<Outbox>) {
    let Shaken { stream, peer, received, .. } = shaken;
    tracing::debug!(addr = %peer.addr, id = %peer.peer_id, direction = ?peer.direction, "connected");
    tune(&stream);
    let reader = Reader { stream: &stream, buffer: received, room: MIN_READ_BUFFER, key, link: &link };
    let writer = Writer { stream: &stream, outbox: &outbox, batch: 0, unsent: MIN_UNSENT, key, link: &link };
    let end = tokio::select! {
        Err(end) = reader.run() => end,
        Err(end) = writer.run() => end,
    };
    tracing::debug!(addr = %peer.addr, "disconnected: {end}");
    // If nobody listens, the torrent has ended, and nobody needs to know.
    let _ = link.events.send((key, PeerEvent::Closed)).await;
}

/// Small messages leave at once, and little waits in the kernel.
fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_nodelay(true) {
        // It still works, only less well.
        tracing::debug!("can't tune a socket: {error}");
    }
    limit_unsent(stream, MIN_UNSENT);
}

fn limit_unsent(stream: &TcpStream, bytes: u32) {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes) {
        tracing::debug!("can't tune a socket: {error}");
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    let _ = (stream, bytes);
}

struct Reader<'a> {
    stream: &'a TcpStream,
    buffer: BytesMut,
    /// How much the buffer should hold; grows to [`MAX_READ_BUFFER`].
    room: usize,
    key: PeerKey,
    link: &'a Link,
}

impl Reader<'_> {
    async fn run(mut self) -> Result<Infallible, End> {
        loop {
            while let Some((frame, length)) = FrameDecoder.decode(&self.buffer)? {
                self.buffer.advance(length);
                let event = match frame {
                    Frame::Message(message) => PeerEvent::Message(message),
                    Frame::Block(block) => PeerEvent::Block(block, self.payload(block.length).await?),
                };
                self.link.events.send((self.key, event)).await.map_err(|_| End::Ended)?;
            }
            self.fill().await?;
        }
    }

    /// What follows the header of a `piece` message.
    async fn payload(&mut self, length: u32) -> Result<Buffer, End> {
        self.link.download.take(length).await;
        let mut payload = self.link.pool.take(length).await;
        // From here on the peer alone is waited for.
        let read = self.read_payload(length as usize, payload.bytes_mut());
        timeout(STALLED, read).await.map_err(|_| End::Unfinished)??;
        Ok(payload)
    }

    async fn read_payload(&mut self, length: usize, bytes: &mut Vec<u8>) -> Result<(), End> {
        let here = self.buffer.len().min(length);
        bytes.extend_from_slice(&self.buffer[..here]);
        self.buffer.advance(here);
        while bytes.len() < length {
            let missing = length - bytes.len();
            read(self.stream, &mut (&mut *bytes).limit(missing)).await?;
        }
        Ok(())
    }

    /// Reads at least one byte more.
    async fn fill(&mut self) -> Result<(), End> {
        let held = self.buffer.len();
        let room = self.room.max(FrameDecoder::wanted(&self.buffer));
        self.buffer.reserve(room.saturating_sub(held).max(1));
        read(self.stream, &mut self.buffer).await?;
        if self.buffer.len() >= room {
            self.room = (self.room * 2).min(MAX_READ_BUFFER);
        }
        Ok(())
    }
}

async fn read(stream: &TcpStream, buffer: &mut impl BufMut) -> Result<(), End> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(buffer) {
            Ok(0) => return Err(End::Closed),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

struct Writer<'a> {
    stream: &'a TcpStream,
    outbox: &'a Outbox,
    /// Bytes of blocks to be read and sent together: 0 (one block) to [`MAX_BATCH`].
    batch: u32,
    /// What the kernel has been told to hold at most.
    unsent: u32,
    key: PeerKey,
    link: &'a Link,
}

impl<'a> Writer<'a> {
    async fn run(mut self) -> Result<Infallible, End> {
        loop {
            let bytes = self.outbox.next_bytes(self.batch.min(self.link.upload.portion()));
            if bytes == 0 {
                self.send_messages().await?;
                // What was put in since `next_bytes` looked has left a note, so this returns at once.
                self.outbox.filled().await;
                continue;
            }
            let memory = self.turn(bytes).await?;
            let blocks = self.outbox.take_blocks(bytes);
            let left = blocks.iter().map(|block| block.length).sum();
            // Some may have been taken back meanwhile.
            self.link.upload.give_back(bytes.saturating_sub(left));
            if !blocks.is_empty() {
                self.send_blocks(blocks).await?;
            }
            drop(memory);
        }
    }

    /// Waits until that many bytes of payload may go. Messages go on meanwhile.
    async fn turn(&self, bytes: u32) -> Result<SemaphorePermit<'a>, End> {
        let link = self.link;
        let turn = async {
            let memory = link.upload_memory.acquire_many(bytes).await;
            link.upload.take(bytes).await;
            memory.map_err(|_| End::Ended)
        };
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                memory = &mut turn => return memory,
                () = self.outbox.filled() => self.send_messages().await?,
            }
        }
    }

    async fn send_messages(&self) -> Result<(), End> {
        let messages = self.outbox.take_messages();
        let mut parts = [IoSlice::new(&messages)];
        self.write_all(&mut parts, VecDeque::new()).await
    }

    async fn send_blocks(&mut self, blocks: Vec<BlockRequest>) -> Result<(), End> {
        let start = Instant::now();
        let blocks = self.read_blocks(blocks).await?;
        let messages = self.outbox.take_messages();
        let mut headers = Vec::with_capacity(blocks.len() * BLOCK_HEADER_LENGTH);
        for (block, _) in &blocks {
            encode_block_header(*block, &mut headers);
        }
        let mut parts = Vec::with_capacity(1 + 2 * blocks.len());
        parts.push(IoSlice::new(&messages));
        let mut ends = VecDeque::with_capacity(blocks.len());
        let mut end = messages.len();
        for (header, (block, payload)) in headers.chunks(BLOCK_HEADER_LENGTH).zip(&blocks) {
            parts.extend([IoSlice::new(header), IoSlice::new(payload)]);
            end += header.len() + payload.len();
            ends.push_back((end, *block));
        }
        self.write_all(&mut parts, ends).await?;
        self.batch = if start.elapsed() < BRISK { (end as u32 * 2).min(MAX_BATCH) } else { 0 };
        let unsent = if self.batch == MAX_BATCH { MAX_UNSENT } else { MIN_UNSENT };
        if std::mem::replace(&mut self.unsent, unsent) != unsent {
            limit_unsent(self.stream, unsent);
        }
        Ok(())
    }

    /// Off the network threads: the disk may take its time.
    async fn read_blocks(&self, blocks: Vec<BlockRequest>) -> Result<Vec<(BlockRequest, Vec<u8>)>, End> {
        let Some(storage) = self.link.storage.get().cloned() else {
            debug_assert!(false, "blocks are sent only once there is data");
            return Err(End::Ended);
        };
        let read = tokio::task::spawn_blocking(move || {
            let read = |block| {
                let mut payload = Vec::new();
                let outcome = storage.read_blocking(block, &mut payload);
                (block, outcome.map(|()| payload))
            };
            blocks.into_iter().map(read).collect::<Vec<_>>()
        });
        let mut sound = Vec::new();
        for (block, outcome) in read.await.map_err(|_| End::Ended)? {
            match outcome {
                Ok(payload) => sound.push((block, payload)),
                Err(error) => {
                    tracing::warn!("can't read what was verified before: {error}");
                    self.tell(PeerEvent::ReadFailed(block, error)).await?;
                }
            }
        }
        Ok(sound)
    }

    /// Writes `parts`; says of each block that it is sent once so many bytes have left. A peer that takes them drop by drop is left as well
    /// as one that takes none.
    async fn write_all(
        &self,
        mut parts: &mut [IoSlice<'_>],
        mut ends: VecDeque<(usize, BlockRequest)>,
    ) -> Result<(), End> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let deadline = Instant::now() + STALLED + Duration::from_secs(bytes as u64 / MIN_RATE);
        // Also skips the write if there is nothing.
        IoSlice::advance_slices(&mut parts, 0);
        let mut written = 0;
        while !parts.is_empty() {
            let some = timeout_at(deadline, self.write(&mut parts)).await;
            written += some.map_err(|_| End::TooSlow)??;
            while let Some((_, block)) = ends.pop_front_if(|(end, _)| *end <= written) {
                self.tell(PeerEvent::BlockSent(block)).await?;
            }
        }
        Ok(())
    }

    /// Writes some of `parts`, takes that off them, and says how much it was.
    async fn write<'b>(&self, parts: &mut &mut [IoSlice<'b>]) -> Result<usize, End> {
        loop {
            match self.stream.try_write_vectored(parts) {
                Ok(0) => return Err(End::Closed),
                Ok(written) => {
                    IoSlice::advance_slices(parts, written);
                    return Ok(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout(STALLED, self.stream.writable()).await.map_err(|_| End::Stalled)??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn tell(&self, event: PeerEvent) -> Result<(), End> {
        self.link.events.send((self.key, event)).await.map_err(|_| End::Ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use torrent_format::{InfoHash, PeerId};

    use super::*;
    use crate::torrent::{Ablation, Config, Connected, Direction, Start, Stay, Time, Torrent};
    use crate::wire::Capabilities;

    /// A connection, the other end of its socket, and its news.
    struct Rig {
        connection: Connection,
        theirs: TcpStream,
        events: mpsc::Receiver<(PeerKey, PeerEvent)>,
        pool: BufferPool,
    }

    async fn rig(memory: usize) -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(addr));
        let (theirs, (stream, addr)) = (theirs.unwrap(), ours.unwrap());
        theirs.set_nodelay(true).unwrap();
        let peer = Connected {
            addr,
            direction: Direction::Incoming,
            capabilities: Capabilities::default(),
            peer_id: PeerId([1; 20]),
        };
        let (sender, events) = mpsc::channel(16);
        let pool = BufferPool::new(memory);
        let link = Link {
            events: sender,
            storage: Arc::default(),
            pool: pool.clone(),
            upload_memory: Arc::new(Semaphore::new(memory)),
            upload: Limiter::new(None),
            download: Limiter::new(None),
        };
        let name = InfoHash([0; 20]);
        let shaken = Shaken { stream, peer, name, upgradable: false, received: BytesMut::with_capacity(64) };
        let connection = Connection::start(key(peer), shaken, link);
        Rig { connection, theirs, events, pool }
    }

    /// Only a torrent gives out keys.
    fn key(peer: Connected) -> PeerKey {
        let config = Config {
            hashes: InfoHash([0; 20]).into(),
            peer_id: PeerId([0; 20]),
            listen_port: 1,
            seed: 0,
            max_peers: 1,
            upload_limit: None,
            trackers: vec![],
            stay: Stay::Seed { ratio: None, time: None },
            sequential: false,
            ablation: Ablation::default(),
        };
        Torrent::new(Time::default(), config, Start::Magnet { info: None })
            .handle_connected(Time::default(), peer)
            .unwrap()
    }

    impl Rig {
        async fn next(&mut self) -> PeerEvent {
            self.events.recv().await.unwrap().1
        }
    }

    fn block(length: u32) -> (BlockRequest, Vec<u8>) {
        let block = BlockRequest { index: 3, begin: 16_384, length };
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut bytes = Vec::new();
        encode_block_header(block, &mut bytes);
        bytes.extend_from_slice(&payload);
        (block, bytes)
    }

    #[tokio::test]
    async fn frames_are_the_same_however_they_are_cut() {
        let (request, mut bytes) = block(16_000);
        let bitfield = Message::Bitfield(vec![0xaa; 100_000]);
        for message in [&Message::KeepAlive, &bitfield, &Message::Have(7)] {
            message.encode(&mut bytes);
        }
        bytes.extend_from_slice(&block(0).1);
        for cut in [1, 13, 14, 4_096, 16_384, usize::MAX] {
            let mut rig = rig(1 << 20).await;
            let (head, tail) = bytes.split_at(16_100);
            // Single bytes only where frames begin and end, for the time it takes.
            let pieces: Vec<Vec<u8>> =
                head[..40].chunks(cut).chain([&head[40..15_990]]).map(<[u8]>::to_vec).collect();
            let rest: Vec<Vec<u8>> =
                head[15_990..].chunks(cut).chain(tail.chunks(cut.max(1_000))).map(<[u8]>::to_vec).collect();
            let (mut theirs, mut expected) = (rig.theirs, 0);
            let writing = tokio::spawn(async move {
                for piece in pieces.into_iter().chain(rest) {
                    theirs.write_all(&piece).await.unwrap();
                }
            });
            let mut got = Vec::new();
            while let Some((_, event)) = rig.events.recv().await {
                expected += 1;
                got.push(match event {
                    PeerEvent::Block(block, payload) => format!("{block:?} {}", payload.len()),
                    PeerEvent::Message(Message::Bitfield(field)) => format!("bitfield {}", field.len()),
                    other => format!("{other:?}"),
                });
            }
            writing.await.unwrap();
            let empty = BlockRequest { length: 0, ..request };
            let all = [
                format!("{request:?} 16000"),
                "Message(KeepAlive)".to_owned(),
                "bitfield 100000".to_owned(),
                "Message(Have(7))".to_owned(),
                format!("{empty:?} 0"),
                "Closed".to_owned(),
            ];
            assert_eq!(got, all, "cut every {cut} bytes, {expected} events");
        }
    }

    #[tokio::test]
    async fn a_payload_comes_as_it_was_sent() {
        let mut rig = rig(1 << 20).await;
        let (request, bytes) = block(16 * 1024);
        rig.theirs.write_all(&bytes).await.unwrap();
        let PeerEvent::Block(got, payload) = rig.next().await else { panic!("a block was sent") };
        assert_eq!(got, request);
        assert!(payload[..] == bytes[13..]);
    }

    #[tokio::test]
    async fn an_empty_pool_stops_the_reading() {
        let mut rig = rig(2 * 16_384).await;
        let bytes = block(16_384).1.repeat(3);
        rig.theirs.write_all(&bytes).await.unwrap();
        let (first, second) = (rig.next().await, rig.next().await);
        assert_eq!(rig.pool.available(), 0);
        assert!(rig.events.try_recv().is_err());
        drop(first);
        assert!(matches!(rig.next().await, PeerEvent::Block(..)));
        drop(second);
    }

    #[tokio::test]
    async fn an_endless_frame_ends_the_connection() {
        let mut rig = rig(1 << 20).await;
        rig.theirs.write_all(&[0xff; 5]).await.unwrap();
        assert!(matches!(rig.next().await, PeerEvent::Closed));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_within_a_block_gives_no_block() {
        let mut rig = rig(1 << 20).await;
        rig.theirs.write_all(&block(16_384).1[..9_000]).await.unwrap();
        rig.theirs.shutdown().await.unwrap();
        assert!(matches!(rig.next().await, PeerEvent::Closed));
        assert_eq!(rig.pool.available(), 1 << 20);
    }

    #[tokio::test]
    async fn messages_leave_in_order_until_the_driver_lets_go() {
        let mut rig = rig(1 << 20).await;
        let messages =
            [Message::Bitfield(vec![1; 200_000]), Message::Unchoke, Message::KeepAlive, Message::Have(1)];
        let mut expected = Vec::new();
        for message in &messages {
            rig.connection.send(message).unwrap();
            message.encode(&mut expected);
        }
        let mut got = vec![0; expected.len()];
        rig.theirs.read_exact(&mut got).await.unwrap();
        assert!(got == expected);
        drop(rig.connection);
        assert_eq!(rig.theirs.read(&mut got).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_finishes_a_block_does_not_keep_its_buffer() {
        let mut rig = rig(1 << 20).await;
        rig.theirs.write_all(&block(16_384).1[..9_000]).await.unwrap();
        assert!(matches!(rig.next().await, PeerEvent::Closed));
        assert_eq!(rig.pool.available(), 1 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_left() {
        let mut rig = rig(1 << 20).await;
        // Far more than the kernel's buffers hold for a peer that does not read.
        let long = Message::Bitfield(vec![0; 256 * 1024]);
        loop {
            if rig.connection.send(&long).is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(matches!(rig.next().await, PeerEvent::Closed));
    }
}
