//! What a run comes to.

use crate::scenario::Kind;
use crate::swarm::{Outcome, PAYLOAD_SHARE, Run, Sample};

impl Run {
    /// When this share of those who contribute had all of it, in seconds; 1.0: the last. `None`: they never had.
    pub(crate) fn finished(&self, share: f64) -> Option<f64> {
        let mut times: Vec<_> =
            self.contributors().map(|(_, outcome)| outcome.finished.unwrap_or(f64::INFINITY)).collect();
        quantile(&mut times, share)
    }

    /// When the median of those had it who pass `filter`.
    pub(crate) fn median_of(&self, filter: impl Fn(&Outcome) -> bool) -> Option<f64> {
        let outcomes = self.leechers.iter().filter(|outcome| filter(outcome));
        let mut times: Vec<_> = outcomes.map(|outcome| outcome.finished.unwrap_or(f64::INFINITY)).collect();
        quantile(&mut times, 0.5)
    }

    /// The last of those who pass `filter`.
    pub(crate) fn last_of(&self, filter: impl Fn(&Outcome) -> bool) -> Option<f64> {
        let outcomes = self.leechers.iter().filter(|outcome| filter(outcome));
        let mut times: Vec<_> = outcomes.map(|outcome| outcome.finished.unwrap_or(f64::INFINITY)).collect();
        quantile(&mut times, 1.0)
    }

    /// Standard deviation over mean of their finish times.
    pub(crate) fn variation(&self) -> Option<f64> {
        let times: Option<Vec<f64>> = self.contributors().map(|(_, outcome)| outcome.finished).collect();
        let times = times?;
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / times.len() as f64;
        Some(variance.sqrt() / mean)
    }

    /// What the uplinks of the seeder and of those who contribute sent, as a share of what they could, from a tenth to nine tenths of the
    /// time of the last finisher.
    pub(crate) fn use_of_uplinks(&self, seed_up: u64) -> Option<f64> {
        let last = self.finished(1.0)?;
        let (from, to) = (self.at(0.1 * last)?, self.at(0.9 * last)?);
        let sent = |sample: &Sample| {
            let leechers = self.contributors().map(|(number, _)| sample.leechers[number].sent);
            sample.seeder.sent + leechers.sum::<u64>()
        };
        let could = seed_up + self.contributors().map(|(_, outcome)| outcome.up).sum::<u64>();
        Some((sent(to) - sent(from)) as f64 / (could as f64 / 8.0 * (to.at - from.at)))
    }

    /// Copies of the payload that the seeder sent, until `time` or the end.
    pub(crate) fn seed_copies(&self, size: u64, time: Option<f64>) -> Option<f64> {
        let sample = self.at(time.unwrap_or(f64::INFINITY))?;
        Some(sample.seeder.sent as f64 * PAYLOAD_SHARE / size as f64)
    }

    /// How much sooner the median of those who contribute has all of it than the riders would, at the rate at which they get it until then.
    pub(crate) fn riders_in_leech_phase(&self, size: u64) -> Option<f64> {
        let sample = self.at(self.finished(0.5)?)?;
        let riders: Vec<_> = self
            .leechers
            .iter()
            .zip(&sample.leechers)
            .filter(|(outcome, _)| outcome.kind == Kind::Rider)
            .map(|(_, traffic)| traffic.received as f64 * PAYLOAD_SHARE)
            .collect();
        Some(size as f64 * riders.len() as f64 / riders.iter().sum::<f64>())
    }

    /// The same at the end: mean time of the riders over the contributors' median.
    pub(crate) fn riders_in_the_end(&self) -> Option<f64> {
        let riders: Option<Vec<f64>> = self
            .leechers
            .iter()
            .filter(|outcome| outcome.kind == Kind::Rider)
            .map(|outcome| outcome.finished)
            .collect();
        let riders = riders?;
        Some(riders.iter().sum::<f64>() / riders.len() as f64 / self.finished(0.5)?)
    }

    /// Spearman's rank correlation of what each sent and what it received until the first had all of it.
    pub(crate) fn give_and_take(&self) -> Option<f64> {
        let sample = self.at(self.finished(0.0)?)?;
        let of = |pick: fn(&harness::netns::Traffic) -> u64| {
            self.contributors().map(|(number, _)| pick(&sample.leechers[number]) as f64).collect::<Vec<_>>()
        };
        Some(correlation(&ranks(&of(|traffic| traffic.sent)), &ranks(&of(|traffic| traffic.received))))
    }

    /// What the class with this uplink had sent for what it had received, each at its own finish.
    pub(crate) fn sent_for_received(&self, up: u64) -> Option<f64> {
        let (mut sent, mut received) = (0, 0);
        for (number, outcome) in self.contributors().filter(|(_, outcome)| outcome.up == up) {
            let traffic = self.at(outcome.finished?)?.leechers[number];
            (sent, received) = (sent + traffic.sent, received + traffic.received);
        }
        Some(sent as f64 / received as f64)
    }

    /// The share of its time that a leecher takes for its last hundredth of what it receives: the median, or the worst.
    pub(crate) fn last_hundredth(&self, quantile_of_all: f64) -> Option<f64> {
        let mut shares = Vec::new();
        for (number, outcome) in self.contributors() {
            let finished = outcome.finished?;
            let all = self.at(finished)?.leechers[number].received as f64;
            let before = self.samples.iter().rev().find(|sample| {
                sample.at <= finished && (sample.leechers[number].received as f64) < 0.99 * all
            })?;
            shares.push((finished - before.at) / finished);
        }
        quantile(&mut shares, quantile_of_all)
    }

    /// Those who contribute, with their numbers.
    fn contributors(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        self.leechers.iter().enumerate().filter(|(_, outcome)| outcome.kind != Kind::Rider)
    }

    /// The last sample that is no later, else the first.
    fn at(&self, time: f64) -> Option<&Sample> {
        self.samples.iter().rev().find(|sample| sample.at <= time).or(self.samples.first())
    }
}

/// `None`: there are none, or it is infinite.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = share * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    let value = if below == above { below } else { below + (above - below) * place.fract() };
    value.is_finite().then_some(value)
}

/// Equal values have the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64], mean_x: f64, y: &[f64], mean_y: f64| {
        x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>()
    };
    product(a, mean_a, b, mean_b) / (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt()
}
