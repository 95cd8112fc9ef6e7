//! When to tell which tracker what: tiers (BEP 12), events and intervals (BEP 3), back-off. A hybrid torrent is two swarms to its trackers,
//! so each has [`Announcer`]s of its own; [`Announcers`] holds them.
//!
//! BEP 12 asks one tracker at a time, and the next only if that fails. Where every tier is of one tracker, nobody has said which of them
//! belong together, as in every magnet: those are dealt out to several announcers, each of which goes through its own share like that. So
//! a list of which half is dead costs no time, and who is known to one tracker only is found.

use std::sync::Arc;
use std::time::Duration;

use torrent_format::InfoHash;
use torrent_format::announce::{AnnounceEvent, AnnounceReply};

use super::Time;
use super::action::{AnnounceFailure, Swarm};

/// A tracker of a torrent, as far as one of the torrent's swarms is concerned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackerId {
    swarm: Swarm,
    number: u32,
}

impl TrackerId {
    /// The swarm that is meant.
    pub(super) fn swarm(self) -> Swarm {
        self.swarm
    }
}

/// A tracker may ask to be left alone no longer than this, and no shorter than [`SHORTEST_INTERVAL`].
const LONGEST_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);

/// With nobody to talk to we ask again this soon, if the tracker allows it.
const LONELY_INTERVAL: Duration = Duration::from_secs(60);

/// With few of them this soon, if there are more in the swarm than were named. If not yet, and each time in a row, twice as long, since
/// it may not help.
const WANTING_INTERVAL: Duration = Duration::from_secs(2 * 60);

/// The wait after the first round in which no tracker answered; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(15);
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

/// Peers that we ask for.
const NUMWANT: u32 = 50;

/// Trackers of one swarm that are told at a time, where the tiers say nothing of their order.
const AT_ONCE: usize = 8;

#[derive(Debug)]
struct Tracker {
    id: TrackerId,
    url: Arc<str>,
    /// It wants nothing before, not even news (BEP 31).
    resting_until: Time,
    /// It wants no announce without news before (`min interval`).
    not_before: Time,
    /// It knows of us, so it must hear `stopped`.
    knows_us: bool,
    is_failing: bool,
    heard_completed: bool,
    tracker_id: Option<Vec<u8>>,
    /// What had come and gone when it was first sent `started`.
    started_at: Option<Totals>,
}

/// Bytes of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Totals {
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
}

/// What to say to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announcement {
    pub(super) tracker: TrackerId,
    pub(super) info_hash: InfoHash,
    pub(super) url: Arc<str>,
    pub(super) event: AnnounceEvent,
    pub(super) numwant: u32,
    pub(super) tracker_id: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    /// The next announce is due then.
    Waiting(Time),
    /// This one was asked; it is the `position`th in this round's order.
    Asking { tracker: TrackerId, position: usize, event: AnnounceEvent },
    /// `stopped` has been sent to so many that have not answered yet.
    Stopping(usize),
    /// Nothing more to say.
    Silent,
}

/// All that a torrent says to trackers.
#[derive(Debug)]
pub(super) struct Announcers {
    tiers: Vec<Vec<String>>,
    /// BEP 12 to the letter: one tracker at a time.
    one_at_a_time: bool,
    of_swarms: Vec<Announcer>,
    /// The download finished in this run: a swarm that is joined later hears of it too.
    completed: bool,
}

impl Announcers {
    /// `one_at_a_time`: the torrent is private (BEP 27), so that each tracker has a swarm of its own.
    pub(super) fn new(tiers: Vec<Vec<String>>, one_at_a_time: bool) -> Self {
        Self { tiers, one_at_a_time, of_swarms: Vec::new(), completed: false }
    }

    /// Announces in this swarm too, from `now` on, if it does not yet.
    pub(super) fn join(&mut self, now: Time, swarm: Swarm, info_hash: InfoHash, seed: u64) {
        if self.of_swarms.iter().any(|announcer| announcer.swarm == swarm) {
            return;
        }
        let mut seeds = fastrand::Rng::with_seed(seed);
        for share in deal(numbered(&self.tiers), self.one_at_a_time) {
            let mut announcer = Announcer::new(share, swarm, info_hash, seeds.u64(..));
            if let State::Waiting(due) = &mut announcer.state {
                *due = now;
            }
            announcer.completed = self.completed;
            self.of_swarms.push(announcer);
        }
    }

