//! What all shards of a tracker use together: [`Usage`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counted across the shards of one tracker, so that limits hold for all of them together.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) torrents: AtomicUsize,
    pub(super) peers: AtomicUsize,
    /// Of torrents and peers.
    pub(super) bytes: AtomicUsize,
    pub(super) completed: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) expired: AtomicU64,
}

/// Moves a figure from one value to another.
pub(super) fn shift(figure: &AtomicUsize, before: usize, after: usize) {
    if after != before {
        // Wraps around and back: one addition for both directions.
        figure.fetch_add(after.wrapping_sub(before), Relaxed);
    }
}
