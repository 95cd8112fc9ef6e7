//! The two threads that speak with the server: one writes, one reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Client, Commands as _, Connection, RedisError, RedisResult};
use torrent_format::InfoHash;

use super::gone::Gone;
use super::{Pending, RedisConfig};
use crate::config::ServeError;
use crate::core::Tracker;
use crate::metrics::Metrics;
use crate::swarm::Heard;

/// The stream of announces.
const STREAM: &str = "sprat:announces";

/// How often torrents were completed: a hash by info hash.
const COMPLETED: &str = "sprat:completed";

/// The secret of the connection ids, which a client may get from one node and bring to another.
const CONNECTION_KEY: &str = "sprat:connection-key";

/// How long the server may take to be connected to.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// How long the server may take for anything else.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a read waits for something new: less than [`PATIENCE`], and how long stopping may take.
const READ_WAIT_MS: usize = 500;

/// How long to wait before the server is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long after an absence of the server its other nodes may still be telling all that they know.
const HEALING: Duration = Duration::from_secs(60);

/// Bytes of announces in one entry of the stream.
const BATCH: usize = 64 << 10;

/// Entries that are read at once.
const READ_COUNT: usize = 64;

/// An info hash, and how often that torrent was completed.
type Count = (Vec<u8>, u32);

/// What the threads work with.
pub(crate) struct Link {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) metrics: Metrics,
    pub(crate) config: RedisConfig,
    pub(crate) client: Client,
    /// Tells our own entries from those of others.
    pub(crate) node: u64,
    /// How long a peer may be silent.
    pub(crate) expiry: Duration,
    pub(crate) stopped: Arc<AtomicBool>,
}

/// The client for this URL; does not connect yet.
///
/// # Errors
/// If it is no URL of a Redis server.
pub(crate) fn start(config: &RedisConfig) -> Result<Client, ServeError> {
    // The URL may hold a password, and is not repeated.
    Client::open(config.url.as_str()).map_err(|error| ServeError::Store(error.to_string()))
}

/// The key of the connection ids that all nodes share: `ours` if there is none yet. `None` if the server is away.
pub(crate) fn connection_key(client: &Client, ours: [u8; 16]) -> Option<[u8; 16]> {
    let shared = || -> RedisResult<Vec<u8>> {
        let mut connection = connect(client)?;
        let _: bool = connection.set_nx(CONNECTION_KEY, ours.as_slice())?;
        connection.get(CONNECTION_KEY)
    };
    shared().ok()?.try_into().ok()
}