    pub(super) fn url(&self, tracker: TrackerId) -> Option<&Arc<str>> {
        self.of_swarms.iter().find_map(|announcer| announcer.tracker(tracker)).map(|tracker| &tracker.url)
    }

    fn announcer_of(&mut self, tracker: TrackerId) -> Option<&mut Announcer> {
        self.of_swarms.iter_mut().find(|announcer| announcer.tracker(tracker).is_some())
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.of_swarms.iter().filter_map(Announcer::next_due).min()
    }

    /// How many trackers there are, each counted once a swarm.
    pub(super) fn count(&self) -> usize {
        self.of_swarms.iter().map(|announcer| announcer.trackers.len()).sum()
    }

    /// Those that failed when they were asked last.
    pub(super) fn count_failing(&self) -> usize {
        let trackers = self.of_swarms.iter().flat_map(|announcer| &announcer.trackers);
        trackers.filter(|tracker| tracker.is_failing).count()
    }

    /// What is to be said now. Ask until there is nothing.
    pub(super) fn poll(&mut self, now: Time) -> Option<Announcement> {
        self.of_swarms.iter_mut().find_map(|announcer| announcer.poll(now))
    }

    /// The last wanted piece has arrived: tell the trackers now.
    pub(super) fn completed(&mut self, now: Time) {
        self.completed = true;
        self.of_swarms.iter_mut().for_each(|announcer| announcer.completed(now));
    }

    /// There is nobody to talk to.
    pub(super) fn lonely(&mut self) {
        self.of_swarms.iter_mut().for_each(Announcer::lonely);
    }

    /// Others reach us elsewhere than trackers were told.
    pub(super) fn moved(&mut self) {
        self.of_swarms.iter_mut().for_each(Announcer::moved);
    }

    /// There are few to talk to, and nobody left to dial.
    pub(super) fn wanting(&mut self) {
        self.of_swarms.iter_mut().for_each(Announcer::wanting);
    }

    /// Of what has come and gone by now, what a tracker is told with this: what did since it was sent `started` (BEP 3). A `started` that is sent again,
    /// because nobody answered it, counts from the first: it may have come.
    pub(super) fn since_started(&mut self, announcement: &Announcement, now: Totals) -> Totals {
        let (id, event) = (announcement.tracker, announcement.event);
        let Some(tracker) = self.announcer_of(id).and_then(|announcer| announcer.tracker_mut(id)) else {
            return now;
        };
        let before = match event {
            AnnounceEvent::Started => *tracker.started_at.get_or_insert(now),
            _ => tracker.started_at.unwrap_or_default(),
        };
        Totals {
            uploaded: now.uploaded.saturating_sub(before.uploaded),
            downloaded: now.downloaded.saturating_sub(before.downloaded),
        }
    }

    /// Says goodbye: see [`Announcer::stop`].
    pub(super) fn stop(&mut self) -> Vec<Announcement> {
        self.of_swarms.iter_mut().flat_map(Announcer::stop).collect()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.of_swarms.iter().all(Announcer::is_stopped)
    }

    pub(super) fn failed(
        &mut self,
        now: Time,
        tracker: TrackerId,
        failure: &AnnounceFailure,
    ) -> (Option<Announcement>, Duration) {
        let announcer = self.announcer_of(tracker);
        announcer.map_or((None, Duration::ZERO), |announcer| announcer.failed(now, tracker, failure))
    }

    pub(super) fn succeeded(&mut self, now: Time, tracker: TrackerId, reply: &AnnounceReply) {
        if let Some(announcer) = self.announcer_of(tracker) {
            announcer.succeeded(now, tracker, reply);
        }
    }
}

/// Trackers in tiers, each with its number.
type Tiers = Vec<Vec<(u32, Arc<str>)>>;

/// Each URL once, at its first place.
fn numbered(tiers: &[Vec<String>]) -> Tiers {
    let mut seen: Vec<&str> = Vec::new();
    let mut numbered = Vec::new();
    for tier in tiers {
        let mut new = Vec::new();
        for url in tier {
            if !seen.contains(&url.as_str()) {
                new.push((seen.len() as u32, Arc::from(url.as_str())));
                seen.push(url);
            }
        }
        if !new.is_empty() {
            numbered.push(new);
        }
    }
    numbered
}

/// A share of the trackers for each announcer.
fn deal(tiers: Tiers, one_at_a_time: bool) -> Vec<Tiers> {
    if one_at_a_time || tiers.iter().any(|tier| tier.len() > 1) {
        return vec![tiers];
    }
    let mut shares = vec![Vec::new(); tiers.len().min(AT_ONCE)];
    for (number, tier) in tiers.into_iter().enumerate() {
        shares[number % AT_ONCE].push(tier);
    }
    shares
}

