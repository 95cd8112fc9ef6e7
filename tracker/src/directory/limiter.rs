//! How much one address may ask for: [`Limiter`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::swarm::external_ip;

/// Most addresses that are remembered: 2 MB or so. With more of them asking within seconds, whoever comes next is a stranger again.
const MAX_ADDRESSES: usize = 65_536;

/// So much a second, and so much at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// A second, for good.
    per_second: f64,
    /// At once, after a pause.
    burst: f64,
}

/// Pages, searches, downloads: as fast as somebody clicks, and an indexer that asks for a few pages at once.
pub(super) const READING: Rate = Rate { per_second: 10.0, burst: 100.0 };

/// Publishing and removing, and tokens that are wrong.
pub(super) const WRITING: Rate = Rate { per_second: 1.0, burst: 20.0 };

/// Counts for each address what it asks. Addresses of this machine and of private networks may ask without end: whoever is there is
/// no stranger, and often many behind one proxy.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: Rate,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Counts one. If it is one too many: how long to wait.
    pub(super) fn take(&self, now: Duration, ip: IpAddr) -> Result<(), Duration> {
        if external_ip(ip).is_none() {
            return Ok(());
        }
        let rate = self.rate;
        let filled = |bucket: Bucket| {
            (bucket.left + now.saturating_sub(bucket.at).as_secs_f64() * rate.per_second).min(rate.burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES {
            buckets.retain(|_, bucket| filled(*bucket) < rate.burst);
            if buckets.len() >= MAX_ADDRESSES {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(host(ip)).or_insert(Bucket { left: rate.burst, at: now });
        let left = filled(*bucket);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / rate.per_second));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn host(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate_for_each_host() {
        let limiter = Limiter::new(Rate { per_second: 2.0, burst: 3.0 });
        let take = |ms: u64, ip: &str| limiter.take(Duration::from_millis(ms), ip.parse().unwrap()).is_ok();
        let burst: Vec<bool> = (0..4).map(|_| take(0, "2001:db8::1")).collect();
        assert_eq!(burst, [true, true, true, false]);
        assert!(!take(0, "2001:db8::ffff:1") && take(0, "2001:db8:0:1::1") && take(0, "198.51.100.7"));
        assert_eq!((take(500, "2001:db8::1"), take(500, "2001:db8::1")), (true, false));
        assert_eq!(
            limiter.take(Duration::from_millis(500), "2001:db8::1".parse().unwrap()),
            Err(Duration::from_millis(500))
        );
        assert!((0..100).all(|_| take(0, "127.0.0.1") && take(0, "192.168.1.7") && take(0, "::1")));
    }

    #[test]
    fn the_table_does_not_grow_without_end() {
        let limiter = Limiter::new(READING);
        for address in 0..2 * MAX_ADDRESSES as u32 {
            assert!(
                limiter
                    .take(
                        Duration::ZERO,
                        IpAddr::from((0x0a00_0000_u32 + (200 << 24) + address).to_be_bytes())
                    )
                    .is_ok()
            );
        }
        assert!(limiter.buckets.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
