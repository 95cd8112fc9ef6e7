//! What hostile peers do, by the numbers of the project's table of hostile input (P: the peer wire).

use super::*;
use crate::wire::extension::ExtensionHandshake;

/// A leecher of 20 pieces of 4 blocks, and one modern peer that has everything and lets us download.
fn with_seed() -> (Scene, PeerKey) {
    let mut scene = Scene::leecher(20, 4);
    let seed = scene.generous_seed(1);
    (scene, seed)
}

/// A seeder, and one modern peer that is unchoked.
fn with_leecher() -> (Scene, PeerKey) {
    let mut scene = Scene::seeder(20, 4);
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone, Message::Interested]);
    scene.take();
    (scene, peer)
}

#[test]
fn p5_ourselves_is_refused_and_never_dialled_again() {
    let mut scene = Scene::leecher(1, 1);
    let us = addr(1);
    scene.torrent.add_peers(scene.now, PeerSource::Given, [us]);
    scene.drain();
    assert!(matches!(scene.take()[..], [Action::Connect(dialled, _)] if dialled == us));
    let mirror = Connected {
        addr: us,
        direction: Direction::Outgoing,
        capabilities: MODERN,
        peer_id: PeerId([0x55; 20]),
        utp: false,
    };
    assert_eq!(scene.torrent.handle_connected(scene.now, mirror), Err(Reason::Ourselves));
    scene.torrent.add_peers(scene.now, PeerSource::Given, [us]);
    scene.pass(seconds(10_000));
    assert!(!scene.take().iter().any(|action| matches!(action, Action::Connect(..))));
}

#[test]
fn p6_the_same_peer_id_from_another_host_does_not_push_the_first_out() {
    let mut scene = Scene::leecher(1, 1);
    scene.connect(1, MODERN);
    let impostor = Connected {
        addr: addr(2),
        direction: Direction::Incoming,
        capabilities: MODERN,
        peer_id: PeerId([1; 20]),
        utp: false,
    };
    assert_eq!(scene.torrent.handle_connected(scene.now, impostor), Err(Reason::Duplicate));
    assert_eq!(scene.torrent.stats(scene.now).peers, 1);
}

#[test]
fn p10_the_v2_bit_is_survived_and_a_hash_message_is_not() {
    let mut scene = Scene::leecher(1, 1);
    let peer = scene.connect(1, Capabilities { v2: true, ..MODERN });
    assert_eq!(scene.dropped(peer), None);
    scene.says(peer, [Message::HashReject(hash_request())]);
    assert_eq!(scene.misbehaved(peer), Some(Misbehaviour::WrongVersion));
}

fn hash_request() -> HashRequest {
    HashRequest { root: [1; 32], base_layer: 0, index: 0, length: 2, proof_layers: 0 }
}

#[test]
fn p19_unknown_messages_are_ignored() {
    let (mut scene, seed) = with_seed();
    scene.says(seed, [Message::Unknown(99), Message::Unknown(255)]);
    assert_eq!(scene.dropped(seed), None);
}

