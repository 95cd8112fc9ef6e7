//! What the shell is told: [`Exit`].

/// How a command ended. Scripts rely on the numbers; they never change their meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for was done.
    Ok = 0,
    /// Something that has no number of its own.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The settings make no sense.
    Configuration = 3,
    /// A torrent, magnet or other input can't be used.
    Input = 4,
    /// A file can't be written.
    Write = 5,
    /// The data is not the torrent's.
    Mismatch = 6,
    /// Stopped before all was done.
    Unfinished = 7,
    /// No peers, no metadata, no progress for as long as was allowed.
    TimedOut = 8,
    /// No room on the disk.
    DiskFull = 9,
    /// Network or tracker.
    Network = 10,
    /// Something is there already, and there was no `--force`.
    Exists = 13,
    /// Ctrl-C before completion.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}
