use std::collections::{BTreeSet, HashMap};

use super::super::entry::V4;
use super::*;

fn keys() -> Keys {
    Keys::new(1)
}

fn addr(number: u32) -> [u8; V4] {
    let [a, b, c, d] = (0x0100_0000 + number).to_be_bytes();
    [a, b, c, d, 0x1a, 0xe1]
}

fn mark(role: Role) -> Mark {
    Mark { role, counted: false, paired: false, seen: 0, identity: 0 }
}

fn entry(number: u32, role: Role) -> Entry<V4> {
    Entry::new(addr(number), mark(role))
}

fn insert<const N: usize>(list: &mut PeerList<N>, addr: [u8; N], mark: Mark) {
    assert!(matches!(list.find(&keys(), &addr), Found::Not { .. }));
    let position = list.insert(&keys(), Entry::new(addr, mark));
    assert_eq!(list.find(&keys(), &addr), Found::At(position));
}

fn remove<const N: usize>(list: &mut PeerList<N>, addr: [u8; N]) -> Option<Mark> {
    match list.find(&keys(), &addr) {
        Found::At(position) => Some(list.remove(&keys(), position).mark()),
        Found::Not { .. } => None,
    }
}

fn of_host<const N: usize>(list: &PeerList<N>, addr: [u8; N]) -> usize {
    match list.find(&keys(), &addr) {
        Found::At(_) => panic!("it is there"),
        Found::Not { of_host } => of_host,
    }
}

fn asker(for_seed: bool) -> Asker {
    Asker { position: None, for_seed, is_loopback: false }
}

fn picked(list: &PeerList<V4>, asker: Asker, wanted: usize, seed: u64) -> Vec<[u8; V4]> {
    let mut picked = Vec::new();
    let count = list.pick(&mut fastrand::Rng::with_seed(seed), asker, wanted, &mut picked);
    assert_eq!(picked.len(), count * V4);
    picked.as_chunks::<V4>().0.to_vec()
}

#[test]
fn a_list_takes_the_bytes_that_are_meant() {
    assert_eq!(size_of::<PeerList<V4>>(), 32);
    assert!(size_of::<PeerList<V6>>() <= 56, "{}", size_of::<PeerList<V6>>());
}

#[test]
fn a_walk_meets_no_entry_twice_and_all_if_all_are_wanted() {
    let mut rng = fastrand::Rng::with_seed(1);
    for length in [0, 1, 2, 3, 30, 51, 52, 53, 60, 97, 1000] {
        for wanted in [1, 2, 12, 13, 51, 52, 96, 201, 2000] {
            let mut met = Vec::new();
            walk(&mut rng, length, wanted, |position| met.push(position));
            let distinct: BTreeSet<_> = met.iter().copied().collect();
            assert_eq!(met.len(), length.min(wanted), "{wanted} of {length}");
            assert_eq!(distinct.len(), met.len(), "{wanted} of {length}");
            assert!(distinct.iter().all(|&position| position < length));
        }
    }
}

/// The rule that counts are read off, checked against a plain list through random insertions, updates, removals and expiries.
#[test]
fn leechers_come_before_seeds_whatever_happens() {
    let mut rng = fastrand::Rng::with_seed(7);
    for limit in [4, 20, 60, 300] {
        let mut list = PeerList::<V4>::default();
        let mut model: Vec<([u8; V4], Mark)> = Vec::new();
        for time in 0..4000 {
            let addr = addr(rng.u32(..limit));
            let role = [Role::Leecher, Role::PartialSeed, Role::Seed][rng.usize(..3)];
            let mark = Mark { counted: rng.bool(), seen: time, ..mark(role) };
            let known = model.iter().position(|(other, _)| *other == addr);
            match (rng.u8(..4), known) {
                (0, _) => assert_eq!(remove(&mut list, addr), known.map(|at| model.swap_remove(at).1)),
                (_, None) => {
                    insert(&mut list, addr, mark);
                    model.push((addr, mark));
                }
                (_, Some(at)) => {
                    let Found::At(position) = list.find(&keys(), &addr) else { panic!("it is known") };
                    let position = list.update(&keys(), position, mark);
                    assert_eq!(list.entry(position).addr, addr);
                    model[at].1 = mark;
                }
            }
            if rng.u8(..50) == 0 {
                let oldest = rng.u32(..200);
                let mut from = usize::MAX;
                while from > 0 {
                    from = list.expire(&keys(), (time, oldest), (from, 7), |_| {});
                }
                model.retain(|(_, mark)| time - mark.seen <= oldest);
            }

            let count = |role| model.iter().filter(|(_, mark)| mark.role == role).count();
            let partial_seeds = count(Role::PartialSeed);
            let leechers = count(Role::Leecher) + partial_seeds;
            assert_eq!(list.counts(), Counts { seeds: count(Role::Seed), leechers, partial_seeds });
            for (position, entry) in list.entries().iter().enumerate() {
                assert!(model.contains(&(entry.addr, entry.mark())));
                assert_eq!(list.find(&keys(), &entry.addr), Found::At(position));
                if let PeerList::Large(large) = &list {
                    assert_eq!(entry.role() == Role::Seed, position >= large.leechers);
                }
            }
        }
    }
}

