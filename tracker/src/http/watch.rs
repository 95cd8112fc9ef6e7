//! Deadlines of connections without a timer for each: [`Watch`] looks at all connections of a worker now and then.
//!
//! A timer that is set and cancelled for every request costs a good part of what answering it does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;

use super::Front;

/// How often the connections are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How many [`LOOK`]s a head may take, and a connection may lie idle before the next: five seconds.
const HEAD_DEADLINE: i32 = 10;

/// How many [`LOOK`]s a connection may live: two minutes. Whoever asks on and on without reading the answers is rid of then.
const MAX_LIFETIME: u32 = 240;

/// How many [`LOOK`]s an upload or a download of a .torrent may take: a minute. 10 MiB in that time is 1.4 Mbit/s.
const PATIENCE: u32 = 120;

/// What the connections of a worker have in common.
#[derive(Default)]
pub(super) struct Watch {
    /// Counts [`LOOK`]s.
    now: AtomicU32,
    closing: AtomicBool,
    lives: Mutex<Slab<Arc<Life>>>,
}

/// One connection.
#[derive(Default)]
pub(super) struct Life {
    began: u32,
    /// When the last request was answered.
    answered: AtomicU32,
    overdue: AtomicBool,
    /// Whom to tell that it is overdue, or that all come to their end.
    waker: Mutex<Option<Waker>>,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes on.
    Lives,
    /// It ends once it is idle.
    Closing,
    /// It ends now.
    Overdue,
}

impl Watch {
    /// A connection that begins now, and where it is listed.
    pub(super) fn begin(&self) -> (usize, Arc<Life>) {
        let now = self.now.load(Relaxed);
        let life = Arc::new(Life { began: now, answered: AtomicU32::new(now), ..Life::default() });
        (self.lives().insert(life.clone()), life)
    }

    /// The connection that was listed there has ended.
    pub(super) fn end(&self, listed: usize) {
        self.lives().try_remove(listed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lives().len()
    }

    /// Ends those whose head is overdue.
    pub(super) fn look(&self) {
        let now = self.now.fetch_add(1, Relaxed).wrapping_add(1);
        for (_, life) in self.lives().iter() {
            // What has more time was answered in the future.
            if now.wrapping_sub(life.answered.load(Relaxed)).cast_signed() > HEAD_DEADLINE {
                life.overdue.store(true, Relaxed);
                life.wake();
            }
        }
    }

    /// From now on each answer is the last of its connection.
    pub(super) fn close_all(&self) {
        self.closing.store(true, Relaxed);
        self.lives().iter().for_each(|(_, life)| life.wake());
    }

    /// What is to be done with this one; if it lives, `cx` is told when that changes.
    pub(super) fn fate(&self, life: &Life, cx: &Context<'_>) -> Fate {
        let mut waker = life.waker();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        match (life.overdue.load(Relaxed), self.closing.load(Relaxed)) {
            (true, _) => Fate::Overdue,
            (false, true) => Fate::Closing,
            (false, false) => Fate::Lives,
        }
    }

    /// A request has been answered; says whether it shall be the last.
    pub(super) fn note_answer(&self, life: &Life) -> bool {
        let now = self.now.load(Relaxed);
        life.answered.store(now, Relaxed);
        self.closing.load(Relaxed) || now.wrapping_sub(life.began) > MAX_LIFETIME
    }

    fn lives(&self) -> MutexGuard<'_, Slab<Arc<Life>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }
}

/// More time for one answer; when it is dropped, the answer has been sent.
pub(crate) struct Patience {
    front: Arc<Front>,
    life: Arc<Life>,
}

impl Patience {
    pub(super) fn begin(front: Arc<Front>, life: Arc<Life>) -> Self {
        let now = front.watch.now.load(Relaxed);
        life.answered.store(now.wrapping_add(PATIENCE), Relaxed);
        Self { front, life }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.life.answered.store(self.front.watch.now.load(Relaxed), Relaxed);
    }
}

/// When it is time to [look](Watch::look).
pub(super) fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
