//! What must not hurt a tracker: hostile queries and hostile connections, by the names of our catalogue (H1 to H40).

use std::io::{Read as _, Write as _};
use std::time::Duration;

use socket2::SockRef;
use torrent_format::announce::http::{ReplyError, ScrapeEntry, decode_reply, decode_scrape};

use crate::harness::{Client, HASH, Tracker, is_timeout};

/// Whether a query is refused, or taken as a peer's that counts as a leecher.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expected {
    Refused(&'static str),
    Leecher,
}
use Expected::{Leecher, Refused};

#[test]
fn h01_to_h14_queries() {
    let id = "peer_id=-XX0000-bbbbbbbbbbbb";
    let hash = &format!("info_hash={HASH}");
    let long = "k".repeat(1025);
    let cases = [
        ("H1", format!("{id}&port=1"), Refused("info_hash is missing")),
        ("H2 19", format!("info_hash={}&{id}&port=1", &HASH[1..]), Refused("info_hash is 19 bytes, not 20")),
        ("H2 21", format!("{hash}a&{id}&port=1"), Refused("info_hash is 21 bytes, not 20")),
        ("H2 0", format!("info_hash=&{id}&port=1"), Refused("info_hash is 0 bytes, not 20")),
        ("H3", format!("{hash}&{hash}&{id}&port=1"), Refused("an announce has one info_hash")),
        ("H4", format!("info_hash=%zz{HASH}&{id}&port=1"), Refused("info_hash has a % that is no %XX")),
        (
            "H4 end",
            format!("{hash}&peer_id=-XX0000-bbbbbbbbbbb%&port=1"),
            Refused("peer_id has a % that is no %XX"),
        ),
        ("H5", format!("{hash}&port=1"), Refused("peer_id is missing")),
        ("H6", format!("{hash}&{id}b&port=1"), Refused("peer_id is 21 bytes, not 20")),
        ("H7 0", format!("{hash}&{id}&port=0"), Refused("port is not a number from 1 to 65535")),
        ("H7 65536", format!("{hash}&{id}&port=65536"), Refused("port is not a number from 1 to 65535")),
        ("H7 -1", format!("{hash}&{id}&port=-1"), Refused("port is not a number from 1 to 65535")),
        ("H7 abc", format!("{hash}&{id}&port=abc"), Refused("port is not a number from 1 to 65535")),
        ("H8", format!("{hash}&{id}"), Refused("port is missing")),
        ("H9 -1", format!("{hash}&{id}&port=1&left=-1"), Leecher),
        ("H9 2^64", format!("{hash}&{id}&port=1&left=18446744073709551616"), Leecher),
        ("H9 2^32", format!("{hash}&{id}&port=1&left=4294967296"), Leecher),
        ("H9 missing", format!("{hash}&{id}&port=1"), Leecher),
        ("H10", format!("{hash}&{id}&port=1&left=1&event=bogus"), Leecher),
        ("H11 -1", format!("{hash}&{id}&port=1&left=1&numwant=-1"), Leecher),
        ("H11 10^9", format!("{hash}&{id}&port=1&left=1&numwant=1000000000"), Leecher),
        ("H12", format!("{hash}&{id}&port=1&left=1&compact=2"), Leecher),
        ("H13", format!("{hash}&{id}&port=1&left=1&port=0&left=0"), Leecher),
        ("H14", format!("{hash}&{id}&port=1&left=1&key={long}"), Refused("key is too long")),
    ];
    for (name, query, expected) in cases {
        let tracker = Tracker::start();
        let (status, body) = tracker.get(&format!("/announce?{query}"));
        assert_eq!(status, 200, "{name}");
        match (expected, decode_reply(&body)) {
            (Refused(expected), Err(ReplyError::Failure { reason, .. })) => {
                assert_eq!(reason, expected, "{name}");
            }
            (Leecher, Ok(reply)) => assert_eq!(reply.incomplete, Some(1), "{name}"),
            (_, answer) => panic!("{name}: {expected:?}, but {answer:?}"),
        }
        let stored = ScrapeEntry {
            incomplete: u32::from(expected == Leecher),
            downloaders: Some(u32::from(expected == Leecher)),
            ..ScrapeEntry::default()
        };
        assert_eq!(tracker.scrape(HASH), stored, "{name}");
    }
}

