//! How long an ideal tit-for-tat takes: data a fluid, every peer given what it gives, and the seed's rate shared out equally. Where
//! the peers differ, the shortest time for all ([`crate::sim::limits::fluid`]) has the fast wait for the slow; here nobody waits.

/// A downloader. Rates in bytes a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Peer {
    /// Uplink.
    pub up: f64,
    /// Downlink.
    pub down: f64,
}

/// When each of `peers` has all of `total` bytes, in seconds. While l of them download, one takes min(down, up + S/l), where S is what
/// seeds send: `seed_up`, and if finished peers `stay`, their uplinks too. Nobody has more than the first seed has sent yet.
pub fn tit_for_tat(total: f64, seed_up: f64, peers: &[Peer], stay: bool) -> Vec<f64> {
    let all_sent = total / seed_up;
    let mut finished: Vec<Option<f64>> = vec![None; peers.len()];
    let mut had = vec![0.0; peers.len()];
    let (mut now, mut seeds) = (0.0, seed_up);
    while let left @ 1.. = finished.iter().filter(|time| time.is_none()).count() {
        let fresh = now < all_sent;
        let rate = |peer: &Peer| {
            let rate = peer.down.min(peer.up + seeds / left as f64);
            if fresh { rate.min(seed_up) } else { rate }
        };
        // Until the next of them is done, or the seed has sent it all.
        let active = (0..peers.len()).filter(|&index| finished[index].is_none());
        let next_done =
            active.clone().map(|index| (total - had[index]) / rate(&peers[index])).fold(f64::MAX, f64::min);
        let step = if fresh { next_done.min(all_sent - now) } else { next_done };
        for index in active.collect::<Vec<_>>() {
            had[index] += rate(&peers[index]) * step;
        }
        now += step;
        if fresh && all_sent - now < all_sent * 1e-9 {
            now = all_sent;
        }
        for (index, peer) in peers.iter().enumerate() {
            if finished[index].is_none() && total - had[index] < total * 1e-9 {
                finished[index] = Some(now);
                seeds += if stay { peer.up } else { 0.0 };
            }
        }
    }
    finished.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: f64 = 125_000.0;
    const FILE: f64 = (64 << 20) as f64;

    /// Ten peers each of 1, 3 and 10 Mbit/s: when a class is done, in tenths of a second.
    fn classes(seed_mbit: f64, stay: bool) -> [u64; 3] {
        let peers: Vec<_> = [1.0, 3.0, 10.0]
            .into_iter()
            .flat_map(|mbit| [Peer { up: mbit * MBIT, down: f64::INFINITY }; 10])
            .collect();
        let times = tit_for_tat(FILE, seed_mbit * MBIT, &peers, stay);
        [0, 10, 20].map(|first| (times[first] * 10.0).round() as u64)
    }

    #[test]
    fn the_fast_are_done_first_and_help_if_they_stay() {
        assert_eq!(classes(10.0, true), [1086, 958, 537]);
        assert_eq!(classes(10.0, false), [3119, 1559, 537]);
    }

    #[test]
    fn nobody_outruns_a_slow_seed() {
        let [slow, middle, fast] = classes(2.0, true);
        assert_eq!([slow, middle, fast], [2861, 2684, 2684]);
    }

    #[test]
    fn equal_peers_are_done_together() {
        let peers = [Peer { up: 4.0 * MBIT, down: 40.0 * MBIT }; 20];
        let times = tit_for_tat(FILE, 4.0 * MBIT, &peers, true);
        assert!(times.iter().all(|time| (time - FILE / (4.0 * MBIT)).abs() < 0.001), "{times:?}");
    }
}
