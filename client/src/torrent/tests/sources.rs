//! Where peers come from, and who may not: PEX, private torrents, by the numbers of the table of hostile input (E: extensions).

use torrent_format::announce::{AnnounceEvent, AnnounceReply};

use super::*;
use crate::wire::extension::{ExtensionHandshake, UT_PEX_ID};
use crate::wire::ut_metadata::MetadataMessage;
use crate::wire::ut_pex::{PexFlags, PexMessage};

/// Its number for our PEX messages.
const THEIRS: u8 = 9;

fn scene(change: impl FnOnce(&mut Config)) -> Scene {
    let exchanges = |config: &mut Config| {
        config.pex = true;
        change(config);
    };
    Scene::new(4, 4, |_| false, exchanges)
}

fn shakes_extensions(scene: &mut Scene, key: PeerKey, port: Option<u16>) {
    let handshake = ExtensionHandshake { ut_pex: Some(THEIRS), port, ..ExtensionHandshake::default() };
    scene.says(key, [Message::Extended { id: 0, payload: handshake.encode() }]);
}

/// A peer that listens and exchanges peers.
fn exchanger(scene: &mut Scene, n: u8) -> PeerKey {
    let key = scene.connect(n, MODERN);
    shakes_extensions(scene, key, Some(6881));
    key
}

/// What we told this peer of others.
fn told(scene: &mut Scene, key: PeerKey) -> Vec<PexMessage> {
    let pex = |message| match message {
        Message::Extended { id: THEIRS, payload } => Some(PexMessage::decode(&payload).unwrap()),
        _ => None,
    };
    scene.heard(key).into_iter().filter_map(pex).collect()
}

fn tells(scene: &mut Scene, key: PeerKey, peers: &[SocketAddr]) {
    let added = peers.iter().map(|&peer| (peer, PexFlags::default())).collect();
    let payload = PexMessage { added, dropped: Vec::new() }.encode();
    scene.says(key, [Message::Extended { id: UT_PEX_ID, payload }]);
}

fn dialled(scene: &mut Scene) -> Vec<SocketAddr> {
    let dial = |action| match action {
        Action::Connect(addr, _) => Some(addr),
        _ => None,
    };
    scene.take().into_iter().filter_map(dial).collect()
}

/// What our last extension handshake says of PEX.
fn offers_pex(scene: &mut Scene, key: PeerKey) -> Option<u8> {
    let handshake = |message| match message {
        Message::Extended { id: 0, payload } => Some(ExtensionHandshake::decode(&payload).unwrap()),
        _ => None,
    };
    scene.heard(key).into_iter().filter_map(handshake).next_back().and_then(|it| it.ut_pex)
}

/// The info of [`info`] with the private flag.
fn private_info() -> Info {
    let raw = info(4, 4).raw().to_vec();
    let raw = [&raw[..raw.len() - 1], b"7:privatei1ee"].concat();
    Info::from_bytes(&raw).unwrap()
}

#[test]
fn who_is_connected_is_told_to_all_others_once_and_who_leaves_too() {
    let mut scene = scene(|_| {});
    let (a, b) = (exchanger(&mut scene, 1), exchanger(&mut scene, 2));
    let silent = scene.connect(3, MODERN);
    shakes_extensions(&mut scene, silent, None);
    scene.pass(seconds(2));
    let of = |n| (addr(n), PexFlags::default());
    assert_eq!(told(&mut scene, a), [PexMessage { added: vec![of(2)], dropped: vec![] }]);
    assert_eq!(told(&mut scene, b), [PexMessage { added: vec![of(1)], dropped: vec![] }]);
    assert_eq!(
        told(&mut scene, silent)[0].added,
        [of(1), of(2)],
        "whoever listens nowhere hears nonetheless"
    );
    scene.torrent.handle_disconnected(scene.now, b);
    scene.drain();
    scene.pass(seconds(50));
    assert_eq!(told(&mut scene, a), []);
    scene.pass(seconds(15));
    assert_eq!(told(&mut scene, a), [PexMessage { added: vec![], dropped: vec![addr(2)] }]);
}

