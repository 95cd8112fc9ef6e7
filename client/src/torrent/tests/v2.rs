//! v2 and hybrid torrents (BEP 52): layers from peers, hashes for peers, who is to blame for a bad block, two swarms. V, G and M: the
//! project's tables of hostile input.

use std::collections::BTreeMap;

use torrent_format::merkle::{self, Hash};
use torrent_format::{InfoHash, InfoHashes};

use super::*;
use crate::wire::extension::{ExtensionHandshake, UT_METADATA_ID};
use crate::wire::ut_metadata::MetadataMessage;

/// A modern peer on a connection in the v2 swarm.
const V2: Capabilities = Capabilities { v2: true, ..MODERN };

/// A torrent whose leaves are known, though its bytes are not.
struct Made {
    info: Info,
    /// Of each file, in the order of the info.
    leaves: Vec<Vec<Hash>>,
}

/// Files of so many blocks each, the pieces of `piece_blocks` blocks; every layer known.
fn v2(piece_blocks: u32, files: &[u32]) -> Made {
    made(piece_blocks, files, false)
}

/// The same as a hybrid of one file.
fn hybrid(piece_blocks: u32, blocks: u32) -> Made {
    made(piece_blocks, &[blocks], true)
}

fn made(piece_blocks: u32, files: &[u32], hybrid: bool) -> Made {
    let leaf = |file: usize, block: u32| merkle::parent(&[file as u8; 32], &[block as u8; 32]);
    let leaves: Vec<Vec<Hash>> = (0..)
        .zip(files)
        .map(|(file, &blocks)| (0..blocks).map(|block| leaf(file, block)).collect())
        .collect();
    let piece_length = piece_blocks * BLOCK_LENGTH;
    let mut raw = b"d9:file treed".to_vec();
    for (file, leaves) in leaves.iter().enumerate() {
        let height = leaves.len().next_power_of_two().ilog2();
        let (name, length) = (char::from(b'a' + file as u8), leaves.len() * BLOCK_LENGTH as usize);
        raw.extend(format!("1:{name}d0:d6:lengthi{length}e").bytes());
        if length > 0 {
            raw.extend(b"11:pieces root32:");
            raw.extend(merkle::root(leaves, 0, height));
        }
        raw.extend(b"ee");
    }
    raw.push(b'e');
    let blocks: u32 = files.iter().sum();
    if hybrid {
        raw.extend(format!("6:lengthi{}e", blocks * BLOCK_LENGTH).bytes());
    }
    raw.extend(format!("12:meta versioni2e4:name1:a12:piece lengthi{piece_length}e").bytes());
    if hybrid {
        let pieces = blocks.div_ceil(piece_blocks) as usize;
        raw.extend(format!("6:pieces{}:", pieces * 20).bytes());
        raw.extend(vec![b'h'; pieces * 20]);
    }
    raw.push(b'e');
    let made = Made { info: Info::from_bytes(&raw).unwrap(), leaves };
    for file in made.info.missing_layers().collect::<Vec<_>>() {
        made.info.set_layer(file, made.layer(file)).unwrap();
    }
    made
}

/// Two files of the same four blocks.
fn twins(piece_blocks: u32) -> Made {
    let mut made = v2(piece_blocks, &[4, 4]);
    let mut raw = made.info.raw().to_vec();
    let (first, second) = (made.root(0), made.root(1));
    let at = raw.windows(32).position(|window| window == second).unwrap();
    raw[at..at + 32].copy_from_slice(&first);
    made.info = Info::from_bytes(&raw).unwrap();
    made.leaves[1] = made.leaves[0].clone();
    made.info.set_layer(0, made.layer(0)).unwrap();
    made
}

impl Made {
    fn layer(&self, file: usize) -> Vec<Hash> {
        let tree = self.info.tree(file).unwrap();
        self.leaves[file].chunks(1 << tree.piece_layer()).map(|piece| tree.root_of_leaves(piece)).collect()
    }

    /// The same info, its layers forgotten.
    fn bare(&self) -> Info {
        Info::from_bytes(self.info.raw()).unwrap()
    }

