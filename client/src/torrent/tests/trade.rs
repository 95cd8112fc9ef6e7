//! How honest peers are treated.

use super::*;
use crate::wire::extension::ExtensionHandshake;

#[test]
fn a_seeder_introduces_itself_by_the_extensions_that_the_peer_has() {
    let mut scene = Scene::seeder(10, 1);
    let modern = scene.connect(1, MODERN);
    let heard = scene.heard(modern);
    assert_eq!(heard[0], Message::HaveAll);
    assert!(matches!(heard[1], Message::Extended { id: 0, .. }));
    let plain = scene.connect(2, PLAIN);
    assert_eq!(scene.heard(plain), [Message::Bitfield(vec![0xff, 0xc0])]);
    let mut scene = Scene::leecher(10, 1);
    let plain = scene.connect(2, PLAIN);
    assert_eq!(scene.heard(plain), []);
}

#[test]
fn a_piece_is_fetched_verified_and_announced() {
    let mut scene = Scene::leecher(2, 2);
    let other = scene.connect(9, PLAIN);
    let seed = scene.connect(1, MODERN);
    scene.says(seed, [Message::HaveAll]);
    assert_eq!(scene.heard(seed).last(), Some(&Message::Interested));
    scene.says(seed, [Message::Unchoke]);
    let requests = scene.requests_to(seed);
    assert_eq!(requests.len(), 4);
    for request in &requests[..2] {
        assert_eq!(scene.sends_block(seed, *request), Verdict::Keep);
    }
    let piece = requests[0].index;
    assert_eq!(scene.take_verifies(), [(piece, false)]);
    scene.heard(other);
    assert_eq!(scene.torrent.stats(scene.now).bytes_done, 0, "nothing counts before its hash is right");
    scene.hashed(piece, Verification::Good(None));
    assert_eq!(scene.heard(other), [Message::Have(piece)]);
    assert_eq!(scene.torrent.stats(scene.now).bytes_done, 2 * u64::from(BLOCK_LENGTH));
    for request in &requests[2..] {
        scene.sends_block(seed, *request);
    }
    scene.take();
    scene.hashed(requests[2].index, Verification::Good(None));
    assert!(scene.events().contains(&Event::Complete));
    assert_eq!(scene.dropped(seed), Some(Reason::BothSeeds));
}

#[test]
fn interest_is_shown_and_withdrawn_exactly_when_it_changes() {
    let mut scene = Scene::leecher(3, 1);
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone]);
    scene.heard(peer);
    scene.says(peer, [Message::Have(1)]);
    assert_eq!(scene.heard(peer), [Message::Interested]);
    scene.says(peer, [Message::Have(1)]);
    assert_eq!(scene.heard(peer), []);
    scene.says(peer, [Message::Unchoke]);
    assert_eq!(scene.requests_to(peer), [block(1, 0)]);
    scene.sends_block(peer, block(1, 0));
    scene.hashed(1, Verification::Good(None));
    assert_eq!(scene.heard(peer), [Message::NotInterested, Message::Have(1)]);
}

#[test]
fn what_is_far_rarer_than_what_a_peer_is_asked_for_is_asked_for_at_once() {
    let line = |scene: &mut Scene, n, queue: Option<u32>| {
        let peer = scene.connect(n, MODERN);
        let handshake = ExtensionHandshake { request_queue: queue, ..ExtensionHandshake::default() };
        scene.says(peer, [Message::Extended { id: 0, payload: handshake.encode() }]);
        scene.says(peer, [Message::Have(4), Message::Unchoke]);
        // It is known by a piece that it gave.
        let (mut all, mut asked) = (Vec::new(), scene.requests_to(peer));
        while let Some(request) = asked.pop() {
            scene.sends_block(peer, request);
            all.push(request);
            asked.extend(scene.requests_to(peer));
        }
        assert_eq!(all.len(), 16);
        scene.pass(seconds(5));
        scene.says(peer, [Message::Choke, Message::Unchoke]);
        scene.says(peer, [Message::Have(0)]);
        peer
    };
    let scene = |change: fn(&mut Config)| {
        let mut scene = Scene::new(8, 16, |_| false, change);
        for n in 2..=4 {
            let other = scene.connect(n, MODERN);
            scene.says(other, [Message::Have(0), Message::Have(7)]);
        }
        scene
    };
    let first = |piece| (0..4).map(|number| block(piece, number)).collect::<Vec<_>>();
    let mut usual = scene(|_| {});
    let peer = line(&mut usual, 1, None);
    assert_eq!(usual.requests_to(peer), first(0), "four peers have it");
    usual.says(peer, [Message::Have(7)]);
    assert_eq!(usual.requests_to(peer), [], "as many have this");
    usual.says(peer, [Message::Have(5)]);
    assert_eq!(usual.requests_to(peer), first(5), "nobody else has this");
    usual.says(peer, [Message::Have(6)]);
    assert_eq!(usual.requests_to(peer), [], "of those that are as rare no more at a time than of any");
    usual.pass(Duration::from_millis(20));
    usual.sends_block(peer, block(5, 0));
    assert_eq!(usual.requests_to(peer), [block(5, 4), block(5, 5)], "one for it, one since it is fast");
    let stranger = usual.connect(9, MODERN);
    usual.says(stranger, [Message::Have(0), Message::Unchoke]);
    assert_eq!(usual.requests_to(stranger).len(), 4);
    usual.says(stranger, [Message::Have(3)]);
    assert_eq!(usual.requests_to(stranger), [], "it has yet to give a piece");
    for (queue, change) in [(Some(4), (|_| {}) as fn(&mut Config)), (None, |config| config.sequential = true)]
    {
        let mut scene = scene(change);
        let peer = line(&mut scene, 1, queue);
        assert_eq!(scene.requests_to(peer), first(0));
        scene.says(peer, [Message::Have(5)]);
        assert_eq!(scene.requests_to(peer), [], "it keeps no more; or we want what comes first");
    }
}

