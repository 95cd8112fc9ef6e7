//! What is read off a run.

use std::time::Duration;

use super::super::report::{NodeReport, Report, median};

/// Downloaders that play by the rules.
pub fn honest(run: &Report) -> impl Iterator<Item = &NodeReport> {
    run.nodes.iter().filter(|node| !node.seed && !node.outlaw)
}

/// Cheats.
pub fn outlaws(run: &Report) -> impl Iterator<Item = &NodeReport> {
    run.nodes.iter().filter(|node| node.outlaw)
}

/// Seconds from joining to finishing; not a number: it did not.
pub fn took(node: &NodeReport) -> f64 {
    match (node.joined, node.finished) {
        (Some(joined), Some(finished)) => finished.saturating_sub(joined).as_secs_f64(),
        _ => f64::NAN,
    }
}

/// The middle of these; not a number if there are none or one of them is none.
pub fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<_> = values.into_iter().collect();
    if values.iter().any(|value| value.is_nan()) { f64::NAN } else { median(values).unwrap_or(f64::NAN) }
}

/// The mean of these.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// The value below which `share` of these lie.
pub fn quantile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    values[((last as f64 * share).ceil() as usize).min(last)]
}

/// Standard deviation over mean.
pub fn variation(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<_> = values.into_iter().collect();
    let mean = mean(values.iter().copied());
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    variance.sqrt() / mean
}

/// Spearman's rank correlation; equal values share their ranks.
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let rank = |value: f64| {
            let below = values.iter().filter(|&&other| other < value).count() as f64;
            let equal = values.iter().filter(|&&other| other == value).count() as f64;
            below + (equal - 1.0) / 2.0
        };
        values.iter().map(|&value| rank(value)).collect()
    };
    let a = ranks(pairs.iter().map(|pair| pair.0).collect());
    let b = ranks(pairs.iter().map(|pair| pair.1).collect());
    let centre = (pairs.len() as f64 - 1.0) / 2.0;
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - centre) * (b - centre)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// The end of the leech phase: when the median honest downloader has finished, in whole seconds of the run.
pub fn leech_phase(run: &Report) -> usize {
    middle(honest(run).map(|node| node.finished.map_or(f64::NAN, |at| at.as_secs_f64()))) as usize
}

/// Payload that a node had sent and received by this second.
pub fn traffic_by(node: &NodeReport, second: usize) -> [f64; 2] {
    let at = node.series.get(second).or(node.series.last()).copied().unwrap_or([0, 0]);
    at.map(|bytes| bytes as f64)
}

/// Slots that a node gives to peers that want them, on average over the run.
pub fn slots(run: &Report) -> f64 {
    run.probe.slots as f64 / run.probe.looks as f64
}

/// The last of these to finish, seconds since the start.
pub fn last<'a>(nodes: impl Iterator<Item = &'a NodeReport>) -> f64 {
    nodes
        .map(|node| node.finished.map_or(f64::NAN, |at: Duration| at.as_secs_f64()))
        .fold(0.0, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { f64::max(a, b) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_correlate_whatever_the_values() {
        assert_eq!(spearman(&[(1.0, 10.0), (2.0, 1000.0), (3.0, 1001.0)]), 1.0);
        assert_eq!(spearman(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), -1.0);
        let shared = spearman(&[(1.0, 1.0), (1.0, 2.0), (5.0, 3.0), (5.0, 4.0)]);
        assert!((0.88..0.90).contains(&shared), "{shared}");
    }

    #[test]
    fn quantiles_and_variation() {
        assert_eq!(quantile((1..=100).map(f64::from), 0.5), 51.0);
        assert_eq!(quantile([7.0], 0.95), 7.0);
        assert_eq!(variation([2.0, 2.0]), 0.0);
        assert_eq!(variation([1.0, 3.0]), 0.5);
    }
}
