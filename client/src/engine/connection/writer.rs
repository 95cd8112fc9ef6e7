#![expect(
    clippy::disallowed_methods,
    reason = "how much is taken on at a time for a peer depends on how fast it takes it"
)]
//! What goes to a peer. Messages first; blocks by the kernel straight from their file where it has them in memory, else read off the
//! network threads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::{End, Link, Outbox, PeerEvent, STALLED};
use crate::engine::storage::{Cork, Direct, SendError, Storage};
use crate::engine::stream::Outlet;
use crate::torrent::PeerKey;
use crate::wire::BlockRequest;
use crate::wire::message::block_header;

/// Bytes that are taken on for one peer at a time: enough to be worth a hop to another thread, if they have to be read.
const MAX_BATCH: u32 = 128 * 1024;

/// The same where the kernel sends from the file, for peers that take so much within [`SWIFT`]: they cost no memory, only the
/// chance to take them back.
const MAX_DIRECT_BATCH: u32 = 512 * 1024;

/// A batch that leaves within this time may be followed by a larger one; else by the smallest, since what was taken on can't be taken
/// back, and holds up messages.
const BRISK: Duration = Duration::from_millis(60);

/// A batch that leaves within this time may be followed by one of up to [`MAX_DIRECT_BATCH`].
const SWIFT: Duration = Duration::from_millis(5);

/// The bytes a second that a peer must take: what is being sent to it may hold memory too. The slowest lines are several times as fast.
pub(super) const MIN_RATE: u64 = 1024;

/// Unsent bytes that the kernel may hold: what waits there can't be taken back, and is shared out among all connections, where one piece at
/// a time would do more good. On a fast line a batch, for fewer system calls.
const MIN_UNSENT: u32 = 16 * 1024;

/// A block and its bytes.
type Copied = (BlockRequest, Vec<u8>);

pub(super) struct Writer<'a> {
    outlet: Outlet<'a>,
    outbox: &'a Outbox,
    /// Bytes of blocks to be sent together: 0 (one block) to [`MAX_DIRECT_BATCH`].
    batch: u32,
    /// What the kernel has been told to hold at most.
    unsent: u32,
    /// The last batch had to be read, and so will the next, probably: memory for it is taken beforehand.
    copies: bool,
    key: PeerKey,
    link: &'a Link,
}

impl<'a> Writer<'a> {
    pub(super) fn new(outlet: Outlet<'a>, outbox: &'a Outbox, key: PeerKey, link: &'a Link) -> Self {
        if let Some(tcp) = outlet.tcp() {
            limit_unsent(tcp, MIN_UNSENT);
        }
        Self { outlet, outbox, batch: 0, unsent: MIN_UNSENT, copies: true, key, link }
    }