#[test]
fn what_a_peer_tells_is_dialled_but_only_so_many_of_one_address_and_nothing_of_our_own_network() {
    let mut scene = scene(|_| {});
    let peer = exchanger(&mut scene, 1);
    scene.take();
    let victim = (1..100).map(|port| SocketAddr::new(addr(7).ip(), port));
    let near = ["127.0.0.1:22", "192.168.1.1:80", "10.0.0.1:1", "0.0.0.0:1", "224.0.0.1:1"];
    let list: Vec<SocketAddr> =
        victim.chain(near.map(|near| near.parse().unwrap())).chain([addr(8)]).collect();
    tells(&mut scene, peer, &list);
    scene.pass(seconds(8));
    let dialled = dialled(&mut scene);
    assert_eq!(dialled.len(), 5, "{dialled:?}");
    assert!(dialled.contains(&addr(8)));
}

#[test]
fn who_dialled_us_is_not_dialled_at_the_word_of_others_before_it_has_gone() {
    let mut scene = scene(|_| {});
    let (here, friend) = (exchanger(&mut scene, 1), exchanger(&mut scene, 2));
    scene.take();
    tells(&mut scene, friend, &[addr(1), addr(3)]);
    scene.torrent.add_peers_of(scene.now, PeerSource::Given, scene.info.info_hash(), [addr(1)]);
    scene.drain();
    scene.pass(seconds(60));
    assert_eq!(dialled(&mut scene), [addr(3)]);
    scene.torrent.handle_disconnected(scene.now, here);
    scene.drain();
    scene.pass(seconds(3));
    assert_eq!(dialled(&mut scene), [addr(1)]);
}

#[test]
fn e15_floods_and_nonsense_end_the_connection_in_the_end() {
    let mut scene = scene(|_| {});
    let (flooder, babbler) = (exchanger(&mut scene, 1), exchanger(&mut scene, 2));
    for _ in 0..3 + 11 {
        tells(&mut scene, flooder, &[addr(9)]);
    }
    assert_eq!(scene.misbehaved(flooder), Some(Misbehaviour::Flood));
    let nonsense = || Message::Extended { id: UT_PEX_ID, payload: b"d5:added5:aaaaae".to_vec() };
    scene.says(babbler, [nonsense()]);
    assert_eq!(scene.misbehaved(babbler), None);
    scene.says(babbler, [nonsense()]);
    assert_eq!(scene.misbehaved(babbler), Some(Misbehaviour::BadExtension));
}

#[test]
fn without_pex_nothing_is_offered_said_or_believed() {
    let mut scene = Scene::leecher(4, 4);
    let peer = scene.connect(1, MODERN);
    assert_eq!(offers_pex(&mut scene, peer), None);
    shakes_extensions(&mut scene, peer, Some(6881));
    exchanger(&mut scene, 2);
    tells(&mut scene, peer, &[addr(8)]);
    scene.pass(seconds(10));
    assert_eq!(told(&mut scene, peer), []);
    assert_eq!(dialled(&mut scene), []);
}

