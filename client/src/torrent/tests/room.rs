//! Who finds room with us, and who goes for it.

use super::*;

/// So many places, a quarter of them for those who dial us.
const PLACES: usize = 8;
const DIALLED: usize = 6;

fn scene() -> Scene {
    Scene::new(4, 4, |_| false, |config| config.max_peers = PLACES)
}

fn connected(scene: &mut Scene, addr: SocketAddr, direction: Direction) -> Result<PeerKey, Reason> {
    let SocketAddr::V4(v4) = addr else { panic!("{addr}") };
    let [.., net, host] = v4.ip().octets();
    let mut peer_id = [net; 20];
    peer_id[0] = host;
    let peer = Connected { addr, direction, utp: false, capabilities: MODERN, peer_id: PeerId(peer_id) };
    let outcome = scene.torrent.handle_connected(scene.now, peer);
    scene.drain();
    outcome
}

fn comes(scene: &mut Scene, n: u8) -> Result<PeerKey, Reason> {
    connected(scene, addr(n), Direction::Incoming)
}

fn dials(scene: &mut Scene) -> Vec<SocketAddr> {
    let dial = |action| match action {
        Action::Connect(addr, _) => Some(addr),
        _ => None,
    };
    scene.take().into_iter().filter_map(dial).collect()
}

/// These are known, dialled and reached as far as we like.
fn reach(scene: &mut Scene, numbers: std::ops::Range<u8>) -> Vec<PeerKey> {
    scene.torrent.add_peers(scene.now, PeerSource::Tracker { local: false }, numbers.map(addr));
    scene.drain();
    let dialled = dials(scene);
    dialled.into_iter().map(|addr| connected(scene, addr, Direction::Outgoing).unwrap()).collect()
}

/// Time passes in which the peers say that they are there.
fn pass(scene: &mut Scene, span: Duration) {
    let end = scene.now + span;
    while scene.now < end {
        scene.pass(seconds(60).min(end - scene.now));
        for key in scene.torrent.peers.keys() {
            scene.says(key, [Message::KeepAlive]);
        }
    }
}

#[test]
fn the_last_places_are_for_those_who_dial_us() {
    let mut scene = scene();
    assert_eq!(reach(&mut scene, 1..20).len(), DIALLED);
    assert!(comes(&mut scene, 100).is_ok() && comes(&mut scene, 101).is_ok());
    assert_eq!(comes(&mut scene, 102), Err(Reason::TooMany));
    assert_eq!(dials(&mut scene), []);
}

#[test]
fn a_stranger_finds_room_where_somebody_has_had_his_chance_and_not_at_the_cost_of_those_we_dialled() {
    let mut scene = scene();
    let ours = reach(&mut scene, 1..20);
    let first = comes(&mut scene, 100).unwrap();
    scene.pass(seconds(1));
    let second = comes(&mut scene, 101).unwrap();
    scene.pass(seconds(58));
    assert_eq!(comes(&mut scene, 102), Err(Reason::TooMany), "nobody has been here for a minute");
    pass(&mut scene, seconds(61));
    let third = comes(&mut scene, 102).unwrap();
    assert_eq!((scene.dropped(first), scene.dropped(second)), (Some(Reason::TooMany), None));
    assert_eq!(comes(&mut scene, 100), Err(Reason::TooMany), "it takes no other's place");
    assert_eq!(
        connected(&mut scene, "198.18.102.7:1".parse().unwrap(), Direction::Incoming),
        Err(Reason::TooMany),
        "one of a network"
    );
    comes(&mut scene, 104).unwrap();
    assert_eq!(scene.dropped(second), Some(Reason::TooMany));
    scene.pass(seconds(5));
    assert_eq!(comes(&mut scene, 105), Err(Reason::TooMany));
    assert!(ours.iter().chain([&third]).all(|&key| scene.dropped(key).is_none()));
}

#[test]
fn with_whom_we_trade_and_who_has_the_last_copy_of_something_stays() {
    let mut scene = scene();
    reach(&mut scene, 1..20);
    let holder = comes(&mut scene, 100).unwrap();
    scene.says(holder, [Message::HaveNone, Message::Have(2)]);
    let trader = comes(&mut scene, 101).unwrap();
    scene.says(trader, [Message::HaveNone, Message::Have(1), Message::Unchoke]);
    let other = scene.torrent.peers.keys()[0];
    scene.says(other, [Message::HaveNone, Message::Have(1)]);
    pass(&mut scene, seconds(59));
    let wanted = scene.requests_to(trader);
    scene.sends_block(trader, wanted[0]);
    pass(&mut scene, seconds(59));
    assert_eq!(comes(&mut scene, 102), Err(Reason::TooMany));
    scene.says(other, [Message::Have(2)]);
    pass(&mut scene, seconds(6));
    scene.sends_block(trader, wanted[1]);
    comes(&mut scene, 102).unwrap();
    assert_eq!((scene.dropped(holder), scene.dropped(trader)), (Some(Reason::TooMany), None));
}

#[test]
fn now_and_then_one_goes_for_somebody_new() {
    for known in [DIALLED as u8, DIALLED as u8 + 1] {
        let mut scene = scene();
        let ours = reach(&mut scene, 1..known + 1);
        pass(&mut scene, seconds(299));
        assert_eq!(dials(&mut scene), []);
        pass(&mut scene, seconds(2));
        let gone = ours.iter().filter(|&&key| scene.dropped(key) == Some(Reason::TooMany)).count();
        assert_eq!(gone, usize::from(known) - DIALLED, "{known} known");
        assert_eq!(dials(&mut scene).len(), gone);
        pass(&mut scene, seconds(301));
        assert_eq!(dials(&mut scene), [], "who was let go is not dialled so soon");
    }
}
