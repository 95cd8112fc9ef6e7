//! Who sent bad data: [`Blame`].
//!
//! A piece whose hash is wrong tells that one of its senders lied, not which. If there was but one sender, it is known. Else a digest of each
//! block is kept, the piece is fetched again, and once its hash is right, whoever sent a block that differs from the good one
//! is the liar (libtorrent's smart ban, by comparing after the piece passes). An honest peer never sends such a block, so it is never banned.
//!
//! In a v2 torrent the leaves of the piece tell the bad blocks at once, if anybody gives them (see `hashes`); this is the way if nobody does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use torrent_format::{PeerId, PieceIndex};

/// Bad copies that are remembered for one piece. Each further one needs a peer that lies again.
const MAX_COPIES: usize = 8;

/// Pieces with bad copies that are remembered; at 1,024 blocks of 60 bytes and 8 copies this stays within some MiB, and only liars fill it.
const MAX_PIECES: usize = 16;

/// Bans that are remembered; the oldest are forgotten first, so that a liar who comes by ever new names is sent away each time.
const MAX_BANS: usize = 4_096;

/// Names of those who gave bad hashes once that are remembered.
const MAX_HASH_LIARS: usize = 4_096;

/// Enough of a peer to blame it after it is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Culprit {
    pub(super) addr: SocketAddr,
    pub(super) peer_id: PeerId,
}

#[derive(Debug)]
struct BadCopy {
    senders: Vec<Culprit>,
    digests: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Blame {
    bad: BTreeMap<PieceIndex, Vec<BadCopy>>,
    /// In order of time; what is here is in the three sets below.
    bans: VecDeque<Culprit>,
    banned: BTreeSet<SocketAddr>,
    banned_ips: BTreeSet<IpAddr>,
    banned_ids: BTreeSet<PeerId>,
    /// Who gave hashes that prove nothing, once.
    hash_liars: BTreeSet<(IpAddr, Option<PeerId>)>,
}

impl Blame {
    /// This peer gave hashes that prove nothing, which costs it the connection. Whether it did so before, and is to be banned.
    pub(super) fn gave_bad_hashes(&mut self, culprit: Culprit) -> bool {
        let ip = culprit.addr.ip().to_canonical();
        let who = (ip, super::candidates::is_local(ip).then_some(culprit.peer_id));
        self.hash_liars.contains(&who) || {
            if self.hash_liars.len() < MAX_HASH_LIARS {
                self.hash_liars.insert(who);
            }
            false
        }
    }

    /// Whether the digests of this piece's blocks are needed although its hash is right.
    pub(super) fn is_open(&self, piece: PieceIndex) -> bool {
        self.bad.contains_key(&piece)
    }

    /// A piece failed. Returns the liar if it is known already.
    pub(super) fn failed(
        &mut self,
        piece: PieceIndex,
        senders: Vec<Culprit>,
        digests: Vec<u64>,
    ) -> Option<Culprit> {
        let first = *senders.first()?;
        if senders.iter().all(|&sender| sender == first) {
            return Some(first);
        }
        if self.bad.len() < MAX_PIECES || self.bad.contains_key(&piece) {
            let copies = self.bad.entry(piece).or_default();
            if copies.len() < MAX_COPIES {
                copies.push(BadCopy { senders, digests });
            }
        }
        None
    }

    /// The piece's hash is right, and these are its blocks' digests: who lied before.
    pub(super) fn passed(&mut self, piece: PieceIndex, digests: &[u64]) -> BTreeSet<Culprit> {
        let copies = self.bad.remove(&piece).unwrap_or_default();
        copies
            .iter()
            .flat_map(|copy| copy.senders.iter().zip(&copy.digests).zip(digests))
            .filter(|((_, bad), good)| bad != good)
            .map(|((sender, _), _)| *sender)
            .collect()
    }

    /// Not to be spoken to again. A public address is banned whole. On a local one others may live behind other ports, so there
    /// the peer id stands for the peer; elsewhere it must not, or a liar could wear an honest peer's id.
    pub(super) fn ban(&mut self, culprit: Culprit) {
        if self.bans.len() >= MAX_BANS
            && let Some(oldest) = self.bans.pop_front()
        {
            self.banned.remove(&oldest.addr);
            self.banned_ids.remove(&oldest.peer_id);
            self.banned_ips.remove(&oldest.addr.ip().to_canonical());
        }
        self.bans.push_back(culprit);
        self.banned.insert(culprit.addr);
        if super::candidates::is_local(culprit.addr.ip()) {
            self.banned_ids.insert(culprit.peer_id);
        } else {
            self.banned_ips.insert(culprit.addr.ip().to_canonical());
        }
    }

