//! How much may be on its way at a time: [`Ledbat`], which gives way to everything else on the line.
//!
//! LEDBAT (BEP 29, RFC 6817) holds the wait in the line's queue at a target by adding to the window below it and taking from it above. As
//! written there it has two faults, which its successor (draft-irtf-iccrg-ledbat-plus-plus) mends, and so do we after its manner:
//!
//! - Whoever comes to a queue that stands takes it for the way itself, and piles its own on top. So each window is given up now and then,
//!   until the queue is empty: then all see how long the way is ([`Phase::Drain`]). One alone who does so still sees the others' queue, and those who know
//!   the way best would give way to those who know it least. So it is given up by all together, without a word: who sees the queue fall although
//!   he did nothing ([`Floor`]) gives up his as well, if that was not just now. Like fireflies, flows that begin at any time soon keep time.
//! - What is added and taken being the same for all, whoever has most keeps most. So what is taken is in proportion to what one has; what is
//!   added is not.

use std::time::Duration;

use super::delay::Level;
use super::floor::Floor;
use crate::torrent::Time;

/// The wait in the queue that is aimed at (BEP 29).
pub(super) const TARGET: Duration = Duration::from_millis(100);

/// Bytes that are added in a round trip without any wait, at most: as libutp and libtorrent have it. With it there is less, but always a
/// packet (RFC 6817: `GAIN`): it is what flows are weighed against each other with, and the more it is, the less it matters if one
/// knows the way's length by some milliseconds better than another.
const MAX_GAIN: f64 = 3_000.0;

/// Of what is above the target, the share that is taken back in a round trip: what is done shows after another.
const DECREASE: f64 = 0.75;

/// Packets that a window holds at first.
const INITIAL: f64 = 4.0;

/// The wait at which the first doubling ends: what is on its way by then is twice that.
const FIRST_SIGN: Duration = Duration::from_millis(50);

/// The wait at which a later doubling ends, before it is back where it was. Others have taken their part of the queue meanwhile.
const LATER_SIGN: Duration = Duration::from_millis(150);

/// The packets that one has on its way who waits for the queue to be empty: as many as are acknowledged together,
const DRAINED: f64 = 2.0;

/// and their payload, in bytes: those of several flows that wait should not be a queue themselves.
const PROBE: f64 = 150.0;

/// Round trips of such packets, at most.
const MAX_ROUNDS: u32 = 8;

/// What a round trip must have brought if another is to be waited for.
const LEAST_FALL: Duration = Duration::from_millis(4);

/// A window of so many packets or fewer is not given up: it has no part in a queue.
const SMALL: f64 = 4.0;

/// Giving the window up takes some round trips. After so many times as long it is done again, so that it costs a fortieth of what one could
/// have sent,
const DRAIN_INTERVAL: u32 = 40;

/// but not before
const MIN_DRAIN_INTERVAL: Duration = Duration::from_secs(8);

/// Of that time, the part in which another's giving up is no reason to do so. It must be less than half, or flows could stay apart for ever.
const REFRACTORY: u32 = 4;

/// What was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) now: Time,
    pub(super) bytes: usize,
    /// Bytes that were on their way before.
    pub(super) in_flight: usize,
    /// There is more to be sent.
    pub(super) more: bool,
    /// The latest of the packets, by the order in which they were sent.
    pub(super) order: u64,
    /// Of the packet that will be sent next.
    pub(super) next_order: u64,
    pub(super) rtt: Duration,
    /// How long packets wait at present, if that is known.
    pub(super) waits: Option<Duration>,
    /// What they take, as `waits` but from nowhere in particular.
    pub(super) level: Option<Level>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledbat {
    packet: f64,
    /// Bytes.
    window: f64,
    phase: Phase,
    /// When the window is to be given up; nobody knows before a queue was seen.
    next_drain: Option<Time>,
    /// From here on it is reason enough that another gives up his.
    joins_from: Option<Time>,
    floor: Floor,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// The window doubles in a round trip, up to `to` or until packets wait so long.
    Double { to: f64, until: Duration, drained: Option<Time> },
    /// The window follows the wait.
    Follow,
    /// The queue runs empty: round trips, of which each ends when a packet is acknowledged that was sent as the second after `order`, until one
    /// shows no less than that before it, `level`. Then back to `to`.
    Drain { order: u64, to: f64, began: Time, rounds: u32, level: Option<Level> },
}

