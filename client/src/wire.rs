//! What peers say to each other, and nothing about why. Bytes in, values out; values in, bytes out.
//!
//! A connection opens with a [`Handshake`] in each direction; from then on each side sends frames, which [`FrameDecoder`] takes from
//! the front of what has come and [`Message::encode`] writes. What stands inside an extended message is read by [`extension`],
//! [`ut_metadata`], [`ut_pex`] and [`ut_holepunch`]. Before the handshake, [`mse`] may hide what is said. No number that a peer says is held against a torrent
//! here: that is `torrent`'s, which knows one.

pub mod extension;
pub mod frame;
pub mod handshake;
pub mod lsd;
pub mod message;
pub mod mse;
pub mod ut_holepunch;
pub mod ut_metadata;
pub mod ut_pex;

pub use extension::ExtensionHandshake;
pub use frame::{Frame, FrameDecoder, FrameError};
pub use handshake::{Capabilities, Handshake, HandshakeError};
pub use message::{BlockRequest, HashRequest, Message};
pub use ut_metadata::MetadataMessage;
pub use ut_pex::PexMessage;
