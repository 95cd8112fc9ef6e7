//! A client of the UDP protocol (BEP 15, 41), whose packets are laid out byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::wait::{Deadline, SOON};

/// The protocol id of BEP 15.
pub const MAGIC: u64 = 0x0417_2710_1980;

/// How long to wait before a question that got lost is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// One socket, connected to the tracker.
#[derive(Debug)]
pub struct Client {
    /// For bytes that no client would send.
    pub socket: UdpSocket,
    /// From the last connect.
    pub id: u64,
}

/// What an announce says (BEP 15).
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    /// Which swarm.
    pub hash: [u8; 20],
    /// Who.
    pub peer_id: [u8; 20],
    /// Bytes received.
    pub downloaded: u64,
    /// Bytes lacking.
    pub left: u64,
    /// Bytes sent.
    pub uploaded: u64,
    /// 0 none, 1 completed, 2 started, 3 stopped; BEP 21: 4 paused.
    pub event: u32,
    /// 0: the sender's.
    pub ip: u32,
    /// Survives a change of address.
    pub key: u32,
    /// −1: as many as the tracker likes.
    pub num_want: i32,
    /// Where the peer listens.
    pub port: u16,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Action 0.
    Connect(u64),
    /// Action 1.
    Announce {
        /// In seconds.
        interval: u32,
        /// Those who lack something.
        leechers: u32,
        /// Those who don't.
        seeders: u32,
        /// As long as the family's addresses are.
        peers: Vec<SocketAddr>,
    },
    /// Action 2: seeders, completed, leechers, by position.
    Scrape(Vec<[u32; 3]>),
    /// Action 3.
    Error(String),
}

impl Announce {
    /// A leecher of `hash` on this port.
    pub fn leecher(hash: [u8; 20], port: u16) -> Self {
        let mut peer_id = *b"-XX0001-000000000000";
        peer_id[15..].copy_from_slice(format!("{port:05}").as_bytes());
        Self {
            hash,
            peer_id,
            downloaded: 0,
            left: 1 << 20,
            uploaded: 0,
            event: 0,
            ip: 0,
            key: port.into(),
            num_want: -1,
            port,
        }
    }

    /// A seed of `hash` on this port.
    pub fn seed(hash: [u8; 20], port: u16) -> Self {
        Self { left: 0, ..Self::leecher(hash, port) }
    }

    /// The packet, 98 bytes.
    pub fn packet(&self, id: u64, transaction: u32) -> Vec<u8> {
        let mut packet = head(id, 1, transaction);
        packet.extend(self.hash);
        packet.extend(self.peer_id);
        packet.extend(self.downloaded.to_be_bytes());
        packet.extend(self.left.to_be_bytes());
        packet.extend(self.uploaded.to_be_bytes());
        packet.extend(self.event.to_be_bytes());
        packet.extend(self.ip.to_be_bytes());
        packet.extend(self.key.to_be_bytes());
        packet.extend(self.num_want.to_be_bytes());
        packet.extend(self.port.to_be_bytes());
        packet
    }
}