    /// What an honest peer that has everything answers.
    fn answer(&self, request: HashRequest) -> Message {
        let file = self.info.file_by_root(&request.root).unwrap();
        let HashRequest { base_layer, index, length, proof_layers, .. } = request;
        let tree = self.info.tree(file).unwrap();
        let range = tree.check_range(base_layer, index, length, proof_layers).unwrap();
        let leaves = tree.leaves_for(&range);
        let leaves = &self.leaves[file][leaves.start as usize..leaves.end as usize];
        Message::Hashes(request, self.info.answer_hashes(file, &range, leaves).unwrap())
    }

    fn scene(&self, start: Start) -> Scene {
        let torrent = Torrent::new(Time::default(), config(&self.info), start);
        let mut scene = Scene { torrent, now: Time::default(), info: self.info.clone(), actions: Vec::new() };
        scene.drain();
        scene
    }

    fn with(&self, info: Info, have: Bitfield) -> Scene {
        let wanted = Bitfield::all(self.info.layout().piece_count());
        self.scene(Start::Known { info, have, wanted })
    }

    fn leecher(&self) -> Scene {
        self.with(self.info.clone(), Bitfield::none(self.info.layout().piece_count()))
    }

    fn seeder(&self) -> Scene {
        self.with(self.info.clone(), Bitfield::all(self.info.layout().piece_count()))
    }

    fn root(&self, file: usize) -> Hash {
        self.info.tree(file).unwrap().root
    }
}

impl Scene {
    /// A peer in the v2 swarm that has everything and lets us download.
    fn v2_seed(&mut self, n: u8) -> PeerKey {
        let key = self.connect(n, V2);
        self.says(key, [Message::HaveAll, Message::Unchoke]);
        key
    }

    fn hash_requests_to(&mut self, key: PeerKey) -> Vec<HashRequest> {
        let mut requests = Vec::new();
        self.actions.retain(|action| match action {
            Action::Send(to, Message::HashRequest(request)) if *to == key => {
                requests.push(*request);
                false
            }
            _ => true,
        });
        requests
    }

    /// This peer answers what it is asked, until it is asked nothing more.
    fn answers(&mut self, made: &Made, key: PeerKey) {
        loop {
            let requests = self.hash_requests_to(key);
            if requests.is_empty() {
                return;
            }
            self.says(key, requests.into_iter().map(|request| made.answer(request)));
        }
    }

    fn infos(&self) -> Vec<Info> {
        let info = |action: &Action| match action {
            Action::Info(info) => Some(info.clone()),
            _ => None,
        };
        self.actions.iter().filter_map(info).collect()
    }

    fn dropped_blocks(&self) -> Vec<(u32, Vec<u32>)> {
        let dropped = |action: &Action| match action {
            Action::DropBlocks { piece, blocks } => Some((piece.get(), blocks.clone())),
            _ => None,
        };
        self.actions.iter().filter_map(dropped).collect()
    }

    fn banned(&self) -> Vec<SocketAddr> {
        let banned = |event: Event| if let Event::PeerBanned(addr) = event { Some(addr) } else { None };
        self.events().into_iter().filter_map(banned).collect()
    }

    fn connects(&self) -> Vec<(SocketAddr, InfoHash)> {
        let connect = |action: &Action| match action {
            Action::Connect(addr, swarm) => Some((*addr, *swarm)),
            _ => None,
        };
        self.actions.iter().filter_map(connect).collect()
    }

    /// What trackers are told; each answers.
    fn announced(&mut self) -> Vec<(InfoHash, torrent_format::announce::AnnounceEvent)> {
        let mut announced = Vec::new();
        for action in self.take() {
            if let Action::Announce { tracker, request, .. } = action {
                announced.push((request.info_hash, request.event));
                let reply = AnnounceReply { interval: seconds(1_800), ..AnnounceReply::default() };
                self.torrent.handle_announce_reply(self.now, tracker, false, Ok(reply));
            }
        }
        self.drain();
        announced
    }
}

/// The leaves with these blocks spoilt.
fn spoilt(leaves: &[Hash], blocks: &[usize]) -> Verification {
    let mut found = leaves.to_vec();
    for &block in blocks {
        found[block] = [0xbd; 32];
    }
    Verification::Wrong(found)
}

fn full(scene: &Scene) -> Bitfield {
    Bitfield::all(scene.info.layout().piece_count())
}

// -- layers from peers

