//! sprat among programs that others wrote: torrents that all of them read alike, and transfers in both directions.
//!
//! A test whose peer is not installed, or that needs root for its network namespaces, is skipped and says so, except with
//! `SPRAT_REQUIRE_PEERS=1`.

mod alone;
mod created;
mod encryption;
mod hashes;
mod holepunch;
mod made;
mod opentracker;
mod pex;
mod share;
mod transfer;
mod utp;
mod v2;
mod ways;
