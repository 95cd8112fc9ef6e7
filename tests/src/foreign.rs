//! Clients and tools that others wrote, driven as their users would. Each does only what the torrent's tracker tells it: no DHT,
//! no LSD, no port mapping; and, unless [`Options`] say otherwise, no PEX, no uTP and no encryption.

pub mod aria2;
pub mod imdl;
pub mod libtorrent;
pub mod mktorrent;
pub mod opentracker;
pub mod transmission;

use std::path::Path;

use crate::netns::Host;

pub use aria2::Aria2;
pub use libtorrent::Libtorrent;
pub use transmission::Transmission;

/// The client programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// Transmission's daemon.
    Transmission,
    /// aria2c.
    Aria2,
    /// libtorrent (rasterbar), from Python.
    Libtorrent,
}

/// How a client speaks to its peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Hidden or plain.
    pub encryption: Encryption,
    /// Over uTP, and nothing else if it lets us choose.
    pub utp: bool,
    /// Exchanges peers (PEX).
    pub pex: bool,
}

/// Whether a client encrypts (MSE).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encryption {
    /// As little as it lets us choose.
    #[default]
    Off,
    /// If the other side does.
    Allowed,
    /// Always, the payload too.
    Required,
}

/// One of them, running.
#[derive(Debug)]
pub enum Peer {
    /// See there.
    Transmission(Transmission),
    /// See there.
    Aria2(Aria2),
    /// See there.
    Libtorrent(Libtorrent),
}

impl Client {
    /// Whether it is installed: see [`crate::require`].
    pub fn require(self) -> bool {
        match self {
            Self::Transmission => transmission::require(),
            Self::Aria2 => aria2::require(),
            Self::Libtorrent => libtorrent::require(),
        }
    }

    /// Starts it on `host` with this torrent, on `data`, the directory that holds (or will hold) the torrent's named file or
    /// directory. What is there is checked, what is missing downloaded, and the whole is seeded. `work` is an empty directory for
    /// its own files.
    pub fn start(self, host: &Host, work: &Path, torrent: &Path, data: &Path) -> Peer {
        self.start_with(host, work, torrent, data, Options::default())
    }

    /// Like [`Self::start`], with other options.
    pub fn start_with(self, host: &Host, work: &Path, torrent: &Path, data: &Path, options: Options) -> Peer {
        match self {
            Self::Transmission => {
                Peer::Transmission(Transmission::start_with(host, work, torrent, data, options))
            }
            Self::Aria2 => Peer::Aria2(Aria2::start_with(host, work, torrent, data, options)),
            Self::Libtorrent => Peer::Libtorrent(Libtorrent::start_as(host, torrent, data, options)),
        }
    }
}

impl Peer {
    /// Waits until it has the whole torrent and seeds it.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn wait_seeding(&self) {
        match self {
            Self::Transmission(peer) => peer.wait_seeding(),
            Self::Aria2(peer) => peer.wait_seeding(),
            Self::Libtorrent(peer) => peer.wait_seeding(),
        }
    }

    /// Ends it after it has hashed all data once more and found it whole.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn verify(self) {
        match self {
            Self::Transmission(peer) => peer.verify(),
            Self::Aria2(peer) => peer.verify(),
            Self::Libtorrent(peer) => peer.verify(),
        }
    }
}