#[test]
fn e17_a_private_torrent_has_its_peers_from_trackers_only() {
    let info = private_info();
    let config =
        Config { pex: true, hashes: info.hashes(), trackers: vec![vec!["a".into()]], ..config(&info) };
    let start = Start::Known { have: Bitfield::none(4), wanted: Bitfield::all(4), info: info.clone() };
    let torrent = Torrent::new(Time::default(), config, start);
    let mut scene = Scene { torrent, now: Time::default(), info, actions: Vec::new() };
    scene.drain();
    let peer = scene.connect(1, MODERN);
    assert_eq!(offers_pex(&mut scene, peer), Some(0));
    shakes_extensions(&mut scene, peer, Some(6881));
    exchanger(&mut scene, 2);
    tells(&mut scene, peer, &[addr(8)]);
    let name = scene.info.info_hash();
    scene.torrent.add_peers_of(scene.now, PeerSource::Lsd, name, [addr(9)]);
    scene.pass(seconds(70));
    assert_eq!(told(&mut scene, peer), []);
    let asked = scene.actions.iter().find_map(|action| match action {
        Action::Announce { tracker, .. } => Some(*tracker),
        _ => None,
    });
    assert_eq!(dialled(&mut scene), []);
    let reply = AnnounceReply { peers: vec![addr(10)], ..AnnounceReply::default() };
    scene.torrent.handle_announce_reply(scene.now, asked.unwrap(), false, Ok(reply));
    scene.drain();
    assert_eq!(dialled(&mut scene), [addr(10)]);
}

#[test]
fn a_magnet_that_turns_out_to_be_private_leaves_whoever_it_found_otherwise() {
    let info = private_info();
    let config = Config { pex: true, hashes: info.hashes(), ..config(&info) };
    let torrent = Torrent::new(Time::default(), config, Start::Magnet { info: None });
    let mut scene = Scene { torrent, now: Time::default(), info, actions: Vec::new() };
    let giver = exchanger(&mut scene, 1);
    assert_eq!(offers_pex(&mut scene, giver), Some(UT_PEX_ID));
    tells(&mut scene, giver, &[addr(8), addr(9)]);
    let found = dialled(&mut scene);
    assert_eq!(found.len(), 2);
    let peer = |addr: SocketAddr, n| Connected {
        addr,
        direction: Direction::Outgoing,
        capabilities: MODERN,
        peer_id: PeerId([n; 20]),
        utp: false,
    };
    let by_pex = scene.torrent.handle_connected(scene.now, peer(addr(8), 8)).unwrap();
    scene.drain();
    let raw = scene.info.raw().to_vec();
    let handshake = ExtensionHandshake {
        ut_metadata: Some(3),
        metadata_size: Some(raw.len() as u32),
        ..ExtensionHandshake::default()
    };
    scene.says(giver, [Message::Extended { id: 0, payload: handshake.encode() }]);
    let data = MetadataMessage::Data { piece: 0, total_size: raw.len() as u32, data: raw };
    scene.says(giver, [Message::Extended { id: 1, payload: data.encode() }]);
    assert!(scene.torrent.is_private());
    assert_eq!(scene.dropped(by_pex), Some(Reason::Private));
    assert_eq!(scene.dropped(giver), None, "it dialled us");
    scene.pass(seconds(3_600));
    assert_eq!(dialled(&mut scene), []);
}

#[test]
fn every_third_dial_is_left_to_trackers_when_peers_tell_of_many() {
    let mut scene = scene(|config| {
        config.trackers = vec![vec!["a".into()]];
        config.max_peers = 1_000;
    });
    let asked = scene.take().into_iter().find_map(|action| match action {
        Action::Announce { tracker, .. } => Some(tracker),
        _ => None,
    });
    let peer = exchanger(&mut scene, 1);
    let far = |net: u8, n: u8| SocketAddr::from(([203, net, n, 1], 6881));
    let by_pex: Vec<_> = (0..200).map(|n| far(1, n)).collect();
    let by_tracker: Vec<_> = (0..50).map(|n| far(2, n)).collect();
    scene.take();
    tells(&mut scene, peer, &by_pex);
    let reply = AnnounceReply { peers: by_tracker.clone(), ..AnnounceReply::default() };
    scene.torrent.handle_announce_reply(scene.now, asked.unwrap(), false, Ok(reply));
    scene.drain();
    let mut all = Vec::new();
    for _ in 0..4 {
        for addr in dialled(&mut scene) {
            all.push(addr);
            scene.torrent.handle_connect_failed(scene.now, addr);
            scene.drain();
        }
    }
    let of_tracker = all.iter().filter(|addr| by_tracker.contains(addr)).count();
    let after = all.len() - 30;
    assert!(
        of_tracker * 3 >= after,
        "{of_tracker} of {}: the first 30 went out before the tracker answered",
        all.len()
    );
}