#[test]
fn a_leaving_peer_s_requests_go_to_another_at_once() {
    let mut scene = Scene::leecher(1, 2);
    let first = scene.generous_seed(1);
    assert_eq!(scene.requests_to(first), [block(0, 0), block(0, 1)]);
    let second = scene.generous_seed(2);
    assert_eq!(scene.requests_to(second), []);
    scene.torrent.handle_disconnected(scene.now, first);
    scene.drain();
    assert_eq!(scene.requests_to(second), [block(0, 0), block(0, 1)]);
}

#[test]
fn a_choke_takes_requests_back_from_a_plain_peer_and_waits_for_rejects_from_a_fast_one() {
    for (capabilities, released) in [(PLAIN, true), (MODERN, false)] {
        let mut scene = Scene::leecher(1, 1);
        let first = scene.connect(1, capabilities);
        scene.says(first, [Message::Bitfield(vec![0x80]), Message::Unchoke]);
        assert_eq!(scene.requests_to(first), [block(0, 0)]);
        let second = scene.connect(2, PLAIN);
        scene.says(second, [Message::Bitfield(vec![0x80]), Message::Unchoke, Message::KeepAlive]);
        scene.says(first, [Message::Choke]);
        assert_eq!(!scene.requests_to(second).is_empty(), released);
        if !released {
            scene.says(first, [Message::Reject(block(0, 0))]);
            assert_eq!(scene.requests_to(second), [block(0, 0)]);
        }
    }
}

#[test]
fn what_lies_at_a_silent_holder_goes_to_whoever_has_nothing_to_do_and_is_cancelled() {
    let mut scene = Scene::leecher(1, 1);
    let slow = scene.generous_seed(1);
    assert_eq!(scene.requests_to(slow), [block(0, 0)]);
    let other = scene.generous_seed(2);
    assert_eq!(scene.requests_to(other), [], "not at once: the holder has had no time");
    scene.pass(seconds(3));
    assert_eq!(scene.requests_to(other), [block(0, 0)]);
    assert_eq!(scene.heard(slow), [Message::Cancel(block(0, 0))]);
    assert_eq!(scene.sends_block(other, block(0, 0)), Verdict::Keep);
    assert_eq!(scene.sends_block(slow, block(0, 0)), Verdict::Discard, "it was on its way: no fault");
    assert_eq!(scene.dropped(slow), None);
    assert_eq!(scene.torrent.stats(scene.now).wasted, u64::from(BLOCK_LENGTH));
}

#[test]
fn slots_are_filled_on_the_event() {
    let mut scene = Scene::seeder(4, 1);
    let peers: Vec<_> = (1..=8).map(|n| scene.connect(n, MODERN)).collect();
    for &peer in &peers {
        scene.says(peer, [Message::HaveNone, Message::Interested]);
    }
    let unchoked: Vec<_> =
        peers.iter().copied().filter(|&p| scene.heard(p).contains(&Message::Unchoke)).collect();
    assert_eq!(unchoked.len(), 3);
    scene.torrent.handle_disconnected(scene.now, unchoked[0]);
    scene.drain();
    let waiting = peers.iter().copied().filter(|peer| !unchoked.contains(peer));
    let filled = waiting.filter(|&peer| scene.heard(peer).contains(&Message::Unchoke)).count();
    assert_eq!(filled, 1, "at once, not at the next round");
}

