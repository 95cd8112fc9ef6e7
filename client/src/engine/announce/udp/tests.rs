use torrent_format::PeerId;
use torrent_format::announce::udp::{
    Action, Header, PROTOCOL_ID, announce_reply, connect_reply, error_reply, parse_announce, parse_scrape,
    scrape_reply, url_data,
};

use super::*;

/// Short enough for a test that loses packets.
const HASTY: Patience = Patience { first: Duration::from_millis(100), times: 5 };

/// A peer, as trackers write it.
const PEER: [u8; 6] = [198, 51, 100, 1, 0x1a, 0xe1];

fn request(event: AnnounceEvent) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        port: 6881,
        uploaded: 3,
        downloaded: 4,
        left: 5,
        event,
        numwant: Some(50),
        key: Some(6),
        tracker_id: None,
    }
}

/// A tracker that answers each packet with what the script says; gives its URL.
async fn tracker(mut script: impl FnMut(Header, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}/announce?key=7", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut packet = [0; 2_048];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            let packet = &packet[..length];
            let header = Header::parse(packet).expect("sprat sends packets of BEP 15");
            assert_eq!(header.connection_id == PROTOCOL_ID, header.action == Action::Connect);
            for answer in script(header, packet) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    url
}

/// The answer that a good tracker gives.
fn good(header: Header) -> Vec<u8> {
    match header.action {
        Action::Connect => connect_reply(header.transaction, 99).to_vec(),
        Action::Announce => [announce_reply(header.transaction, 900, 2, 3).as_slice(), &PEER].concat(),
        Action::Scrape => {
            let mut out = Vec::new();
            let entry = ScrapeEntry { complete: 3, downloaded: 9, downloaders: None, incomplete: 2 };
            scrape_reply(header.transaction, [entry, ScrapeEntry::default()].into_iter(), &mut out);
            out
        }
    }
}

async fn announce_with(url: &str, patience: Patience) -> Result<AnnounceReply, String> {
    let question = Question::Announce(request(AnnounceEvent::Started));
    let answers = Udp::new(Outside::default()).ask(url, question, patience).await;
    answers.map_err(|failure| failure.message).and_then(|answers| {
        let announced = merged(answers);
        assert!(announced.local, "it is on loopback");
        announced.reply.map_err(|failure| failure.message)
    })
}

fn is_good(reply: Result<AnnounceReply, String>) {
    let reply = reply.unwrap();
    assert_eq!((reply.interval.as_secs(), reply.complete, reply.incomplete), (900, Some(3), Some(2)));
    assert_eq!(reply.peers, ["198.51.100.1:6881".parse().unwrap()]);
}

#[tokio::test]
async fn one_connection_id_does_for_a_minute_of_announces_and_scrapes() {
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    let url = tracker(move |header, packet| {
        heard.send((header, packet.to_vec())).unwrap();
        vec![good(header)]
    })
    .await;
    let udp = Udp::new(Outside::default());
    for event in [AnnounceEvent::Started, AnnounceEvent::Stopped] {
        let announced = udp.announce(&url, &request(event)).await;
        assert!(announced.local);
        is_good(announced.reply.map_err(|failure| failure.message));
    }
    let hashes = [InfoHash([1; 20]), InfoHash([2; 20])];
    let entries = udp.scrape(&url, &hashes).await.unwrap();
    assert_eq!((entries[0].0, entries[0].1.complete, entries[1].1), (hashes[0], 3, ScrapeEntry::default()));

    let mut next = || hearing.try_recv().unwrap();
    assert_eq!(next().0.action, Action::Connect);
    for event in [AnnounceEvent::Started, AnnounceEvent::Stopped] {
        let (header, packet) = next();
        assert_eq!((header.connection_id, parse_announce(&packet)), (99, Ok(request(event))));
        assert_eq!(url_data(&packet).collect::<Vec<_>>(), [b"/announce?key=7"]);
    }
    let (header, packet) = next();
    assert_eq!((header.connection_id, header.action), (99, Action::Scrape));
    assert_eq!(parse_scrape(&packet).unwrap().collect::<Vec<_>>(), hashes);
    assert!(hearing.try_recv().is_err());
}

