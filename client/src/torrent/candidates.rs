//! Whom to dial: addresses that were heard of, how often they failed, and when they may be tried again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Time;
use super::action::{PeerSource, Swarm};

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

/// In which of a hybrid's swarms an address was found, so by which name the torrent is asked for there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Membership {
    In(Swarm),
    /// Nobody said. `next`: which is tried next; `None` is the torrent's first.
    Unknown {
        next: Option<Swarm>,
    },
}

#[derive(Debug)]
struct Candidate {
    source: PeerSource,
    swarm: Membership,
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

    /// An address was heard of, in this swarm if that was said.
    pub(super) fn add(&mut self, now: Time, source: PeerSource, swarm: Option<Swarm>, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if !may_dial(source, addr) {
            return;
        }
        if let Some(known) = self.known.get_mut(&addr) {
            // Who is in both speaks v2, which can do more.
            if let Some(swarm) = swarm
                && known.swarm != Membership::In(Swarm::V2)
            {
                known.swarm = Membership::In(swarm);
            }
            return;
        }
        let crowded = !is_local(addr.ip()) && {
            let (from, to) = (SocketAddr::new(addr.ip(), 0), SocketAddr::new(addr.ip(), u16::MAX));
            self.known.range(from..=to).count() >= MAX_PER_ADDRESS
        };
        if crowded || (self.known.len() >= MAX_CANDIDATES && !self.forget_worst()) {
            return;
        }
        let swarm = swarm.map_or(Membership::Unknown { next: None }, Membership::In);
        self.known.insert(addr, Candidate { source, swarm, failures: 0, ready: now, state: State::Idle });
    }

    /// The next address to dial, if one is ready, and in which swarm; `None`: in the torrent's first. It counts as half open until it is
    /// connected or has failed.
    pub(super) fn next(&mut self, now: Time) -> Option<(SocketAddr, Option<Swarm>)> {
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
        let candidate = self.known.get_mut(&addr)?;
        candidate.state = State::Dialling;
        self.half_open += 1;
        let (Membership::In(swarm) | Membership::Unknown { next: Some(swarm) }) = candidate.swarm else {
            return Some((addr, None));
        };
        Some((addr, Some(swarm)))
    }

    /// When [`Self::next`] may have something.
    #[cfg(test)]
    fn next_ready(&self) -> Option<Time> {
        self.known.values().filter(|c| c.state == State::Idle).map(|c| c.ready).min()
    }

    /// The dial failed. If nobody said which swarm the peer is in, it may be in the `other` one: that is tried before it counts.
    pub(super) fn dial_failed(&mut self, now: Time, addr: SocketAddr, other: Option<Swarm>) {
        if let Some(candidate) = self.known.get_mut(&addr)
            && let Membership::Unknown { next } = &mut candidate.swarm
        {
            *next = if next.is_none() { other } else { None };
            if next.is_some() && candidate.state == State::Dialling {
                self.half_open -= 1;
                candidate.state = State::Idle;
                candidate.ready = now;
                return;
            }
        }
        self.failed(now, addr);
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

    /// A connection is closed for a better one, in this swarm. If that is not to be had, it is dialled as before.
    pub(super) fn redial_in(&mut self, now: Time, addr: SocketAddr, swarm: Swarm) {
        self.disconnected(now, addr, Duration::ZERO);
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.swarm = Membership::Unknown { next: Some(swarm) };
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
            candidates.add(Time::default(), source, None, addr(text));
            assert_eq!(candidates.next(Time::default()).is_some(), allowed, "{source:?} {text}");
        }
    }

    #[test]
    fn one_public_address_with_many_ports_gets_few_places() {
        let mut candidates = Candidates::new(1);
        for port in 1..=100 {
            candidates.add(
                Time::default(),
                PUBLIC,
                None,
                SocketAddr::new("198.51.100.1".parse().unwrap(), port),
            );
            candidates.add(Time::default(), LOCAL, None, SocketAddr::new("127.0.0.1".parse().unwrap(), port));
        }
        assert_eq!(candidates.known.len(), MAX_PER_ADDRESS + 100);
    }

