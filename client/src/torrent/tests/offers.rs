//! Who has nothing to send says so.

use super::*;
use crate::torrent::offers::{LEAST_PAUSE, MOVED, NEARLY_HERE};

/// A leecher that has two of three pieces, and so many unchoked peers who have nothing.
fn giver(peers: u8) -> (Scene, Vec<PeerKey>) {
    let mut scene = Scene::new(3, 1, |piece| piece < 2, |_| {});
    let keys: Vec<_> = (1..=peers).map(|n| scene.connect(n, MODERN)).collect();
    for &key in &keys {
        scene.says(key, [Message::HaveNone, Message::Interested]);
    }
    scene.take();
    (scene, keys)
}

fn takes(scene: &mut Scene, key: PeerKey, request: BlockRequest) {
    scene.says(key, [Message::Request(request)]);
    assert_eq!(scene.blocks_to(key), [request]);
    scene.torrent.handle_block_sent(scene.now, key, request);
    scene.drain();
}

/// How often each was told to ask for something.
fn told(scene: &mut Scene, keys: &[PeerKey]) -> Vec<usize> {
    let suggests = |message: &Message| matches!(message, Message::Suggest(_));
    keys.iter().map(|&key| scene.heard(key).iter().filter(|message| suggests(message)).count()).collect()
}

#[test]
fn an_uplink_that_runs_dry_tells_two_of_those_who_have_least() {
    let (mut scene, keys) = giver(4);
    for key in [keys[0], keys[3]] {
        scene.says(key, [Message::Have(2)]);
    }
    scene.take();
    takes(&mut scene, keys[0], block(0, 0));
    assert_eq!(told(&mut scene, &keys), [0, 1, 1, 0]);
    scene.says(keys[1], [Message::NotInterested]);
    scene.pass(Duration::from_millis(100));
    let again = told(&mut scene, &keys);
    assert_eq!((again[1], again[2]), (0, 1), "only who wants something");
    assert_eq!(again.iter().sum::<usize>(), 2);
    scene.says(keys[2], [Message::Request(block(0, 0))]);
    scene.pass(Duration::from_millis(500));
    assert_eq!(told(&mut scene, &keys), [0; 4], "there is something to send");
}

#[test]
fn who_does_not_heed_offers_comes_after_the_others_and_is_told_less_and_less_often() {
    let (mut scene, keys) = giver(3);
    scene.says(keys[2], [Message::Have(2)]);
    takes(&mut scene, keys[2], block(1, 0));
    scene.take();
    scene.pass(seconds(1));
    let first = told(&mut scene, &keys);
    assert!(first.iter().all(|&times| times > 0), "{first:?}");
    scene.pass(seconds(9));
    scene.take();
    scene.pass(seconds(60));
    let rest = told(&mut scene, &keys);
    assert!((2 * 60 / 7..=2 * 60 / 3).contains(&rest.iter().sum::<usize>()), "{rest:?}");
    takes(&mut scene, keys[0], block(0, 0));
    scene.pass(LEAST_PAUSE);
    assert_eq!(told(&mut scene, &keys)[0], 1, "it asked for something");
}

#[test]
fn nobody_is_told_by_a_seed_and_nobody_without_the_fast_extension() {
    for (capabilities, have) in [(PLAIN, 2), (MODERN, 3)] {
        let mut scene = Scene::new(3, 1, |piece| piece < have, |_| {});
        let keys: Vec<_> = (1..=3).map(|n| scene.connect(n, capabilities)).collect();
        for &key in &keys {
            scene.says(key, [Message::Interested]);
        }
        takes(&mut scene, keys[0], block(0, 0));
        scene.take();
        scene.pass(seconds(2));
        assert_eq!(told(&mut scene, &keys), [0; 3]);
    }
}

/// A leecher that waits for most of a piece at the first of two peers, which is in the midst of sending, and for nothing at the other.
fn taker() -> (Scene, [PeerKey; 2], Vec<BlockRequest>) {
    let mut scene = Scene::leecher(2, 16);
    let keys = [1, 2].map(|n| scene.connect(n, MODERN));
    scene.says(keys[0], [Message::Have(0), Message::Unchoke]);
    let mut waits = scene.requests_to(keys[0]);
    while waits.last() != Some(&block(0, 15)) {
        scene.sends_block(keys[0], waits.remove(0));
        waits.extend(scene.requests_to(keys[0]));
    }
    scene.says(keys[1], [Message::Have(0), Message::Unchoke]);
    assert_eq!(scene.requests_to(keys[1]), [], "all of it is asked for");
    (scene, keys, waits)
}

#[test]
fn who_offers_something_takes_over_a_few_blocks_of_a_peer_that_is_sending_but_not_the_next() {
    let (mut scene, [sender, other], waits) = taker();
    assert!(waits.len() > NEARLY_HERE + MOVED as usize, "{waits:?}");
    scene.says(other, [Message::Suggest(0)]);
    let moved = &waits[NEARLY_HERE..NEARLY_HERE + MOVED as usize];
    assert_eq!(scene.requests_to(other), moved);
    let cancels: Vec<_> = moved.iter().map(|&block| Message::Cancel(block)).collect();
    assert_eq!(scene.heard(sender), cancels);
    scene.says(other, [Message::Suggest(0)]);
    assert_eq!(scene.requests_to(other), [], "it has something to do");
    for &request in moved {
        assert_eq!(scene.sends_block(other, request), Verdict::Keep);
    }
    let left = scene.requests_to(other);
    scene.pass(Duration::from_millis(20));
    scene.says(other, [Message::Suggest(0)]);
    assert_eq!((left, scene.requests_to(other)), (vec![], waits[NEARLY_HERE + MOVED as usize..].to_vec()));
}

#[test]
fn an_offer_moves_nothing_of_a_choked_peer_nor_what_waits_at_who_has_yet_to_begin() {
    let (mut scene, [_, other], _) = taker();
    scene.says(other, [Message::Choke, Message::Suggest(0)]);
    assert_eq!(scene.requests_to(other), []);
    scene.pass(Duration::from_millis(120));
    scene.says(other, [Message::Unchoke, Message::Suggest(0), Message::Suggest(1)]);
    assert_eq!(scene.requests_to(other), [], "its turn may come, or it may have sent what we do not see yet");
}
