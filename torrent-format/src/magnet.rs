//! Magnet URIs (BEP 9, BEP 53): an info hash, and where to begin to look.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::metainfo::is_host;
use crate::metainfo::urls::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, check_url};
use crate::safe_path::{excerpt, printable};
use crate::{InfoHash, InfoHashes, Metainfo};

/// The longest magnet that is read, in bytes; ten times what 64 trackers need.
pub const MAX_MAGNET_LENGTH: usize = 64 * 1024;

/// The most trackers, and the most web seeds and peers, that are kept of one magnet.
pub const MAX_MAGNET_ENTRIES: usize = 64;

/// The highest file number in `so`: no torrent that we read has more files.
const MAX_FILE_NUMBER: usize = crate::bencode::Limits::TOKENS as usize;

/// What a magnet URI says. `FromStr` reads it; `Display` writes it, and what it writes reads back equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    /// `xt=urn:btih:` and `xt=urn:btmh:`
    pub hashes: InfoHashes,
    /// `dn`: for display only, never a path. May hold anything: print it through [`printable`].
    pub name: Option<String>,
    /// `tr`
    pub trackers: Vec<String>,
    /// `x.pe`: `host:port`
    pub peers: Vec<String>,
    /// `ws`
    pub web_seeds: Vec<String>,
    /// `so` (BEP 53): ranges of file numbers from 0.
    pub select: Vec<RangeInclusive<usize>>,
    /// `xl`
    pub length: Option<u64>,
}

/// Not a magnet that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// Does not begin with `magnet:?`.
    #[error("not a magnet link: it does not begin with `magnet:?`")]
    NotAMagnet,
    /// Longer than [`MAX_MAGNET_LENGTH`].
    #[error("the magnet link is longer than {} KiB", MAX_MAGNET_LENGTH >> 10)]
    TooLong,
    /// No `xt` that names a torrent.
    #[error("the magnet link names no torrent: it has no `xt=urn:btih:…`")]
    NoInfoHash,
    /// An `xt=urn:btih:` or `xt=urn:btmh:` that is no hash.
    #[error("bad magnet link: `{0}` is no info hash; it takes 40 hexadecimal or 32 base32 characters")]
    BadInfoHash(String),
    /// Two different `xt=urn:btih:`.
    #[error("bad magnet link: it names two torrents, {0} and {1}")]
    TwoInfoHashes(InfoHash, InfoHash),
    /// Only `xt=urn:btmh:`.
    #[error("v2 magnets are not supported yet")]
    V2Only,
}

impl Magnet {
    /// A magnet with nothing but info hashes.
    pub fn new(hashes: impl Into<InfoHashes>) -> Self {
        Self {
            hashes: hashes.into(),
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            web_seeds: Vec::new(),
            select: Vec::new(),
            length: None,
        }
    }

