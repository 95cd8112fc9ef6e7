//! What is in memory of every torrent of the directory: [`Facts`]. Pure.
//!
//! The stores say which torrents match; which of those are asked for, and in which order, is decided here, by arrays that are
//! looked at without touching a disk. How many seeders there are changes with announces and not with the directory, so it is here
//! too: 80 bytes a torrent, and some 30 for each of its info hashes. A column each, since a search that matches a hundred thousand
//! looks at one or two of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use torrent_format::{InfoHash, InfoHashes};

/// Names a torrent in the store: counted from 1, never used again.
pub type Id = u32;

/// All torrents of the directory.
#[derive(Debug, Default)]
pub struct Facts {
    /// By id, as all columns are; [`None`]: there is no such torrent.
    hashes: Vec<Option<InfoHashes>>,
    /// Bytes.
    sizes: Vec<u64>,
    /// In seconds since 1970.
    published: Vec<u64>,
    /// Words of each title; 255 is that or more, 0 that there is no such torrent.
    title_words: Vec<u8>,
    counts: Vec<Counts>,
    by_hash: HashMap<InfoHash, Id>,
    count: usize,
}

/// A [`Live`] that changes.
#[derive(Debug, Default)]
struct Counts {
    seeders: AtomicU32,
    leechers: AtomicU32,
}

/// Who has a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Clients that have everything.
    pub seeders: u32,
    /// Clients that have not.
    pub leechers: u32,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By how well title and text match, and how alive it is.
    #[default]
    Relevance,
    /// The most seeders first.
    Seeders,
    /// The largest first.
    Size,
    /// The newest first.
    Date,
}

/// Which of those that match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// At least so many seeders.
    pub min_seeders: u32,
    /// Somebody has it, or at least wants it.
    pub is_alive: bool,
    /// At least so many bytes.
    pub min_size: Option<u64>,
    /// At most so many bytes.
    pub max_size: Option<u64>,
    /// Published then or later, in seconds since 1970.
    pub since: Option<u64>,
    /// Published before.
    pub until: Option<u64>,
}

/// Where a page ended: what comes after it is less than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// By the order of the page.
    pub key: u64,
    /// Among those with the same.
    pub id: Id,
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub ids: Vec<Id>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where it ended, if anything comes after it.
    pub next: Option<Cursor>,
}

/// What part of the results is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Begins after it.
    pub after: Option<Cursor>,
    /// Leaves out so many.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// What a store says.
#[derive(Clone, Copy, Debug)]
pub enum Matches<'a> {
    /// Everything.
    All,
    /// All but these, in order.
    AllBut(&'a [Id]),
    /// These, in order; the first of them match by title or tags.
    These {
        /// All that match.
        ids: &'a [Id],
        /// Those that match without their files' names, if that matters.
        by_title: &'a [Id],
    },
}

impl Facts {
    /// Takes in a torrent.
    pub fn insert(&mut self, id: Id, hashes: InfoHashes, size: u64, published: u64, title_words: u8) {
        let at = id as usize;
        if self.hashes.len() <= at {
            self.hashes.resize(at + 1, None);
            self.sizes.resize(at + 1, 0);
            self.published.resize(at + 1, 0);
            self.title_words.resize(at + 1, 0);
            self.counts.resize_with(at + 1, Counts::default);
        }
        self.hashes[at] = Some(hashes);
        self.sizes[at] = size;
        self.published[at] = published;
        self.title_words[at] = title_words.max(1);
        self.counts[at] = Counts::default();
        self.by_hash.extend(hashes.swarms().map(|hash| (hash, id)));
        self.count += 1;
    }

    /// Takes a torrent out.
    pub fn remove(&mut self, id: Id, hashes: InfoHashes) {
        if self.hashes.get_mut(id as usize).and_then(Option::take).is_some() {
            self.title_words[id as usize] = 0;
            self.counts[id as usize] = Counts::default();
            self.count -= 1;
            for hash in hashes.swarms() {
                self.by_hash.remove(&hash);
            }
        }
    }

    /// How many torrents there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The torrent that has this swarm.
    pub fn find(&self, swarm: &InfoHash) -> Option<Id> {
        self.by_hash.get(swarm).copied()
    }

    /// The torrent that has one of these.
    pub fn find_any(&self, hashes: InfoHashes) -> Option<Id> {
        hashes.swarms().find_map(|hash| self.find(&hash))
    }

    /// The info hashes of a torrent.
    pub fn hashes(&self, id: Id) -> Option<InfoHashes> {
        *self.hashes.get(id as usize)?
    }

