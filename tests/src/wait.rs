//! The one place that looks at a clock: bounded waits for something outside this process.
#![expect(clippy::disallowed_methods, reason = "tests watch real processes up to a real deadline")]

use std::time::{Duration, Instant};

/// How long a test waits for what should come at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(30);

/// How long a test waits for a transfer or a foreign program.
pub const LONG: Duration = Duration::from_secs(120);

/// How often a condition is looked at that nobody signals.
const POLL: Duration = Duration::from_millis(10);

/// A moment up to which to wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// This long from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What is left; `None` once it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Measures, to print; no test asserts what it says.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks again and again until `probe` gives something, or `limit` has passed.
pub fn try_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        deadline.remaining()?;
        std::thread::sleep(POLL);
    }
}

/// Like [`try_until`].
///
/// # Panics
/// If it never comes: `what` says what was waited for.
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    try_until(limit, probe).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Waits until this moment: for a kill at a seeded time, never for something to be ready.
pub fn moment(after: Duration) {
    try_until(after, || None::<()>);
}
