//! A node of the DHT (BEP 5), with IPv6 (BEP 32), ids bound to addresses (BEP 42) and, if asked, as one that only asks (BEP 43). Pure: no
//! socket, no clock, no name is resolved. Time, the random seed and the secret behind its tokens are arguments.
//!
//! [`Dht`] is a state machine with one owner. Packets and the owner's wishes go in; what is to be sent and what was found comes out of
//! [`Dht::poll_action`], until it is empty; then the owner sleeps until the next packet or [`Dht::poll_timeout`]. The owner is
//! `engine::dht` for users, and a network in virtual time for the tests.
//!
//! [`Dht`] has a routing table of its own for each version of IP. The rules stand one to a file: `id` (distance, and which ids an address
//! may have), `table` (whom to remember), `lookup` (whom to ask next), `store` (who announced what to us), `limits` (who is answered, and
//! how much); `packet` is what goes over the wire, `saved` what is kept for the next run. `search`, `server` and `upkeep` apply them.

mod id;
mod limits;
mod lookup;
mod packet;
mod saved;
mod search;
mod server;
mod store;
mod table;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use torrent_format::announce::canonical;

pub use id::Id;
pub use packet::{
    Body, Contact, MAX_PACKET, Method, Packet, PacketError, Query, Response, encode_query, encode_response,
};
pub use saved::{Saved, SavedError, SavedTable};
pub use table::K;

use limits::{Limiter, Tokens};
use lookup::Lookup;
use search::Search;
use store::PeerStore;
use upkeep::Family;

use crate::torrent::{PeerSource, Time, may_dial};

/// An answer that has not come after so long never does.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Between these, the moment from which nobody waits for an answer any more, though it may still come: some times what answers take.
const SLOW: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// Questions that are open at a time.
const MAX_PENDING: usize = 512;

/// Chosen by the owner to tell its searches apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SearchId(pub u64);

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// For all that is chosen at random but tokens and transaction ids.
    pub seed: u64,
    /// Behind tokens and transaction ids: nobody can guess it.
    pub secret: [u8; 32],
    /// There is a socket for IPv4.
    pub v4: bool,
    /// There is a socket for IPv6.
    pub v6: bool,
    /// Only ask, never answer, and say so (BEP 43).
    pub read_only: bool,
    /// What an earlier run knew.
    pub saved: Saved,
}

/// Something for the owner to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send this.
    Send(SocketAddr, Vec<u8>),
    /// Peers of the torrent that is searched for.
    Found {
        /// By which search.
        search: SearchId,
        /// Who named them is at a loopback or private address, so such peers are a normal answer.
        local: bool,
        /// New ones.
        peers: Vec<SocketAddr>,
    },
    /// A search is over, and what was to be announced is on its way. Late answers may bring [`Action::Found`] still, until
    /// [`Action::Forgotten`].
    Finished {
        /// Which.
        search: SearchId,
        /// How it went.
        outcome: Outcome,
    },
    /// Nothing comes of this search any more.
    Forgotten(SearchId),
}

/// How a search went, in both versions of IP together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Nodes that were asked.
    pub asked: usize,
    /// Steps to the node that is closest to the torrent.
    pub hops: u32,
    /// Different peers that were found.
    pub peers: usize,
    /// Nodes to which we were announced.
    pub announced: usize,
}

/// How a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Nodes in the tables.
    pub nodes: usize,
    /// Of these, those that answered lately.
    pub good: usize,
    /// Torrents of which others have told us peers.
    pub torrents: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Dht {
    read_only: bool,
    /// IPv4, IPv6.
    families: [Option<Family>; 2],
    pending: BTreeMap<[u8; 4], Pending>,
    lookups: BTreeMap<u64, Running>,
    searches: BTreeMap<SearchId, Search>,
    /// Addresses to be asked whether somebody is there.
    to_check: VecDeque<SocketAddr>,
    routers: Vec<SocketAddr>,
    routers_spared: bool,
    store: PeerStore,
    limiter: Limiter,
    tokens: Tokens,
    rtt: RoundTrip,
    actions: VecDeque<Action>,
    counter: u64,
    next_upkeep: Time,
    rng: fastrand::Rng,
}

/// A question that is open.
#[derive(Clone, Copy, Debug)]
struct Pending {
    to: SocketAddr,
    sent: Time,
    purpose: Purpose,
    slow: bool,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// Is somebody there?
    Check,
    /// A step of a look-up.
    Step { lookup: u64, contact: Contact },
    /// Its first step, at a node whose id is not known.
    Nameless { lookup: u64 },
    /// An announce.
    Announce,
}

/// A look-up, in one version of IP.
#[derive(Debug)]
struct Running {
    lookup: Lookup,
    v4: bool,
    task: Task,
    /// It ends then, even if there is nobody to ask yet.
    deadline: Time,
    /// Only late answers are still taken.
    finished: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    Search(SearchId),
    /// Looks for our own id: who is around us?
    Bootstrap,
    /// Looks into some part of the table.
    Refresh,
}

impl Task {
    fn is_search(self) -> bool {
        matches!(self, Self::Search(_))
    }
}

