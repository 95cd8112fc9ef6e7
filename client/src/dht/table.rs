//! The nodes that we know, the more the closer to our own id (Kademlia; BEP 5, "Routing Table").

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::id::{BITS, Id};
use super::packet::Contact;
use crate::torrent::{Time, is_local};

/// Nodes of a bucket, and how many nodes close to a target count (BEP 5).
pub const K: usize = 8;

/// A node that was not heard of for so long may be gone (BEP 5).
const QUESTIONABLE: Duration = Duration::from_secs(15 * 60);

/// Queries in a row without an answer after which a node that did answer once is gone. One packet may be lost.
const MAX_FAILURES: u8 = 2;

/// Nodes of a bucket from one neighbourhood (/24, in IPv6 /64): who owns one must not own the bucket.
const MAX_NEIGHBOURS: usize = 2;

/// A bucket that nothing was heard from for so long is looked into (BEP 5).
const STALE: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug)]
struct Node {
    contact: Contact,
    /// When it last answered us; `None`: it has not yet, in this run.
    answered: Option<Time>,
    failures: u8,
    /// Its id is one that its address may have (BEP 42).
    fits: bool,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    nodes: Vec<Node>,
    /// Those that take the place of one that is gone. Newest last.
    spare: Vec<Node>,
    changed: Time,
}

/// The nodes of one version of IP. Bucket `i` holds those that share just `i` bits with our id.
#[derive(Debug)]
pub(super) struct Table {
    own: Id,
    buckets: Vec<Bucket>,
}

impl Node {
    fn new(contact: Contact, answered: Option<Time>) -> Self {
        Self { contact, answered, failures: 0, fits: contact.id.fits(contact.addr.ip()) }
    }

    fn is_good(&self, now: Time) -> bool {
        self.failures == 0 && self.answered.is_some_and(|answered| now - answered < QUESTIONABLE)
    }
}

impl Table {
    pub(super) fn new(own: Id) -> Self {
        Self { own, buckets: vec![Bucket::default(); BITS] }
    }

    /// Our id.
    pub(super) fn own(&self) -> Id {
        self.own
    }

    /// We have another id: everybody moves.
    pub(super) fn set_own(&mut self, own: Id) {
        let old = std::mem::replace(self, Self::new(own));
        for node in old.buckets.into_iter().flat_map(|bucket| bucket.nodes.into_iter().chain(bucket.spare)) {
            self.put(node.answered.unwrap_or_default(), node);
        }
    }

    /// A node that was known in an earlier run.
    pub(super) fn restore(&mut self, contact: Contact) {
        self.put(Time::default(), Node::new(contact, None));
    }

    /// A node has answered us. Somebody in its bucket may have to be asked whether it is still there, to make room.
    pub(super) fn answered(&mut self, now: Time, contact: Contact) -> Option<SocketAddr> {
        if contact.id == self.own {
            return None;
        }
        // A node that was started anew has another id.
        self.remove(|node| node.contact.addr == contact.addr && node.contact.id != contact.id);
        let bucket = &mut self.buckets[self.own.common_bits(&contact.id)];
        if let Some(known) = bucket.nodes.iter_mut().find(|node| node.contact.id == contact.id) {
            if known.contact.addr == contact.addr {
                known.answered = Some(now);
                known.failures = 0;
                bucket.changed = now;
            }
            // Else somebody claims the id of a node that we know elsewhere. If that is gone, its place will be free.
            return None;
        }
        self.put(now, Node::new(contact, Some(now)))
    }

    /// Somebody has asked us something: whether it is worth asking it whether it is there.
    pub(super) fn would_take(&self, now: Time, contact: Contact) -> bool {
        let bucket = &self.buckets[self.own.common_bits(&contact.id)];
        let known = self.all().any(|node| node.contact.addr == contact.addr || node.contact.id == contact.id);
        let room = bucket.nodes.len() < K || bucket.nodes.iter().any(|node| !node.is_good(now));
        contact.id != self.own && !known && room && !self.is_crowded(bucket, contact.addr.ip())
    }

    /// A node has not answered.
    pub(super) fn failed(&mut self, addr: SocketAddr) {
        for bucket in &mut self.buckets {
            bucket.spare.retain(|node| node.contact.addr != addr);
            let Some(index) = bucket.nodes.iter().position(|node| node.contact.addr == addr) else {
                continue;
            };
            let node = &mut bucket.nodes[index];
            node.failures += 1;
            if node.answered.is_none() || node.failures >= MAX_FAILURES {
                // Without one to take its place it is not even tried again: its place stays free.
                bucket.nodes.remove(index);
                bucket.nodes.extend(bucket.spare.pop());
            }
        }
    }

