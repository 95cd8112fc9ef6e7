//! Why a download does not go faster: [`why`], one rule over [`Stats`].

use std::fmt;

use super::stats::Stats;

/// What keeps a download from going faster: the first cause of the list that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Why {
    /// The user's own limit is reached.
    Limit {
        /// Bytes a second.
        limit: u64,
    },
    /// Nobody is connected, but some are being dialled.
    Dialling {
        /// How many.
        dials: usize,
    },
    /// Nobody is connected, and no tracker answers.
    TrackersFail {
        /// How many there are.
        trackers: usize,
    },
    /// Nobody is connected, and none of those that were heard of can be reached.
    Unreachable {
        /// How many were heard of.
        known: usize,
    },
    /// Nobody was heard of.
    NobodyKnown,
    /// None of the peers has the info of the torrent.
    NoMetadata {
        /// Those that were asked.
        peers: usize,
    },
    /// The peers that have the info do not give it, or not all of it yet.
    MetadataComing {
        /// Those that have it.
        peers: usize,
    },
    /// Pieces are missing that none of the peers has, and the others are here.
    NobodyHas {
        /// How many.
        pieces: u32,
    },
    /// All peers that have what we lack let others go first.
    Choked {
        /// How many peers.
        by: usize,
    },
    /// They let us download, and nothing has come lately.
    Silent {
        /// How many peers.
        peers: usize,
    },
}

/// A rate that is this near to the limit, in percent of it, is at the limit: it is measured over some seconds.
const AT_THE_LIMIT: u64 = 90;

/// Why a download that stands like this does not go faster; `None`: it goes as well as it can, or is complete. `limit`: what the user lets
/// it download, in bytes a second.
pub fn why(stats: &Stats, limit: Option<u64>) -> Option<Why> {
    if stats.complete {
        return None;
    }
    let limited =
        limit.filter(|limit| stats.download_rate.saturating_mul(100) >= limit.saturating_mul(AT_THE_LIMIT));
    if let Some(limit) = limited.filter(|&limit| limit > 0) {
        return Some(Why::Limit { limit });
    }
    if stats.peers == 0 {
        return Some(match stats {
            Stats { half_open: dials @ 1.., .. } => Why::Dialling { dials: *dials },
            Stats { known_peers: known @ 1.., .. } => Why::Unreachable { known: *known },
            Stats { trackers: trackers @ 1.., failing_trackers, .. } if failing_trackers == trackers => {
                Why::TrackersFail { trackers: *trackers }
            }
            _ => Why::NobodyKnown,
        });
    }
    if !stats.has_info {
        return Some(match stats.metadata_peers {
            0 => Why::NoMetadata { peers: stats.peers },
            peers => Why::MetadataComing { peers },
        });
    }
    if stats.download_rate > 0 {
        return None;
    }
    match (stats.useful_peers, stats.useful_unchoked) {
        (0, _) => Some(Why::NobodyHas { pieces: stats.pieces_nobody_has }),
        (by, 0) => Some(Why::Choked { by }),
        (_, peers) => Some(Why::Silent { peers }),
    }
}

impl Why {
    /// A word for programs, which does not change.
    pub fn code(self) -> &'static str {
        match self {
            Self::Limit { .. } => "limit",
            Self::Dialling { .. } => "dialling",
            Self::TrackersFail { .. } => "trackers_fail",
            Self::Unreachable { .. } => "unreachable",
            Self::NobodyKnown => "nobody_known",
            Self::NoMetadata { .. } => "no_metadata",
            Self::MetadataComing { .. } => "metadata_coming",
            Self::NobodyHas { .. } => "nobody_has",
            Self::Choked { .. } => "choked",
            Self::Silent { .. } => "silent",
        }
    }
}