/// What is said on a connection, and the status of the answer before it is closed. Nothing of it is stored, and the tracker
/// goes on.
#[test]
fn h15_to_h29_heads_that_are_too_long_or_no_requests() {
    let announce = format!("/announce?info_hash={HASH}&peer_id={HASH}&port=1&left=1");
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: t\r\n{headers}\r\n").into_bytes()
    };
    let close = "Connection: close\r\n";
    let mut tls = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    tls.extend([0x55; 500]);
    let cases: [(&str, Vec<u8>, &[u16]); 17] = [
        ("H15 request line of 64 KiB", get(&format!("/announce?x={}", "a".repeat(65_536)), ""), &[414, 431]),
        ("H16 10^4 headers", get("/health", &"A: b\r\n".repeat(10_000)), &[431]),
        ("H16 65 short headers", get("/health", &"A: b\r\n".repeat(65)), &[431]),
        ("H21 POST", format!("POST {announce} HTTP/1.1\r\nHost: t\r\n{close}\r\n").into(), &[200]),
        ("H21 PUT", format!("PUT {announce} HTTP/1.1\r\nHost: t\r\n{close}\r\n").into(), &[200]),
        ("H21 CONNECT", format!("CONNECT t:80 HTTP/1.1\r\nHost: t\r\n{close}\r\n").into(), &[404, 405, 400]),
        ("H22 HTTP/0.9", b"GET /health\r\n\r\n".to_vec(), &[400]),
        ("H22 HTTP/3.0", b"GET /health HTTP/3.0\r\n\r\n".to_vec(), &[400]),
        ("H22 no HTTP", b"hello\r\n\r\n".to_vec(), &[400]),
        ("H24 NUL", b"GET /\0 HTTP/1.1\r\nHost: t\r\n\r\n".to_vec(), &[400]),
        ("H24 raw 0xff", b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n".to_vec(), &[400]),
        ("H25 dots", get("/../../etc/passwd", close), &[404]),
        ("H28 TLS", tls, &[400]),
        ("a header that is none", get("/health", "no colon\r\n"), &[400]),
        ("H20 two lengths", get("/health", "Content-Length: 4\r\nContent-Length: 5\r\n"), &[400]),
        ("H20 a length below zero", get("/health", "Content-Length: -1\r\n"), &[400]),
        (
            "H38 10^4 torrents",
            get(&format!("/scrape?{}", format!("info_hash={HASH}&").repeat(10_000)), ""),
            &[414, 431],
        ),
    ];
    let tracker = Tracker::start();
    for (name, bytes, statuses) in cases {
        let mut client = tracker.connect();
        // The tracker may close before it has read everything.
        let _ = client.0.write_all(&bytes);
        match client.response() {
            Some((status, _)) => assert!(statuses.contains(&status), "{name}: {status}"),
            // Closed with our bytes unread, the answer may be lost to a reset; the close itself is what counts.
            None => assert!(bytes.len() > 8192, "{name}: closed without an answer"),
        }
        client.read_to_end();
    }
    tracker.assert_alive();
    assert_eq!(tracker.scrape(HASH).incomplete, 0);
}

#[test]
fn h17_a_head_that_never_ends_is_cut_off() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    client.send("GET /announce?info_hash=");
    client.read_to_end();
    tracker.assert_alive();
}

#[test]
fn h18_a_head_that_comes_byte_by_byte_is_cut_off() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    client.send("GET /announce?info_hash=");
    client.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let cut_off = (0..300).any(|_| {
        client.0.write_all(b"a").is_err()
            || match client.0.read(&mut [0; 512]) {
                Ok(length) => length == 0,
                Err(error) => !is_timeout(&error),
            }
    });
    assert!(cut_off, "still open after 300 bytes");
    tracker.assert_alive();
}

