//! How a swarm has been doing, by the hour: [`Sample`]. Pure.

use super::facts::Live;

/// How far back it reaches, in hours: 90 days.
pub const HOURS: u32 = 90 * 24;

/// How a swarm was doing in an hour. Where nothing changed, none is kept: it was as it had been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Since 1970.
    pub hour: u32,
    /// Clients that had everything.
    pub seeders: u32,
    /// Clients that had not.
    pub leechers: u32,
    /// Completions by then, since the tracker counts.
    pub completed: u32,
}

impl Sample {
    /// Now.
    pub fn new(hour: u32, live: Live, completed: u32) -> Self {
        Self { hour, seeders: live.seeders, leechers: live.leechers, completed }
    }

    /// Whether it says what the one before it said.
    pub fn repeats(&self, before: &Self) -> bool {
        Self { hour: before.hour, ..*self } == *before
    }
}

/// The hour of a time since 1970.
pub fn hour_of(seconds: u64) -> u32 {
    u32::try_from(seconds / 3600).unwrap_or(u32::MAX)
}