#[test]
fn m72_the_payload_of_a_v2_torrent_waits_for_its_layers_which_come_from_peers_in_parts() {
    // 1,300 pieces, 3 pieces, one piece.
    let made = v2(2, &[2_600, 6, 2]);
    let mut scene = made.scene(Start::Magnet { info: Some(made.bare()) });
    assert_eq!(scene.torrent.stats(scene.now).missing_layers, 2);
    let plain = scene.generous_seed(1);
    assert_eq!(scene.hash_requests_to(plain), [], "it does not speak v2");
    let seed = scene.v2_seed(2);
    let requests = scene.hash_requests_to(seed);
    let shape: Vec<_> = requests.iter().map(|r| (r.root, r.base_layer, r.index, r.length)).collect();
    let [long, short] = [made.root(0), made.root(1)];
    let mut expected = vec![(long, 1, 0, 512), (long, 1, 512, 512), (long, 1, 1_024, 512), (short, 1, 0, 4)];
    expected.sort_unstable();
    assert_eq!(shape, expected);
    let (last, first) = requests.split_last().unwrap();
    scene.says(seed, first.iter().map(|&request| made.answer(request)));
    assert!(scene.infos().is_empty(), "not before the last");
    scene.says(seed, [made.answer(*last)]);
    let infos = scene.infos();
    let [info] = &infos[..] else { panic!("{infos:?}") };
    assert_eq!(info.missing_layers().count(), 0);
    assert_eq!((info.layer(0), info.layer(1)), (made.info.layer(0), made.info.layer(1)));
    assert!(scene.events().contains(&Event::LayersComplete));
    let (info, none, all) = (info.clone(), Bitfield::none(1_304), full(&scene));
    scene.torrent.handle_info(scene.now, info, none, all);
    scene.drain();
    assert!(!scene.requests_to(seed).is_empty());
}

#[test]
fn v13_who_refuses_or_says_nothing_rests_while_another_is_asked_and_late_hashes_do_no_harm() {
    let made = v2(1, &[4]);
    let mut scene = made.scene(Start::Magnet { info: Some(made.bare()) });
    let [leecher, silent] = [1, 2].map(|n| scene.connect(n, V2));
    scene.says(silent, [Message::HaveNone]);
    let [request] = scene.hash_requests_to(leecher)[..] else { panic!("it is asked") };
    scene.says(leecher, [Message::HashReject(request)]);
    assert_eq!(scene.hash_requests_to(silent), [request]);
    let seed = scene.v2_seed(3);
    scene.pass(seconds(9));
    assert_eq!(scene.hash_requests_to(seed), []);
    scene.pass(seconds(2));
    assert_eq!((scene.hash_requests_to(seed), scene.hash_requests_to(leecher)), (vec![request], vec![]));
    scene.says(silent, [made.answer(request)]);
    assert_eq!(scene.infos().len(), 1, "late, and still welcome");
    scene.says(seed, [made.answer(request)]);
    assert_eq!((scene.dropped(silent), scene.dropped(seed)), (None, None), "V13: not needed, but asked for");
}

#[test]
fn three_that_say_nothing_do_not_keep_the_honest_fourth_from_being_asked() {
    let made = v2(1, &[1_300]);
    for is_seed in [true, false] {
        let mut scene = made.scene(Start::Magnet { info: Some(made.bare()) });
        let mute = [1, 2, 3].map(|n| scene.v2_seed(n));
        let honest = scene.connect(4, V2);
        scene.says(honest, [if is_seed { Message::HaveAll } else { Message::HaveNone }]);
        for _ in 0..32 {
            scene.answers(&made, honest);
            scene.pass(seconds(1));
        }
        assert_eq!(scene.infos().len(), 1, "seed: {is_seed}");
        assert!(mute.iter().all(|&peer| scene.dropped(peer).is_none()));
    }
}

#[test]
fn as_many_late_answers_are_welcome_as_there_were_requests() {
    let made = v2(1, &[4]);
    let mut scene = made.scene(Start::Magnet { info: Some(made.bare()) });
    let slow = scene.v2_seed(1);
    scene.pass(seconds(45));
    let [first, second] = scene.hash_requests_to(slow)[..] else { panic!("it is asked again after a rest") };
    assert_eq!(first, second);
    for late in [None, None, Some(Misbehaviour::UnaskedHashes)] {
        scene.says(slow, [made.answer(first)]);
        assert_eq!((scene.infos().len(), scene.misbehaved(slow)), (1, late));
    }
}

