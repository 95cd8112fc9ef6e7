//! One torrent's peers of both address families: [`Torrent`].

use torrent_format::InfoHash;
use torrent_format::announce::http::ScrapeEntry;

use super::entry::{Entry, Mark, Role, V4, V6};
use super::hash::Keys;
use super::list::{Counts, Found, PeerList};

/// A swarm: 72 bytes and what does not lie inline.
#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) info_hash: InfoHash,
    /// Leechers of this swarm that became seeds.
    pub(super) downloaded: u32,
    /// Last announce, in seconds since the start.
    pub(super) touched: u32,
    pub(super) v4: PeerList<V4>,
    /// Most swarms have no IPv6 peers.
    pub(super) v6: Option<Box<Ipv6Side>>,
}

/// The IPv6 peers of a swarm, and which of them are clients that are listed by IPv4 too.
#[derive(Debug, Default)]
pub(super) struct Ipv6Side {
    pub(super) list: PeerList<V6>,
    /// How many entries are marked as paired, by role.
    paired: [u32; 3],
}

/// What an announce did to a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Upserted {
    /// Where the peer is; [`None`] if it was not taken in.
    pub(super) position: Option<usize>,
    /// It was not there before.
    pub(super) is_new: bool,
    /// It is the announce by which a known leecher became a seed.
    pub(super) completed: bool,
}

impl Torrent {
    pub(super) fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, downloaded: 0, touched: 0, v4: PeerList::default(), v6: None }
    }

    /// Entries of both lists.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6_len()
    }

    pub(super) fn v6_len(&self) -> usize {
        self.v6.as_ref().map_or(0, |v6| v6.list.len())
    }

    pub(super) fn v6_counts(&self) -> Counts {
        self.v6.as_ref().map_or(Counts::default(), |v6| v6.list.counts())
    }

    /// How many entries are the second one of a client.
    pub(super) fn paired(&self) -> usize {
        self.v6.as_ref().map_or(0, |v6| v6.paired.iter().sum::<u32>() as usize)
    }

    /// Clients: one that is listed by both families counts once.
    pub(super) fn clients(&self) -> Counts {
        let (v4, v6) = (self.v4.counts(), self.v6_counts());
        let paired = |role: Role| self.v6.as_ref().map_or(0, |side| side.paired[role as usize] as usize);
        let partial = paired(Role::PartialSeed);
        Counts {
            seeds: v4.seeds + v6.seeds - paired(Role::Seed),
            leechers: v4.leechers + v6.leechers - paired(Role::Leecher) - partial,
            partial_seeds: v4.partial_seeds + v6.partial_seeds - partial,
        }
    }

    pub(super) fn scrape(&self) -> ScrapeEntry {
        let Counts { seeds, leechers, partial_seeds } = self.clients();
        ScrapeEntry {
            complete: seeds as u32,
            downloaded: self.downloaded,
            downloaders: Some((leechers - partial_seeds) as u32),
            incomplete: leechers as u32,
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes() + self.v6.as_ref().map_or(0, |v6| size_of::<Ipv6Side>() + v6.list.heap_bytes())
    }

    /// Takes in an IPv4 peer, or what is new about it. It is not taken in if `max_of_host` peers of its host are there.
    /// `completes`: it says that it has just become a seed.
    pub(super) fn upsert_v4(
        &mut self,
        keys: &Keys,
        addr: [u8; V4],
        found: Found,
        mark: Mark,
        completes: bool,
        max_of_host: usize,
    ) -> Upserted {
        let before = match found {
            Found::At(position) => Some(self.v4.entry(position).mark()),
            Found::Not { of_host } if of_host >= max_of_host => return Upserted::default(),
            Found::Not { .. } => None,
        };
        if let (Some(before), Some(v6)) = (before, &mut self.v6)
            && before.identity != mark.identity
        {
            v6.unpair(before.identity);
        }
        let counted_before = before.is_some_and(|before| before.counted)
            || self.v6.as_mut().is_some_and(|v6| v6.pair(mark.identity));
        let completed =
            completes && before.is_some_and(|before| before.role != Role::Seed) && !counted_before;
        let mark = Mark { counted: counted_before || completed, ..mark };
        if completed && let Some(v6) = &mut self.v6 {
            v6.set_counted(mark.identity);
        }
        let position = match found {
            Found::At(position) => self.v4.update(keys, position, mark),
            Found::Not { .. } => self.v4.insert(keys, Entry::new(addr, mark)),
        };
        Upserted { position: Some(position), is_new: before.is_none(), completed }
    }

    /// As [`upsert_v4`](Self::upsert_v4), for an IPv6 peer.
    pub(super) fn upsert_v6(
        &mut self,
        keys: &Keys,
        addr: [u8; V6],
        found: Found,
        mark: Mark,
        completes: bool,
        max_of_host: usize,
    ) -> Upserted {
        if matches!(found, Found::Not { of_host } if of_host >= max_of_host) {
            return Upserted::default();
        }
        let v6 = self.v6.get_or_insert_default();
        let before = match found {
            Found::At(position) => Some(v6.list.entry(position).mark()),
            Found::Not { .. } => None,
        };
        let mut paired = before.is_some_and(|before| before.paired && before.identity == mark.identity);
        let mut counted = before.is_some_and(|before| before.counted);
        // In a large IPv4 list it is not looked for: its own next announce finds this one.
        if !paired && mark.identity != 0 && self.v4.knows_identities() {
            let v4 = &self.v4;
            v4.for_identity(mark.identity, |position| {
                paired = true;
                counted |= v4.entry(position).mark().counted;
            });
        }
        let completed = completes && before.is_some_and(|before| before.role != Role::Seed) && !counted;
        let mark = Mark { counted: counted || completed, paired, ..mark };
        if let Some(before) = before.filter(|before| before.paired) {
            v6.paired[before.role as usize] -= 1;
        }
        v6.paired[mark.role as usize] += u32::from(paired);
        let position = match found {
            Found::At(position) => v6.list.update(keys, position, mark),
            Found::Not { .. } => v6.list.insert(keys, Entry::new(addr, mark)),
        };
        Upserted { position: Some(position), is_new: before.is_none(), completed }
    }

    pub(super) fn remove_v4(&mut self, keys: &Keys, position: usize) {
        let removed = self.v4.remove(keys, position);
        if let Some(v6) = &mut self.v6 {
            v6.unpair(removed.identity());
        }
    }

    pub(super) fn remove_v6(&mut self, keys: &Keys, position: usize) {
        if let Some(v6) = &mut self.v6 {
            let removed = v6.list.remove(keys, position);
            v6.forget_pair(&removed);
        }
        self.drop_empty_side();
    }

    /// See [`PeerList::expire`].
    pub(super) fn expire_v4(&mut self, keys: &Keys, time: (u32, u32), range: (usize, usize)) -> usize {
        let Self { v4, v6, .. } = self;
        v4.expire(keys, time, range, |removed| {
            if let Some(v6) = v6 {
                v6.unpair(removed.identity());
            }
        })
    }

    /// See [`PeerList::expire`].
    pub(super) fn expire_v6(&mut self, keys: &Keys, time: (u32, u32), range: (usize, usize)) -> usize {
        let Some(v6) = &mut self.v6 else { return 0 };
        let Ipv6Side { list, paired } = &mut **v6;
        let rest = list.expire(keys, time, range, |removed| {
            paired[removed.role() as usize] -= u32::from(removed.mark().paired);
        });
        self.drop_empty_side();
        rest
    }

    fn drop_empty_side(&mut self) {
        if self.v6_len() == 0 {
            self.v6 = None;
        }
    }
}

