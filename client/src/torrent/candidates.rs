//! Whom to dial: addresses that were heard of, how often they failed, and when they may be tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Time;
use super::action::{PeerSource, Swarm};

/// Addresses that are remembered; beyond it, new ones are dropped while every old one is of use.
const MAX_CANDIDATES: usize = 2_000;

/// Places in the list that hearsay may take.
const MAX_HEARSAY: usize = MAX_CANDIDATES / 2;

/// Of so many dials one at least goes to an address that is no hearsay, if there is one to be dialled.
const HEARSAY_IN_A_ROW: u32 = 2;

/// Time between two dials to one public IP, whatever the ports.
const ADDRESS_PAUSE: Duration = Duration::from_secs(1);

/// Addresses of our own that are remembered.
const MAX_OWN: usize = 16;

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

/// Peers whose hearsay led nowhere that are remembered.
const MAX_MISLEADERS: usize = 256;

/// Who misled us oftener is as bad as who did so often.
const WORST: u32 = 8;

/// The same for hearsay, of which there is more where it came from.
const MAX_HEARSAY_FAILURES: u32 = 3;

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

impl Membership {
    /// Where it is dialled next; `None`: in the torrent's first.
    fn to_try(self) -> Option<Swarm> {
        match self {
            Self::In(swarm) => Some(swarm),
            Self::Unknown { next } => next,
        }
    }
}

#[derive(Debug)]
struct Candidate {
    source: PeerSource,
    swarm: Membership,
    failures: u32,
    ready: Time,
    state: State,
    /// When it was dialled last.
    dialled: Option<Time>,
    punching: Punching,
}

/// Whether it can be told to dial us at the same time (BEP 55).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Punching {
    /// Not that we know.
    Unknown,
    Possible,
    /// A relay was asked to, for the latest dial.
    Asked,
}

impl Candidate {
    fn is_ready(&self, now: Time) -> bool {
        self.state == State::Idle && self.ready <= now
    }
}

#[derive(Debug)]
pub(super) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    half_open: usize,
    /// Dials to hearsay since the last to something better.
    hearsay_in_a_row: u32,
    /// Those whose hearsay led nowhere, and how often since it last led to a peer: who poisons is believed last.
    misleaders: BTreeMap<IpAddr, u32>,
    /// Where we are ourselves, as others see it.
    own: BTreeSet<SocketAddr>,
    rng: fastrand::Rng,
}

/// Whether an address is on this machine or its own network.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// How far away an address is: this machine, its own network, the rest.
fn distance(ip: IpAddr) -> u8 {
    match ip.to_canonical() {
        ip if ip.is_loopback() => 0,
        ip if is_local(ip) => 1,
        _ => 2,
    }
}

/// The one place that says whether an address from this source may be dialled. A public tracker must not send us into our own
/// network; one that lives there may. No peer names one that is nearer to us than itself.
pub fn may_dial(source: PeerSource, addr: SocketAddr) -> bool {
    let ip = addr.ip();
    let broadcast = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0 || ip.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    if addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
        return false;
    }
    match source {
        PeerSource::Given | PeerSource::Tracker { local: true } | PeerSource::Dht { local: true } => true,
        PeerSource::Tracker { local: false } | PeerSource::Dht { local: false } => !is_local(ip),
        // It is the sender's own, and multicast does not leave our network.
        PeerSource::Lsd => true,
        PeerSource::Pex { from } => distance(ip) >= distance(from),
    }
}

impl Candidates {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            half_open: 0,
            hearsay_in_a_row: 0,
            misleaders: BTreeMap::new(),
            own: BTreeSet::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// An address was heard of, in this swarm if that was said.
    pub(super) fn add(&mut self, now: Time, source: PeerSource, swarm: Option<Swarm>, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if !may_dial(source, addr) || self.own.contains(&addr) {
            return;
        }
        if let Some(known) = self.known.get_mut(&addr) {
            // The best that is said of it counts; of hearsay the first.
            if !source.is_hearsay() {
                known.source = known.source.min(source);
            }
            // Who is in both speaks v2, which can do more.
            if let Some(swarm) = swarm
                && known.swarm != Membership::In(Swarm::V2)
            {
                known.swarm = Membership::In(swarm);
            }
            return;
        }
        let crowded = !is_local(addr.ip()) && self.at_ip(addr.ip()).count() >= MAX_PER_ADDRESS;
        if crowded || !self.make_room(source) {
            return;
        }
        let dialled = self.at_ip(addr.ip()).filter_map(|(_, other)| other.dialled).max();
        let pause = dialled.filter(|_| !is_local(addr.ip())).map(|at| at + ADDRESS_PAUSE);
        let ready = pause.map_or(now, |until| until.max(now));
        let swarm = swarm.map_or(Membership::Unknown { next: None }, Membership::In);
        let new = Candidate {
            source,
            swarm,
            failures: 0,
            ready,
            state: State::Idle,
            dialled: None,
            punching: Punching::Unknown,
        };
        self.known.insert(addr, new);
    }

