//! Getting the info dictionary from peers, part by part, and giving it to them (BEP 9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use torrent_format::InfoHashes;

use super::Time;
use super::blame::Culprit;
use super::peers::PeerKey;
use crate::wire::ut_metadata::METADATA_PART_LENGTH;

/// Parts asked of one peer at a time.
const DEPTH: usize = 4;

/// A part that has not come by then is asked of someone else.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that rejected a part, or let one time out, is asked again after this.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum Part {
    Missing,
    Asked { of: PeerKey, at: Time },
    Here { data: Vec<u8>, from: Culprit },
}

#[derive(Debug)]
struct Source {
    size: u32,
    resting_until: Time,
}

/// How a part was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing new, or more is needed.
    More,
    /// The metadata, and its hash is right.
    Whole(Vec<u8>),
    /// It has one of the info hashes that are known, and not the other: no other info can be right.
    Conflict,
    /// The hash is wrong and one peer sent it all.
    Lie(Culprit),
}

/// Fetches the info dictionary. Peers may lie about its size and its bytes, so after a bad copy it is fetched from one peer alone at a time.
#[derive(Debug)]
pub(super) struct MetadataFetch {
    hashes: InfoHashes,
    sources: BTreeMap<PeerKey, Source>,
    size: u32,
    parts: Vec<Part>,
    /// Only from this peer.
    alone: Option<PeerKey>,
    single_source: bool,
    /// Those that have been tried alone.
    tried: BTreeSet<PeerKey>,
}

impl MetadataFetch {
    pub(super) fn new(hashes: InfoHashes) -> Self {
        Self {
            hashes,
            sources: BTreeMap::new(),
            size: 0,
            parts: Vec::new(),
            alone: None,
            single_source: false,
            tried: BTreeSet::new(),
        }
    }

    /// This peer has metadata of this size (already known to be within bounds).
    pub(super) fn add_source(&mut self, now: Time, peer: PeerKey, size: u32) {
        // Saying it again earns no second chance.
        self.sources.entry(peer).or_insert(Source { size, resting_until: now });
        if self.parts.is_empty() {
            self.begin(size);
        }
    }

    /// How many peers have it.
    pub(super) fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// This peer is gone.
    pub(super) fn remove_source(&mut self, peer: PeerKey) {
        self.sources.remove(&peer);
        self.release(peer);
        if self.alone == Some(peer) {
            self.alone = None;
        }
        let size = self.size;
        if !self.sources.values().any(|source| source.size == size) {
            match self.sources.values().next().map(|source| source.size) {
                Some(other) => self.begin(other),
                None => self.parts.clear(),
            }
        }
    }

    /// What to ask of whom now.
    pub(super) fn requests(&mut self, now: Time) -> Vec<(PeerKey, u32)> {
        for part in &mut self.parts {
            if let Part::Asked { of, at } = *part
                && now - at >= PART_TIMEOUT
            {
                *part = Part::Missing;
                if let Some(source) = self.sources.get_mut(&of) {
                    source.resting_until = now + REFUSED_WAIT;
                }
                if self.alone == Some(of) {
                    self.alone = None;
                }
            }
        }
        if self.single_source && self.alone.is_none() {
            self.choose_alone();
        }
        self.change_size_if_stuck(now);
        let mut asked = Vec::new();
        for (&peer, source) in &self.sources {
            let fits = source.size == self.size && source.resting_until <= now;
            if !fits || (self.single_source && self.alone != Some(peer)) {
                continue;
            }
            let outstanding =
                self.parts.iter().filter(|p| matches!(p, Part::Asked { of, .. } if *of == peer)).count();
            let missing: Vec<_> = self
                .parts
                .iter()
                .enumerate()
                .filter(|(_, part)| matches!(part, Part::Missing))
                .map(|(number, _)| number)
                .take(DEPTH.saturating_sub(outstanding))
                .collect();
            for number in missing {
                self.parts[number] = Part::Asked { of: peer, at: now };
                asked.push((peer, number as u32));
            }
        }
        asked
    }

    /// The peer does not give this part.
    pub(super) fn rejected(&mut self, now: Time, peer: PeerKey) {
        self.release(peer);
        if let Some(source) = self.sources.get_mut(&peer) {
            source.resting_until = now + REFUSED_WAIT;
        }
        if self.alone == Some(peer) {
            self.alone = None;
        }
    }

