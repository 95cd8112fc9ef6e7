//! Which swarms have changed: [`Changes`], for whoever keeps their counts elsewhere.

use torrent_format::InfoHash;

/// Most that are noted of one shard. There are 256, and somebody looks several times a second: a million changes a second.
const MAX_NOTED: usize = 1024;

/// The swarms of a shard whose counts have changed since somebody last looked.
#[derive(Debug)]
pub(super) struct Changes {
    are_noted: bool,
    noted: Vec<InfoHash>,
    /// There were more.
    has_lost_some: bool,
}

impl Changes {
    pub(super) fn new(are_noted: bool) -> Self {
        Self { are_noted, noted: Vec::new(), has_lost_some: false }
    }

    pub(super) fn are_noted(&self) -> bool {
        self.are_noted
    }

    pub(super) fn note(&mut self, info_hash: &InfoHash) {
        match self.are_noted {
            true if self.noted.len() < MAX_NOTED => self.noted.push(*info_hash),
            are_noted => self.has_lost_some |= are_noted,
        }
    }

    /// Appends them; `false`: there were more.
    pub(super) fn take(&mut self, changed: &mut Vec<InfoHash>) -> bool {
        changed.append(&mut self.noted);
        !std::mem::take(&mut self.has_lost_some)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use torrent_format::PeerId;
    use torrent_format::announce::{AnnounceEvent, AnnounceRequest};

    use super::super::{Picked, Settings, Shards};
    use super::*;

    fn announce(shards: &Shards, torrent: u32, left: u64, event: AnnounceEvent) {
        let mut info_hash = InfoHash([0; 20]);
        info_hash.0[..4].copy_from_slice(&torrent.to_be_bytes());
        let request = AnnounceRequest {
            info_hash,
            peer_id: PeerId([b'p'; 20]),
            port: 1,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            numwant: None,
            key: None,
            tracker_id: None,
        };
        let picked = Picked { v4: None, v6: None, limit: 0 };
        shards.announce_into(Duration::ZERO, SocketAddr::from(([10, 0, 0, 1], 1)), &request, picked);
    }

    fn shards(notes_changes: bool) -> Shards {
        Shards::new(1, &Settings { notes_changes, ..Settings::default() })
    }

    fn changed(shards: &Shards) -> (usize, bool) {
        let mut changed = Vec::new();
        let all = shards.take_changes(&mut changed);
        (changed.len(), all)
    }

    #[test]
    fn what_changes_counts_is_noted_and_nothing_else() {
        let shards = shards(true);
        for (left, event, expected) in [
            (1, AnnounceEvent::Started, 1),
            (1, AnnounceEvent::Regular, 0),
            (0, AnnounceEvent::Completed, 1),
            (0, AnnounceEvent::Regular, 0),
            (0, AnnounceEvent::Stopped, 1),
            (0, AnnounceEvent::Stopped, 0),
            (0, AnnounceEvent::Started, 1),
        ] {
            announce(&shards, 7, left, event);
            assert_eq!(changed(&shards), (expected, true), "{event:?}");
        }
        for number in 0..shards.count() {
            shards.shard(number).expire(Duration::from_secs(1_000_000));
        }
        assert_eq!(changed(&shards), (1, true), "expired");
    }

    #[test]
    fn nothing_is_noted_for_nobody() {
        let shards = shards(false);
        announce(&shards, 7, 0, AnnounceEvent::Started);
        assert_eq!(changed(&shards), (0, true));
    }

    #[test]
    fn too_many_are_not_remembered_but_that_there_were() {
        let shards = shards(true);
        let many = 2 * (MAX_NOTED * shards.count()) as u32;
        (0..many).for_each(|torrent| announce(&shards, torrent, 0, AnnounceEvent::Started));
        assert_eq!(changed(&shards), (MAX_NOTED * shards.count(), false));
        assert_eq!(changed(&shards), (0, true));
    }
}