#[tokio::test]
async fn what_is_lost_is_sent_again() {
    for lost in 0..4 {
        let mut packets = 0;
        let url = tracker(move |header, _| {
            packets += 1;
            if packets == lost { Vec::new() } else { vec![good(header)] }
        })
        .await;
        is_good(announce_with(&url, HASTY).await);
    }
    let url = tracker(|_, _| Vec::new()).await;
    let patience = Patience { first: Duration::from_millis(10), times: 3 };
    assert_eq!(announce_with(&url, patience).await.unwrap_err(), "no answer within 0 s");
}

#[tokio::test]
async fn r26_r27_r28_what_is_no_answer_does_not_end_the_wait() {
    let url = tracker(|header, _| {
        let other = Header { transaction: header.transaction ^ 1, ..header };
        let mut odd_peers = good(header);
        odd_peers.push(0);
        let noise = match header.action {
            Action::Connect => good(Header { action: Action::Announce, ..header }),
            _ => odd_peers,
        };
        let action = |number: u32| [number.to_be_bytes(), header.transaction.to_be_bytes()].concat();
        vec![
            Vec::new(),
            vec![0; 7],
            good(other),
            good(header)[..good(header).len() - 1].to_vec(),
            good(Header { action: Action::Scrape, ..header })[..19].to_vec(),
            action(9),
            action(u32::MAX),
            noise,
            good(header),
        ]
    })
    .await;
    is_good(announce_with(&url, ANNOUNCE).await);
}

#[tokio::test]
async fn r25_nobody_else_can_answer() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let liar = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut packet = [0; 2_048];
        let mut lies = 0;
        for _ in 0..2 {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            let header = Header::parse(&packet[..length]).unwrap();
            let mut lie = good(header);
            let last = lie.len() - 1;
            lie[last] ^= 1;
            lies += liar.send_to(&lie, from).await.unwrap();
            socket.send_to(&good(header), from).await.unwrap();
        }
        tell.send(lies).unwrap();
    });
    is_good(announce_with(&url, ANNOUNCE).await);
    assert!(told.await.unwrap() > 0);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_tracker_s_words_made_fit_for_a_terminal() {
    let error = |header: Header, text: &str| {
        let mut out = Vec::new();
        error_reply(header.transaction, text, &mut out);
        vec![out]
    };
    let url = tracker(move |header, _| match header.action {
        Action::Connect => vec![good(header)],
        _ => error(header, "not \x1b[31mregistered"),
    })
    .await;
    assert_eq!(announce_with(&url, ANNOUNCE).await.unwrap_err(), "not  [31mregistered");
    let url = tracker(move |header, _| error(header, "overloaded")).await;
    assert_eq!(announce_with(&url, ANNOUNCE).await.unwrap_err(), "overloaded");
}

/// Some trackers say so, others pass over what bears an old id.
#[tokio::test]
async fn a_tracker_that_was_started_anew_is_asked_for_a_new_id() {
    for says_so in [true, false] {
        let mut id = 0;
        let url = tracker(move |header, _| match header.action {
            Action::Connect => {
                id += 1;
                vec![connect_reply(header.transaction, id).to_vec()]
            }
            _ if id > 0 && header.connection_id == id => vec![good(header)],
            _ if says_so => {
                let mut out = Vec::new();
                error_reply(header.transaction, "unknown connection id", &mut out);
                vec![out]
            }
            _ => Vec::new(),
        })
        .await;
        let udp = Udp::new(Outside::default());
        let place = place(&url).unwrap();
        let addr = SocketAddr::new(place.host.parse().unwrap(), place.port);
        let old = Id { number: 7, since: Instant::now() };
        udp.ids.lock().unwrap().insert(addr, old);
        let question = Question::Announce(request(AnnounceEvent::Started));
        let answers = udp.ask(&url, question, HASTY).await.unwrap();
        assert_eq!(answers.len(), 1, "{says_so}");
    }
}

