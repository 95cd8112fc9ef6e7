//! Who may use the tracker: lists of torrents and clients, keys, and the admin API that changes them.

use std::os::unix::fs::PermissionsExt as _;

use harness::process::Signal;
use harness::sandbox::Sandbox;
use harness::tracker::http::{Client, Reply, failure, peers, query};
use harness::tracker::udp::{self, Announce};
use harness::tracker::{LOOPBACK, Tracker};
use harness::wait::{self, SOON};
use serde_json::{Value, json};

const A: &[u8; 20] = b"aaaaaaaaaaaaaaaaaaaa";
const B: &[u8; 20] = b"bbbbbbbbbbbbbbbbbbbb";
const C: &[u8; 20] = b"cccccccccccccccccccc";

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a peer of it is taken.
fn takes(tracker: &Tracker, hash: &[u8; 20]) -> bool {
    let reply = tracker.client().announce(&query(hash, 1, "left=1"));
    let refused = failure(&reply).is_some();
    if refused {
        assert_eq!(reply.string("retry in"), Some(&b"never"[..]), "BEP 31: it will never do");
    }
    let udp = tracker.udp_client().announce(&Announce::leecher(*hash, 1));
    assert_eq!(matches!(udp, udp::Reply::Error(_)), refused, "both protocols agree: {udp:?}");
    !refused
}

/// The admin API, with its token.
struct Admin {
    client: Client,
    token: String,
}

impl Admin {
    fn of(tracker: &Tracker, state: &std::path::Path) -> Self {
        let token = std::fs::read_to_string(state.join("admin.token")).expect("the token");
        Self { client: Client::new(tracker.admin.expect("an admin API")), token: token.trim().to_owned() }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let (token, length) = (&self.token, body.len());
        self.client.raw(format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\nConnection: close\r\n\r\n{body}"
        ))
    }

    #[track_caller]
    fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let reply = self.ask(method, path, body);
        assert!(
            reply.status < 300,
            "{method} {path}: {} {}",
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
        serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
    }
}

#[test]
fn lists_of_torrents_hold_at_the_same_time_and_are_read_again_on_sighup() {
    let sandbox = Sandbox::new();
    let [allow, deny] = ["allow", "deny"].map(|name| sandbox.path(name));
    let long = format!("{}{}", hex(C), "00".repeat(12));
    std::fs::write(
        &allow,
        format!("# ours\n\n{}\n  {}  # and this\n{long}\n", hex(A), hex(B).to_uppercase()),
    )
    .unwrap();
    std::fs::write(&deny, format!("{}\n", hex(B))).unwrap();
    let lists = ["--allow", allow.to_str().unwrap(), "--deny", deny.to_str().unwrap()];
    let tracker = Tracker::start(&sandbox, &lists);
    assert!(takes(&tracker, A));
    assert!(!takes(&tracker, B), "deny wins");
    assert!(takes(&tracker, C), "a v2 hash is known by its first 20 bytes (BEP 52)");
    assert!(!takes(&tracker, b"dddddddddddddddddddd"));

    std::fs::write(&allow, hex(B)).unwrap();
    std::fs::write(&deny, "").unwrap();
    tracker.process.signal(Signal::HUP);
    // By one protocol: the lists may change between two questions.
    let taken = || failure(&tracker.client().announce(&query(B, 1, "left=1"))).is_none();
    wait::until("the new lists", SOON, || taken().then_some(()));
    assert!(takes(&tracker, B) && !takes(&tracker, A));
    // A file that won't do leaves all as it was, and the log says which line.
    let lines = tracker.process.lines().len();
    std::fs::write(&allow, format!("{}\nnonsense\n", hex(A))).unwrap();
    tracker.process.signal(Signal::HUP);
    let said = tracker.process.wait_for("a complaint", SOON, |said| {
        said[lines..].iter().find(|line| line.text.contains("allow")).map(|line| line.text.clone())
    });
    assert!(said.contains('2'), "the line's number: {said}");
    assert!(takes(&tracker, B) && !takes(&tracker, A));
    tracker.stop();
    // At the start it is an error.
    let refused = sandbox.sprat("tracker").args(LOOPBACK).args(lists).run(SOON).expect(3);
    assert!(refused.stderr().contains("allow"), "{}", refused.stderr());
    sandbox.sprat("tracker").args(LOOPBACK).args(["--deny", "is-not-there"]).run(SOON).expect(3);
}

