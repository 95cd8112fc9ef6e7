//! A million packets that mean nothing, and clients that get their answers all the same.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::require::say;
use harness::sandbox::Sandbox;
use harness::tracker::Tracker;
use harness::tracker::udp::{Announce, Client, MAGIC, Reply, head, transaction};
use harness::wait::Stopwatch;

const PACKETS: u64 = 1_000_000;

/// A second, at most.
const RATE: u64 = 100_000;

/// How long a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn a_million_malformed_packets_leave_clients_served_and_the_swarms_as_they_were() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let udp = tracker.udp_client();
    for port in 1..=10 {
        udp.join(&Announce::seed([7; 20], port));
    }
    let before = tracker.stats();
    let over = AtomicBool::new(false);
    let (mut asked, mut answered) = (0u32, 0u32);
    let stopwatch = Stopwatch::start();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            flood(&tracker);
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            asked += 1;
            answered += u32::from(is_served(&tracker));
        }
    });
    let share = f64::from(answered) / f64::from(asked);
    let seconds = stopwatch.elapsed().as_secs_f64();
    say(&format!(
        "flood: {PACKETS} malformed packets in {seconds:.1} s; {answered} of {asked} clients were answered within a second"
    ));
    assert!(asked >= 20, "{asked} clients asked");
    assert!(share >= 0.99, "{answered} of {asked}");
    let after = tracker.stats();
    for key in ["torrents", "peers", "seeds", "leechers", "completed"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(udp.scrape(&[[7; 20]]), [[10, 0, 0]]);
    let received = tracker.metric("sprat_tracker_received_total", &["protocol=\"udp\""]);
    let dropped = tracker.metric("sprat_tracker_dropped_total", &["protocol=\"udp\""]);
    assert!(received >= dropped && dropped > 0.0, "{received} received, {dropped} dropped");
}

/// A new client connects and asks for peers, both within its patience.
fn is_served(tracker: &Tracker) -> bool {
    let client = Client::new(tracker.udp[0]);
    client.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |packet: &[u8]| {
        client.socket.send(packet).unwrap();
        client.receive().map(|bytes| client.parse(&bytes))
    };
    let Some(Reply::Connect(id)) = ask(&head(MAGIC, 0, transaction())) else { return false };
    // As a seed that leaves: it changes nothing.
    let announce = Announce { event: 3, ..Announce::seed([7; 20], 99) };
    matches!(ask(&announce.packet(id, transaction())), Some(Reply::Announce { .. }))
}

fn flood(tracker: &Tracker) {
    let sockets: Vec<_> = (0..16)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(tracker.udp[0]).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(1_000_000);
    let mut bytes = vec![0; 2048];
    random.fill(&mut bytes);
    let announce = Announce::leecher([9; 20], 1).packet(0x0123_4567_89ab_cdef, 1);
    let wrong = [
        head(MAGIC, 7, 1),
        head(MAGIC ^ 1, 0, 1),
        head(0x0123_4567_89ab_cdef, 2, 1),
        announce[..97].to_vec(),
        announce,
    ];
    let stopwatch = Stopwatch::start();
    let mut sent = 0u64;
    while sent < PACKETS {
        // As fast as it may, or as it can.
        if sent > stopwatch.elapsed().as_micros() as u64 * RATE / 1_000_000 {
            std::thread::yield_now();
            continue;
        }
        for socket in &sockets {
            let packet = match random.usize(0..2 * wrong.len()) {
                kind if kind < wrong.len() => &wrong[kind],
                _ => {
                    let from = random.usize(0..1024);
                    &bytes[from..from + random.usize(0..1024)]
                }
            };
            // A full buffer drops it, as a network would.
            let _ = socket.send(packet);
            sent += 1;
        }
    }
}
