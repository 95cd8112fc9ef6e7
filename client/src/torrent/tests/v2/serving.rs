//! Hashes for peers.

use super::*;

/// What is asked of a seeder, and answered at once.
#[test]
fn v1_to_v8_v17_v18_what_can_t_be_answered_is_refused() {
    // 20 pieces of 4 blocks, one piece of 3, one block, nothing.
    let made = v2(4, &[80, 3, 1, 0]);
    let request = |root, (base_layer, index, length, proof_layers)| HashRequest {
        root,
        base_layer,
        index,
        length,
        proof_layers,
    };
    let [long, piece, block] = [0, 1, 2].map(|file| made.root(file));
    for (case, request, answered) in [
        ("piece layer", request(long, (2, 0, 32, 0)), true),
        ("part of it, proven", request(long, (2, 16, 4, 4)), true),
        ("the rest of it", request(long, (2, 16, 4, 0)), true),
        ("V1", request([9; 32], (2, 0, 32, 0)), false),
        ("V2", request(long, (7, 0, 2, 0)), false),
        ("V2", request(long, (u32::MAX, 0, 2, 0)), false),
        ("V2 neither leaves nor pieces", request(long, (1, 0, 2, 0)), false),
        ("V3", request(long, (2, 2, 4, 0)), false),
        ("V4 0", request(long, (2, 0, 0, 0)), false),
        ("V4 1", request(long, (2, 0, 1, 0)), false),
        ("V4 3", request(long, (2, 0, 3, 0)), false),
        ("V4 1024", request(long, (2, 0, 1_024, 0)), false),
        ("V4 2^31", request(long, (2, 0, 1 << 31, 0)), false),
        ("V5", request(long, (2, 0, 2, 5)), false),
        ("V5", request(long, (2, 0, 2, u32::MAX)), false),
        ("V6", request(long, (2, u32::MAX - 1, 2, 0)), false),
        ("V6", request(long, (2, 32, 32, 0)), false),
        ("no layer of its own", request(piece, (2, 0, 2, 0)), false),
        ("V17 the root of nothing", request([0; 32], (0, 0, 2, 0)), false),
        ("V18", request(block, (0, 0, 1, 0)), false),
    ] {
        let mut scene = made.seeder();
        let peer = scene.connect(1, V2);
        scene.heard(peer);
        scene.says(peer, [Message::HashRequest(request)]);
        let expected = if answered { made.answer(request) } else { Message::HashReject(request) };
        assert_eq!((scene.heard(peer), scene.dropped(peer)), (vec![expected], None), "{case}");
    }
}

#[test]
fn v7_what_we_lack_ourselves_is_refused() {
    let made = hybrid(2, 8);
    let mut scene = made.with(made.bare(), Bitfield::none(4));
    let peer = scene.connect(1, V2);
    let root = made.root(0);
    let layer = HashRequest { root, base_layer: 1, index: 0, length: 4, proof_layers: 0 };
    let leaves = HashRequest { root, base_layer: 0, index: 0, length: 2, proof_layers: 0 };
    for request in [layer, leaves] {
        scene.heard(peer);
        scene.says(peer, [Message::HashRequest(request)]);
        assert_eq!(scene.heard(peer), [Message::HashReject(request)]);
    }
}