#[test]
fn a_first_seed_holds_back_what_it_sent_while_something_is_new_and_says_what_is_but_not_for_long() {
    let mut scene = Scene::seeder(4, 2);
    let join = |scene: &mut Scene, n| {
        let peer = scene.connect(n, MODERN);
        scene.says(peer, [Message::HaveNone, Message::Interested]);
        assert!(scene.heard(peer).contains(&Message::Unchoke));
        peer
    };
    let ask = |scene: &mut Scene, peer, piece| {
        scene.says(peer, (0..2).map(|number| Message::Request(block(piece, number))));
    };
    let leaves = |scene: &mut Scene, peer, piece| {
        for number in 0..2 {
            scene.torrent.handle_block_sent(scene.now, peer, block(piece, number));
            scene.drain();
        }
    };
    let early = join(&mut scene, 1);
    ask(&mut scene, early, 0);
    leaves(&mut scene, early, 0);
    scene.pass(seconds(60));
    let [one, other, third] = [2, 3, 4].map(|n| join(&mut scene, n));
    ask(&mut scene, one, 1);
    ask(&mut scene, other, 1);
    leaves(&mut scene, one, 1);
    assert_eq!(scene.blocks_to(other), [], "nobody has asked for the others yet");
    scene.pass(seconds(1));
    assert_eq!(scene.blocks_to(other).len(), 2, "nobody does");

    // Who has had time to hear what is new, and does not ask for it, makes room, and is told again.
    leaves(&mut scene, other, 1);
    scene.heard(third);
    ask(&mut scene, one, 2);
    ask(&mut scene, third, 2);
    leaves(&mut scene, one, 2);
    assert_eq!(scene.blocks_to(third), []);
    let heard = scene.heard(third);
    assert_eq!((heard.first(), heard.last()), (Some(&Message::Choke), Some(&Message::Unchoke)));
    assert!(heard.contains(&Message::Suggest(3)), "{heard:?}");
}

#[test]
fn blocks_leave_within_the_credit_and_a_cancel_takes_back_the_rest() {
    let mut scene = Scene::seeder(4, 16);
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone, Message::Interested]);
    scene.says(peer, (0..16).map(|number| Message::Request(block(0, number))));
    assert_eq!(scene.blocks_to(peer), [block(0, 0), block(0, 1)], "one on the wire, and one behind it");
    scene.heard(peer);
    scene.says(peer, [Message::Cancel(block(0, 10))]);
    assert_eq!(scene.heard(peer), [Message::Reject(block(0, 10))]);
    scene.says(peer, [Message::Cancel(block(0, 1))]);
    assert!(matches!(scene.take().last(), Some(Action::DropBlock(_, dropped)) if *dropped == block(0, 1)));
    scene.torrent.handle_block_dropped(scene.now, peer, block(0, 1));
    scene.drain();
    assert_eq!(scene.heard(peer), [Message::Reject(block(0, 1))]);
    assert_eq!(scene.blocks_to(peer), [block(0, 2)]);
    assert_eq!(scene.torrent.stats(scene.now).uploaded, 0);
    scene.torrent.handle_block_sent(scene.now, peer, block(0, 0));
    assert_eq!(scene.torrent.stats(scene.now).uploaded, u64::from(BLOCK_LENGTH));
}

#[test]
fn a_choked_fast_peer_may_finish_its_piece_and_hears_of_each_request_that_is_dropped() {
    let mut scene = Scene::seeder(4, 16);
    let peers: Vec<_> = (1..=20).map(|n| scene.connect(n, MODERN)).collect();
    for &peer in &peers {
        scene.says(peer, [Message::HaveNone, Message::Interested]);
    }
    let [at_hand, next] = [0, 1].map(|piece| (0..16).map(move |number| block(piece, number)));
    scene.says(peers[0], at_hand.chain(next.clone()).map(Message::Request));
    scene.heard(peers[0]);
    // Its turn ends while another waits.
    scene.pass(seconds(15));
    let under_way = scene.blocks_to(peers[0]).len();
    assert!((1..16).contains(&under_way));
    let mut told = vec![Message::AllowedFast(0), Message::Choke];
    told.extend(next.map(Message::Reject));
    assert_eq!(scene.heard(peers[0])[..told.len()], told);
    for number in 0..16 {
        scene.torrent.handle_block_sent(scene.now, peers[0], block(0, number));
        scene.drain();
    }
    assert_eq!(scene.blocks_to(peers[0]).len(), 16, "all of the piece has left");
    // It may have as much of the piece as was left, and then it is choked like anybody.
    let again = (0..16).map(|number| Message::Request(block(0, number)));
    scene.says(peers[0], again);
    let refused: Vec<_> =
        (16 - under_way as u32..16).map(|number| Message::Reject(block(0, number))).collect();
    assert_eq!(scene.heard(peers[0]), refused);
}

/// It asks for every block of this piece and gets it.
fn take_piece(scene: &mut Scene, taker: PeerKey, piece: u32) {
    for number in 0..16 {
        scene.says(taker, [Message::Request(block(piece, number))]);
        scene.torrent.handle_block_sent(scene.now, taker, block(piece, number));
        scene.drain();
    }
}