/// One message that ends the connection, or does not.
#[test]
fn single_messages() {
    use Message::*;
    use Misbehaviour::*;
    let field = |bytes: usize| Bitfield(vec![0; bytes]);
    let out_of_range = BlockRequest { index: 20, begin: 0, length: BLOCK_LENGTH };
    let request = |begin, length| Request(BlockRequest { index: 0, begin, length });
    for (case, capabilities, message, expected) in [
        ("P21 short", MODERN, field(2), Some(BadBitfield)),
        ("P21 long", MODERN, field(4), Some(BadBitfield)),
        ("P21 exact", MODERN, field(3), None),
        ("P22 spare bits", MODERN, Bitfield(vec![0, 0, 0x01]), Some(BadBitfield)),
        ("P27", MODERN, Have(20), Some(PieceOutOfRange)),
        ("P28", MODERN, Have(u32::MAX), Some(PieceOutOfRange)),
        ("P32 index", MODERN, Request(out_of_range), Some(BadRequest)),
        ("P32 begin", MODERN, request(4 * BLOCK_LENGTH, 1), Some(BadRequest)),
        ("P33", MODERN, request(0, 0), Some(BadRequest)),
        ("P34 too long", MODERN, request(0, 128 * 1024 + 1), Some(BadRequest)),
        ("P35", MODERN, request(u32::MAX, u32::MAX), Some(BadRequest)),
        ("P36", MODERN, request(3 * BLOCK_LENGTH, BLOCK_LENGTH + 1), Some(BadRequest)),
        ("P42", MODERN, Cancel(out_of_range), None),
        ("P59 reject of nothing", MODERN, Reject(out_of_range), None),
        ("P60 suggest", MODERN, Suggest(20), Some(PieceOutOfRange)),
        ("P60 allowed fast", MODERN, AllowedFast(u32::MAX), Some(PieceOutOfRange)),
        ("P61 have all", PLAIN, HaveAll, Some(FastNotOffered)),
        ("P61 have none", PLAIN, HaveNone, Some(FastNotOffered)),
        ("P61 suggest", PLAIN, Suggest(0), Some(FastNotOffered)),
        ("P61 reject", PLAIN, Reject(out_of_range), Some(FastNotOffered)),
        ("P61 allowed fast", PLAIN, AllowedFast(0), Some(FastNotOffered)),
        ("P62", PLAIN, Port(1), None),
        ("E1", PLAIN, Extended { id: 0, payload: b"de".to_vec() }, Some(BadExtension)),
        ("E2 not a dictionary", MODERN, Extended { id: 0, payload: b"le".to_vec() }, Some(BadExtension)),
        (
            "E1 early",
            MODERN,
            Extended { id: 1, payload: b"d8:msg_typei0e5:piecei0ee".to_vec() },
            Some(BadExtension),
        ),
    ] {
        let mut scene = Scene::seeder(20, 4);
        let peer = scene.connect(1, capabilities);
        scene.says(peer, [message]);
        assert_eq!(scene.misbehaved(peer), expected, "{case}");
    }
}

#[test]
fn p23_p24_p25_the_last_word_on_pieces_wins_and_availability_stays_exact() {
    let mut scene = Scene::leecher(20, 1);
    let peer = scene.connect(1, MODERN);
    let odd = Message::Bitfield(vec![0xaa, 0xaa, 0xa0]);
    let words = [
        odd.clone(),
        Message::HaveAll,
        Message::Have(3),
        odd.clone(),
        odd,
        Message::HaveNone,
        Message::Have(5),
        Message::Have(5),
    ];
    scene.says(peer, words);
    assert_eq!(scene.dropped(peer), None);
    let picker = &scene.torrent.content().unwrap().picker;
    let availability: Vec<_> = scene.info.layout().pieces().map(|piece| picker.availability(piece)).collect();
    let mut expected = [0; 20];
    expected[5] = 1;
    assert_eq!(availability, expected);
    scene.torrent.handle_disconnected(scene.now, peer);
    let picker = &scene.torrent.content().unwrap().picker;
    assert!(scene.info.layout().pieces().all(|piece| picker.availability(piece) == 0));
}

#[test]
fn p26_pieces_before_the_info_are_checked_once_it_is_known() {
    let info = info(20, 1);
    for (words, fits) in [
        (vec![Message::Bitfield(vec![0; 3])], true),
        (vec![Message::HaveNone, Message::Have(19)], true),
        (vec![Message::Bitfield(vec![0; 200_000])], false),
        (vec![Message::HaveNone, Message::Have(20)], false),
    ] {
        let mut scene = Scene::leecher(20, 1);
        scene.torrent = Torrent::new(Time::default(), config(&info), Start::Magnet { info: None });
        let peer = scene.connect(1, MODERN);
        scene.says(peer, words);
        assert_eq!(scene.dropped(peer), None);
        scene.torrent.handle_info(scene.now, info.clone(), Bitfield::none(20), Bitfield::all(20));
        scene.drain();
        assert_eq!(scene.dropped(peer).is_none(), fits);
    }
}

