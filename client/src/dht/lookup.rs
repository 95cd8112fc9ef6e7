//! One look-up: from the nodes that we know, step by step, to those that are closest to a target (Kademlia, section 2.3).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::id::Id;
use super::packet::Contact;
use super::table::{K, same_neighbourhood};
use crate::torrent::is_local;

/// Nodes that are asked at a time, besides those that take long.
const ALPHA: usize = 4;

/// Nodes that are remembered in one look-up, closest first.
const MAX_CANDIDATES: usize = 64;

/// Nodes that are asked in one look-up, whatever they answer: who makes up ever closer ones must not keep us busy for ever. Honest ones
/// take 20 to 40.
const MAX_ASKED: usize = 100;

/// Nodes from one neighbourhood that are asked in one look-up: who fills the surroundings of a target from one network gets two places.
const MAX_NEIGHBOURS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Asked,
    /// Asked, and slower than others: nobody waits for it any more, though its answer is welcome.
    Slow,
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    contact: Contact,
    state: State,
    /// Steps from our own table: 1 for those in it.
    depth: u32,
    token: Option<Vec<u8>>,
    /// Its id is one that its address may have (BEP 42).
    fits: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lookup {
    target: Id,
    own: Id,
    /// By their distance from the target.
    candidates: BTreeMap<Id, Candidate>,
    asked: usize,
    /// Nodes whose id is not known, such as routers, that were asked and have not answered.
    nameless: usize,
}

/// Where an announce goes, and the token that it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Holder {
    pub(super) contact: Contact,
    pub(super) token: Vec<u8>,
}

impl Lookup {
    pub(super) fn new(target: Id, own: Id, known: impl IntoIterator<Item = Contact>) -> Self {
        let mut lookup = Self { target, own, candidates: BTreeMap::new(), asked: 0, nameless: 0 };
        known.into_iter().for_each(|contact| lookup.add(contact, 1));
        lookup
    }

    pub(super) fn target(&self) -> Id {
        self.target
    }

    /// Nodes that were asked.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// It has nobody to ask yet.
    pub(super) fn is_starving(&self) -> bool {
        self.nameless == 0 && self.candidates.values().all(|candidate| candidate.state == State::Failed)
    }

    /// A node that we know.
    pub(super) fn offer(&mut self, contact: Contact) {
        self.add(contact, 1);
    }

    /// A node without a known id is asked.
    pub(super) fn ask_nameless(&mut self) {
        self.nameless += 1;
    }

    /// One of those has answered, or has not.
    pub(super) fn nameless_done(&mut self, named: &[Contact]) {
        self.nameless = self.nameless.saturating_sub(1);
        named.iter().for_each(|contact| self.add(*contact, 1));
    }

    /// The next node to ask, which then counts as asked. `None`: wait, or it is finished.
    pub(super) fn next(&mut self) -> Option<Contact> {
        let pending = self.candidates.values().filter(|candidate| candidate.state == State::Asked).count();
        if pending >= ALPHA || self.asked >= MAX_ASKED {
            return None;
        }
        let next = self.window().find(|candidate| candidate.state == State::New)?.contact;
        self.asked += 1;
        let candidate = self.candidates.get_mut(&next.id.distance(&self.target))?;
        candidate.state = State::Asked;
        Some(next)
    }

    /// Whether the closest nodes that are to be had have answered.
    pub(super) fn is_finished(&self) -> bool {
        let pending = |candidate: &Candidate| match candidate.state {
            State::Asked => true,
            State::New => self.asked < MAX_ASKED,
            _ => false,
        };
        self.nameless == 0 && !self.window().any(pending)
    }

    /// The node that was taken for `asked` has answered, by the id `id`, and has named others.
    pub(super) fn answered(&mut self, asked: Contact, id: Id, token: Option<Vec<u8>>, named: &[Contact]) {
        let place = asked.id.distance(&self.target);
        let Some(depth) = self.candidates.get(&place).map(|candidate| candidate.depth) else { return };
        if id != asked.id {
            // Whoever named it lied or is behind the times. What it is now counts.
            self.candidates.remove(&place);
            self.add(Contact { id, addr: asked.addr }, depth);
        }
        if let Some(candidate) = self.candidates.get_mut(&id.distance(&self.target)) {
            if candidate.contact.addr != asked.addr {
                return;
            }
            candidate.state = State::Answered;
            candidate.token = token;
        }
        named.iter().for_each(|contact| self.add(*contact, depth + 1));
    }