fn connect(client: &Client) -> RedisResult<Connection> {
    let connection = client.get_connection_with_timeout(CONNECT_PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

impl Link {
    /// Writes what this node is told until it is stopped, and then the rest.
    pub(crate) fn write(&self) {
        let Some(outbox) = &self.tracker.outbox else { return };
        let mut connection = None;
        let mut pending = Pending::default();
        // A server that was away may have come back empty.
        let mut look_for_stream = true;
        let mut is_away = false;
        loop {
            let is_last = self.stopped.load(Relaxed);
            if pending.bytes.is_empty() {
                pending = outbox.take();
            }
            let written = connected(&mut connection, &self.client)
                .and_then(|connection| self.write_all(connection, &mut pending, &mut look_for_stream));
            self.metrics.store_pending.set((pending.count + outbox.count()) as i64);
            self.metrics.store_up.set(i64::from(written.is_ok()));
            match &written {
                Ok(()) if is_away => tracing::info!("the store is back"),
                Err(error) if !is_away => tracing::warn!(%error, "the store is away: going on without it"),
                _ => {}
            }
            is_away = written.is_err();
            if is_away {
                (connection, look_for_stream) = (None, true);
            }
            if is_last {
                return;
            }
            thread::park_timeout(if written.is_ok() { self.config.sync_every } else { RETRY });
        }
    }

    fn write_all(
        &self,
        connection: &mut Connection,
        pending: &mut Pending,
        look_for_stream: &mut bool,
    ) -> RedisResult<()> {
        if *look_for_stream || pending.overflowed {
            let is_there: bool = connection.exists(STREAM)?;
            if !is_there || pending.overflowed {
                self.tell_all(connection)?;
            }
            (*look_for_stream, pending.overflowed) = (false, false);
        }
        if pending.bytes.is_empty() {
            // Whether it is still there.
            let _: () = redis::cmd("PING").query(connection)?;
        }
        let mut completed: HashMap<InfoHash, i64> = HashMap::new();
        while !pending.bytes.is_empty() {
            let (mut length, mut count) = (0, 0);
            completed.clear();
            while let Some((heard, rest)) = Heard::read(&pending.bytes[length..]).filter(|_| length < BATCH) {
                length = pending.bytes.len() - rest.len();
                count += 1;
                if let Some(info_hash) = heard.completed() {
                    *completed.entry(info_hash).or_default() += 1;
                }
            }
            if count == 0 {
                pending.bytes.clear(); // What can't be read can't be sent.
                break;
            }
            self.append(connection, &pending.bytes[..length], &completed)?;
            pending.bytes.drain(..length);
            pending.count -= count;
        }
        Ok(())
    }

    /// One entry, with the counts that it changes: both or neither.
    fn append(
        &self,
        connection: &mut Connection,
        batch: &[u8],
        completed: &HashMap<InfoHash, i64>,
    ) -> RedisResult<()> {
        let clock = self.tracker.clock;
        let oldest = clock.epoch(clock.now()).saturating_sub(self.expiry).as_millis().to_string();
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("XADD").arg(STREAM).arg("MINID").arg("~").arg(&oldest).arg("*");
        pipe.arg("n").arg(self.node).arg("a").arg(batch).ignore();
        for (info_hash, count) in completed {
            pipe.hincr(COMPLETED, info_hash.as_bytes(), *count).ignore();
        }
        pipe.query(connection)
    }

    fn tell_all(&self, connection: &mut Connection) -> RedisResult<()> {
        let shards = &self.tracker.shards;
        let mut bytes = Vec::new();
        for number in 0..shards.count() {
            let mut counts = Vec::new();
            shards
                .shard(number)
                .counts(|info_hash, count| counts.push((info_hash.as_bytes().to_vec(), count)));
            if !counts.is_empty() {
                let _: () = connection.hset_multiple(COMPLETED, &counts)?;
            }
            let now = self.tracker.clock.now();
            shards
                .shard(number)
                .tell_all(now, self.tracker.clock.epoch(now), |heard| heard.write(&mut bytes));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let mut length = 0;
                while let Some((_, behind)) = Heard::read(&rest[length..]).filter(|_| length < BATCH) {
                    length = rest.len() - behind.len();
                }
                self.append(connection, &rest[..length], &HashMap::new())?;
                rest = &rest[length..];
                if length == 0 {
                    break;
                }
            }
            bytes.clear();
        }
        Ok(())
    }

    /// Reads what other nodes are told until it is stopped: first all that is still true.
    pub(crate) fn read(&self) {
        let clock = self.tracker.clock;
        let mut connection = None;
        let mut last = clock.epoch(clock.now()).saturating_sub(self.expiry).as_millis().to_string();
        let mut counted_until = None;
        // Until then what other nodes say may be older than what we or others were told while the server was away; so may
        // what a new node reads of a time before it.
        let mut heals_until = clock.now() + HEALING;
        let mut gone = Gone::default();
        while !self.stopped.load(Relaxed) {
            let read = connected(&mut connection, &self.client).and_then(|connection| {
                let until = match counted_until {
                    Some(until) => until,
                    None => *counted_until.insert(self.read_counts(connection)?),
                };
                let heals = clock.now() < heals_until;
                if !heals {
                    gone.clear();
                }
                self.read_some(connection, &mut last, until, heals.then_some(&mut gone))
            });
            if let Err(error) = read {
                tracing::debug!(%error, "the store is away");
                connection = None;
                thread::park_timeout(RETRY);
                heals_until = clock.now() + HEALING;
            }
        }
    }

    /// Takes in all counts; says until when (in milliseconds since 1970, by the server's clock) they count what was told.
    fn read_counts(&self, connection: &mut Connection) -> RedisResult<u64> {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("TIME").hgetall(COMPLETED);
        let (time, counts): ((u64, u64), Vec<Count>) = pipe.query(connection)?;
        let (seconds, microseconds) = time;
        let now = self.tracker.clock.now();
        for (info_hash, count) in counts {
            if let Ok(info_hash) = info_hash.try_into() {
                self.tracker.shards.restore_completed(now, InfoHash(info_hash), count);
            }
        }
        Ok(seconds * 1000 + microseconds / 1000)
    }

    fn read_some(
        &self,
        connection: &mut Connection,
        last: &mut String,
        counted_until: u64,
        mut gone: Option<&mut Gone>,
    ) -> RedisResult<()> {
        let options = StreamReadOptions::default().count(READ_COUNT).block(READ_WAIT_MS);
        let reply: Option<StreamReadReply> =
            connection.xread_options(&[STREAM], &[last.as_str()], &options)?;
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids) {
            let node: Option<u64> = entry.get("n");
            let is_ours = node == Some(self.node);
            if (!is_ours || gone.is_some())
                && let Some(batch) = entry.get::<Vec<u8>>("a")
            {
                let told: Option<u64> = entry.id.split('-').next().and_then(|time| time.parse().ok());
                let counts = told.is_some_and(|told| told > counted_until);
                self.hear(&batch, counts, is_ours, gone.as_deref_mut());
            }
            *last = entry.id;
        }
        Ok(())
    }

    /// `counts`: completions in it are not counted yet. `is_ours`: only who stopped is of interest, since another node, which
    /// did not hear of it, may have said since that the peer is there, or may yet say so, which is what `gone` is for.
    fn hear(&self, mut batch: &[u8], counts: bool, is_ours: bool, mut gone: Option<&mut Gone>) {
        let clock = self.tracker.clock;
        let now = clock.now();
        let lists = self.tracker.lists();
        while let Some((heard, rest)) = Heard::read(batch) {
            let holds = gone.as_deref_mut().is_none_or(|gone| gone.admit(&heard));
            if holds && lists.permit(heard.info_hash()) && (!is_ours || heard.is_stopped()) {
                self.tracker.shards.hear(now, clock.epoch(now), &heard, counts);
            }
            batch = rest;
        }
    }
}

fn connected<'a>(
    connection: &'a mut Option<Connection>,
    client: &Client,
) -> Result<&'a mut Connection, RedisError> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(connect(client)?)),
    }
}