#[test]
fn the_admin_api_changes_the_lists() {
    let sandbox = Sandbox::new();
    let (state, allow) = (sandbox.path("state"), sandbox.path("allow"));
    std::fs::write(&allow, hex(A)).unwrap();
    let arguments = ["--state", state.to_str().unwrap(), "--allow", allow.to_str().unwrap()];
    let tracker = Tracker::start(&sandbox, &arguments);
    assert!(tracker.admin.unwrap().ip().is_loopback());
    let mode = std::fs::metadata(state.join("admin.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let admin = Admin::of(&tracker, &state);
    // Without the token, or with another, nothing is told.
    for header in [
        "X-Nothing: 1",
        "Authorization: Bearer 00000000",
        "Authorization: Bearer ",
        "Authorization: Basic YTpi",
    ] {
        assert_eq!(admin.client.clone().header(header).get("/keys").status, 401, "{header}");
    }
    assert_eq!(admin.client.get("/health").status, 200);
    // No other listener has it.
    assert_eq!(tracker.client().get("/keys").status, 404);

    let (in_a, in_b) = (format!("/allow/{}", hex(A)), format!("/allow/{}", hex(B)));
    assert!(!takes(&tracker, B));
    assert_eq!(admin.ask("PUT", &in_b, "").status, 204);
    assert!(takes(&tracker, B));
    assert_eq!(admin.json("GET", "/allow", "")["info_hashes"], json!([hex(A), hex(B)]));
    assert_eq!(admin.ask("DELETE", &in_a, "").status, 409, "it stands in the file");
    assert_eq!(admin.ask("DELETE", &format!("/allow/{}", hex(C)), "").status, 404);
    assert_eq!(admin.ask("PUT", "/allow/nonsense", "").status, 400);
    assert_eq!(admin.json("GET", &format!("/torrents/{}", hex(B)), "")["incomplete"], 1);
    // Deny wins, and the swarm goes.
    assert_eq!(admin.ask("PUT", &format!("/deny/{}", hex(B)), "").status, 204);
    assert!(!takes(&tracker, B));
    assert_eq!(admin.json("GET", &format!("/torrents/{}", hex(B)), "")["incomplete"], 0);
    assert_eq!(tracker.client().scrape(B).incomplete, 0);
    // What was said at run time is kept across a restart, kill -9 or not.
    tracker.process.kill();
    let tracker = Tracker::start(&sandbox, &arguments);
    assert!(takes(&tracker, A) && !takes(&tracker, B));
    let admin = Admin::of(&tracker, &state);
    assert_eq!(admin.ask("DELETE", &format!("/deny/{}", hex(B)), "").status, 204);
    assert!(takes(&tracker, B));
    assert_eq!(admin.ask("DELETE", &in_b, "").status, 204);
    assert!(!takes(&tracker, B));
    std::fs::write(&allow, "nonsense").unwrap();
    assert_eq!(admin.ask("POST", "/reload", "").status, 400);
    std::fs::write(&allow, hex(C)).unwrap();
    assert_eq!(admin.ask("POST", "/reload", "").status, 204);
    assert!(takes(&tracker, C) && !takes(&tracker, A));
    assert_eq!(admin.json("GET", "/stats", "")["torrents"], tracker.stats()["torrents"]);
}

#[test]
fn without_an_allow_list_there_is_none_to_add_to() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state");
    let tracker = Tracker::start(&sandbox, &["--state", state.to_str().unwrap()]);
    let admin = Admin::of(&tracker, &state);
    assert_eq!(admin.ask("PUT", &format!("/allow/{}", hex(A)), "").status, 409);
    assert_eq!(admin.ask("PUT", &format!("/deny/{}", hex(A)), "").status, 204);
    assert!(!takes(&tracker, A));
    assert!(takes(&tracker, B));
}

#[test]
fn clients_are_refused_by_how_their_peer_ids_begin() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &["--deny-client", "-XL0012", "--deny-client", "-BAD"]);
    for (id, taken) in [
        ("-XL0012-aaaaaaaaaaaa", false),
        ("-XL0013-aaaaaaaaaaaa", true),
        ("-BADx--aaaaaaaaaaaaa", false),
        ("-bad---aaaaaaaaaaaaa", true),
        ("x-BAD--aaaaaaaaaaaaa", true),
    ] {
        let asked = query(A, 1, "left=1").replace("-XX0001-000000000001", id);
        let reply = tracker.client().announce(&asked);
        assert_eq!(failure(&reply).is_none(), taken, "{id}");
        let udp = tracker.udp_client();
        let announce = Announce { peer_id: id.as_bytes().try_into().unwrap(), ..Announce::leecher(*A, 1) };
        let reply = udp.announce(&announce);
        assert_eq!(matches!(reply, udp::Reply::Announce { .. }), taken, "{id}: {reply:?}");
    }
}

/// BEP 41: what stands behind the host in the tracker's URL.
fn url_data(path: &str) -> Vec<u8> {
    [&[2, path.len() as u8][..], path.as_bytes()].concat()
}

