//! When to tell which tracker what: tiers (BEP 12), events and intervals (BEP 3), back-off. A hybrid torrent is two swarms to its trackers,
//! so each has an [`Announcer`] of its own; [`Announcers`] holds them.

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

/// The wait after the first round in which no tracker answered; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(15);
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

/// Peers that we ask for.
const NUMWANT: u32 = 50;

#[derive(Debug)]
struct Tracker {
    url: Arc<str>,
    /// It knows of us, so it must hear `stopped`.
    knows_us: bool,
    heard_completed: bool,
    tracker_id: Option<Vec<u8>>,
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
    of_swarms: Vec<Announcer>,
    /// The download finished in this run: a swarm that is joined later hears of it too.
    completed: bool,
}

impl Announcers {
    pub(super) fn new(tiers: Vec<Vec<String>>) -> Self {
        Self { tiers, of_swarms: Vec::new(), completed: false }
    }

    /// Announces in this swarm too, from `now` on, if it does not yet.
    pub(super) fn join(&mut self, now: Time, swarm: Swarm, info_hash: InfoHash, seed: u64) {
        if self.of_swarms.iter().any(|announcer| announcer.swarm == swarm) {
            return;
        }
        let mut announcer = Announcer::new(&self.tiers, swarm, info_hash, seed);
        if let State::Waiting(due) = &mut announcer.state {
            *due = now;
        }
        announcer.completed = self.completed;
        self.of_swarms.push(announcer);
    }

    pub(super) fn url(&self, tracker: TrackerId) -> Option<&Arc<str>> {
        let of_swarm = self.of_swarms.iter().find(|announcer| announcer.swarm == tracker.swarm)?;
        of_swarm.trackers.get(tracker.number as usize).map(|tracker| &tracker.url)
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.of_swarms.iter().filter_map(Announcer::next_due).min()
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
        let of_swarm = self.of_swarms.iter_mut().find(|announcer| announcer.swarm == tracker.swarm);
        of_swarm.map_or((None, Duration::ZERO), |announcer| announcer.failed(now, tracker, failure))
    }

    pub(super) fn succeeded(&mut self, now: Time, tracker: TrackerId, reply: &AnnounceReply) {
        let of_swarm = self.of_swarms.iter_mut().find(|announcer| announcer.swarm == tracker.swarm);
        if let Some(announcer) = of_swarm {
            announcer.succeeded(now, tracker, reply);
        }
    }
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
    /// When the tracker allows us to come back, at the earliest.
    not_before: Time,
    last_success: Option<Time>,
    rng: fastrand::Rng,
}

impl Announcer {
    fn new(tiers: &[Vec<String>], swarm: Swarm, info_hash: InfoHash, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut order = Vec::new();
        for tier in tiers {
            let mut ids = Vec::new();
            for url in tier {
                if trackers.iter().any(|tracker| *tracker.url == **url) {
                    continue;
                }
                ids.push(TrackerId { swarm, number: trackers.len() as u32 });
                let url = Arc::from(url.as_str());
                trackers.push(Tracker { url, knows_us: false, heard_completed: false, tracker_id: None });
            }
            rng.shuffle(&mut ids);
            if !ids.is_empty() {
                order.push(ids);
            }
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
            not_before: Time::default(),
            last_success: None,
            rng,
        }
    }

    fn next_due(&self) -> Option<Time> {
        match self.state {
            State::Waiting(due) => Some(due),
            _ => None,
        }
    }

    /// What is to be said now, if anything is due.
    fn poll(&mut self, now: Time) -> Option<Announcement> {
        matches!(self.state, State::Waiting(due) if due <= now).then(|| self.ask(0)).flatten()
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
        if let (State::Waiting(due), Some(last)) = (&mut self.state, self.last_success) {
            *due = (*due).min((last + LONELY_INTERVAL).max(self.not_before));
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
        for (number, tracker) in (0..).zip(&self.trackers) {
            let id = TrackerId { swarm: self.swarm, number };
            let is_asked = asked.is_some_and(|(asked, _)| asked == id);
            if !tracker.knows_us && !is_asked {
                continue;
            }
            let told = tracker.heard_completed || asked == Some((id, AnnounceEvent::Completed));
            if self.completed && tracker.knows_us && !told {
                last_words.push(self.announcement(id, AnnounceEvent::Completed, 0));
            }
            last_words.push(self.announcement(id, AnnounceEvent::Stopped, 0));
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
        let doubled = FIRST_WAIT * (1 << self.failed_rounds.min(10));
        let jitter = Duration::from_millis(self.rng.u64(0..3_000));
        let wait = failure.retry_after.unwrap_or(doubled).clamp(FIRST_WAIT, LONGEST_WAIT) + jitter;
        let next = self.ask(position + 1);
        if next.is_none() {
            self.failed_rounds += 1;
            self.state = State::Waiting(now + wait);
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
        let entry = &mut self.trackers[tracker.number as usize];
        entry.knows_us = true;
        entry.heard_completed |= event == AnnounceEvent::Completed;
        if reply.tracker_id.is_some() {
            entry.tracker_id.clone_from(&reply.tracker_id);
        }
        for tier in &mut self.tiers {
            if let Some(at) = tier.iter().position(|&id| id == tracker) {
                tier[..=at].rotate_right(1);
            }
        }
        let interval = reply.interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        let minimum = reply.min_interval.unwrap_or(SHORTEST_INTERVAL).min(interval);
        self.failed_rounds = 0;
        self.last_success = Some(now);
        self.not_before = now + minimum;
        let owes_completed = self.completed && !self.trackers[tracker.number as usize].heard_completed;
        self.state = State::Waiting(if owes_completed { now } else { now + interval });
    }

    /// Asks the tracker at this position of the round's order.
    fn ask(&mut self, position: usize) -> Option<Announcement> {
        let tracker = *self.tiers.iter().flatten().nth(position)?;
        let known = &self.trackers[tracker.number as usize];
        let event = match known {
            Tracker { knows_us: false, .. } => AnnounceEvent::Started,
            Tracker { heard_completed: false, .. } if self.completed => AnnounceEvent::Completed,
            _ => AnnounceEvent::Regular,
        };
        self.state = State::Asking { tracker, position, event };
        Some(self.announcement(tracker, event, NUMWANT))
    }

    fn announcement(&self, tracker: TrackerId, event: AnnounceEvent, numwant: u32) -> Announcement {
        let known = &self.trackers[tracker.number as usize];
        Announcement {
            tracker,
            info_hash: self.info_hash,
            url: Arc::clone(&known.url),
            event,
            numwant,
            tracker_id: known.tracker_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcer(tiers: &[&[&str]]) -> Announcer {
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
        Announcer::new(&tiers, Swarm::V1, InfoHash([1; 20]), 1)
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

    #[test]
    fn a_hybrid_tells_each_tracker_of_both_swarms_and_one_that_is_joined_later_hears_of_completion() {
        let mut announcers = Announcers::new(vec![vec!["a".into()]]);
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