#[derive(Debug)]
struct Announcer {
    swarm: Swarm,
    info_hash: InfoHash,
    trackers: Vec<Tracker>,
    /// The order to try them in, tier by tier. Within a tier, who answered moves to the front (BEP 12).
    tiers: Vec<Vec<TrackerId>>,
    state: State,
    failed_rounds: u32,
    /// The download finished in this run, so trackers are to hear `completed`.
    completed: bool,
    /// Who is asked right now is told of an address that is not ours any more.
    moved: bool,
    /// Who answered last, and when.
    last_success: Option<(TrackerId, Time)>,
    /// It has named some of the swarm only.
    knows_more: bool,
    /// The next announce is sooner than the tracker said, and so many were before it in a row.
    is_early: bool,
    early_in_a_row: u32,
    rng: fastrand::Rng,
}

impl Announcer {
    fn new(tiers: Tiers, swarm: Swarm, info_hash: InfoHash, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut order = Vec::new();
        for tier in tiers {
            let mut ids = Vec::new();
            for (number, url) in tier {
                let id = TrackerId { swarm, number };
                ids.push(id);
                trackers.push(Tracker {
                    id,
                    url,
                    resting_until: Time::default(),
                    not_before: Time::default(),
                    knows_us: false,
                    is_failing: false,
                    heard_completed: false,
                    tracker_id: None,
                    started_at: None,
                });
            }
            rng.shuffle(&mut ids);
            order.push(ids);
        }
        let state = if trackers.is_empty() { State::Silent } else { State::Waiting(Time::default()) };
        Self {
            swarm,
            info_hash,
            trackers,
            tiers: order,
            state,
            failed_rounds: 0,
            completed: false,
            moved: false,
            last_success: None,
            knows_more: false,
            is_early: false,
            early_in_a_row: 0,
            rng,
        }
    }

    fn tracker(&self, id: TrackerId) -> Option<&Tracker> {
        self.trackers.iter().find(|tracker| tracker.id == id)
    }

    fn tracker_mut(&mut self, id: TrackerId) -> Option<&mut Tracker> {
        self.trackers.iter_mut().find(|tracker| tracker.id == id)
    }

    fn next_due(&self) -> Option<Time> {
        match self.state {
            State::Waiting(due) => Some(due),
            _ => None,
        }
    }

    /// What is to be said now, if anything is due.
    fn poll(&mut self, now: Time) -> Option<Announcement> {
        if !matches!(self.state, State::Waiting(due) if due <= now) {
            return None;
        }
        let next = self.ask(now, 0);
        if next.is_none() {
            self.state = State::Waiting(self.earliest());
        }
        next
    }

    /// When the first of its trackers wants to hear from us again.
    fn earliest(&self) -> Time {
        self.trackers.iter().map(|tracker| self.welcome(tracker)).min().unwrap_or_default()
    }

    /// When this tracker wants to hear from us again.
    fn welcome(&self, tracker: &Tracker) -> Time {
        match self.event_for(tracker) {
            AnnounceEvent::Regular => tracker.resting_until.max(tracker.not_before),
            _ => tracker.resting_until,
        }
    }

    fn event_for(&self, tracker: &Tracker) -> AnnounceEvent {
        match tracker {
            Tracker { knows_us: false, .. } => AnnounceEvent::Started,
            Tracker { heard_completed: false, .. } if self.completed => AnnounceEvent::Completed,
            _ => AnnounceEvent::Regular,
        }
    }

    /// The last wanted piece has arrived: tell the tracker now.
    fn completed(&mut self, now: Time) {
        self.completed = true;
        if let State::Waiting(due) = &mut self.state {
            *due = now;
        }
    }

    /// There is nobody to talk to: ask sooner than the interval says, but no sooner than the tracker allows.
    fn lonely(&mut self) {
        let Some((tracker, last)) = self.last_success else { return };
        let allowed = self.tracker(tracker).map_or(last, |tracker| tracker.not_before);
        if let State::Waiting(due) = &mut self.state {
            *due = (*due).min((last + LONELY_INTERVAL).max(allowed));
        }
    }