#[test]
fn v10_v11_v12_v14_hashes_that_prove_nothing_cost_the_connection_and_on_the_second_time_a_ban() {
    let made = v2(1, &[1_300]);
    type Spoil = fn(&mut Vec<Hash>);
    let spoil: [(&str, Spoil); 6] = [
        ("V10 one too few", |hashes| hashes.truncate(hashes.len() - 1)),
        ("V10 one too many", |hashes| hashes.push([0; 32])),
        ("V11 the lowest uncle", |hashes| hashes[512] = [1; 32]),
        ("V11 the highest uncle", |hashes| *hashes.last_mut().unwrap() = [1; 32]),
        ("V12 one of the base", |hashes| hashes[7] = [1; 32]),
        ("V14 padding", |hashes| hashes[400] = [1; 32]),
    ];
    for (case, spoil) in spoil {
        let bare = made.bare();
        let mut scene = made.scene(Start::Magnet { info: Some(bare.clone()) });
        for (time, banned) in [(1, vec![]), (2, vec![addr(1)])] {
            let liar = scene.v2_seed(1);
            let requests = scene.hash_requests_to(liar);
            let index = if case.starts_with("V14") { 1_024 } else { 0 };
            let request = *requests.iter().find(|request| request.index == index).unwrap();
            let Message::Hashes(_, mut hashes) = made.answer(request) else { unreachable!() };
            spoil(&mut hashes);
            scene.says(liar, [Message::Hashes(request, hashes)]);
            let reason = if time == 1 { Reason::Misbehaved(Misbehaviour::BadHashes) } else { Reason::Banned };
            assert_eq!((scene.dropped(liar), scene.banned()), (Some(reason), banned), "{case}");
        }
        assert_eq!(scene.try_connect(1, V2), Err(Reason::Banned), "{case}");
        let honest = scene.v2_seed(2);
        scene.answers(&made, honest);
        assert_eq!(scene.infos().len(), 1, "{case}");
        assert_eq!(bare.layer(0), made.info.layer(0), "{case}: nothing of the lie is left");
    }
}

#[test]
fn v9_v15_v16_what_nobody_asked_for_ends_the_connection() {
    let made = v2(1, &[4]);
    let request = HashRequest { root: made.root(0), base_layer: 0, index: 0, length: 4, proof_layers: 1 };
    for (case, capabilities, message, expected) in [
        ("V9", V2, made.answer(request), Misbehaviour::UnaskedHashes),
        ("V15", V2, Message::HashReject(request), Misbehaviour::UnaskedHashes),
        ("V16 request", MODERN, Message::HashRequest(request), Misbehaviour::WrongVersion),
        ("V16 hashes", MODERN, made.answer(request), Misbehaviour::WrongVersion),
        ("V16 reject", MODERN, Message::HashReject(request), Misbehaviour::WrongVersion),
    ] {
        let mut scene = made.leecher();
        let peer = scene.connect(1, capabilities);
        scene.says(peer, [message.clone()]);
        assert_eq!(scene.misbehaved(peer), Some(expected), "{case}");
        assert!(scene.banned().is_empty(), "{case}");
        // On a v1 torrent, whatever the handshake claimed.
        let mut scene = Scene::leecher(1, 1);
        let peer = scene.connect(1, capabilities);
        scene.says(peer, [message]);
        assert_eq!(scene.misbehaved(peer), Some(Misbehaviour::WrongVersion), "{case}");
    }
}

#[test]
fn a_hybrid_waits_for_no_layer_and_gets_them_all_the_same() {
    let made = hybrid(1, 8);
    let bare = made.bare();
    let mut scene = made.scene(Start::Magnet { info: Some(bare.clone()) });
    assert_eq!(scene.infos().len(), 1, "v1 hashes will do");
    let seed = scene.v2_seed(1);
    assert_eq!(scene.hash_requests_to(seed).len(), 1);
    let (now, all) = (scene.now, full(&scene));
    scene.torrent.handle_info(now, bare.clone(), Bitfield::none(8), all);
    scene.drain();
    assert_eq!(scene.requests_to(seed).len(), 4);
    scene.pass(seconds(31));
    scene.answers(&made, seed);
    assert!(scene.events().contains(&Event::LayersComplete));
    assert_eq!((bare.missing_layers().count(), scene.torrent.stats(scene.now).missing_layers), (0, 0));
}