    #[test]
    fn failures_wait_longer_each_time_and_are_forgotten_in_the_end() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PUBLIC, None, addr("198.51.100.1:1"));
        let mut now = Time::default();
        let mut waits = Vec::new();
        while let Some(ready) = candidates.next_ready() {
            waits.push((ready - now).as_secs());
            now = ready;
            let (dialled, _) = candidates.next(now).unwrap();
            candidates.failed(now, dialled);
        }
        assert_eq!(waits, [0, 5, 10, 20, 40, 80, 160, 320]);
        assert_eq!(candidates.half_open(), 0);
    }

    #[test]
    fn a_peer_that_shakes_hands_only_to_close_is_left_alone_longer_each_time() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PUBLIC, None, addr("198.51.100.1:1"));
        let mut now = Time::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            let (dialled, _) = candidates.next(now).unwrap();
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
        candidates.add(Time::default(), PeerSource::Given, None, addr("198.51.100.1:1"));
        for _ in 0..50 {
            let now = candidates.next_ready().unwrap();
            let (dialled, _) = candidates.next(now).unwrap();
            candidates.failed(now, dialled);
        }
        assert!(candidates.next_ready().is_some());
    }

    #[test]
    fn ourselves_is_never_dialled_again() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), LOCAL, None, addr("127.0.0.1:1"));
        let (us, _) = candidates.next(Time::default()).unwrap();
        candidates.never(us);
        candidates.disconnected(Time::default(), us, Duration::ZERO);
        candidates.add(Time::default(), LOCAL, None, us);
        assert_eq!((candidates.next(Time(LONGEST_WAIT)), candidates.half_open()), (None, 0));
    }

    #[test]
    fn half_open_dials_are_bounded() {
        let mut candidates = Candidates::new(1);
        for port in 1..=200 {
            candidates.add(Time::default(), LOCAL, None, SocketAddr::new("10.0.0.1".parse().unwrap(), port));
        }
        assert_eq!(std::iter::from_fn(|| candidates.next(Time::default())).count(), MAX_HALF_OPEN);
    }

    #[test]
    fn who_was_found_in_no_swarm_is_tried_in_both_before_it_counts_as_failed() {
        let mut candidates = Candidates::new(1);
        let given = addr("198.51.100.1:1");
        candidates.add(Time::default(), PeerSource::Given, None, given);
        for swarm in [None, Some(Swarm::V2)] {
            assert_eq!(candidates.next(Time::default()), Some((given, swarm)));
            candidates.dial_failed(Time::default(), given, Some(Swarm::V2));
        }
        assert_eq!((candidates.next(Time::default()), candidates.half_open()), (None, 0));
        assert_eq!(candidates.next(Time(LONGEST_WAIT)), Some((given, None)), "all over again");
        candidates.dial_failed(Time(LONGEST_WAIT), given, None);
        assert_eq!(candidates.next(Time(LONGEST_WAIT)), None, "a torrent of one version");
    }

    #[test]
    fn who_is_to_be_had_in_a_better_swarm_is_dialled_there_at_once_and_as_before_if_that_fails() {
        let mut candidates = Candidates::new(1);
        let peer = addr("198.51.100.1:1");
        candidates.add(Time::default(), PUBLIC, Some(Swarm::V1), peer);
        assert_eq!(candidates.next(Time::default()), Some((peer, Some(Swarm::V1))));
        candidates.connected(peer);
        candidates.redial_in(Time::default(), peer, Swarm::V2);
        assert_eq!(candidates.next(Time::default()), Some((peer, Some(Swarm::V2))));
        candidates.dial_failed(Time::default(), peer, Some(Swarm::V2));
        assert_eq!((candidates.next(Time::default()), candidates.half_open()), (None, 0));
        assert_eq!(candidates.next(Time(LONGEST_WAIT)), Some((peer, None)));
    }

    #[test]
    fn who_is_in_both_swarms_is_dialled_by_v2() {
        let mut candidates = Candidates::new(1);
        let both = addr("198.51.100.1:1");
        for swarm in [None, Some(Swarm::V1), Some(Swarm::V2), Some(Swarm::V1)] {
            candidates.add(Time::default(), PUBLIC, swarm, both);
        }
        assert_eq!(candidates.next(Time::default()), Some((both, Some(Swarm::V2))));
        candidates.dial_failed(Time::default(), both, Some(Swarm::V1));
        assert_eq!(candidates.next(Time::default()), None);
    }
}