#[test]
fn p29_p30_a_flood_of_haves_counts_once_and_then_ends() {
    let (mut scene, _) = with_seed();
    let peer = scene.connect(2, MODERN);
    scene.says(peer, [Message::HaveNone]);
    scene.says(peer, std::iter::repeat_n(Message::Have(3), 100));
    let piece = scene.info.layout().piece(3).unwrap();
    assert_eq!(scene.torrent.content().unwrap().picker.availability(piece), 2);
    assert_eq!(scene.dropped(peer), None);
    scene.says(peer, std::iter::repeat_n(Message::Have(3), 10_000));
    assert_eq!(scene.misbehaved(peer), Some(Misbehaviour::Flood));
}

#[test]
fn p37_p38_what_we_lack_and_what_is_asked_while_choked_is_rejected_or_ignored() {
    for (capabilities, answer) in [(MODERN, vec![Message::Reject(block(0, 0))]), (PLAIN, vec![])] {
        let mut lacking = Scene::leecher(20, 4);
        let peer = lacking.connect(1, capabilities);
        lacking.says(peer, [Message::Interested]);
        lacking.heard(peer);
        lacking.says(peer, [Message::Request(block(0, 0))]);
        assert_eq!((lacking.heard(peer), lacking.dropped(peer)), (answer.clone(), None));

        let mut choking = Scene::seeder(20, 4);
        let peer = choking.connect(1, capabilities);
        choking.heard(peer);
        choking.says(peer, [Message::Request(block(0, 0))]);
        assert_eq!((choking.heard(peer), choking.dropped(peer)), (answer, None));
        assert_eq!(choking.blocks_to(peer), []);
    }
}

#[test]
fn p39_requests_beyond_the_queue_are_rejected_and_in_the_end_the_peer_is_dropped() {
    let mut scene = Scene::seeder(1_000, 4);
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone, Message::Interested]);
    scene.take();
    let requests =
        (0..1_000).flat_map(|piece| (0..4).map(move |number| Message::Request(block(piece, number))));
    scene.says(peer, requests);
    let kept = scene.blocks_to(peer).len() + 500;
    let heard = scene.heard(peer);
    let rejected = heard.iter().filter(|message| matches!(message, Message::Reject(_))).count();
    assert_eq!(
        (kept + rejected + 1, scene.misbehaved(peer)),
        (kept + 1_501, Some(Misbehaviour::RequestFlood))
    );
}

#[test]
fn p40_the_same_block_a_hundred_thousand_times_is_queued_once() {
    let (mut scene, peer) = with_leecher();
    scene.says(peer, std::iter::repeat_n(Message::Request(block(0, 0)), 100_000));
    assert!(scene.blocks_to(peer).len() <= 5, "the credit's worth at most");
    assert!(scene.torrent.peers.get(peer).is_none_or(|peer| peer.upload.queue.len() <= 1));
}

#[test]
fn p43_a_storm_of_requests_and_cancels_ends() {
    let (mut scene, peer) = with_leecher();
    for _ in 0..3_000 {
        scene.says(peer, [Message::Request(block(1, 0)), Message::Cancel(block(1, 0))]);
    }
    assert_eq!(scene.misbehaved(peer), Some(Misbehaviour::Flood));
}

#[test]
fn p44_p45_p47_blocks_that_nobody_asked_for_are_thrown_away_and_then_the_peer_is() {
    for bad in [
        BlockRequest { index: 0, begin: 1, length: BLOCK_LENGTH },
        BlockRequest { index: 0, begin: 0, length: 100 },
        BlockRequest { index: 0, begin: 0, length: 0 },
        BlockRequest { index: 77, begin: 0, length: BLOCK_LENGTH },
    ] {
        let (mut scene, seed) = with_seed();
        for strike in 1..=3 {
            assert_eq!(scene.dropped(seed), None, "strike {strike}");
            assert_eq!(scene.sends_block(seed, bad), Verdict::Discard);
        }
        assert_eq!(scene.misbehaved(seed), Some(Misbehaviour::UnwantedBlocks));
    }
}

#[test]
fn p46_p48_p52_late_and_duplicate_blocks_are_no_fault() {
    let mut scene = Scene::leecher(1, 4);
    let plain = scene.connect(1, PLAIN);
    scene.says(plain, [Message::Bitfield(vec![0x80]), Message::Unchoke]);
    let requests = scene.requests_to(plain);
    assert_eq!(requests.len(), 4);
    scene.says(plain, [Message::Choke]);
    for request in requests {
        assert_eq!(scene.sends_block(plain, request), Verdict::Keep, "it was on its way when the choke came");
    }
    assert_eq!((scene.take_verifies(), scene.dropped(plain)), (vec![(0, false)], None));
}

