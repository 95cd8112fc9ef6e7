//! The directory: torrents that were published here, found by what they are called, with how their swarms are doing at this moment.
//!
//! Rules are pure: what words there are in a text ([`fold`]), what a query means ([`query`]), what may be published
//! ([`record`]), what comes first ([`facts`]). The rest does I/O: stores behind threads of their own, so that no search keeps
//! an announce waiting.

pub mod facts;
pub mod fold;
pub mod history;
pub mod query;
pub mod record;

#[cfg(feature = "io")]
mod catalogue;
#[cfg(feature = "io")]
mod limiter;
#[cfg(feature = "io")]
mod pulse;
#[cfg(feature = "io")]
mod store;
#[cfg(all(test, feature = "io"))]
mod tests;
#[cfg(feature = "io")]
mod threads;
#[cfg(feature = "io")]
pub(crate) mod web;

#[cfg(feature = "io")]
pub(crate) use catalogue::Directory;
#[cfg(feature = "io")]
pub(crate) use pulse::Meter;
#[cfg(feature = "io")]
pub use store::Address;
#[cfg(feature = "io")]
pub(crate) use threads::plan;

/// How a directory is run.
#[cfg(feature = "io")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// Where it is kept; [`None`]: in `directory.sqlite` of the tracker's state directory.
    pub store: Option<Address>,
    /// Anybody may publish, and needs no token.
    pub open_publish: bool,
    /// Where tracker and directory are reached from outside, without a slash at the end; [`None`]: where the asker says it has
    /// reached them.
    pub public_url: Option<String>,
}