/// What answers take (after RFC 6298).
#[derive(Clone, Copy, Debug, Default)]
struct RoundTrip(Option<(Duration, Duration)>);

impl RoundTrip {
    fn sample(&mut self, rtt: Duration) {
        let (mean, deviation) = self.0.unwrap_or((rtt, rtt / 2));
        self.0 = Some(((mean * 7 + rtt) / 8, (deviation * 3 + mean.abs_diff(rtt)) / 4));
    }

    /// After which an answer is slow.
    fn slow(self) -> Duration {
        self.0.map_or(SLOW.1, |(mean, deviation)| (mean + deviation * 4).clamp(SLOW.0, SLOW.1))
    }
}

impl Dht {
    /// A node that knows what it knew, and asks nobody before it is told of a router, a node or a search.
    pub fn new(config: Config) -> Self {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let v4 = config.v4.then(|| Family::new(config.saved.v4, &mut rng));
        let v6 = config.v6.then(|| Family::new(config.saved.v6, &mut rng));
        Self {
            read_only: config.read_only,
            families: [v4, v6],
            pending: BTreeMap::new(),
            lookups: BTreeMap::new(),
            searches: BTreeMap::new(),
            to_check: VecDeque::new(),
            routers: Vec::new(),
            routers_spared: false,
            store: PeerStore::default(),
            limiter: Limiter::default(),
            tokens: Tokens::new(config.secret),
            rtt: RoundTrip::default(),
            actions: VecDeque::new(),
            counter: 0,
            next_upkeep: Time::default(),
            rng,
        }
    }

    // -- what happens

    /// A packet has come.
    pub fn handle_packet(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        let from = canonical(from);
        if self.family(from.is_ipv4()).is_none() || !self.limiter.admits(now, from.ip()) {
            return;
        }
        match Packet::decode(bytes) {
            Ok(Packet { transaction, body: Body::Query(query) }) => {
                if !self.read_only {
                    self.serve(now, from, bytes.len(), &transaction, query);
                }
            }
            Ok(Packet { transaction, body: Body::Response(response) }) => {
                if let Some(pending) = self.take_pending(from, &transaction) {
                    self.answered(now, pending, response);
                }
            }
            Ok(Packet { transaction, body: Body::Error(_) }) => {
                if let Some(pending) = self.take_pending(from, &transaction) {
                    self.unanswered(pending);
                }
            }
            Err(error) => {
                let answer =
                    error.answer().filter(|answer| answer.len() <= limits::AMPLIFICATION * bytes.len());
                if let (Some(answer), false) = (answer, self.read_only) {
                    self.send(from, answer);
                }
            }
        }
        self.proceed(now);
    }

