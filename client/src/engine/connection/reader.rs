#![expect(clippy::disallowed_methods, reason = "how long a block may be on its way is real time")]
//! What comes from a peer. Messages are cut out of a buffer; the payload of blocks is read straight into buffers of its own, several
//! blocks for one system call where they come one after the other.

use std::convert::Infallible;
use std::io::{self, IoSliceMut};
use std::ops::ControlFlow;

use bytes::{Buf as _, BytesMut};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};
use torrent_format::BLOCK_LENGTH;

use super::{Buffer, End, Link, PeerEvent, STALLED};
use crate::engine::stream::Inlet;
use crate::torrent::PeerKey;
use crate::wire::message::BLOCK_HEADER_LENGTH;
use crate::wire::{BlockRequest, Frame, FrameDecoder};

/// A read buffer at first, and after each block: what is in it of another block's payload has to be copied from it.
const MIN_READ_BUFFER: usize = 256;

/// A read buffer of a peer that fills it each time.
const MAX_READ_BUFFER: usize = 64 * 1024;

/// Blocks that are made room for behind the one that is being read.
const MAX_AHEAD: usize = 7;

pub(super) struct Reader<'a> {
    inlet: Inlet<'a>,
    buffer: BytesMut,
    /// How much the buffer should hold; grows to [`MAX_READ_BUFFER`].
    room: usize,
    /// How many blocks to make room for: as many as came the last time and one more, or twice as many if they all came.
    ahead: usize,
    key: PeerKey,
    link: &'a Link,
}

/// A block on its way.
struct Coming {
    block: BlockRequest,
    payload: Buffer,
    /// So many bytes of it are here.
    filled: usize,
    /// When they must all be, once they have been waited for.
    deadline: Option<Instant>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(inlet: Inlet<'a>, received: BytesMut, key: PeerKey, link: &'a Link) -> Self {
        Self { inlet, buffer: received, room: MIN_READ_BUFFER, ahead: 0, key, link }
    }

    pub(super) async fn run(mut self) -> Result<Infallible, End> {
        loop {
            while let Some((frame, length)) = FrameDecoder.decode(&self.buffer)? {
                self.buffer.advance(length);
                match frame {
                    Frame::Message(message) => self.tell(PeerEvent::Message(message)).await?,
                    Frame::Block(block) => self.read_blocks(block).await?,
                }
            }
            self.fill().await?;
        }
    }

    /// What follows the header of a `piece` message, and the same of those behind it. Ends where anything else begins.
    async fn read_blocks(&mut self, block: BlockRequest) -> Result<(), End> {
        let mut coming = self.coming(block).await;
        let here = self.buffer.len().min(coming.payload.len());
        coming.payload.bytes_mut()[..here].copy_from_slice(&self.buffer[..here]);
        coming.filled = here;
        self.buffer.advance(here);
        self.room = MIN_READ_BUFFER;
        if here == coming.payload.len() {
            return self.tell(PeerEvent::Block(block, coming.payload)).await;
        }
        let mut next = Some(coming);
        while let ControlFlow::Continue(coming) = self.read_some(next).await? {
            next = coming;
        }
        Ok(())
    }

    async fn coming(&self, block: BlockRequest) -> Coming {
        self.link.download.take(block.length).await;
        let payload = self.link.pool.take(block.length).await;
        Coming { block, payload, filled: 0, deadline: None }
    }