    /// All swarms, and whose they are.
    pub fn swarms(&self) -> impl Iterator<Item = (&InfoHash, Id)> {
        self.by_hash.iter().map(|(hash, &id)| (hash, id))
    }

    /// From now on so many have it.
    pub fn set_live(&self, id: Id, live: Live) {
        if let Some(counts) = self.counts.get(id as usize) {
            counts.seeders.store(live.seeders, Relaxed);
            counts.leechers.store(live.leechers, Relaxed);
        }
    }

    /// How many have it.
    pub fn live(&self, id: Id) -> Live {
        self.counts.get(id as usize).map_or(Live::default(), |counts| Live {
            seeders: counts.seeders.load(Relaxed),
            leechers: counts.leechers.load(Relaxed),
        })
    }

    /// Those that somebody has or wants.
    pub fn alive(&self) -> Vec<Id> {
        (1..self.hashes.len() as Id).filter(|&id| self.live(id) != Live::default()).collect()
    }

    /// The page that is asked for.
    pub fn select(&self, matches: Matches<'_>, sort: Sort, filter: Filter, window: Window) -> Page {
        let mut found: Vec<Cursor> = match matches {
            Matches::All => self.keys(1..self.hashes.len() as Id, sort, filter, &[]).collect(),
            Matches::AllBut(these) => {
                let mut these = these.iter().peekable();
                let others = (1..self.hashes.len() as Id).filter(|id| {
                    while these.next_if(|&these| these < id).is_some() {}
                    these.peek() != Some(&id)
                });
                self.keys(others, sort, filter, &[]).collect()
            }
            Matches::These { ids, by_title } => {
                self.keys(ids.iter().copied(), sort, filter, by_title).collect()
            }
        };
        let total = found.len();
        if let Some(after) = window.after {
            found.retain(|cursor| *cursor < after);
        }
        let end = window.offset.saturating_add(window.limit);
        let descending = |a: &Cursor, b: &Cursor| b.cmp(a);
        let has_more = found.len() > end;
        if has_more {
            // Most of what was found is never looked at: it need not be sorted.
            found.select_nth_unstable_by(end, descending);
            found.truncate(end);
        }
        found.sort_unstable_by(descending);
        let page = found.get(window.offset.min(found.len())..).unwrap_or_default();
        let next = if has_more { page.last().copied() } else { None };
        Page { ids: page.iter().map(|cursor| cursor.id).collect(), total, next }
    }

    /// Looks only at what is asked about.
    fn permits(&self, filter: Filter, at: usize) -> bool {
        let size = || self.sizes[at];
        let published = || self.published[at];
        (filter.min_seeders == 0 || self.counts[at].seeders.load(Relaxed) >= filter.min_seeders)
            && (!filter.is_alive || self.live(at as Id) != Live::default())
            && filter.min_size.is_none_or(|least| size() >= least)
            && filter.max_size.is_none_or(|most| size() <= most)
            && filter.since.is_none_or(|since| published() >= since)
            && filter.until.is_none_or(|until| published() < until)
    }

    /// What is to be sorted of these, which are in order.
    fn keys<'a>(
        &'a self,
        ids: impl Iterator<Item = Id> + 'a,
        sort: Sort,
        filter: Filter,
        by_title: &'a [Id],
    ) -> impl Iterator<Item = Cursor> + 'a {
        let mut by_title = by_title.iter().copied().peekable();
        ids.filter_map(move |id| {
            let at = id as usize;
            let title_words = *self.title_words.get(at).filter(|&&words| words > 0)?;
            while by_title.next_if(|&title| title < id).is_some() {}
            if !self.permits(filter, at) {
                return None;
            }
            let key = match sort {
                Sort::Relevance => relevance(title_words, by_title.peek() == Some(&id), self.live(id)),
                Sort::Seeders => {
                    let live = self.live(id);
                    u64::from(live.seeders) << 32 | u64::from(live.leechers)
                }
                Sort::Size => self.sizes[at],
                Sort::Date => self.published[at],
            };
            Some(Cursor { key, id })
        })
    }
}

/// Words of an ordinary title.
const MEAN_TITLE: f32 = 8.0;

