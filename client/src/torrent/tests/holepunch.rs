//! Hole punching (BEP 55): as the one who dials, as the relay, and as the one who is told to dial.

use super::*;
use crate::wire::extension::{ExtensionHandshake, UT_HOLEPUNCH_ID, UT_PEX_ID};
use crate::wire::ut_holepunch::{HolepunchError, HolepunchMessage};
use crate::wire::ut_pex::{PexFlags, PexMessage};

/// Its number for our messages.
const THEIRS: u8 = 7;

fn scene() -> Scene {
    let change = |config: &mut Config| {
        config.pex = true;
        config.utp = true;
    };
    Scene::new(4, 4, |_| false, change)
}

/// Peer number `n`, by uTP from its number 50,000, where it does not listen.
fn over_utp(scene: &mut Scene, n: u8) -> (PeerKey, SocketAddr) {
    let from = SocketAddr::new(addr(n).ip(), 50_000);
    let peer = Connected {
        addr: from,
        direction: Direction::Incoming,
        capabilities: MODERN,
        peer_id: PeerId([n; 20]),
        utp: true,
    };
    let key = scene.torrent.handle_connected(scene.now, peer).unwrap();
    scene.drain();
    shakes(scene, key, Some(THEIRS));
    (key, from)
}

fn shakes(scene: &mut Scene, key: PeerKey, ut_holepunch: Option<u8>) {
    let handshake = ExtensionHandshake { ut_holepunch, port: Some(6881), ..ExtensionHandshake::default() };
    scene.says(key, [Message::Extended { id: 0, payload: handshake.encode() }]);
}

/// Peer number `n`, which can be a relay and names these others as able to punch holes.
fn relay(scene: &mut Scene, n: u8, names: &[SocketAddr]) -> PeerKey {
    let key = scene.connect(n, MODERN);
    shakes(scene, key, Some(THEIRS));
    let added = names.iter().map(|&peer| (peer, PexFlags::HOLEPUNCH)).collect();
    let payload = PexMessage { added, dropped: Vec::new() }.encode();
    scene.says(key, [Message::Extended { id: UT_PEX_ID, payload }]);
    key
}

fn says(scene: &mut Scene, key: PeerKey, message: HolepunchMessage) {
    scene.says(key, [Message::Extended { id: UT_HOLEPUNCH_ID, payload: message.encode() }]);
}

/// What it heard of holes.
fn heard(scene: &mut Scene, key: PeerKey) -> Vec<HolepunchMessage> {
    let heard = scene.heard(key).into_iter().filter_map(|message| match message {
        Message::Extended { id: THEIRS, payload } => Some(HolepunchMessage::decode(&payload).unwrap()),
        _ => None,
    });
    heard.collect()
}

fn punched(scene: &mut Scene) -> Vec<SocketAddr> {
    let punch = |action| match action {
        Action::Punch(addr, _) => Some(addr),
        _ => None,
    };
    scene.take().into_iter().filter_map(punch).collect()
}

#[test]
fn a_dial_that_nobody_answers_is_told_to_who_named_the_peer_once_a_dial() {
    let mut scene = scene();
    let mute = scene.connect(2, MODERN);
    let relay = relay(&mut scene, 1, &[addr(9)]);
    scene.pass(seconds(1));
    scene.pass(seconds(3));
    assert_eq!(heard(&mut scene, relay), [HolepunchMessage::Rendezvous(addr(9))]);
    assert_eq!(heard(&mut scene, mute), []);
    says(&mut scene, relay, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punched(&mut scene), [], "it is being dialled, by uTP too");
    scene.torrent.handle_connect_failed(scene.now, addr(9));
    scene.pass(seconds(10));
    assert_eq!(heard(&mut scene, relay), [HolepunchMessage::Rendezvous(addr(9))], "a second dial");
}

#[test]
fn where_a_dial_is_refused_at_once_the_relays_word_begins_another() {
    let mut scene = scene();
    let relay = relay(&mut scene, 1, &[addr(9)]);
    scene.torrent.handle_connect_failed(scene.now, addr(9));
    scene.drain();
    assert_eq!(heard(&mut scene, relay), [HolepunchMessage::Rendezvous(addr(9))]);
    says(&mut scene, relay, HolepunchMessage::Failed(addr(9), HolepunchError::NotConnected));
    assert_eq!(punched(&mut scene), []);
    says(&mut scene, relay, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punched(&mut scene), [addr(9)]);
}

