//! Deadlines of connections without a timer for each: [`Watch`] looks at all connections of a worker now and then.
//!
//! A timer that is set and cancelled for every request costs a good part of what answering it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// How often the connections are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How many [`LOOK`]s a head may take, and a connection may lie idle before the next: five seconds.
const HEAD_DEADLINE: u32 = 10;

/// How many [`LOOK`]s a connection may live: two minutes. Whoever asks on and on without reading the answers is rid of then.
const MAX_LIFETIME: u32 = 240;

/// What the connections of a worker have in common.
#[derive(Default)]
pub(super) struct Watch {
    /// Counts [`LOOK`]s.
    now: AtomicU32,
    closing: AtomicBool,
    /// Tells connections that they come to their end.
    pub(super) close: Notify,
}

/// One connection.
pub(super) struct Life {
    watch: Arc<Watch>,
    began: u32,
    /// When the last request was answered.
    answered: AtomicU32,
}

impl Watch {
    /// A connection that begins now.
    pub(super) fn life(self: &Arc<Self>) -> Arc<Life> {
        let now = self.now.load(Relaxed);
        Arc::new(Life { watch: self.clone(), began: now, answered: AtomicU32::new(now) })
    }

    /// From now on each answer is the last of its connection.
    pub(super) fn close_all(&self) {
        self.closing.store(true, Relaxed);
        self.close.notify_waiters();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }
}

impl Life {
    /// A request has been answered; says whether it shall be the last.
    pub(super) fn note_answer(&self) -> bool {
        let now = self.watch.now.load(Relaxed);
        self.answered.store(now, Relaxed);
        self.watch.is_closing() || now.wrapping_sub(self.began) > MAX_LIFETIME
    }
}

/// The connections that are looked at.
#[derive(Default)]
pub(super) struct Lives(Vec<(Arc<Life>, AbortHandle)>);

impl Lives {
    pub(super) fn add(&mut self, life: Arc<Life>, task: AbortHandle) {
        self.0.push((life, task));
    }

    /// Forgets those that have ended, and ends those whose head is overdue.
    pub(super) fn look(&mut self, watch: &Watch) {
        let now = watch.now.fetch_add(1, Relaxed).wrapping_add(1);
        self.0.retain(|(life, task)| {
            let is_overdue = now.wrapping_sub(life.answered.load(Relaxed)) > HEAD_DEADLINE;
            if is_overdue {
                task.abort();
            }
            !is_overdue && !task.is_finished()
        });
    }
}

/// When it is time to [look](Lives::look).
pub(super) fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