#[test]
fn who_takes_has_one_piece_for_nothing_and_then_as_it_gives() {
    let mut scene = Scene::new(4, 16, |piece| piece < 2, |_| {});
    let taker = scene.connect(2, MODERN);
    scene.says(taker, [Message::HaveNone, Message::Have(2), Message::Interested]);
    take_piece(&mut scene, taker, 0);
    assert!(scene.heard(taker).contains(&Message::Choke));
    scene.pass(seconds(30));
    assert!(!scene.heard(taker).contains(&Message::Unchoke), "nobody else wants a slot, and still");
    scene.says(taker, [Message::Unchoke]);
    let request = scene.requests_to(taker)[0];
    assert_eq!(scene.sends_block(taker, request), Verdict::Keep);
    assert!(scene.heard(taker).contains(&Message::Unchoke), "it gave something");
}

#[test]
fn who_waits_unchoked_until_it_gives_has_what_it_asked_for_when_it_does() {
    let mut scene = Scene::new(8, 16, |piece| piece < 4, |_| {});
    let taker = scene.connect(2, MODERN);
    scene.says(taker, [Message::HaveNone, Message::Have(0), Message::Interested]);
    take_piece(&mut scene, taker, 1);
    take_piece(&mut scene, taker, 2);
    // Not to blame so far.
    scene.says(taker, [Message::Have(5), Message::Unchoke]);
    scene.take();
    scene.says(taker, (0..16).map(|number| Message::Request(block(3, number))));
    for number in 0..9 {
        assert!(scene.blocks_to(taker).is_empty(), "it had twice what it gave, and a piece: {number}");
        assert_eq!(scene.sends_block(taker, block(5, number)), Verdict::Keep);
        scene.pass(Duration::ZERO);
    }
    assert!(!scene.blocks_to(taker).is_empty());
}

#[test]
fn who_can_get_nothing_from_anybody_gives_as_a_seed_does() {
    let mut scene = Scene::new(4, 16, |piece| piece < 2, |_| {});
    let taker = scene.connect(2, MODERN);
    scene.says(taker, [Message::HaveNone, Message::Interested]);
    take_piece(&mut scene, taker, 0);
    take_piece(&mut scene, taker, 1);
    assert_eq!(scene.blocks_to(taker).len(), 32);
}

#[test]
fn who_never_had_anything_for_us_is_not_to_blame() {
    let mut scene = Scene::new(4, 16, |piece| piece < 2, |_| {});
    let seed = scene.connect(1, MODERN);
    let taker = scene.connect(2, MODERN);
    scene.says(seed, [Message::HaveAll]);
    scene.says(taker, [Message::HaveNone, Message::Interested]);
    take_piece(&mut scene, taker, 0);
    scene.says(taker, [Message::Have(0)]);
    scene.pass(seconds(10));
    take_piece(&mut scene, taker, 1);
    assert_eq!(scene.blocks_to(taker).len(), 32);
}

#[test]
fn while_we_trade_what_is_rare_goes_first_even_to_who_owes_us_but_not_if_it_owes_much() {
    for (debt, first) in [(1, true), (choker::MUCH, false)] {
        let mut scene = Scene::new(8, 16, |piece| piece < 5, |_| {});
        scene.generous_seed(1);
        let [debtor, other, third] = [2, 3, 4].map(|n| scene.connect(n, MODERN));
        for peer in [debtor, third] {
            scene.says(peer, [Message::Have(0), Message::Have(2), Message::Interested]);
        }
        scene.says(other, [Message::Have(0), Message::Interested]);
        scene.pass(choker::ROUND);
        for piece in [1, 4].into_iter().take(debt as usize) {
            take_piece(&mut scene, debtor, piece);
        }
        // The uplink is no longer fast: little is handed out ahead.
        scene.pass(seconds(4));
        scene.says(other, (0..16).map(|number| Message::Request(block(2, number))));
        let under_way = scene.blocks_to(other);
        scene.says(debtor, (0..16).map(|number| Message::Request(block(3, number))));
        scene.take();
        for sent in under_way {
            scene.torrent.handle_block_sent(scene.now, other, sent);
            scene.drain();
        }
        let rare = scene.blocks_to(debtor);
        assert_eq!((rare.is_empty(), scene.blocks_to(other).is_empty()), (!first, first), "{debt}");
        assert!(rare.iter().all(|sent| sent.index == 3));
    }
}

#[test]
fn who_never_had_anything_for_us_has_four_pieces_while_others_give() {
    let mut scene = Scene::new(10, 16, |piece| piece < 6, |_| {});
    let giver = scene.connect(1, MODERN);
    let taker = scene.connect(2, MODERN);
    scene.says(giver, [Message::HaveNone, Message::Have(6), Message::Interested, Message::Unchoke]);
    scene.says(taker, [Message::HaveNone, Message::Interested]);
    let mut requests = Vec::new();
    for piece in 0..6 {
        requests.extend(scene.requests_to(giver));
        assert_eq!(scene.sends_block(giver, requests.remove(0)), Verdict::Keep);
        scene.pass(seconds(10));
        take_piece(&mut scene, taker, piece);
        scene.says(taker, [Message::Have(piece)]);
    }
    assert_eq!(scene.blocks_to(taker).len(), 4 * 16);
    scene.says(giver, [Message::NotInterested]);
    scene.pass(seconds(10));
    take_piece(&mut scene, taker, 5);
    assert_eq!(scene.blocks_to(taker).len(), 5 * 16, "it is in nobody's way");
}