    /// A part came.
    pub(super) fn received(
        &mut self,
        peer: PeerKey,
        from: Culprit,
        number: u32,
        total: u32,
        data: Vec<u8>,
    ) -> Progress {
        let expected = self.part_length(number);
        let Some(part) = self.parts.get_mut(number as usize) else { return Progress::More };
        let asked = matches!(part, Part::Asked { of, .. } if *of == peer);
        if !asked || total != self.size || data.len() != expected as usize {
            return Progress::More;
        }
        *part = Part::Here { data, from };
        if !self.parts.iter().all(|part| matches!(part, Part::Here { .. })) {
            return Progress::More;
        }
        let parts = std::mem::take(&mut self.parts);
        let mut whole = Vec::with_capacity(self.size as usize);
        let mut senders = BTreeSet::new();
        for part in parts {
            if let Part::Here { data, from } = part {
                whole.extend_from_slice(&data);
                senders.insert(from);
            }
        }
        if self.hashes.match_info(&whole) {
            return Progress::Whole(whole);
        }
        let (v1, v2) = (self.hashes.v1().map(InfoHashes::from), self.hashes.v2().map(InfoHashes::from));
        if v1.into_iter().chain(v2).any(|one| one.match_info(&whole)) {
            return Progress::Conflict;
        }
        let size = self.sources.get(&peer).map_or(self.size, |source| source.size);
        self.single_source = true;
        self.alone = None;
        self.begin(size);
        match senders.first() {
            Some(&liar) if senders.len() == 1 => Progress::Lie(liar),
            _ => Progress::More,
        }
    }

    /// If all who claim this size keep us waiting, believe another size for a while.
    fn change_size_if_stuck(&mut self, now: Time) {
        let ready = |source: &&Source| source.resting_until <= now;
        let asked = self.parts.iter().any(|part| matches!(part, Part::Asked { .. }));
        if asked
            || self.single_source
            || self.sources.values().filter(ready).any(|source| source.size == self.size)
        {
            return;
        }
        if let Some(size) = self.sources.values().find(ready).map(|source| source.size) {
            self.begin(size);
        }
    }

    fn begin(&mut self, size: u32) {
        self.size = size;
        self.parts = vec![Part::Missing; size.div_ceil(METADATA_PART_LENGTH) as usize];
    }

    fn part_length(&self, number: u32) -> u32 {
        self.size.saturating_sub(number.saturating_mul(METADATA_PART_LENGTH)).min(METADATA_PART_LENGTH)
    }

    fn release(&mut self, peer: PeerKey) {
        for part in &mut self.parts {
            if matches!(part, Part::Asked { of, .. } if *of == peer) {
                *part = Part::Missing;
            }
        }
    }