    /// It takes long.
    pub(super) fn slow(&mut self, asked: Contact) {
        self.set(asked, State::Slow);
    }

    /// It has not answered.
    pub(super) fn failed(&mut self, asked: Contact) {
        self.set(asked, State::Failed);
    }

    /// How many steps it took to the closest node.
    pub(super) fn hops(&self) -> u32 {
        self.answered_nodes().next().map_or(0, |candidate| candidate.depth)
    }

    /// The closest nodes that have answered.
    #[cfg(test)]
    fn closest(&self) -> Vec<Contact> {
        self.answered_nodes().take(K).map(|candidate| candidate.contact).collect()
    }

    /// Who should hold an announce.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let with_token = |candidate: &Candidate| {
            let token = candidate.token.clone()?;
            Some(Holder { contact: candidate.contact, token })
        };
        closest(self.answered_nodes()).filter_map(with_token).collect()
    }

    fn answered_nodes(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.values().filter(|candidate| candidate.state == State::Answered)
    }

    /// The closest nodes of which something may be hoped.
    fn window(&self) -> impl Iterator<Item = &Candidate> {
        let hopeless = |state| matches!(state, State::Slow | State::Failed);
        closest(self.candidates.values().filter(move |candidate| !hopeless(candidate.state)))
    }

    fn set(&mut self, asked: Contact, state: State) {
        let place = asked.id.distance(&self.target);
        if let Some(candidate) = self.candidates.get_mut(&place)
            && candidate.contact == asked
            && candidate.state != State::Answered
        {
            candidate.state = state;
        }
    }

    fn add(&mut self, contact: Contact, depth: u32) {
        let place = contact.id.distance(&self.target);
        if contact.id == self.own || self.candidates.contains_key(&place) || self.is_crowded(contact.addr) {
            return;
        }
        let fits = contact.id.fits(contact.addr.ip());
        self.candidates.insert(place, Candidate { contact, state: State::New, depth, token: None, fits });
        if self.candidates.len() > MAX_CANDIDATES {
            self.candidates.pop_last();
        }
    }

    fn is_crowded(&self, addr: SocketAddr) -> bool {
        let of = |same: &dyn Fn(SocketAddr) -> bool| {
            self.candidates.values().filter(|candidate| same(candidate.contact.addr)).count()
        };
        if is_local(addr.ip()) {
            return of(&|other| other == addr) > 0;
        }
        of(&|other| other.ip() == addr.ip()) > 0
            || of(&|other| same_neighbourhood(other.ip(), addr.ip())) >= MAX_NEIGHBOURS
    }
}

