//! What no swarm can beat. Rates in bytes a second, sizes in bytes.

use std::time::Duration;

/// A downloader, as far as the limits see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Uplink.
    pub up: u64,
    /// Downlink; `None`: as fast as anything.
    pub down: Option<u64>,
}

/// T_F, the shortest time in which `total` bytes get from a seed to all of `peers` if the data were a fluid (Kumar and Ross 2006): the
/// seed must emit every byte once, the slowest downlink must take every byte, and all uplinks together must carry all copies.
pub fn fluid(total: u64, seed_up: u64, peers: &[Peer]) -> Duration {
    let total = total as f64;
    let seed_once = total / seed_up as f64;
    let slowest_down =
        peers.iter().filter_map(|peer| peer.down).min().map_or(0.0, |down| total / down as f64);
    let uplinks = seed_up as f64 + peers.iter().map(|peer| peer.up as f64).sum::<f64>();
    let all_copies = peers.len() as f64 * total / uplinks;
    Duration::from_secs_f64(seed_once.max(slowest_down).max(all_copies))
}

/// T_G, the limit with pieces: a peer passes on only what it has whole. With equal uplinks it is (K + ⌊log2 N⌋) pieces' time (Mundinger,
/// Weber and Weiss); otherwise the estimate max(T_F, F/u_s + ⌊log2 N⌋ pieces' time at the mean uplink).
pub fn granular(total: u64, piece_length: u32, seed_up: u64, peers: &[Peer]) -> Duration {
    let fluid = fluid(total, seed_up, peers);
    let Some(doublings) = peers.len().checked_ilog2() else { return fluid };
    let mean_up = peers.iter().map(|peer| peer.up as f64).sum::<f64>() / peers.len() as f64;
    let startup = f64::from(doublings) * f64::from(piece_length) / mean_up;
    fluid.max(Duration::from_secs_f64(total as f64 / seed_up as f64 + startup))
}

/// When each of `peers` has everything if all were ideal tit-for-tat and the data a fluid: what a peer gives comes back to it, and what the
/// seed gives, and with `stay` those who have finished, is shared alike. Nobody outruns fresh data: while the seed has not emitted every byte,
/// nobody is faster than the seed.
pub fn tit_for_tat(total: u64, seed_up: u64, peers: &[Peer], stay: bool) -> Vec<Duration> {
    let (total, seed_up) = (total as f64, seed_up as f64);
    let emitted_at = total / seed_up;
    let mut lacks = vec![total; peers.len()];
    let mut finished = vec![Duration::ZERO; peers.len()];
    let (mut now, mut shared) = (0.0, seed_up);
    loop {
        let left: Vec<usize> = (0..peers.len()).filter(|&id| lacks[id] > 0.0).collect();
        if left.is_empty() {
            return finished;
        }
        let fresh = now < emitted_at;
        let rate = |id: usize| {
            let own = peers[id].up as f64 + shared / left.len() as f64;
            let down = peers[id].down.map_or(own, |down| own.min(down as f64));
            if fresh { down.min(seed_up) } else { down }
        };
        let first = left.iter().map(|&id| lacks[id] / rate(id)).fold(f64::INFINITY, f64::min);
        let step = if fresh { first.min(emitted_at - now) } else { first };
        let rates: Vec<f64> = left.iter().map(|&id| rate(id)).collect();
        now += step;
        for (&id, rate) in left.iter().zip(rates) {
            lacks[id] -= rate * step;
            // Who is within a byte of the end is there.
            if lacks[id] < 1.0 {
                lacks[id] = 0.0;
                finished[id] = Duration::from_secs_f64(now);
                shared += if stay { peers[id].up as f64 } else { 0.0 };
            }
        }
        if fresh && emitted_at - now < 1e-9 {
            now = emitted_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 125_000;
    const FILE: u64 = 64 << 20;

    fn equal(count: usize, mbit: u64) -> Vec<Peer> {
        vec![Peer { up: mbit * MBIT, down: None }; count]
    }

    /// Tenths of a second.
    fn tenths(time: Duration) -> u64 {
        (time.as_secs_f64() * 10.0).round() as u64
    }

    #[test]
    fn equal_peers_with_an_equal_seed_take_one_copy_whatever_their_number() {
        for count in [1, 20, 1000] {
            assert_eq!(tenths(fluid(FILE, 4 * MBIT, &equal(count, 4))), 1342, "{count}");
        }
    }

    #[test]
    fn a_slow_seed_a_slow_downlink_or_all_uplinks_bind() {
        assert_eq!(tenths(fluid(16 << 20, MBIT, &equal(30, 4))), 1342);
        let mut peers = equal(3, 4);
        peers[1].down = Some(MBIT);
        assert_eq!(tenths(fluid(FILE, 40 * MBIT, &peers)), 5369);
        let groups: Vec<_> = [1, 3, 10].into_iter().flat_map(|mbit| equal(10, mbit)).collect();
        assert_eq!(tenths(fluid(FILE, 10 * MBIT, &groups)), 1074);
    }

    /// The worked example: ten peers each at 1, 3 and 10 Mbit/s.
    #[test]
    fn under_tit_for_tat_classes_finish_in_the_order_of_what_they_give() {
        let peers: Vec<_> = [1, 3, 10].into_iter().flat_map(|mbit| equal(10, mbit)).collect();
        let classes = |seed, stay| {
            let times = tit_for_tat(FILE, seed * MBIT, &peers, stay);
            [25, 15, 5].map(|id: usize| tenths(times[id]))
        };
        assert_eq!(classes(10, true), [537, 958, 1086]);
        assert_eq!(classes(10, false), [537, 1559, 3119]);
        assert_eq!(classes(2, true), [2684, 2684, 2861]);
    }

    #[test]
    fn pieces_cost_one_slot_for_every_doubling() {
        let limit = |count, piece_length| tenths(granular(FILE, piece_length, 4 * MBIT, &equal(count, 4)));
        assert_eq!(limit(20, 256 << 10), 1363);
        assert_eq!(limit(1, 256 << 10), 1342);
        // N = 50: +3.9 % with 128 pieces, +15.6 % with 32.
        assert_eq!(limit(50, 512 << 10), 1395);
        assert_eq!(limit(50, 2 << 20), 1552);
    }
}