    /// The moment that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        let slow = self.rtt.slow();
        let late: Vec<_> =
            self.pending.iter().filter(|(_, it)| now >= it.sent + TIMEOUT).map(|(t, _)| *t).collect();
        for transaction in late {
            let Some(pending) = self.pending.remove(&transaction) else { continue };
            if let Some(family) = self.family_mut(pending.to.is_ipv4()) {
                family.table.failed(pending.to);
            }
            self.unanswered(pending);
        }
        for pending in self.pending.values_mut().filter(|it| !it.slow && now >= it.sent + slow) {
            pending.slow = true;
            if let Purpose::Step { lookup, contact } = pending.purpose
                && let Some(running) = self.lookups.get_mut(&lookup)
            {
                running.lookup.slow(contact);
            }
        }
        if now >= self.next_upkeep {
            self.upkeep(now);
        }
        self.proceed(now);
    }

    // -- commands

    /// Nodes that are asked for others when too few are known. Replaces those before. `spared`: they serve the whole world, so that nothing
    /// else is asked of them; if not, they are nodes like others.
    pub fn set_routers(&mut self, now: Time, routers: Vec<SocketAddr>, spared: bool) {
        self.routers = routers.into_iter().map(canonical).collect();
        self.routers_spared = spared;
        self.bootstrap_soon(now);
        self.proceed(now);
    }

    /// Somebody may be there: a torrent names it, or a peer says so of itself.
    pub fn add_node(&mut self, now: Time, addr: SocketAddr) {
        self.check(canonical(addr));
        self.proceed(now);
    }

    /// Looks for peers of a torrent, and, if there is a port at which peers reach us, announces it.
    pub fn search(&mut self, now: Time, search: SearchId, info_hash: Id, announce: Option<u16>) {
        self.begin_search(now, search, info_hash, announce);
        self.proceed(now);
    }

    /// Nobody waits for this search any more.
    pub fn cancel(&mut self, search: SearchId) {
        self.searches.remove(&search);
        self.lookups.retain(|_, running| running.task != Task::Search(search));
    }

    // -- what is to be done

    /// The next thing to do. Ask until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if nothing happens before.
    pub fn poll_timeout(&self) -> Time {
        let slow = self.rtt.slow();
        let questions = self.pending.values().map(|it| it.sent + if it.slow { TIMEOUT } else { slow });
        let deadlines = self.lookups.values().filter(|it| !it.finished).map(|it| it.deadline);
        questions.chain(deadlines).min().map_or(self.next_upkeep, |soonest| soonest.min(self.next_upkeep))
    }

    // -- how it stands

    /// Figures.
    pub fn stats(&self, now: Time) -> Stats {
        let families = self.families.iter().flatten();
        let (nodes, good) = families.fold((0, 0), |(nodes, good), family| {
            (nodes + family.table.len(), good + family.table.good(now))
        });
        Stats { nodes, good, torrents: self.store.len() }
    }

    /// Our id in this version of IP.
    pub fn id(&self, v4: bool) -> Option<Id> {
        self.family(v4).map(|family| family.table.own())
    }

    /// What the next run should know.
    pub fn save(&self) -> Saved {
        let [v4, v6] = &self.families;
        let saved = |family: &Option<Family>| family.as_ref().map(Family::save);
        Saved { v4: saved(v4), v6: saved(v6) }
    }

    // -- within

    fn family(&self, v4: bool) -> Option<&Family> {
        self.families[usize::from(!v4)].as_ref()
    }

    fn family_mut(&mut self, v4: bool) -> Option<&mut Family> {
        self.families[usize::from(!v4)].as_mut()
    }

    fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.actions.push_back(Action::Send(to, bytes));
    }

    /// Asks, unless too much is open already.
    fn ask(&mut self, now: Time, to: SocketAddr, method: Method, purpose: Purpose) -> bool {
        let Some(id) = self.id(to.is_ipv4()).filter(|_| self.pending.len() < MAX_PENDING) else {
            return false;
        };
        self.counter += 1;
        let transaction = self.tokens.transaction(self.counter);
        let want = if matches!(method, Method::FindNode(_) | Method::GetPeers(_)) {
            self.want()
        } else {
            (false, false)
        };
        let query = Query { id, method, want, read_only: self.read_only };
        self.pending.insert(transaction, Pending { to, sent: now, purpose, slow: false });
        self.send(to, encode_query(&transaction, &query));
        true
    }

    /// A question was sent there, under this number, and is answered by nobody else.
    fn take_pending(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Pending> {
        let transaction = <[u8; 4]>::try_from(transaction).ok()?;
        let pending = self.pending.get(&transaction).filter(|pending| pending.to == from)?;
        let pending = *pending;
        self.pending.remove(&transaction);
        Some(pending)
    }

    /// An address that is asked whether somebody is there.
    fn check(&mut self, addr: SocketAddr) {
        // The owner's word, or a packet's sender: any address that can be one is as good as another.
        let may = may_dial(PeerSource::Dht { local: true }, addr) && self.family(addr.is_ipv4()).is_some();
        let known = self.to_check.contains(&addr) || self.pending.values().any(|pending| pending.to == addr);
        if may && !known && self.to_check.len() < upkeep::MAX_TO_CHECK {
            self.to_check.push_back(addr);
        }
    }

    fn answered(&mut self, now: Time, pending: Pending, mut response: Response) {
        let from = pending.to;
        self.rtt.sample(now - pending.sent);
        let local = crate::torrent::is_local(from.ip());
        let source = PeerSource::Dht { local };
        // A public node has no business to send us into our own network.
        response.nodes.retain(|node| may_dial(source, node.addr));
        response.peers.retain(|peer| may_dial(source, *peer));
        let (same, other): (Vec<_>, Vec<_>) =
            response.nodes.iter().copied().partition(|node| node.addr.is_ipv4() == from.is_ipv4());
        self.note_other_family(now, &other);
        let contact = Contact { id: response.id, addr: from };
        let spared = self.routers_spared && self.routers.contains(&from);
        match pending.purpose {
            Purpose::Step { lookup, contact: asked } => {
                if let Some(running) = self.lookups.get_mut(&lookup) {
                    running.lookup.answered(asked, response.id, response.token.take(), &same);
                    let task = running.task;
                    self.found(task, local, response.peers);
                }
            }
            Purpose::Nameless { lookup } => {
                if let Some(running) = self.lookups.get_mut(&lookup) {
                    let more = same.into_iter().chain((!spared).then_some(contact));
                    running.lookup.nameless_done(&more.collect::<Vec<_>>());
                    let task = running.task;
                    self.found(task, local, response.peers);
                }
            }
            Purpose::Check => same.iter().for_each(|node| self.heard_of(now, *node)),
            Purpose::Announce => {}
        }
        if !spared {
            self.known(now, contact);
        }
        self.seen_as(from, response.seen_as);
    }

    /// No answer, or a refusal.
    fn unanswered(&mut self, pending: Pending) {
        match pending.purpose {
            Purpose::Step { lookup, contact } => {
                if let Some(running) = self.lookups.get_mut(&lookup) {
                    running.lookup.failed(contact);
                }
            }
            Purpose::Nameless { lookup } => {
                if let Some(running) = self.lookups.get_mut(&lookup) {
                    running.lookup.nameless_done(&[]);
                }
            }
            Purpose::Check | Purpose::Announce => {}
        }
    }

    /// Asks what may be asked by now.
    fn proceed(&mut self, now: Time) {
        self.run_checks(now);
        self.run_lookups(now);
    }
}
