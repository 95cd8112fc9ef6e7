//! How the tracker has been doing in the last hour, for its status page: [`Pulses`].

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::core::Tracker;

/// Time between two of them.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// How many are kept: an hour's.
pub(crate) const KEPT: usize = 360;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pulse {
    /// A second, of both protocols, since the last one.
    pub(crate) announces: f64,
    pub(crate) torrents: usize,
    pub(crate) peers: usize,
    /// Bytes of torrents and peers.
    pub(crate) memory: usize,
}

/// Counts the announces of all listeners.
pub(crate) struct Meter(pub(crate) Vec<Counter>);

/// The last hour.
#[derive(Debug, Default)]
pub(crate) struct Pulses(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pulses: VecDeque<Pulse>,
    /// When the last one was, and how many announces there had been.
    last: Option<(Duration, u64)>,
}

impl Pulses {
    /// Measures, if it is time to.
    pub(super) fn beat(&self, now: Duration, meter: &Meter, tracker: &Tracker) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let announces = meter.0.iter().map(Counter::get).sum();
        let Some((then, before)) = state.last else {
            state.last = Some((now, announces));
            return;
        };
        let passed = now.saturating_sub(then);
        if passed < EVERY {
            return;
        }
        state.last = Some((now, announces));
        let figures = tracker.shards.figures();
        if state.pulses.len() == KEPT {
            state.pulses.pop_front();
        }
        state.pulses.push_back(Pulse {
            announces: (announces - before) as f64 / passed.as_secs_f64(),
            torrents: figures.torrents,
            peers: figures.peers,
            memory: figures.bytes,
        });
    }

    /// The oldest first.
    pub(crate) fn all(&self) -> Vec<Pulse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pulses.iter().copied().collect()
    }
}
