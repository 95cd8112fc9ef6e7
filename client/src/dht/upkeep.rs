//! What keeps the tables alive: the first look-up, checks of nodes that were silent, look-ups where nothing was heard from, and the id
//! that our address may have.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::id::Id;
use super::packet::{Contact, Method};
use super::saved::SavedTable;
use super::table::{K, Table};
use super::{Dht, Purpose, Task};
use crate::torrent::{Time, is_local};

/// How often it is looked at whether something is due.
const INTERVAL: Duration = Duration::from_secs(5);

/// The wait before the first look-up is tried again while too few nodes answer; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest such wait. Somebody who is offline comes back.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// Addresses that wait to be checked. Any packet may bring one.
pub(super) const MAX_TO_CHECK: usize = 64;

/// Checks under way at a time.
const MAX_CHECKS: usize = 8;

/// Nodes of other versions of IP that one answer may have checked.
const MAX_NAMED: usize = 4;

/// Nodes that have said how they see us, the latest.
const MAX_VOTES: usize = 16;

/// So many have to agree before we take another id for it.
const QUORUM: usize = 5;

/// Nodes that are kept for the next run, of each version of IP.
const MAX_SAVED: usize = 200;

/// What belongs to one version of IP.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) table: Table,
    /// Who says that we are where, newest last: one vote a node's address.
    votes: VecDeque<(IpAddr, IpAddr)>,
    next_bootstrap: Time,
    wait: Duration,
    /// Parts of the table that are looked into next.
    thin: VecDeque<Id>,
}

impl Family {
    pub(super) fn new(saved: Option<SavedTable>, rng: &mut fastrand::Rng) -> Self {
        let SavedTable { id, nodes } =
            saved.unwrap_or_else(|| SavedTable { id: Id::random(rng), nodes: Vec::new() });
        let mut table = Table::new(id);
        nodes.into_iter().for_each(|node| table.restore(node));
        Self {
            table,
            votes: VecDeque::new(),
            next_bootstrap: Time::default(),
            wait: FIRST_WAIT,
            thin: VecDeque::new(),
        }
    }

    pub(super) fn save(&self) -> SavedTable {
        SavedTable { id: self.table.own(), nodes: self.table.lasting(MAX_SAVED) }
    }

    /// Takes one node's word; says where we are if enough agree.
    fn vote(&mut self, voter: IpAddr, says: IpAddr) -> Option<IpAddr> {
        self.votes.retain(|(other, _)| *other != voter);
        if self.votes.len() >= MAX_VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, says));
        let agree = self.votes.iter().filter(|(_, other)| *other == says).count();
        (agree >= QUORUM && agree * 2 > self.votes.len()).then_some(says)
    }
}

impl Dht {
    /// What is due by the clock alone.
    pub(super) fn upkeep(&mut self, now: Time) {
        self.next_upkeep = now + INTERVAL;
        self.store.expire(now);
        for v4 in [true, false] {
            let busy = self.lookups.values().any(|it| it.v4 == v4 && !it.task.is_search() && !it.finished);
            let Self { families, rng, .. } = &mut *self;
            let Some(family) = &mut families[usize::from(!v4)] else { continue };
            let doubtful = family.table.questionable(now);
            let due = if busy {
                None
            } else if family.table.good(now) >= K {
                family.wait = FIRST_WAIT;
                family.table.stale(now, rng).map(|target| (target, Task::Refresh))
            } else if now >= family.next_bootstrap {
                family.next_bootstrap = now + family.wait;
                family.wait = (family.wait * 2).min(LONGEST_WAIT);
                Some((family.table.own(), Task::Bootstrap))
            } else {
                None
            };
            if let Some((target, task)) = due {
                self.begin_lookup(now, v4, target, task);
            }
            if let Some(doubtful) = doubtful {
                self.check(doubtful);
            }
        }
    }

    /// There is somebody new to begin with.
    pub(super) fn bootstrap_soon(&mut self, now: Time) {
        for family in self.families.iter_mut().flatten() {
            family.next_bootstrap = now;
            family.wait = FIRST_WAIT;
        }
        self.next_upkeep = now;
    }

    /// A look-up of the table's own has come to its end. After the first, what is thin in the table is looked into, part by part.
    pub(super) fn upkept(&mut self, now: Time, v4: bool, task: Task) {
        let Self { families, rng, .. } = &mut *self;
        let Some(family) = &mut families[usize::from(!v4)] else { return };
        if task == Task::Bootstrap {
            family.thin = family.table.thin(rng).into();
        }
        if let Some(target) = family.thin.pop_front() {
            self.begin_lookup(now, v4, target, Task::Refresh);
        }
    }

    /// A node has answered us.
    pub(super) fn known(&mut self, now: Time, contact: Contact) {
        let Some(family) = self.family_mut(contact.addr.is_ipv4()) else { return };
        if let Some(doubtful) = family.table.answered(now, contact) {
            self.check(doubtful);
        }
        self.feed_lookups(contact);
    }

    /// A node has asked us, or was named.
    pub(super) fn heard_of(&mut self, now: Time, contact: Contact) {
        let family = self.family(contact.addr.is_ipv4());
        if family.is_some_and(|family| family.table.would_take(now, contact)) {
            self.check(contact.addr);
        }
    }

    /// Nodes of the other version of IP were named (BEP 32): how its table begins.
    pub(super) fn note_other_family(&mut self, now: Time, nodes: &[Contact]) {
        nodes.iter().take(MAX_NAMED).for_each(|node| self.heard_of(now, *node));
    }

    /// Nodes of which versions of IP we ask for: of both while the table of either is thin, else of the one by which we ask.
    pub(super) fn want(&self) -> (bool, bool) {
        let [Some(v4), Some(v6)] = &self.families else { return (false, false) };
        let thin = v4.table.len() < 2 * K || v6.table.len() < 2 * K;
        (thin, thin)
    }

    /// A node has told us how it sees us. Where our id does not fit the address that most see, we take one that does (BEP 42).
    pub(super) fn seen_as(&mut self, voter: SocketAddr, says: Option<SocketAddr>) {
        let Some(says) =
            says.map(|addr| addr.ip()).filter(|ip| ip.is_ipv4() == voter.is_ipv4() && !is_local(*ip))
        else {
            return;
        };
        let Self { families, rng, .. } = &mut *self;
        let Some(family) = &mut families[usize::from(voter.is_ipv6())] else { return };
        if let Some(ip) = family.vote(voter.ip(), says)
            && !family.table.own().fits(ip)
        {
            family.table.set_own(Id::for_address(ip, rng));
        }
    }

    /// Asks those that wait for it whether they are there; while few nodes are known, also whom they know.
    pub(super) fn run_checks(&mut self, now: Time) {
        let under_way = self.pending.values().filter(|it| matches!(it.purpose, Purpose::Check)).count();
        for _ in under_way..MAX_CHECKS {
            let Some(addr) = self.to_check.pop_front() else { return };
            let Some(family) = self.family(addr.is_ipv4()) else { continue };
            let own = family.table.own();
            let method = if family.table.good(now) < K { Method::FindNode(own) } else { Method::Ping };
            self.ask(now, addr, method, Purpose::Check);
        }
    }
}
