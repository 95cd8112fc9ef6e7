//! Who is to blame for a bad block.

use super::*;

/// The leaf of this block of the only file.
fn leaf(made: &Made, block: BlockRequest) -> Hash {
    let per_piece = made.info.layout().piece_length() / BLOCK_LENGTH;
    made.leaves[0][(block.index * per_piece + block.begin / BLOCK_LENGTH) as usize]
}

/// These peers send what they are asked for, until nothing more is; who sent which block of piece 0. What is wrong with any of it is seen when the piece is
/// hashed.
fn trade(scene: &mut Scene, made: &Made, peers: &[PeerKey]) -> BTreeMap<u32, PeerKey> {
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
                    // The leaves come later, or not at all.
                    Message::HashRequest(request) => scene.says(peer, [Message::HashReject(request)]),
                    _ => {}
                }
            }
        }
        let Some((peer, request)) = asked.pop_front() else { return sent };
        if scene.sends_block_of(peer, request, leaf(made, request)) == Verdict::Keep && request.index == 0 {
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
    let sent = trade(&mut scene, made, &peers);
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
        let sent = trade(&mut scene, &made, &[honest, one, other]);
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
        let again = trade(&mut scene, &made, &[honest]);
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
    let [(honest, _), (first, ref of_first), (second, _)] = peers;
    let bad = of_first[0];
    scene.hashed(0, spoilt(&made.leaves[0], &[bad as usize]));
    let request = scene.hash_requests_to(honest)[0];
    scene.says(honest, [made.answer(request)]);
    assert_eq!((scene.dropped(first), scene.dropped(second)), (Some(Reason::Banned), None));
    // Whoever is asked for it now is known by it at once.
    let again = [honest, second].map(|peer| scene.requests_to(peer));
    let (liar, blocks) = if again[0].is_empty() { (second, &again[1]) } else { (honest, &again[0]) };
    assert_eq!(blocks.iter().map(|block| block.begin / BLOCK_LENGTH).collect::<Vec<_>>(), [bad]);
    assert_eq!(scene.sends_block(liar, blocks[0]), Verdict::Spoilt);
    assert_eq!((scene.dropped(liar), scene.hash_requests_to(honest)), (Some(Reason::Banned), vec![]));
}

#[test]
fn p49_a_piece_of_one_block_needs_no_leaves() {
    let made = v2(1, &[1]);
    let mut scene = made.leecher();
    let liar = scene.v2_seed(1);
    trade(&mut scene, &made, &[liar]);
    scene.hashed(0, spoilt(&made.leaves[0], &[0]));
    assert_eq!((scene.hash_requests_to(liar), scene.dropped(liar)), (vec![], Some(Reason::Banned)));
    assert_eq!(scene.dropped_blocks(), [(0, vec![0])]);
    let honest = scene.v2_seed(2);
    assert_eq!(trade(&mut scene, &made, &[honest]).len(), 1);
}