#[test]
fn a_private_tracker_serves_those_who_have_a_key_over_http_and_udp() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state");
    let state = state.to_str().unwrap();
    // Before it runs, keys are made directly.
    let key = |arguments: &[&str]| {
        let said = sandbox.sprat("tracker").arg("key").args(arguments).args(["--state", state]).run(SOON);
        said.expect(0).stdout().trim().to_owned()
    };
    let early = key(&["create", "--comment", "the first"]);
    let tracker = Tracker::start(&sandbox, &["--private", "--state", state]);
    let late = key(&["create", "--expires", "30d"]);
    for good in [&early, &late] {
        assert!(
            good.len() == 32 && good.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')),
            "{good}"
        );
    }
    let listed = key(&["list"]);
    assert!(listed.contains(&early) && listed.contains(&late) && listed.contains("the first"), "{listed}");

    let member = tracker.client().prefix(&format!("/{early}"));
    member.join(A, 1, "left=0");
    assert_eq!(member.scrape(A).complete, 1);
    let udp = tracker.udp_client();
    let announce = Announce::leecher(*A, 2);
    let path = format!("/{late}/announce");
    let listed = match udp.announce_with(&announce, &url_data(&path)) {
        udp::Reply::Announce { peers, .. } => peers,
        other => panic!("{other:?}"),
    };
    assert_eq!(listed.len(), 1);
    // In two parts, as BEP 41 allows.
    let (one, two) = path.split_at(9);
    let reply = udp.announce_with(&announce, &[url_data(one), url_data(two), vec![0]].concat());
    assert!(matches!(reply, udp::Reply::Announce { .. }), "{reply:?}");

    // Everybody else hears the same words, whatever is wrong.
    let revoked = key(&["create"]);
    let passing = tracker.client().prefix(&format!("/{revoked}"));
    passing.join(B, 1, "left=1");
    key(&["revoke", &revoked]);
    let unknown = "a".repeat(32);
    let refusals: Vec<_> = [
        "",
        "/",
        &format!("/{unknown}"),
        &format!("/{revoked}"),
        "/x",
        &format!("/{}", early.to_uppercase()),
    ]
    .iter()
    .map(|prefix| {
        let reply = tracker.client().prefix(prefix).announce(&query(A, 9, "left=1"));
        failure(&reply).unwrap_or_else(|| panic!("{prefix} is let in"))
    })
    .collect();
    assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{refusals:?}");
    for options in [
        vec![],
        url_data("/announce"),
        url_data(&format!("/{revoked}/announce")),
        url_data(&format!("/{unknown}/announce")),
    ] {
        assert!(matches!(udp.announce_with(&announce, &options), udp::Reply::Error(_)), "{options:02x?}");
    }
    let transaction = udp::transaction();
    let scrape = [&udp::head(udp.id, 2, transaction)[..], A].concat();
    assert!(matches!(udp.ask(&scrape, transaction), udp::Reply::Error(_)), "a scrape has no place for a key");
    let reply = tracker
        .client()
        .get(&format!("/scrape?info_hash={}", harness::tracker::http::escape(A)))
        .dictionary();
    assert!(failure(&reply).is_some());
    sandbox.sprat("tracker").args(["key", "revoke", &unknown, "--state", state]).run(SOON).expect(1);

    // kill -9: the keys are there again.
    tracker.process.kill();
    let tracker = Tracker::start(&sandbox, &["--private", "--state", state]);
    tracker.client().prefix(&format!("/{late}")).join(A, 5, "left=1");
    assert!(
        failure(&tracker.client().prefix(&format!("/{revoked}")).announce(&query(A, 9, "left=1"))).is_some()
    );
}

#[test]
fn a_key_of_the_admin_api_expires_when_it_says_so() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state");
    let tracker = Tracker::start(&sandbox, &["--private", "--state", state.to_str().unwrap()]);
    let admin = Admin::of(&tracker, &state);
    let made = admin.ask("POST", "/keys", r#"{"expires_s":2,"comment":"soon over"}"#);
    assert_eq!(made.status, 201);
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let (created, expires) = (made["created"].as_u64().unwrap(), made["expires"].as_u64().unwrap());
    assert!((1..=3).contains(&(expires - created)), "{made}");
    let client = tracker.client().prefix(&format!("/{}", made["key"].as_str().unwrap()));
    assert!(peers(&client.join(A, 1, "left=1")).is_empty());
    wait::until("the end of a key", SOON, || failure(&client.announce(&query(A, 1, "left=1"))));
    let forever = admin.json("POST", "/keys", "");
    assert_eq!(forever["expires"], Value::Null);
    let path = format!("/keys/{}", forever["key"].as_str().unwrap());
    assert_eq!(admin.ask("DELETE", &path, "").status, 204);
    assert_eq!(admin.ask("DELETE", &path, "").status, 404);
    assert_eq!(admin.ask("POST", "/keys", "{nonsense").status, 400);
}
