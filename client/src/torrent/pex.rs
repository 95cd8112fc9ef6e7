//! Peer exchange (BEP 11) with one peer: what we have told it and when we may again ([`Telling`]), and what it has told us ([`Hearing`]).
//!
//! Whom we tell of is who is connected to us, and whom we hear of is hearsay: it is dialled only as `candidates` allows, it can't fill
//! the list, and every third dial at least goes to somebody that a tracker named, so that a swarm in which everybody only passes on his
//! neighbours does not become a chain, and who poisons does not get all our dials.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::action::{Direction, Misbehaviour, PeerSource, Reason};
use super::candidates::may_dial;
use super::peer::Peer;
use super::peers::PeerKey;
use super::{Time, Torrent};
use crate::wire::Message;
use crate::wire::ut_pex::{MAX_PEX_ENTRIES, PexFlags, PexMessage};

/// Time between two messages to one peer (BEP 11: at most one a minute).
const INTERVAL: Duration = Duration::from_secs(60);

/// When there was nothing to say we look again after this.
const NOTHING_NEW: Duration = Duration::from_secs(5);

/// Entries of each kind in a message after the first (BEP 11).
const MAX_ENTRIES: usize = 50;

/// Messages that a peer may send within [`INTERVAL`]: its clock is not ours, and its first message may come at any time.
const MAX_MESSAGES: usize = 3;

/// Peers of which one peer says at a time that it is connected to them. Nobody has use for more.
const MAX_TOLD: usize = MAX_PEX_ENTRIES;

/// Messages that come too soon are passed over, and after so many the peer is left.
const MAX_HURRIED: u32 = 10;

/// What we tell one peer.
#[derive(Debug)]
pub(super) struct Telling {
    /// The number under which it takes our messages.
    id: Option<u8>,
    next: Time,
    told: BTreeSet<SocketAddr>,
    is_first: bool,
}

/// What one peer tells us.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Of whom it says that it is connected to them.
    told: BTreeSet<SocketAddr>,
    /// When its last messages came.
    times: VecDeque<Time>,
    hurried: u32,
    malformed: u32,
}

/// What a message that came was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Too many too soon.
    Flood,
    /// Not the first that is none.
    Malformed,
}

/// What a message brought.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct News {
    pub(super) added: Vec<(SocketAddr, PexFlags)>,
    /// It had told us of them before.
    pub(super) dropped: Vec<SocketAddr>,
}

/// Whether we tell somebody at this address of a peer at that one: not of one that is nearer to him than he is to us, such as a host of
/// our own network, which he could not dial, or should not.
fn may_tell(whom: IpAddr, of: SocketAddr) -> bool {
    may_dial(PeerSource::Pex { from: whom }, of)
}

impl Telling {
    pub(super) fn new(now: Time) -> Self {
        Self { id: None, next: now, told: BTreeSet::new(), is_first: true }
    }

    /// Under which number it takes our messages; `None`: not any more.
    pub(super) fn set_id(&mut self, id: Option<u8>) {
        self.id = id;
    }

    /// Whether it may hear something now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.id.is_some() && self.next <= now
    }

    /// What is new since the last message to it, among those that are `present` now; with the number that it goes under.
    pub(super) fn message(
        &mut self,
        now: Time,
        present: &BTreeMap<SocketAddr, PexFlags>,
    ) -> Option<(u8, PexMessage)> {
        let id = self.id.filter(|_| self.next <= now)?;
        let limit = if self.is_first { MAX_PEX_ENTRIES } else { MAX_ENTRIES };
        let new = present.iter().filter(|(peer, _)| !self.told.contains(peer));
        let added: Vec<_> = new.take(limit).map(|(&peer, &flags)| (peer, flags)).collect();
        let gone = self.told.iter().filter(|peer| !present.contains_key(peer));
        let dropped: Vec<_> = gone.take(limit).copied().collect();
        if added.is_empty() && dropped.is_empty() {
            self.next = now + NOTHING_NEW;
            return None;
        }
        self.next = now + INTERVAL;
        self.is_first = false;
        self.told.retain(|peer| !dropped.contains(peer));
        self.told.extend(added.iter().map(|(peer, _)| peer));
        Some((id, PexMessage { added, dropped }))
    }
}

