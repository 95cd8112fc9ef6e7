//! One node, and everything that the world may send it.

use super::*;
use crate::dht::packet::encode_error;

const V4: &str = "198.51.100.7:6881";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

fn node() -> Dht {
    with(|_| {})
}

fn with(change: impl FnOnce(&mut Config)) -> Dht {
    let mut config =
        Config { seed: 1, secret: [7; 32], v4: true, v6: true, read_only: false, saved: Saved::default() };
    change(&mut config);
    Dht::new(config)
}

fn id(n: u8) -> Id {
    Id([n; 20])
}

fn query(n: u8, method: Method) -> Vec<u8> {
    encode_query(b"aa", &Query { id: id(n), method, want: (false, false), read_only: false })
}

/// What it sends, read.
fn sent(dht: &mut Dht) -> Vec<(SocketAddr, Packet)> {
    std::iter::from_fn(|| dht.poll_action())
        .filter_map(|action| match action {
            Action::Send(to, bytes) => Some((to, Packet::decode(&bytes).unwrap())),
            _ => None,
        })
        .collect()
}

/// Its answer to this.
fn answer(dht: &mut Dht, now: Time, from: &str, bytes: &[u8]) -> Option<Response> {
    dht.handle_packet(now, addr(from), bytes);
    sent(dht).into_iter().find_map(|(to, packet)| match packet.body {
        Body::Response(response) if to == addr(from) => Some(response),
        _ => None,
    })
}

/// The questions among what it sends.
fn asked(dht: &mut Dht) -> Vec<(SocketAddr, Vec<u8>, Method)> {
    let questions = sent(dht).into_iter().filter_map(|(to, packet)| match packet.body {
        Body::Query(query) => Some((to, packet.transaction, query.method)),
        _ => None,
    });
    questions.collect()
}

/// Answers a question as `from`, which calls itself `n`.
fn reply(
    dht: &mut Dht,
    now: Time,
    from: &str,
    transaction: &[u8],
    n: u8,
    change: impl FnOnce(&mut Response),
) {
    let mut response = Response { id: id(n), nodes: vec![], peers: vec![], token: None, seen_as: None };
    change(&mut response);
    dht.handle_packet(now, addr(from), &encode_response(transaction, &response));
}

/// Makes it know a node.
fn introduce(dht: &mut Dht, now: Time, from: &str, n: u8) {
    dht.add_node(now, addr(from));
    let (_, transaction, _) = asked(dht).into_iter().find(|(to, ..)| *to == addr(from)).expect("it is asked");
    reply(dht, now, from, &transaction, n, |_| {});
}

#[test]
fn who_announces_with_its_token_is_told_to_others() {
    let mut dht = node();
    let got = answer(&mut dht, at(0), V4, &query(2, Method::GetPeers(id(9)))).unwrap();
    let token = got.token.unwrap();
    assert_eq!(got.seen_as, Some(addr(V4)));
    let announce = Method::AnnouncePeer { info_hash: id(9), port: Some(1000), token: token.clone() };
    assert!(answer(&mut dht, at(0), V4, &query(2, announce)).is_some());
    let implied = Method::AnnouncePeer { info_hash: id(9), port: None, token };
    assert!(answer(&mut dht, at(0), V4, &query(2, implied)).is_some());
    let mut told =
        answer(&mut dht, at(0), "203.0.113.9:1", &query(3, Method::GetPeers(id(9)))).unwrap().peers;
    told.sort();
    assert_eq!(told, [addr("198.51.100.7:1000"), addr(V4)]);
    assert!(
        answer(&mut dht, at(0), "[2001:db8::9]:1", &query(4, Method::GetPeers(id(9))))
            .unwrap()
            .peers
            .is_empty()
    );
}

#[test]
fn e21_a_token_of_another_address_an_old_one_or_none_announces_nothing() {
    let mut dht = node();
    let token = answer(&mut dht, at(0), V4, &query(2, Method::GetPeers(id(9)))).unwrap().token.unwrap();
    for (case, now, from, token) in [
        ("another address", 0, "203.0.113.9:1", token.clone()),
        ("an old one", 1000, V4, token),
        ("a made-up one", 0, V4, b"12345678".to_vec()),
        ("none", 0, V4, Vec::new()),
    ] {
        let announce = Method::AnnouncePeer { info_hash: id(9), port: Some(1), token };
        dht.handle_packet(at(now), addr(from), &query(2, announce));
        let refused =
            sent(&mut dht).into_iter().any(|(to, it)| to == addr(from) && it.body == Body::Error(203));
        assert!(refused && dht.stats(at(now)).torrents == 0, "{case}");
    }
}