impl Ledbat {
    /// With packets of at most so many bytes.
    pub(super) fn new(packet: usize) -> Self {
        let packet = packet as f64;
        let phase = Phase::Double { to: f64::INFINITY, until: FIRST_SIGN, drained: None };
        Self {
            packet,
            window: INITIAL * packet,
            phase,
            next_drain: None,
            joins_from: None,
            floor: Floor::default(),
        }
    }

    /// Bytes that may be on their way.
    pub(super) fn window(&self) -> usize {
        self.window as usize
    }

    /// Payload of a packet, at most.
    pub(super) fn packet(&self) -> usize {
        if matches!(self.phase, Phase::Drain { .. }) { PROBE as usize } else { self.packet as usize }
    }

    /// Bytes a second at which a window may leave, given the round trip: a little more than it takes, so that it is the window that limits.
    pub(super) fn rate(&self, rtt: Duration) -> f64 {
        let window = match self.phase {
            Phase::Double { .. } => 2.0 * self.window,
            Phase::Follow => 1.25 * self.window,
            Phase::Drain { to, .. } => to,
        };
        window / rtt.as_secs_f64().max(1e-4)
    }

    pub(super) fn acked(&mut self, acked: Acked) {
        // One who has less to send than he may does not learn whether he may send more. What may go and has not yet is on its turn.
        let in_flight = acked.in_flight as f64;
        let limited = in_flight + self.packet > self.window || acked.more && 2.0 * in_flight >= self.window;
        let waits = acked.waits.unwrap_or_default().min(acked.rtt);
        match self.phase {
            Phase::Double { to, until, drained } => {
                if waits < until && limited {
                    self.window = (self.window + acked.bytes as f64).min(to);
                }
                if waits >= until || self.window >= to {
                    self.follow(acked.now, acked.rtt, drained);
                }
            }
            Phase::Follow => {
                let falls = acked.level.is_some_and(|level| self.floor.falls(acked.now, level, acked.rtt));
                let is_past = |at: Option<Time>| at.is_some_and(|at| at <= acked.now);
                let due = is_past(self.next_drain) || falls && is_past(self.joins_from);
                if due && limited && self.window > SMALL * self.packet {
                    let (order, to, began) = (acked.next_order, self.window, acked.now);
                    self.phase = Phase::Drain { order, to, began, rounds: 0, level: None };
                    self.window = DRAINED * PROBE;
                } else {
                    if waits >= 2 * TARGET {
                        // It falls by our doing.
                        self.floor = Floor::default();
                    }
                    let part = acked.bytes as f64 / acked.in_flight.max(acked.bytes).max(1) as f64;
                    let change = part * self.change(waits, acked.rtt);
                    if limited || change < 0.0 {
                        self.set(self.window + change);
                    }
                }
            }
            Phase::Drain { order, to, began, rounds, level } => {
                if acked.order <= order {
                    return;
                }
                let fell = match (level, acked.level) {
                    (Some(before), Some(level)) => before.above(level) >= LEAST_FALL,
                    _ => true,
                };
                if fell && rounds < MAX_ROUNDS {
                    let (order, rounds, level) = (acked.next_order, rounds + 1, acked.level);
                    self.phase = Phase::Drain { order, to, began, rounds, level };
                } else {
                    self.window = DRAINED * self.packet;
                    self.phase = Phase::Double { to, until: LATER_SIGN, drained: Some(began) };
                }
            }
        }
    }

