#![expect(clippy::disallowed_methods, reason = "how long a piece waits for company is real time")]
//! The workers' queue.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use torrent_format::PieceIndex;

/// How long a piece waits for another, if the one before it came within that time: at a rate at which it pays to hash several together,
/// they come faster.
const COMPANY_WAIT: Duration = Duration::from_millis(10);

/// Things for a worker to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Job {
    /// Hash what is there of these claimed pieces; finish those that are all there.
    Advance(Vec<PieceIndex>),
    /// Push blocks out of memory.
    Relieve,
}

/// Bounded by what fills it: each piece is queued once at most.
#[derive(Debug)]
pub(super) struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
    /// Pieces that are best advanced together.
    company: usize,
}

#[derive(Debug, Default)]
struct Jobs {
    pieces: VecDeque<PieceIndex>,
    last_piece: Option<Instant>,
    /// Those that wait may wait until then for company. `None`: no longer.
    wait_until: Option<Instant>,
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
    /// `company`: how many pieces are best advanced together.
    pub(super) fn new(company: usize) -> Self {
        Self { jobs: Mutex::default(), changed: Condvar::new(), company: company.max(1) }
    }

    /// Whether a piece is best left until its company is there.
    pub(super) fn wants_company(&self) -> bool {
        self.company > 1
    }

    pub(super) fn advance(&self, piece: PieceIndex) {
        let now = Instant::now();
        let mut jobs = self.jobs.lock().unwrap();
        let quick = jobs.last_piece.is_some_and(|last| now - last < COMPANY_WAIT);
        jobs.last_piece = Some(now);
        jobs.wait_until = quick.then_some(now + COMPANY_WAIT);
        jobs.pieces.push_back(piece);
        // Whoever waits for company needs to know of the first one, and of the last.
        if !quick || jobs.pieces.len() == 1 || jobs.pieces.len() >= self.company {
            self.changed.notify_one();
        }
    }

    /// No more waiting for company: memory is short.
    pub(super) fn hurry(&self) {
        let mut jobs = self.jobs.lock().unwrap();
        if jobs.wait_until.take().is_some() && !jobs.pieces.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Goes before all else: whoever waits for memory waits for this.
    pub(super) fn relieve(&self) {
        let mut jobs = self.jobs.lock().unwrap();
        match jobs.relief {
            Relief::NotNeeded => {
                jobs.relief = Relief::Queued;
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
            if jobs.relief == Relief::Queued {
                jobs.relief = Relief::Given;
                return Some(Job::Relieve);
            }
            let wait = jobs.wait_until.map(|until| until.saturating_duration_since(Instant::now()));
            let wait = wait.filter(|wait| jobs.pieces.len() < self.company && !wait.is_zero());
            jobs = match wait {
                _ if jobs.pieces.is_empty() => self.changed.wait(jobs).unwrap(),
                Some(wait) => self.changed.wait_timeout(jobs, wait).unwrap().0,
                None => {
                    let together = jobs.pieces.len().min(self.company);
                    return Some(Job::Advance(jobs.pieces.drain(..together).collect()));
                }
            };
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

    fn pieces<const N: usize>() -> [PieceIndex; N] {
        let layout = Layout::new(1, [N as u64]).unwrap();
        std::array::from_fn(|number| layout.piece(number as u32).unwrap())
    }

    #[test]
    fn relief_goes_first_and_a_call_for_it_is_never_lost() {
        let [piece] = pieces();
        let queue = Queue::new(1);
        queue.advance(piece);
        queue.relieve();
        queue.relieve();
        assert_eq!(queue.next(), Some(Job::Relieve));
        // While it is given nobody else is to give it too, but it has to be looked at again.
        queue.relieve();
        assert_eq!(queue.next(), Some(Job::Advance(vec![piece])));
        assert!(queue.relieved());
        queue.relieve();
        assert_eq!(queue.next(), Some(Job::Relieve));
        assert!(!queue.relieved());
    }

    #[test]
    fn a_piece_that_comes_alone_waits_for_nobody_and_those_that_come_together_go_together() {
        let [first, second, third, fourth] = pieces();
        let queue = Queue::new(3);
        queue.advance(first);
        assert_eq!(queue.next(), Some(Job::Advance(vec![first])));
        for piece in [second, third, fourth, first] {
            queue.advance(piece);
        }
        assert_eq!(queue.next(), Some(Job::Advance(vec![second, third, fourth])));
        // Nobody else comes; or memory is short.
        queue.hurry();
        assert_eq!(queue.next(), Some(Job::Advance(vec![first])));
    }

    #[test]
    fn a_closed_queue_has_no_next_job_even_if_some_wait() {
        let queue = Queue::new(1);
        queue.relieve();
        queue.close();
        assert_eq!(queue.next(), None);
    }
}
