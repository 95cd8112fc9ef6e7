//! What a tracker does on the network when nobody means harm.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use torrent_format::InfoHash;
use torrent_format::announce::http::{ReplyError, ScrapeEntry, decode_scrape};
use tracker::ServeError;

use crate::harness::{Client, HASH, Tracker, config};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn peers_on_one_host_find_each_other() {
    let tracker = Tracker::start();
    let reply = tracker.announce(1000, "left=0&event=started").unwrap();
    assert_eq!((reply.peers, reply.complete, reply.incomplete), (vec![], Some(1), Some(0)));
    let reply = tracker.announce(1001, "left=5&event=started").unwrap();
    assert_eq!((reply.peers, reply.complete, reply.incomplete), (vec![local(1000)], Some(1), Some(1)));
    let reply = tracker.announce(1001, "left=0&event=completed").unwrap();
    assert_eq!((reply.peers, reply.complete, reply.downloaded), (vec![], Some(2), Some(1)));
    let reply = tracker.announce(1000, "left=0&event=stopped").unwrap();
    assert_eq!((reply.peers, reply.complete, reply.incomplete), (vec![], Some(1), Some(0)));
    assert!((1620..=1980).contains(&reply.interval.as_secs()));
    assert_eq!(
        tracker.scrape(HASH),
        ScrapeEntry { complete: 1, downloaded: 1, downloaders: Some(0), incomplete: 0 }
    );
}

#[test]
fn the_whole_answer_byte_by_byte() {
    let tracker = Tracker::start();
    tracker.announce(6881, "left=1").unwrap();
    let mut client = tracker.connect();
    client.send(format!("GET /scrape?info_hash={HASH} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"));
    let answer = String::from_utf8(client.read_to_end()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain\r\n"), "{head}");
    assert_eq!(
        body,
        "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei0e10:downloadedi0e11:downloadersi1e10:incompletei1eeee"
    );
}

#[test]
fn trap_10_a_scrape_of_a_hundred_torrents_fits() {
    let tracker = Tracker::start();
    let hashes: Vec<_> = (0..100_u8).map(|n| [n; 20]).collect();
    let escaped = |hash: &[u8; 20]| hash.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let query: Vec<_> = hashes.iter().map(|hash| format!("info_hash={}", escaped(hash))).collect();
    let (status, body) = tracker.get(&format!("/scrape?{}", query.join("&")));
    let expected: Vec<_> = hashes
        .iter()
        .map(|&hash| (InfoHash(hash), ScrapeEntry { downloaders: Some(0), ..ScrapeEntry::default() }))
        .collect();
    assert_eq!((status, decode_scrape(&body)), (200, Ok(expected)));
}

#[test]
fn a_connection_is_kept_for_the_next_announce() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    for port in 1..=20 {
        let reply = client.announce(port, "left=1").unwrap();
        assert_eq!(reply.peers.len(), usize::from(port) - 1);
    }
}

#[test]
fn head_answers_without_an_announce() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    client.send(format!(
        "HEAD /announce?info_hash={HASH}&peer_id={HASH}&port=1&left=1 HTTP/1.1\r\nHost: t\r\n\r\n"
    ));
    assert_eq!(client.response(), Some((200, vec![])));
    assert_eq!(tracker.scrape(HASH).incomplete, 0);
}

#[test]
fn other_paths_are_not_found() {
    let tracker = Tracker::start();
    for path in ["/", "/../announce", "/%61nnounce/x", "/etc/passwd"] {
        assert_eq!(tracker.get(path).0, 404, "{path}");
    }
}

