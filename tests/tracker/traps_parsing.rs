//! Traps 1 to 10: what stands in a query.

use std::io::Write as _;

use harness::bencode::Value;
use harness::sandbox::Sandbox;
use harness::tracker::Tracker;
use harness::tracker::http::{self, Counts, escape, failure, peers, ports, query};
use harness::tracker::udp::{Announce, Reply};

const HASH: &[u8; 20] = b"parsing the queries!";

fn start() -> (Sandbox, Tracker) {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    (sandbox, tracker)
}

/// The query of a leecher whose hash is written like this.
fn spelled(hash: &str, port: u16) -> String {
    format!("info_hash={hash}&peer_id=-XX0001-0000000{port:05}&port={port}&left=1")
}

#[test]
fn trap_01_the_bytes_of_a_query_are_taken_as_they_stand() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let hash = *b"\0+a Z%&;=?\xff\xfe#\x7f/09~\n!";
    let spellings = [
        // All escaped, in small letters; in capitals; mixed; and all as it is that may be.
        escape(&hash),
        escape(&hash).to_uppercase(),
        "%00%2Ba%20Z%25%26%3b%3D%3f%fF%Fe%23%7F%2f09%7e%0a!".into(),
        // A plus is a plus (BEP 3 speaks of RFC 1738), not a space.
        "%00+a%20Z%25%26;%3d?%FF%FE%23%7f/09~%0A!".into(),
    ];
    for (port, spelling) in (1..).zip(&spellings) {
        let reply = client.announce(&spelled(spelling, port));
        assert_eq!(failure(&reply), None, "{spelling}");
    }
    assert_eq!(client.scrape(&hash).incomplete, spellings.len() as i128);
    assert_eq!(tracker.stats()["torrents"], 1);
    // Exactly 20 bytes.
    for (length, hash) in
        [(0, ""), (19, "aaaaaaaaaaaaaaaaaaa"), (21, "aaaaaaaaaaaaaaaaaaaaa"), (40, &"ab".repeat(20))]
    {
        let reply = client.announce(&spelled(hash, 9));
        assert!(failure(&reply).is_some(), "{length} bytes");
    }
    let reply = client.announce(&format!("{}&peer_id=short", query(HASH, 9, "").replace("peer_id", "x")));
    assert!(failure(&reply).is_some(), "a short peer id");
    assert_eq!(tracker.stats()["torrents"], 1);
}

#[test]
fn trap_02_a_query_is_split_at_each_ampersand_and_then_at_the_first_equals_sign() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    for (port, more) in (1..).zip([
        "foo&left=1",
        "&&left=1&",
        "key=YWJj==&left=1",
        "foo;left=0&left=1",
        "=&=x&left=1",
        "left=1&x=a=b=c",
    ]) {
        client.join(HASH, port, more);
    }
    let reply = client.announce(&format!("&corrupt&{}", query(HASH, 7, "left=1&no_peer_id")));
    assert_eq!(failure(&reply), None);
    let counts = client.scrape(HASH);
    assert_eq!((counts.complete, counts.incomplete), (0, 7));
}

#[test]
fn trap_03_doubled_parameters_methods_and_paths() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let two = format!("{}&info_hash={}", query(HASH, 1, "left=1"), escape(HASH));
    assert!(failure(&client.announce(&two)).is_some(), "an announce has one info_hash");
    assert_eq!(tracker.stats()["peers"], 0);
    // Of all others the first counts.
    client.join(HASH, 1, "left=1&left=0&port=2");
    assert_eq!(ports(&peers(&client.join(HASH, 9, "left=1"))), [1]);
    assert_eq!(client.scrape(HASH), Counts { incomplete: 2, downloaders: Some(2), ..Counts::default() });

    for (port, path) in (10..).zip(["/announce", "/announce.php", "//announce", "///announce.php"]) {
        let reply = client.get(&format!("{path}?{}", query(HASH, port, "left=1"))).dictionary();
        assert_eq!(failure(&reply), None, "{path}");
    }
    // As of an announce URL that has a query of its own.
    let reply = client.get(&format!("/announce?passkey=0123&{}", query(HASH, 14, "left=1"))).dictionary();
    assert_eq!(failure(&reply), None);
    assert_eq!(client.scrape(HASH).incomplete, 7);

    let target = format!("/announce?{}", query(HASH, 20, "left=1"));
    let head = client.method("HEAD", &target);
    assert_eq!((head.status, head.body.len()), (200, 0));
    for method in ["POST", "PUT", "DELETE"] {
        let reply = client.method(method, &target);
        assert!(reply.status >= 400 || failure(&reply.dictionary()).is_some(), "{method}");
    }
    assert_eq!(client.scrape(HASH).incomplete, 7, "none of them announces");
}

