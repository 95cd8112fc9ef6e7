//! Whom to dial: addresses that were heard of, how often they failed, and when they may be tried again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Time;
use super::action::PeerSource;

/// Addresses that are remembered; beyond it, new ones are dropped while every old one is of use.
const MAX_CANDIDATES: usize = 2_000;

/// Addresses that one public IP may have in the list: a tracker that names one victim with many ports gets little out of us.
const MAX_PER_ADDRESS: usize = 4;

/// Dials under way at once. Home routers lose connections beyond some dozens.
pub(super) const MAX_HALF_OPEN: usize = 30;

/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

/// Failures in a row after which an address that the user did not name is forgotten.
const MAX_FAILURES: u32 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Dialling,
    Connected,
    /// Ourselves, or banned.
    Never,
}

#[derive(Debug)]
struct Candidate {
    source: PeerSource,
    failures: u32,
    ready: Time,
    state: State,
}

#[derive(Debug)]
pub(super) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    half_open: usize,
    rng: fastrand::Rng,
}

/// Whether an address is on this machine or its own network.
pub(super) fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The one place that says whether an address from this source may be dialled. A public tracker must not send us into our own
/// network; one that lives there may.
pub(super) fn may_dial(source: PeerSource, addr: SocketAddr) -> bool {
    let ip = addr.ip();
    let broadcast = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0 || ip.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    if addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
        return false;
    }
    match source {
        PeerSource::Given | PeerSource::Tracker { local: true } => true,
        PeerSource::Tracker { local: false } => !is_local(ip),
    }
}

impl Candidates {
    pub(super) fn new(seed: u64) -> Self {
        Self { known: BTreeMap::new(), half_open: 0, rng: fastrand::Rng::with_seed(seed) }
    }

    /// An address was heard of.
    pub(super) fn add(&mut self, now: Time, source: PeerSource, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if !may_dial(source, addr) || self.known.contains_key(&addr) {
            return;
        }
        let crowded = !is_local(addr.ip()) && {
            let (from, to) = (SocketAddr::new(addr.ip(), 0), SocketAddr::new(addr.ip(), u16::MAX));
            self.known.range(from..=to).count() >= MAX_PER_ADDRESS
        };
        if crowded || (self.known.len() >= MAX_CANDIDATES && !self.forget_worst()) {
            return;
        }
        self.known.insert(addr, Candidate { source, failures: 0, ready: now, state: State::Idle });
    }

