//! The UDP port of a session, which has the number of its TCP port: [`Datagrams`]. The DHT and uTP share it, as other clients expect; a
//! packet's first byte says whose it is.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Packets that may wait for whoever they are for; more are lost, as on any way that is too narrow.
const MAX_WAITING: usize = 512;

/// The longest packet that is taken, in bytes: what a local network with jumbo frames carries.
const MAX_PACKET: usize = 9_000;

/// Bytes that the kernel is asked to hold until we come to them: what a fast line brings while others are at work. It may give less.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// The wait after a failure to receive. Without one, a socket that is out of order would be a busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// A packet and who sent it.
pub type Datagram = (Vec<u8>, SocketAddr);

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Datagrams {
    sockets: Arc<[UdpSocket]>,
    unclaimed: Arc<Mutex<Unclaimed>>,
}

/// Ends of the queues that nobody has asked for yet.
#[derive(Debug, Default)]
struct Unclaimed {
    dht: Option<mpsc::Receiver<Datagram>>,
    utp: Option<mpsc::Receiver<Datagram>>,
}

/// Receives for as long as it lives.
#[derive(Debug)]
pub struct Receiving {
    _tasks: JoinSet<()>,
}

impl Datagrams {
    /// Shares out what these sockets receive, one a version of IP. They bind to nothing else.
    pub fn start(sockets: Vec<UdpSocket>) -> (Self, Receiving) {
        let (to_dht, dht) = mpsc::channel(MAX_WAITING);
        let (to_utp, utp) = mpsc::channel(MAX_WAITING);
        for socket in &sockets {
            if let Err(error) = socket2::SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER) {
                tracing::debug!("can't enlarge a socket's buffer: {error}");
            }
        }
        let sockets: Arc<[UdpSocket]> = sockets.into();
        let mut tasks = JoinSet::new();
        for index in 0..sockets.len() {
            let (sockets, to_dht, to_utp) = (Arc::clone(&sockets), to_dht.clone(), to_utp.clone());
            tasks.spawn(async move { receive(&sockets[index], &to_dht, &to_utp).await });
        }
        let unclaimed = Arc::new(Mutex::new(Unclaimed { dht: Some(dht), utp: Some(utp) }));
        (Self { sockets, unclaimed }, Receiving { _tasks: tasks })
    }

    /// The packets of the DHT, for the first who asks.
    pub fn take_dht(&self) -> Option<mpsc::Receiver<Datagram>> {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).dht.take()
    }

    /// The packets of uTP, for the first who asks.
    pub fn take_utp(&self) -> Option<mpsc::Receiver<Datagram>> {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).utp.take()
    }

    /// Whether there is a socket of `to`'s version of IP.
    pub fn reaches(&self, to: SocketAddr) -> bool {
        self.socket(to).is_ok()
    }

    /// The addresses that it is bound to.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok())
    }

    /// Sends, once there is room.
    ///
    /// # Errors
    /// Those of the socket, or if there is none of `to`'s version of IP.
    pub async fn send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket(to)?.send_to(packet, to).await
    }

    /// Sends if there is room.
    ///
    /// # Errors
    /// As [`Self::send_to`]; [`io::ErrorKind::WouldBlock`] if there is no room.
    pub fn try_send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket(to)?.try_send_to(packet, to)
    }

    fn socket(&self, to: SocketAddr) -> io::Result<&UdpSocket> {
        let of_its_kind =
            |socket: &&UdpSocket| socket.local_addr().is_ok_and(|addr| addr.is_ipv4() == to.is_ipv4());
        self.sockets.iter().find(of_its_kind).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

async fn receive(socket: &UdpSocket, to_dht: &mpsc::Sender<Datagram>, to_utp: &mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let packet = &buffer[..length];
                // A bencoded dictionary; uTP's first byte holds a type below 5 and the version 1.
                let queue = if packet.first() == Some(&b'd') { to_dht } else { to_utp };
                // Full, or nobody listens: lost.
                let _ = queue.try_send((packet.to_vec(), from));
            }
            Err(error) => {
                tracing::debug!("can't receive: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_packet_goes_to_whom_it_is_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = socket.local_addr().unwrap();
        let (datagrams, _receiving) = Datagrams::start(vec![socket]);
        let (mut dht, mut utp) = (datagrams.take_dht().unwrap(), datagrams.take_utp().unwrap());
        assert!(datagrams.take_dht().is_none() && datagrams.take_utp().is_none());
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let from = peer.local_addr().unwrap();
        for packet in [&b"\x41syn"[..], b"d1:y1:qe", b"", b"\x01data"] {
            peer.send_to(packet, to).await.unwrap();
        }
        assert_eq!(dht.recv().await, Some((b"d1:y1:qe".to_vec(), from)));
        assert_eq!(utp.recv().await, Some((b"\x41syn".to_vec(), from)));
        assert_eq!(utp.recv().await, Some((vec![], from)));
        assert_eq!(utp.recv().await, Some((b"\x01data".to_vec(), from)));

        datagrams.send_to(b"answer", from).await.unwrap();
        let mut answer = [0; 10];
        assert_eq!(peer.recv_from(&mut answer).await.unwrap(), (6, to), "it comes from the same port");
        let v6 = "[::1]:9".parse().unwrap();
        assert!(!datagrams.reaches(v6));
        assert_eq!(datagrams.send_to(b"", v6).await.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn who_does_not_listen_does_not_keep_the_other_waiting() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = socket.local_addr().unwrap();
        let (datagrams, _receiving) = Datagrams::start(vec![socket]);
        let mut dht = datagrams.take_dht().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..2 * MAX_WAITING {
            peer.send_to(b"\x01", to).await.unwrap();
            tokio::task::yield_now().await;
        }
        // What the kernel has no room for is lost as well: it may take some more.
        let heard = async {
            loop {
                peer.send_to(b"de", to).await.unwrap();
                if let Ok(Some(packet)) = tokio::time::timeout(PAUSE, dht.recv()).await {
                    return packet.0;
                }
            }
        };
        assert_eq!(heard.await, b"de");
    }
}