#[test]
fn a_taste_is_never_the_most_part_of_two_pieces_and_to_a_plain_peer_still_a_whole_one() {
    for (capabilities, parts) in [(MODERN, [7, 16]), (PLAIN, [7, 9])] {
        let mut scene = Scene::new(4, 16, |piece| piece < 2, |_| {});
        let taker = scene.connect(2, capabilities);
        scene.says(taker, [Message::Bitfield(vec![0x20]), Message::Interested]);
        for (piece, blocks) in [(0, 7), (1, 16)] {
            for number in 0..blocks {
                scene.says(taker, [Message::Request(block(piece, number))]);
                scene.torrent.handle_block_sent(scene.now, taker, block(piece, number));
                scene.drain();
            }
        }
        take_piece(&mut scene, taker, 0);
        let given = scene.blocks_to(taker);
        let of_piece = |piece| given.iter().filter(|block| block.index == piece).count();
        assert_eq!([of_piece(0), of_piece(1)], parts, "{capabilities:?}");
    }
}

#[test]
fn who_finishes_lingers_for_those_who_lack_something_but_not_for_ever() {
    let mut scene = Scene::leecher(1, 1);
    let seed = scene.generous_seed(1);
    let leecher = scene.connect(2, MODERN);
    scene.says(leecher, [Message::HaveNone]);
    scene.sends_block(seed, block(0, 0));
    scene.hashed(0, Verification::Good(None));
    assert!(scene.events().contains(&Event::Complete));
    assert!(!scene.events().contains(&Event::Fulfilled));
    scene.says(leecher, [Message::Interested]);
    scene.pass(LINGER_LIMIT - seconds(1));
    assert!(!scene.events().contains(&Event::Fulfilled));
    scene.pass(LINGER_LIMIT + seconds(1));
    assert!(scene.events().contains(&Event::Fulfilled));
}

#[test]
fn who_has_what_nobody_else_has_lingers_until_it_is_passed_on() {
    let mut scene = Scene::leecher(4, 1);
    let seed = scene.generous_seed(1);
    let one = scene.connect(2, MODERN);
    let other = scene.connect(3, MODERN);
    scene.says(one, [Message::HaveNone, Message::Interested]);
    scene.says(other, [Message::HaveNone, Message::Interested]);
    for piece in 0..4 {
        scene.sends_block(seed, block(piece, 0));
        scene.hashed(piece, Verification::Good(None));
    }
    assert!(scene.events().contains(&Event::Complete));
    for (to, piece) in [(one, 0), (other, 1), (one, 2)] {
        scene.says(to, [Message::Request(block(piece, 0))]);
        scene.torrent.handle_block_sent(scene.now, to, block(piece, 0));
        scene.says(to, [Message::Have(piece)]);
    }
    scene.pass(seconds(2));
    assert!(!scene.events().contains(&Event::Fulfilled), "nobody else has the last piece");
    scene.says(other, [Message::Have(3)]);
    scene.pass(seconds(2));
    assert!(scene.events().contains(&Event::Fulfilled));
}

#[test]
fn who_wants_nothing_is_not_lingered_for() {
    let mut scene = Scene::leecher(1, 1);
    let seed = scene.generous_seed(1);
    let leecher = scene.connect(2, MODERN);
    scene.says(leecher, [Message::HaveNone]);
    scene.sends_block(seed, block(0, 0));
    scene.hashed(0, Verification::Good(None));
    scene.pass(seconds(2));
    assert!(scene.events().contains(&Event::Fulfilled));
}

#[test]
fn nobody_lingers_for_nobody_and_a_seed_stays_until_its_ratio() {
    let mut alone = Scene::leecher(1, 1);
    let seed = alone.generous_seed(1);
    alone.sends_block(seed, block(0, 0));
    alone.hashed(0, Verification::Good(None));
    assert!(alone.events().contains(&Event::Fulfilled));

    let mut scene =
        Scene::new(2, 1, |_| true, |config| config.stay = Stay::Seed { ratio: Some(0.5), time: None });
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone, Message::Interested, Message::Request(block(0, 0))]);
    scene.pass(seconds(100));
    assert!(!scene.events().contains(&Event::Fulfilled));
    scene.torrent.handle_block_sent(scene.now, peer, block(0, 0));
    scene.pass(seconds(1));
    assert!(scene.events().contains(&Event::Fulfilled));
}

