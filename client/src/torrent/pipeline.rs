//! How many requests to keep outstanding at one peer: [`Pipeline`].
//!
//! Too few and the path runs dry between a block and the next request; too many and blocks sit in a slow peer's queue that a
//! fast one could send. So the depth follows rate × (round trip + a little queue), and finds the rate by slow start: one more request for each
//! block that comes, which doubles the depth every round trip, until that makes nothing faster or the answers begin to wait in a queue. The idea is TCP's; libtorrent does
//! the same (`peer_connection.cpp`).

use std::time::Duration;

use torrent_format::BLOCK_LENGTH;

use super::Time;
use super::rate::Meter;

/// Requests before anything is known of a peer.
const INITIAL_DEPTH: u32 = 4;

/// Never fewer: one on its way while one is being sent.
const MIN_DEPTH: u32 = 2;

/// How many times as many may be outstanding, and as [`INITIAL_DEPTH`] on top, for the sake of rare pieces.
const STRETCH: u32 = 2;

/// Never more: 500 blocks are 8 MiB, which at 100 ms round trip is 80 MB/s from one peer; and it is what we keep for others.
pub(super) const MAX_DEPTH: u32 = 500;

/// What a peer keeps if it does not say (BEP 10 `reqq`): the default that clients assume of each other.
const DEFAULT_REQUEST_QUEUE: u32 = 250;

/// Work that should wait in the peer's queue, beyond the round trip, so that it never runs dry between our bursts. Not more: what waits
/// there can't be asked of a faster peer, and in a young swarm that is most of what there is.
const QUEUE_TIME: Duration = Duration::from_millis(300);

/// How often the depth is fitted to the rate.
const ADJUST_INTERVAL: Duration = Duration::from_secs(1);

/// A peer that has answered before may be silent for so long at least, and twice as long as its fastest answer took.
const LEAST_PATIENCE: Duration = Duration::from_millis(300);

/// A peer that has yet to answer may take so long.
const UNKNOWN_PATIENCE: Duration = Duration::from_millis(600);

#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    depth: u32,
    slow_start: bool,
    last_rate: u64,
    next_adjust: Time,
    /// The shortest time from a request to its block: the round trip, and what the peer's disk needs.
    fastest_answer: Option<Duration>,
    peer_limit: u32,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self {
            depth: INITIAL_DEPTH,
            slow_start: true,
            last_rate: 0,
            next_adjust: Time::default(),
            fastest_answer: None,
            peer_limit: DEFAULT_REQUEST_QUEUE,
        }
    }
}

impl Pipeline {
    /// Requests that may be outstanding.
    pub(super) fn depth(&self) -> u32 {
        self.depth.min(self.peer_limit).min(MAX_DEPTH)
    }

    /// Requests that may be outstanding if some of them are for what is far rarer than the rest.
    pub(super) fn stretched(&self) -> u32 {
        (STRETCH * (self.depth + INITIAL_DEPTH)).min(self.peer_limit).min(MAX_DEPTH)
    }

    /// The peer says how many requests it keeps (`reqq`).
    pub(super) fn set_peer_limit(&mut self, limit: u32) {
        self.peer_limit = limit.max(1);
    }

    /// How long a peer that sends nothing may let a request lie before another may take it over: its turn to be served has not come.
    pub(super) fn patience(&self) -> Duration {
        self.fastest_answer.map_or(UNKNOWN_PATIENCE, |fastest| (fastest * 2).max(LEAST_PATIENCE))
    }

    /// A block came, `waited` after its request; `meter` counts it already.
    pub(super) fn block_received(&mut self, now: Time, waited: Duration, meter: &Meter) {
        self.fastest_answer = Some(self.fastest_answer.map_or(waited, |fastest| fastest.min(waited)));
        let fastest = self.fastest_answer.unwrap_or_default();
        self.slow_start &= waited <= fastest + QUEUE_TIME;
        if self.slow_start {
            self.depth = (self.depth + 1).min(MAX_DEPTH);
        }
        if now < self.next_adjust {
            return;
        }
        self.next_adjust = now + ADJUST_INTERVAL;
        let rate = meter.rate(now, 3);
        if self.slow_start && rate > self.last_rate + self.last_rate / 10 {
            self.last_rate = rate;
            return;
        }
        self.slow_start = false;
        let ahead = QUEUE_TIME + fastest;
        let blocks = rate as f64 * ahead.as_secs_f64() / f64::from(BLOCK_LENGTH);
        self.depth = (blocks.ceil() as u32 + 1).clamp(MIN_DEPTH, MAX_DEPTH);
    }

    /// The peer let requests lie: one at a time until it answers.
    pub(super) fn snubbed(&mut self) {
        *self = Self { depth: 1, slow_start: true, peer_limit: self.peer_limit, ..Self::default() };
    }

    /// The peer choked us: what was learnt of its rate is for another time.
    pub(super) fn choked(&mut self) {
        *self = Self { fastest_answer: self.fastest_answer, peer_limit: self.peer_limit, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that sends `rate` bytes a second over a path with this round trip, for `seconds`; the depth at the end.
    fn settle(rate: u64, round_trip: Duration, seconds: u64) -> u32 {
        let mut pipeline = Pipeline::default();
        pipeline.set_peer_limit(2_000);
        let mut meter = Meter::default();
        let mut now = Time::default();
        let end = Time(Duration::from_secs(seconds));
        let block = Duration::from_secs_f64(f64::from(BLOCK_LENGTH) / rate as f64);
        while now < end {
            // With `depth` outstanding a block comes every round_trip / depth, but never faster than the rate allows.
            let gap = (round_trip / pipeline.depth()).max(block);
            now = now + gap;
            meter.add(now, u64::from(BLOCK_LENGTH));
            let queued = block * pipeline.depth();
            pipeline.block_received(now, round_trip.max(queued), &meter);
        }
        pipeline.depth()
    }

    #[test]
    fn the_depth_covers_rate_times_delay() {
        // 10 MB/s at 100 ms: 61 blocks in flight are needed; with the queue, several hundred are allowed.
        let fast = settle(10_000_000, Duration::from_millis(100), 20);
        assert!((61..=500).contains(&fast), "{fast}");
        // 64 KiB/s: 4 blocks a second; a deep queue would only hold blocks back from faster peers.
        let slow = settle(65_536, Duration::from_millis(50), 30);
        assert!((2..=10).contains(&slow), "{slow}");
    }

    #[test]
    fn a_peer_is_never_asked_for_more_than_it_keeps() {
        let mut pipeline = Pipeline::default();
        pipeline.set_peer_limit(3);
        assert_eq!(pipeline.depth(), 3);
        pipeline.set_peer_limit(0);
        assert_eq!(pipeline.depth(), 1);
    }

    #[test]
    fn a_snubbing_peer_is_asked_for_one_block() {
        let mut pipeline = Pipeline::default();
        pipeline.snubbed();
        assert_eq!(pipeline.depth(), 1);
    }
}
