//! What an operator sees: settings, metrics, readiness, and how it stops.

use harness::process::Signal;
use harness::sandbox::{Sandbox, events, free_port};
use harness::tracker::http::{Client, escape};
use harness::tracker::udp::Announce;
use harness::tracker::{BOTH_FAMILIES, LOOPBACK, Tracker};
use harness::wait::SOON;

const HASH: &[u8; 20] = b"operating a tracker!";

#[test]
fn metrics_tell_received_answered_refused_and_dropped_apart_for_each_listener() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &BOTH_FAMILIES);
    let (client, v6) = (tracker.client(), Client::new(tracker.http[1]));
    let udp = tracker.udp_client();
    client.join(HASH, 1, "left=0");
    v6.join(HASH, 2, "left=1");
    client.get(&format!("/scrape?info_hash={}", escape(HASH)));
    client.announce("info_hash=bad");
    for _ in 0..2 {
        udp.join(&Announce::leecher(*HASH, 3));
    }
    udp.scrape(&[*HASH]);
    udp.announce(&Announce::leecher(*HASH, 0));
    udp.assert_ignored(&[0; 20], "nonsense");
    udp.assert_ignored(&Announce::leecher(*HASH, 1).packet(udp.id ^ 1, 1), "a wrong id");

    let labels = |protocol: &str, listener: std::net::SocketAddr| {
        let family = if listener.is_ipv4() { "ipv4" } else { "ipv6" };
        [
            format!("protocol=\"{protocol}\""),
            format!("listener=\"{listener}\""),
            format!("family=\"{family}\""),
        ]
    };
    let value = |name: &str, labels: &[String], more: &str| {
        let mut labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        labels.push(more);
        tracker.metric(&format!("sprat_tracker_{name}"), &labels)
    };
    let on_udp = labels("udp", tracker.udp[0]);
    for (name, more, expected) in [
        ("answered_total", "kind=\"announce\"", 2.0),
        ("answered_total", "kind=\"scrape\"", 1.0),
        // One for the id, and one behind each of the packets that had to be ignored.
        ("answered_total", "kind=\"connect\"", 3.0),
        ("refused_total", "", 1.0),
        ("dropped_total", "reason=\"malformed\"", 1.0),
        ("dropped_total", "reason=\"connection_id\"", 1.0),
        ("received_total", "", 9.0),
    ] {
        assert_eq!(value(name, &on_udp, more), expected, "UDP {name} {more}");
    }
    let on_http = labels("http", tracker.http[0]);
    for (name, more, expected) in [
        ("answered_total", "kind=\"announce\"", 1.0),
        ("answered_total", "kind=\"scrape\"", 1.0),
        ("refused_total", "", 1.0),
        ("received_total", "", 3.0),
    ] {
        assert_eq!(value(name, &on_http, more), expected, "HTTP {name} {more}");
    }
    assert_eq!(value("answered_total", &labels("http", tracker.http[1]), "kind=\"announce\""), 1.0);
    for (name, labels, expected) in [
        ("torrents", "", 1.0),
        ("seeds", "", 1.0),
        ("leechers", "", 2.0),
        ("peers", "family=\"ipv4\"", 2.0),
        ("peers", "family=\"ipv6\"", 1.0),
    ] {
        assert_eq!(tracker.metric(&format!("sprat_tracker_{name}"), &[labels]), expected, "{name} {labels}");
    }
    assert!(tracker.metric("sprat_tracker_memory_bytes", &[]) > 0.0);

    let metrics = Client::new(tracker.metrics.unwrap());
    let text = String::from_utf8(metrics.get("/metrics").body).unwrap();
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit_once(' ').map(|(_, value)| value.parse::<f64>());
        assert!(matches!(value, Some(Ok(_))) && line.starts_with("sprat_tracker_"), "{line}");
    }
    for name in
        ["received", "answered", "refused", "dropped", "completed", "evicted_torrents", "expired_peers"]
    {
        assert!(text.contains(&format!("# TYPE sprat_tracker_{name} counter")), "{name}\n{text}");
    }
    for name in
        ["torrents", "seeds", "leechers", "peers", "memory_bytes", "http_connections", "uptime_seconds"]
    {
        assert!(text.contains(&format!("# TYPE sprat_tracker_{name} gauge")), "{name}\n{text}");
    }
    assert_eq!(metrics.get("/health").body, b"ok\n");
    assert_eq!(metrics.get("/announce").status, 404);
    assert_eq!(tracker.client().get("/metrics").status, 404, "not on the public listener");
    assert_eq!(tracker.client().get("/stats").status, 404);
}