#[test]
fn only_the_first_completion_is_announced_and_only_if_there_was_one() {
    let mut scene = Scene::new(1, 1, |_| false, |config| config.trackers = vec![vec!["http://t/".into()]]);
    let announced = |scene: &mut Scene| {
        let mut events = Vec::new();
        for action in scene.take() {
            if let Action::Announce { tracker, request, .. } = action {
                events.push((request.event, request.left));
                scene.torrent.handle_announce_reply(scene.now, tracker, false, Ok(AnnounceReply::default()));
                scene.drain();
            }
        }
        events
    };
    use torrent_format::announce::AnnounceEvent::{Completed, Started, Stopped};
    assert_eq!(announced(&mut scene), [(Started, 16_384)]);
    let seed = scene.generous_seed(1);
    scene.sends_block(seed, block(0, 0));
    scene.hashed(0, Verification::Good(None));
    assert_eq!(announced(&mut scene), [(Completed, 0)]);
    scene.torrent.stop(scene.now);
    scene.drain();
    assert!(!scene.torrent.is_stopped());
    assert_eq!(announced(&mut scene), [(Stopped, 0)]);
    assert!(scene.torrent.is_stopped());

    let mut seeder = Scene::new(1, 1, |_| true, |config| config.trackers = vec![vec!["http://t/".into()]]);
    assert_eq!(announced(&mut seeder), [(Started, 0)]);
    assert_eq!(announced(&mut seeder), []);
}

#[test]
fn two_connections_to_one_peer_become_one_and_the_same_on_both_sides() {
    // Both dial; each side sees its own dial and the other's. Peer ids decide, so both keep the same connection.
    for (other, keeps) in [([0x44; 20], Direction::Outgoing), ([0x66; 20], Direction::Incoming)] {
        for order in [[Direction::Outgoing, Direction::Incoming], [Direction::Incoming, Direction::Outgoing]]
        {
            let mut scene = Scene::leecher(1, 1);
            let mut kept = None;
            for direction in order {
                let port = if direction == Direction::Outgoing { 6881 } else { 50_000 };
                let addr = SocketAddr::new(addr(1).ip(), port);
                let peer =
                    Connected { addr, direction, capabilities: MODERN, peer_id: PeerId(other), utp: false };
                if scene.torrent.handle_connected(scene.now, peer).is_ok() {
                    kept = Some(direction);
                }
            }
            assert_eq!((kept, scene.torrent.stats(scene.now).peers), (Some(keeps), 1));
        }
    }
}

#[test]
fn a_newcomer_may_fetch_a_few_common_pieces_while_choked() {
    let mut scene = Scene::seeder(100, 1);
    let newcomer = scene.connect(1, MODERN);
    scene.says(newcomer, [Message::HaveNone]);
    let offered =
        |heard: Vec<Message>| heard.into_iter().filter(|m| matches!(m, Message::AllowedFast(_))).count();
    assert_eq!(offered(scene.heard(newcomer)), 0, "only we have them yet");
    let partner = scene.connect(2, MODERN);
    let mut most = vec![0xff; 12];
    most.push(0xe0);
    scene.says(partner, [Message::Bitfield(most)]);
    let newcomer = scene.connect(3, MODERN);
    scene.says(newcomer, [Message::HaveNone]);
    let heard = scene.heard(newcomer);
    let allowed: Vec<_> = heard
        .iter()
        .filter_map(|m| if let Message::AllowedFast(piece) = m { Some(*piece) } else { None })
        .collect();
    assert!(!allowed.is_empty());
    scene.says(newcomer, [Message::Request(block(allowed[0], 0))]);
    assert_eq!(scene.blocks_to(newcomer), [block(allowed[0], 0)]);
    let other = (0..100).find(|piece| !allowed.contains(piece)).unwrap();
    scene.heard(newcomer);
    scene.says(newcomer, [Message::Request(block(other, 0))]);
    assert_eq!(scene.heard(newcomer), [Message::Reject(block(other, 0))]);
}

#[test]
fn allowed_fast_pieces_are_asked_for_while_choked() {
    let mut scene = Scene::leecher(10, 1);
    let seed = scene.connect(1, MODERN);
    scene.says(seed, [Message::HaveAll, Message::AllowedFast(3)]);
    assert_eq!(scene.requests_to(seed), [block(3, 0)]);
    scene.says(seed, [Message::Reject(block(3, 0))]);
    assert_eq!(scene.requests_to(seed), [], "it changed its mind");
}