/// BM25 (Robertson and Zaragoza, 2009) where every word is wanted and is there once, as words are in titles: then the rarity
/// of the words is the same factor for all, and what remains is that in a short title they say more. What matches only by its files'
/// names is worth a quarter. Times log(seeders): ten of them are as good as a much better title, a thousand are not.
fn relevance(title_words: u8, is_by_title: bool, live: Live) -> u64 {
    const K1: f32 = 1.2;
    const B: f32 = 0.75;
    let length = f32::from(title_words.max(1)) / MEAN_TITLE;
    let text = (K1 + 1.0) / (1.0 + K1 * (1.0 - B + B * length));
    let field = if is_by_title { 1.0 } else { 0.25 };
    let score = text * field * (live.seeders as f32 + 2.0).log2();
    // Numbers above zero are in the order of their bits.
    u64::from(score.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn hashes(number: u8) -> InfoHashes {
        InfoHash([number; 20]).into()
    }

    /// Four torrents: sizes 40, 30, 20, 10; published on days 1 to 4; seeders 0, 5, 100, 5.
    fn four() -> Facts {
        let mut facts = Facts::default();
        for (id, seeders) in [(1, 0), (2, 5), (3, 100), (4, 5)] {
            facts.insert(id, hashes(id as u8), 50 - 10 * u64::from(id), DAY * u64::from(id), 8);
            facts.set_live(id, Live { seeders, leechers: 0 });
        }
        facts
    }

    fn window(limit: usize) -> Window {
        Window { after: None, offset: 0, limit }
    }

    fn ids(facts: &Facts, sort: Sort, filter: Filter) -> Vec<Id> {
        facts.select(Matches::All, sort, filter, window(10)).ids
    }

    #[test]
    fn each_order_and_each_filter() {
        let facts = four();
        for (sort, expected) in [
            (Sort::Seeders, [3, 4, 2, 1]),
            (Sort::Size, [1, 2, 3, 4]),
            (Sort::Date, [4, 3, 2, 1]),
            (Sort::Relevance, [3, 4, 2, 1]),
        ] {
            assert_eq!(ids(&facts, sort, Filter::default()), expected, "{sort:?}");
        }
        for (filter, expected) in [
            (Filter { min_seeders: 6, ..Filter::default() }, vec![3]),
            (Filter { is_alive: true, ..Filter::default() }, vec![4, 3, 2]),
            (Filter { min_size: Some(20), max_size: Some(30), ..Filter::default() }, vec![3, 2]),
            (Filter { since: Some(2 * DAY), until: Some(4 * DAY), ..Filter::default() }, vec![3, 2]),
        ] {
            assert_eq!(ids(&facts, Sort::Date, filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let facts = four();
        for sort in [Sort::Relevance, Sort::Seeders, Sort::Size, Sort::Date] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = facts.select(Matches::All, sort, Filter::default(), Window { after, ..window(1) });
                assert_eq!(page.total, 4);
                seen.extend(page.ids);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, ids(&facts, sort, Filter::default()), "{sort:?}");
        }
        let page = |offset, limit| {
            facts.select(Matches::All, Sort::Date, Filter::default(), Window { after: None, offset, limit })
        };
        assert_eq!(page(1, 2).ids, [3, 2]);
        assert_eq!(page(usize::MAX, usize::MAX).ids, [0; 0]);
        assert_eq!(page(4, 1).next, None);
        assert_eq!(page(0, 0).ids, [0; 0]);
    }

    #[test]
    fn matches_are_these_or_all_but_these() {
        let facts = four();
        let select = |matches| facts.select(matches, Sort::Date, Filter::default(), window(10)).ids;
        assert_eq!(select(Matches::AllBut(&[2, 3, 9])), [4, 1]);
        assert_eq!(select(Matches::These { ids: &[1, 3, 7], by_title: &[] }), [3, 1]);
    }

    #[test]
    fn relevance_prefers_titles_then_short_ones_and_those_that_are_alive() {
        let mut facts = Facts::default();
        // In the files' names only; in a long title; in a short one; in a long one with seeders.
        for (id, title_words, seeders) in [(1, 4, 1), (2, 20, 0), (3, 4, 0), (4, 20, 200)] {
            facts.insert(id, hashes(id as u8), 1, 1, title_words);
            facts.set_live(id, Live { seeders, leechers: 0 });
        }
        let matches = Matches::These { ids: &[1, 2, 3, 4], by_title: &[2, 3, 4] };
        let page = facts.select(matches, Sort::Relevance, Filter::default(), window(10));
        assert_eq!(page.ids, [4, 3, 2, 1]);
    }

    #[test]
    fn what_is_removed_is_gone() {
        let mut facts = four();
        facts.remove(3, hashes(3));
        facts.remove(3, hashes(3));
        assert_eq!((facts.len(), facts.find(&InfoHash([3; 20]))), (3, None));
        assert_eq!(facts.find_any(hashes(4)), Some(4));
        assert_eq!(ids(&facts, Sort::Date, Filter::default()), [4, 2, 1]);
        assert_eq!(facts.alive(), [2, 4]);
    }
}
