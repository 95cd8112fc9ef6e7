//! When to look for peers in the DHT (BEP 5), and with that say that we are here: [`Searches`], and what a torrent does about it.

use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::InfoHash;

use super::action::{Action, PeerSource, Swarm};
use super::peers::PeerKey;
use super::{Life, Time, Torrent};
use crate::wire::Message;

/// Time between two searches of a torrent that has enough peers: nodes forget announces after half an hour.
const ANNOUNCE: Duration = Duration::from_secs(15 * 60);

/// The same if it has some and could do with more.
const WANTING: Duration = Duration::from_secs(5 * 60);

/// The first wait of one that has nobody; it doubles with each search up to [`WANTING`]. The DHT itself may just have begun.
const LONELY: Duration = Duration::from_secs(15);

/// Peers with which a torrent has enough.
const ENOUGH: usize = 20;

/// The searches of a torrent, one a swarm.
#[derive(Debug, Default)]
pub(super) struct Searches {
    of_swarms: Vec<Search>,
}

#[derive(Debug)]
struct Search {
    swarm: Swarm,
    name: InfoHash,
    state: State,
    /// After the next search that leaves us without anybody.
    lonely_wait: Duration,
    /// What is being announced is not true any more.
    stale: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Due(Time),
    UnderWay,
}

/// How a torrent stands, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// It lacks something and knows nobody.
    Lonely,
    /// It could do with more peers.
    More,
    /// None.
    Nothing,
}

impl Searches {
    /// The torrent has this name too: it is searched for at once.
    pub(super) fn join(&mut self, now: Time, swarm: Swarm, name: InfoHash) {
        if self.of_swarms.iter().all(|search| search.swarm != swarm) {
            self.of_swarms.push(Search {
                swarm,
                name,
                state: State::Due(now),
                lonely_wait: LONELY,
                stale: false,
            });
        }
    }

    /// No more of it: the torrent is private, or stops.
    pub(super) fn stop(&mut self) {
        self.of_swarms.clear();
    }

    /// What is due to be searched for.
    pub(super) fn poll(&mut self, now: Time) -> Option<(Swarm, InfoHash)> {
        let due = |search: &&mut Search| matches!(search.state, State::Due(due) if due <= now);
        let search = self.of_swarms.iter_mut().find(due)?;
        search.state = State::UnderWay;
        Some((search.swarm, search.name))
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let due = |search: &Search| match search.state {
            State::Due(due) => Some(due),
            State::UnderWay => None,
        };
        self.of_swarms.iter().filter_map(due).min()
    }

    /// There is something new to announce.
    pub(super) fn again(&mut self, now: Time) {
        for search in &mut self.of_swarms {
            match &mut search.state {
                State::Due(due) => *due = now,
                State::UnderWay => search.stale = true,
            }
        }
    }

    /// A search is over.
    pub(super) fn done(&mut self, now: Time, swarm: Swarm, need: Need) {
        let Some(search) = self.of_swarms.iter_mut().find(|search| search.swarm == swarm) else { return };
        let wait = match need {
            Need::Nothing => ANNOUNCE,
            Need::More => WANTING,
            Need::Lonely => search.lonely_wait,
        };
        search.lonely_wait =
            if need == Need::Lonely { (search.lonely_wait * 2).min(WANTING) } else { LONELY };
        let wait = if std::mem::take(&mut search.stale) { Duration::ZERO } else { wait };
        search.state = State::Due(now + wait);
    }
}

impl Torrent {
    /// [`Action::Search`] is done: peers that were found came by [`Self::add_peers_of`].
    pub fn handle_searched(&mut self, now: Time, swarm: Swarm) {
        let need = match self.life {
            Life::Leeching if self.peers.len() == 0 => Need::Lonely,
            Life::Leeching if self.peers.len() < ENOUGH => Need::More,
            _ => Need::Nothing,
        };
        self.searches.done(now, swarm, need);
    }

    /// Whether this torrent is spoken of in the DHT. A private one is not (BEP 27).
    pub fn uses_dht(&self) -> bool {
        self.config.dht
            && self.life != Life::Stopping
            && !self.known_info().is_some_and(torrent_format::Info::is_private)
    }

    /// The names by which it is searched for.
    pub(super) fn join_dht(&mut self, now: Time) {
        if !self.uses_dht() {
            return self.searches.stop();
        }
        if let Some(v1) = self.hashes.v1() {
            self.searches.join(now, Swarm::V1, v1);
        }
        if let Some(v2) = self.hashes.v2_swarm() {
            self.searches.join(now, Swarm::V2, v2);
        }
    }

    pub(super) fn search_if_due(&mut self, now: Time) {
        if !self.uses_dht() {
            return self.searches.stop();
        }
        while let Some((swarm, name)) = self.searches.poll(now) {
            self.actions.push_back(Action::Search { swarm, name, port: self.public_port });
        }
    }

    /// To a peer that has a node too: where ours listens (BEP 5). It has the number of our port.
    pub(super) fn tell_dht_port(&mut self, now: Time, key: PeerKey) {
        if self.uses_dht() && self.peers.get(key).is_some_and(|peer| peer.capabilities.dht) {
            self.send(now, key, Message::Port(self.config.listen_port));
        }
    }

    /// A peer says where its node listens. Once is enough.
    pub(super) fn dht_port_told(&mut self, key: PeerKey, port: u16) {
        let uses_dht = self.uses_dht();
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.told_dht_port) else { return };
        peer.told_dht_port = true;
        let addr = SocketAddr::new(peer.addr.ip().to_canonical(), port);
        // We are connected to it: its address is as good as the user's word.
        if uses_dht && super::may_dial(PeerSource::Given, addr) {
            self.actions.push_back(Action::AddNode(addr));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_nobody_searches_again_soon_and_who_has_enough_in_a_quarter_of_an_hour() {
        let mut searches = Searches::default();
        let name = InfoHash([1; 20]);
        searches.join(Time::default(), Swarm::V1, name);
        searches.join(Time::default(), Swarm::V1, name);
        let mut now = Time::default();
        let mut waits = Vec::new();
        for need in [
            Need::Lonely,
            Need::Lonely,
            Need::Lonely,
            Need::Lonely,
            Need::Lonely,
            Need::Lonely,
            Need::More,
            Need::Nothing,
            Need::Lonely,
        ] {
            assert_eq!(searches.poll(now), Some((Swarm::V1, name)));
            assert_eq!((searches.poll(now), searches.next_due()), (None, None), "one at a time");
            searches.done(now, Swarm::V1, need);
            let due = searches.next_due().unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300, 900, 15]);
        searches.stop();
        assert_eq!((searches.poll(now), searches.next_due()), (None, None));
    }
}
