//! The UDP side (BEP 15): threads that each read many packets at once from a socket of their own, and answer them at once.

mod answer;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use torrent_format::announce::canonical;

use crate::connection_id::ConnectionIds;
use crate::core::Tracker;
use crate::metrics::{Drop, ListenerMetrics};

pub(crate) use answer::Outcome;
use answer::answer;
pub(crate) use socket::Bound;
use socket::{BatchSocket, Replies};

/// What a worker answers packets with.
pub(crate) struct Worker {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) ids: ConnectionIds,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) bound: Bound,
    pub(crate) stopped: Arc<AtomicBool>,
}

impl Worker {
    /// Answers until it is stopped.
    pub(crate) fn run(self) {
        let Self { tracker, ids, metrics, bound, stopped } = self;
        let mut socket = BatchSocket::new(bound);
        let mut replies = Replies::default();
        while !stopped.load(Relaxed) {
            let mut tally = Tally::default();
            let mut now = None;
            let result = socket.receive(&mut replies, |packet, from, out| {
                let now = *now.get_or_insert_with(|| tracker.clock.now());
                let outcome = answer(&tracker, &ids, now, packet, canonical(from), out);
                tally.count(outcome);
            });
            match result {
                Ok(0) => {}
                Ok(received) => {
                    tally.failed = unsent(socket.send(&mut replies), &tally);
                    tally.received = received as u64;
                    tally.add_to(&metrics);
                }
                Err(error) => note(socket.local_addr(), &error),
            }
        }
    }
}

/// How many answers could not be sent.
fn unsent(sent: usize, tally: &Tally) -> u64 {
    (tally.connect + tally.announce + tally.scrape + tally.refused).saturating_sub(sent as u64)
}

/// Nothing that the network says of earlier packets (ICMP, most of all) ends a worker.
fn note(listener: SocketAddr, error: &io::Error) {
    let is_idle = matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    );
    if !is_idle {
        tracing::debug!(%listener, %error, "receiving failed");
    }
}

/// What became of the packets of one batch: counted here first, as the metrics are shared by all workers.
#[derive(Default)]
struct Tally {
    received: u64,
    connect: u64,
    announce: u64,
    scrape: u64,
    refused: u64,
    malformed: u64,
    connection_id: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Connect => &mut self.connect,
            Outcome::Announce => &mut self.announce,
            Outcome::Scrape => &mut self.scrape,
            Outcome::Refused => &mut self.refused,
            Outcome::Malformed => &mut self.malformed,
            Outcome::ConnectionId => &mut self.connection_id,
        } += 1;
    }

    fn add_to(&self, metrics: &ListenerMetrics) {
        let figures = [
            (&metrics.received, self.received),
            (&metrics.connect, self.connect),
            (&metrics.announce, self.announce),
            (&metrics.scrape, self.scrape),
            (&metrics.refused, self.refused),
            (metrics.dropped(Drop::Malformed), self.malformed),
            (metrics.dropped(Drop::ConnectionId), self.connection_id),
            (metrics.dropped(Drop::Send), self.failed),
        ];
        for (counter, figure) in figures {
            if figure > 0 {
                counter.inc_by(figure);
            }
        }
    }
}
