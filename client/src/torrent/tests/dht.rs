//! What a torrent has to do with the DHT.

use torrent_format::InfoHash;

use super::*;

fn searches(scene: &mut Scene) -> Vec<(Swarm, InfoHash, u16)> {
    let actions = std::mem::take(&mut scene.actions);
    let searches = actions.into_iter().filter_map(|action| match action {
        Action::Search { swarm, name, port } => Some((swarm, name, port)),
        _ => None,
    });
    searches.collect()
}

fn nodes(scene: &mut Scene) -> Vec<SocketAddr> {
    let actions = std::mem::take(&mut scene.actions);
    let nodes = actions.into_iter().filter_map(|action| match action {
        Action::AddNode(addr) => Some(addr),
        _ => None,
    });
    nodes.collect()
}

fn ports(scene: &Scene) -> usize {
    scene.actions.iter().filter(|action| matches!(action, Action::Send(_, Message::Port(6881)))).count()
}

#[test]
fn a_torrent_is_searched_for_at_once_and_again_and_announced_where_others_reach_us() {
    let mut scene = Scene::new(2, 1, |_| false, |config| config.dht = true);
    let name = scene.info.hashes().v1().unwrap();
    assert_eq!(searches(&mut scene), [(Swarm::V1, name, 6881)]);
    let at = |scene: &mut Scene, seconds: u64| {
        scene.now = Time(Duration::from_secs(seconds));
        scene.torrent.handle_timeout(scene.now);
        scene.drain();
        searches(scene)
    };
    scene.torrent.set_public_port(scene.now, 7000);
    scene.torrent.handle_searched(scene.now, Swarm::V1);
    assert_eq!(at(&mut scene, 0), [(Swarm::V1, name, 7000)], "it was being told of the old port");
    scene.torrent.set_public_port(scene.now, 7000);
    scene.torrent.handle_searched(scene.now, Swarm::V1);
    // The second search that left us alone.
    assert_eq!(at(&mut scene, 29), []);
    assert_eq!(at(&mut scene, 30), [(Swarm::V1, name, 7000)], "as usual");
    scene.torrent.stop(scene.now);
    scene.torrent.handle_searched(scene.now, Swarm::V1);
    scene.torrent.handle_timeout(Time(Duration::from_secs(3600)));
    scene.drain();
    assert_eq!(searches(&mut scene), []);
}

#[test]
fn without_the_dht_and_of_a_private_torrent_nothing_is_said_there() {
    let raw = b"d6:lengthi16384e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh7:privatei1ee";
    let private = Info::from_bytes(raw).unwrap();
    for (info, dht) in [(private, true), (info(1, 1), false)] {
        let start = Start::Known { info: info.clone(), have: Bitfield::none(1), wanted: Bitfield::all(1) };
        let torrent = Torrent::new(Time::default(), Config { dht, ..config(&info) }, start);
        let mut scene = Scene { torrent, now: Time::default(), info, actions: Vec::new() };
        scene.drain();
        assert_eq!(searches(&mut scene), []);
        let key = scene.connect(1, Capabilities { dht: true, ..MODERN });
        assert_eq!(ports(&scene), 0);
        scene.says(key, [Message::Port(7000)]);
        assert_eq!(nodes(&mut scene), []);
    }
}

#[test]
fn a_magnet_that_turns_out_private_is_not_searched_for_any_more() {
    let raw = b"d6:lengthi16384e4:name1:a12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh7:privatei1ee";
    let info = Info::from_bytes(raw).unwrap();
    let config = Config { dht: true, ..config(&info) };
    let torrent = Torrent::new(Time::default(), config, Start::Magnet { info: None });
    let mut scene = Scene { torrent, now: Time::default(), info: info.clone(), actions: Vec::new() };
    scene.drain();
    assert_eq!(searches(&mut scene).len(), 1, "nobody knows yet");
    scene.torrent.handle_info(scene.now, info, Bitfield::none(1), Bitfield::all(1));
    scene.torrent.handle_searched(scene.now, Swarm::V1);
    scene.now = Time(Duration::from_secs(3600));
    scene.torrent.handle_timeout(scene.now);
    scene.drain();
    assert_eq!(searches(&mut scene), []);
}

#[test]
fn p62_nodes_of_peers_are_exchanged_by_their_ports_once() {
    let mut scene = Scene::new(2, 1, |_| false, |config| config.dht = true);
    scene.connect(1, MODERN);
    assert_eq!(ports(&scene), 0, "it has no node");
    let key = scene.connect(2, Capabilities { dht: true, ..MODERN });
    assert_eq!(ports(&scene), 1);
    scene.says(key, [Message::Port(0)]);
    assert_eq!(nodes(&mut scene), []);
    let key = scene.connect(3, Capabilities { dht: true, ..MODERN });
    scene.says(key, [Message::Port(7000), Message::Port(7001), Message::Port(7002)]);
    assert_eq!(nodes(&mut scene), [SocketAddr::new(addr(3).ip(), 7000)]);
}