#[test]
fn p49_the_only_sender_of_a_bad_piece_is_banned() {
    let (mut scene, liar) = with_seed();
    let requests = scene.requests_to(liar);
    let piece = requests[0].index;
    for number in 0..4 {
        scene.sends_block(liar, block(piece, number));
    }
    assert_eq!(scene.take_verifies(), [(piece, false)]);
    scene.hashed(piece, Verification::Bad(vec![1, 2, 3, 4]));
    assert_eq!(scene.dropped(liar), Some(Reason::Banned));
    assert_eq!(scene.try_connect(1, MODERN), Err(Reason::Banned));
    let honest = scene.generous_seed(2);
    assert!(!scene.requests_to(honest).is_empty());
}

#[test]
fn p50_of_two_senders_the_liar_is_found_and_the_honest_one_stays() {
    let mut scene = Scene::leecher(1, 4);
    let [honest, liar] = [1, 2].map(|n| scene.connect(n, MODERN));
    scene.says(honest, [Message::HaveAll, Message::Unchoke]);
    // The honest peer leaves half of it to the liar.
    let asked = scene.requests_to(honest);
    scene.says(liar, [Message::HaveAll, Message::Unchoke]);
    for request in &asked[2..] {
        scene.says(honest, [Message::Reject(*request)]);
    }
    scene.pass(seconds(3));
    let relieved = scene.requests_to(liar);
    assert!(!relieved.is_empty());
    for request in &asked {
        let sender = if relieved.contains(request) { liar } else { honest };
        scene.sends_block(sender, *request);
    }
    assert_eq!(scene.take_verifies(), [(0, false)]);
    let digests: Vec<u64> = asked.iter().map(|r| if relieved.contains(r) { 666 } else { 1 }).collect();
    scene.hashed(0, Verification::Bad(digests));
    assert_eq!((scene.dropped(honest), scene.dropped(liar)), (None, None), "not known yet");
    // A third peer, with no part in it, sends all of it.
    let fresh = scene.generous_seed(3);
    let again = scene.requests_to(fresh);
    assert_eq!(again.len(), 4);
    for request in again {
        scene.sends_block(fresh, request);
    }
    assert_eq!(scene.take_verifies(), [(0, true)]);
    scene.hashed(0, Verification::Good(Some(vec![1; 4])));
    assert!(scene.events().contains(&Event::PeerBanned(addr(2))));
    assert!(!scene.events().contains(&Event::PeerBanned(addr(1))));
}

/// Whoever had a part in pieces that passed is believed at first; if that was a mistake, all of the piece is fetched anew.
#[test]
fn p50_the_blocks_of_whoever_passed_least_are_fetched_anew_first() {
    for liar_is_the_stranger in [true, false] {
        let mut scene = Scene::leecher(2, 4);
        let send_all = |scene: &mut Scene, key, requests: &[BlockRequest]| {
            requests.iter().for_each(|&request| assert_eq!(scene.sends_block(key, request), Verdict::Keep));
        };
        let numbers = |requests: &[BlockRequest]| -> Vec<u32> {
            requests.iter().map(|request| request.begin / BLOCK_LENGTH).collect()
        };
        let known = scene.generous_seed(1);
        let first = scene.requests_to(known);
        send_all(&mut scene, known, &first);
        scene.hashed(first[0].index, Verification::Good(None));
        let second = scene.requests_to(known);
        assert_eq!(second.len(), 4);
        let piece = second[0].index;
        // It sends half of this one, and a stranger the rest.
        send_all(&mut scene, known, &second[..2]);
        scene.says(known, [Message::Choke, Message::Reject(second[2]), Message::Reject(second[3])]);
        let stranger = scene.generous_seed(2);
        let rest = scene.requests_to(stranger);
        assert_eq!(rest.len(), 2);
        send_all(&mut scene, stranger, &rest);
        scene.take();
        let mut found = vec![1; 4];
        found[numbers(if liar_is_the_stranger { &rest } else { &second })[0] as usize] = 666;
        scene.hashed(piece, Verification::Doubtful(found.clone()));
        let mut of_stranger = numbers(&rest);
        of_stranger.sort_unstable();
        assert_eq!(scene.dropped_blocks(), [(piece, of_stranger.clone())]);
        assert_eq!(scene.torrent.stats(scene.now).wasted, 2 * u64::from(BLOCK_LENGTH));
        let fresh = scene.generous_seed(3);
        let again = scene.requests_to(fresh);
        assert_eq!((numbers(&again), scene.requests_to(stranger)), (of_stranger, vec![]));
        send_all(&mut scene, fresh, &again);
        assert_eq!(scene.take_verifies().last(), Some(&(piece, true)));
        let banned = if liar_is_the_stranger {
            scene.hashed(piece, Verification::Good(Some(vec![1; 4])));
            2
        } else {
            scene.take();
            scene.hashed(piece, Verification::Doubtful(found));
            assert_eq!(scene.dropped_blocks(), [(piece, vec![0, 1, 2, 3])]);
            let another = scene.generous_seed(4);
            let all = scene.requests_to(another);
            assert_eq!(all.len(), 4);
            send_all(&mut scene, another, &all);
            scene.hashed(piece, Verification::Good(Some(vec![1; 4])));
            1
        };
        let is_banned = |n| scene.events().contains(&Event::PeerBanned(addr(n)));
        assert_eq!([1, 2, 3, 4].map(is_banned), [1, 2, 3, 4].map(|n| n == banned));
    }
}