impl Ipv6Side {
    /// Marks the entries of this client, which is listed by IPv4, as not to be counted again. Says whether one of them has
    /// counted its completion.
    fn pair(&mut self, identity: u32) -> bool {
        let mut counted = false;
        for position in self.of(identity, false) {
            counted |= self.list.entry(position).mark().counted;
            self.paired[self.list.entry(position).role() as usize] += 1;
            self.list.amend(position, |mark| mark.paired = true);
        }
        for position in self.of(identity, true) {
            counted |= self.list.entry(position).mark().counted;
        }
        counted
    }

    /// The client is no longer listed by IPv4.
    fn unpair(&mut self, identity: u32) {
        for position in self.of(identity, true) {
            self.paired[self.list.entry(position).role() as usize] -= 1;
            self.list.amend(position, |mark| mark.paired = false);
        }
    }

    fn set_counted(&mut self, identity: u32) {
        for position in self.of(identity, true) {
            self.list.amend(position, |mark| mark.counted = true);
        }
    }

    fn forget_pair(&mut self, removed: &Entry<V6>) {
        self.paired[removed.role() as usize] -= u32::from(removed.mark().paired);
    }

    /// Where the client's entries are that are or are not paired: a few at most, one for each of its addresses.
    fn of(&self, identity: u32, paired: bool) -> impl Iterator<Item = usize> + use<> {
        /// Someone with more addresses than this is counted more than once.
        const MAX: usize = 4;
        let mut positions = [None; MAX];
        let mut found = 0;
        if identity != 0 {
            self.list.for_identity(identity, |position| {
                if found < MAX && self.list.entry(position).mark().paired == paired {
                    positions[found] = Some(position);
                    found += 1;
                }
            });
        }
        positions.into_iter().flatten()
    }
}