#[test]
fn the_info_comes_from_peers_and_then_the_pieces() {
    let info = info(4, 1);
    let mut scene = Scene::leecher(4, 1);
    scene.torrent = Torrent::new(Time::default(), config(&info), Start::Magnet { info: None });
    let seed = scene.connect(1, MODERN);
    let theirs = crate::wire::extension::ExtensionHandshake {
        ut_metadata: Some(7),
        metadata_size: Some(info.raw().len() as u32),
        ..Default::default()
    };
    scene.says(seed, [Message::HaveAll, Message::Extended { id: 0, payload: theirs.encode() }]);
    let heard = scene.heard(seed);
    let Some(Message::Extended { id: 7, payload }) = heard.last() else { panic!("{heard:?}") };
    use crate::wire::ut_metadata::MetadataMessage;
    assert_eq!(MetadataMessage::decode(payload), Ok(Some(MetadataMessage::Request { piece: 0 })));
    let data =
        MetadataMessage::Data { piece: 0, total_size: info.raw().len() as u32, data: info.raw().to_vec() };
    let ours = crate::wire::extension::UT_METADATA_ID;
    scene.says(seed, [Message::Extended { id: ours, payload: data.encode() }]);
    assert!(matches!(scene.take().last(), Some(Action::Info(came)) if came.raw() == info.raw()));
    let now = scene.now;
    scene.torrent.handle_info(now, info, Bitfield::none(4), Bitfield::all(4));
    scene.drain();
    let heard = scene.heard(seed);
    assert_eq!(heard[0], Message::Interested);
    let Message::Extended { id: 0, payload } = &heard[1] else { panic!("{heard:?}") };
    let again = crate::wire::extension::ExtensionHandshake::decode(payload).unwrap();
    assert_eq!(
        again.metadata_size,
        Some(scene.torrent.info().unwrap().raw().len() as u32),
        "others may have it from us"
    );
    scene.says(seed, [Message::Unchoke]);
    assert_eq!(scene.requests_to(seed).len(), 4);
}

#[test]
fn unwanted_pieces_are_neither_asked_for_nor_missed() {
    let info = info(4, 1);
    let mut wanted = Bitfield::none(4);
    wanted.set(info.layout().piece(2).unwrap());
    let start = Start::Known { info: info.clone(), have: Bitfield::none(4), wanted };
    let mut scene = Scene::leecher(4, 1);
    scene.torrent = Torrent::new(Time::default(), config(&info), start);
    let seed = scene.generous_seed(1);
    assert_eq!(scene.requests_to(seed), [block(2, 0)]);
    scene.sends_block(seed, block(2, 0));
    scene.hashed(2, Verification::Good(None));
    assert!(scene.events().contains(&Event::Complete));
}

#[test]
fn a_piece_that_can_t_be_read_is_offered_no_more() {
    let mut scene = Scene::seeder(2, 8);
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone, Message::Interested]);
    scene.says(peer, (0..8).map(|number| Message::Request(block(0, number))));
    scene.says(peer, [Message::Request(block(1, 0))]);
    scene.heard(peer);
    let now = scene.now;
    scene.torrent.handle_read_failed(now, peer, block(0, 0));
    scene.drain();
    let rejected = scene.heard(peer);
    assert!(
        rejected.contains(&Message::Reject(block(0, 0))) && rejected.contains(&Message::Reject(block(0, 7)))
    );
    scene.says(peer, [Message::Request(block(0, 1))]);
    assert_eq!(scene.heard(peer), [Message::Reject(block(0, 1))]);
    assert!(scene.blocks_to(peer).contains(&block(1, 0)));
}

#[test]
fn what_is_there_already_is_told_to_peers_of_the_magnet_phase_in_few_bytes() {
    for (pieces, have, expected) in [(400, 3, 3), (400, 300, 1)] {
        let info = info(pieces, 1);
        let mut scene = Scene::leecher(1, 1);
        scene.torrent = Torrent::new(Time::default(), config(&info), Start::Magnet { info: None });
        let peer = scene.connect(1, PLAIN);
        let mut there = Bitfield::none(pieces);
        for piece in info.layout().pieces().take(have) {
            there.set(piece);
        }
        scene.torrent.handle_info(scene.now, info, there, Bitfield::all(pieces));
        scene.drain();
        assert_eq!(scene.heard(peer).len(), expected);
    }
}

#[test]
fn a_piece_that_got_lost_here_is_fetched_again_and_nobody_is_blamed() {
    let mut scene = Scene::leecher(1, 2);
    let seed = scene.generous_seed(1);
    for request in scene.requests_to(seed) {
        scene.sends_block(seed, request);
    }
    scene.hashed(0, Verification::Lost);
    assert_eq!(scene.dropped(seed), None);
    assert_eq!(scene.requests_to(seed).len(), 2);
}

#[test]
fn a_choke_before_the_info_counts() {
    let info = info(4, 1);
    let mut scene = Scene::leecher(1, 1);
    scene.torrent = Torrent::new(Time::default(), config(&info), Start::Magnet { info: None });
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveAll, Message::Unchoke, Message::Choke]);
    scene.torrent.handle_info(scene.now, info, Bitfield::none(4), Bitfield::all(4));
    scene.drain();
    assert_eq!(scene.requests_to(peer), []);
}