    /// The next address to dial, if one is ready, and in which swarm; `None`: in the torrent's first. It counts as half open until it is
    /// connected or has failed.
    pub(super) fn next(&mut self, now: Time) -> Option<(SocketAddr, Option<Swarm>)> {
        if self.half_open >= MAX_HALF_OPEN {
            return None;
        }
        let ready = || self.known.iter().filter(|(_, candidate)| candidate.is_ready(now));
        let better_only = self.hearsay_in_a_row >= HEARSAY_IN_A_ROW
            && ready().any(|(_, candidate)| !candidate.source.is_hearsay());
        let ready = || ready().filter(|(_, candidate)| !(better_only && candidate.source.is_hearsay()));
        let fewest = ready().map(|(_, candidate)| self.doubts(candidate)).min()?;
        let best: Vec<_> = ready().filter(|(_, c)| self.doubts(c) == fewest).map(|(addr, _)| *addr).collect();
        let addr = best[self.rng.usize(..best.len())];
        if !is_local(addr.ip()) {
            let (from, to) = ports_of(addr.ip());
            for (_, other) in self.known.range_mut(from..=to) {
                other.ready = other.ready.max(now + ADDRESS_PAUSE);
            }
        }
        let candidate = self.known.get_mut(&addr)?;
        candidate.state = State::Dialling;
        candidate.dialled = Some(now);
        if candidate.punching == Punching::Asked {
            candidate.punching = Punching::Possible;
        }
        self.half_open += 1;
        self.hearsay_in_a_row = if candidate.source.is_hearsay() { self.hearsay_in_a_row + 1 } else { 0 };
        Some((addr, candidate.swarm.to_try()))
    }

    /// Begins a dial to this address at the word of one of our peers, and says in which swarm, as [`Self::next`] does; `None`: it does not.
    pub(super) fn punch(&mut self, now: Time, source: PeerSource, addr: SocketAddr) -> Option<Option<Swarm>> {
        self.add(now, source, None, addr);
        let asked = self.known.get(&addr).is_some_and(|candidate| candidate.punching == Punching::Asked);
        let recent = |(_, other): (_, &Candidate)| other.dialled.is_some_and(|at| now - at < ADDRESS_PAUSE);
        let hurried = !asked && !is_local(addr.ip()) && self.at_ip(addr.ip()).any(recent);
        if hurried || self.half_open >= MAX_HALF_OPEN {
            return None;
        }
        let candidate = self.known.get_mut(&addr).filter(|candidate| candidate.state == State::Idle)?;
        candidate.state = State::Dialling;
        candidate.dialled = Some(now);
        // The word has come: no relay is to be asked.
        candidate.punching = Punching::Asked;
        self.half_open += 1;
        Some(candidate.swarm.to_try())
    }