#[test]
fn e21_an_answer_counts_only_from_whom_was_asked_and_by_its_number() {
    let mut dht = node();
    dht.add_node(at(0), addr(V4));
    let (_, transaction, _) = asked(&mut dht).remove(0);
    reply(&mut dht, at(0), "203.0.113.9:6881", &transaction, 2, |_| {});
    reply(&mut dht, at(0), "198.51.100.7:6882", &transaction, 2, |_| {});
    let mut other = transaction.clone();
    other[0] ^= 1;
    reply(&mut dht, at(0), V4, &other, 2, |_| {});
    reply(&mut dht, at(0), V4, b"aa", 2, |_| {});
    assert_eq!(dht.stats(at(0)).nodes, 0);
    reply(&mut dht, at(0), V4, &transaction, 2, |_| {});
    assert_eq!(dht.stats(at(0)).nodes, 1);
    // It is not taken twice.
    reply(&mut dht, at(0), V4, &transaction, 3, |_| {});
    assert_eq!(dht.id(true).map(|_| dht.stats(at(0)).nodes), Some(1));
}

#[test]
fn transactions_are_of_four_bytes_that_do_not_repeat() {
    let mut dht = node();
    let mut seen = std::collections::BTreeSet::new();
    for n in 1..=60 {
        dht.add_node(at(0), SocketAddr::from(([203, 0, 113, n], 1)));
        for (_, transaction, _) in asked(&mut dht) {
            assert!(transaction.len() == 4 && seen.insert(transaction));
        }
        dht.handle_timeout(at(10 * u64::from(n)));
    }
    assert!(seen.len() >= 50);
}

#[test]
fn e16_a_public_node_names_no_private_ones_and_a_private_one_may() {
    for (from, local) in [(V4, false), ("10.0.0.7:6881", true)] {
        let mut dht = node();
        introduce(&mut dht, at(0), from, 2);
        dht.search(at(0), SearchId(1), id(9), None);
        let (_, transaction, _) = asked(&mut dht).remove(0);
        let named =
            ["127.0.0.1:80", "10.0.0.1:80", "198.51.100.9:1", "224.0.0.1:1", "203.0.113.1:0"].map(addr);
        reply(&mut dht, at(0), from, &transaction, 2, |response| {
            response.peers = named.to_vec();
            response.nodes =
                named.iter().zip(10..).map(|(addr, n)| Contact { id: id(n), addr: *addr }).collect();
        });
        let actions: Vec<_> = std::iter::from_fn(|| dht.poll_action()).collect();
        let expected = if local { named[..3].to_vec() } else { vec![named[2]] };
        let found = Action::Found { search: SearchId(1), local, peers: expected.clone() };
        assert!(actions.contains(&found), "{actions:?}");
        let mut asked: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Send(to, _) => Some(*to),
                _ => None,
            })
            .collect();
        asked.sort();
        asked.dedup();
        let mut expected = expected;
        expected.sort();
        assert_eq!(asked, expected, "and whom it asks next");
    }
}

#[test]
fn e22_a_flood_is_not_answered_for_long() {
    let mut dht = node();
    for _ in 0..10_000 {
        dht.handle_packet(at(0), addr(V4), &query(2, Method::Ping));
    }
    let answered = sent(&mut dht).len();
    assert!((50..=120).contains(&answered), "{answered}");
    assert!(answer(&mut dht, at(0), "203.0.113.9:1", &query(3, Method::Ping)).is_some());
}

