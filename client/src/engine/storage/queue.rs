//! The workers' queue.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

use torrent_format::PieceIndex;

/// A thing for a worker to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Job {
    /// Hash what is there of a claimed piece; finish it if it is all there.
    Advance(PieceIndex),
    /// Push blocks out of memory.
    Relieve,
}

/// Bounded by what fills it: each piece is queued once at most, and so is [`Job::Relieve`].
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    relief: Relief,
    closed: bool,
}

/// How relief stands. One worker at a time gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Relief {
    #[default]
    NotNeeded,
    Queued,
    Given,
    /// It is being given, but may have passed by what has become free to leave since.
    GivenAndAskedFor,
}

impl Queue {
    pub(super) fn advance(&self, piece: PieceIndex) {
        self.jobs.lock().unwrap().waiting.push_back(Job::Advance(piece));
        self.changed.notify_one();
    }

    /// Goes before all else: whoever waits for memory waits for this.
    pub(super) fn relieve(&self) {
        let mut jobs = self.jobs.lock().unwrap();
        match jobs.relief {
            Relief::NotNeeded => {
                jobs.relief = Relief::Queued;
                jobs.waiting.push_front(Job::Relieve);
                self.changed.notify_one();
            }
            Relief::Given => jobs.relief = Relief::GivenAndAskedFor,
            Relief::Queued | Relief::GivenAndAskedFor => {}
        }
    }

    /// True if it was asked for again meanwhile.
    pub(super) fn relieved(&self) -> bool {
        let mut jobs = self.jobs.lock().unwrap();
        std::mem::take(&mut jobs.relief) == Relief::GivenAndAskedFor
    }

    /// The next job; `None` once the storage is closed.
    pub(super) fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock().unwrap();
        loop {
            if jobs.closed {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                if matches!(job, Job::Relieve) {
                    jobs.relief = Relief::Given;
                }
                return Some(job);
            }
            jobs = self.changed.wait(jobs).unwrap();
        }
    }

    pub(super) fn close(&self) {
        self.jobs.lock().unwrap().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use torrent_format::Layout;

    use super::*;

    #[test]
    fn relief_goes_first_and_a_call_for_it_is_never_lost() {
        let piece = Layout::new(1, [1]).unwrap().piece(0).unwrap();
        let queue = Queue::default();
        queue.advance(piece);
        queue.relieve();
        queue.relieve();
        assert_eq!(queue.next(), Some(Job::Relieve));
        // While it is given nobody else is to give it too, but it has to be looked at again.
        queue.relieve();
        assert_eq!(queue.next(), Some(Job::Advance(piece)));
        assert!(queue.relieved());
        queue.relieve();
        assert_eq!(queue.next(), Some(Job::Relieve));
        assert!(!queue.relieved());
    }

    #[test]
    fn a_closed_queue_has_no_next_job_even_if_some_wait() {
        let queue = Queue::default();
        queue.relieve();
        queue.close();
        assert_eq!(queue.next(), None);
    }
}
