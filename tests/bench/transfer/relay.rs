//! A long path, in user space: whatever is sent to it goes on to another address after half a round trip, no faster than the link is.
//! It knows no loss, and both ends see a TCP that acknowledges at once: what is measured is whether a client asks for enough in advance.
#![expect(clippy::disallowed_methods, reason = "a link in real time")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bits a second, in each direction.
pub(crate) const RATE: f64 = 100e6;

/// There and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Bytes that are taken from a sender at a time.
const CHUNK: usize = 16 << 10;

/// Chunks that are on their way at most: more than fit into the path, so that only a receiver that does not read is felt.
const ON_THE_WAY: usize = 128;

/// A router's queue before the link: half of what fits into the round trip.
const QUEUE: usize = 640 << 10;

/// So late may a chunk be taken without loss for those behind: the machine was busy.
const SLACK: Duration = Duration::from_millis(10);

/// Takes connections beside `target`, on its own address, and joins each to it, until this process ends.
pub(crate) fn start(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((target.ip(), 0)).expect("a free port");
    // Accepted sockets inherit it.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&listener, QUEUE / 2);
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(target) else { continue };
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&far, QUEUE / 2);
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                let _ = to.set_nodelay(true);
                let (enter, leave) = sync_channel(ON_THE_WAY);
                thread::spawn(move || take(from, &enter));
                thread::spawn(move || hand_over(to, &leave));
            }
        }
    });
    addr
}

/// Takes bytes as fast as the link sends them.
fn take(mut from: TcpStream, enter: &SyncSender<(Instant, Vec<u8>)>) {
    let mut free = Instant::now();
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let sent = Duration::from_secs_f64(8.0 * length as f64 / RATE);
        free = free.max(Instant::now() - SLACK) + sent;
        if enter.send((free + ROUND_TRIP / 2, chunk[..length].to_vec())).is_err() {
            break;
        }
        thread::sleep(free.saturating_duration_since(Instant::now()));
    }
}

fn hand_over(mut to: TcpStream, leave: &Receiver<(Instant, Vec<u8>)>) {
    for (at, chunk) in leave {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    // The other direction may have closed it.
    let _ = to.shutdown(Shutdown::Both);
}