#[test]
fn e24_a_stranger_gets_no_more_than_three_times_what_it_sent() {
    let mut dht = node();
    for n in 1..=12 {
        introduce(&mut dht, at(0), &format!("203.{n}.113.1:6881"), 0x10 * n + n);
    }
    for n in 1..=50_u8 {
        let from = SocketAddr::from(([100, n, 1, 1], 1)).to_string();
        let token =
            answer(&mut dht, at(0), &from, &query(200, Method::GetPeers(id(9)))).unwrap().token.unwrap();
        let announce = Method::AnnouncePeer { info_hash: id(9), port: Some(1), token };
        answer(&mut dht, at(0), &from, &query(200, announce)).unwrap();
    }
    for method in [Method::Ping, Method::FindNode(id(9)), Method::GetPeers(id(9))] {
        let bytes = encode_query(b"a", &Query { id: id(2), method, want: (true, true), read_only: true });
        dht.handle_packet(at(0), addr(V4), &bytes);
        let longest = std::iter::from_fn(|| dht.poll_action())
            .filter_map(|action| match action {
                Action::Send(to, answer) if to == addr(V4) => Some(answer.len()),
                _ => None,
            })
            .max()
            .unwrap();
        assert!(longest <= 3 * bytes.len(), "{longest} for {}", bytes.len());
    }
    // A node that is known to be where it says gets what there is.
    let got = answer(&mut dht, at(0), "203.1.113.1:6881", &query(0x11, Method::GetPeers(id(9)))).unwrap();
    assert!(got.peers.len() == 50 && got.nodes.len() == 8, "{got:?}");
}

#[test]
fn bep_43_a_read_only_node_asks_and_says_so_but_never_answers() {
    let mut dht = with(|config| config.read_only = true);
    assert_eq!(answer(&mut dht, at(0), V4, &query(2, Method::Ping)), None);
    dht.add_node(at(0), addr(V4));
    let read_only = sent(&mut dht).into_iter().any(|(_, packet)| match packet.body {
        Body::Query(query) => query.read_only,
        _ => false,
    });
    assert!(read_only);
    // And such a node is answered, but not remembered.
    let mut dht = node();
    let ping = encode_query(
        b"aa",
        &Query { id: id(2), method: Method::Ping, want: (false, false), read_only: true },
    );
    dht.handle_packet(at(0), addr(V4), &ping);
    assert_eq!(sent(&mut dht).len(), 1, "an answer, and no question");
}

#[test]
fn bep_42_our_id_follows_what_most_say_of_our_address() {
    let mut dht = node();
    let here = addr("203.0.113.200:6881");
    let first = dht.id(true).unwrap();
    for n in 1..=4 {
        let from = format!("198.{n}.100.7:6881");
        dht.add_node(at(0), addr(&from));
        let (_, transaction, _) = asked(&mut dht).into_iter().find(|(to, ..)| *to == addr(&from)).unwrap();
        reply(&mut dht, at(0), &from, &transaction, 100 + n, |response| response.seen_as = Some(here));
    }
    assert_eq!(dht.id(true), Some(first), "too few");
    let from = "198.5.100.7:6881";
    dht.add_node(at(0), addr(from));
    let (_, transaction, _) = asked(&mut dht).into_iter().find(|(to, ..)| *to == addr(from)).unwrap();
    reply(&mut dht, at(0), from, &transaction, 105, |response| response.seen_as = Some(here));
    assert!(dht.id(true).unwrap().fits(here.ip()));
    assert_eq!(dht.stats(at(0)).nodes, 5, "and the nodes stay");
}

#[test]
fn bep_42_one_node_alone_can_not_make_us_change_our_id() {
    let mut dht = node();
    let first = dht.id(true);
    introduce(&mut dht, at(0), V4, 2);
    for round in 0..50 {
        dht.search(at(round * 10), SearchId(round), id(9), None);
        for (_, transaction, _) in asked(&mut dht) {
            reply(&mut dht, at(round * 10), V4, &transaction, 2, |response| {
                response.seen_as = Some(SocketAddr::from(([round as u8 + 1, 1, 1, 1], 1)));
            });
        }
    }
    assert_eq!(dht.id(true), first);
}

#[test]
fn bep_32_nodes_of_the_other_version_of_ip_begin_its_table() {
    let mut dht = node();
    dht.add_node(at(0), addr(V4));
    let (_, transaction, _) = asked(&mut dht).remove(0);
    let six = addr("[2001:db8::1]:6881");
    reply(&mut dht, at(0), V4, &transaction, 2, |response| {
        response.nodes = vec![Contact { id: id(3), addr: six }];
    });
    assert!(asked(&mut dht).iter().any(|(to, ..)| *to == six));
}

#[test]
fn a_search_without_anybody_to_ask_begins_as_soon_as_there_is_somebody() {
    let mut dht = node();
    dht.search(at(0), SearchId(1), id(9), Some(6881));
    assert!(asked(&mut dht).is_empty());
    introduce(&mut dht, at(1), V4, 2);
    let (to, transaction, method) = asked(&mut dht).remove(0);
    assert_eq!((to, method), (addr(V4), Method::GetPeers(id(9))));
    reply(&mut dht, at(1), V4, &transaction, 2, |response| response.token = Some(b"token".to_vec()));
    let announce = Method::AnnouncePeer { info_hash: id(9), port: Some(6881), token: b"token".to_vec() };
    assert!(asked(&mut dht).iter().any(|(to, _, method)| *to == addr(V4) && *method == announce));
}

