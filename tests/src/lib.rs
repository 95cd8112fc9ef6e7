//! The harness: what the tests that run the real binary share. It knows sprat only from outside (`CLI.md`: arguments, exit codes,
//! streams, JSON events, bytes on sockets), but for the formats and the wire codec, which scripted peers borrow from the pure rooms.
//!
//! Nothing here sleeps for a guessed time: [`wait`] and [`process`] watch for an event up to a generous deadline.

pub mod bench;
pub mod bencode;
pub mod binary;
pub mod browser;
pub mod content;
pub mod dht;
pub mod directory;
pub mod fake_tracker;
pub mod fluid;
pub mod foreign;
pub mod fuzz;
pub mod gateway;
pub mod http;
pub mod netns;
pub mod peer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod reaper;
pub mod require;
pub mod sandbox;
pub mod sim;
pub mod tracker;
pub mod tree;
pub mod wait;