    pub(super) fn is_banned(&self, addr: SocketAddr, peer_id: Option<PeerId>) -> bool {
        self.banned.contains(&addr)
            || self.banned_ips.contains(&addr.ip().to_canonical())
            || (super::candidates::is_local(addr.ip())
                && peer_id.is_some_and(|id| self.banned_ids.contains(&id)))
    }
}

#[cfg(test)]
impl Culprit {
    /// Somebody at port `port`.
    pub(super) fn for_test(port: u16) -> Self {
        Self { addr: ([198, 51, 100, 1], port).into(), peer_id: PeerId([port as u8; 20]) }
    }
}

#[cfg(test)]
mod tests {
    use torrent_format::Layout;

    use super::*;

    fn piece() -> PieceIndex {
        Layout::new(16_384, [16_384]).unwrap().piece(0).unwrap()
    }

    #[test]
    fn a_single_sender_is_blamed_at_once() {
        let [liar, _] = [Culprit::for_test(1), Culprit::for_test(2)];
        let mut blame = Blame::default();
        assert_eq!(blame.failed(piece(), vec![liar, liar], vec![1, 2]), Some(liar));
        assert!(!blame.is_open(piece()));
    }

    #[test]
    fn of_several_senders_the_one_whose_block_differs_from_the_good_one() {
        let [honest, liar] = [Culprit::for_test(1), Culprit::for_test(2)];
        let mut blame = Blame::default();
        assert_eq!(blame.failed(piece(), vec![honest, liar, honest], vec![10, 66, 30]), None);
        assert!(blame.is_open(piece()));
        assert_eq!(blame.passed(piece(), &[10, 20, 30]), [liar].into());
        assert!(!blame.is_open(piece()));
    }

    #[test]
    fn every_bad_copy_counts() {
        let [a, b, c] = [1, 2, 3].map(Culprit::for_test);
        let mut blame = Blame::default();
        blame.failed(piece(), vec![a, b], vec![1, 99]);
        blame.failed(piece(), vec![c, a], vec![98, 2]);
        assert_eq!(blame.passed(piece(), &[1, 2]), [b, c].into());
    }

    #[test]
    fn bad_hashes_are_a_ban_on_the_second_time_whatever_the_port() {
        let mut blame = Blame::default();
        let public =
            |port| Culprit { addr: ([198, 51, 100, 7], port).into(), peer_id: PeerId([port as u8; 20]) };
        let local = |id| Culprit { addr: ([127, 0, 0, 1], 1).into(), peer_id: PeerId([id; 20]) };
        let first = [public(1), local(1), local(2)].map(|culprit| blame.gave_bad_hashes(culprit));
        assert_eq!(first, [false; 3]);
        assert!(blame.gave_bad_hashes(public(2)) && blame.gave_bad_hashes(local(2)));
    }

    #[test]
    fn a_ban_takes_a_public_address_whole_and_a_local_one_by_port() {
        let mut blame = Blame::default();
        blame.ban(Culprit { addr: "198.51.100.7:1000".parse().unwrap(), peer_id: PeerId([1; 20]) });
        blame.ban(Culprit { addr: "127.0.0.1:1000".parse().unwrap(), peer_id: PeerId([2; 20]) });
        assert!(blame.is_banned("198.51.100.7:2000".parse().unwrap(), None));
        assert!(blame.is_banned("127.0.0.1:1000".parse().unwrap(), None));
        assert!(!blame.is_banned("127.0.0.1:2000".parse().unwrap(), None));
        assert!(blame.is_banned("127.0.0.1:2000".parse().unwrap(), Some(PeerId([2; 20]))));
        assert!(blame.is_banned("[::ffff:198.51.100.7]:3000".parse().unwrap(), None));
        assert!(!blame.is_banned("198.51.100.8:1".parse().unwrap(), Some(PeerId([1; 20]))), "a stolen id");
    }

    #[test]
    fn when_there_are_too_many_bans_the_oldest_is_forgotten_and_the_newest_holds() {
        let mut blame = Blame::default();
        let public = Culprit { addr: ([198, 51, 100, 7], 1).into(), peer_id: PeerId([1; 20]) };
        let local = |port: u16| Culprit { addr: ([127, 0, 0, 1], port).into(), peer_id: PeerId([2; 20]) };
        blame.ban(public);
        for port in 1..=MAX_BANS as u16 {
            assert!(blame.is_banned(public.addr, None), "{port}");
            blame.ban(local(port));
            assert!(blame.is_banned(local(port).addr, None), "{port}");
        }
        assert!(!blame.is_banned(public.addr, None));
        assert!(blame.is_banned(local(1).addr, None));
        assert_eq!(blame.bans.len(), MAX_BANS);
    }
}
