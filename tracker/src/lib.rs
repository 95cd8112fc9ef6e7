//! A BitTorrent tracker: [`swarm`] decides, with no socket and no clock in it; [`serve()`] puts it on the network (feature `io`).

pub mod access;
pub mod connection_id;
pub mod directory;
pub mod own_seeder;
pub mod swarm;

#[cfg(feature = "io")]
mod admin;
#[cfg(feature = "io")]
pub mod config;
#[cfg(feature = "io")]
mod core;
#[cfg(feature = "io")]
mod forwarded;
#[cfg(feature = "io")]
mod http;
#[cfg(feature = "io")]
mod keeper;
#[cfg(feature = "io")]
pub mod keys;
#[cfg(feature = "io")]
mod metrics;
#[cfg(feature = "io")]
mod serve;
#[cfg(feature = "io")]
pub mod state;
#[cfg(feature = "io")]
pub mod store;
#[cfg(feature = "io")]
pub mod tokens;
#[cfg(feature = "io")]
mod udp;

#[cfg(feature = "io")]
pub use config::{Config, ServeError};
#[cfg(feature = "io")]
pub use directory::DirectoryConfig;
pub use own_seeder::OwnSeeder;
#[cfg(feature = "io")]
pub use serve::{Server, serve};
#[cfg(feature = "io")]
pub use store::RedisConfig;
pub use swarm::Swarms;

/// Fills the bytes with random ones.
#[cfg(feature = "io")]
#[expect(clippy::disallowed_methods, reason = "seeds and keys come in here")]
fn random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}