/// The closest of these nodes, and as many whose ids fit their addresses where some of the former don't (BEP 42): who chooses ids at will
/// to surround a target does not get between it and us, and nodes of programs that don't know the rule are not left out.
fn closest<'a>(nodes: impl Iterator<Item = &'a Candidate>) -> impl Iterator<Item = &'a Candidate> {
    let (mut all, mut fit) = (0, 0);
    nodes.filter(move |candidate| {
        all += 1;
        fit += usize::from(candidate.fits);
        all <= K || candidate.fits && fit <= K
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Id = Id([0; 20]);
    const OWN: Id = Id([0xff; 20]);

    /// A node at this distance from the target.
    fn node(distance: u8) -> Contact {
        let mut id = [0; 20];
        id[0] = distance;
        Contact { id: Id(id), addr: SocketAddr::from(([distance, 1, 1, 1], 6881)) }
    }

    fn asked(lookup: &mut Lookup) -> Vec<u8> {
        std::iter::from_fn(|| lookup.next()).map(|contact| contact.id.0[0]).collect()
    }

    #[test]
    fn it_asks_the_closest_some_at_a_time_until_the_closest_have_answered() {
        let mut lookup = Lookup::new(TARGET, OWN, (100..120).map(node));
        assert_eq!(asked(&mut lookup), [100, 101, 102, 103]);
        let closer: Vec<_> = (1..=8).map(node).collect();
        lookup.answered(node(100), node(100).id, None, &closer);
        assert_eq!(asked(&mut lookup), [1]);
        for n in [101, 102, 103] {
            lookup.answered(node(n), node(n).id, None, &[]);
        }
        assert_eq!(asked(&mut lookup), [2, 3, 4]);
        for n in 1..=4 {
            lookup.answered(node(n), node(n).id, Some(vec![n]), &[]);
        }
        assert_eq!(asked(&mut lookup), [5, 6, 7, 8]);
        assert!(!lookup.is_finished());
        for n in 5..=8 {
            lookup.answered(node(n), node(n).id, Some(vec![n]), &[]);
        }
        assert!(lookup.is_finished());
        assert_eq!((lookup.hops(), lookup.asked()), (2, 12));
        assert_eq!(lookup.closest(), closer);
        assert_eq!(lookup.holders().len(), K);
    }

    #[test]
    fn nobody_waits_for_those_that_take_long_but_an_answer_is_welcome() {
        let mut lookup = Lookup::new(TARGET, OWN, (1..=4).map(node));
        assert_eq!(asked(&mut lookup).len(), 4);
        for n in 2..=4 {
            lookup.answered(node(n), node(n).id, None, &[]);
        }
        assert!(!lookup.is_finished());
        lookup.slow(node(1));
        assert!(lookup.is_finished());
        lookup.answered(node(1), node(1).id, Some(vec![1]), &[]);
        assert_eq!(lookup.closest()[0], node(1));
    }

    #[test]
    fn e21_poisoned_lists_cost_a_bounded_number_of_questions() {
        let mut lookup = Lookup::new(TARGET, OWN, [node(200)]);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut asked = 0;
        while let Some(contact) = lookup.next() {
            asked += 1;
            // Ever closer, each elsewhere.
            let named: Vec<_> = (0..8)
                .map(|_| {
                    let mut id = Id::random(&mut rng).0;
                    id[..10].copy_from_slice(&[0; 10]);
                    let ip: [u8; 4] = [rng.u8(1..200), rng.u8(..), rng.u8(..), rng.u8(..)];
                    Contact { id: Id(id), addr: SocketAddr::from((ip, 1)) }
                })
                .collect();
            lookup.answered(contact, contact.id, None, &named);
        }
        assert!(asked <= MAX_ASKED && lookup.candidates.len() <= MAX_CANDIDATES);
        assert!(lookup.is_finished());
    }

    #[test]
    fn e23_one_network_gets_two_places_and_one_address_one() {
        let crowd = (0..200)
            .map(|n| Contact { id: node(1 + n % 100).id, addr: SocketAddr::from(([198, 51, 100, n], 1)) });
        let mut lookup = Lookup::new(TARGET, OWN, crowd);
        assert_eq!(lookup.candidates.len(), MAX_NEIGHBOURS);
        let victim = (0..200).map(|n| Contact {
            id: node(n).id,
            addr: SocketAddr::from(([203, 0, 113, 1], 1 + u16::from(n))),
        });
        victim.for_each(|contact| lookup.offer(contact));
        assert_eq!(lookup.candidates.len(), MAX_NEIGHBOURS + 1);
    }

    #[test]
    fn who_answers_by_another_id_counts_as_what_it_is() {
        let mut lookup = Lookup::new(TARGET, OWN, [node(1), node(9)]);
        assert_eq!(asked(&mut lookup), [1, 9]);
        lookup.answered(node(1), node(50).id, Some(vec![1]), &[]);
        lookup.answered(node(9), node(9).id, Some(vec![9]), &[]);
        let closest: Vec<_> =
            lookup.closest().iter().map(|contact| (contact.id.0[0], contact.addr)).collect();
        assert_eq!(closest, [(9, node(9).addr), (50, node(1).addr)]);
    }

    #[test]
    fn e23_ids_chosen_at_will_don_t_hide_those_that_their_addresses_may_have() {
        let mut rng = fastrand::Rng::with_seed(1);
        let fitting: Vec<_> = (0..K as u8)
            .map(|n| {
                let addr = SocketAddr::from(([100 + n, 2, 2, 2], 1));
                Contact { id: Id::for_address(addr.ip(), &mut rng), addr }
            })
            .collect();
        let misfits = (1..=50).map(|n| {
            let mut id = TARGET;
            id.0[2] = n;
            Contact { id, addr: SocketAddr::from(([n, 3, 3, 3], 1)) }
        });
        let misfits: Vec<_> = misfits.filter(|contact| !contact.id.fits(contact.addr.ip())).collect();
        let mut lookup = Lookup::new(TARGET, OWN, fitting.iter().chain(&misfits).copied());
        while let Some(contact) = lookup.next() {
            lookup.answered(contact, contact.id, Some(vec![1]), &misfits);
        }
        assert!(lookup.is_finished());
        let holders: Vec<_> = lookup.holders().into_iter().map(|holder| holder.contact).collect();
        assert_eq!(holders.len(), 2 * K);
        assert!(fitting.iter().all(|contact| holders.contains(contact)));
    }
}