#[test]
fn nobody_is_asked_for_a_peer_that_does_not_understand_or_without_utp() {
    for (utp, flags) in [(true, PexFlags::UTP), (false, PexFlags::HOLEPUNCH)] {
        let mut scene = Scene::new(4, 4, |_| false, |config| (config.pex, config.utp) = (true, utp));
        let key = relay(&mut scene, 1, &[]);
        let payload = PexMessage { added: vec![(addr(9), flags)], dropped: Vec::new() }.encode();
        scene.says(key, [Message::Extended { id: UT_PEX_ID, payload }]);
        scene.pass(seconds(3));
        assert_eq!(heard(&mut scene, key), [], "{utp}, {flags:?}");
    }
}

#[test]
fn a_relay_tells_both_where_their_datagrams_come_from_and_nothing_else() {
    let mut scene = scene();
    let (a, from_a) = over_utp(&mut scene, 1);
    let (b, from_b) = over_utp(&mut scene, 2);
    scene.take();
    for named in [addr(2), from_b] {
        says(&mut scene, a, HolepunchMessage::Rendezvous(named));
        assert_eq!(heard(&mut scene, a), [HolepunchMessage::Connect(from_b)]);
        assert_eq!(heard(&mut scene, b), [HolepunchMessage::Connect(from_a)]);
        assert!(scene.take().is_empty());
    }
}

#[test]
fn a_relay_that_cant_help_says_why() {
    let mut scene = scene();
    let (a, from_a) = over_utp(&mut scene, 1);
    let plain = scene.connect(2, MODERN);
    shakes(&mut scene, plain, None);
    let own = SocketAddr::new(addr(7).ip(), 6881);
    scene.torrent.candidates.set_own(own);
    let nobody = SocketAddr::new(addr(9).ip(), 0);
    for (target, error) in [
        (addr(9), HolepunchError::NotConnected),
        (addr(2), HolepunchError::NoSupport),
        (own, HolepunchError::NoSelf),
        (nobody, HolepunchError::NoSuchPeer),
        (from_a, HolepunchError::NoSuchPeer),
    ] {
        says(&mut scene, a, HolepunchMessage::Rendezvous(target));
        assert_eq!(heard(&mut scene, a), [HolepunchMessage::Failed(target, error)]);
    }
    assert_eq!(heard(&mut scene, plain), []);
}

#[test]
fn who_is_told_to_dial_does_so_once_by_utp_but_not_into_its_own_network() {
    let mut scene = scene();
    let key = relay(&mut scene, 1, &[]);
    scene.take();
    says(&mut scene, key, HolepunchMessage::Connect(addr(9)));
    says(&mut scene, key, HolepunchMessage::Connect(addr(9)));
    assert_eq!(punched(&mut scene), [addr(9)]);
    for near in ["192.168.1.1:80", "127.0.0.1:22", "[::1]:22", "224.0.0.1:6881"] {
        says(&mut scene, key, HolepunchMessage::Connect(near.parse().unwrap()));
    }
    says(&mut scene, key, HolepunchMessage::Connect(addr(1)));
    assert_eq!(punched(&mut scene), [], "nor somebody who is connected");
}

#[test]
fn a_relay_cant_have_us_dial_one_address_again_and_again_nor_many_at_a_time() {
    let mut scene = scene();
    let key = relay(&mut scene, 1, &[]);
    let victim = addr(9).ip();
    for port in 1..100 {
        says(&mut scene, key, HolepunchMessage::Connect(SocketAddr::new(victim, port)));
    }
    assert_eq!(punched(&mut scene).len(), 1);
    scene.pass(seconds(61));
    for n in 100..200 {
        says(&mut scene, key, HolepunchMessage::Connect(addr(n)));
    }
    assert!((1..=30).contains(&punched(&mut scene).len()), "thirty messages a minute are heard");
    assert_eq!(scene.dropped(key), None);
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let mut scene = scene();
    let key = relay(&mut scene, 1, &[]);
    scene.says(key, [Message::Extended { id: UT_HOLEPUNCH_ID, payload: b"\x01\x00\x01".to_vec() }]);
    assert_eq!(scene.misbehaved(key), Some(Misbehaviour::BadExtension));
}
