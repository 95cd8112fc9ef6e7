//! Who is to blame for a bad block.

use super::*;

/// These peers send what they are asked for, until nothing more is; who sent which block of piece 0.
fn trade(scene: &mut Scene, peers: &[PeerKey]) -> BTreeMap<u32, PeerKey> {
    let mut sent = BTreeMap::new();
    let mut asked = VecDeque::new();
    loop {
        for &peer in peers {
            for message in scene.heard(peer) {
                match message {
                    Message::Request(request) => asked.push_back((peer, request)),
                    Message::Cancel(request) => {
                        asked.retain(|&other| other != (peer, request));
                        scene.says(peer, [Message::Reject(request)]);
                    }
                    // A test looks at these itself.
                    Message::HashRequest(_) => scene.actions.push(Action::Send(peer, message)),
                    _ => {}
                }
            }
        }
        let Some((peer, request)) = asked.pop_front() else { return sent };
        if scene.sends_block(peer, request) == Verdict::Keep && request.index == 0 {
            sent.insert(request.begin / BLOCK_LENGTH, peer);
        }
    }
}

/// One piece of 16 blocks, fetched from three seeds and about to be hashed; the blocks that each has sent.
fn fetched(made: &Made, capabilities: Capabilities) -> (Scene, [(PeerKey, Vec<u32>); 3]) {
    let mut scene = made.leecher();
    let peers = [1, 2, 3].map(|n| scene.connect(n, capabilities));
    for peer in peers {
        scene.says(peer, [Message::HaveAll, Message::Unchoke]);
    }
    let sent = trade(&mut scene, &peers);
    assert_eq!((sent.len(), scene.take_verifies()), (16, vec![(0, false)]));
    scene.take();
    let of = |peer| sent.iter().filter(|(_, from)| **from == peer).map(|(&number, _)| number).collect();
    (scene, peers.map(|peer| (peer, of(peer))))
}

const BLOCK: u64 = BLOCK_LENGTH as u64;

#[test]
fn p50_p51_the_leaves_tell_the_bad_blocks_and_only_they_and_their_senders_go() {
    for made in [v2(16, &[16]), v2(16, &[40]), hybrid(16, 40)] {
        let mut scene = made.with(made.info.clone(), {
            let mut have = full(&made.leecher());
            have.clear(made.info.layout().piece(0).unwrap());
            have
        });
        let [honest, one, other] = [1, 2, 3].map(|n| scene.v2_seed(n));
        let sent = trade(&mut scene, &[honest, one, other]);
        assert_eq!((sent.len(), scene.take_verifies()), (16, vec![(0, false)]));
        let first_of = |peer| sent.iter().find(|(_, from)| **from == peer).map(|(&number, _)| number);
        let mut bad = [one, other].map(|peer| first_of(peer).expect("it has sent some"));
        bad.sort_unstable();
        scene.take();
        scene.hashed(0, spoilt(&made.leaves[0][..16], &bad.map(|number| number as usize)));
        // Two of the three are asked; whoever answers, liar or not, can only tell the truth.
        let asked: Vec<_> = [honest, one, other].map(|peer| scene.hash_requests_to(peer)).concat();
        let request =
            HashRequest { root: made.root(0), base_layer: 0, index: 0, length: 16, proof_layers: 3 };
        assert_eq!(asked, [request; 2]);
        assert_eq!((scene.dropped_blocks(), scene.requests_to(honest)), (vec![], vec![]), "it waits");
        scene.says(honest, [made.answer(request)]);
        assert_eq!(scene.dropped_blocks(), [(0, bad.to_vec())]);
        assert_eq!(scene.banned(), [addr(2), addr(3)]);
        assert_eq!(scene.dropped(honest), None);
        let failed =
            Event::PieceFailed { piece: scene.info.layout().piece(0).unwrap(), blocks: bad.to_vec() };
        assert!(scene.events().contains(&failed));
        assert_eq!(scene.torrent.stats(scene.now).wasted, 2 * BLOCK, "a block for each liar");
        // Only these are asked for again.
        let again = trade(&mut scene, &[honest]);
        assert_eq!(again.keys().copied().collect::<Vec<_>>(), bad);
        assert_eq!(scene.take_verifies(), [(0, false)]);
        scene.hashed(0, Verification::Good(None));
        assert!(scene.events().contains(&Event::Complete));
        assert_eq!(scene.banned().len(), 2);
    }
}

