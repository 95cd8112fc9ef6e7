//! Magnet URIs (BEP 9, BEP 53): an info hash, and where to begin to look.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::metainfo::is_host;
use crate::metainfo::urls::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, check_url};
use crate::safe_path::{excerpt, printable};
use crate::{InfoHash, InfoHashV2, InfoHashes, Metainfo};

/// The longest magnet that is read, in bytes; ten times what 64 trackers need.
pub const MAX_MAGNET_LENGTH: usize = 64 * 1024;

/// The most trackers, and the most web seeds and peers, that are kept of one magnet.
pub const MAX_MAGNET_ENTRIES: usize = 64;

/// The longest name that is kept, in bytes: no path that a system takes is longer.
const MAX_NAME_LENGTH: usize = 4096;

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
    /// `so` (BEP 53): ranges of positions in [`Info::files`](crate::Info::files), from 0. As they are read: ascending, and none
    /// touches the next.
    ///
    /// BEP 53 does not say whether pad files count. Here, as in libtorrent, a pad file that stands in the `files` list of a v1 or
    /// hybrid torrent counts like any other; a torrent of only v2 has none in its file tree (libtorrent counts those that it
    /// makes up to fill the gaps).
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
    #[error("the magnet link names no torrent: it has no `xt=urn:btih:…` and no `xt=urn:btmh:…`")]
    NoInfoHash,
    /// An `xt=urn:btih:` or `xt=urn:btmh:` that is no hash.
    #[error(
        "bad magnet link: `{0}` is no info hash; `btih:` takes 40 hexadecimal or 32 base32 characters, `btmh:` takes 1220 and 64 \
         hexadecimal characters"
    )]
    BadInfoHash(String),
    /// Two different `xt=urn:btih:`, or two different `xt=urn:btmh:`.
    #[error("bad magnet link: it names two torrents, {0} and {1}")]
    TwoInfoHashes(InfoHashes, InfoHashes),
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

    /// The magnet of a torrent, with its name, length, trackers and web seeds, as far as they fit in [`MAX_MAGNET_LENGTH`].
    pub fn from_metainfo(metainfo: &Metainfo) -> Self {
        let info = &metainfo.info;
        let mut magnet = Self { length: Some(info.layout().total()), ..Self::new(info.hashes()) };
        let mut room = Room::default();
        magnet.name = name(printable(info.name()).into_owned(), &mut room);
        for url in metainfo.trackers.iter().flatten() {
            push_new(&mut magnet.trackers, Some(url.clone()), &mut room);
        }
        for url in &metainfo.web_seeds {
            push_new(&mut magnet.web_seeds, Some(url.clone()), &mut room);
        }
        magnet
    }

    /// The same magnet for those who know only v1; `None` if the v1 info hash is not known.
    pub fn v1_only(&self) -> Option<Self> {
        Some(Self { hashes: self.hashes.v1()?.into(), ..self.clone() })
    }

    /// The same magnet with nothing but the v2 info hash; `None` if that is not known.
    pub fn v2_only(&self) -> Option<Self> {
        Some(Self { hashes: self.hashes.v2()?.into(), ..self.clone() })
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
        let mut room = Room::default();
        let mut magnet = Self::new(InfoHash([0; 20]));
        for (key, value) in query.split('&').filter_map(|field| field.split_once('=')) {
            let key = key.to_ascii_lowercase();
            match unnumbered(&key) {
                "xt" => topics.read(value)?,
                "dn" if magnet.name.is_none() => {
                    let text = decode(&value.replace('+', " ")).filter(|name| !name.contains('\0'));
                    magnet.name = text.and_then(|text| name(text, &mut room));
                }
                "xl" => magnet.length = read_number(value).or(magnet.length),
                "tr" => push_url(&mut magnet.trackers, value, TRACKER_SCHEMES, &mut room),
                "ws" => push_url(&mut magnet.web_seeds, value, WEB_SEED_SCHEMES, &mut room),
                "x.pe" => {
                    push_new(&mut magnet.peers, decode(value).filter(|peer| is_peer(peer)), &mut room);
                }
                "so" => {
                    let list = decode(value).filter(|list| room.take(list));
                    magnet.select.extend(list.iter().flat_map(|list| list.split(',')).filter_map(read_range));
                }
                _ => {}
            }
        }
        magnet.hashes = topics.finish()?;
        magnet.select = merged(magnet.select);
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("magnet:?xt=")?;
        if let Some(hash) = self.hashes.v1() {
            write!(f, "urn:btih:{hash}")?;
        }
        if let Some(hash) = self.hashes.v2() {
            f.write_str(if self.hashes.v1().is_some() { "&xt=" } else { "" })?;
            write!(f, "urn:btmh:{SHA256_PREFIX}{hash}")?;
        }
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

/// What a multihash of SHA-256 begins with: 0x12 is its number, 0x20 its length (BEP 52, BEP 9).
const SHA256_PREFIX: &str = "1220";

/// What the `xt` fields name. Those of other networks are not looked at.
#[derive(Default)]
struct Topics {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
}

impl Topics {
    fn read(&mut self, value: &str) -> Result<(), MagnetError> {
        let bad = || MagnetError::BadInfoHash(excerpt(value));
        let topic = decode(value).ok_or_else(bad)?;
        let lower = topic.to_ascii_lowercase();
        if let Some(hash) = lower.strip_prefix("urn:btih:") {
            known_once(&mut self.v1, hash.parse().map_err(|_| bad())?)
        } else if let Some(hash) = lower.strip_prefix("urn:btmh:") {
            let hash = hash.strip_prefix(SHA256_PREFIX).ok_or_else(bad)?;
            known_once(&mut self.v2, hash.parse().map_err(|_| bad())?)
        } else {
            Ok(())
        }
    }

    fn finish(self) -> Result<InfoHashes, MagnetError> {
        InfoHashes::new(self.v1, self.v2).ok_or(MagnetError::NoInfoHash)
    }
}

fn known_once<H: Copy + PartialEq + Into<InfoHashes>>(
    known: &mut Option<H>,
    hash: H,
) -> Result<(), MagnetError> {
    match known.replace(hash) {
        Some(other) if other != hash => Err(MagnetError::TwoInfoHashes(other.into(), hash.into())),
        _ => Ok(()),
    }
}

/// How much may still be written of what a magnet says: a link that we give must be one that we read.
struct Room {
    left: usize,
}

impl Default for Room {
    fn default() -> Self {
        // Both hashes and the length take 166 bytes.
        Self { left: MAX_MAGNET_LENGTH - 256 }
    }
}

impl Room {
    /// Takes what a field with this value needs, `&x.pe=` included, or nothing if there is not enough.
    fn take(&mut self, value: &str) -> bool {
        let needed = "&x.pe=".len() + escape(value).map(str::len).sum::<usize>();
        let rest = self.left.checked_sub(needed);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
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
fn escape(text: &str) -> PercentEncode<'_> {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ESCAPED)
}

fn name(text: String, room: &mut Room) -> Option<String> {
    (text.len() <= MAX_NAME_LENGTH && room.take(&text)).then_some(text)
}

fn push_url(urls: &mut Vec<String>, value: &str, schemes: &[&str], room: &mut Room) {
    let url = decode(value);
    push_new(urls, url.and_then(|url| check_url(url.as_bytes(), schemes).ok().map(str::to_owned)), room);
}

fn push_new(entries: &mut Vec<String>, entry: Option<String>, room: &mut Room) {
    let has_place = |entry: &String| entries.len() < MAX_MAGNET_ENTRIES && !entries.contains(entry);
    if let Some(entry) = entry.filter(has_place).filter(|entry| room.take(entry)) {
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
    let number = |text: &str| read_number(text).filter(|&number| number <= MAX_FILE_NUMBER);
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let range = number(start)?..=number(end)?;
    (!range.is_empty()).then_some(range)
}

/// Digits and nothing else: `parse` alone would take a sign.
fn read_number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The same numbers in ascending order, in as few ranges as can be.
fn merged(mut ranges: Vec<RangeInclusive<usize>>) -> Vec<RangeInclusive<usize>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    ranges.dedup_by(|next, last| {
        let touches = *next.start() <= last.end() + 1;
        if touches {
            *last = *last.start()..=*last.end().max(next.end());
        }
        touches
    });
    ranges
}

#[cfg(test)]
mod tests;
