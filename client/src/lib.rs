//! sprat's client. Two pure rooms, [`wire`] (what peers say) and [`torrent`] (what to do about it), with no socket, clock or thread in
//! them; around them, with the `io` feature, [`engine`] (tokio, disk) and [`cli`].

#[cfg(feature = "io")]
pub mod cli;
pub mod dht;
#[cfg(feature = "io")]
pub mod engine;
pub mod torrent;
pub mod wire;