#[test]
fn trap_04_a_bad_announce_is_told_why_at_once_on_a_connection_that_goes_on() {
    let (_sandbox, tracker) = start();
    let mut stream = tracker.client().stream();
    for target in [
        "/announce",
        "/announce?",
        "/announce?info_hash=%zz",
        "/announce?port=1",
        "/scrape",
        "/scrape?info_hash=a",
    ] {
        write!(stream, "GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        let reply = http::read(&mut stream, false).unwrap_or_else(|| panic!("{target}: no answer"));
        assert!(failure(&reply.dictionary()).is_some_and(|reason| !reason.is_empty()), "{target}");
        assert!(reply.head.contains("content-type: text/plain"), "{}", reply.head);
    }
    write!(stream, "GET /announce?{} HTTP/1.1\r\nHost: t\r\n\r\n", query(HASH, 1, "left=1")).unwrap();
    assert_eq!(failure(&http::read(&mut stream, false).unwrap().dictionary()), None);
}

#[test]
fn trap_05_who_does_not_say_what_is_left_is_a_leecher() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let lacking = [
        "",
        "left=",
        "left=abc",
        "left=-1",
        "left=16384",
        "left=4294967296",
        "left=9223372036854775808",
        "left=18446744073709551615",
        "left=18446744073709551616",
        "left=99999999999999999999999999999999999999999999",
    ];
    for (port, left) in (1..).zip(lacking) {
        client.join(HASH, port, left);
        let counts = client.scrape(HASH);
        assert_eq!((counts.complete, counts.incomplete), (0, i128::from(port)), "{left:?}");
    }
    client.join(HASH, 100, "left=0");
    client.join(HASH, 101, "left=00");
    assert_eq!(client.scrape(HASH).complete, 2);
    // Over UDP, where it is 64 bits, whatever a signed number would be.
    let udp = tracker.udp_client();
    for (port, left) in (200..).zip([1 << 32, 1 << 63, u64::MAX]) {
        udp.join(&Announce { left, ..Announce::leecher(*HASH, port) });
    }
    assert_eq!(client.scrape(HASH).complete, 2);
    assert_eq!(client.scrape(HASH).incomplete, lacking.len() as i128 + 3);
}

#[test]
fn trap_06_what_was_moved_may_be_any_number() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    for numbers in [
        ("5000", "5000"),
        ("10", "10"),
        ("-1", "-1"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "99999999999999999999999999"),
        ("", "x"),
    ] {
        let (up, down) = numbers;
        let query = format!(
            "info_hash={}&peer_id=-XX0001-000000000001&port=1&left=1&uploaded={up}&downloaded={down}",
            escape(HASH)
        );
        assert_eq!(failure(&client.announce(&query)), None, "{numbers:?}");
    }
    let udp = tracker.udp_client();
    for (uploaded, downloaded) in [(u64::MAX, u64::MAX), (1 << 63, 0), (0, 1 << 63)] {
        udp.join(&Announce { uploaded, downloaded, ..Announce::leecher(*HASH, 1) });
    }
    assert_eq!(client.scrape(HASH).incomplete, 1);
}

#[test]
fn trap_07_an_event_that_nobody_knows_is_none_and_a_partial_seed_is_kept() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    for (port, event) in (1..).zip(["", "empty", "none", "update", "bogus", "STARTED", "%00"]) {
        client.join(HASH, port, &format!("left=1&event={event}"));
    }
    let udp = tracker.udp_client();
    for (port, event) in (8..).zip([5, 77, u32::MAX]) {
        udp.join(&Announce { event, ..Announce::leecher(*HASH, port) });
    }
    assert_eq!(client.scrape(HASH), Counts { incomplete: 10, downloaders: Some(10), ..Counts::default() });
    // BEP 21, as libtorrent says it at every announce of a torrent of which it wants no more.
    client.join(HASH, 11, "left=1&event=paused");
    udp.join(&Announce { event: 4, ..Announce::leecher(*HASH, 12) });
    assert_eq!(client.scrape(HASH), Counts { incomplete: 12, downloaders: Some(10), ..Counts::default() });
    let listed = ports(&peers(&client.join(HASH, 1, "left=1&numwant=50")));
    assert!(listed.contains(&11) && listed.contains(&12), "{listed:?}");
    // It goes on with the download.
    client.join(HASH, 11, "left=1");
    assert_eq!(client.scrape(HASH).downloaders, Some(11));
}