#[test]
fn the_settings_in_force_can_be_printed_and_read_again() {
    let sandbox = Sandbox::new();
    let flags = [
        "--interval",
        "20m",
        "--deny-client",
        "-XL0012",
        "--deny-client",
        "-BAD",
        "--trust-proxy",
        "10.0.0.0/8",
        "--max-memory",
        "1GiB",
        "--max-numwant",
        "100",
    ];
    let print = |more: &[&str]| {
        let command = sandbox.sprat("tracker").args(more).arg("--print-config");
        command.run(SOON).expect(0).stdout()
    };
    let printed = print(&[&LOOPBACK[..], &flags].concat());
    assert!(printed.contains("[tracker]") && printed.contains("-XL0012"), "{printed}");
    std::fs::write(sandbox.path("sprat.toml"), &printed).unwrap();
    assert_eq!(print(&["--config", "sprat.toml"]), printed);
    // A flag is stronger than the environment, and that than the file.
    let with = |more: &[&str], env: Option<&str>| {
        let mut command =
            sandbox.sprat("tracker").args(["--config", "sprat.toml", "--print-config"]).args(more);
        if let Some(interval) = env {
            command = command.env("SPRAT_TRACKER_INTERVAL", interval);
        }
        let text = command.run(SOON).expect(0).stdout();
        text.lines().find(|line| line.starts_with("interval")).expect("an interval").to_owned()
    };
    let [file, env, flag] =
        [with(&[], None), with(&[], Some("25m")), with(&["--interval", "35m"], Some("25m"))];
    assert!(file != env && env != flag && file != flag, "{file} {env} {flag}");
    // What nobody knows is an error, and is named.
    std::fs::write(sandbox.path("bad.toml"), "[tracker]\nintervall = \"20m\"\n").unwrap();
    let refused = sandbox.sprat("tracker").args(["--config", "bad.toml"]).run(SOON).expect(3);
    assert!(refused.stderr().contains("intervall"), "{}", refused.stderr());
    // It also starts with it.
    let process = sandbox.sprat("tracker").args(["--json", "--config", "sprat.toml"]).spawn();
    Tracker::adopt(process).stop();
}

#[test]
fn it_says_when_it_is_ready_and_where_and_stops_when_told() {
    let sandbox = Sandbox::new();
    let process = sandbox.sprat("tracker").args(LOOPBACK).spawn();
    process.wait_line("tracking until stopped", SOON);
    // The two streams are read apart.
    process.wait_line("udp://", SOON);
    process.wait_line("metrics at", SOON);
    let said = process.lines();
    let out: Vec<_> = said
        .iter()
        .filter(|line| line.stream == harness::process::Stream::Out)
        .map(|line| &line.text)
        .collect();
    assert!(
        matches!(&out[..], [http, udp] if http.starts_with("http://127.0.0.1:") && http.ends_with("/announce")
        && udp.starts_with("udp://127.0.0.1:")),
        "{out:?}"
    );
    assert!(said.iter().any(|line| line.text.contains("metrics at http://127.0.0.1:")), "{said:?}");
    process.signal(Signal::INT);
    process.wait_exit(SOON).expect(0);

    let tracker = Tracker::start(&sandbox, &[]);
    tracker.process.signal(Signal::TERM);
    let ended = tracker.process.wait_exit(SOON).expect(0);
    assert_eq!(events(&ended.lines).last().unwrap()["event"], "stopped");
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let refused = sandbox.sprat("tracker").args(["--http", &taken]).run(SOON).expect(10);
    assert!(refused.stderr().contains(&taken), "{}", refused.stderr());
    let held = std::net::UdpSocket::bind(("127.0.0.1", free_port())).unwrap();
    let held = held.local_addr().unwrap().to_string();
    sandbox.sprat("tracker").args(["--udp", &held]).run(SOON).expect(10);
    for bad in [
        ["--http", "nowhere"],
        ["--interval", "soon"],
        ["--trust-proxy", "10.0.0.0/40"],
        ["--max-memory", "lots"],
    ] {
        sandbox.sprat("tracker").args(bad).run(SOON).expect(2);
    }
    sandbox.sprat("tracker").args(LOOPBACK).arg("--private").run(SOON).expect(3);
    // One process a state directory.
    let state = sandbox.path("state");
    let tracker = Tracker::start(&sandbox, &["--state", state.to_str().unwrap()]);
    let second = sandbox.sprat("tracker").args(LOOPBACK).arg("--state").arg(&state).run(SOON).expect(3);
    assert!(second.stderr().contains("state"), "{}", second.stderr());
    tracker.assert_alive();
}