impl Hearing {
    /// A message came.
    ///
    /// # Errors
    /// If the peer has used up our patience.
    pub(super) fn receive(&mut self, now: Time, payload: &[u8]) -> Result<News, Fault> {
        while self.times.front().is_some_and(|&oldest| now - oldest >= INTERVAL) {
            self.times.pop_front();
        }
        if self.times.len() >= MAX_MESSAGES {
            self.hurried += 1;
            return if self.hurried > MAX_HURRIED { Err(Fault::Flood) } else { Ok(News::default()) };
        }
        self.times.push_back(now);
        let Ok(message) = PexMessage::decode(payload) else {
            self.malformed += 1;
            return if self.malformed > 1 { Err(Fault::Malformed) } else { Ok(News::default()) };
        };
        let dropped = message.dropped.into_iter().filter(|peer| self.told.remove(peer)).collect();
        let mut added = message.added;
        added.retain(|(peer, _)| self.told.len() < MAX_TOLD && self.told.insert(*peer));
        Ok(News { added, dropped })
    }

    /// Whether it says that it is connected to this peer.
    pub(super) fn names(&self, peer: SocketAddr) -> bool {
        self.told.contains(&peer)
    }
}

impl Torrent {
    /// Whether peers are told of peers, and believed when they tell of others.
    pub(super) fn exchanges_peers(&self) -> bool {
        self.config.pex && !self.is_private()
    }

    /// Tells those whose turn it is who is connected to us.
    pub(super) fn exchange_peers(&mut self, now: Time) {
        let due = |(key, peer): (PeerKey, &Peer)| peer.telling.is_due(now).then_some(key);
        let due: Vec<_> = self.peers.iter().filter_map(due).collect();
        if due.is_empty() || !self.exchanges_peers() {
            return;
        }
        let known = |(key, peer): (PeerKey, &Peer)| Some((key, peer.dial_addr?, flags_of(peer)));
        let present: Vec<_> = self.peers.iter().filter_map(known).collect();
        for key in due {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let (whom, is_seed) = (peer.addr.ip(), peer.is_seed());
            let of_use = present.iter().filter(|(other, addr, flags)| {
                *other != key && may_tell(whom, *addr) && !(is_seed && flags.has(PexFlags::SEED))
            });
            let of_use = of_use.map(|&(_, addr, flags)| (addr, flags)).collect();
            if let Some((id, message)) = peer.telling.message(now, &of_use) {
                self.send(now, key, Message::Extended { id, payload: message.encode() });
            }
        }
    }

    /// A peer tells of others.
    pub(super) fn pex_message(
        &mut self,
        now: Time,
        key: PeerKey,
        payload: &[u8],
    ) -> Result<(), Misbehaviour> {
        if !self.exchanges_peers() {
            return Ok(());
        }
        let complete = self.content().is_some_and(|content| content.picker.is_complete());
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let from = peer.addr.ip();
        let news = peer.hearing.receive(now, payload).map_err(|fault| match fault {
            Fault::Flood => Misbehaviour::Flood,
            Fault::Malformed => Misbehaviour::BadExtension,
        })?;
        for gone in news.dropped {
            if !self.peers.iter().any(|(_, peer)| peer.hearing.names(gone)) {
                self.candidates.unnamed(gone);
            }
        }
        let mut wanted = news.added;
        wanted.retain(|(_, flags)| !(complete && flags.has(PexFlags::SEED)));
        self.add_candidates(now, PeerSource::Pex { from }, None, wanted.iter().map(|(addr, _)| *addr));
        for (addr, _) in wanted.iter().filter(|(_, flags)| flags.has(PexFlags::HOLEPUNCH)) {
            self.candidates.set_punchable(*addr);
        }
        Ok(())
    }

    /// The torrent turns out to be private (BEP 27): whoever was found by other means than its trackers is left.
    pub(super) fn leave_hearsay(&mut self, now: Time) {
        let found = |peer: &Peer| peer.dial_addr.and_then(|addr| self.candidates.source(addr));
        let to_leave = |(key, peer): (PeerKey, &Peer)| {
            found(peer).is_some_and(|source| !source.is_private()).then_some(key)
        };
        let to_leave: Vec<_> = self.peers.iter().filter_map(to_leave).collect();
        for key in to_leave {
            self.disconnect(now, key, Reason::Private);
        }
        self.candidates.forget_hearsay();
    }
}

