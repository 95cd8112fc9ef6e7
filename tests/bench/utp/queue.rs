//! How long packets wait in a host's uplink: [`Probe`] sends some through it, which come back by a way on which nothing waits.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::netns::Host;
use harness::wait::{self, Stopwatch};

const PORT: u16 = 9000;

/// Between two of them. They take a hundredth of the line.
const INTERVAL: Duration = Duration::from_millis(50);

/// Until the first has come back, whose way has to be found.
const TRIES: u32 = 20;

/// What has not come back by then was lost in a full queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// A measurement that goes on.
pub(crate) struct Probe {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<f64>>>,
}

impl Probe {
    pub(crate) fn start(from: &Host, by: &Host) -> Self {
        let bind = |host: &Host| {
            let addr = SocketAddr::new(host.address(), PORT);
            let socket = host.run(|| UdpSocket::bind(addr)).expect("the port is free");
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
            socket
        };
        let (sender, echo, to) = (bind(from), bind(by), SocketAddr::new(by.address(), PORT));
        find_way(&sender, &echo, to);
        for socket in [&sender, &echo] {
            socket.set_read_timeout(Some(INTERVAL)).expect("a socket takes a timeout");
        }
        let receiver = sender.try_clone().expect("a socket can be shared");
        let over = Arc::new(AtomicBool::new(false));
        let clock = Stopwatch::start();
        let threads = vec![
            spawn(&over, move |over| {
                while !over.load(Ordering::Relaxed) {
                    let _ = sender.send_to(&clock.elapsed().as_nanos().to_be_bytes(), to);
                    wait::moment(INTERVAL);
                }
                vec![]
            }),
            spawn(&over, move |over| {
                let mut buffer = [0; 16];
                while !over.load(Ordering::Relaxed) {
                    if let Ok((16, from)) = echo.recv_from(&mut buffer) {
                        let _ = echo.send_to(&buffer, from);
                    }
                }
                vec![]
            }),
            spawn(&over, move |over| {
                let (mut waits, mut buffer) = (vec![], [0; 16]);
                while !over.load(Ordering::Relaxed) {
                    if let Ok((16, _)) = receiver.recv_from(&mut buffer) {
                        let sent = Duration::from_nanos(u128::from_be_bytes(buffer) as u64);
                        let waited = clock.elapsed().saturating_sub(sent);
                        if waited < PATIENCE {
                            waits.push(waited.as_secs_f64() * 1_000.0);
                        }
                    }
                }
                waits
            }),
        ];
        Self { over, threads }
    }

    /// How long each of them took, in milliseconds.
    pub(crate) fn stop(self) -> Vec<f64> {
        self.over.store(true, Ordering::Relaxed);
        let waits = self.threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        waits.flatten().collect()
    }
}

/// Hosts ask each other for their addresses before the first packet goes, and it waits meanwhile, but not in the queue.
fn find_way(sender: &UdpSocket, echo: &UdpSocket, to: SocketAddr) {
    let found = (0..TRIES).any(|_| {
        let _ = sender.send_to(&[], to);
        let asked = echo.recv_from(&mut [0]);
        asked.is_ok_and(|(_, from)| echo.send_to(&[], from).is_ok() && sender.recv_from(&mut [0]).is_ok())
    });
    assert!(found, "no packet comes back by way of {to}");
}

/// A thread that works until it is over, and what it has measured.
fn spawn(
    over: &Arc<AtomicBool>,
    work: impl FnOnce(&AtomicBool) -> Vec<f64> + Send + 'static,
) -> JoinHandle<Vec<f64>> {
    let over = Arc::clone(over);
    std::thread::spawn(move || work(&over))
}