#[test]
fn leaves_are_read_from_the_pieces_that_we_have_for_two_requests_at_a_time() {
    let made = v2(4, &[80]);
    let mut have = Bitfield::all(20);
    have.clear(made.info.layout().piece(1).unwrap());
    let mut scene = made.with(made.info.clone(), have);
    let peer = scene.connect(1, V2);
    scene.heard(peer);
    let leaves =
        |index, length| HashRequest { root: made.root(0), base_layer: 0, index, length, proof_layers: 6 };
    let read = |scene: &mut Scene| {
        let read = |action: Action| match action {
            Action::ReadLeaves { request, file, first, count, .. } => Some((request, file, first, count)),
            _ => None,
        };
        scene.take().into_iter().find_map(read)
    };
    for (request, range) in [
        (leaves(0, 4), Some((0, 4))),
        (leaves(2, 2), Some((0, 4))),
        (leaves(4, 4), None),
        (leaves(0, 16), None),
    ] {
        scene.says(peer, [Message::HashRequest(request)]);
        let Some((first, count)) = range else {
            assert_eq!(scene.heard(peer), [Message::HashReject(request)], "piece 1 is missing");
            continue;
        };
        assert_eq!(read(&mut scene), Some((request, 0, first, count)));
        let found = made.leaves[0][first as usize..][..count as usize].to_vec();
        scene.torrent.handle_leaves(scene.now, peer, request, Some(found));
        scene.drain();
        assert_eq!(scene.heard(peer), [made.answer(request)]);
    }
    let third = leaves(16, 4);
    scene.says(peer, [leaves(8, 4), leaves(12, 4), third].map(Message::HashRequest));
    assert_eq!(scene.heard(peer), [Message::HashReject(third)]);
    scene.torrent.handle_leaves(scene.now, peer, leaves(8, 4), None);
    scene.drain();
    assert_eq!(scene.heard(peer), [Message::HashReject(leaves(8, 4))], "they can't be read");
    scene.take();
    scene.says(peer, [Message::HashRequest(third)]);
    assert_eq!(read(&mut scene), Some((third, 0, 16, 4)));
}

fn leaf_reads(scene: &mut Scene) -> Vec<(PeerKey, usize, u64, u32)> {
    let read = |action: Action| match action {
        Action::ReadLeaves { peer, file, first, count, .. } => Some((peer, file, first, count)),
        _ => None,
    };
    scene.take().into_iter().filter_map(read).collect()
}

#[test]
fn for_one_that_comes_back_again_and_again_no_more_is_read_than_for_all() {
    let made = v2(4, &[80]);
    let mut scene = made.seeder();
    let request = HashRequest { root: made.root(0), base_layer: 0, index: 0, length: 4, proof_layers: 6 };
    let mut readers = Vec::new();
    for _ in 0..20 {
        let peer = scene.connect(1, V2);
        scene.says(peer, [Message::HashRequest(request)]);
        readers.extend(leaf_reads(&mut scene).into_iter().map(|(reader, ..)| reader));
        scene.torrent.handle_disconnected(scene.now, peer);
        scene.drain();
    }
    assert_eq!(readers.len(), hash_messages::MAX_ALL_LEAF_READS);
    let found = made.leaves[0][..4].to_vec();
    scene.torrent.handle_leaves(scene.now, readers[0], request, Some(found));
    scene.drain();
    let peer = scene.connect(1, V2);
    scene.says(peer, [request; 2].map(Message::HashRequest));
    assert_eq!(leaf_reads(&mut scene), [(peer, 0, 0, 4)], "one is done, though its reader is gone");
}

#[test]
fn leaves_that_are_not_the_piece_s_any_more_are_refused_and_the_piece_is_no_longer_offered() {
    let made = v2(4, &[80]);
    let [first, second] = [0, 4].map(|index| HashRequest {
        root: made.root(0),
        base_layer: 0,
        index,
        length: 4,
        proof_layers: 6,
    });
    for found in [None, Some(vec![[9; 32]; 4]), Some(made.leaves[0][..3].to_vec())] {
        let mut scene = made.seeder();
        let peer = scene.connect(1, V2);
        scene.heard(peer);
        scene.says(peer, [Message::HashRequest(first)]);
        assert_eq!(leaf_reads(&mut scene), [(peer, 0, 0, 4)]);
        scene.torrent.handle_leaves(scene.now, peer, first, found);
        scene.drain();
        assert_eq!(scene.heard(peer), [Message::HashReject(first)]);
        let mut rest = full(&scene);
        rest.clear(made.info.layout().piece(0).unwrap());
        assert_eq!(scene.torrent.have(), Some(&rest));
        scene.says(peer, [first, second].map(Message::HashRequest));
        assert_eq!(scene.heard(peer), [Message::HashReject(first)]);
        assert_eq!(leaf_reads(&mut scene), [(peer, 0, 4, 4)]);
    }
}