/// How the v1 way ends: the copies of the liar's block differ.
fn is_blamed_by_copies(made: &Made, scene: &mut Scene, liar: u8, bad: u32) {
    assert_eq!(scene.dropped_blocks(), [(0, (0..16).collect())]);
    assert_eq!(scene.banned(), []);
    assert_eq!(scene.torrent.stats(scene.now).wasted, 16 * BLOCK);
    scene.take();
    let fresh = scene.generous_seed(4);
    assert_eq!(trade(scene, made, &[fresh]).len(), 16, "from one that is no suspect");
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
        let sent = trade(&mut scene, &made, &[liar, other]);
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

#[test]
fn who_has_yet_to_prove_itself_is_asked_for_leaves_with_the_piece_and_its_first_bad_block_is_its_last() {
    let made = v2(16, &[16 * 8]);
    let mut scene = made.leecher();
    let liar = scene.v2_seed(1);
    let asked = scene.hash_requests_to(liar);
    let requests = scene.requests_to(liar);
    let [request] = asked[..] else { panic!("one piece is asked for: {asked:?}") };
    let piece = requests[0].index;
    assert_eq!((request.base_layer, request.index, request.length), (0, piece * 16, 16));
    assert!(requests.iter().all(|request| request.index == piece) && requests.len() > 2);
    assert_eq!(
        scene.sends_block_of(liar, requests[0], leaf(&made, requests[0])),
        Verdict::Keep,
        "nothing is known of it yet"
    );
    scene.says(liar, [made.answer(request)]);
    assert_eq!(scene.sends_block_of(liar, requests[1], leaf(&made, requests[1])), Verdict::Keep);
    assert_eq!(scene.sends_block(liar, requests[2]), Verdict::Spoilt);
    assert_eq!((scene.dropped(liar), scene.banned()), (Some(Reason::Banned), vec![addr(1)]));
    assert_eq!(scene.torrent.stats(scene.now).wasted, BLOCK);
    let piece = scene.info.layout().piece(piece).unwrap();
    let failed = Event::PieceFailed { piece, blocks: vec![requests[2].begin / BLOCK_LENGTH] };
    assert!(scene.events().contains(&failed));
    // The rest of the piece, and the bad block again, of somebody else; what is known of it holds for that one too.
    let honest = scene.v2_seed(2);
    assert!(!scene.hash_requests_to(honest).contains(&request));
    let again = scene.requests_to(honest);
    assert!(again.contains(&requests[2]) && !again.contains(&requests[1]), "{again:?}");
    assert_eq!(scene.sends_block_of(honest, requests[2], leaf(&made, requests[2])), Verdict::Keep);
}

#[test]
fn who_sent_a_bad_block_before_the_leaves_came_goes_when_they_do() {
    let made = v2(16, &[16 * 8]);
    let mut scene = made.leecher();
    let [liar, honest] = [1, 2].map(|n| scene.v2_seed(n));
    let asked = [liar, honest].map(|peer| scene.hash_requests_to(peer));
    let requests = [liar, honest].map(|peer| scene.requests_to(peer));
    assert_eq!(scene.sends_block(liar, requests[0][0]), Verdict::Keep);
    assert_eq!(scene.sends_block_of(honest, requests[1][0], leaf(&made, requests[1][0])), Verdict::Keep);
    for (peer, asked) in [liar, honest].into_iter().zip(asked) {
        scene.says(peer, asked.into_iter().map(|request| made.answer(request)));
    }
    assert_eq!((scene.banned(), scene.dropped(honest)), (vec![addr(1)], None));
    // Somebody else makes the piece whole, and what was wrong with it is known already.
    let (piece, number) = (requests[0][0].index, requests[0][0].begin / BLOCK_LENGTH);
    let mut asked = requests[1][1..].to_vec();
    while let Some(request) = asked.pop() {
        scene.sends_block_of(honest, request, leaf(&made, request));
        asked.extend(scene.requests_to(honest));
    }
    assert!(scene.take_verifies().contains(&(piece, false)));
    scene.hashed(piece, spoilt(&made.leaves[0][piece as usize * 16..][..16], &[number as usize]));
    assert_eq!((scene.dropped_blocks(), scene.dropped(honest)), (vec![(piece, vec![number])], None));
}

#[test]
fn who_has_proved_itself_is_asked_for_blocks_only() {
    let made = v2(16, &[16 * 20]);
    let mut scene = made.leecher();
    let seed = scene.v2_seed(1);
    let (mut passed, mut leaves) = (0, 0);
    let mut asked = VecDeque::new();
    loop {
        for message in scene.heard(seed) {
            match message {
                Message::Request(request) => asked.push_back(request),
                Message::HashRequest(request) => {
                    leaves += 1;
                    scene.says(seed, [made.answer(request)]);
                }
                _ => {}
            }
        }
        let Some(request) = asked.pop_front() else { break };
        assert_eq!(scene.sends_block_of(seed, request, leaf(&made, request)), Verdict::Keep);
        for (piece, _) in scene.take_verifies() {
            scene.hashed(piece, Verification::Good(None));
            passed += 1;
        }
    }
    assert_eq!(passed, 20);
    assert!((4..12).contains(&leaves), "a few pieces are under way when 64 blocks have passed: {leaves}");
}

#[test]
fn who_gives_no_leaves_beforehand_is_asked_once_and_gives_blocks_all_the_same() {
    let made = v2(2, &[40]);
    for answers in [true, false] {
        let mut scene = made.leecher();
        let seed = scene.v2_seed(1);
        let mut asked = scene.hash_requests_to(seed);
        assert!(!asked.is_empty());
        if answers {
            scene.says(seed, asked.drain(..).map(Message::HashReject));
        } else {
            scene.pass(seconds(5));
        }
        let mut requests = scene.requests_to(seed);
        while let Some(request) = requests.pop() {
            assert_eq!(scene.sends_block(seed, request), Verdict::Keep);
            requests.extend(scene.requests_to(seed));
        }
        assert_eq!(scene.take_verifies().len(), 20);
        assert_eq!(scene.hash_requests_to(seed), []);
        scene.says(seed, asked.into_iter().map(|request| made.answer(request)));
        assert_eq!(scene.dropped(seed), None, "late, and asked for");
    }
}

#[test]
fn leaves_that_were_asked_beforehand_and_come_when_the_piece_is_found_wrong_are_as_good() {
    let made = v2(16, &[16]);
    let mut scene = made.leecher();
    let liar = scene.v2_seed(1);
    let [asked] = scene.hash_requests_to(liar)[..] else { panic!("it is asked") };
    let mut requests = scene.requests_to(liar);
    while let Some(request) = requests.pop() {
        scene.sends_block(liar, request);
        requests.extend(scene.requests_to(liar));
    }
    let other = scene.v2_seed(2);
    scene.hashed(0, spoilt(&made.leaves[0], &[7]));
    assert_eq!((scene.hash_requests_to(liar), scene.hash_requests_to(other)), (vec![], vec![asked]));
    scene.says(liar, [made.answer(asked)]);
    assert_eq!((scene.dropped_blocks(), scene.dropped(liar)), (vec![(0, vec![7])], Some(Reason::Banned)));
    scene.says(other, [made.answer(asked)]);
    assert_eq!(scene.dropped(other), None);
}

#[test]
fn pieces_whose_leaves_are_asked_for_beforehand_are_bounded() {
    let made = v2(2, &[400]);
    let mut scene = made.leecher();
    let seeds: Vec<_> = (1..=45).map(|n| scene.v2_seed(n)).collect();
    let asked: BTreeSet<_> =
        seeds.iter().flat_map(|&seed| scene.hash_requests_to(seed)).map(|request| request.index).collect();
    assert_eq!(asked.len(), 64);
}
