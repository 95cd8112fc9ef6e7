//! v2 and hybrid torrents (BEP 52); here, how layers come from peers. V, G and M: the project's tables of hostile input.

mod blame;
mod hybrid;
mod serving;

use std::collections::{BTreeMap, BTreeSet};

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