    pub(super) async fn run(mut self) -> Result<Infallible, End> {
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
                let start = Instant::now();
                self.send_blocks(blocks, memory).await?;
                self.adapt(left, start.elapsed());
            }
        }
    }

    /// Waits until that many bytes of payload may go, and, if they will be read, for memory. Messages go on meanwhile.
    async fn turn(&mut self, bytes: u32) -> Result<Option<SemaphorePermit<'a>>, End> {
        let (link, copies) = (self.link, self.copies);
        let turn = async {
            let memory = if copies { Some(take_memory(link, bytes).await?) } else { None };
            link.upload.take(bytes).await;
            Ok(memory)
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

    /// How much to take on next, after so many bytes took so long.
    fn adapt(&mut self, bytes: u32, took: Duration) {
        let most = if took < SWIFT && !self.copies { MAX_DIRECT_BATCH } else { MAX_BATCH };
        self.batch = if took < BRISK { (bytes.max(MIN_UNSENT) * 2).min(most) } else { 0 };
        let unsent = if self.batch >= MAX_BATCH { self.batch } else { MIN_UNSENT };
        if std::mem::replace(&mut self.unsent, unsent) != unsent
            && let Some(tcp) = self.outlet.tcp()
        {
            limit_unsent(tcp, unsent);
        }
    }

    async fn send_messages(&mut self) -> Result<(), End> {
        let messages = self.outbox.take_messages();
        let mut parts = [IoSlice::new(&messages)];
        self.write_all(&mut parts, VecDeque::new()).await
    }

    async fn send_blocks(
        &mut self,
        blocks: Vec<BlockRequest>,
        mut memory: Option<SemaphorePermit<'a>>,
    ) -> Result<(), End> {
        let Some(storage) = self.link.storage.get() else {
            debug_assert!(false, "blocks are sent only once there is data");
            return Err(End::Ended);
        };
        self.send_messages().await?;
        self.copies = false;
        let mut rest = &blocks[..];
        while !rest.is_empty() {
            if let Some(tcp) = self.outlet.plain()
                && let Some(source) = storage.direct(rest)
            {
                let sent = self.send_direct(tcp, storage, &rest[..source.blocks()], &source).await?;
                rest = &rest[sent..];
                continue;
            }
            self.copies = true;
            if memory.is_none() {
                let bytes = rest.iter().map(|block| block.length).sum();
                memory = Some(take_memory(self.link, bytes).await?);
            }
            let mut copies = self.read_at_hand(storage, rest);
            rest = &rest[copies.len()..];
            if copies.is_empty() {
                copies = self.read_blocks(storage.clone(), std::mem::take(&mut rest).to_vec()).await?;
            }
            self.send_copies(copies).await?;
        }
        Ok(())
    }

    /// Reads the first of these, up to one that the kernel can send from its file, or that a disk must be waited for.
    fn read_at_hand(&self, storage: &Storage, blocks: &[BlockRequest]) -> Vec<Copied> {
        let direct = |from: usize| self.outlet.plain().is_some() && storage.direct(&blocks[from..]).is_some();
        let read = |(number, block): (usize, &BlockRequest)| {
            let mut payload = Vec::new();
            let here = (number == 0 || !direct(number)) && storage.read_at_hand(*block, &mut payload);
            here.then_some((*block, payload))
        };
        blocks.iter().enumerate().map_while(read).collect()
    }

    /// The kernel sends them from their file. Returns how many have left: all, unless it can't go on.
    async fn send_direct(
        &mut self,
        tcp: &TcpStream,
        storage: &Storage,
        blocks: &[BlockRequest],
        source: &Direct,
    ) -> Result<usize, End> {
        let deadline = deadline(blocks.iter().map(|block| u64::from(block.length)).sum());
        let mut cork = if blocks.len() > 1 { Cork::new(tcp) } else { None };
        let corks = cork.is_some();
        let mut at = 0;
        for (before, &block) in blocks.iter().enumerate() {
            if corks && cork.is_none() && before + 1 < blocks.len() {
                cork = Cork::new(tcp);
            }
            let header = block_header(block);
            let mut rest = &header[..];
            while !rest.is_empty() {
                let send = |_: &mut Outlet<'_>| uncorked(&mut cork, source.send_header(tcp, rest));
                let some = self.when_writable(deadline, send).await?;
                rest = &rest[some..];
            }
            let (start, end) = (at, at + block.length);
            while at < end {
                let mut unreadable = false;
                let send = |_: &mut Outlet<'_>| match source.send(tcp, at..end) {
                    Err(SendError::Source) => {
                        unreadable = true;
                        Ok(1)
                    }
                    Err(SendError::Socket(error)) => uncorked(&mut cork, Err(error)),
                    Ok(some) => Ok(some),
                };
                let some = self.when_writable(deadline, send).await?;
                if unreadable {
                    self.send_rest(storage, block, at - start).await?;
                    return Ok(before + 1);
                }
                at += some as u32;
            }
            self.tell(PeerEvent::BlockSent(block)).await?;
        }
        Ok(blocks.len())
    }

    /// The kernel could not go on with a block whose header has left: the file can't be sent from, or it was cut short just now.
    async fn send_rest(&mut self, storage: &Storage, block: BlockRequest, sent: u32) -> Result<(), End> {
        let blocks = self.read_blocks(storage.clone(), vec![block]).await?;
        // Nothing else can follow the header.
        let [(_, payload)] = &blocks[..] else { return Err(End::Unreadable) };
        let rest = &payload[sent as usize..];
        self.write_all(&mut [IoSlice::new(rest)], VecDeque::from([(rest.len(), block)])).await
    }

    async fn send_copies(&mut self, blocks: Vec<Copied>) -> Result<(), End> {
        let messages = self.outbox.take_messages();
        let headers: Vec<_> = blocks.iter().map(|(block, _)| block_header(*block)).collect();
        let mut parts = Vec::with_capacity(1 + 2 * blocks.len());
        parts.push(IoSlice::new(&messages));
        let mut ends = VecDeque::with_capacity(blocks.len());
        let mut end = messages.len();
        for (header, (block, payload)) in headers.iter().zip(&blocks) {
            parts.extend([IoSlice::new(header), IoSlice::new(payload)]);
            end += header.len() + payload.len();
            ends.push_back((end, *block));
        }
        self.write_all(&mut parts, ends).await
    }

    /// Off the network threads: the disk may take its time.
    async fn read_blocks(&self, storage: Storage, blocks: Vec<BlockRequest>) -> Result<Vec<Copied>, End> {
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
        &mut self,
        mut parts: &mut [IoSlice<'_>],
        mut ends: VecDeque<(usize, BlockRequest)>,
    ) -> Result<(), End> {
        let deadline = deadline(parts.iter().map(|part| part.len() as u64).sum());
        // Also skips the write if there is nothing.
        IoSlice::advance_slices(&mut parts, 0);
        let mut written = 0;
        while !parts.is_empty() {
            let some = self.when_writable(deadline, |outlet| outlet.try_write_vectored(parts)).await?;
            IoSlice::advance_slices(&mut parts, some);
            written += some;
            while let Some((_, block)) = ends.pop_front_if(|(end, _)| *end <= written) {
                self.tell(PeerEvent::BlockSent(block)).await?;
            }
        }
        Ok(())
    }

    /// Calls `write` until it has written some, waiting for room in between.
    async fn when_writable(
        &mut self,
        deadline: Instant,
        mut write: impl FnMut(&mut Outlet<'_>) -> io::Result<usize>,
    ) -> Result<usize, End> {
        loop {
            match write(&mut self.outlet) {
                Ok(0) => return Err(End::Closed),
                Ok(written) => return Ok(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = timeout(STALLED, self.outlet.writable());
                    let writable = timeout_at(deadline, writable).await.map_err(|_| End::TooSlow)?;
                    writable.map_err(|_| End::Stalled)??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn tell(&self, event: PeerEvent) -> Result<(), End> {
        self.link.events.send((self.key, event)).await.map_err(|_| End::Ended)
    }
}

/// The cork is drawn before room is waited for. What it holds back, being less than a packet, counts as unsent; if that is as much as the
/// kernel takes on, there is no room before it has left, and it does not leave before more comes.
fn uncorked(cork: &mut Option<Cork<'_>>, sent: io::Result<usize>) -> io::Result<usize> {
    if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        *cork = None;
    }
    sent
}

/// Waits for memory for that many bytes of payload.
async fn take_memory(link: &Link, bytes: u32) -> Result<SemaphorePermit<'_>, End> {
    link.upload_memory.acquire_many(bytes).await.map_err(|_| End::Ended)
}

/// When a peer that takes so many bytes must have taken them.
fn deadline(bytes: u64) -> Instant {
    Instant::now() + STALLED + Duration::from_secs(bytes / MIN_RATE)
}

fn limit_unsent(stream: &TcpStream, bytes: u32) {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes) {
        tracing::debug!("can't tune a socket: {error}");
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    let _ = (stream, bytes);
}
