//! `sprat tracker` from outside, by its command line and by bytes on sockets: the traps that real trackers fall into, one test each;
//! bad input by the names of our catalogue (H and U); published layouts; access, restarts, several nodes on one Redis; and other
//! people's clients.
//!
//! A test whose program is not installed is skipped and says so, except with `SPRAT_REQUIRE_PEERS=1`.

mod access;
mod flood;
mod hostile_http;
mod hostile_udp;
mod interop;
mod operations;
mod redis;
mod restart;
mod traps_addresses;
mod traps_parsing;
mod traps_replies;
mod traps_swarm;
mod traps_udp;
mod vectors;