#[test]
fn the_tracker_is_told_what_came_and_went_since_started_and_what_is_left() {
    let mut scene = Scene::new(4, 4, |piece| piece == 0, |config| config.trackers = vec![vec!["a".into()]]);
    let requests = |scene: &mut Scene| {
        let request = |action| match action {
            Action::Announce { tracker, request, .. } => Some((tracker, request)),
            _ => None,
        };
        scene.take().into_iter().filter_map(request).collect::<Vec<_>>()
    };
    let length = u64::from(BLOCK_LENGTH);
    let (tracker, started) = requests(&mut scene).remove(0);
    assert_eq!(
        (started.downloaded, started.uploaded, started.left),
        (0, 0, 12 * length),
        "of an earlier run nothing"
    );
    let minutely = AnnounceReply { interval: seconds(60), ..AnnounceReply::default() };
    scene.torrent.handle_announce_reply(scene.now, tracker, false, Ok(minutely));
    let seed = scene.generous_seed(1);
    let first = scene.requests_to(seed)[0];
    scene.sends_block(seed, first);
    scene.pass(seconds(61));
    let (_, regular) = requests(&mut scene).remove(0);
    assert_eq!(
        (regular.downloaded, regular.left),
        (length, 12 * length),
        "a block is not had before its piece is verified"
    );
}

#[test]
fn a_tracker_that_is_asked_later_is_told_what_came_since_it_was_sent_started_itself() {
    let tiers = vec![vec!["a".into()], vec!["b".into(), "c".into()]];
    let mut scene = Scene::new(4, 4, |_| false, |config| config.trackers = tiers);
    let length = u64::from(BLOCK_LENGTH);
    let request = |scene: &mut Scene| {
        let request = |action| match action {
            Action::Announce { tracker, request, .. } => Some((tracker, request.event, request.downloaded)),
            _ => None,
        };
        scene.drain();
        scene.take().into_iter().find_map(request).unwrap()
    };
    let (first, event, told) = request(&mut scene);
    assert_eq!((event, told), (AnnounceEvent::Started, 0));
    let minutely = || AnnounceReply { interval: seconds(60), ..AnnounceReply::default() };
    scene.torrent.handle_announce_reply(scene.now, first, false, Ok(minutely()));
    let seed = scene.generous_seed(1);
    let mut blocks = scene.requests_to(seed).into_iter();
    let mut fetch = |scene: &mut Scene| {
        scene.sends_block(seed, blocks.next().unwrap());
        scene.take();
        scene.pass(seconds(61));
    };
    fetch(&mut scene);
    let (_, event, told) = request(&mut scene);
    assert_eq!((event, told), (AnnounceEvent::Regular, length));
    let refused = || AnnounceFailure { message: "refused".into(), retry_after: None };
    scene.torrent.handle_announce_reply(scene.now, first, false, Err(refused()));
    let (second, event, told) = request(&mut scene);
    assert_eq!((second == first, event, told), (false, AnnounceEvent::Started, 0));
    // Nobody answered that, though it may have been heard.
    scene.torrent.handle_announce_reply(scene.now, second, false, Err(refused()));
    let (third, event, _) = request(&mut scene);
    assert_eq!(event, AnnounceEvent::Started);
    scene.torrent.handle_announce_reply(scene.now, third, false, Err(refused()));
    fetch(&mut scene);
    let (_, event, told) = request(&mut scene);
    assert_eq!((event, told), (AnnounceEvent::Regular, 2 * length), "the first again");
    scene.torrent.handle_announce_reply(scene.now, first, false, Err(refused()));
    let (again, event, told) = request(&mut scene);
    assert_eq!((again, event, told), (second, AnnounceEvent::Started, length));
}
