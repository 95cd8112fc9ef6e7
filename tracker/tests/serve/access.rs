//! Who is served.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;
use torrent_format::InfoHash;
use torrent_format::announce::AnnounceRequest;
use torrent_format::announce::http::{ReplyError, RetryIn};
use torrent_format::announce::udp::{self, Reply};
use tracker::{Config, ServeError};

use crate::harness::{HASH, Tracker, both, http, leech};

fn never(reason: &str) -> ReplyError {
    ReplyError::Failure { reason: reason.into(), retry_in: Some(RetryIn::Never) }
}

fn not_tracked() -> ReplyError {
    never("this torrent is not tracked here")
}

#[test]
fn trap_18_lists_hold_for_announces_and_scrapes_and_a_change_drops_swarms() {
    let dir = TempDir::new().unwrap();
    let (allow, deny) = (dir.path().join("allow"), dir.path().join("deny"));
    let other = InfoHash([b'b'; 20]);
    fs::write(&allow, format!("# mine\n{HASH}\n{other}\n")).unwrap();
    fs::write(&deny, format!("{other}\n")).unwrap();
    let config = Config { allow: Some(allow.clone()), deny: Some(deny.clone()), ..both() };
    let tracker = Tracker::start(config);
    let udp = tracker.udp();

    assert_eq!(udp.peers(&leech(1)), []);
    for refused in [other, InfoHash([b'c'; 20])] {
        let request = AnnounceRequest { info_hash: refused, ..leech(1) };
        assert_eq!(tracker.announce("", &request), Err(not_tracked()));
        assert_eq!(udp.announce(&request), Reply::Error("this torrent is not tracked here".into()));
        assert_eq!(tracker.scrape(refused), (0, 0, 0));
    }
    assert_eq!(tracker.scrape(HASH), (0, 1, 0));

    fs::write(&deny, format!("{HASH}\n")).unwrap();
    tracker.server.reload().unwrap();
    assert_eq!(tracker.scrape(HASH), (0, 0, 0));
    assert_eq!(tracker.announce("", &leech(1)), Err(not_tracked()));
    tracker.announce("", &AnnounceRequest { info_hash: other, ..leech(1) }).unwrap();

    // What makes no sense changes nothing.
    fs::write(&allow, "nonsense").unwrap();
    fs::write(&deny, "").unwrap();
    let problem = tracker.server.reload().unwrap_err();
    assert!(problem.ends_with("line 1 is no info hash: nonsense"), "{problem}");
    assert_eq!(tracker.announce("", &leech(1)), Err(not_tracked()));
    assert_eq!(tracker.scrape(other), (0, 1, 0));
    fs::write(&allow, HASH.to_string()).unwrap();
    tracker.server.reload().unwrap();
    tracker.announce("", &leech(1)).unwrap();
    assert_eq!(tracker.scrape(other), (0, 0, 0), "and it is gone");
}

#[test]
fn a_bad_list_is_named_at_the_start() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("deny");
    fs::write(&path, "\n12").unwrap();
    match Tracker::try_start(Config { deny: Some(path.clone()), ..both() }).map(drop) {
        Err(ServeError::Configuration(problem)) => {
            assert_eq!(problem, format!("{}: line 2 is no info hash: 12", path.display()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_are_refused_by_their_ids() {
    let tracker = Tracker::start(Config { deny_clients: vec!["-XX0".into()], ..both() });
    assert_eq!(tracker.announce("", &leech(1)), Err(never("this client is not served here")));
    let other = AnnounceRequest { peer_id: torrent_format::PeerId(*b"-XX1000-bbbbbbbbbbbb"), ..leech(1) };
    tracker.announce("", &other).unwrap();
}

#[test]
fn a_private_tracker_serves_those_with_a_key() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let tracker = Tracker::start(Config { private: true, state: Some(state.clone()), ..both() });
    let key = |body: &str| {
        let (status, made) = tracker.admin(&state, "POST", "/keys", body);
        assert_eq!(status, 201, "{made}");
        made["key"].as_str().unwrap().to_owned()
    };
    let good = key("");
    let expired = key(r#"{"expires_s": 0, "comment": "late"}"#);

    tracker.announce(&format!("/{good}"), &leech(1)).unwrap();
    let refused = never("this tracker is private: its URL needs a valid key");
    for bad in ["", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &format!("/{expired}")] {
        assert_eq!(tracker.announce(bad, &leech(2)), Err(refused.clone()), "{bad}");
    }
    let (_, body) =
        http(tracker.server.local_addrs()[0], "GET", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa", "", "");
    assert!(body.starts_with(b"d14:failure reason"));

    // Over UDP the key is in the options.
    let udp = tracker.udp();
    let with = |path: &str| udp.ask(&udp::announce(udp.id, 1, &leech(3), path));
    assert!(matches!(with(&format!("/{good}/announce")), Reply::Announce(_)));
    assert!(matches!(with(&format!("/{good}/announce?x=1")), Reply::Announce(_)));
    for bad in ["", "/announce", "/aaaa/announce", &format!("/{good}"), &"/x".repeat(400)] {
        assert!(matches!(with(bad), Reply::Error(_)), "{bad}");
    }
    assert!(matches!(udp.ask(&udp::scrape(udp.id, 1, &[HASH])), Reply::Error(_)));

    let (status, _) = tracker.admin(&state, "DELETE", &format!("/keys/{good}"), "");
    assert_eq!(status, 204);
    assert_eq!(tracker.announce(&format!("/{good}"), &leech(1)), Err(refused));
    assert_eq!(tracker.admin(&state, "DELETE", &format!("/keys/{good}"), "").0, 404);
}

#[test]
fn trap_20_a_trusted_proxy_is_believed() {
    let tracker = Tracker::start(Config { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..both() });
    let from = |header: &str| tracker.announce_with("", &leech(1), header);
    from("X-Forwarded-For: 198.51.100.9, 203.0.113.7\r\n").unwrap();
    let reply = from("X-Forwarded-For: 203.0.113.8, 127.0.0.3\r\n").unwrap();
    assert_eq!(reply.peers, ["203.0.113.7:1".parse::<SocketAddr>().unwrap()]);
    assert_eq!(reply.external_ip, Some("203.0.113.8".parse().unwrap()));
    let refused = from("X-Forwarded-For: nonsense\r\n").unwrap_err();
    assert!(matches!(refused, ReplyError::Failure { .. }), "{refused}");
    assert_eq!(from("").unwrap().incomplete, Some(3), "the proxy itself");
}
