//! Who may be answered: floods, write tokens, and how large an answer to a stranger may be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use super::packet::octets;
use crate::torrent::{Time, is_local};

/// Over this long, packets of an address are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Packets that an address may send within that; libtorrent stops at half of it.
const MAX_PACKETS: u32 = 100;

/// How long somebody who sent more is not listened to.
const BLOCK: Duration = Duration::from_secs(5 * 60);

/// Addresses that are counted one by one within a window. A flood from more of them shares one count.
const MAX_COUNTED: usize = 4096;

/// What those of the rest may send together.
const MAX_OTHERS: u32 = 1000;

/// Addresses that are remembered as blocked.
const MAX_BLOCKED: usize = 1024;

/// How long a secret makes tokens; those of the one before are taken too, so a token lives for five to ten minutes (BEP 5).
const TOKEN_PERIOD: Duration = Duration::from_secs(5 * 60);

/// Bytes of a token.
const TOKEN_LENGTH: usize = 8;

/// To somebody who may not be who the packet says, no more than so many times as many bytes go back as came.
pub(super) const AMPLIFICATION: usize = 3;

/// Counts packets by the address they come from. Loopback and private addresses are not limited: a whole DHT on one machine is a
/// normal use.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    window: u128,
    counts: BTreeMap<IpAddr, u32>,
    others: u32,
    blocked: BTreeMap<IpAddr, Time>,
}

impl Limiter {
    /// Whether a packet from there may be looked at.
    pub(super) fn admits(&mut self, now: Time, ip: IpAddr) -> bool {
        if is_local(ip) {
            return true;
        }
        let window = now.0.as_millis() / WINDOW.as_millis();
        if window != self.window {
            self.window = window;
            self.counts.clear();
            self.others = 0;
            self.blocked.retain(|_, until| *until > now);
        }
        if self.blocked.get(&ip).is_some_and(|until| *until > now) {
            return false;
        }
        if self.counts.len() >= MAX_COUNTED && !self.counts.contains_key(&ip) {
            self.others += 1;
            return self.others <= MAX_OTHERS;
        }
        let count = self.counts.entry(ip).or_default();
        *count += 1;
        if *count > MAX_PACKETS && self.blocked.len() < MAX_BLOCKED {
            self.blocked.insert(ip, now + BLOCK);
        }
        *count <= MAX_PACKETS
    }
}

/// Makes and knows write tokens. Nothing is remembered of who has one: each is a keyed hash of the address and the time.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    secret: [u8; 32],
}

impl Tokens {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// What somebody at this address has to show to announce.
    pub(super) fn make(&self, now: Time, ip: IpAddr) -> [u8; TOKEN_LENGTH] {
        self.of_period(now.0.as_secs() / TOKEN_PERIOD.as_secs(), ip)
    }

    /// Whether this was given to somebody at this address, not long ago.
    pub(super) fn knows(&self, now: Time, ip: IpAddr, token: &[u8]) -> bool {
        let period = now.0.as_secs() / TOKEN_PERIOD.as_secs();
        token == self.of_period(period, ip) || period > 0 && token == self.of_period(period - 1, ip)
    }

    /// Number `counter` of our transactions: who has not seen the query can't guess it.
    pub(super) fn transaction(&self, counter: u64) -> [u8; 4] {
        self.hash(b"transaction", &counter.to_be_bytes(), &[])
    }

    fn of_period(&self, period: u64, ip: IpAddr) -> [u8; TOKEN_LENGTH] {
        self.hash(b"token", &period.to_be_bytes(), &octets(ip))
    }

    fn hash<const LENGTH: usize>(&self, purpose: &[u8], number: &[u8], ip: &[u8]) -> [u8; LENGTH] {
        let digest = Sha1::new().chain_update(self.secret).chain_update(purpose);
        let digest: [u8; 20] = digest.chain_update(number).chain_update(ip).finalize().into();
        std::array::from_fn(|i| digest[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn e22_a_flood_from_one_address_is_cut_off_for_a_while_and_nobody_else_is() {
        let mut limiter = Limiter::default();
        let admitted = (0..10_000).filter(|_| limiter.admits(Time::default(), ip("198.51.100.1"))).count();
        assert_eq!(admitted, MAX_PACKETS as usize);
        assert!(limiter.admits(Time::default(), ip("198.51.100.2")));
        assert!(!limiter.admits(Time(WINDOW * 2), ip("198.51.100.1")), "the next window does not help");
        assert!(limiter.admits(Time(BLOCK + WINDOW), ip("198.51.100.1")));
        assert!((0..10_000).all(|_| limiter.admits(Time::default(), ip("127.0.0.1"))));
    }

    #[test]
    fn e22_a_flood_from_many_addresses_takes_bounded_memory_and_time() {
        let mut limiter = Limiter::default();
        let flood = (0..100_000_u32).map(|n| IpAddr::from((0x0800_0000 + n).to_be_bytes()));
        let admitted = flood.filter(|ip| limiter.admits(Time::default(), *ip)).count();
        assert_eq!(admitted, MAX_COUNTED + MAX_OTHERS as usize);
        assert!(limiter.counts.len() <= MAX_COUNTED && limiter.blocked.len() <= MAX_BLOCKED);
    }

    #[test]
    fn e21_a_token_is_good_for_one_address_and_for_some_minutes() {
        let tokens = Tokens::new([7; 32]);
        let here = ip("198.51.100.1");
        let token = tokens.make(Time::default(), here);
        for (after, who, good) in [
            (0, "198.51.100.1", true),
            (5 * 60, "198.51.100.1", true),
            (10 * 60, "198.51.100.1", false),
            (0, "198.51.100.2", false),
            (0, "2001:db8::1", false),
        ] {
            let now = Time(Duration::from_secs(after));
            assert_eq!(tokens.knows(now, ip(who), &token), good, "{who} after {after} s");
        }
        assert!(
            !tokens.knows(Time::default(), here, b"") && !tokens.knows(Time::default(), here, &token[..7])
        );
        assert_ne!(token, Tokens::new([8; 32]).make(Time::default(), here));
    }
}