#[test]
fn files_of_the_same_bytes_need_their_layer_once() {
    let made = twins(1);
    let bare = made.bare();
    let mut scene = made.scene(Start::Magnet { info: Some(bare.clone()) });
    let seed = scene.v2_seed(1);
    let requests = scene.hash_requests_to(seed);
    assert_eq!(requests.len(), 1);
    scene.says(seed, [made.answer(requests[0])]);
    assert_eq!((scene.infos().len(), bare.missing_layers().count()), (1, 0));
}

// -- hashes for peers

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

// -- who is to blame

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

// -- padding

#[test]
fn the_padding_of_a_hybrid_is_neither_fetched_nor_counted_but_given_to_those_who_ask() {
    let file = |name, length: u32| format!("1:{name}d0:d6:lengthi{length}e11:pieces root32:{name:>32}ee");
    let raw = format!(
        "d9:file treed{}{}e5:filesld6:lengthi20000e4:pathl1:aeed4:attr1:p6:lengthi45536e4:pathl4:.pad5:45536ee\
        d6:lengthi5e4:pathl1:beee12:meta versioni2e4:name1:n12:piece lengthi65536e6:pieces40:{}e",
        file("a", 20_000),
        file("b", 5),
        "h".repeat(40)
    );
    let info = Info::from_bytes(raw.as_bytes()).unwrap();
    let start = |have| Start::Known { info: info.clone(), have, wanted: Bitfield::all(2) };
    let scene = |have| {
        let mut config = config(&info);
        config.trackers = vec![vec!["http://t/".into()]];
        let torrent = Torrent::new(Time::default(), config, start(have));
        let mut scene = Scene { torrent, now: Time::default(), info: info.clone(), actions: Vec::new() };
        scene.drain();
        scene
    };
    let mut leecher = scene(Bitfield::none(2));
    let left = leecher.take().into_iter().find_map(|action| match action {
        Action::Announce { request, .. } => Some(request.left),
        _ => None,
    });
    assert_eq!((left, leecher.torrent.stats(leecher.now).bytes_total), (Some(20_005), 20_005));
    let seed = leecher.generous_seed(1);
    let mut asked = leecher.requests_to(seed);
    asked.sort_unstable();
    let last = BlockRequest { index: 1, begin: 0, length: 5 };
    assert_eq!(asked, [block(0, 0), block(0, 1), last]);
    for request in asked {
        leecher.sends_block(seed, request);
    }
    for piece in [0, 1] {
        leecher.hashed(piece, Verification::Good(None));
    }
    let stats = leecher.torrent.stats(leecher.now);
    assert_eq!((stats.bytes_done, stats.wasted, stats.complete), (20_005, 0, true));

    let mut seeder = scene(Bitfield::all(2));
    let peer = seeder.connect(1, MODERN);
    seeder.says(peer, [Message::HaveNone, Message::Interested, Message::Request(block(0, 3))]);
    assert_eq!(seeder.blocks_to(peer), [block(0, 3)]);
}

// -- two swarms

