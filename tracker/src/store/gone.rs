//! Who left while the nodes may not have told each other: [`Gone`]. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;

use torrent_format::InfoHash;

use crate::swarm::Heard;

/// Most departures that are kept: 240 MiB at most. What is beyond may come back to life until its peer would have expired.
const MAX: usize = 1 << 20;

/// The departures of a time of healing.
///
/// A node that tells all it knows after an absence of the server names peers that have left at another one. What it says may
/// stand in the stream before the departure or behind it; so a departure is kept, and outlives what is older than itself.
#[derive(Debug, Default)]
pub(super) struct Gone {
    last: HashMap<(InfoHash, SocketAddr), Heard>,
}

impl Gone {
    /// Takes in what was heard of a peer. Says whether it still holds: not if it is older than the peer's departure.
    pub(super) fn admit(&mut self, heard: &Heard) -> bool {
        let who = (*heard.info_hash(), heard.peer());
        if heard.is_stopped() {
            if self.last.len() < MAX || self.last.contains_key(&who) {
                self.last.insert(who, *heard);
            }
            return true;
        }
        self.last.get(&who).is_none_or(|departure| heard.outlives(departure))
    }

    /// Forgets all: everybody has said what there was to say.
    pub(super) fn clear(&mut self) {
        self.last = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use torrent_format::PeerId;
    use torrent_format::announce::{AnnounceEvent, AnnounceRequest};

    use super::*;

    fn heard(port: u16, at: u64, event: AnnounceEvent) -> Heard {
        let request = AnnounceRequest {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left: 1,
            event,
            numwant: None,
            key: None,
            tracker_id: None,
        };
        Heard::of(Duration::from_secs(at), SocketAddr::from(([192, 0, 2, 1], port)), &request, false)
    }

    #[test]
    fn a_departure_outlives_what_is_older() {
        let mut gone = Gone::default();
        assert!(gone.admit(&heard(1, 90, AnnounceEvent::Regular)), "nobody has left");
        assert!(gone.admit(&heard(1, 100, AnnounceEvent::Stopped)));
        for at in [90, 100, 101] {
            assert!(!gone.admit(&heard(1, at, AnnounceEvent::Regular)), "at {at}: it has left");
        }
        assert!(gone.admit(&heard(2, 90, AnnounceEvent::Regular)), "another peer");
        assert!(gone.admit(&heard(1, 102, AnnounceEvent::Started)), "it is back");
        gone.clear();
        assert!(gone.admit(&heard(1, 90, AnnounceEvent::Regular)), "that is over");
    }
}