#[test]
fn leaves_come_from_whichever_of_two_files_of_the_same_bytes_is_there() {
    let made = twins(2);
    let layout = made.info.layout();
    let mut have = Bitfield::none(4);
    for index in layout.file_pieces(1) {
        have.set(layout.piece(index).unwrap());
    }
    let mut scene = made.with(made.info.clone(), have);
    let peer = scene.connect(1, V2);
    scene.heard(peer);
    let request = HashRequest { root: made.root(1), base_layer: 0, index: 2, length: 2, proof_layers: 1 };
    scene.says(peer, [Message::HashRequest(request)]);
    assert_eq!(leaf_reads(&mut scene), [(peer, 1, 2, 2)]);
    scene.torrent.handle_leaves(scene.now, peer, request, Some(made.leaves[1][2..].to_vec()));
    scene.drain();
    assert_eq!(scene.heard(peer), [made.answer(request)]);
}

#[test]
fn v8_a_flood_of_requests_is_refused_and_then_ends() {
    let made = v2(1, &[4]);
    let mut scene = made.seeder();
    let peer = scene.connect(1, V2);
    let request = HashRequest { root: made.root(0), base_layer: 0, index: 0, length: 4, proof_layers: 0 };
    scene.says(peer, std::iter::repeat_n(Message::HashRequest(request), 4_096));
    let answers = scene.heard(peer).into_iter().filter(|m| matches!(m, Message::Hashes(..))).count();
    assert_eq!((answers, scene.dropped(peer)), (4_096, None));
    scene.says(peer, [Message::HashRequest(request)]);
    assert_eq!(scene.heard(peer), [Message::HashReject(request)]);
    scene.says(peer, std::iter::repeat_n(Message::HashRequest(request), 2_000));
    assert_eq!(scene.misbehaved(peer), Some(Misbehaviour::Flood));
}

#[test]
fn random_hash_messages_end_in_an_answer_a_refusal_or_a_disconnect() {
    let made = v2(4, &[2_100, 3, 1]);
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..300 {
        let mut scene = match round % 3 {
            0 => made.seeder(),
            1 => made.leecher(),
            _ => made.scene(Start::Magnet { info: Some(made.bare()) }),
        };
        let peer = scene.v2_seed(1);
        let mut asked = scene.hash_requests_to(peer);
        while scene.dropped(peer).is_none() && random.u8(..20) > 0 {
            let number =
                |random: &mut fastrand::Rng| [0, 1, 2, 4, 512, u32::MAX, random.u32(..64)][random.usize(..7)];
            let anything = HashRequest {
                root: [made.root(0), made.root(1), [0; 32]][random.usize(..3)],
                base_layer: number(&mut random),
                index: number(&mut random),
                length: number(&mut random),
                proof_layers: number(&mut random),
            };
            let request = if random.bool() { asked.pop().unwrap_or(anything) } else { anything };
            let hashes = vec![made.root(random.usize(..3)); random.usize(..520)];
            scene.heard(peer);
            match random.u8(..4) {
                0 => scene.says(peer, [Message::Hashes(request, hashes)]),
                1 => scene.says(peer, [Message::HashReject(request)]),
                _ => {
                    scene.says(peer, [Message::HashRequest(anything)]);
                    let reads =
                        scene.actions.iter().any(|action| matches!(action, Action::ReadLeaves { .. }));
                    let answers = scene.heard(peer).iter().any(|message| match message {
                        Message::Hashes(to, _) | Message::HashReject(to) => *to == anything,
                        _ => false,
                    });
                    assert!(reads || answers || scene.dropped(peer).is_some(), "{anything:?}");
                }
            }
            asked.extend(scene.hash_requests_to(peer));
        }
        scene.pass(seconds(40));
    }
}