    /// The nodes that are closest to `target`, closest first.
    pub(super) fn closest(&self, target: Id, count: usize) -> Vec<Contact> {
        let mut all: Vec<_> =
            self.nodes().filter(|node| node.failures == 0).map(|node| node.contact).collect();
        all.sort_by_key(|contact| contact.id.distance(&target));
        all.truncate(count);
        all
    }

    /// Likewise, those that others may be told of: that have answered us.
    pub(super) fn closest_proven(&self, target: Id, count: usize) -> Vec<Contact> {
        let proven = self.nodes().filter(|node| node.failures == 0 && node.answered.is_some());
        let mut proven: Vec<_> = proven.map(|node| node.contact).collect();
        proven.sort_by_key(|contact| contact.id.distance(&target));
        proven.truncate(count);
        proven
    }

    /// The node that was silent for longest, if it is time to ask it whether it is still there.
    pub(super) fn questionable(&self, now: Time) -> Option<SocketAddr> {
        let questionable = self.nodes().filter(|node| !node.is_good(now));
        questionable.min_by_key(|node| (node.answered, node.contact)).map(|node| node.contact.addr)
    }

    /// A place in the table that nothing was heard from for long, if there is one: an id that lies there.
    pub(super) fn stale(&mut self, now: Time, rng: &mut fastrand::Rng) -> Option<Id> {
        let deepest = self.buckets.iter().rposition(|bucket| !bucket.nodes.is_empty())?;
        let bits = (0..=deepest).find(|&bits| now - self.buckets[bits].changed >= STALE)?;
        self.buckets[bits].changed = now;
        Some(self.own.beside(bits, rng))
    }

    /// Places in the table that are not full, between us and its far end: an id that lies in each.
    pub(super) fn thin(&self, rng: &mut fastrand::Rng) -> Vec<Id> {
        let Some(deepest) = self.buckets.iter().rposition(|bucket| !bucket.nodes.is_empty()) else {
            return vec![];
        };
        let thin = (0..deepest).filter(|&bits| self.buckets[bits].nodes.len() < K);
        thin.map(|bits| self.own.beside(bits, rng)).collect()
    }

    /// Whether a node at this address has answered us: it is where it says.
    pub(super) fn is_proven(&self, addr: SocketAddr) -> bool {
        self.nodes().any(|node| node.contact.addr == addr && node.answered.is_some())
    }

    /// Nodes that have answered lately.
    pub(super) fn good(&self, now: Time) -> usize {
        self.nodes().filter(|node| node.is_good(now)).count()
    }

    /// Nodes altogether.
    pub(super) fn len(&self) -> usize {
        self.nodes().count()
    }

    /// Those that are worth keeping for the next run, the ones that answered last first.
    pub(super) fn lasting(&self, count: usize) -> Vec<Contact> {
        let mut all: Vec<_> = self.nodes().filter(|node| node.failures == 0).collect();
        all.sort_by_key(|node| (std::cmp::Reverse(node.answered), node.contact));
        all.truncate(count);
        all.into_iter().map(|node| node.contact).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    fn all(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|bucket| bucket.nodes.iter().chain(&bucket.spare))
    }

    fn remove(&mut self, gone: impl Fn(&Node) -> bool) {
        for bucket in &mut self.buckets {
            bucket.nodes.retain(|node| !gone(node));
            bucket.spare.retain(|node| !gone(node));
        }
    }

    /// Whether there is a node at this address already, or enough from its neighbourhood.
    fn is_crowded(&self, bucket: &Bucket, ip: IpAddr) -> bool {
        let neighbours = bucket.nodes.iter().filter(|node| same_neighbourhood(node.contact.addr.ip(), ip));
        let twin = || self.all().any(|node| node.contact.addr.ip() == ip);
        !is_local(ip) && (neighbours.count() >= MAX_NEIGHBOURS || twin())
    }

    fn put(&mut self, now: Time, node: Node) -> Option<SocketAddr> {
        let index = self.own.common_bits(&node.contact.id);
        if node.contact.id == self.own || self.is_crowded(&self.buckets[index], node.contact.addr.ip()) {
            return None;
        }
        let bucket = &mut self.buckets[index];
        if node.answered.is_some() {
            bucket.changed = now;
        }
        if bucket.nodes.len() < K {
            bucket.nodes.push(node);
            return None;
        }
        let misfit = bucket.nodes.iter().position(|other| node.fits && !other.fits);
        if let Some(misfit) = misfit.filter(|_| node.answered.is_some()) {
            bucket.nodes[misfit] = node;
            return None;
        }
        bucket.spare.retain(|other| other.contact.id != node.contact.id);
        if bucket.spare.len() >= K {
            bucket.spare.remove(0);
        }
        bucket.spare.push(node);
        let doubtful = bucket.nodes.iter().filter(|other| !other.is_good(now));
        doubtful.min_by_key(|other| other.answered).map(|other| other.contact.addr)
    }
}