    /// It understands `ut_holepunch`.
    pub(super) fn set_punchable(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr)
            && candidate.punching == Punching::Unknown
        {
            candidate.punching = Punching::Possible;
        }
    }

    /// Whether a relay may be asked to have it dial us.
    pub(super) fn is_punchable(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|candidate| candidate.punching == Punching::Possible)
    }

    /// A relay was asked.
    pub(super) fn relay_asked(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.punching = Punching::Asked;
        }
    }

    /// Those that were dialled so long ago without an answer, and can be told to dial us.
    pub(super) fn unanswered(&self, now: Time, patience: Duration) -> Vec<SocketAddr> {
        if self.half_open == 0 {
            return Vec::new();
        }
        let is_slow = |candidate: &Candidate| {
            candidate.state == State::Dialling
                && candidate.punching == Punching::Possible
                && candidate.dialled.is_some_and(|at| now - at >= patience)
        };
        self.known.iter().filter(|(_, candidate)| is_slow(candidate)).map(|(addr, _)| *addr).collect()
    }

    /// Whether somebody can be dialled now.
    pub(super) fn has_ready(&self, now: Time) -> bool {
        self.known.values().any(|candidate| candidate.is_ready(now))
    }

    /// Whether somebody can be dialled now who never was.
    pub(super) fn has_new(&self, now: Time) -> bool {
        self.known.values().any(|candidate| candidate.is_ready(now) && candidate.dialled.is_none())
    }

    /// How often it failed, and other hearsay of who told of it.
    fn doubts(&self, candidate: &Candidate) -> u32 {
        candidate.failures + self.misled(candidate.source)
    }

    fn misled(&self, source: PeerSource) -> u32 {
        match source {
            PeerSource::Pex { from } => self.misleaders.get(&from).copied().unwrap_or_default(),
            _ => 0,
        }
    }

    /// What a dial to hearsay came to.
    fn credit(&mut self, source: PeerSource, good: bool) {
        let PeerSource::Pex { from } = source else { return };
        if good {
            self.misleaders.remove(&from);
        } else if self.misleaders.len() < MAX_MISLEADERS || self.misleaders.contains_key(&from) {
            let times = self.misleaders.entry(from).or_default();
            *times = (*times + 1).min(WORST);
        }
    }

    /// How many were heard of.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How it was heard of.
    pub(super) fn source(&self, addr: SocketAddr) -> Option<PeerSource> {
        self.known.get(&addr).map(|candidate| candidate.source)
    }

    /// Whether that is us, as others see us.
    pub(super) fn is_own(&self, addr: SocketAddr) -> bool {
        self.own.contains(&addr)
    }

    /// Others see us here: it is not dialled.
    pub(super) fn set_own(&mut self, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if self.own.len() < MAX_OWN {
            self.own.insert(addr);
            self.never(addr);
        }
    }

    /// No peer is connected to it any more, of those that told us of it.
    pub(super) fn unnamed(&mut self, addr: SocketAddr) {
        let stale = |c: &Candidate| c.source.is_hearsay() && c.state == State::Idle && c.dialled.is_none();
        if self.known.get(&addr).is_some_and(stale) {
            self.known.remove(&addr);
        }
    }

    /// It is not dialled again unless it is heard of anew.
    pub(super) fn forget(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.remove(&addr)
            && candidate.state == State::Dialling
        {
            self.half_open -= 1;
        }
    }

    /// The torrent is private: only what trackers and the user say counts.
    pub(super) fn forget_hearsay(&mut self) {
        let found =
            |(addr, candidate): (&SocketAddr, &Candidate)| (!candidate.source.is_private()).then_some(*addr);
        for addr in self.known.iter().filter_map(found).collect::<Vec<_>>() {
            self.forget(addr);
        }
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
        let (state, source) = (candidate.state, candidate.source);
        if state == State::Dialling {
            self.half_open -= 1;
        }
        if state == State::Never {
            return;
        }
        candidate.state = State::Idle;
        let wait = FIRST_WAIT * (1 << candidate.failures.min(10));
        candidate.failures += 1;
        candidate.ready = now + wait.min(LONGEST_WAIT) + jitter;
        let limit = if candidate.source.is_hearsay() { MAX_HEARSAY_FAILURES } else { MAX_FAILURES };
        if candidate.failures >= limit && candidate.source != PeerSource::Given {
            self.known.remove(&addr);
        }
        if state == State::Dialling {
            self.credit(source, false);
        }
    }

    /// This address is connected, whoever dialled.
    pub(super) fn connected(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            let source = candidate.source;
            if candidate.state == State::Dialling {
                self.half_open -= 1;
            }
            if candidate.state != State::Never {
                candidate.state = State::Connected;
            }
            self.credit(source, true);
        }
    }

    /// A peer that dialled us listens here: while it is connected no dial would bring anything, unless one by the v2 name, which can do
    /// more, in place of one by the v1 name. It is no merit of who told of it.
    pub(super) fn is_here(&mut self, addr: SocketAddr, speaks_v2: bool) {
        if let Some(candidate) = self.known.get_mut(&addr)
            && candidate.state == State::Idle
            && (speaks_v2 || candidate.swarm != Membership::In(Swarm::V2))
        {
            candidate.state = State::Connected;
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

    fn at_ip(&self, ip: IpAddr) -> impl Iterator<Item = (&SocketAddr, &Candidate)> {
        let (from, to) = ports_of(ip);
        self.known.range(from..=to)
    }

    /// Whether there is room for one more of this source, if need be by forgetting an idle one that is worth less.
    fn make_room(&mut self, source: PeerSource) -> bool {
        if source.is_hearsay() {
            let hearsay = self.known.values().filter(|candidate| candidate.source.is_hearsay()).count();
            let misled = self.misled(source);
            return if hearsay < MAX_HEARSAY && self.known.len() < MAX_CANDIDATES {
                true
            } else {
                self.forget_worst(|candidate, doubts| candidate.source.is_hearsay() && doubts > misled)
            };
        }
        self.known.len() < MAX_CANDIDATES
            || self.forget_worst(|candidate, doubts| candidate.source.is_hearsay() || doubts > 0)
    }

    /// Forgets, of those idle ones that may be, hearsay before others and the most doubtful; `false` if there is none.
    fn forget_worst(&mut self, may_be: impl Fn(&Candidate, u32) -> bool) -> bool {
        let forgettable = |candidate: &Candidate| {
            let named = candidate.source == PeerSource::Given;
            candidate.state == State::Idle && !named && may_be(candidate, self.doubts(candidate))
        };
        let worst = self.known.iter().filter(|(_, candidate)| forgettable(candidate));
        let worst = worst.max_by_key(|(_, c)| (c.source.is_hearsay(), self.doubts(c))).map(|(addr, _)| *addr);
        worst.is_some_and(|addr| self.known.remove(&addr).is_some())
    }
}

/// The least and the greatest address with this IP.
fn ports_of(ip: IpAddr) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(ip, 0), SocketAddr::new(ip, u16::MAX))
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

    const PEX: PeerSource = PeerSource::Pex { from: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 99)) };

    fn public(number: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, (number >> 8) as u8, number as u8], 6881))
    }

    #[test]
    fn e16_no_peer_names_an_address_nearer_than_itself() {
        let [public, private, loopback] = ["198.51.100.1:1", "192.168.1.2:1", "127.0.0.1:1"].map(addr);
        for (from, allowed) in
            [(public, [true, false, false]), (private, [true, true, false]), (loopback, [true, true, true])]
        {
            for (of, allowed) in [public, private, loopback].into_iter().zip(allowed) {
                assert_eq!(may_dial(PeerSource::Pex { from: from.ip() }, of), allowed, "{from} of {of}");
            }
        }
        for nobody in ["198.51.100.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1"] {
            assert!(!may_dial(PeerSource::Pex { from: loopback.ip() }, addr(nobody)), "{nobody}");
            assert!(!may_dial(PeerSource::Lsd, addr(nobody)), "{nobody}");
        }
        assert!(may_dial(PeerSource::Lsd, private));
    }

    #[test]
    fn every_third_dial_goes_to_what_is_no_hearsay_if_there_is_any() {
        let mut candidates = Candidates::new(1);
        for number in 0..300 {
            candidates.add(Time::default(), PEX, None, public(number));
        }
        let dial = |candidates: &mut Candidates| {
            let (addr, _) = candidates.next(Time::default()).unwrap();
            candidates.connected(addr);
            candidates.source(addr).unwrap().is_hearsay()
        };
        assert!((0..10).all(|_| dial(&mut candidates)), "nothing else is known");
        for number in 300..303 {
            candidates.add(Time::default(), PUBLIC, None, public(number));
            // One that failed before, too.
            candidates.failed(Time::default(), public(number));
        }
        let later = Time(Duration::from_secs(60));
        let hearsay: Vec<bool> = (0..9)
            .map(|_| {
                let (addr, _) = candidates.next(later).unwrap();
                candidates.connected(addr);
                candidates.source(addr).unwrap().is_hearsay()
            })
            .collect();
        assert_eq!(hearsay, [false, true, true, false, true, true, false, true, true]);
    }

    #[test]
    fn hearsay_takes_half_of_the_places_at_most_and_gives_way() {
        let mut candidates = Candidates::new(1);
        for number in 0..3_000 {
            candidates.add(Time::default(), PEX, None, public(number));
        }
        assert_eq!(candidates.known.len(), MAX_HEARSAY);
        for number in 3_000..3_000 + MAX_CANDIDATES as u16 {
            candidates.add(Time::default(), PUBLIC, None, public(number));
        }
        assert_eq!(candidates.known.len(), MAX_CANDIDATES);
        assert!(candidates.known.values().all(|candidate| !candidate.source.is_hearsay()));
        candidates.add(Time::default(), PEX, None, public(0));
        assert_eq!(candidates.source(public(0)), None);
    }

    #[test]
    fn hearsay_is_forgotten_sooner_unless_a_tracker_names_it_too() {
        for (tracker_too, expected) in [(false, 3), (true, 8)] {
            let mut candidates = Candidates::new(1);
            candidates.add(Time::default(), PEX, None, public(0));
            if tracker_too {
                candidates.add(Time::default(), PUBLIC, None, public(0));
            }
            let mut failures = 0;
            while candidates.next_ready().is_some() {
                candidates.failed(Time::default(), public(0));
                failures += 1;
            }
            assert_eq!(failures, expected);
        }
    }

    #[test]
    fn hearsay_of_who_misled_us_comes_last_until_some_of_it_is_true() {
        let [liar, honest] = [1, 2].map(|n| PeerSource::Pex { from: IpAddr::from([198, 51, 100, n]) });
        let mut candidates = Candidates::new(1);
        (0..20).for_each(|number| candidates.add(Time::default(), liar, None, public(number)));
        let (lie, _) = candidates.next(Time::default()).unwrap();
        candidates.failed(Time::default(), lie);
        (20..40).for_each(|number| candidates.add(Time::default(), honest, None, public(number)));
        // Of hearsay the first counts.
        (0..40).for_each(|number| candidates.add(Time::default(), honest, None, public(number)));
        (0..40).for_each(|number| candidates.add(Time::default(), liar, None, public(number)));
        let dial = |candidates: &mut Candidates| {
            let (addr, _) = candidates.next(Time::default()).unwrap();
            candidates.connected(addr);
            candidates.source(addr).unwrap()
        };
        let dialled: Vec<_> = (0..25).map(|_| dial(&mut candidates)).collect();
        assert_eq!(dialled[..20], [honest; 20]);
        assert_eq!(dialled[20..], [liar; 5]);
        assert_eq!(candidates.misleaders.len(), 0);
        for number in 0..1_000 {
            let from = IpAddr::from([203, 1, (number >> 8) as u8, number as u8]);
            candidates.credit(PeerSource::Pex { from }, false);
        }
        assert_eq!(candidates.misleaders.len(), MAX_MISLEADERS);
    }

    #[test]
    fn who_is_named_by_no_peer_any_more_is_forgotten_unless_he_was_dialled() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PEX, None, public(0));
        let (dialled, _) = candidates.next(Time::default()).unwrap();
        candidates.failed(Time::default(), dialled);
        candidates.add(Time::default(), PEX, None, public(1));
        candidates.add(Time::default(), PUBLIC, None, public(2));
        (0..3).for_each(|number| candidates.unnamed(public(number)));
        let left: Vec<_> = candidates.known.keys().copied().collect();
        assert_eq!(left, [public(0), public(2)]);
        candidates.forget_hearsay();
        assert_eq!(candidates.known.keys().copied().collect::<Vec<_>>(), [public(2)]);
        assert_eq!(candidates.half_open(), 0);
    }

    #[test]
    fn r16_where_others_see_us_is_not_dialled() {
        let mut candidates = Candidates::new(1);
        candidates.add(Time::default(), PUBLIC, None, public(1));
        candidates.set_own(public(1));
        candidates.set_own("[::ffff:203.0.0.2]:6881".parse().unwrap());
        candidates.add(Time::default(), PUBLIC, None, public(2));
        assert_eq!(candidates.next(Time::default()), None);
    }

    #[test]
    fn r18_one_public_address_is_dialled_once_a_second() {
        let mut candidates = Candidates::new(1);
        let at = |port| SocketAddr::new("198.51.100.1".parse().unwrap(), port);
        (1..=3).for_each(|port| candidates.add(Time::default(), PUBLIC, None, at(port)));
        assert!(candidates.next(Time::default()).is_some());
        assert_eq!(candidates.next(Time(Duration::from_millis(999))), None);
        candidates.add(Time(Duration::from_millis(999)), PUBLIC, None, at(4));
        assert_eq!(candidates.next(Time(Duration::from_millis(999))), None);
        assert!(candidates.next(Time(Duration::from_secs(1))).is_some());
        assert_eq!(candidates.next(Time(Duration::from_secs(1))), None);
        assert!(candidates.next(Time(Duration::from_secs(2))).is_some());
        assert!(candidates.next(Time(Duration::from_secs(3))).is_some());
        assert_eq!(candidates.next(Time(Duration::from_secs(4))), None);
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