fn flags_of(peer: &Peer) -> PexFlags {
    let seed = if peer.is_seed() { PexFlags::SEED } else { PexFlags::default() };
    let reachable =
        if peer.direction == Direction::Outgoing { PexFlags::REACHABLE } else { PexFlags::default() };
    let utp = if peer.utp { PexFlags::UTP } else { PexFlags::default() };
    let punching = if peer.punching.is_possible() { PexFlags::HOLEPUNCH } else { PexFlags::default() };
    seed | reachable | utp | punching
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    /// A public address.
    fn peer(number: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, (number >> 8) as u8, number as u8], 6881))
    }

    fn peers(numbers: std::ops::Range<u16>) -> BTreeMap<SocketAddr, PexFlags> {
        numbers.map(|number| (peer(number), PexFlags::REACHABLE)).collect()
    }

    fn counts(
        telling: &mut Telling,
        now: Time,
        present: &BTreeMap<SocketAddr, PexFlags>,
    ) -> Option<(usize, usize)> {
        let (id, message) = telling.message(now, present)?;
        assert_eq!(id, 3);
        Some((message.added.len(), message.dropped.len()))
    }

    #[test]
    fn all_at_first_then_once_a_minute_what_is_new_at_most_fifty() {
        let mut telling = Telling::new(at(0));
        assert!(
            !telling.is_due(at(0)) && telling.message(at(0), &peers(0..10)).is_none(),
            "it has not said how"
        );
        telling.set_id(Some(3));
        assert_eq!(counts(&mut telling, at(0), &peers(0..0)), None);
        assert_eq!(counts(&mut telling, at(4), &peers(0..150)), None);
        assert_eq!(counts(&mut telling, at(5), &peers(0..150)), Some((150, 0)));
        assert_eq!(counts(&mut telling, at(64), &peers(0..300)), None);
        assert_eq!(counts(&mut telling, at(65), &peers(80..300)), Some((50, 50)));
        assert_eq!(counts(&mut telling, at(125), &peers(80..300)), Some((50, 30)));
        assert_eq!(counts(&mut telling, at(185), &peers(80..300)), Some((50, 0)));
        assert_eq!(counts(&mut telling, at(245), &peers(80..300)), None, "all is told");
        assert_eq!(counts(&mut telling, at(250), &peers(80..301)), Some((1, 0)));
        telling.set_id(None);
        assert_eq!(counts(&mut telling, at(999), &peers(0..1)), None);
    }

    #[test]
    fn a_peer_that_comes_back_within_the_minute_is_not_mentioned() {
        let mut telling = Telling::new(at(0));
        telling.set_id(Some(3));
        telling.message(at(0), &peers(0..2));
        assert_eq!(telling.message(at(60), &peers(0..2)), None);
    }

    fn said(added: std::ops::Range<u16>, dropped: std::ops::Range<u16>) -> Vec<u8> {
        let added = added.map(|number| (peer(number), PexFlags::default())).collect();
        PexMessage { added, dropped: dropped.map(peer).collect() }.encode()
    }

    #[test]
    fn one_peer_brings_in_so_many_and_drops_only_whom_it_named() {
        let mut hearing = Hearing::default();
        let first = hearing.receive(at(0), &said(0..150, 500..600)).unwrap();
        assert_eq!((first.added.len(), first.dropped.len()), (150, 0));
        let more = hearing.receive(at(60), &said(100..300, 0..20)).unwrap();
        assert_eq!((more.added.len(), more.dropped.len()), (70, 20), "200 at a time, each once");
        assert!(hearing.names(peer(20)) && !hearing.names(peer(19)));
        assert_eq!(hearing.receive(at(120), &said(500..501, 0..0)).unwrap(), News::default());
    }

    #[test]
    fn e15_who_talks_all_the_time_is_passed_over_and_then_left() {
        let mut hearing = Hearing::default();
        for number in 0..3 {
            assert_eq!(hearing.receive(at(1), &said(number..number + 1, 0..0)).unwrap().added.len(), 1);
        }
        for _ in 0..MAX_HURRIED {
            assert_eq!(hearing.receive(at(60), &said(9..10, 0..0)), Ok(News::default()));
        }
        assert_eq!(hearing.receive(at(60), &said(9..10, 0..0)), Err(Fault::Flood));
        assert_eq!(hearing.receive(at(61), &said(9..10, 0..0)).unwrap().added.len(), 1, "a minute later");
    }

    #[test]
    fn e15_one_broken_message_is_forgiven() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.receive(at(0), b"d5:added5:aaaaae"), Ok(News::default()));
        assert_eq!(hearing.receive(at(60), &said(0..1, 0..0)).unwrap().added.len(), 1);
        assert_eq!(hearing.receive(at(120), b"x"), Err(Fault::Malformed));
    }

    #[test]
    fn nobody_is_told_of_what_he_could_not_dial() {
        let [public, private, loopback] =
            ["198.51.100.1:1", "192.168.1.2:1", "127.0.0.1:1"].map(|it| it.parse::<SocketAddr>().unwrap());
        for (whom, of, expected) in [
            (public, public, true),
            (public, private, false),
            (public, loopback, false),
            (private, public, true),
            (private, private, true),
            (private, loopback, false),
            (loopback, private, true),
            (loopback, loopback, true),
        ] {
            assert_eq!(may_tell(whom.ip(), of), expected, "{whom} of {of}");
        }
    }
}
