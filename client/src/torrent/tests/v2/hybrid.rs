//! What only hybrids have: padding, and two swarms.

use super::*;

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
fn who_dialled_us_by_the_v1_name_is_dialled_where_it_is_known_by_the_v2_name_but_not_the_other_way() {
    use crate::wire::extension::ExtensionHandshake;
    let made = hybrid(1, 4);
    let (v1, v2) = (made.info.hashes().v1().unwrap(), made.info.hashes().v2().unwrap().truncated());
    for (capabilities, name, dials) in [
        (MODERN, v1, vec![]),
        (MODERN, v2, vec![(addr(1), v2)]),
        (Capabilities { v2: true, ..MODERN }, v1, vec![]),
        (Capabilities { v2: true, ..MODERN }, v2, vec![]),
    ] {
        let mut scene = made.leecher();
        let peer = scene.connect(1, capabilities);
        let handshake = ExtensionHandshake { port: Some(6881), ..ExtensionHandshake::default() };
        scene.says(peer, [Message::Extended { id: 0, payload: handshake.encode() }]);
        scene.torrent.add_peers_of(scene.now, PeerSource::Dht { local: false }, name, [addr(1)]);
        scene.drain();
        assert_eq!(scene.connects(), dials, "{capabilities:?}, {name}");
    }
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