#[test]
fn a_list_grows_into_a_hashed_one_and_shrinks_back() {
    let mut list = PeerList::default();
    assert!(matches!(list, PeerList::Inline(..)));
    for number in 0..=SMALL as u32 {
        list.insert(&keys(), entry(number, Role::Seed));
        assert_eq!(matches!(list, PeerList::Inline(..)), number < INLINE as u32);
        assert_eq!(matches!(list, PeerList::Large(_)), number >= SMALL as u32);
    }
    for number in 0..(SMALL - SHRINK) as u32 {
        remove(&mut list, addr(number));
        assert!(matches!(list, PeerList::Large(_)));
    }
    remove(&mut list, addr(SHRINK as u32));
    assert!(matches!(list, PeerList::Small(_)));
    assert_eq!(list.len(), SHRINK);
    for number in SHRINK as u32 + 1..SMALL as u32 - 1 {
        remove(&mut list, addr(number));
    }
    assert!(matches!(list, PeerList::Inline(..)), "{list:?}");
    assert_eq!((list.len(), list.heap_bytes()), (2, 0));
}

#[test]
fn hosts_are_counted_in_small_lists_and_in_large_ones() {
    let mut list = PeerList::<V4>::default();
    let of_port = |port: u8| [192, 0, 2, 1, 0, port];
    for port in 1..=100 {
        assert_eq!(of_host(&list, of_port(port)), usize::from(port) - 1);
        insert(&mut list, of_port(port), mark(Role::Leecher));
    }
    for port in (1..=100).rev() {
        remove(&mut list, of_port(port));
        assert_eq!(of_host(&list, of_port(port)), usize::from(port) - 1);
    }

    let mut list = PeerList::<V6>::default();
    let v6 = |network: u8, host: u8| {
        let mut addr = [0; V6];
        (addr[0], addr[1], addr[7], addr[15], addr[17]) = (0x20, 1, network, host, 1);
        addr
    };
    insert(&mut list, v6(1, 1), mark(Role::Leecher));
    assert_eq!((of_host(&list, v6(1, 2)), of_host(&list, v6(2, 1))), (1, 0));
}

#[test]
fn a_pick_is_of_distinct_peers_without_the_asker_and_differs_from_time_to_time() {
    let mut list = PeerList::default();
    for number in 0..1000 {
        list.insert(&keys(), entry(number, if number % 2 == 0 { Role::Seed } else { Role::Leecher }));
    }
    let first = picked(&list, asker(false), 50, 1);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_ne!(first, picked(&list, asker(false), 50, 2));
    assert_eq!(first, picked(&list, asker(false), 50, 1), "the same seed picks the same");

    let leechers: BTreeSet<_> = picked(&list, asker(true), 2000, 1).into_iter().collect();
    let expected: BTreeSet<_> = (0..1000).filter(|n| n % 2 == 1).map(addr).collect();
    assert_eq!(leechers, expected);

    for position in [0, 499, 500, 999] {
        let itself = Asker { position: Some(position), ..asker(false) };
        for seed in 0..200 {
            let picked = picked(&list, itself, 50, seed);
            assert_eq!(picked.len(), 50);
            assert!(!picked.contains(&list.entry(position).addr));
        }
        assert_eq!(picked(&list, itself, 2000, 1).len(), 999);
    }
}

#[test]
fn in_the_long_run_everyone_is_picked_as_often_as_the_others() {
    let mut list = PeerList::default();
    for number in 0..100 {
        list.insert(&keys(), entry(number, Role::Leecher));
    }
    let mut counts: HashMap<[u8; V4], u32> = HashMap::new();
    for seed in 0..2000 {
        for peer in picked(&list, asker(false), 10, seed) {
            *counts.entry(peer).or_default() += 1;
        }
    }
    // 200 each are expected; the bounds are five standard deviations away.
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| (130..=270).contains(count)), "{counts:?}");
}

#[test]
fn loopback_peers_are_passed_over_and_made_up_for() {
    let mut list = PeerList::default();
    for number in 0..1000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        list.insert(&keys(), Entry::new([127, 0, 0, 1, high + 1, low], mark(Role::Leecher)));
        if number % 20 == 0 {
            list.insert(&keys(), entry(number, Role::Leecher));
        }
    }
    let public = picked(&list, asker(false), 40, 1);
    assert_eq!(public.iter().collect::<BTreeSet<_>>().len(), 40);
    assert!(public.iter().all(|addr| addr[0] != 127));
    let local = picked(&list, Asker { is_loopback: true, ..asker(false) }, 40, 1);
    assert_eq!(local.len(), 40);
    assert!(local.iter().any(|addr| addr[0] == 127));
}
