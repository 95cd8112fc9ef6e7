//! Passkeys of a private tracker: [`Keys`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Characters of a key: base32 of 20 random bytes, as hard to guess as a hash.
pub const KEY_LENGTH: usize = 32;

/// Most keys that are kept; they are in memory and in one file.
pub const MAX_KEYS: usize = 1_000_000;

/// Longest comment in bytes.
pub const MAX_COMMENT: usize = 256;

/// A passkey and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What stands in the URL.
    pub key: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// From when on it opens nothing, in seconds since 1970.
    pub expires: Option<u64>,
    /// What the operator wrote beside it.
    pub comment: Option<String>,
}

/// All passkeys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

#[derive(Serialize, Deserialize)]
struct File {
    schema: u32,
    keys: Vec<Key>,
}

impl Keys {
    /// Whether this key opens the tracker at `now`, in seconds since 1970.
    pub fn permit(&self, key: &str, now: u64) -> bool {
        self.0.get(key).is_some_and(|key| key.expires.is_none_or(|expires| now < expires))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.values()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds one. `false`: there are [`MAX_KEYS`] already.
    pub fn add(&mut self, key: Key) -> bool {
        let room = self.0.len() < MAX_KEYS;
        if room {
            self.0.insert(key.key.clone(), key);
        }
        room
    }

    /// Takes one out; says whether it was there.
    pub fn revoke(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    /// As it is kept in a file.
    pub fn to_json(&self) -> Vec<u8> {
        let file = File { schema: 1, keys: self.0.values().cloned().collect() };
        serde_json::to_vec_pretty(&file).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let file: File = serde_json::from_slice(bytes)?;
        Ok(Self(file.keys.into_iter().map(|key| (key.key.clone(), key)).collect()))
    }
}

/// A new key of these random bytes.
pub fn new_key(random: [u8; 20], now: u64, expires_in: Option<u64>, comment: Option<String>) -> Key {
    Key {
        key: data_encoding::BASE32_NOPAD.encode(&random).to_ascii_lowercase(),
        created: now,
        expires: expires_in.map(|seconds| now.saturating_add(seconds)),
        comment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_until_it_expires_or_is_revoked() {
        let mut keys = Keys::default();
        let key = new_key([7; 20], 1000, Some(60), Some("for Ann".into()));
        let lasting = new_key([8; 20], 1000, None, None);
        assert_eq!((key.key.len(), key.expires), (KEY_LENGTH, Some(1060)));
        assert!(keys.add(key.clone()) && keys.add(lasting.clone()));
        assert_eq!((keys.permit(&key.key, 1059), keys.permit(&key.key, 1060)), (true, false));
        assert!(keys.permit(&lasting.key, u64::MAX));
        assert!(!keys.permit("", 0) && !keys.permit(&key.key[1..], 0));
        assert_eq!(Keys::from_json(&keys.to_json()).unwrap(), keys);
        assert_eq!((keys.revoke(&lasting.key), keys.revoke(&lasting.key)), (true, false));
        assert!(!keys.permit(&lasting.key, 0));
    }
}
