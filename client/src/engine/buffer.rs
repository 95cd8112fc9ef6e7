//! The memory that payload passes through: [`BufferPool`], bounded, and [`Buffer`], which returns its share when dropped.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A budget in bytes for all payload buffers of a session. Cheap to clone. An empty pool makes connections stop reading, so
/// that TCP pushes back on the peers.
#[derive(Clone, Debug)]
pub struct BufferPool {
    bytes: Arc<Semaphore>,
    capacity: usize,
}

/// Bytes of payload, and their share of the budget.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl BufferPool {
    /// A budget of this many bytes.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// The whole budget, in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What is left of it, in bytes.
    pub fn available(&self) -> usize {
        self.bytes.available_permits()
    }

    /// Waits for `length` bytes of the budget; the buffer's `Vec` is empty, with room for them.
    pub async fn take(&self, length: u32) -> Buffer {
        // More than there is at all would be waited for in vain.
        let share = length.min(u32::try_from(self.capacity).unwrap_or(u32::MAX));
        let share =
            Arc::clone(&self.bytes).acquire_many_owned(share).await.expect("the pool is never closed");
        Buffer { bytes: Vec::with_capacity(length as usize), _share: share }
    }
}

impl Buffer {
    /// To be filled.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_comes_back_with_its_buffer() {
        let pool = BufferPool::new(100);
        let mut buffer = pool.take(60).await;
        assert!(buffer.is_empty() && buffer.bytes_mut().capacity() >= 60);
        assert_eq!((pool.available(), pool.capacity()), (40, 100));
        let waiting = pool.take(60);
        drop(buffer);
        assert_eq!(waiting.await.len(), 0);
        assert_eq!(pool.available(), 100);
    }

    #[tokio::test]
    async fn more_than_the_whole_budget_is_the_whole_budget() {
        let pool = BufferPool::new(10);
        let buffer = pool.take(20).await;
        assert_eq!(pool.available(), 0);
        drop(buffer);
        assert_eq!(pool.available(), 10);
    }
}
