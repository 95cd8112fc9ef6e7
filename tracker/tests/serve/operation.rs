//! What is kept, and what an operator sees and does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tempfile::TempDir;
use torrent_format::InfoHash;
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};
use tracker::{Config, ServeError};

use crate::harness::{HASH, Tracker, both, http, leech};

#[test]
fn swarms_counts_keys_and_lists_outlive_a_restart() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let config = || Config { state: Some(state.clone()), ..both() };
    let tracker = Tracker::start(config());
    tracker.announce("", &leech(1)).unwrap();
    tracker.announce("", &AnnounceRequest { left: 0, event: AnnounceEvent::Completed, ..leech(1) }).unwrap();
    tracker.announce("", &leech(2)).unwrap();
    let (status, key) = tracker.admin(&state, "POST", "/keys", r#"{"comment": "Ann"}"#);
    assert_eq!((status, &key["comment"]), (201, &json!("Ann")));
    let denied = InfoHash([b'd'; 20]);
    assert_eq!(tracker.admin(&state, "PUT", &format!("/deny/{denied}"), "").0, 204);
    let token = fs::read_to_string(state.join("admin.token")).unwrap();
    tracker.stop();

    let tracker = Tracker::start(config());
    assert_eq!(tracker.scrape(HASH), (1, 1, 1));
    assert_eq!(tracker.announce("", &leech(3)).unwrap().peers.len(), 2);
    assert_eq!(tracker.admin(&state, "GET", "/keys", "").1["keys"], json!([key]));
    assert_eq!(tracker.admin(&state, "GET", "/deny", "").1, json!({"info_hashes": [denied.to_string()]}));
    assert!(tracker.announce("", &AnnounceRequest { info_hash: denied, ..leech(1) }).is_err());
    assert_eq!(fs::read_to_string(state.join("admin.token")).unwrap(), token);
}

#[test]
fn what_a_killed_tracker_wrote_is_there() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let config = || Config { state: Some(state.clone()), ..both() };
    let tracker = Tracker::start(config());
    tracker.announce("", &leech(1)).unwrap();
    assert_eq!(tracker.admin(&state, "POST", "/save", "").0, 204);
    // As it is left by one that is killed just now: a copy of what is on disk.
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["swarms.snapshot", "admin.token"] {
        fs::copy(state.join(name), copy.join(name)).unwrap();
    }
    fs::write(copy.join("swarms.snapshot.new"), "half of").unwrap();
    let mut journal = [0xcc; 24 + 5];
    (journal[20], journal[21], journal[22], journal[23]) = (7, 0, 0, 0);
    fs::write(copy.join("completed.journal"), journal).unwrap();

    let again = Tracker::start(Config { state: Some(copy), ..both() });
    assert_eq!(again.scrape(HASH), (0, 1, 0));
    assert_eq!(again.scrape(InfoHash([0xcc; 20])), (0, 0, 7), "the whole record; half of one is ignored");
}

#[test]
fn a_state_directory_is_for_one() {
    let dir = TempDir::new().unwrap();
    let config = || Config { state: Some(dir.path().to_owned()), ..both() };
    let _tracker = Tracker::start(config());
    match Tracker::try_start(config()).map(drop) {
        Err(ServeError::Configuration(problem)) => {
            assert!(problem.ends_with("another tracker keeps its state here"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("admin.token"), 0o600);
    match Tracker::try_start(Config { private: true, ..both() }).map(drop) {
        Err(ServeError::Configuration(problem)) => assert!(problem.contains("--state"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn h50_the_admin_api_takes_the_token_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let tracker = Tracker::start(Config { state: Some(dir.path().to_owned()), ..both() });
    let admin = tracker.server.admin_addr().unwrap();
    assert!(admin.ip().is_loopback());
    for header in
        ["", "Authorization: Bearer \r\n", "Authorization: Bearer 00\r\n", "Authorization: Basic YTpi\r\n"]
    {
        for (method, path) in [("GET", "/keys"), ("POST", "/keys"), ("GET", "/stats"), ("POST", "/save")] {
            assert_eq!(http(admin, method, path, header, "").0, 401, "{header}{path}");
        }
    }
    assert_eq!(http(admin, "GET", "/health", "", ""), (200, b"ok\n".to_vec()));
    let ask = |method: &str, path: &str, body: &str| tracker.admin(dir.path(), method, path, body).0;
    assert_eq!(ask("POST", "/keys", "nonsense"), 400);
    assert_eq!(ask("POST", "/keys", r#"{"expires": 5}"#), 400);
    assert_eq!(ask("PUT", "/deny/12", ""), 400);
    assert_eq!(ask("PUT", &format!("/allow/{HASH}"), ""), 409, "there is no such list");
    assert_eq!(ask("DELETE", &format!("/deny/{HASH}"), ""), 404);
    assert_eq!(ask("GET", "/nothing", ""), 404);
}

#[test]
fn an_operator_sees_what_came_and_what_became_of_it() {
    let local = "127.0.0.1:0".parse().unwrap();
    let tracker = Tracker::start(Config { metrics: Some(local), ..both() });
    let udp = tracker.udp();
    udp.peers(&leech(1));
    udp.announce(&leech(0));
    udp.assert_silence(&torrent_format::announce::udp::announce(1, 2, &leech(1), ""));
    tracker.announce("", &leech(2)).unwrap();
    tracker.announce("", &leech(0)).unwrap_err();

    let metrics = tracker.server.metrics_addr().unwrap();
    let (status, body) = http(metrics, "GET", "/metrics", "", "");
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 200);
    let value = |name: &str, labels: &[&str]| {
        let line = text.lines().find(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    };
    let udp_labels = ["protocol=\"udp\"", "family=\"ipv4\""];
    let with = |more: &'static str| [udp_labels[0], udp_labels[1], more];
    assert_eq!(value("sprat_tracker_received_total", &udp_labels), Some(4.0), "{text}");
    assert_eq!(value("sprat_tracker_answered_total", &with("kind=\"connect\"")), Some(1.0));
    assert_eq!(value("sprat_tracker_answered_total", &with("kind=\"announce\"")), Some(1.0));
    assert_eq!(value("sprat_tracker_refused_total", &udp_labels), Some(1.0));
    assert_eq!(value("sprat_tracker_dropped_total", &with("reason=\"connection_id\"")), Some(1.0));
    assert_eq!(value("sprat_tracker_received_total", &["protocol=\"http\""]), Some(2.0));
    assert_eq!(value("sprat_tracker_refused_total", &["protocol=\"http\""]), Some(1.0));
    assert_eq!(value("sprat_tracker_torrents", &[]), Some(1.0));
    assert_eq!(value("sprat_tracker_leechers", &[]), Some(2.0));
    assert_eq!(value("sprat_tracker_peers", &["family=\"ipv4\""]), Some(2.0));
    assert!(value("sprat_tracker_memory_bytes", &[]).unwrap() > 0.0);
    assert!(value("sprat_tracker_uptime_seconds", &[]).is_some());
    assert!(text.ends_with("# EOF\n"));

    let (_, body) = http(metrics, "GET", "/stats", "", "");
    let stats: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&stats["schema"], &stats["torrents"], &stats["peers"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!(http(metrics, "GET", "/health", "", "").0, 200);
    assert_eq!(http(metrics, "GET", "/announce", "", "").0, 404);
}