    /// The magnet of a torrent, with its name, length, trackers and web seeds.
    pub fn from_metainfo(metainfo: &Metainfo) -> Self {
        let info = &metainfo.info;
        Self {
            name: Some(printable(info.name()).into_owned()),
            trackers: metainfo.trackers.iter().flatten().take(MAX_MAGNET_ENTRIES).cloned().collect(),
            web_seeds: metainfo.web_seeds.iter().take(MAX_MAGNET_ENTRIES).cloned().collect(),
            length: Some(info.layout().total()),
            ..Self::new(info.hashes())
        }
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a magnet as people paste it: quotes and white space around it and `&amp;` for `&` are no matter. A field that can't
    /// be used is left out, but for `xt`.
    fn from_str(text: &str) -> Result<Self, MagnetError> {
        if text.len() > MAX_MAGNET_LENGTH {
            return Err(MagnetError::TooLong);
        }
        let text =
            text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`'));
        let text = text.replace("&amp;", "&");
        let query = match text.split_at_checked("magnet:?".len()) {
            Some((scheme, query)) if scheme.eq_ignore_ascii_case("magnet:?") => query,
            _ => return Err(MagnetError::NotAMagnet),
        };

        let mut topics = Topics::default();
        let mut magnet = Self::new(InfoHash([0; 20]));
        for (key, value) in query.split('&').filter_map(|field| field.split_once('=')) {
            let key = key.to_ascii_lowercase();
            match unnumbered(&key) {
                "xt" => topics.read(value)?,
                "dn" => {
                    let name = decode(&value.replace('+', " ")).filter(|name| !name.contains('\0'));
                    magnet.name = magnet.name.or(name);
                }
                "xl" => magnet.length = value.parse().ok().or(magnet.length),
                "tr" => push_url(&mut magnet.trackers, value, TRACKER_SCHEMES),
                "ws" => push_url(&mut magnet.web_seeds, value, WEB_SEED_SCHEMES),
                "x.pe" => push_new(&mut magnet.peers, decode(value).filter(|peer| is_peer(peer))),
                "so" => magnet
                    .select
                    .extend(decode(value).iter().flat_map(|list| list.split(',')).filter_map(read_range)),
                _ => {}
            }
        }
        magnet.hashes = topics.finish()?.into();
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.hashes)?;
        if let Some(name) = &self.name {
            write!(f, "&dn={}", escape(name))?;
        }
        if let Some(length) = self.length {
            write!(f, "&xl={length}")?;
        }
        for tracker in &self.trackers {
            write!(f, "&tr={}", escape(tracker))?;
        }
        for web_seed in &self.web_seeds {
            write!(f, "&ws={}", escape(web_seed))?;
        }
        for peer in &self.peers {
            write!(f, "&x.pe={peer}")?;
        }
        for (i, range) in self.select.iter().enumerate() {
            f.write_str(if i == 0 { "&so=" } else { "," })?;
            match range.start() == range.end() {
                true => write!(f, "{}", range.start())?,
                false => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

/// What the `xt` fields name.
#[derive(Default)]
struct Topics {
    v1: Option<InfoHash>,
    v2: bool,
}

impl Topics {
    fn read(&mut self, value: &str) -> Result<(), MagnetError> {
        let bad = || MagnetError::BadInfoHash(excerpt(value));
        let topic = decode(value).ok_or_else(bad)?;
        let lower = topic.to_ascii_lowercase();
        if lower.starts_with("urn:btih:") {
            let hash = topic["urn:btih:".len()..].parse().map_err(|_| bad())?;
            match self.v1.replace(hash) {
                Some(other) if other != hash => return Err(MagnetError::TwoInfoHashes(other, hash)),
                _ => {}
            }
        } else if let Some(hash) = lower.strip_prefix("urn:btmh:") {
            // A multihash: 0x12 is SHA-256, 0x20 its length (BEP 52).
            let is_sha256 = hash.strip_prefix("1220").is_some_and(|hash| hash.len() == 64);
            if !is_sha256 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad());
            }
            self.v2 = true;
        }
        Ok(())
    }

    fn finish(self) -> Result<InfoHash, MagnetError> {
        self.v1.ok_or(if self.v2 { MagnetError::V2Only } else { MagnetError::NoInfoHash })
    }
}

/// The key without the number that some tools add: `tr.1`, `xt.2`.
fn unnumbered(key: &str) -> &str {
    match key.split_once('.') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            name
        }
        _ => key,
    }
}

/// `None` if an escape is not two hexadecimal digits, or the result is not UTF-8.
fn decode(value: &str) -> Option<String> {
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !value.split('%').skip(1).all(is_escape) {
        return None;
    }
    percent_encoding::percent_decode_str(value).decode_utf8().ok().map(String::from)
}

/// RFC 3986's unreserved characters stay.
fn escape(text: &str) -> impl fmt::Display + '_ {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ESCAPED)
}

fn push_url(urls: &mut Vec<String>, value: &str, schemes: &[&str]) {
    let url = decode(value);
    push_new(urls, url.and_then(|url| check_url(url.as_bytes(), schemes).ok().map(str::to_owned)));
}

fn push_new(entries: &mut Vec<String>, entry: Option<String>) {
    if let Some(entry) = entry.filter(|entry| entries.len() < MAX_MAGNET_ENTRIES && !entries.contains(entry))
    {
        entries.push(entry);
    }
}

/// `host:port`, an IPv6 address in brackets. A link must not make its reader knock at the reader's own machine.
fn is_peer(peer: &str) -> bool {
    let Some((host, port)) = peer.rsplit_once(':') else { return false };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().unwrap_or(0) == 0 {
        return false;
    }
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => match host.parse() {
            Ok(address) => Some(IpAddr::V6(address)),
            Err(_) => return false,
        },
        None if host.contains(':') || !is_host(host) => return false,
        None => host.parse().ok(),
    };
    address.is_none_or(|address| {
        let address = address.to_canonical();
        let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || broadcast)
    }) && !host.eq_ignore_ascii_case("localhost")
}

/// `4` or `4-6`.
fn read_range(text: &str) -> Option<RangeInclusive<usize>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&number| digits && number <= MAX_FILE_NUMBER)
    };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let range = number(start)?..=number(end)?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests;
