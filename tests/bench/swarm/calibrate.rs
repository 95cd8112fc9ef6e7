//! What the wire itself takes: headers of Ethernet, IP and TCP, acknowledgements, and what TCP leaves unused. It is no client's fault, so all
//! bounds are divided by it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::netns::{Host, Network};
use harness::wait::{self, SOON, Stopwatch};

const PORT: u16 = 7000;

/// Until TCP has found its rate.
const WARM_UP: Duration = Duration::from_secs(3);

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(8);

/// What a plain transfer, both ways at once between two hosts of this uplink, in bits a second, brings over as a share of that.
pub(crate) fn efficiency(up: u64, down: u64, congestion: &str) -> f64 {
    let network = Network::new();
    let hosts = [network.host(), network.host()];
    for host in &hosts {
        host.shape(up, down);
        host.set_congestion_control(congestion);
    }
    let received = [AtomicU64::new(0), AtomicU64::new(0)];
    let over = AtomicBool::new(false);
    let bytes = || received.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<u64>();
    std::thread::scope(|scope| {
        for (host, received) in hosts.iter().zip(&received) {
            let listener = host.run(|| TcpListener::bind((host.address(), PORT))).expect("the port is free");
            let over = &over;
            scope.spawn(move || take(&listener, received, over));
        }
        for (from, to) in [(&hosts[0], &hosts[1]), (&hosts[1], &hosts[0])] {
            let over = &over;
            scope.spawn(move || give(from, to, over));
        }
        wait::moment(WARM_UP);
        let (before, clock) = (bytes(), Stopwatch::start());
        wait::moment(MEASURED);
        let (rate, wire) = ((bytes() - before) as f64 / clock.elapsed().as_secs_f64(), 2 * up / 8);
        over.store(true, Ordering::Relaxed);
        rate / wire as f64
    })
}

fn take(listener: &TcpListener, received: &AtomicU64, over: &AtomicBool) {
    let (mut stream, _) = listener.accept().expect("the other host connects");
    stream.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    let mut buffer = vec![0; 64 << 10];
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => _ = received.fetch_add(count as u64, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The other end is over too.
            Err(_) => break,
        }
    }
}

fn give(from: &Host, to: &Host, over: &AtomicBool) {
    let addr = SocketAddr::new(to.address(), PORT);
    let mut stream = from.run(|| TcpStream::connect_timeout(&addr, SOON)).expect("the other host listens");
    stream.set_write_timeout(Some(SOON)).expect("a socket takes a timeout");
    let bytes = vec![0x5a; 16 << 10];
    // Fails once the other end is over.
    while !over.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {}
}