    /// Reads once, or waits. Takes and gives the block that is on its way; `None` between two of them. Breaks off if what comes next is in
    /// the buffer, or is to go there.
    async fn read_some(
        &mut self,
        mut coming: Option<Coming>,
    ) -> Result<ControlFlow<(), Option<Coming>>, End> {
        // Before and behind each block, room for a header.
        let mut heads = [[0; BLOCK_HEADER_LENGTH]; MAX_AHEAD + 1];
        let mut ahead: SmallVec<[Buffer; MAX_AHEAD]> = SmallVec::new();
        let at_once = if self.link.download.is_limited() { 0 } else { self.ahead };
        ahead.extend(std::iter::from_fn(|| self.link.pool.take_ahead()).take(at_once));
        if coming.is_none() && ahead.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let read = {
            let mut parts: SmallVec<[IoSliceMut<'_>; 2 * MAX_AHEAD + 2]> = SmallVec::new();
            if let Some(Coming { payload, filled, .. }) = &mut coming {
                parts.push(IoSliceMut::new(&mut payload.bytes_mut()[*filled..]));
            }
            let mut heads = heads.iter_mut();
            parts.extend(heads.next().map(|head| IoSliceMut::new(head)));
            for (buffer, head) in ahead.iter_mut().zip(heads) {
                parts.extend([IoSliceMut::new(buffer.bytes_mut()), IoSliceMut::new(head)]);
            }
            self.inlet.try_read_vectored(&mut parts)
        };
        let mut left = match read {
            Ok(0) => return Err(End::Closed),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                drop(ahead);
                self.wait(coming.as_mut()).await?;
                return Ok(ControlFlow::Continue(coming));
            }
            Err(error) => return Err(error.into()),
        };
        let hoped_for = ahead.len();
        let mut ahead = ahead.into_iter();
        for (index, head) in heads.iter().enumerate() {
            self.ahead = (index + 1).min(MAX_AHEAD);
            if let Some(mut block) = coming {
                let here = left.min(block.payload.len() - block.filled);
                (left, block.filled) = (left - here, block.filled + here);
                if block.filled < block.payload.len() {
                    return Ok(ControlFlow::Continue(Some(block)));
                }
                self.tell(PeerEvent::Block(block.block, block.payload)).await?;
            }
            let here = left.min(head.len());
            left -= here;
            if here == 0 {
                return Ok(ControlFlow::Continue(None));
            }
            let follows = FrameDecoder.decode(&head[..here])?;
            match (follows, ahead.next()) {
                (Some((Frame::Block(block), _)), Some(payload)) if block.length == BLOCK_LENGTH => {
                    coming = Some(Coming { block, payload, filled: 0, deadline: None });
                }
                (_, payload) => {
                    if index == hoped_for && here == head.len() {
                        self.ahead = (2 * hoped_for + 1).min(MAX_AHEAD);
                    }
                    self.buffer.extend_from_slice(&head[..here]);
                    self.put_back(payload.into_iter().chain(ahead), &heads[index + 1..], left);
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        unreachable!("behind the last header there is no buffer")
    }

    /// For more to come: of a block within its time, between two of them as long as it takes.
    async fn wait(&mut self, coming: Option<&mut Coming>) -> Result<(), End> {
        let readable = self.inlet.readable();
        match coming {
            None => readable.await?,
            Some(Coming { deadline, .. }) => {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + STALLED);
                timeout_at(deadline, readable).await.map_err(|_| End::Unfinished)??;
            }
        }
        Ok(())
    }

    /// Into the buffer: bytes that went where blocks were hoped for.
    fn put_back(
        &mut self,
        payloads: impl Iterator<Item = Buffer>,
        heads: &[[u8; BLOCK_HEADER_LENGTH]],
        mut left: usize,
    ) {
        for (payload, head) in payloads.zip(heads) {
            for bytes in [&payload[..], head] {
                let here = left.min(bytes.len());
                self.buffer.extend_from_slice(&bytes[..here]);
                left -= here;
            }
        }
    }

    /// Reads at least one byte more.
    async fn fill(&mut self) -> Result<(), End> {
        let held = self.buffer.len();
        let room = self.room.max(FrameDecoder::wanted(&self.buffer));
        self.buffer.reserve(room.saturating_sub(held).max(1));
        // Reserving may have made more room than was asked for.
        if self.inlet.read(&mut self.buffer, room.saturating_sub(held).max(1)).await? == 0 {
            return Err(End::Closed);
        }
        if self.buffer.len() >= room {
            self.room = (self.room * 2).min(MAX_READ_BUFFER);
        }
        Ok(())
    }

    async fn tell(&self, event: PeerEvent) -> Result<(), End> {
        self.link.events.send((self.key, event)).await.map_err(|_| End::Ended)
    }
}
