//! What a run of the generator saw.

use std::time::Duration;

/// Counts, and times where they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Announces that were answered rightly.
    pub(crate) answered: u64,
    /// Announces that nobody answered in time.
    pub(crate) lost: u64,
    /// Answers that were wrong or refusals.
    pub(crate) bad: u64,
    /// Peers in all answers.
    pub(crate) peers: u64,
    /// Answers without any peer.
    pub(crate) empty: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// From when an announce should have been sent to its answer, in nanoseconds.
    pub(crate) latencies: Vec<u64>,
}

impl Tally {
    /// Announces answered in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    /// Peers in an answer.
    pub(crate) fn peers_each(&self) -> f64 {
        self.peers as f64 / self.answered.max(1) as f64
    }

    /// An answer with so many peers came.
    pub(crate) fn answer(&mut self, peers: u32) {
        self.answered += 1;
        self.peers += u64::from(peers);
        self.empty += u64::from(peers == 0);
    }

    /// The latency that this share of the announces stayed below, in microseconds; lost ones are worse than any.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let all = sorted.len() as u64 + self.lost;
        let at = ((all as f64 * share).ceil() as usize).saturating_sub(1);
        sorted.get(at).map(|&nanoseconds| nanoseconds as f64 / 1000.0)
    }
}
