//! The memory that payload passes through: [`BufferPool`], bounded, and [`Buffer`], which returns its share when dropped.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use torrent_format::BLOCK_LENGTH;

/// A budget in bytes for all payload buffers of a session. Cheap to clone. An empty pool makes connections stop reading, so
/// that TCP pushes back on the peers.
#[derive(Clone, Debug)]
pub struct BufferPool {
    shares: Arc<Semaphore>,
    capacity: usize,
    used: Arc<UsedBlocks>,
}

/// Memory of blocks that came before, last used first: it is in the CPU's cache, and the system need not clear it again.
#[derive(Debug, Default)]
struct UsedBlocks {
    blocks: Mutex<Vec<Vec<u8>>>,
}

/// Bytes of payload, and their share of the budget. What is in it before it is filled is anything.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    used: Arc<UsedBlocks>,
    _share: OwnedSemaphorePermit,
}

impl BufferPool {
    /// A budget of this many bytes.
    pub fn new(capacity: usize) -> Self {
        Self { shares: Arc::new(Semaphore::new(capacity)), capacity, used: Arc::default() }
    }

    /// The whole budget, in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What is left of it, in bytes.
    pub fn available(&self) -> usize {
        self.shares.available_permits()
    }

    /// Waits for a buffer of `length` bytes.
    pub async fn take(&self, length: u32) -> Buffer {
        // More than there is at all would be waited for in vain.
        let share = length.min(u32::try_from(self.capacity).unwrap_or(u32::MAX));
        let share =
            Arc::clone(&self.shares).acquire_many_owned(share).await.expect("the pool is never closed");
        self.buffer(length, share)
    }

    /// A buffer for a block that may never come: `None` unless half of the budget is left.
    pub fn take_ahead(&self) -> Option<Buffer> {
        if self.available() < self.capacity / 2 {
            return None;
        }
        let share = Arc::clone(&self.shares).try_acquire_many_owned(BLOCK_LENGTH).ok()?;
        Some(self.buffer(BLOCK_LENGTH, share))
    }

    fn buffer(&self, length: u32, share: OwnedSemaphorePermit) -> Buffer {
        let used = if length == BLOCK_LENGTH { self.used.pop() } else { None };
        let bytes = used.unwrap_or_else(|| vec![0; length as usize]);
        Buffer { bytes, used: Arc::clone(&self.used), _share: share }
    }
}

impl UsedBlocks {
    fn pop(&self) -> Option<Vec<u8>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// No more than there were at a time, since each had a share of the budget.
    fn push(&self, bytes: Vec<u8>) {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

impl Buffer {
    /// To be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == BLOCK_LENGTH as usize {
            self.used.push(mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_comes_back_with_its_buffer() {
        let pool = BufferPool::new(100);
        let buffer = pool.take(60).await;
        assert_eq!(buffer.len(), 60);
        assert_eq!((pool.available(), pool.capacity()), (40, 100));
        let waiting = pool.take(60);
        drop(buffer);
        assert_eq!(waiting.await.len(), 60);
        assert_eq!(pool.available(), 100);
    }

    #[tokio::test]
    async fn more_than_the_whole_budget_is_the_whole_budget() {
        let pool = BufferPool::new(10);
        let buffer = pool.take(20).await;
        assert_eq!((buffer.len(), pool.available()), (20, 0));
        drop(buffer);
        assert_eq!(pool.available(), 10);
    }

    #[tokio::test]
    async fn blocks_are_used_again_and_never_more_than_the_budget_holds() {
        let pool = BufferPool::new(3 * BLOCK_LENGTH as usize);
        let mut buffer = pool.take(BLOCK_LENGTH).await;
        buffer.bytes_mut()[0] = 7;
        let ahead = pool.take_ahead().expect("more than half is left");
        assert!(pool.take_ahead().is_none(), "the rest is for those who need it");
        drop((ahead, buffer));
        assert_eq!(pool.take(BLOCK_LENGTH).await[0], 7);
        assert_eq!(pool.used.blocks.lock().unwrap().len(), 2);
        assert_eq!(pool.available(), pool.capacity());
    }
}