    /// By how much the window changes in a round trip.
    fn change(&self, waits: Duration, rtt: Duration) -> f64 {
        let (wait, target) = (waits.as_secs_f64(), TARGET.as_secs_f64());
        let gain = (MAX_GAIN * (1.0 - wait / target)).max(self.packet);
        if wait >= 2.0 * target {
            return -self.window / 2.0;
        }
        // What of the window lies in the queue beyond the target.
        let excess = self.window * (wait - target).max(0.0) / rtt.as_secs_f64().max(wait);
        gain - DECREASE * excess
    }

    /// From here on the window follows the wait. `drained`: when the window was given up that has been regained now.
    fn follow(&mut self, now: Time, rtt: Duration, drained: Option<Time>) {
        self.phase = Phase::Follow;
        self.floor = Floor::default();
        self.next_drain = Some(match drained {
            Some(began) => {
                let interval = ((now - began) * DRAIN_INTERVAL).max(MIN_DRAIN_INTERVAL);
                self.joins_from = Some(now + interval / REFRACTORY);
                now + interval
            }
            None => match self.next_drain {
                Some(at) => at,
                // The first look at the way, as soon as what the doubling has put into the queue is seen by those who were here before.
                None => now + 2 * rtt,
            },
        });
    }

    /// A packet was lost; called at most once for what was on its way together.
    pub(super) fn lost(&mut self, now: Time, rtt: Duration) {
        match &mut self.phase {
            Phase::Drain { to, .. } => *to = (*to / 2.0).max(self.packet),
            Phase::Follow => {
                self.floor = Floor::default();
                self.set(self.window / 2.0);
            }
            Phase::Double { drained, .. } => {
                let drained = *drained;
                self.set(self.window / 2.0);
                self.follow(now, rtt, drained);
            }
        }
    }

    /// Nothing was acknowledged for long: what was on its way is gone.
    pub(super) fn timed_out(&mut self) {
        let to = (self.window / 2.0).max(2.0 * self.packet);
        self.phase = Phase::Double { to, until: FIRST_SIGN, drained: None };
        self.set(self.packet);
    }

