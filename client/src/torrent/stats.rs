//! Figures for the user.

use std::net::SocketAddr;

use torrent_format::PeerId;

/// Where a torrent stands.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Stats {
    /// Bytes of wanted pieces that are verified.
    pub bytes_done: u64,
    /// Bytes of wanted pieces. 0 until the info is known.
    pub bytes_total: u64,
    /// Payload received in this run, wasted bytes included.
    pub downloaded: u64,
    /// Payload sent in this run.
    pub uploaded: u64,
    /// Payload received and thrown away: duplicates, bad pieces.
    pub wasted: u64,
    /// Bytes a second.
    pub download_rate: u64,
    /// Bytes a second.
    pub upload_rate: u64,
    /// Connections.
    pub peers: usize,
    /// Those of them that have everything.
    pub seeds: usize,
    /// Those that let us download.
    pub unchoked_by: usize,
    /// Those that have something that we lack.
    pub useful_peers: usize,
    /// Those of them that let us download.
    pub useful_unchoked: usize,
    /// Wanted pieces that are missing here and that no peer has.
    pub pieces_nobody_has: u32,
    /// Dials under way.
    pub half_open: usize,
    /// Addresses that were heard of, connected or not.
    pub known_peers: usize,
    /// Somebody has dialled us in this run, so that it can be done.
    pub was_dialled: bool,
    /// Trackers, each counted once a swarm.
    pub trackers: usize,
    /// Those of them that failed when they were asked last.
    pub failing_trackers: usize,
    /// While the info is not known: peers that have it.
    pub metadata_peers: usize,
    /// Whether the info is known, and all that it takes to check the payload by it.
    pub has_info: bool,
    /// Piece layers of a v2 torrent (one a file) that are not known yet. 0 while the info is not.
    pub missing_layers: usize,
    /// Whether every wanted piece is verified.
    pub complete: bool,
}

/// What passed between us and one peer.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerStats {
    /// The other end.
    pub addr: SocketAddr,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Its client, if it said.
    pub client: Option<String>,
    /// Payload from it, kept.
    pub downloaded: u64,
    /// Payload to it.
    pub uploaded: u64,
    /// It has everything.
    pub seed: bool,
    /// Whether it has ever lacked a piece while connected: a fellow downloader rather than a seeder.
    pub was_leecher: bool,
}

impl PeerStats {
    /// Adds what passed over an earlier connection to the same peer.
    pub(super) fn merge(&mut self, earlier: &Self) {
        self.downloaded += earlier.downloaded;
        self.uploaded += earlier.uploaded;
        self.was_leecher |= earlier.was_leecher;
        if self.client.is_none() {
            self.client.clone_from(&earlier.client);
        }
    }
}