/// On a LAN, where a ban is by port and id, a liar can come again and again. Each time it costs it a piece and a connection; the honest
/// peer, who once shared a bad piece with one, gets its turn all the same.
#[test]
fn p50_liars_who_come_again_and_again_do_not_keep_an_honest_suspect_out() {
    let mut scene = Scene::leecher(1, 4);
    let honest = scene.generous_seed(1);
    let asked = scene.requests_to(honest);
    let liar = |scene: &mut Scene, n: u16| {
        let mut id = [7; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let addr = ([127, 0, 0, 1], n).into();
        let peer = Connected {
            addr,
            direction: Direction::Incoming,
            capabilities: MODERN,
            peer_id: PeerId(id),
            utp: false,
        };
        let key = scene.torrent.handle_connected(scene.now, peer).unwrap();
        scene.says(key, [Message::HaveAll, Message::Unchoke]);
        key
    };
    // The honest peer leaves half of it to a liar.
    let first = liar(&mut scene, 1);
    for request in &asked[2..] {
        scene.says(honest, [Message::Reject(*request)]);
    }
    scene.pass(seconds(3));
    let relieved = scene.requests_to(first);
    assert!(!relieved.is_empty());
    for request in &asked {
        let sender = if relieved.contains(request) { first } else { honest };
        scene.sends_block(sender, *request);
    }
    assert_eq!(scene.take_verifies(), [(0, false)]);
    scene.hashed(0, Verification::Bad(vec![1, 1, 666, 666]));
    scene.take();
    let mut lies = 0;
    for n in 2.. {
        let next = liar(&mut scene, n);
        let requests = scene.requests_to(next);
        if requests.is_empty() {
            break;
        }
        for request in requests {
            scene.sends_block(next, request);
        }
        scene.hashed(0, Verification::Bad(vec![666; 4]));
        assert_eq!(scene.dropped(next), Some(Reason::Banned));
        scene.pass(Duration::from_millis(10));
        lies += 1;
        assert!(lies < 5_000, "it is never the honest peer's turn");
    }
    let again = scene.requests_to(honest);
    assert_eq!(again.len(), 4, "after {lies} lies");
}

/// aria2 sends a bitfield after every piece where that is shorter than a `have`.
#[test]
fn a_bitfield_a_piece_is_no_flood_and_hundreds_are() {
    let mut scene = Scene::seeder(20, 1);
    let peer = scene.connect(1, MODERN);
    for pieces in 1..20 {
        let mut field = Bitfield::none(20);
        for piece in scene.info.layout().pieces().take(pieces) {
            field.set(piece);
        }
        scene.says(peer, [Message::Bitfield(field.as_wire().to_vec())]);
    }
    assert_eq!(scene.dropped(peer), None);
    scene.says(peer, (0..100).map(|_| Message::HaveNone));
    assert_eq!(scene.misbehaved(peer), Some(Misbehaviour::Flood));
}

#[test]
fn p54_p55_p62_flapping_ends_without_a_storm() {
    for message in
        [Message::Choke, Message::Unchoke, Message::Interested, Message::NotInterested, Message::Port(9)]
    {
        let (mut scene, seed) = with_seed();
        scene.take();
        let opposite = match message {
            Message::Choke => Message::Unchoke,
            Message::Interested => Message::NotInterested,
            _ => message.clone(),
        };
        for _ in 0..5_000 {
            scene.says(seed, [message.clone(), opposite.clone()]);
        }
        assert_eq!(scene.misbehaved(seed), Some(Misbehaviour::Flood));
        assert!(scene.take().len() < 20_000);
    }
}

#[test]
fn p18_keep_alives_are_limited_too() {
    let (mut scene, seed) = with_seed();
    scene.says(seed, std::iter::repeat_n(Message::KeepAlive, 10_000));
    assert_eq!(scene.misbehaved(seed), Some(Misbehaviour::Flood));
}

#[test]
fn p56_p57_p58_who_never_sends_keeps_nobody_waiting_for_long() {
    let mut scene = Scene::leecher(2, 4);
    let staller = scene.generous_seed(1);
    assert_eq!(scene.requests_to(staller).len(), 4);
    let honest = scene.generous_seed(2);
    let mut done = 0;
    for _ in 0..40 {
        for request in scene.requests_to(honest) {
            scene.sends_block(honest, request);
        }
        for (piece, _) in scene.take_verifies() {
            scene.hashed(piece, Verification::Good(None));
            done += 1;
        }
        if done == 2 {
            return;
        }
        scene.pass(seconds(1));
    }
    panic!("still waiting for the staller after 40 s");
}

#[test]
fn p59_who_rejects_everything_is_not_asked_again_at_once() {
    let (mut scene, seed) = with_seed();
    let mut rejected = 0;
    for _ in 0..100 {
        for request in scene.requests_to(seed) {
            rejected += 1;
            scene.says(seed, [Message::Reject(request)]);
        }
    }
    assert!(rejected < 40, "{rejected}");
    assert_eq!(scene.dropped(seed), None);
    scene.pass(seconds(11));
    assert!(!scene.requests_to(seed).is_empty(), "but later");
}

#[test]
fn p60_allowed_fast_without_end_is_bounded() {
    let mut scene = Scene::leecher(1_000, 1);
    let peer = scene.connect(1, MODERN);
    scene.says(peer, [Message::HaveNone]);
    scene.says(peer, (0..1_000).map(Message::AllowedFast));
    assert!(scene.torrent.peers.get(peer).is_none_or(|peer| peer.download.allowed_fast.len() <= 64));
}

#[test]
fn e3_e4_e7_a_lying_extension_handshake_harms_nobody() {
    let (mut scene, seed) = with_seed();
    let handshake = ExtensionHandshake {
        ut_metadata: Some(0),
        request_queue: Some(1),
        port: Some(0),
        ..Default::default()
    };
    scene.says(seed, [Message::Extended { id: 0, payload: handshake.encode() }]);
    scene.says(seed, [Message::Extended { id: 200, payload: vec![0; 100] }]);
    assert_eq!(scene.dropped(seed), None);
}

#[test]
fn e9_metadata_is_served_a_few_times_over_and_then_rejected() {
    use crate::wire::extension::UT_METADATA_ID;
    use crate::wire::ut_metadata::MetadataMessage;
    let (mut scene, peer) = with_leecher();
    let handshake = ExtensionHandshake { ut_metadata: Some(9), ..Default::default() };
    scene.says(peer, [Message::Extended { id: 0, payload: handshake.encode() }]);
    let ask = |piece| Message::Extended {
        id: UT_METADATA_ID,
        payload: MetadataMessage::Request { piece }.encode(),
    };
    scene.says(peer, [ask(0), ask(0), ask(0), ask(0), ask(1), ask(u32::MAX >> 1)]);
    let kinds: Vec<_> = scene
        .heard(peer)
        .iter()
        .filter_map(|message| match message {
            Message::Extended { id: 9, payload } => MetadataMessage::decode(payload).unwrap(),
            _ => None,
        })
        .map(|message| matches!(message, MetadataMessage::Data { .. }))
        .collect();
    assert_eq!(kinds, [true, true, true, false, false, false]);
}

#[test]
fn silence_ends_a_connection_and_we_are_never_silent_ourselves() {
    let mut scene = Scene::leecher(1, 1);
    let peer = scene.connect(1, MODERN);
    scene.heard(peer);
    scene.pass(seconds(110));
    assert_eq!((scene.heard(peer), scene.dropped(peer)), (vec![Message::KeepAlive], None));
    scene.pass(seconds(60));
    assert_eq!(scene.dropped(peer), Some(Reason::Silent));
}

#[test]
fn random_messages_never_panic() {
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..300 {
        let mut scene = if round % 2 == 0 { Scene::leecher(5, 2) } else { Scene::seeder(5, 2) };
        let peers: Vec<_> =
            (1..4).map(|n| scene.connect(n, if rng.bool() { MODERN } else { PLAIN })).collect();
        for _ in 0..200 {
            let key = peers[rng.usize(..3)];
            let request = BlockRequest {
                index: rng.u32(0..6),
                begin: [0, BLOCK_LENGTH, 5][rng.usize(..3)],
                length: [BLOCK_LENGTH, 0, 7][rng.usize(..3)],
            };
            let message = match rng.u8(0..16) {
                0 => Message::Choke,
                1 => Message::Unchoke,
                2 => Message::Interested,
                3 => Message::NotInterested,
                4 => Message::Have(rng.u32(0..6)),
                5 => Message::Bitfield(vec![rng.u8(..) & 0xf8]),
                6 => Message::Request(request),
                7 => Message::Cancel(request),
                8 => Message::HaveAll,
                9 => Message::HaveNone,
                10 => Message::Reject(request),
                11 => Message::AllowedFast(rng.u32(0..6)),
                12 => {
                    scene.sends_block(key, request);
                    continue;
                }
                13 => {
                    let outcome =
                        if rng.bool() { Verification::Good(None) } else { Verification::Bad(vec![1, 2]) };
                    scene.hashed(rng.u32(0..5), outcome);
                    continue;
                }
                14 => {
                    scene.torrent.handle_block_sent(scene.now, key, request);
                    scene.torrent.handle_read_failed(scene.now, key, request);
                    scene.drain();
                    continue;
                }
                _ => {
                    scene.pass(Duration::from_millis(rng.u64(..30_000)));
                    continue;
                }
            };
            scene.says(key, [message]);
        }
    }
}

#[test]
fn saying_all_that_it_has_again_and_again_is_a_flood() {
    let (mut scene, seed) = with_seed();
    scene.says(seed, std::iter::repeat_n(Message::HaveAll, 101));
    assert_eq!(scene.misbehaved(seed), Some(Misbehaviour::Flood));
}

#[test]
fn unchokes_without_blocks_do_not_keep_requests_alive() {
    let mut scene = Scene::leecher(1, 1);
    let staller = scene.generous_seed(1);
    assert_eq!(scene.requests_to(staller).len(), 1);
    for _ in 0..3 {
        scene.pass(seconds(10));
        scene.says(staller, [Message::Unchoke]);
    }
    assert_eq!(scene.torrent.peers.get(staller).map(|peer| peer.download.snubs), Some(true));
}

#[test]
fn one_public_address_gets_few_connections() {
    let mut scene = Scene::leecher(1, 1);
    let outcomes: Vec<_> = (0..6)
        .map(|n| {
            let addr = SocketAddr::new(addr(1).ip(), 1_000 + u16::from(n));
            let peer = Connected {
                addr,
                direction: Direction::Incoming,
                capabilities: MODERN,
                peer_id: PeerId([n; 20]),
                utp: false,
            };
            scene.torrent.handle_connected(scene.now, peer).map(|_| ())
        })
        .collect();
    assert_eq!(outcomes, [Ok(()), Ok(()), Ok(()), Ok(()), Err(Reason::TooMany), Err(Reason::TooMany)]);
}