#[tokio::test]
async fn where_nobody_is_that_is_known_at_once() {
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("udp://{free}/announce");
    assert_eq!(announce_with(&url, ANNOUNCE).await.unwrap_err(), "connection refused");
}

#[tokio::test]
async fn a_dead_address_of_a_name_does_not_hide_a_live_one() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = tracker(|header, _| vec![good(header)]).await;
    let live = format!("127.0.0.1:{}", place(&url).unwrap().port).parse().unwrap();
    for addrs in [[dead.local_addr().unwrap(), live], [closed, live]] {
        let question = Question::Announce(request(AnnounceEvent::Started));
        let (from, _) = Udp::new(Outside::default()).ask_one_of(&addrs, &question, "", HASTY).await.unwrap();
        assert_eq!(from, live);
    }
}

#[tokio::test]
async fn ipv6_has_peers_of_its_own_family() {
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    let url = format!("udp://{}/", socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut packet = [0; 2_048];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            let header = Header::parse(&packet[..length]).unwrap();
            let answer = match header.action {
                Action::Announce => {
                    let peer = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1, 0x1a, 0xe1]].concat();
                    [announce_reply(header.transaction, 900, 0, 1).as_slice(), &peer].concat()
                }
                _ => good(header),
            };
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    let reply = announce_with(&url, ANNOUNCE).await.unwrap();
    assert_eq!(reply.peers, ["[2001:db8::1]:6881".parse().unwrap()]);
    let bound = Outside::new(IpAddr::from(Ipv4Addr::LOCALHOST).into()).unwrap();
    let bound = Udp::new(bound).announce(&url, &request(AnnounceEvent::Started)).await;
    assert_eq!(bound.reply.unwrap_err().message, "it has no address of the kind that --bind names");
}

#[test]
fn a_url_names_a_host_a_port_and_what_bep_41_passes_on() {
    for (url, host, port, path) in [
        ("udp://tracker.example:80", "tracker.example", 80, ""),
        ("udp://tracker.example:80/", "tracker.example", 80, ""),
        ("udp://192.0.2.1:6969/announce", "192.0.2.1", 6969, "/announce"),
        ("udp://[2001:db8::1]:1/a?key=%20b#c", "2001:db8::1", 1, "/a?key=%20b"),
        ("udp://h:1?k", "h", 1, "?k"),
    ] {
        assert_eq!(place(url).unwrap(), Place { host: host.into(), port, path: path.into() }, "{url}");
    }
    let long = format!("udp://h:1/{}", "a".repeat(MAX_PATH));
    for url in ["udp://tracker.example/announce", "udp://h:0", "udp://h:70000", &long] {
        assert!(place(url).is_err(), "{url}");
    }
}

#[test]
fn of_both_families_the_peers_are_added_and_the_longer_interval_counts() {
    let answer = |addr: &str, interval, complete, peer: &str| {
        let peers = vec![peer.parse().unwrap()];
        let interval = Duration::from_secs(interval);
        let reply = AnnounceReply { interval, complete: Some(complete), peers, ..AnnounceReply::default() };
        (addr.parse().unwrap(), Reply::Announce(reply))
    };
    let both = merged(vec![
        answer("192.0.2.1:1", 900, 3, "198.51.100.1:1"),
        answer("[fd00::1]:1", 1_800, 2, "[2001:db8::1]:1"),
    ]);
    assert!(!both.local, "one of its addresses is public");
    let reply = both.reply.unwrap();
    assert_eq!((reply.interval.as_secs(), reply.complete, reply.peers.len()), (1_800, Some(3), 2));
}