#[test]
fn a_hybrid_is_announced_in_both_swarms_and_peers_are_called_by_the_name_they_know() {
    use torrent_format::announce::AnnounceEvent::{Started, Stopped};
    let made = hybrid(1, 4);
    let (v1, v2) = (made.info.hashes().v1().unwrap(), made.info.hashes().v2().unwrap().truncated());
    let mut config = config(&made.info);
    config.trackers = vec![vec!["http://t/".into()]];
    let start = Start::Known { info: made.info.clone(), have: Bitfield::none(4), wanted: Bitfield::all(4) };
    let torrent = Torrent::new(Time::default(), config, start);
    let mut scene = Scene { torrent, now: Time::default(), info: made.info.clone(), actions: Vec::new() };
    scene.drain();
    let trackers: Vec<_> = scene
        .take()
        .into_iter()
        .filter_map(|action| match action {
            Action::Announce { tracker, request, .. } => Some((tracker, request.info_hash, request.event)),
            _ => None,
        })
        .collect();
    let [(in_v1, _, _), (in_v2, _, _)] = trackers[..] else { panic!("{trackers:?}") };
    assert_eq!(trackers, [(in_v1, v1, Started), (in_v2, v2, Started)]);
    for (tracker, peers) in [(in_v1, [1, 2]), (in_v2, [2, 3])] {
        let peers = peers.map(addr).to_vec();
        let reply = AnnounceReply { interval: seconds(1_800), peers, ..AnnounceReply::default() };
        scene.torrent.handle_announce_reply(scene.now, tracker, false, Ok(reply));
        scene.drain();
    }
    let mut connects = scene.connects();
    connects.sort_unstable();
    assert_eq!(connects, [(addr(1), v1), (addr(2), v1), (addr(3), v2)]);
    scene.take();
    let given = addr(9);
    scene.torrent.add_peers(scene.now, PeerSource::Given, [given]);
    scene.torrent.handle_connect_failed(scene.now, given);
    scene.torrent.handle_connect_failed(scene.now, given);
    scene.drain();
    assert_eq!(scene.connects(), [(given, v1), (given, v2)], "nobody said where it is: both, then a pause");
    scene.take();
    scene.torrent.stop(scene.now);
    scene.drain();
    assert_eq!(scene.announced(), [(v1, Stopped), (v2, Stopped)]);
    assert!(scene.torrent.is_stopped());
}

#[test]
fn a_magnet_learns_its_other_name_from_the_info_and_joins_that_swarm_too() {
    use torrent_format::announce::AnnounceEvent::Started;
    let made = hybrid(1, 4);
    let hashes = made.info.hashes();
    let (v1, v2) = (hashes.v1().unwrap(), hashes.v2().unwrap());
    for (known, first, second) in [(v1.into(), v1, v2.truncated()), (v2.into(), v2.truncated(), v1)] {
        let mut config = config(&made.info);
        config.hashes = known;
        config.trackers = vec![vec!["http://t/".into()]];
        let torrent = Torrent::new(Time::default(), config, Start::Magnet { info: None });
        let mut scene = Scene { torrent, now: Time::default(), info: made.info.clone(), actions: Vec::new() };
        scene.drain();
        assert_eq!(scene.announced(), [(first, Started)]);
        gives_info(&mut scene, made.info.raw());
        assert_eq!(scene.infos().len(), 1);
        assert_eq!(scene.announced(), [(second, Started)]);
        assert_eq!(scene.torrent.hashes(), hashes);
    }
}

/// A peer gives these bytes for the info.
fn gives_info(scene: &mut Scene, raw: &[u8]) {
    let seed = scene.connect(1, MODERN);
    let size = raw.len() as u32;
    let theirs = ExtensionHandshake { ut_metadata: Some(7), metadata_size: Some(size), ..Default::default() };
    let data = MetadataMessage::Data { piece: 0, total_size: size, data: raw.to_vec() };
    let given = [(0, theirs.encode()), (UT_METADATA_ID, data.encode())];
    scene.says(seed, given.map(|(id, payload)| Message::Extended { id, payload }));
}

#[test]
fn g9_info_that_can_t_be_used_ends_the_torrent_with_the_reason() {
    let made = hybrid(1, 4);
    let hashes = made.info.hashes();
    let other = v2(1, &[4]).info.hashes();
    let bad = |scene: &Scene| {
        let fault = |action: &Action| match action {
            Action::BadInfo(fault) => Some(fault.clone()),
            _ => None,
        };
        scene.actions.iter().find_map(fault)
    };
    for (hashes, raw, expected) in [
        (InfoHashes::new(hashes.v1(), other.v2()).unwrap(), made.info.raw(), "Some(Conflict)"),
        (InfoHash::of_info(b"de").into(), b"de", "Some(Unusable("),
    ] {
        let mut config = config(&made.info);
        config.hashes = hashes;
        let torrent = Torrent::new(Time::default(), config, Start::Magnet { info: None });
        let mut scene = Scene { torrent, now: Time::default(), info: made.info.clone(), actions: Vec::new() };
        gives_info(&mut scene, raw);
        let fault = format!("{:?}", bad(&scene));
        assert!(fault.starts_with(expected), "{fault}");
        assert!(scene.infos().is_empty());
        scene.pass(seconds(100));
    }
}