/// The first 16 bytes of every packet but a connect: connection id, action, transaction.
pub fn head(id: u64, action: u32, transaction: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &action.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// A number that no other question of this process had.
pub fn transaction() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0x5350_0000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Client {
    /// A socket on loopback, without a connection id.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(tracker: SocketAddr) -> Self {
        Self::from(
            if tracker.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() },
            tracker,
        )
    }

    /// The same from an address of this machine, such as any of 127.0.0.0/8.
    ///
    /// # Panics
    /// If there is none.
    pub fn from(source: IpAddr, tracker: SocketAddr) -> Self {
        let socket = UdpSocket::bind((source, 0)).expect("a port is free");
        socket.connect(tracker).expect("an address of the same family");
        socket.set_read_timeout(Some(AGAIN)).expect("it can wait");
        Self { socket, id: 0 }
    }

    /// With a connection id.
    ///
    /// # Panics
    /// If the tracker gives none.
    #[track_caller]
    pub fn connected(tracker: SocketAddr) -> Self {
        let mut client = Self::new(tracker);
        client.connect();
        client
    }

    /// Gets a connection id.
    ///
    /// # Panics
    /// If the tracker gives none.
    #[track_caller]
    pub fn connect(&mut self) -> u64 {
        let transaction = transaction();
        let Reply::Connect(id) = self.ask(&head(MAGIC, 0, transaction), transaction) else {
            panic!("no connection id")
        };
        self.id = id;
        id
    }

    /// Announces.
    ///
    /// # Panics
    /// If there is no answer, or it is neither an announce's nor an error.
    #[track_caller]
    pub fn announce(&self, announce: &Announce) -> Reply {
        self.announce_with(announce, &[])
    }

    /// Announces with these bytes behind the 98 (BEP 41).
    ///
    /// # Panics
    /// As [`Self::announce`].
    #[track_caller]
    pub fn announce_with(&self, announce: &Announce, options: &[u8]) -> Reply {
        let transaction = transaction();
        let packet = [&announce.packet(self.id, transaction), options].concat();
        let reply = self.ask(&packet, transaction);
        assert!(matches!(reply, Reply::Announce { .. } | Reply::Error(_)), "{reply:?}");
        reply
    }

    /// Announces, and gives the peers.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn join(&self, announce: &Announce) -> Vec<SocketAddr> {
        match self.announce(announce) {
            Reply::Announce { peers, .. } => peers,
            other => panic!("{other:?}"),
        }
    }

    /// Scrapes: seeders, completed, leechers, by position.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn scrape(&self, hashes: &[[u8; 20]]) -> Vec<[u32; 3]> {
        let transaction = transaction();
        let packet = [head(self.id, 2, transaction), hashes.concat()].concat();
        match self.ask(&packet, transaction) {
            Reply::Scrape(counts) => counts,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a packet with this transaction, again if need be, and gives the answer.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn ask(&self, packet: &[u8], transaction: u32) -> Reply {
        self.ask_raw(packet, transaction).1
    }

    /// The same, with the answer's bytes.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn ask_raw(&self, packet: &[u8], transaction: u32) -> (Vec<u8>, Reply) {
        let deadline = Deadline::after(SOON);
        while deadline.remaining().is_some() {
            // Whether it left, the answer tells.
            let _ = self.socket.send(packet);
            while let Some(bytes) = self.receive() {
                if bytes.get(4..8) == Some(&transaction.to_be_bytes()) {
                    let reply = self.parse(&bytes);
                    return (bytes, reply);
                }
            }
        }
        panic!("no answer to {packet:02x?}");
    }

    /// The next datagram; `None`: none comes for a second.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 65_536];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    /// Sends a packet that the tracker must not answer, and makes sure of it: the next question is answered first.
    ///
    /// # Panics
    /// If an answer comes.
    #[track_caller]
    pub fn assert_ignored(&self, packet: &[u8], what: &str) {
        let transaction = transaction();
        self.socket.send(packet).expect("it can be sent");
        self.socket.send(&head(MAGIC, 0, transaction)).expect("it can be sent");
        let deadline = Deadline::after(SOON);
        while deadline.remaining().is_some() {
            match self.receive() {
                Some(bytes) if bytes.get(..8) == Some(&head(0, 0, transaction)[8..]) => return,
                Some(bytes) => panic!("{what}: answered with {bytes:02x?}"),
                None => {
                    self.socket.send(&head(MAGIC, 0, transaction)).expect("it can be sent");
                }
            }
        }
        panic!("{what}: the tracker no longer answers");
    }

    /// Reads an answer.
    ///
    /// # Panics
    /// If BEP 15 knows no such.
    #[track_caller]
    pub fn parse(&self, bytes: &[u8]) -> Reply {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4"));
        assert!(bytes.len() >= 8, "{bytes:02x?}");
        match word(0) {
            0 => {
                assert_eq!(bytes.len(), 16);
                Reply::Connect(u64::from_be_bytes(bytes[8..].try_into().expect("8")))
            }
            1 => {
                let v4 = self.socket.local_addr().is_ok_and(|addr| addr.is_ipv4());
                let size = if v4 { 6 } else { 18 };
                assert!(bytes.len() >= 20 && (bytes.len() - 20).is_multiple_of(size), "{bytes:02x?}");
                let peer = |peer: &[u8]| {
                    let (ip, port) = peer.split_at(size - 2);
                    let ip = match <[u8; 4]>::try_from(ip) {
                        Ok(v4) => IpAddr::from(v4),
                        Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).expect("16")),
                    };
                    SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
                };
                let peers = bytes[20..].chunks(size).map(peer).collect();
                Reply::Announce { interval: word(8), leechers: word(12), seeders: word(16), peers }
            }
            2 => {
                assert_eq!(bytes.len() % 12, 8, "{bytes:02x?}");
                let counts = (8..bytes.len()).step_by(12);
                Reply::Scrape(counts.map(|at| [word(at), word(at + 4), word(at + 8)]).collect())
            }
            3 => Reply::Error(String::from_utf8_lossy(&bytes[8..]).into_owned()),
            action => panic!("action {action}: {bytes:02x?}"),
        }
    }
}
