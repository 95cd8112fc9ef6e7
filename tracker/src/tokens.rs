//! Tokens of the directory: [`Tokens`]. Whoever has one may publish.

use std::collections::BTreeMap;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use torrent_format::InfoHashV2;

/// Most tokens that are kept; they are in memory and in one file.
pub const MAX_TOKENS: usize = 10_000;

/// What a token begins with, so that it is known for one wherever it turns up.
const PREFIX: &str = "sprat_";

/// What its bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Publish, and remove what it published.
    Publish,
    /// Remove what others published, too.
    Admin,
}

/// What is kept of a token: not the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is called in lists, and what is kept of who published a torrent.
    pub id: String,
    /// SHA-256 of it. It is 160 random bits, which nobody finds by trying: a slow hash would add nothing.
    pub hash: String,
    /// What its bearer may do.
    pub scope: Scope,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// From when on it is no good, in seconds since 1970.
    pub expires: Option<u64>,
    /// What the operator wrote beside it.
    pub comment: Option<String>,
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(BTreeMap<String, Token>);

#[derive(Serialize, Deserialize)]
struct File {
    schema: u32,
    tokens: Vec<Token>,
}

impl Tokens {
    /// What this token permits at `now`, in seconds since 1970.
    pub fn find(&self, token: &str, now: u64) -> Option<&Token> {
        let token = self.0.get(&hash(token))?;
        Some(token).filter(|token| token.expires.is_none_or(|expires| now < expires))
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        let mut all: Vec<&Token> = self.0.values().collect();
        all.sort_by_key(|token| (token.created, &token.id));
        all.into_iter()
    }

    /// Adds one. `false`: there are [`MAX_TOKENS`] already.
    pub fn add(&mut self, token: Token) -> bool {
        let room = self.0.len() < MAX_TOKENS;
        if room {
            self.0.insert(token.hash.clone(), token);
        }
        room
    }

    /// Takes the one of this id out; says whether it was there.
    pub fn revoke(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|_, token| token.id != id);
        self.0.len() < before
    }

    /// As it is kept in a file.
    pub fn to_json(&self) -> Vec<u8> {
        let file = File { schema: 1, tokens: self.0.values().cloned().collect() };
        serde_json::to_vec_pretty(&file).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let file: File = serde_json::from_slice(bytes)?;
        Ok(Self(file.tokens.into_iter().map(|token| (token.hash.clone(), token)).collect()))
    }
}

/// A new token of these random bytes, and what is kept of it.
pub fn new_token(
    random: [u8; 20],
    scope: Scope,
    now: u64,
    expires_in: Option<u64>,
    comment: Option<String>,
) -> (String, Token) {
    let token = format!("{PREFIX}{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase());
    let hash = hash(&token);
    let kept = Token {
        id: hash[..8].to_owned(),
        hash,
        scope,
        created: now,
        expires: expires_in.map(|seconds| now.saturating_add(seconds)),
        comment,
    };
    (token, kept)
}

fn hash(token: &str) -> String {
    HEXLOWER.encode(&InfoHashV2::of_info(token.as_bytes()).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked_and_is_not_kept() {
        let mut tokens = Tokens::default();
        let (secret, kept) = new_token([7; 20], Scope::Publish, 1000, Some(60), Some("for Ann".into()));
        let (lasting, admin) = new_token([8; 20], Scope::Admin, 1001, None, None);
        assert!(tokens.add(kept.clone()) && tokens.add(admin.clone()));
        assert_eq!(tokens.find(&secret, 1059), Some(&kept));
        assert_eq!(tokens.find(&secret, 1060), None);
        assert_eq!(tokens.find(&lasting, u64::MAX).map(|token| token.scope), Some(Scope::Admin));
        assert!(tokens.find("", 0).is_none() && tokens.find(&kept.hash, 0).is_none());
        let file = tokens.to_json();
        assert!(!String::from_utf8_lossy(&file).contains(&secret[PREFIX.len()..]));
        assert_eq!(Tokens::from_json(&file).unwrap(), tokens);
        assert_eq!(tokens.iter().collect::<Vec<_>>(), [&kept, &admin]);
        assert_eq!((tokens.revoke(&kept.id), tokens.revoke(&kept.id)), (true, false));
        assert_eq!(tokens.find(&secret, 0), None);
    }
}