#[test]
fn a_block_that_is_bad_again_needs_no_leaves_from_anybody() {
    let made = v2(16, &[16]);
    let (mut scene, peers) = fetched(&made, V2);
    let [(honest, _), (first, ref of_first), (second, ref of_second)] = peers;
    let bad = of_first[0];
    scene.hashed(0, spoilt(&made.leaves[0], &[bad as usize]));
    let request = scene.hash_requests_to(honest)[0];
    scene.says(honest, [made.answer(request)]);
    assert_eq!((scene.dropped(first), scene.dropped(second)), (Some(Reason::Banned), None));
    let again = trade(&mut scene, &[honest, second]);
    assert_eq!(again.len(), 1);
    scene.take();
    let worse = of_second[0];
    scene.hashed(0, spoilt(&made.leaves[0], &[worse as usize]));
    assert_eq!(scene.hash_requests_to(honest), []);
    assert_eq!(scene.dropped_blocks(), [(0, vec![worse])]);
    assert_eq!(scene.dropped(second), Some(Reason::Banned));
}

#[test]
fn p49_a_piece_of_one_block_needs_no_leaves() {
    let made = v2(1, &[1]);
    let mut scene = made.leecher();
    let liar = scene.v2_seed(1);
    trade(&mut scene, &[liar]);
    scene.hashed(0, spoilt(&made.leaves[0], &[0]));
    assert_eq!((scene.hash_requests_to(liar), scene.dropped(liar)), (vec![], Some(Reason::Banned)));
    assert_eq!(scene.dropped_blocks(), [(0, vec![0])]);
    let honest = scene.v2_seed(2);
    assert_eq!(trade(&mut scene, &[honest]).len(), 1);
}

/// How the v1 way ends: the copies of the liar's block differ.
fn is_blamed_by_copies(made: &Made, scene: &mut Scene, liar: u8, bad: u32) {
    assert_eq!(scene.dropped_blocks(), [(0, (0..16).collect())]);
    assert_eq!(scene.banned(), []);
    assert_eq!(scene.torrent.stats(scene.now).wasted, 16 * BLOCK);
    scene.take();
    let fresh = scene.generous_seed(4);
    assert_eq!(trade(scene, &[fresh]).len(), 16, "from one that is no suspect");
    assert_eq!(scene.take_verifies(), [(0, true)]);
    let digests = made.leaves[0].iter().map(leaf_digest).collect();
    scene.hashed(0, Verification::Good(Some(digests)));
    assert_eq!(scene.banned(), [addr(liar)], "block {bad} differs");
}

#[test]
fn where_nobody_speaks_v2_the_piece_is_fetched_anew_at_once_and_the_copies_tell() {
    let made = v2(16, &[16]);
    let (mut scene, [_, (_, of_liar), _]) = fetched(&made, MODERN);
    scene.hashed(0, spoilt(&made.leaves[0], &[of_liar[0] as usize]));
    is_blamed_by_copies(&made, &mut scene, 2, of_liar[0]);
}

#[test]
fn where_all_refuse_the_leaves_the_piece_is_fetched_anew_when_the_last_has() {
    let made = v2(16, &[16]);
    let (mut scene, peers) = fetched(&made, V2);
    let bad = peers[1].1[0];
    scene.hashed(0, spoilt(&made.leaves[0], &[bad as usize]));
    let mut refused = 0;
    while let Some((peer, request)) =
        peers.iter().find_map(|(peer, _)| Some((*peer, *scene.hash_requests_to(*peer).first()?)))
    {
        assert_eq!(scene.dropped_blocks(), []);
        scene.says(peer, [Message::HashReject(request)]);
        refused += 1;
    }
    assert_eq!(refused, 3);
    is_blamed_by_copies(&made, &mut scene, 2, bad);
}

#[test]
fn where_nobody_answers_the_piece_waits_a_little_and_is_neither_asked_for_nor_lost() {
    let made = v2(16, &[16]);
    let (mut scene, peers) = fetched(&made, V2);
    let bad = peers[1].1[0];
    scene.hashed(0, spoilt(&made.leaves[0], &[bad as usize]));
    scene.pass(hashes::LEAVES_WAIT - seconds(1));
    assert_eq!(scene.dropped_blocks(), []);
    assert!(peers.iter().all(|(peer, _)| scene.requests_to(*peer).is_empty()));
    scene.pass(seconds(2));
    is_blamed_by_copies(&made, &mut scene, 2, bad);
}

