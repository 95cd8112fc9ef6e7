//! An uplink that has nothing to do says so.
//!
//! In a young swarm a downloader has soon asked for all that its neighbours have, and most of that waits in the lines of a few of them, while others, who
//! have the same pieces, have nothing to send and somebody unchoked who wants something. The downloader can't know who stands still, and the one
//! that does can't know what waits elsewhere. So whoever has nothing to send tells two of those it has unchoked, by a `suggest` of a piece that they lack (BEP 6: "you might like to
//! download this piece"); and who is told so by a peer that it is waiting for nothing from asks it for something: for what nobody was asked for, or for a few blocks that
//! wait at others.
//!
//! A client that does not know of this takes the `suggest` as advice, as it would any other. Who does not heed it is told less and less often.

use std::time::Duration;

use torrent_format::{Bitfield, PieceIndex};

use super::peer::Peer;
use super::peers::PeerKey;
use super::time::Time;
use super::{Phase, Torrent};
use crate::wire::Message;

/// How many are told at a time. More would all come at once.
const TOLD: usize = 2;

/// How soon they are told again: two round trips.
const PAUSE: Duration = Duration::from_millis(100);

/// Nor are others told sooner, however often the uplink runs dry: what to name is looked for among all pieces.
pub(super) const LEAST_PAUSE: Duration = Duration::from_millis(25);

/// Who asked for nothing after so many offers comes after the others; and when all are so, offers are made half as often, and so on.
const VAIN: u32 = 4;

/// How often the pause doubles: up to 6.4 s.
const DOUBLINGS: u32 = 6;

/// So soon a peer is heeded again, however often it has something to offer.
const HEED: Duration = Duration::from_millis(20);

/// Who has sent something so lately is in the middle of sending.
pub(super) const SENDING: Duration = Duration::from_millis(100);

/// How many blocks are taken from others' lines at a time. Who still has nothing to do will say so.
pub(super) const MOVED: u32 = 4;

/// Who is in the middle of sending is on the way to so many blocks, or will be before word reaches it that we don't want them.
pub(super) const NEARLY_HERE: usize = 4;

impl Torrent {
    /// Tells those who could ask us for something, if our uplink has nothing to do.
    pub(super) fn offer(&mut self, now: Time) {
        let (trading, others_give) = (self.is_trading(), self.others_give);
        let Phase::Content(content) = &self.phase else { return };
        if !self.is_leeching() || !self.feeder.is_dry() {
            return;
        }
        if now < self.next_offer {
            self.wake_to_feed(self.next_offer);
            return;
        }
        let layout = content.info.layout();
        let could_ask = |(_, peer): &(PeerKey, &Peer)| {
            peer.capabilities.fast
                && peer.upload.interested
                && !peer.upload.choked
                && !(trading && peer.is_spent(layout, others_give))
        };
        // As for slots: who owes us least, and of these who has least.
        let claim = |(key, peer): (PeerKey, &Peer)| {
            let has = peer.field().map_or(0, Bitfield::count);
            (peer.upload.vain_offers / VAIN, peer.debt(layout), has, key)
        };
        let mut waiting: Vec<_> = self.peers.iter().filter(could_ask).map(claim).collect();
        waiting.sort_unstable();
        let Some(&(vain, ..)) = waiting.first() else { return };
        let again = PAUSE * (1 << vain.min(DOUBLINGS));
        self.next_offer = now + if vain > 0 { again } else { LEAST_PAUSE };
        let rarest = |peer: &Peer| {
            let lacks = |&piece: &PieceIndex| content.picker.have().has(piece) && !peer.has(piece);
            layout.pieces().filter(lacks).min_by_key(|&piece| content.picker.availability(piece))
        };
        let told: Vec<_> = (waiting.iter().take(TOLD))
            .filter_map(|&(.., key)| Some((key, rarest(self.peers.get(key)?)?)))
            .collect();
        for (key, piece) in told {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.upload.vain_offers = peer.upload.vain_offers.saturating_add(1);
            }
            self.send(now, key, Message::Suggest(piece.get()));
        }
        self.wake_to_feed(now + again);
    }

    fn wake_to_feed(&mut self, at: Time) {
        self.next_feed = Some(self.next_feed.map_or(at, |feed| feed.min(at)));
    }

    /// This peer suggests a piece. If it owes us nothing and we may ask it for something, it has likely nothing to do.
    pub(super) fn offered(&mut self, now: Time, key: PeerKey, piece: PieceIndex) {
        let Phase::Content(content) = &self.phase else { return };
        let needs = content.picker.needs(piece);
        let Some(download) = self.peers.get_mut(key).map(|peer| &mut peer.download) else { return };
        let waits = download.choked || !download.outstanding.is_empty();
        if !needs || waits || now < download.heed_offers {
            return;
        }
        download.heed_offers = now + HEED;
        self.fill_requests(now, key);
        self.take_over(now, key, true);
    }
}