#[test]
fn h19_a_thousand_pipelined_requests_are_answered_in_order() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    let mut writer = Client(client.0.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..1000 {
                writer.send(format!("GET /scrape?info_hash={number:020} HTTP/1.1\r\nHost: t\r\n\r\n"));
            }
        });
        for number in 0..1000 {
            let (status, body) = client.response().unwrap();
            assert_eq!(status, 200);
            let scraped = decode_scrape(&body).unwrap()[0].0;
            assert_eq!(scraped.as_bytes(), format!("{number:020}").as_bytes());
        }
    });
}

#[test]
fn h20_h29_a_body_is_not_taken_for_the_next_request() {
    let inner =
        format!("GET /announce?info_hash={HASH}&peer_id={HASH}&port=1&left=1 HTTP/1.1\r\nHost: t\r\n\r\n");
    for headers in [
        format!("Content-Length: {}\r\n", inner.len()),
        "Transfer-Encoding: chunked\r\n".to_owned(),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len()),
        "Content-Length: 99999999999\r\nContent-Encoding: gzip\r\n".to_owned(),
    ] {
        let tracker = Tracker::start();
        let mut client = tracker.connect();
        let _ =
            client.0.write_all(format!("GET /health HTTP/1.1\r\nHost: t\r\n{headers}\r\n{inner}").as_bytes());
        let (status, _) = client.response().expect(&headers);
        assert!([200, 400].contains(&status), "{headers}: {status}");
        assert_eq!(client.response(), None, "{headers}: one answer, then closed");
        assert_eq!(tracker.scrape(HASH).incomplete, 0, "{headers}");
    }
}

#[test]
fn h23_a_whole_url_or_another_host_is_served_all_the_same() {
    let tracker = Tracker::start();
    for request in [
        "GET http://elsewhere.example/health HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
        "GET /health HTTP/1.0\r\n\r\n",
    ] {
        let mut client = tracker.connect();
        client.send(request);
        assert_eq!(client.response(), Some((200, b"ok\n".to_vec())), "{request}");
    }
}

#[test]
fn h26_half_closed_after_the_question_is_answered() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    client.send("GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.response(), Some((200, b"ok\n".to_vec())));
    client.read_to_end();
}

#[test]
fn h27_a_reset_in_the_middle_hurts_nobody_else() {
    let tracker = Tracker::start();
    for _ in 0..100 {
        let mut client = tracker.connect();
        SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
        client.send(format!("GET /scrape?info_hash={HASH} HTTP/1.1\r\nHost: t\r\n\r\n"));
    }
    tracker.assert_alive();
}

#[test]
fn h32_loopback_peers_of_one_host_are_many_and_normal() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    for port in 1..=300 {
        client.announce(port, "left=1&numwant=0").unwrap();
    }
    assert_eq!(client.announce(1, "left=1&numwant=1000").unwrap().peers.len(), 200);
    assert_eq!(tracker.scrape(HASH).incomplete, 300);
}

#[test]
fn h35_h36_one_peer_id_from_many_and_completed_again_and_again() {
    let tracker = Tracker::start();
    let mut client = tracker.connect();
    for port in 1..=50 {
        client.announce(port, "left=1&event=started").unwrap();
    }
    for _ in 0..100 {
        client.announce(1, "left=0&event=completed").unwrap();
    }
    let expected = ScrapeEntry { complete: 1, downloaded: 1, downloaders: Some(49), incomplete: 49 };
    assert_eq!(tracker.scrape(HASH), expected);
}

#[test]
fn h37_h39_scrapes_of_everything_are_refused_of_unknown_torrents_answered_with_nothing() {
    let tracker = Tracker::start();
    let (status, body) = tracker.get("/scrape");
    let reason = "info_hash is missing".to_owned();
    assert_eq!((status, decode_scrape(&body)), (200, Err(ReplyError::Failure { reason, retry_in: None })));
    assert_eq!(tracker.scrape(HASH), ScrapeEntry { downloaders: Some(0), ..ScrapeEntry::default() });
}