/// Whether two public addresses are likely to be one owner's.
pub(super) fn same_neighbourhood(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Id = Id([0; 20]);

    /// A node in the first bucket, with an id that its address may have.
    fn node(n: u8, rng: &mut fastrand::Rng) -> Contact {
        node_at(IpAddr::from([n, 1, 1, 1]), rng)
    }

    fn node_at(ip: IpAddr, rng: &mut fastrand::Rng) -> Contact {
        loop {
            let id = Id::for_address(ip, rng);
            if id.0[0] & 0x80 != 0 {
                return Contact { id, addr: SocketAddr::new(ip, 6881) };
            }
        }
    }

    /// A table whose first bucket is full, and what fills it.
    fn full(rng: &mut fastrand::Rng) -> (Table, Vec<Contact>) {
        let mut table = Table::new(OWN);
        let nodes: Vec<_> = (20..20 + K as u8).map(|n| node(n, rng)).collect();
        for node in &nodes {
            assert_eq!(table.answered(Time::default(), *node), None);
        }
        (table, nodes)
    }

    fn addrs(table: &Table) -> Vec<SocketAddr> {
        table.closest(OWN, 100).into_iter().map(|contact| contact.addr).collect()
    }

    #[test]
    fn a_node_that_stops_answering_makes_room_for_a_spare_one() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut table, nodes) = full(&mut rng);
        let late = node(60, &mut rng);
        assert_eq!(table.answered(Time::default(), late), None, "the others are all good");
        assert!(!addrs(&table).contains(&late.addr));
        table.failed(nodes[0].addr);
        assert!(!addrs(&table).contains(&nodes[0].addr), "it is not handed on while in doubt");
        assert_eq!(table.len(), K);
        table.failed(nodes[0].addr);
        assert!(addrs(&table).contains(&late.addr));
        // Who was never heard in this run has one chance.
        let mut table = Table::new(OWN);
        table.restore(nodes[0]);
        assert_eq!((table.len(), table.good(Time::default())), (1, 0));
        table.failed(nodes[0].addr);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn who_was_silent_for_long_is_asked_before_a_newcomer_is_turned_away() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut table, nodes) = full(&mut rng);
        let later = Time(QUESTIONABLE);
        assert!(table.answered(later, nodes[1]).is_none());
        assert_eq!(table.answered(later, node(60, &mut rng)), Some(nodes[0].addr));
        assert_ne!(table.questionable(Time(QUESTIONABLE * 2)), Some(nodes[1].addr), "it answered last");
        assert_eq!(table.good(later), 1);
    }

    #[test]
    fn e21_an_id_that_its_address_may_not_have_gives_way() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut table, _) = full(&mut rng);
        let mut misfit = node(60, &mut rng);
        misfit.id.0[1] ^= 1;
        table.buckets[0].nodes.pop();
        table.answered(Time::default(), misfit);
        assert!(addrs(&table).contains(&misfit.addr), "as long as there is room");
        let fit = node(61, &mut rng);
        table.answered(Time::default(), fit);
        assert!(addrs(&table).contains(&fit.addr) && !addrs(&table).contains(&misfit.addr));
    }

    #[test]
    fn e23_two_hundred_ids_of_one_neighbourhood_are_two_and_of_one_address_one() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut table = Table::new(OWN);
        for n in 0..200 {
            table.answered(Time::default(), node_at(IpAddr::from([198, 51, 100, n]), &mut rng));
        }
        assert_eq!(table.len(), MAX_NEIGHBOURS);
        let mut table = Table::new(OWN);
        for port in 1..=200 {
            let contact =
                Contact { id: Id::random(&mut rng), addr: SocketAddr::from(([198, 51, 100, 1], port)) };
            table.answered(Time::default(), contact);
        }
        assert_eq!(table.len(), 1);
        for port in 1..=8 {
            let contact =
                Contact { id: Id::random(&mut rng), addr: SocketAddr::from(([127, 0, 0, 1], port)) };
            table.answered(Time::default(), contact);
        }
        assert!(table.len() > 4, "on one machine every port may be a node");
    }

    #[test]
    fn a_known_id_can_not_be_taken_over_from_elsewhere() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut table, nodes) = full(&mut rng);
        let thief = Contact { id: nodes[0].id, addr: "203.0.113.1:1".parse().unwrap() };
        table.answered(Time::default(), thief);
        assert!(addrs(&table).contains(&nodes[0].addr) && !addrs(&table).contains(&thief.addr));
        assert!(!table.would_take(Time::default(), thief));
    }

    #[test]
    fn another_id_of_ours_keeps_everybody_who_fits() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut table, nodes) = full(&mut rng);
        table.set_own(Id([0xff; 20]));
        assert!(table.len() >= 4, "{}", table.len());
        assert!(addrs(&table).iter().all(|addr| nodes.iter().any(|node| node.addr == *addr)));
    }
}