#[test]
fn a_tracker_is_known_by_many_paths() {
    let tracker = Tracker::start();
    let query = format!("info_hash={HASH}&peer_id={HASH}&port=1&left=1");
    for path in ["//announce", "/announce.php", "/./announce"] {
        let (status, body) = tracker.get(&format!("{path}?{query}"));
        let known = path != "/./announce";
        assert_eq!((status == 200, body.starts_with(b"d8:complete")), (known, known), "{path}");
    }
    for path in ["//scrape", "/scrape.php"] {
        assert!(tracker.get(&format!("{path}?info_hash={HASH}")).1.starts_with(b"d5:files"), "{path}");
    }
    for path in ["/announce/", "/announce/../scrape", "/announce.asp", "/scrape/x"] {
        let (status, body) = tracker.get(&format!("{path}?{query}"));
        assert_eq!((status, body.starts_with(b"d14:failure reason")), (200, true), "{path}");
    }
    let mut client = tracker.connect();
    client.send(format!("POST /announce?{query} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(client.response(), Some((200, b"d14:failure reason15:POST is not GETe".to_vec())));
}

#[test]
fn several_addresses_share_the_swarms() {
    let tracker = Tracker::with(config(&["127.0.0.1:0", "127.0.0.2:0"]));
    let [first, second] = tracker.server.local_addrs() else { panic!("two") };
    Client::connect(*first).announce(1, "left=1").unwrap();
    // A client of another address asks at the other listener.
    let reply = Client::connect(*second).announce(2, "left=1").unwrap();
    assert_eq!(reply.peers, [local(1)]);
}

#[test]
fn ipv4_and_ipv6_stand_side_by_side_on_one_port() {
    let Ok(probe) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    drop(probe);
    let tracker = Tracker::with(config(&["0.0.0.0:0"]));
    let port = tracker.addr.port();
    let both = config(&[&format!("[::]:{port}")]);
    let v6 = tracker.runtime.block_on(tracker::serve(both)).unwrap();
    assert_eq!(v6.local_addrs()[0].port(), port);

    let both = Tracker::with(config(&["127.0.0.1:0", "[::1]:0"]));
    let [v4, v6] = both.server.local_addrs() else { panic!("two") };
    Client::connect(*v4).announce(1, "left=1").unwrap();
    let reply = Client::connect(*v6).announce(2, "left=1").unwrap();
    assert_eq!(reply.peers, [local(1)]);
    let reply = Client::connect(*v4).announce(3, "left=1").unwrap();
    assert_eq!(reply.peers, [local(1), "[::1]:2".parse().unwrap()]);
}

#[test]
fn the_own_seeder_is_listed_where_the_asker_connected_to() {
    let tracker = Tracker::with_own_seeder(&["0.0.0.0:0"], 7000);
    let port = tracker.addr.port();
    for host in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        let mut client = Client::connect(SocketAddr::from((host, port)));
        let reply = client.announce(5, "left=1").unwrap();
        assert_eq!((reply.peers, reply.complete), (vec![SocketAddr::from((host, 7000))], Some(1)));
        client.announce(5, "left=1&event=stopped").unwrap();
    }
    // Its own announce changes nothing but that it learns of others.
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    Client::connect(at).announce(5, "left=1").unwrap();
    let reply = Client::connect(at).announce(7000, "left=0&event=started").unwrap();
    assert_eq!((reply.peers, reply.complete), (vec![local(5)], Some(1)));
    let reply = Client::connect(at).announce(5, "left=1").unwrap();
    assert_eq!((reply.peers, reply.complete), (vec![local(7000)], Some(1)));
    let (_, body) = Client::connect(at).get(&format!("/scrape?info_hash={HASH}"));
    assert_eq!(decode_scrape(&body).unwrap()[0].1.complete, 1);
}

#[test]
fn the_own_seeder_is_listed_at_ipv6_addresses_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let tracker = Tracker::with_own_seeder(&["[::1]:0"], 7000);
    tracker.announce(7000, "left=0").unwrap();
    let reply = tracker.announce(5, "left=1").unwrap();
    assert_eq!((reply.peers, reply.complete), (vec!["[::1]:7000".parse().unwrap()], Some(1)));
}

#[test]
fn trap_19_trap_20_addresses_in_queries_and_headers_are_ignored() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    client.send(format!(
        "GET /announce?info_hash={HASH}&peer_id={HASH}&port=1&left=1&ip=203.0.113.1&ipv4=203.0.113.1:5&ipv6=2001:db8::1 \
         HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 203.0.113.2\r\nX-Real-IP: 203.0.113.2\r\nForwarded: for=203.0.113.2\r\n\r\n"
    ));
    assert_eq!(client.response().unwrap().0, 200);
    assert_eq!(tracker.announce(2, "left=1").unwrap().peers, [local(1)]);
}

#[test]
fn trap_04_a_bad_query_is_answered_at_once_with_the_reason() {
    let tracker = Tracker::start();
    let (status, body) = tracker.get("/announce?info_hash=short");
    assert_eq!(
        (status, String::from_utf8(body).unwrap()),
        (200, "d14:failure reason28:info_hash is 5 bytes, not 20e".to_owned())
    );
    let (status, body) = tracker.get("/scrape");
    assert_eq!(
        (status, String::from_utf8(body).unwrap()),
        (200, "d14:failure reason20:info_hash is missinge".to_owned())
    );
    let failure = tracker.announce(0, "").unwrap_err();
    let reason = "port is not a number from 1 to 65535".to_owned();
    assert_eq!(failure, ReplyError::Failure { reason, retry_in: None });
}

#[test]
fn an_address_that_is_taken_is_named() {
    let tracker = Tracker::start();
    let taken = tracker.addr;
    let error = tracker.runtime.block_on(tracker::serve(config(&[&taken.to_string()]))).unwrap_err();
    assert!(matches!(error, ServeError::Listen { addr, .. } if addr == taken), "{error}");
    assert!(error.to_string().starts_with(&format!("can't listen on {taken}: ")), "{error}");
}

#[test]
fn stopping_ends_idle_connections_and_half_asked_questions_and_frees_the_port() {
    let tracker = Tracker::start();
    let mut idle = tracker.connect();
    idle.announce(1, "left=1").unwrap();
    let mut half = tracker.connect();
    half.send("GET /announce?info_hash=");
    tracker.assert_alive();

    tracker.runtime.block_on(tracker.server.stop(Duration::from_millis(100)));
    assert_eq!(idle.read_to_end(), b"");
    half.read_to_end();
    assert!(TcpStream::connect(tracker.addr).is_err());
    let again = tracker.runtime.block_on(tracker::serve(config(&[&tracker.addr.to_string()]))).unwrap();
    assert_eq!(again.local_addrs(), [tracker.addr]);
}

#[test]
fn a_dropped_server_is_gone() {
    let Tracker { addr, server, runtime } = Tracker::start();
    let mut idle = Client::connect(addr);
    idle.announce(1, "left=1").unwrap();
    drop(server);
    assert_eq!(idle.read_to_end(), b"");
    drop(runtime);
    assert!(TcpStream::connect(addr).is_err());
}
