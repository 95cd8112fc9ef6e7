//! Searches: look-ups in both versions of IP, what they find, and the announces at their end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::id::Id;
use super::lookup::Lookup;
use super::packet::{Contact, Method};
use super::table::K;
use super::{Action, Dht, Outcome, Purpose, Running, SearchId, Task};
use crate::torrent::Time;

/// How long a look-up waits for somebody to ask: routers have names, and resolving these takes its time. If there are nodes of one version of IP
/// only, the look-up in the other waits no longer than that in the first takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Different peers that one search finds at most.
const MAX_FOUND: usize = 500;

/// Routers that one look-up asks.
const MAX_ROUTERS: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    info_hash: Id,
    announce: Option<u16>,
    found: BTreeSet<SocketAddr>,
    /// Of the look-ups that are finished.
    outcome: Outcome,
}

impl Dht {
    pub(super) fn begin_search(&mut self, now: Time, id: SearchId, info_hash: Id, announce: Option<u16>) {
        let search = Search { info_hash, announce, found: BTreeSet::new(), outcome: Outcome::default() };
        self.searches.insert(id, search);
        for v4 in [true, false] {
            self.begin_lookup(now, v4, info_hash, Task::Search(id));
        }
        self.conclude(id);
    }

    /// From the nodes that we know; where these are few, with the help of routers.
    pub(super) fn begin_lookup(&mut self, now: Time, v4: bool, target: Id, task: Task) {
        let Some(family) = self.family(v4) else { return };
        let known = family.table.closest(target, K);
        let few = known.len() < K;
        let mut lookup = Lookup::new(target, family.table.own(), known);
        self.counter += 1;
        let number = self.counter;
        let routers: Vec<_> =
            self.routers.iter().copied().filter(|addr| few && addr.is_ipv4() == v4).collect();
        for router in routers.into_iter().take(MAX_ROUTERS) {
            if self.ask(now, router, method(task, target), Purpose::Nameless { lookup: number }) {
                lookup.ask_nameless();
            }
        }
        let deadline = now + PATIENCE;
        self.lookups.insert(number, Running { lookup, v4, task, deadline, finished: false });
    }

    /// A step further, wherever one is due.
    pub(super) fn run_lookups(&mut self, now: Time) {
        let numbers: Vec<u64> = self.lookups.keys().copied().collect();
        for number in numbers {
            while let Some(running) = self.lookups.get_mut(&number).filter(|it| !it.finished)
                && let Some(contact) = running.lookup.next()
            {
                let (target, task) = (running.lookup.target(), running.task);
                let purpose = Purpose::Step { lookup: number, contact };
                if !self.ask(now, contact.addr, method(task, target), purpose)
                    && let Some(running) = self.lookups.get_mut(&number)
                {
                    running.lookup.failed(contact);
                }
            }
            self.finish_lookup(now, number);
        }
    }

    /// A node is known that look-ups without anybody to ask can begin with.
    pub(super) fn feed_lookups(&mut self, contact: Contact) {
        let v4 = contact.addr.is_ipv4();
        let starving =
            self.lookups.values_mut().filter(|it| it.v4 == v4 && !it.finished && it.lookup.is_starving());
        starving.for_each(|running| running.lookup.offer(contact));
    }

    pub(super) fn found(&mut self, task: Task, local: bool, peers: Vec<SocketAddr>) {
        let Task::Search(id) = task else { return };
        let Some(search) = self.searches.get_mut(&id) else { return };
        let mut new = peers;
        new.retain(|peer| search.found.len() < MAX_FOUND && search.found.insert(*peer));
        if !new.is_empty() {
            self.actions.push_back(Action::Found { search: id, local, peers: new });
        }
    }

    fn finish_lookup(&mut self, now: Time, number: u64) {
        let Some(running) = self.lookups.get_mut(&number) else { return };
        if running.finished {
            return self.drop_lookup(number);
        }
        let other_is_done = |id| self.searches.get(&id).is_some_and(|search| search.outcome.asked > 0);
        let waits = running.lookup.is_starving()
            && matches!(running.task, Task::Search(id) if !other_is_done(id))
            && now < running.deadline;
        if waits || (!running.lookup.is_finished() && now < running.deadline) {
            return;
        }
        running.finished = true;
        let (task, v4) = (running.task, running.v4);
        let (asked, hops, holders) =
            (running.lookup.asked(), running.lookup.hops(), running.lookup.holders());
        match task {
            Task::Bootstrap | Task::Refresh => self.upkept(now, v4, task),
            Task::Search(id) => {
                let Some(search) = self.searches.get_mut(&id) else { return };
                search.outcome.asked += asked;
                search.outcome.hops = search.outcome.hops.max(hops);
                let (info_hash, announce) = (search.info_hash, search.announce);
                let mut announced = 0;
                for holder in holders {
                    let Some(port) = announce else { break };
                    let method = Method::AnnouncePeer { info_hash, port: Some(port), token: holder.token };
                    announced += usize::from(self.ask(now, holder.contact.addr, method, Purpose::Announce));
                }
                if let Some(search) = self.searches.get_mut(&id) {
                    search.outcome.announced += announced;
                }
                // That in the other version of IP, if it has nobody to ask: it ends now, and the search with it.
                let waits =
                    |(_, it): &(&u64, &Running)| it.task == task && !it.finished && it.lookup.is_starving();
                match self.lookups.iter().find(waits).map(|(other, _)| *other) {
                    Some(other) if asked > 0 => self.finish_lookup(now, other),
                    _ => self.conclude(id),
                }
            }
        }
        self.drop_lookup(number);
    }

    /// Forgets a finished look-up. Late answers may come as long as questions are open.
    fn drop_lookup(&mut self, number: u64) {
        let open = self.pending.values().any(|pending| match pending.purpose {
            Purpose::Step { lookup, .. } | Purpose::Nameless { lookup } => lookup == number,
            _ => false,
        });
        if !open && let Some(running) = self.lookups.remove(&number) {
            self.forget_search(running.task);
        }
    }

    /// Says so, if both look-ups of a search are finished.
    fn conclude(&mut self, id: SearchId) {
        let open = self.lookups.values().any(|it| it.task == Task::Search(id) && !it.finished);
        if let Some(search) = self.searches.get(&id).filter(|_| !open) {
            let outcome = Outcome { peers: search.found.len(), ..search.outcome };
            self.actions.push_back(Action::Finished { search: id, outcome });
            self.forget_search(Task::Search(id));
        }
    }

    /// Once nothing of it is under way.
    fn forget_search(&mut self, task: Task) {
        if let Task::Search(id) = task
            && !self.lookups.values().any(|running| running.task == task)
        {
            self.searches.remove(&id);
            self.actions.push_back(Action::Forgotten(id));
        }
    }
}

fn method(task: Task, target: Id) -> Method {
    match task {
        Task::Search(_) => Method::GetPeers(target),
        Task::Bootstrap | Task::Refresh => Method::FindNode(target),
    }
}
