//! What is to leave for one peer: [`Outbox`], filled by the driver, emptied by the connection.
//!
//! Messages and blocks wait apart. A message overtakes blocks that have not left: a request must not wait for an upload limit. And a block
//! that has not left can be taken back, as `Action::DropBlock` wants, with the answer there and then.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::wire::{BlockRequest, Message};

/// Bytes of messages that may wait for one peer. Room for the answers to 100 requests for parts of the metadata (16 KiB each) that come
/// together: some clients ask for all of it at once. A peer that leaves more unread does not read.
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Blocks that may wait for one peer. The core gives them out within a credit that is far smaller.
const MAX_BLOCKS: usize = 4096;

/// More waits than a peer that reads ever lets pile up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer does not read what it is sent")]
pub(super) struct Overflow;

/// See the module. One filler, one emptier. The filler says when it has put in what there was ([`Outbox::flush`]): the emptier, woken once
/// for all of it, sends it together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Encoded.
    messages: Vec<u8>,
    blocks: VecDeque<BlockRequest>,
}

impl Outbox {
    pub(super) fn push(&self, message: &Message) -> Result<(), Overflow> {
        let mut queue = self.queue();
        if queue.messages.len() > MAX_MESSAGE_BYTES {
            return Err(Overflow);
        }
        message.encode(&mut queue.messages);
        Ok(())
    }

    pub(super) fn push_block(&self, block: BlockRequest) -> Result<(), Overflow> {
        let mut queue = self.queue();
        if queue.blocks.len() >= MAX_BLOCKS {
            return Err(Overflow);
        }
        queue.blocks.push_back(block);
        Ok(())
    }

    /// What was put in may leave.
    pub(super) fn flush(&self) {
        self.filled.notify_one();
    }

    /// Takes a block back; `false` if it is not here any more.
    pub(super) fn drop_block(&self, block: BlockRequest) -> bool {
        let mut queue = self.queue();
        let Some(position) = queue.blocks.iter().position(|waiting| *waiting == block) else { return false };
        queue.blocks.remove(position);
        true
    }

    /// Waits until something was put in and flushed since the last call. May also return early.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// All messages that wait, encoded.
    pub(super) fn take_messages(&self) -> Vec<u8> {
        std::mem::take(&mut self.queue().messages)
    }

    /// Bytes of the blocks that [`Self::take_blocks`] would give out with this limit.
    pub(super) fn next_bytes(&self, limit: u32) -> u32 {
        let queue = self.queue();
        front(&queue.blocks, limit).map(|block| block.length).sum()
    }

    /// The blocks at the front, of at most `limit` bytes together, but at least one if any waits.
    pub(super) fn take_blocks(&self, limit: u32) -> Vec<BlockRequest> {
        let mut queue = self.queue();
        let count = front(&queue.blocks, limit).count();
        queue.blocks.drain(..count).collect()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn front(blocks: &VecDeque<BlockRequest>, limit: u32) -> impl Iterator<Item = &BlockRequest> {
    let mut bytes = 0_u32;
    blocks.iter().enumerate().map_while(move |(index, block)| {
        bytes = bytes.saturating_add(block.length);
        (index == 0 || bytes <= limit).then_some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MetadataMessage;

    fn block(begin: u32, length: u32) -> BlockRequest {
        BlockRequest { index: 0, begin, length }
    }

    #[test]
    fn blocks_leave_in_order_and_in_portions() {
        let outbox = Outbox::default();
        let blocks: Vec<_> = (0..5).map(|number| block(number * 10, 10)).collect();
        for &block in &blocks {
            outbox.push_block(block).unwrap();
        }
        assert_eq!(outbox.next_bytes(25), 20);
        assert_eq!(outbox.take_blocks(25), blocks[..2]);
        assert_eq!(outbox.take_blocks(1), blocks[2..3], "a portion holds one block at least");
        assert_eq!(outbox.take_blocks(100), blocks[3..]);
        assert_eq!(outbox.next_bytes(100), 0);
        assert!(outbox.take_blocks(100).is_empty());
    }

    #[test]
    fn a_block_is_taken_back_once_and_only_before_it_left() {
        let outbox = Outbox::default();
        for begin in [0, 10, 20] {
            outbox.push_block(block(begin, 10)).unwrap();
        }
        assert_eq!(outbox.take_blocks(10), [block(0, 10)]);
        assert!(!outbox.drop_block(block(0, 10)));
        assert!(outbox.drop_block(block(10, 10)));
        assert!(!outbox.drop_block(block(10, 10)));
        assert_eq!(outbox.take_blocks(100), [block(20, 10)]);
    }

    #[test]
    fn messages_go_together_and_ahead_of_blocks() {
        let outbox = Outbox::default();
        outbox.push_block(block(0, 10)).unwrap();
        outbox.push(&Message::Unchoke).unwrap();
        outbox.push(&Message::Have(7)).unwrap();
        assert_eq!(outbox.take_messages(), [0, 0, 0, 1, 1, 0, 0, 0, 5, 4, 0, 0, 0, 7]);
        assert!(outbox.take_messages().is_empty());
        assert_eq!(outbox.next_bytes(10), 10);
    }

    #[test]
    fn a_hundred_parts_of_the_metadata_may_wait() {
        let outbox = Outbox::default();
        let data = MetadataMessage::Data { piece: 99, total_size: 1_638_400, data: vec![7; 16 * 1024] };
        let message = Message::Extended { id: 3, payload: data.encode() };
        let mut expected = Vec::new();
        for _ in 0..100 {
            outbox.push(&message).unwrap();
            message.encode(&mut expected);
        }
        assert!(outbox.take_messages() == expected);
    }

    #[test]
    fn a_peer_that_does_not_read_fills_a_bounded_queue() {
        let outbox = Outbox::default();
        let long = Message::Bitfield(vec![0; 256 * 1024]);
        let pushed = std::iter::repeat_with(|| outbox.push(&long)).take_while(Result::is_ok).count();
        assert_eq!(pushed, 8);
        assert_eq!(outbox.push(&Message::KeepAlive), Err(Overflow));
        let pushed =
            std::iter::repeat_with(|| outbox.push_block(block(0, 1))).take_while(Result::is_ok).count();
        assert_eq!(pushed, MAX_BLOCKS);
    }
}