#[test]
fn a_search_is_over_when_all_nodes_that_there_are_have_answered() {
    // In the other version of IP there are none.
    for from in [V4, "[2001:db8::7]:6881"] {
        let mut dht = node();
        introduce(&mut dht, at(0), from, 2);
        dht.search(at(1), SearchId(1), id(9), None);
        let (_, transaction, _) = asked(&mut dht).remove(0);
        reply(&mut dht, at(2), from, &transaction, 2, |_| {});
        let finished: Vec<_> = std::iter::from_fn(|| dht.poll_action())
            .filter_map(|action| match action {
                Action::Finished { outcome, .. } => Some(outcome.asked),
                _ => None,
            })
            .collect();
        assert_eq!(finished, [1], "{from}");
        assert!(dht.searches.is_empty() && dht.lookups.is_empty(), "{from}");
    }
}

#[test]
fn routers_of_the_whole_world_are_asked_for_nodes_only_and_others_are_nodes_themselves() {
    for spared in [true, false] {
        let mut dht = node();
        dht.set_routers(at(0), vec![addr(V4)], spared);
        dht.search(at(0), SearchId(1), id(9), Some(6881));
        let (to, transaction, _) = asked(&mut dht).remove(0);
        assert_eq!(to, addr(V4));
        reply(&mut dht, at(0), V4, &transaction, 2, |response| {
            response.nodes = vec![Contact { id: id(3), addr: addr("203.0.113.9:1") }];
        });
        let mut next: Vec<_> = asked(&mut dht).into_iter().map(|(to, ..)| to).collect();
        next.sort();
        let expected =
            if spared { vec![addr("203.0.113.9:1")] } else { vec![addr(V4), addr("203.0.113.9:1")] };
        assert_eq!((next, dht.stats(at(0)).nodes), (expected, usize::from(!spared)));
    }
}

#[test]
fn a_search_that_finds_nobody_ends() {
    let mut dht = node();
    dht.search(at(0), SearchId(1), id(9), None);
    let mut now = at(0);
    let mut outcome = None;
    while outcome.is_none() && now < at(60) {
        now = dht.poll_timeout().max(now + Duration::from_millis(1));
        dht.handle_timeout(now);
        outcome = std::iter::from_fn(|| dht.poll_action()).find_map(|action| match action {
            Action::Finished { outcome, .. } => Some(outcome),
            _ => None,
        });
    }
    assert_eq!(outcome, Some(Outcome::default()));
    assert!(dht.searches.is_empty() && dht.lookups.is_empty(), "and leaves nothing behind");
}

#[test]
fn what_is_saved_is_asked_first_in_the_next_run() {
    let mut dht = node();
    introduce(&mut dht, at(0), V4, 2);
    let saved = Saved::decode(&dht.save().encode()).unwrap();
    let mut again = with(|config| config.saved = saved);
    assert_eq!(again.id(true), dht.id(true));
    again.search(at(0), SearchId(1), id(9), None);
    assert!(asked(&mut again).iter().any(|(to, ..)| *to == addr(V4)));
}

#[test]
fn garbage_of_any_kind_changes_nothing_and_is_bounded() {
    let mut dht = node();
    introduce(&mut dht, at(0), "10.0.0.1:6881", 2);
    let good = encode_response(
        b"aaaa",
        &Response { id: id(3), nodes: vec![], peers: vec![], token: None, seen_as: None },
    );
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..20_000 {
        let mut bytes = if round % 2 == 0 { query(3, Method::GetPeers(id(9))) } else { good.clone() };
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(rng.usize(..=bytes.len()));
        dht.handle_packet(at(0), addr("10.0.0.2:1"), &bytes);
        for (to, _) in sent(&mut dht) {
            assert_eq!(to, addr("10.0.0.2:1"));
        }
    }
    dht.handle_packet(at(0), addr("10.0.0.2:1"), &encode_error(b"aaaa", 201, "oops"));
    assert!(dht.stats(at(0)).nodes <= 2 && dht.pending.len() <= 8);
}
