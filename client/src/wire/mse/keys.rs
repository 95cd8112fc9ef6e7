//! Keys: Diffie–Hellman in a group of 768 bits, and the hashes that are made of what comes of it.

use crypto_bigint::modular::ConstMontyForm;
use crypto_bigint::{U192, U768, const_monty_params};
use sha1::{Digest as _, Sha1};
use torrent_format::InfoHash;

use super::{Cipher, MseError};

/// The length of a public key in bytes.
pub const KEY_LENGTH: usize = 96;

/// The length of a private key in bytes, as the specification recommends it.
pub const SECRET_LENGTH: usize = 20;

const PRIME: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
);

const_monty_params!(Prime, U768, PRIME);

type Residue = ConstMontyForm<Prime, { U768::LIMBS }>;

/// What is said aloud of a key.
pub type PublicKey = [u8; KEY_LENGTH];

/// A private key and its public one.
pub struct KeyPair {
    secret: U192,
    public: PublicKey,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair")
    }
}

impl KeyPair {
    /// `secret` is random. Takes a good deal of arithmetic.
    pub fn new(secret: [u8; SECRET_LENGTH]) -> Self {
        let mut wide = [0; U192::BYTES];
        wide[U192::BYTES - SECRET_LENGTH..].copy_from_slice(&secret);
        let secret = U192::from_be_slice(&wide);
        Self { secret, public: power(&U768::from(2_u8), &secret) }
    }

    /// To be sent.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What both sides know after they have said their public keys. Takes as much arithmetic again.
    ///
    /// # Errors
    /// If anybody could know it.
    pub(super) fn agree(&self, theirs: &PublicKey) -> Result<Agreement, MseError> {
        let theirs = U768::from_be_slice(theirs);
        let prime = U768::from_be_hex(PRIME);
        // 1 and p − 1 make groups of one and two numbers; 0 makes none.
        if theirs <= U768::ONE || theirs >= prime.wrapping_sub(&U768::ONE) {
            return Err(MseError::WeakKey);
        }
        Ok(Agreement(power(&theirs, &self.secret)))
    }
}

fn power(base: &U768, exponent: &U192) -> [u8; KEY_LENGTH] {
    let result = Residue::new(base).pow_bounded_exp(exponent, SECRET_LENGTH as u32 * 8).retrieve();
    let mut bytes = [0; KEY_LENGTH];
    bytes.copy_from_slice(result.to_be_bytes().as_ref());
    bytes
}

/// What both sides know and nobody who only listened. S in the specification.
#[derive(Clone)]
pub(super) struct Agreement([u8; KEY_LENGTH]);

impl std::fmt::Debug for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agreement")
    }
}

impl Agreement {
    /// Ends the initiator's first padding.
    pub(super) fn mark(&self) -> [u8; 20] {
        hash(&[b"req1", &self.0])
    }

    /// The name of the torrent, as nobody reads it who does not know it; hiding twice shows it.
    pub(super) fn hide(&self, name: [u8; 20]) -> [u8; 20] {
        let mask = hash(&[b"req3", &self.0]);
        std::array::from_fn(|at| name[at] ^ mask[at])
    }

    /// For what the initiator sends.
    pub(super) fn initiators_cipher(&self, torrent: InfoHash) -> Cipher {
        Cipher::new(&hash(&[b"keyA", &self.0, &torrent.0]))
    }

    /// For what the responder sends.
    pub(super) fn responders_cipher(&self, torrent: InfoHash) -> Cipher {
        Cipher::new(&hash(&[b"keyB", &self.0, &torrent.0]))
    }
}

/// What stands for the name of a torrent.
pub(super) fn hashed_name(torrent: InfoHash) -> [u8; 20] {
    hash(&[b"req2", &torrent.0])
}

fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut sha = Sha1::new();
    for part in parts {
        sha.update(part);
    }
    sha.finalize().into()
}