#[test]
fn trap_08_port_0_is_refused_but_from_one_who_leaves() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    for more in ["left=1", "left=1&event=started", "left=0&event=completed"] {
        assert!(failure(&client.announce(&query(HASH, 0, more))).is_some(), "{more}");
    }
    assert_eq!(failure(&client.announce(&query(HASH, 0, "left=1&event=stopped"))), None);
    let udp = tracker.udp_client();
    assert!(matches!(udp.announce(&Announce::leecher(*HASH, 0)), Reply::Error(_)));
    let stopped = udp.announce(&Announce { event: 3, ..Announce::leecher(*HASH, 0) });
    assert!(matches!(stopped, Reply::Announce { .. }), "{stopped:?}");
    assert_eq!(tracker.stats()["peers"], 0);
    // libtorrent says 1 when it does not listen.
    client.join(HASH, 1, "left=1");
    client.join(HASH, 80, "left=1");
    assert_eq!(client.scrape(HASH).incomplete, 2);
}

#[test]
fn trap_09_numwant_is_a_wish() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    let udp = tracker.udp_client();
    for port in 1..=250 {
        udp.join(&Announce { num_want: 0, ..Announce::leecher(*HASH, port) });
    }
    for (numwant, expected) in [
        ("numwant=0", 0),
        ("numwant=1", 1),
        ("numwant=73", 73),
        ("numwant=200", 200),
        ("numwant=201", 200),
        ("numwant=1000000000", 200),
        ("numwant=99999999999999999999", 200),
        ("", 50),
        ("numwant=-1", 50),
        ("numwant=-99999999999999999999", 50),
        ("numwant=", 50),
        ("numwant=many", 50),
        ("num_want=7", 50),
    ] {
        let listed = peers(&client.join(HASH, 300, &format!("left=1&{numwant}")));
        assert_eq!(listed.len(), expected, "{numwant:?}");
    }
    for (num_want, expected) in
        [(0, 0), (1, 1), (200, 200), (i32::MAX, 200), (-1, 50), (-2, 50), (i32::MIN, 50)]
    {
        let listed = udp.join(&Announce { num_want, ..Announce::leecher(*HASH, 300) });
        assert_eq!(listed.len(), expected, "{num_want}");
    }
    // BEP 23: compact may be answered to whoever asks for dictionaries, but it is answered.
    for compact in ["compact=0", "compact=2", "compact=", "no_peer_id=1"] {
        let reply = client.join(HASH, 300, &format!("left=1&numwant=3&{compact}"));
        assert!(matches!(reply.get("peers"), Some(Value::Bytes(_) | Value::List(_))), "{compact}: {reply:?}");
    }
}

#[test]
fn trap_10_a_hundred_torrents_fit_into_a_scrape() {
    let (_sandbox, tracker) = start();
    let client = tracker.client();
    // In no order, all bytes escaped: as long as a request gets.
    let hashes: Vec<[u8; 20]> = (0..100u8).map(|n| [n.wrapping_mul(77) ^ 0x80; 20]).collect();
    for (port, hash) in (1..).zip(&hashes[..50]) {
        client.join(hash, port, "left=0");
    }
    let ask = |hashes: &[[u8; 20]]| {
        let query: Vec<_> = hashes.iter().map(|hash| format!("info_hash={}", escape(hash))).collect();
        http::files(&client.get(&format!("/scrape?{}", query.join("&"))).dictionary())
    };
    let files = ask(&hashes);
    assert_eq!(files.len(), 100);
    for (hash, counts) in &files {
        let known = hashes[..50].iter().any(|known| known[..] == hash[..]);
        assert_eq!((counts.complete, counts.incomplete), (i128::from(known), 0));
    }
    // That keys are sorted and none is there twice, the reader of the harness insists on.
    assert_eq!(ask(&[hashes[0], hashes[60], hashes[0]]).len(), 2);
    // Nor do more hurt.
    let more: Vec<_> = hashes.iter().copied().chain([[1; 20], [2; 20]]).collect();
    assert!(ask(&more).len() <= 100);
}