    /// What was said is not true any more: the tracker hears anew, as soon as it allows.
    fn moved(&mut self) {
        let told = self.last_success.and_then(|(tracker, _)| self.tracker(tracker));
        let welcome = told.map(|tracker| self.welcome(tracker));
        match (&mut self.state, welcome) {
            (State::Waiting(due), Some(welcome)) => *due = welcome.min(*due),
            (State::Asking { .. }, _) => self.moved = true,
            _ => {}
        }
    }

    /// There are few to talk to: ask sooner too, if that may help, but less and less often.
    fn wanting(&mut self) {
        let Some((tracker, last)) = self.last_success else { return };
        let allowed = self.tracker(tracker).map_or(last, |tracker| tracker.not_before);
        let wait = WANTING_INTERVAL * (1 << (self.early_in_a_row + u32::from(!self.knows_more)).min(10));
        let early = (last + wait).max(allowed);
        if let State::Waiting(due) = &mut self.state
            && early < *due
        {
            *due = early;
            self.is_early = true;
        }
    }

    /// Says goodbye to every tracker that knows us, and first that we completed, if it has not heard of that. Only the goodbyes are waited
    /// for: the owner sends a tracker's announces in order.
    fn stop(&mut self) -> Vec<Announcement> {
        if matches!(self.state, State::Stopping(_)) {
            return Vec::new();
        }
        // One that is being asked right now may know us by the time it answers.
        let asked = match self.state {
            State::Asking { tracker, event, .. } => Some((tracker, event)),
            _ => None,
        };
        let mut last_words = Vec::new();
        let mut goodbyes = 0;
        for tracker in &self.trackers {
            let id = tracker.id;
            let is_asked = asked.is_some_and(|(asked, _)| asked == id);
            if !tracker.knows_us && !is_asked {
                continue;
            }
            let told = tracker.heard_completed || asked == Some((id, AnnounceEvent::Completed));
            if self.completed && tracker.knows_us && !told {
                last_words.push(self.announcement(tracker, AnnounceEvent::Completed, 0));
            }
            last_words.push(self.announcement(tracker, AnnounceEvent::Stopped, 0));
            goodbyes += 1;
        }
        self.state = State::Stopping(goodbyes);
        last_words
    }

    fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopping(0))
    }

    /// The next tracker to try after a failure, if the round is not over, and when the failed one's turn comes again.
    fn failed(
        &mut self,
        now: Time,
        tracker: TrackerId,
        failure: &AnnounceFailure,
    ) -> (Option<Announcement>, Duration) {
        let position = match &mut self.state {
            State::Stopping(left) => {
                *left = left.saturating_sub(1);
                return (None, Duration::ZERO);
            }
            State::Asking { tracker: asked, position, .. } if *asked == tracker => *position,
            _ => return (None, Duration::ZERO),
        };
        if let Some(tracker) = self.tracker_mut(tracker) {
            tracker.is_failing = true;
        }
        let doubled = FIRST_WAIT * (1 << self.failed_rounds.min(10));
        let jitter = Duration::from_millis(self.rng.u64(0..3_000));
        let mut wait = doubled.min(LONGEST_WAIT) + jitter;
        if let Some(asked_for) = failure.retry_after {
            let rest = asked_for.max(FIRST_WAIT) + jitter;
            if let Some(tracker) = self.tracker_mut(tracker) {
                tracker.resting_until = now + rest;
            }
            wait = rest;
        }
        let next = self.ask(now, position + 1);
        if next.is_none() {
            self.failed_rounds += 1;
            let again = now + doubled.min(LONGEST_WAIT) + jitter;
            self.state = State::Waiting(again.max(self.earliest()));
        }
        (next, wait)
    }

    /// A tracker answered.
    fn succeeded(&mut self, now: Time, tracker: TrackerId, reply: &AnnounceReply) {
        let event = match &mut self.state {
            State::Stopping(left) => {
                *left = left.saturating_sub(1);
                return;
            }
            State::Asking { tracker: asked, event, .. } if *asked == tracker => *event,
            _ => return,
        };
        let interval = reply.interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        let minimum = reply.min_interval.unwrap_or(SHORTEST_INTERVAL).min(interval);
        let completed = self.completed;
        let Some(entry) = self.tracker_mut(tracker) else { return };
        entry.knows_us = true;
        entry.is_failing = false;
        entry.heard_completed |= event == AnnounceEvent::Completed;
        entry.not_before = now + minimum;
        if reply.tracker_id.is_some() {
            entry.tracker_id.clone_from(&reply.tracker_id);
        }
        let owes_completed = completed && !entry.heard_completed;
        for tier in &mut self.tiers {
            if let Some(at) = tier.iter().position(|&id| id == tracker) {
                tier[..=at].rotate_right(1);
            }
        }
        self.failed_rounds = 0;
        self.early_in_a_row = if std::mem::take(&mut self.is_early) { self.early_in_a_row + 1 } else { 0 };
        // We are one of those it counts.
        let others =
            reply.complete.zip(reply.incomplete).map(|(seeds, leechers)| seeds.saturating_add(leechers));
        self.knows_more = match others {
            Some(all) => all as usize > reply.peers.len() + 1,
            None => reply.peers.len() >= NUMWANT as usize,
        };
        self.last_success = Some((tracker, now));
        let wait = match (owes_completed, std::mem::take(&mut self.moved)) {
            (true, _) => Duration::ZERO,
            (false, true) => minimum,
            (false, false) => interval,
        };
        self.state = State::Waiting(now + wait);
    }

    /// Asks the first tracker from this position of the round's order on that wants to be asked.
    fn ask(&mut self, now: Time, position: usize) -> Option<Announcement> {
        let order = self.tiers.iter().flatten().enumerate().skip(position);
        let mut known = order.filter_map(|(position, &id)| Some((position, self.tracker(id)?)));
        let (position, tracker) = known.find(|(_, tracker)| self.welcome(tracker) <= now)?;
        let event = self.event_for(tracker);
        let announcement = self.announcement(tracker, event, NUMWANT);
        self.state = State::Asking { tracker: announcement.tracker, position, event };
        Some(announcement)
    }

    fn announcement(&self, tracker: &Tracker, event: AnnounceEvent, numwant: u32) -> Announcement {
        Announcement {
            tracker: tracker.id,
            info_hash: self.info_hash,
            url: Arc::clone(&tracker.url),
            event,
            numwant,
            tracker_id: tracker.tracker_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcer(tiers: &[&[&str]]) -> Announcer {
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
        Announcer::new(numbered(&tiers), Swarm::V1, InfoHash([1; 20]), 1)
    }

    const FIRST: TrackerId = TrackerId { swarm: Swarm::V1, number: 0 };

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    fn failure() -> AnnounceFailure {
        AnnounceFailure { message: "refused".into(), retry_after: None }
    }

    fn reply(interval: u64) -> AnnounceReply {
        AnnounceReply { interval: Duration::from_secs(interval), ..AnnounceReply::default() }
    }

    fn said(announcement: Option<Announcement>) -> Option<(String, AnnounceEvent)> {
        announcement.map(|a| (a.url.to_string(), a.event))
    }

    fn said_to(url: &str, event: AnnounceEvent) -> Option<(String, AnnounceEvent)> {
        Some((url.into(), event))
    }

    #[test]
    fn started_then_regular_at_the_interval_then_completed_at_once_then_stopped() {
        let mut announcer = announcer(&[&["a"]]);
        let id = FIRST;
        assert_eq!(said(announcer.poll(at(0))), said_to("a", AnnounceEvent::Started));
        assert_eq!(announcer.poll(at(0)), None, "one at a time");
        announcer.succeeded(at(1), id, &reply(1_800));
        assert_eq!((announcer.poll(at(1_800)), announcer.next_due()), (None, Some(at(1_801))));
        assert_eq!(said(announcer.poll(at(1_801))), said_to("a", AnnounceEvent::Regular));
        announcer.succeeded(at(1_801), id, &reply(1_800));
        announcer.completed(at(2_000));
        assert_eq!(said(announcer.poll(at(2_000))), said_to("a", AnnounceEvent::Completed));
        announcer.succeeded(at(2_000), id, &reply(1_800));
        assert_eq!(said(announcer.poll(at(9_000))), said_to("a", AnnounceEvent::Regular));
        assert_eq!(announcer.stop().len(), 1);
        assert!(!announcer.is_stopped());
        announcer.succeeded(at(9_001), id, &reply(1_800));
        assert!(announcer.is_stopped());
    }

    #[test]
    fn completed_while_asking_is_said_right_after() {
        let mut announcer = announcer(&[&["a"]]);
        announcer.poll(at(0));
        announcer.completed(at(1));
        announcer.succeeded(at(2), FIRST, &reply(1_800));
        assert_eq!(said(announcer.poll(at(2))), said_to("a", AnnounceEvent::Completed));
    }

    #[test]
    fn the_next_tier_is_tried_when_one_fails_and_who_answers_moves_to_its_front() {
        let mut announcer = announcer(&[&["a"], &["b", "c"]]);
        let first = announcer.poll(at(0)).unwrap();
        assert_eq!(&*first.url, "a");
        let second = announcer.failed(at(0), first.tracker, &failure()).0.unwrap();
        let third = announcer.failed(at(0), second.tracker, &failure()).0.unwrap();
        announcer.succeeded(at(0), third.tracker, &reply(60));
        assert_eq!(announcer.tiers[1][0], third.tracker);
        assert_eq!(&*announcer.poll(at(60)).unwrap().url, "a", "BEP 12: the first tier first, each time");
    }

    #[test]
    fn a_round_of_failures_waits_longer_each_time() {
        let mut announcer = announcer(&[&["a"], &["b"]]);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let a = announcer.poll(now).unwrap();
            let b = announcer.failed(now, a.tracker, &failure()).0.unwrap();
            assert_eq!(announcer.failed(now, b.tracker, &failure()).0, None);
            let due = announcer.next_due().unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        for (wait, expected) in waits.iter().zip([15, 30, 60, 120, 240, 480, 960, 1_800, 1_800]) {
            assert!((expected..expected + 3).contains(wait), "{waits:?}");
        }
    }

    #[test]
    fn absurd_intervals_are_clamped_and_the_tracker_s_own_wish_is_kept() {
        let mut announcer = announcer(&[&["a"]]);
        announcer.poll(at(0));
        announcer.succeeded(at(0), FIRST, &reply(0));
        assert_eq!(announcer.next_due(), Some(at(60)));
        announcer.poll(at(60));
        announcer.succeeded(at(60), FIRST, &reply(u64::MAX / 2));
        assert_eq!(announcer.next_due(), Some(at(60 + 7_200)));
        announcer.poll(at(8_000));
        let wish = AnnounceFailure { retry_after: Some(Duration::from_secs(600)), ..failure() };
        let (_, wait) = announcer.failed(at(8_000), FIRST, &wish);
        assert!((600..603).contains(&wait.as_secs()));
    }

    #[test]
    fn the_lonely_ask_sooner_but_not_before_the_tracker_allows() {
        let mut announcer = announcer(&[&["a"]]);
        announcer.poll(at(0));
        let patient = AnnounceReply { min_interval: Some(Duration::from_secs(300)), ..reply(1_800) };
        announcer.succeeded(at(0), FIRST, &patient);
        announcer.lonely();
        assert_eq!(announcer.next_due(), Some(at(300)));
        announcer.poll(at(300));
        announcer.succeeded(at(300), FIRST, &reply(1_800));
        announcer.lonely();
        assert_eq!(announcer.next_due(), Some(at(360)));
    }

    #[test]
    fn a_new_port_is_told_as_soon_as_the_tracker_allows() {
        let mut announcer = announcer(&[&["a"]]);
        announcer.poll(at(0));
        announcer.moved();
        announcer.succeeded(at(0), FIRST, &reply(1_800));
        assert_eq!(announcer.next_due(), Some(at(60)), "it was asked with the old one");
        announcer.poll(at(60));
        announcer.succeeded(at(60), FIRST, &reply(1_800));
        assert_eq!(announcer.next_due(), Some(at(1_860)));
        announcer.moved();
        assert_eq!(announcer.next_due(), Some(at(120)));
    }

    #[test]
    fn who_leaves_before_completed_was_said_says_it_on_leaving() {
        let mut announcer = announcer(&[&["dead"], &["live"]]);
        let dead = announcer.poll(at(0)).unwrap();
        let live = announcer.failed(at(0), dead.tracker, &failure()).0.unwrap();
        announcer.succeeded(at(0), live.tracker, &reply(1_800));
        announcer.completed(at(5));
        assert_eq!(&*announcer.poll(at(5)).unwrap().url, "dead");
        let last_words: Vec<_> = announcer.stop().into_iter().map(|a| (a.url.to_string(), a.event)).collect();
        assert_eq!(
            last_words,
            [
                ("dead".into(), AnnounceEvent::Stopped),
                ("live".into(), AnnounceEvent::Completed),
                ("live".into(), AnnounceEvent::Stopped)
            ]
        );
    }

    #[test]
    fn a_tracker_that_never_answered_hears_no_goodbye() {
        let mut announcer = announcer(&[&["a"]]);
        let asked = announcer.poll(at(0)).unwrap();
        announcer.failed(at(1), asked.tracker, &failure());
        assert_eq!(announcer.stop(), []);
        assert!(announcer.is_stopped());
    }

    #[test]
    fn no_trackers_is_silence() {
        let mut announcer = announcer(&[]);
        assert_eq!((announcer.poll(at(0)), announcer.next_due()), (None, None));
        announcer.stop();
        assert!(announcer.is_stopped());
    }

    #[test]
    fn the_same_url_twice_is_one_tracker() {
        assert_eq!(announcer(&[&["a", "a"], &["a"]]).trackers.len(), 1);
    }

    /// Which are told at once, by their URLs.
    fn told_at_once(tiers: &[&[&str]], one_at_a_time: bool) -> Vec<String> {
        let tiers = tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
        let mut announcers = Announcers::new(tiers, one_at_a_time);
        announcers.join(at(0), Swarm::V1, InfoHash([1; 20]), 1);
        std::iter::from_fn(|| announcers.poll(at(0))).map(|a| a.url.to_string()).collect()
    }

    #[test]
    fn tiers_of_one_each_are_told_at_once_and_others_as_bep_12_says() {
        assert_eq!(told_at_once(&[&["a"], &["b"], &["a"], &["c"]], false), ["a", "b", "c"]);
        assert_eq!(told_at_once(&[&["a"], &["b"], &["c"]], true), ["a"], "private");
        assert_eq!(told_at_once(&[&["a"], &["b", "c"]], false), ["a"]);
        let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let many: Vec<[&str; 1]> = many.iter().map(|url| [url.as_str()]).collect();
        let many: Vec<&[&str]> = many.iter().map(<[&str; 1]>::as_slice).collect();
        assert_eq!(told_at_once(&many, false), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }

    #[test]
    fn of_many_that_are_told_at_once_each_failure_is_made_up_for_by_one_of_its_own_share() {
        let tiers = (0..AT_ONCE + 2).map(|number| vec![number.to_string()]).collect();
        let mut announcers = Announcers::new(tiers, false);
        announcers.join(at(0), Swarm::V1, InfoHash([1; 20]), 1);
        let asked: Vec<_> = std::iter::from_fn(|| announcers.poll(at(0))).collect();
        let next = announcers.failed(at(0), asked[1].tracker, &failure()).0.unwrap();
        assert_eq!(*next.url, *(AT_ONCE + 1).to_string());
        assert_eq!(announcers.failed(at(0), asked[2].tracker, &failure()).0, None);
        announcers.succeeded(at(0), asked[0].tracker, &reply(1_800));
        announcers.succeeded(at(0), next.tracker, &reply(1_800));
        let goodbyes: Vec<_> = announcers.stop().into_iter().map(|a| a.url.to_string()).collect();
        assert_eq!(goodbyes, ["0", "9", "3", "4", "5", "6", "7"], "also those that are being asked");
    }

    #[test]
    fn who_asks_to_be_left_alone_is_though_others_of_its_tier_are_asked_meanwhile() {
        let mut announcer = announcer(&[&["a"], &["b"]]);
        let a = announcer.poll(at(0)).unwrap();
        let wish = AnnounceFailure { retry_after: Some(Duration::from_secs(3_600)), ..failure() };
        let b = announcer.failed(at(0), a.tracker, &wish).0.unwrap();
        announcer.failed(at(0), b.tracker, &failure());
        let mut now = at(0);
        for _ in 0..6 {
            now = announcer.next_due().unwrap();
            assert_eq!(said(announcer.poll(now)), said_to("b", AnnounceEvent::Started));
            assert_eq!(announcer.failed(now, b.tracker, &failure()).0, None);
        }
        assert!(now < at(3_600));
        let never = AnnounceFailure { retry_after: Some(super::super::action::NEVER), ..failure() };
        announcer.poll(announcer.next_due().unwrap());
        announcer.failed(at(2_000), b.tracker, &never);
        let due = announcer.next_due().unwrap();
        assert!(due >= at(3_600), "{due:?}");
        assert_eq!(said(announcer.poll(due)), said_to("a", AnnounceEvent::Started));
    }

    #[test]
    fn min_interval_holds_for_announces_without_news_only() {
        let mut announcer = announcer(&[&["a"], &["b"]]);
        let a = announcer.poll(at(0)).unwrap();
        let b = announcer.failed(at(0), a.tracker, &failure()).0.unwrap();
        let patient = AnnounceReply { min_interval: Some(Duration::from_secs(1_000)), ..reply(1_000) };
        announcer.succeeded(at(0), b.tracker, &patient);
        announcer.completed(at(10));
        assert_eq!(said(announcer.poll(at(10))), said_to("a", AnnounceEvent::Started));
        let news = announcer.failed(at(10), a.tracker, &failure()).0;
        assert_eq!(said(news), said_to("b", AnnounceEvent::Completed), "news go out before that");
        announcer.succeeded(at(10), b.tracker, &patient);
        announcer.lonely();
        assert_eq!(announcer.next_due(), Some(at(1_010)));
    }

    #[test]
    fn who_wants_more_peers_asks_sooner_and_less_often_each_time() {
        let of = |all: u32, named: u8| AnnounceReply {
            complete: Some(1),
            incomplete: Some(all - 1),
            peers: (1..=named).map(|n| ([198, 51, 100, n], 1).into()).collect(),
            ..reply(1_000)
        };
        let mut announcer = announcer(&[&["a"]]);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let asked = announcer.poll(now).unwrap();
            announcer.succeeded(now, asked.tracker, &of(52, 50));
            announcer.wanting();
            let due = announcer.next_due().unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [120, 240, 480, 960, 1_000]);
        let patient = AnnounceReply { min_interval: Some(Duration::from_secs(500)), ..of(52, 50) };
        for (reply, expected) in [(of(51, 50), 240), (of(52, 50), 120), (patient, 500)] {
            announcer.early_in_a_row = 0;
            announcer.poll(now).unwrap();
            announcer.is_early = false;
            announcer.succeeded(now, FIRST, &reply);
            announcer.wanting();
            assert_eq!(announcer.next_due(), Some(now + Duration::from_secs(expected)));
            now = now + Duration::from_secs(expected);
        }
    }

    #[test]
    fn what_a_tracker_calls_us_goes_back_to_it() {
        let mut announcer = announcer(&[&["a"]]);
        announcer.poll(at(0));
        announcer.succeeded(at(0), FIRST, &AnnounceReply { tracker_id: Some(b"x".to_vec()), ..reply(60) });
        assert_eq!(announcer.poll(at(60)).unwrap().tracker_id.as_deref(), Some(&b"x"[..]));
        announcer.succeeded(at(60), FIRST, &reply(60));
        assert_eq!(announcer.stop()[0].tracker_id.as_deref(), Some(&b"x"[..]), "it stays if none comes");
    }

    #[test]
    fn a_hybrid_tells_each_tracker_of_both_swarms_and_one_that_is_joined_later_hears_of_completion() {
        let mut announcers = Announcers::new(vec![vec!["a".into()]], false);
        let said = |announcers: &mut Announcers, now| {
            let said = std::iter::from_fn(|| announcers.poll(now));
            said.map(|a| (a.tracker, a.info_hash, a.event)).collect::<Vec<_>>()
        };
        let [v1, v2] = [Swarm::V1, Swarm::V2].map(|swarm| TrackerId { swarm, number: 0 });
        let [one, two] = [[1; 20], [2; 20]].map(InfoHash);
        announcers.join(at(0), Swarm::V1, one, 1);
        assert_eq!(said(&mut announcers, at(0)), [(v1, one, AnnounceEvent::Started)]);
        announcers.succeeded(at(0), v1, &reply(1_800));
        announcers.completed(at(10));
        assert_eq!(said(&mut announcers, at(10)), [(v1, one, AnnounceEvent::Completed)]);
        announcers.succeeded(at(10), v1, &reply(1_800));
        announcers.join(at(20), Swarm::V2, two, 2);
        announcers.join(at(20), Swarm::V2, two, 3);
        assert_eq!(said(&mut announcers, at(20)), [(v2, two, AnnounceEvent::Started)]);
        announcers.succeeded(at(20), v2, &reply(1_800));
        assert_eq!(said(&mut announcers, at(20)), [(v2, two, AnnounceEvent::Completed)]);
        announcers.succeeded(at(20), v2, &reply(1_800));
        let goodbyes: Vec<_> = announcers.stop().into_iter().map(|a| (a.tracker, a.event)).collect();
        assert_eq!(goodbyes, [(v1, AnnounceEvent::Stopped), (v2, AnnounceEvent::Stopped)]);
        announcers.succeeded(at(21), v2, &reply(1_800));
        assert!(!announcers.is_stopped());
        announcers.failed(at(21), v1, &failure());
        assert!(announcers.is_stopped());
    }
}