#[test]
fn those_who_say_nothing_do_not_keep_the_leaves_from_coming_while_there_are_others_to_ask() {
    let made = v2(16, &[16]);
    for (mutes, comes) in [(8, true), (20, false)] {
        let mut scene = made.leecher();
        let [liar, other] = [1, 2].map(|n| scene.v2_seed(n));
        let sent = trade(&mut scene, &[liar, other]);
        let (&bad, _) = sent.iter().find(|(_, from)| **from == liar).expect("it has sent some");
        for n in 0..mutes {
            scene.v2_seed(3 + n);
        }
        let honest = scene.v2_seed(3 + mutes);
        scene.take();
        scene.hashed(0, spoilt(&made.leaves[0], &[bad as usize]));
        assert_eq!((scene.hash_requests_to(liar), scene.hash_requests_to(other)), (vec![], vec![]));
        for _ in 0..hashes::MAX_LEAVES_WAIT.as_secs() + 1 {
            scene.answers(&made, honest);
            scene.pass(seconds(1));
        }
        let dropped = if comes { vec![bad] } else { (0..16).collect() };
        assert_eq!(scene.dropped_blocks(), [(0, dropped)]);
        assert_eq!(scene.banned(), if comes { vec![addr(1)] } else { vec![] });
    }
}

#[test]
fn leaves_of_a_long_piece_come_in_parts() {
    let made = v2(1_024, &[1_024 + 700]);
    let mut have = Bitfield::all(2);
    have.clear(made.info.layout().piece(1).unwrap());
    let mut scene = made.with(made.info.clone(), have);
    let seed = scene.v2_seed(1);
    let mut asked = scene.requests_to(seed);
    while let Some(request) = asked.pop() {
        scene.sends_block(seed, request);
        asked.extend(scene.requests_to(seed));
    }
    assert_eq!(scene.take_verifies(), [(1, false)]);
    let liar_proof = scene.v2_seed(2);
    scene.take();
    scene.hashed(1, spoilt(&made.leaves[0][1_024..], &[5, 600]));
    let requests = scene.hash_requests_to(liar_proof);
    let shape: Vec<_> = requests.iter().map(|r| (r.base_layer, r.index, r.length, r.proof_layers)).collect();
    assert_eq!(shape, [(0, 1_024, 512, 9), (0, 1_536, 512, 9)]);
    scene.says(liar_proof, requests.iter().map(|&request| made.answer(request)));
    assert_eq!(scene.dropped_blocks(), [(1, vec![5, 600])]);
    assert_eq!(scene.dropped(seed), Some(Reason::Banned));
}

#[test]
fn pieces_that_wait_for_leaves_are_bounded() {
    let made = v2(2, &[40]);
    let mut scene = made.leecher();
    let seed = scene.v2_seed(1);
    let mut asked = scene.requests_to(seed);
    while let Some(request) = asked.pop() {
        scene.sends_block(seed, request);
        asked.extend(scene.requests_to(seed));
    }
    for piece in 0..16 {
        scene.hashed(piece, spoilt(&made.leaves[0][2 * piece as usize..][..2], &[0]));
    }
    assert_eq!((scene.dropped_blocks(), scene.banned()), (vec![], vec![]));
    scene.hashed(16, spoilt(&made.leaves[0][32..34], &[0]));
    assert_eq!(scene.dropped_blocks()[0], (16, vec![0, 1]));
    assert_eq!(scene.banned(), [addr(1)], "there was but one sender");
}

#[test]
fn more_bad_pieces_than_one_peer_gives_leaves_for_at_a_time_wait_their_turn() {
    let made = v2(2, &[40]);
    let mut scene = made.leecher();
    let liar = scene.v2_seed(1);
    let mut asked = scene.requests_to(liar);
    while let Some(request) = asked.pop() {
        scene.sends_block(liar, request);
        asked.extend(scene.requests_to(liar));
    }
    let honest = scene.v2_seed(2);
    for piece in 0..10 {
        scene.hashed(piece, spoilt(&made.leaves[0][2 * piece as usize..][..2], &[1]));
    }
    let first = scene.hash_requests_to(honest);
    assert_eq!(first.len(), 2);
    scene.says(honest, first.iter().map(|&request| made.answer(request)));
    scene.answers(&made, honest);
    let mut dropped = scene.dropped_blocks();
    dropped.sort_unstable();
    assert_eq!(dropped, (0..10).map(|piece| (piece, vec![1])).collect::<Vec<_>>());
    assert_eq!((scene.banned(), scene.dropped(honest)), (vec![addr(1)], None));
}
