//! Several trackers that answer as one, by way of a Redis (or Valkey) server: [`RedisConfig`].
//!
//! Each node answers from its own memory and never waits for the server. What it is told goes, in batches, to the end of a
//! stream that all nodes read; so each knows all that the others know, as of the time between two batches ago. The stream is
//! as long as a peer may be silent, and with that holds at least one announce of every live peer: a node that starts reads it
//! from its beginning. While the server is away the nodes go on with what they know, keep what they are told, and write it
//! once it is back.

mod gone;
mod link;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use torrent_format::announce::AnnounceRequest;

use crate::swarm::Heard;

pub(crate) use link::{Link, connection_key, start};

/// How often batches are written unless something else is said.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Most bytes that are kept for a server that is away: some million announces. What is beyond, others learn when all is
/// told anew.
const MAX_PENDING: usize = 48 << 20;

/// The server that nodes share their swarms by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`
    pub url: String,
    /// How often batches are written: the age of what the nodes know of each other.
    pub sync_every: Duration,
}

/// What the other nodes have to hear.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: Mutex<Pending>,
}

/// Announces that are to be written.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// One behind the other, see [`Heard::write`].
    pub(crate) bytes: Vec<u8>,
    /// How many.
    pub(crate) count: usize,
    /// There were more than could be kept: all has to be told.
    pub(crate) overflowed: bool,
}

impl Outbox {
    pub(crate) fn push(&self, at: Duration, peer: SocketAddr, request: &AnnounceRequest, completed: bool) {
        let heard = Heard::of(at, peer, request, completed);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.bytes.len() < MAX_PENDING {
            heard.write(&mut pending.bytes);
            pending.count += 1;
        } else {
            pending.overflowed = true;
        }
    }

    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}