    fn set(&mut self, window: f64) {
        self.window = window.max(self.packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 1_000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A round trip in which all of the window comes, packet by packet.
    fn round(ledbat: &mut Ledbat, now: &mut Time, waits: u64, order: &mut u64) {
        let window = ledbat.window();
        for _ in 0..window.div_ceil(PACKET) {
            *order += 1;
            ledbat.acked(Acked {
                now: *now,
                bytes: PACKET,
                in_flight: ledbat.window(),
                more: true,
                order: *order,
                next_order: *order + (window / PACKET) as u64,
                rtt: ms(50 + waits),
                waits: Some(ms(waits)),
                level: Some(Level(1_000 * waits as u32)),
            });
        }
        *now = *now + ms(50 + waits);
    }

    /// One that has seen a queue, and looked under it.
    fn followed() -> (Ledbat, Time, u64) {
        let (mut ledbat, mut now, mut order) = (Ledbat::new(PACKET), Time::default(), 0);
        for waits in [0, 0, 0, 0, 60] {
            round(&mut ledbat, &mut now, waits, &mut order);
        }
        for _ in 0..20 {
            round(&mut ledbat, &mut now, 100, &mut order);
        }
        assert_eq!(ledbat.phase, Phase::Follow);
        (ledbat, now, order)
    }

    #[test]
    fn it_doubles_until_packets_wait() {
        let (mut ledbat, mut now, mut order) = (Ledbat::new(PACKET), Time::default(), 0);
        let mut windows = vec![];
        for waits in [0, 10, 49, 50, 50] {
            round(&mut ledbat, &mut now, waits, &mut order);
            windows.push(ledbat.window());
        }
        assert_eq!(windows[..3], [8_000, 16_000, 32_000]);
        assert!(windows[3] < 34_000, "{windows:?}");
    }

    #[test]
    fn it_holds_at_the_target_and_halves_far_beyond() {
        let (ledbat, ..) = followed();
        let change = |waits| ledbat.change(ms(waits), ms(50 + waits));
        assert_eq!(change(0), MAX_GAIN);
        assert_eq!(change(50), MAX_GAIN / 2.0);
        assert_eq!(change(100), PACKET as f64);
        assert!(change(105) < PACKET as f64 && change(130) < 0.0);
        assert_eq!(change(200), -ledbat.window / 2.0);
        assert_eq!(change(5_000), -ledbat.window / 2.0);
    }

    #[test]
    fn a_window_is_never_less_than_a_packet_and_losses_of_one_round_halve_it_once() {
        let (mut ledbat, mut now, mut order) = followed();
        let before = ledbat.window;
        ledbat.lost(now, ms(150));
        assert_eq!(ledbat.window, before / 2.0);
        for _ in 0..100 {
            round(&mut ledbat, &mut now, 400, &mut order);
            ledbat.lost(now, ms(450));
        }
        assert_eq!(ledbat.window(), PACKET);
        ledbat.timed_out();
        assert_eq!(ledbat.window(), PACKET);
    }

    #[test]
    fn it_looks_under_the_queue_now_and_then_and_comes_back() {
        let (mut ledbat, mut now, mut order) = followed();
        let before = ledbat.window();
        let mut drained = 0;
        for _ in 0..2_000 {
            let was = ledbat.phase;
            round(&mut ledbat, &mut now, 100, &mut order);
            if ledbat.phase != Phase::Follow && was == Phase::Follow {
                drained += 1;
                assert!(ledbat.window() < before / 2);
            }
        }
        // In five minutes; a look takes some round trips of 150 ms.
        assert!((4..=37).contains(&drained), "{drained}");
        assert!(ledbat.window() >= before);
    }

    #[test]
    fn it_gives_up_its_window_with_another_unless_it_has_just_done_so() {
        let (mut ledbat, mut now, mut order) = followed();
        let (due, joins_from) = (ledbat.next_drain.unwrap(), ledbat.joins_from.unwrap());
        for (until, joins) in [(Time(joins_from.0 - ms(500)), false), (joins_from + ms(2_000), true)] {
            while now < until {
                round(&mut ledbat, &mut now, 100, &mut order);
            }
            round(&mut ledbat, &mut now, 80, &mut order);
            assert_eq!(matches!(ledbat.phase, Phase::Drain { .. }), joins, "{now:?} of {joins_from:?}");
        }
        assert!(now < due, "its turn had not come");
    }

    #[test]
    fn it_waits_with_small_packets_for_as_long_as_the_queue_falls() {
        let (mut ledbat, mut now, mut order) = followed();
        let window = ledbat.window;
        now = now + MINUTE;
        round(&mut ledbat, &mut now, 100, &mut order);
        let mut sizes = vec![];
        for waits in [100, 70, 40, 10, 8, 8] {
            sizes.push(ledbat.packet());
            order += 2 * (window / ledbat.packet) as u64;
            round(&mut ledbat, &mut now, waits, &mut order);
        }
        let probe = PROBE as usize;
        assert_eq!(sizes, [probe, probe, probe, probe, probe, PACKET]);
    }

    #[test]
    fn one_who_sends_less_than_he_may_is_not_allowed_more() {
        let mut ledbat = Ledbat::new(PACKET);
        let acked = Acked {
            now: Time::default(),
            bytes: PACKET,
            in_flight: PACKET,
            more: false,
            order: 1,
            next_order: 2,
            rtt: ms(50),
            waits: Some(ms(0)),
            level: Some(Level(0)),
        };
        (0..100).for_each(|_| ledbat.acked(acked));
        assert_eq!(ledbat.window(), 4 * PACKET);
    }
}
