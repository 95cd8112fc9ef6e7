//! A BitTorrent tracker: [`swarm`] decides, with no socket and no clock in it; [`serve`] puts it on the network (feature `io`).

#[cfg(feature = "io")]
pub mod http;
pub mod own_seeder;
pub mod swarm;

#[cfg(feature = "io")]
pub use http::{Config, ServeError, Server, serve};
pub use own_seeder::OwnSeeder;
pub use swarm::Swarms;
