//! Several nodes that share their swarms by way of a real Redis server.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use redis::streams::StreamRangeReply;
use redis::{Commands as _, RedisResult};
use tempfile::TempDir;
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};
use tracker::swarm::Heard;
use tracker::{Config, RedisConfig};

use crate::harness::{HASH, Tracker, both, leech};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Redis server that keeps nothing; ends with the test.
struct Redis(Child);

impl Redis {
    /// `None`: there is none on this machine.
    fn start(dir: &Path, port: u16) -> Option<Self> {
        let port_text = port.to_string();
        let options =
            ["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"];
        let server = Command::new("redis-server").args(options).arg(dir).stdout(Stdio::null()).spawn();
        let server = Self(server.ok()?);
        wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(server)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test must end")]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody is given while the server is away: below those that the system hands out.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    let ports = std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Relaxed)) % 10_000);
    ports.take(10_000).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap()
}

fn node(port: u16) -> Tracker {
    let url = format!("redis://127.0.0.1:{port}/0");
    let sync_every = Duration::from_millis(50);
    Tracker::start(Config { redis: Some(RedisConfig { url, sync_every }), ..both() })
}

#[test]
fn two_nodes_are_one_tracker_and_go_on_without_redis() {
    let (dir, port) = (TempDir::new().unwrap(), free_port());
    let Some(redis) = Redis::start(dir.path(), port) else {
        assert!(std::env::var_os("SPRAT_REQUIRE_PEERS").is_none(), "redis-server is not installed");
        eprintln!("skipped: redis-server is not installed");
        return;
    };
    let (one, two) = (node(port), node(port));
    one.announce("", &AnnounceRequest { left: 0, ..leech(1) }).unwrap();
    two.announce("", &leech(2)).unwrap();
    for node in [&one, &two] {
        wait_until("it knows both", || node.scrape(HASH) == (1, 1, 0));
    }
    assert_eq!(two.announce("", &leech(2)).unwrap().peers.len(), 1);
    // What one was told of a peer, the other knows when it completes.
    one.announce("", &AnnounceRequest { left: 0, event: AnnounceEvent::Completed, ..leech(2) }).unwrap();
    for node in [&one, &two] {
        wait_until("it is completed, once", || node.scrape(HASH) == (2, 0, 1));
    }
    // A connection id of one is good at the other.
    let (a, b) = (one.udp(), two.udp());
    let packet = torrent_format::announce::udp::announce(a.id, 1, &leech(3), "");
    assert!(matches!(b.ask(&packet), torrent_format::announce::udp::Reply::Announce(_)));
    wait_until("it knows all", || one.scrape(HASH) == (2, 1, 1));

    drop(redis);
    one.announce("", &leech(4)).unwrap();
    two.announce("", &AnnounceRequest { event: AnnounceEvent::Stopped, ..leech(3) }).unwrap();
    assert_eq!(one.announce("", &leech(4)).unwrap().peers.len(), 3, "what it knew");

    // It comes back empty: each hears what the other was told, and a third hears all.
    let redis = Redis::start(dir.path(), port).expect("it started before");
    for node in [&one, &two] {
        wait_until("it has healed", || node.scrape(HASH) == (2, 1, 1));
    }
    let three = node(port);
    wait_until("the third knows all", || three.scrape(HASH) == (2, 1, 1));
    drop(redis);
}

/// What one node tells anew when the server is back may come behind what another was told meanwhile.
#[test]
fn who_left_while_redis_was_away_stays_away() {
    let (dir, port) = (TempDir::new().unwrap(), free_port());
    let node = node(port);
    node.announce("", &leech(3)).unwrap();
    node.announce("", &AnnounceRequest { event: AnnounceEvent::Stopped, ..leech(3) }).unwrap();
    let Some(_redis) = Redis::start(dir.path(), port) else {
        assert!(std::env::var_os("SPRAT_REQUIRE_PEERS").is_none(), "redis-server is not installed");
        eprintln!("skipped: redis-server is not installed");
        return;
    };
    let mut redis = redis::Client::open(format!("redis://127.0.0.1:{port}/0")).unwrap();
    wait_until("the node has told of the departure", || {
        let stream: RedisResult<StreamRangeReply> = redis.xrange_all("sprat:announces");
        let batches = stream.into_iter().flat_map(|stream| stream.ids).filter_map(|entry| entry.get("a"));
        batches.into_iter().any(|batch: Vec<u8>| {
            let mut rest = &batch[..];
            std::iter::from_fn(|| Heard::read(rest).map(|(heard, behind)| (rest = behind, heard).1))
                .any(|heard| heard.is_stopped())
        })
    });

    // Another node, which knows nothing of the departure.
    let a_second_ago = SystemTime::UNIX_EPOCH.elapsed().unwrap() - Duration::from_secs(1);
    let mut batch = Vec::new();
    for port in [3, 9] {
        Heard::of(a_second_ago, ([127, 0, 0, 1], port).into(), &leech(port), false).write(&mut batch);
    }
    let fields: [(&str, &[u8]); 2] = [("n", b"1"), ("a", &batch)];
    let _: String = redis.xadd("sprat:announces", "*", &fields).unwrap();
    wait_until("the node hears of the other", || node.scrape(HASH) != (0, 0, 0));
    let reply = node.announce("", &leech(4)).unwrap();
    assert_eq!(reply.peers.iter().map(SocketAddr::port).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_node_starts_without_redis_and_waits_for_it() {
    // Somebody else listens there, and says nothing that makes sense.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let nonsense = std::thread::spawn(move || {
        for _ in 0..2 {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        }
    });
    let node = node(port);
    node.announce("", &leech(1)).unwrap();
    assert_eq!(node.scrape(HASH), (0, 1, 0));
    nonsense.join().unwrap();
    node.stop();
}
