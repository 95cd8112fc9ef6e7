//! What touches the outside, with no rule in it: sockets, files, clock, trackers. A [`session::Session`] listens and holds the limits that
//! torrents share; each torrent has a driver task, each peer a connection, and [`storage::Storage`] threads of its own for the disk.

pub mod announce;
pub mod buffer;
pub mod datagrams;
pub mod dht;
pub mod limit;
pub mod net;
pub mod proxy;
pub mod session;
pub mod storage;

mod connection;
mod driver;
mod handshake;
mod listen;
mod lsd;
mod mse;
mod open;
mod outbox;
mod port_map;
mod stream;
mod task;
mod utp;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