/// In the few words that fit into a line of progress.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Limit { .. } => f.write_str("at its limit"),
            Self::Dialling { dials: 1 } => f.write_str("dialling a peer"),
            Self::Dialling { dials } => write!(f, "dialling {dials} peers"),
            Self::TrackersFail { trackers: 1 } => f.write_str("its tracker does not answer"),
            Self::TrackersFail { trackers } => write!(f, "none of {trackers} trackers answers"),
            Self::Unreachable { known: 1 } => f.write_str("the only known peer can't be reached"),
            Self::Unreachable { known } => write!(f, "none of {known} known peers can be reached"),
            Self::NobodyKnown => f.write_str("nobody known who has it"),
            Self::NoMetadata { peers: 1 } => f.write_str("1 peer asked, it does not have the metadata yet"),
            Self::NoMetadata { peers } => write!(f, "{peers} peers asked, none has the metadata yet"),
            Self::MetadataComing { peers: 1 } => f.write_str("metadata asked of 1 peer"),
            Self::MetadataComing { peers } => write!(f, "metadata asked of {peers} peers"),
            Self::NobodyHas { pieces: 1 } => f.write_str("nobody here has the piece that is missing"),
            Self::NobodyHas { pieces } => write!(f, "nobody here has {pieces} pieces that are missing"),
            Self::Choked { by: 1 } => f.write_str("choked by the only peer that could help"),
            Self::Choked { by } => write!(f, "choked by all of {by} peers"),
            Self::Silent { peers: 1 } => f.write_str("waiting for what 1 peer was asked for"),
            Self::Silent { peers } => write!(f, "waiting for what {peers} peers were asked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A download that goes well.
    fn well() -> Stats {
        Stats {
            bytes_total: 100,
            download_rate: 50,
            peers: 9,
            has_info: true,
            useful_peers: 5,
            useful_unchoked: 3,
            trackers: 2,
            known_peers: 12,
            ..Stats::default()
        }
    }

    #[test]
    fn the_first_cause_that_holds_is_named() {
        let alone = Stats { peers: 0, useful_peers: 0, useful_unchoked: 0, download_rate: 0, ..well() };
        let unknown = Stats { known_peers: 0, ..alone };
        let stands = Stats { download_rate: 0, ..well() };
        let magnet = Stats { has_info: false, download_rate: 0, ..well() };
        for (stats, limit, expected) in [
            (well(), None, None),
            (well(), Some(100), None),
            (well(), Some(55), Some(("limit", "at its limit"))),
            (Stats { complete: true, peers: 0, ..well() }, Some(1), None),
            (Stats { half_open: 3, ..alone }, None, Some(("dialling", "dialling 3 peers"))),
            (alone, None, Some(("unreachable", "none of 12 known peers can be reached"))),
            (unknown, None, Some(("nobody_known", "nobody known who has it"))),
            (
                Stats { failing_trackers: 2, ..unknown },
                None,
                Some(("trackers_fail", "none of 2 trackers answers")),
            ),
            (
                Stats { failing_trackers: 1, ..unknown },
                None,
                Some(("nobody_known", "nobody known who has it")),
            ),
            (magnet, None, Some(("no_metadata", "9 peers asked, none has the metadata yet"))),
            (
                Stats { metadata_peers: 2, ..magnet },
                None,
                Some(("metadata_coming", "metadata asked of 2 peers")),
            ),
            (stands, Some(0), Some(("silent", "waiting for what 3 peers were asked for"))),
            (Stats { useful_unchoked: 0, ..stands }, None, Some(("choked", "choked by all of 5 peers"))),
            (
                Stats { useful_unchoked: 0, useful_peers: 0, pieces_nobody_has: 4, ..stands },
                None,
                Some(("nobody_has", "nobody here has 4 pieces that are missing")),
            ),
        ] {
            let why = why(&stats, limit);
            let said = why.map(|why| (why.code(), why.to_string()));
            assert_eq!(said, expected.map(|(code, text)| (code, text.to_owned())), "{stats:?}");
        }
    }
}
