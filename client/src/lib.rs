//! sprat's client. Pure rooms, [`wire`] (what peers say), [`torrent`] (what to do about it), [`dht`] and [`utp`], with no socket, clock or
//! thread in them; around them, with the `io` feature, [`engine`] (tokio, disk) and [`cli`].

#[cfg(feature = "io")]
pub mod cli;
pub mod dht;
#[cfg(feature = "io")]
pub mod engine;
pub mod torrent;
pub mod utp;
pub mod wire;