#[test]
fn who_never_answers_a_cancel_is_asked_for_other_blocks_at_once_and_for_that_one_a_little_later() {
    let mut scene = Scene::leecher(1, 8);
    let silent = scene.generous_seed(1);
    assert_eq!(scene.requests_to(silent).len(), 4);
    // It owes them for too long: they are taken back, and others may be asked.
    scene.pass(seconds(20));
    assert!(scene.heard(silent).contains(&Message::Cancel(block(0, 0))));
    scene.pass(seconds(6));
    let asked = scene.requests_to(silent);
    assert!(!asked.is_empty() && asked.iter().all(|request| request.begin >= 4 * BLOCK_LENGTH), "{asked:?}");
    for number in 4..8 {
        scene.sends_block(silent, block(0, number));
    }
    scene.pass(seconds(6));
    assert!(scene.requests_to(silent).contains(&block(0, 0)), "it may not know that a cancel is answered");
}

#[test]
fn a_super_seed_says_what_it_named_and_serves_nothing_else_until_all_of_it_is_elsewhere() {
    let change = |config: &mut Config| {
        config.super_seed = true;
        config.stay = Stay::Seed { ratio: None, time: None };
    };
    let mut scene = Scene::new(3, 1, |_| true, change);
    let peers = [1, 2].map(|n| {
        let peer = scene.connect(n, MODERN);
        scene.says(peer, [Message::HaveNone]);
        peer
    });
    let mut named = Vec::new();
    for peer in peers {
        let heard = scene.heard(peer);
        assert_eq!(heard[0], Message::HaveNone);
        let handshake = heard.iter().find_map(|message| match message {
            Message::Extended { id: 0, payload } => ExtensionHandshake::decode(payload).ok(),
            _ => None,
        });
        assert!(!handshake.unwrap().upload_only);
        let haves =
            heard.iter().filter_map(|m| if let Message::Have(index) = m { Some(*index) } else { None });
        named.extend(haves);
        scene.says(peer, [Message::Interested]);
    }
    let [first, second] = named[..] else { panic!("one each: {named:?}") };
    assert_ne!(first, second);
    scene.take();
    scene.says(peers[0], [Message::Request(block(second, 0))]);
    assert_eq!(scene.heard(peers[0]), [Message::Reject(block(second, 0))]);
    scene.says(peers[0], [Message::Request(block(first, 0))]);
    assert_eq!(scene.blocks_to(peers[0]), [block(first, 0)]);

    // It has it, then the other has it from it: it is named the third.
    scene.says(peers[0], [Message::Have(first)]);
    assert_eq!(scene.heard(peers[0]), []);
    scene.says(peers[1], [Message::Have(first)]);
    let third = 3 - first - second;
    assert_eq!(scene.heard(peers[0]), [Message::Have(third)]);

    // Everything is elsewhere.
    scene.says(peers[0], [Message::Have(third)]);
    scene.says(peers[1], [Message::Have(second)]);
    scene.pass(seconds(2));
    assert!(scene.heard(peers[1]).contains(&Message::Have(third)));
    assert!(scene.heard(peers[0]).contains(&Message::Have(second)));
    scene.says(peers[1], [Message::Request(block(third, 0))]);
    assert!(scene.blocks_to(peers[1]).contains(&block(third, 0)));
}

#[test]
fn who_comes_again_under_another_name_gets_no_second_taste() {
    let taste = |scene: &mut Scene, address: u8, name: u8| {
        let peer = Connected {
            addr: addr(address),
            direction: Direction::Incoming,
            capabilities: MODERN,
            peer_id: PeerId([name; 20]),
            utp: false,
        };
        let key = scene.torrent.handle_connected(scene.now, peer).unwrap();
        scene.says(key, [Message::HaveNone, Message::Interested]);
        scene.pass(choker::ROUND);
        let wanted = (0..2).flat_map(|piece| (0..16).map(move |number| block(piece, number)));
        scene.says(key, wanted.map(Message::Request));
        let mut given = Vec::new();
        loop {
            let blocks = scene.blocks_to(key);
            scene.take();
            if blocks.is_empty() {
                break;
            }
            for block in blocks {
                scene.torrent.handle_block_sent(scene.now, key, block);
                scene.drain();
                given.push(block);
            }
        }
        scene.torrent.handle_disconnected(scene.now, key);
        scene.drain();
        given.len()
    };
    // Ten pieces of 256 KiB, of which we lack some that a seed has.
    let mut scene = Scene::new(10, 16, |piece| piece < 5, |_| {});
    scene.generous_seed(9);
    assert_eq!(taste(&mut scene, 1, 1), 16, "a piece");
    assert_eq!(taste(&mut scene, 1, 2), 0);
    assert_eq!(taste(&mut scene, 2, 3), 16, "from another network");
}
