//! Message Stream Encryption, also called Protocol Encryption: what two peers say to each other before their handshakes so that nobody on
//! the way can tell that it is BitTorrent (the specification is in the Azureus wiki, "Message Stream Encryption", version 1.0).
//!
//! It hides; it does not protect. Whoever knows the info hash and sits in between can read and change everything. Two keys are agreed
//! upon by Diffie and Hellman's method, the info hash is proven without being said, and both sides choose whether what follows is
//! encrypted by RC4 or plain. [`Initiator`] is who dialled, [`Responder`] who was dialled: both are handed bytes as they come, and say
//! what to send.

mod initiator;
mod keys;
mod responder;
#[cfg(test)]
mod tests;

pub use initiator::Initiator;
pub use keys::{KEY_LENGTH, KeyPair, PublicKey, SECRET_LENGTH};
pub use responder::{Proof, Responder};

use rc4::{KeyInit as _, Rc4, StreamCipher as _};

/// The longest padding, in bytes, wherever there is some.
pub const MAX_PADDING: usize = 512;

/// The longest payload that may come along with the negotiation: a handshake, and room for the messages after it that some clients send
/// along.
pub const MAX_INITIAL_PAYLOAD: usize = 1024;

/// The verification constant: eight zeros, which show that both sides have the same key.
const VC: [u8; 8] = [0; 8];

/// The first bytes of RC4's stream tell of the key, and are thrown away.
const DISCARDED: usize = 1024;

/// A way to go on after the negotiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// As it is: only the negotiation and what came along with it were hidden.
    Plaintext,
    /// By RC4.
    Rc4,
}

/// Ways to go on that one side takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Methods {
    /// See [`Method::Plaintext`].
    pub plaintext: bool,
    /// See [`Method::Rc4`].
    pub rc4: bool,
}

impl Methods {
    /// Either will do.
    pub const ANY: Self = Self { plaintext: true, rc4: true };
    /// Nothing plain.
    pub const RC4: Self = Self { plaintext: false, rc4: true };

    fn to_bits(self) -> u32 {
        u32::from(self.plaintext) * Method::Plaintext.bit() + u32::from(self.rc4) * Method::Rc4.bit()
    }

    fn from_bits(bits: u32) -> Self {
        Self { plaintext: bits & Method::Plaintext.bit() != 0, rc4: bits & Method::Rc4.bit() != 0 }
    }

    fn has(self, method: Method) -> bool {
        match method {
            Method::Plaintext => self.plaintext,
            Method::Rc4 => self.rc4,
        }
    }

    /// What both take; plain if that is so, since it costs nothing and the negotiation is what was to be hidden.
    fn choose(self, other: Self) -> Option<Method> {
        [Method::Plaintext, Method::Rc4].into_iter().find(|&method| self.has(method) && other.has(method))
    }
}

impl Method {
    fn bit(self) -> u32 {
        match self {
            Self::Plaintext => 1,
            Self::Rc4 => 2,
        }
    }
}

/// One direction of an encrypted connection. It has to see every byte, once, in order.
pub struct Cipher(Rc4);

impl Cipher {
    fn new(key: &[u8]) -> Self {
        let mut cipher = Self(Rc4::new_from_slice(key).expect("RC4 takes keys of up to 256 bytes"));
        cipher.apply(&mut [0; DISCARDED]);
        cipher
    }

    /// Encrypts what is plain, or decrypts what is not.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

/// The end of a negotiation.
#[derive(Debug)]
pub struct Agreed {
    /// For what comes and what goes from here on; `None`: it is plain.
    pub ciphers: Option<Ciphers>,
    /// What has come of the payload by now, readable.
    pub received: Vec<u8>,
}

/// Both directions of an encrypted connection.
#[derive(Debug)]
pub struct Ciphers {
    /// For what comes.
    pub inbound: Cipher,
    /// For what goes.
    pub outbound: Cipher,
}

/// What to do after bytes have come.
#[derive(Debug)]
pub enum Progress {
    /// Read more, and hand it over.
    Wait,
    /// Send this, then ask again with no bytes.
    Send(Vec<u8>),
    /// It is over; bytes that are handed over from here on are lost.
    Done(Box<Agreed>),
}

/// A negotiation that failed, by the other side's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MseError {
    /// 0, 1, or as good as these: whoever listens would know what comes of it.
    #[error("its public key is none")]
    WeakKey,
    /// The mark that ends the padding has not come where it must.
    #[error("it speaks neither the BitTorrent protocol nor its encryption")]
    NoMark,
    /// None of our torrents.
    #[error("it wants a torrent that is not here")]
    UnknownTorrent,
    /// What must be zeros is not: the other side has another key.
    #[error("it has another key")]
    WrongKey,
    /// Longer than padding may be.
    #[error("its padding is too long")]
    Padding,
    /// More than comes along with a negotiation.
    #[error("it sends too much along with the negotiation")]
    InitialPayload,
    /// It takes nothing that we take, or chose what was not offered.
    #[error("it does not encrypt as we do")]
    NoMethod,
}

/// Takes the first `length` bytes, if there are so many.
fn take(received: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    (received.len() >= length).then(|| received.drain(..length).collect())
}

/// Padding of a random length up to `most`.
fn padding(rng: &mut fastrand::Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// The length that stands in two bytes at the end of these.
fn length_at_end(bytes: &[u8]) -> usize {
    bytes.last_chunk().map_or(0, |length| u16::from_be_bytes(*length).into())
}