    /// The next peer to be asked for everything, those that were not tried yet first. What came from another does not count.
    fn choose_alone(&mut self) {
        if self.sources.keys().all(|peer| self.tried.contains(peer)) {
            self.tried.clear();
        }
        let Some((&peer, source)) = self.sources.iter().find(|(peer, _)| !self.tried.contains(peer)) else {
            return;
        };
        let size = source.size;
        self.tried.insert(peer);
        self.alone = Some(peer);
        self.begin(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = METADATA_PART_LENGTH as usize;

    fn metadata() -> Vec<u8> {
        (0..PART * 2 + 100).map(|i| (i % 251) as u8).collect()
    }

    fn part(number: u32) -> Vec<u8> {
        metadata().chunks(PART).nth(number as usize).unwrap().to_vec()
    }

    fn fetch() -> MetadataFetch {
        MetadataFetch::new(torrent_format::InfoHash::of_info(&metadata()).into())
    }

    fn key(number: u32) -> PeerKey {
        PeerKey::for_test(number)
    }

    fn who(number: u32) -> Culprit {
        Culprit::for_test(number as u16)
    }

    fn size() -> u32 {
        metadata().len() as u32
    }

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    #[test]
    fn parts_come_from_several_peers_in_any_order() {
        let mut fetch = fetch();
        fetch.add_source(at(0), key(1), size());
        assert_eq!(fetch.requests(at(0)).len(), 3);
        fetch.rejected(at(0), key(1));
        fetch.add_source(at(0), key(2), size());
        fetch.add_source(at(0), key(3), size());
        let asked = fetch.requests(at(0));
        assert_eq!(asked.len(), 3);
        let mut last = Progress::More;
        for (peer, number) in asked.into_iter().rev() {
            assert_eq!(last, Progress::More);
            last = fetch.received(peer, who(peer_number(peer)), number, size(), part(number));
        }
        assert_eq!(last, Progress::Whole(metadata()));
    }

    fn peer_number(peer: PeerKey) -> u32 {
        (1..10).find(|&n| key(n) == peer).unwrap()
    }

    #[test]
    fn what_was_not_asked_for_is_ignored() {
        let mut fetch = fetch();
        fetch.add_source(at(0), key(1), size());
        assert_eq!(fetch.received(key(1), who(1), 0, size(), part(0)), Progress::More);
        let asked = fetch.requests(at(0));
        assert_eq!(asked.len(), 3);
        for (number, total, data) in [
            (7, size(), part(0)),
            (0, size() + 1, part(0)),
            (0, size(), vec![]),
            (2, size(), part(0)),
            (u32::MAX, size(), part(0)),
        ] {
            assert_eq!(fetch.received(key(1), who(1), number, total, data), Progress::More);
        }
        assert_eq!(fetch.received(key(2), who(2), 0, size(), part(0)), Progress::More, "from another peer");
        assert!(fetch.parts.iter().all(|part| matches!(part, Part::Asked { .. })));
    }

    #[test]
    fn a_stalling_peer_is_replaced() {
        let mut fetch = fetch();
        fetch.add_source(at(0), key(1), size());
        fetch.requests(at(0));
        fetch.add_source(at(1), key(2), size());
        assert_eq!(fetch.requests(at(5)), []);
        let asked = fetch.requests(at(10));
        assert_eq!(asked, [(key(2), 0), (key(2), 1), (key(2), 2)]);
    }

    #[test]
    fn one_liar_among_several_costs_itself_only() {
        let mut fetch = fetch();
        for peer in 1..=3 {
            fetch.add_source(at(0), key(peer), size());
        }
        let mut blamed = BTreeSet::new();
        // Peer 1 lies whenever it is asked.
        for _ in 0..10 {
            for (peer, number) in fetch.requests(at(0)) {
                let mut data = part(number);
                if peer == key(1) {
                    data[0] ^= 1;
                }
                match fetch.received(peer, who(peer_number(peer)), number, size(), data) {
                    Progress::More => {}
                    Progress::Lie(liar) => {
                        blamed.insert(liar);
                        fetch.remove_source(key(1));
                    }
                    Progress::Whole(whole) => {
                        assert_eq!(whole, metadata());
                        assert!(blamed.is_empty() || blamed == [who(1)].into());
                        return;
                    }
                    Progress::Conflict => panic!("there is only one hash"),
                }
            }
        }
        panic!("never whole");
    }

    #[test]
    fn who_stalls_alone_is_replaced() {
        let mut fetch = fetch();
        for peer in 1..=3 {
            fetch.add_source(at(0), key(peer), size());
        }
        fetch.single_source = true;
        let first = fetch.requests(at(0))[0].0;
        assert_eq!(fetch.requests(at(5)), []);
        let second = fetch.requests(at(10))[0].0;
        assert_ne!(first, second);
        fetch.add_source(at(10), first, 99);
        assert_eq!(fetch.sources[&first].size, size());
    }

    #[test]
    fn a_staller_that_lies_about_the_size_does_not_hold_up_the_others() {
        let mut fetch = fetch();
        fetch.add_source(at(0), key(1), 10);
        fetch.add_source(at(0), key(2), size());
        assert_eq!(fetch.requests(at(0)), [(key(1), 0)]);
        assert_eq!(fetch.requests(at(10)), [(key(2), 0), (key(2), 1), (key(2), 2)]);
    }

    #[test]
    fn a_lie_about_the_size_does_not_last() {
        let mut fetch = fetch();
        fetch.add_source(at(0), key(1), 10);
        fetch.add_source(at(0), key(2), size());
        assert_eq!(fetch.requests(at(0)), [(key(1), 0)]);
        assert_eq!(fetch.received(key(1), who(1), 0, 10, vec![0; 10]), Progress::Lie(who(1)));
        fetch.remove_source(key(1));
        let asked = fetch.requests(at(0));
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|(peer, _)| *peer == key(2)));
    }

    #[test]
    fn g9_both_hashes_must_match_and_one_that_does_alone_is_a_conflict() {
        use torrent_format::{InfoHash, InfoHashV2};
        let [(v1, v2), (other_v1, other_v2)] = [metadata(), b"other".to_vec()]
            .map(|info| (InfoHash::of_info(&info), InfoHashV2::of_info(&info)));
        for (v1, v2, expected) in [
            (v1, v2, Progress::Whole(metadata())),
            (v1, other_v2, Progress::Conflict),
            (other_v1, v2, Progress::Conflict),
            (other_v1, other_v2, Progress::Lie(who(1))),
        ] {
            let mut fetch = MetadataFetch::new(InfoHashes::new(Some(v1), Some(v2)).unwrap());
            fetch.add_source(at(0), key(1), size());
            let asked = fetch.requests(at(0));
            let mut give = |&(peer, number)| fetch.received(peer, who(1), number, size(), part(number));
            assert_eq!(asked.iter().map(&mut give).last(), Some(expected));
        }
    }
}