    /// The next address to dial, if one is ready; it counts as half open until it is connected or has failed.
    pub(super) fn next(&mut self, now: Time) -> Option<SocketAddr> {
        if self.half_open >= MAX_HALF_OPEN {
            return None;
        }
        let ready = |candidate: &Candidate| candidate.state == State::Idle && candidate.ready <= now;
        let fewest = self.known.values().filter(|c| ready(c)).map(|c| c.failures).min()?;
        let best: Vec<_> = self
            .known
            .iter()
            .filter(|(_, c)| ready(c) && c.failures == fewest)
            .map(|(addr, _)| *addr)
            .collect();
        let addr = best[self.rng.usize(..best.len())];
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.state = State::Dialling;
        }
        self.half_open += 1;
        Some(addr)
    }

    /// When [`Self::next`] may have something.
    #[cfg(test)]
    fn next_ready(&self) -> Option<Time> {
        self.known.values().filter(|c| c.state == State::Idle).map(|c| c.ready).min()
    }

    /// The dial, or the connection that came of it, failed.
    pub(super) fn failed(&mut self, now: Time, addr: SocketAddr) {
        let jitter = Duration::from_millis(self.rng.u64(0..1_000));
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        if candidate.state == State::Dialling {
            self.half_open -= 1;
        }
        if candidate.state == State::Never {
            return;
        }
        candidate.state = State::Idle;
        let wait = FIRST_WAIT * (1 << candidate.failures.min(10));
        candidate.failures += 1;
        candidate.ready = now + wait.min(LONGEST_WAIT) + jitter;
        if candidate.failures >= MAX_FAILURES && candidate.source != PeerSource::Given {
            self.known.remove(&addr);
        }
    }

    /// This address is connected, whoever dialled.
    pub(super) fn connected(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            if candidate.state == State::Dialling {
                self.half_open -= 1;
            }
            if candidate.state != State::Never {
                candidate.state = State::Connected;
            }
        }
    }

    /// A connection that was of use is gone; `wait` before it is dialled again.
    pub(super) fn disconnected(&mut self, now: Time, addr: SocketAddr, wait: Duration) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            if candidate.state == State::Dialling {
                self.half_open -= 1;
            }
            if candidate.state != State::Never {
                candidate.state = State::Idle;
                candidate.failures = 0;
                candidate.ready = now + wait;
            }
        }
    }

    /// Never again: it is us, or it is banned.
    pub(super) fn never(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            if candidate.state == State::Dialling {
                self.half_open -= 1;
            }
            candidate.state = State::Never;
        }
    }

    pub(super) fn half_open(&self) -> usize {
        self.half_open
    }

    /// Makes room by forgetting the idle address that failed most; `false` if none ever failed.
    fn forget_worst(&mut self) -> bool {
        let worst = self
            .known
            .iter()
            .filter(|(_, c)| c.state == State::Idle && c.failures > 0 && c.source != PeerSource::Given)
            .max_by_key(|(_, c)| c.failures)
            .map(|(addr, _)| *addr);
        worst.is_some_and(|addr| self.known.remove(&addr).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: PeerSource = PeerSource::Tracker { local: false };
    const LOCAL: PeerSource = PeerSource::Tracker { local: true };

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_may_be_dialled() {
        for (source, text, allowed) in [
            (PUBLIC, "198.51.100.1:6881", true),
            (PUBLIC, "[2001:db8::1]:6881", true),
            (PUBLIC, "127.0.0.1:6881", false),
            (PUBLIC, "10.1.2.3:6881", false),
            (PUBLIC, "192.168.1.1:80", false),
            (PUBLIC, "169.254.169.254:80", false),
            (PUBLIC, "[::1]:6881", false),
            (PUBLIC, "[::ffff:127.0.0.1]:6881", false),
            (PUBLIC, "[fe80::1]:6881", false),
            (PUBLIC, "[fd00::1]:6881", false),
            (LOCAL, "127.0.0.1:6881", true),
            (LOCAL, "10.1.2.3:6881", true),
            (PeerSource::Given, "127.0.0.1:6881", true),
            (PeerSource::Given, "198.51.100.1:0", false),
            (LOCAL, "0.0.0.0:6881", false),
            (LOCAL, "0.1.2.3:6881", false),
            (LOCAL, "255.255.255.255:6881", false),
            (LOCAL, "224.0.0.1:6881", false),
            (LOCAL, "[ff02::1]:6881", false),
            (LOCAL, "[::]:6881", false),
        ] {
            let mut candidates = Candidates::new(1);
            candidates.add(Time::default(), source, addr(text));
            assert_eq!(candidates.next(Time::default()).is_some(), allowed, "{source:?} {text}");
        }
    }

    #[test]
    fn one_public_address_with_many_ports_gets_few_places() {
        let mut candidates = Candidates::new(1);
        for port in 1..=100 {
            candidates.add(Time::default(), PUBLIC, SocketAddr::new("198.51.100.1".parse().unwrap(), port));
            candidates.add(Time::default(), LOCAL, SocketAddr::new("127.0.0.1".parse().unwrap(), port));
        }
        assert_eq!(candidates.known.len(), MAX_PER_ADDRESS + 100);
    }

    #[test]
    fn failures_wait_longer_each_time_and_are_forgotten_in_the_end() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PUBLIC, addr("198.51.100.1:1"));
        let mut now = Time::default();
        let mut waits = Vec::new();
        while let Some(ready) = candidates.next_ready() {
            waits.push((ready - now).as_secs());
            now = ready;
            let dialled = candidates.next(now).unwrap();
            candidates.failed(now, dialled);
        }
        assert_eq!(waits, [0, 5, 10, 20, 40, 80, 160, 320]);
        assert_eq!(candidates.half_open(), 0);
    }

    #[test]
    fn a_peer_that_shakes_hands_only_to_close_is_left_alone_longer_each_time() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PUBLIC, addr("198.51.100.1:1"));
        let mut now = Time::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            let dialled = candidates.next(now).unwrap();
            candidates.connected(dialled);
            candidates.failed(now, dialled);
            let ready = candidates.next_ready().unwrap();
            waits.push((ready - now).as_secs());
            now = ready;
        }
        assert_eq!(waits, [5, 10, 20, 40]);
    }

    #[test]
    fn the_user_s_own_are_never_forgotten() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PeerSource::Given, addr("198.51.100.1:1"));
        for _ in 0..50 {
            let now = candidates.next_ready().unwrap();
            let dialled = candidates.next(now).unwrap();
            candidates.failed(now, dialled);
        }
        assert!(candidates.next_ready().is_some());
    }

    #[test]
    fn ourselves_is_never_dialled_again() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), LOCAL, addr("127.0.0.1:1"));
        let us = candidates.next(Time::default()).unwrap();
        candidates.never(us);
        candidates.disconnected(Time::default(), us, Duration::ZERO);
        candidates.add(Time::default(), LOCAL, us);
        assert_eq!((candidates.next(Time(LONGEST_WAIT)), candidates.half_open()), (None, 0));
    }

    #[test]
    fn half_open_dials_are_bounded() {
        let mut candidates = Candidates::new(1);
        for port in 1..=200 {
            candidates.add(Time::default(), LOCAL, SocketAddr::new("10.0.0.1".parse().unwrap(), port));
        }
        assert_eq!(std::iter::from_fn(|| candidates.next(Time::default())).count(), MAX_HALF_OPEN);
    }
}
