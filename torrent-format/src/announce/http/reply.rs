//! What a tracker answers: written by a tracker, read by a client.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::InfoHash;
use crate::announce::{
    AnnounceReply, COMPACT_V4, COMPACT_V6, canonical, compact_v4, compact_v6, parse_compact_v4,
    parse_compact_v6,
};
use crate::bencode::{self, BencodeError, BencodeErrorKind, Dict, Limits, Raw};
use crate::safe_path::printable;

/// When to come back if the tracker does not say, or says nonsense: what most trackers say.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// Longest interval that is passed on, so that no sum of times overflows. What is sensible for a swarm is much shorter, and
/// the client's core clamps to that.
pub const MAX_INTERVAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Longest reply in bytes: some 200 times what trackers send.
pub const MAX_REPLY: u32 = 1 << 20;

/// Most peers kept of one reply: five times what trackers send at most, and more than one torrent connects to.
pub const MAX_PEERS: usize = 1000;

/// Most characters kept of a reason or a warning: a few lines of a terminal.
pub const MAX_TEXT: usize = 256;

/// Longest `tracker id` that is kept, since it is sent back in each URL.
pub const MAX_TRACKER_ID: usize = 256;

/// Most torrents kept of one scrape reply.
const MAX_SCRAPE_ENTRIES: usize = 1000;

/// When to try again after a failure (BEP 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryIn {
    /// After this time; on the wire in minutes.
    After(Duration),
    /// Not at all.
    Never,
}

/// How a swarm is doing (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrapeEntry {
    /// Seeds.
    pub complete: u32,
    /// How often the torrent was completed.
    pub downloaded: u32,
    /// Peers that are not seeds but download: without the partial seeds (BEP 21).
    pub downloaders: Option<u32>,
    /// Peers that are not seeds.
    pub incomplete: u32,
}

/// What a tracker answered that is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The tracker said why not. The reason is fit for a terminal.
    #[error("the tracker refused: {reason}")]
    Failure {
        /// In the tracker's words.
        reason: String,
        /// When to try again, if it says so.
        retry_in: Option<RetryIn>,
    },
    /// Nothing.
    #[error("the tracker sent an empty reply")]
    Empty,
    /// HTML: the URL is not that of a tracker, or something on the way wants a login.
    #[error("the tracker answered with a web page: check its URL, and whether the network asks for a login")]
    WebPage,
    /// It ends within a value.
    #[error("the tracker's reply is cut short")]
    Truncated,
    /// Not bencode, or with nonsense in it.
    #[error("the tracker's reply is not bencoded: {0}")]
    Malformed(BencodeError),
    /// Longer than [`MAX_REPLY`].
    #[error("the tracker's reply is longer than {MAX_REPLY} bytes")]
    TooLong,
    /// Bencode, but no dictionary.
    #[error("the tracker's reply is not a dictionary")]
    NotADictionary,
    /// A compact list whose length is no multiple of its entries'.
    #[error("the tracker's reply has {length} bytes of `{key}`, no multiple of {entry}")]
    Peers {
        /// `peers` or `peers6`.
        key: &'static str,
        /// Bytes.
        length: usize,
        /// Bytes of one peer.
        entry: usize,
    },
    /// A scrape reply without `files`.
    #[error("the tracker's scrape reply has no `files`")]
    NoFiles,
}

/// Bencodes a reply: keys in order, peers compact, `peers` always there since some clients fail without it. `peers6` is there
/// if there are any.
pub fn encode_reply(reply: &AnnounceReply) -> Vec<u8> {
    let (mut peers, mut peers6) = (Vec::with_capacity(reply.peers.len() * COMPACT_V4), Vec::new());
    for &peer in &reply.peers {
        match canonical(peer) {
            SocketAddr::V4(peer) => peers.extend_from_slice(&compact_v4(peer)),
            SocketAddr::V6(peer) => peers6.extend_from_slice(&compact_v6(peer)),
        }
    }
    encode_compact(&CompactReply {
        interval: reply.interval.as_secs(),
        min_interval: reply.min_interval.map(|min_interval| min_interval.as_secs()),
        complete: reply.complete,
        incomplete: reply.incomplete,
        downloaded: reply.downloaded,
        peers: &peers,
        peers6: &peers6,
        tracker_id: reply.tracker_id.as_deref(),
        warning: reply.warning.as_deref(),
        external_ip: reply.external_ip,
    })
}

/// What a tracker answers, with the peers as they are sent; see [`AnnounceReply`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompactReply<'a> {
    /// When to come back, in seconds.
    pub interval: u64,
    /// Not before, in seconds.
    pub min_interval: Option<u64>,
    /// Seeds in the swarm.
    pub complete: Option<u32>,
    /// Leechers in the swarm.
    pub incomplete: Option<u32>,
    /// How often the torrent was completed.
    pub downloaded: Option<u32>,
    /// IPv4 peers, 6 bytes each.
    pub peers: &'a [u8],
    /// IPv6 peers, 18 bytes each.
    pub peers6: &'a [u8],
    /// To be sent back with the next announce.
    pub tracker_id: Option<&'a [u8]>,
    /// For the user.
    pub warning: Option<&'a str>,
    /// The address that the tracker saw the client at (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// As [`encode_reply`], for a server that has the peers in compact form already.
pub fn encode_compact(reply: &CompactReply<'_>) -> Vec<u8> {
    let mut out = Writer::with_capacity(192 + reply.peers.len() + reply.peers6.len());
    out.open();
    out.optional_int("complete", reply.complete);
    out.optional_int("downloaded", reply.downloaded);
    match reply.external_ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => out.pair("external ip", &ip.octets()),
        Some(IpAddr::V6(ip)) => out.pair("external ip", &ip.octets()),
        None => {}
    }
    out.optional_int("incomplete", reply.incomplete);
    out.int_pair("interval", reply.interval);
    if let Some(min_interval) = reply.min_interval {
        out.int_pair("min interval", min_interval);
    }
    out.pair("peers", reply.peers);
    if !reply.peers6.is_empty() {
        out.pair("peers6", reply.peers6);
    }
    if let Some(id) = reply.tracker_id {
        out.pair("tracker id", id);
    }
    if let Some(warning) = reply.warning {
        out.pair("warning message", warning.as_bytes());
    }
    out.close();
    out.0
}

/// Bencodes a refusal; when to try again in whole minutes, rounded up (BEP 31).
pub fn encode_failure(reason: &str, retry_in: Option<RetryIn>) -> Vec<u8> {
    let mut out = Writer::with_capacity(64 + reason.len());
    out.open();
    out.pair("failure reason", reason.as_bytes());
    match retry_in {
        Some(RetryIn::After(time)) => out.int_pair("retry in", time.as_secs().div_ceil(60).max(1)),
        Some(RetryIn::Never) => out.pair("retry in", b"never"),
        None => {}
    }
    out.close();
    out.0
}

/// Bencodes a scrape reply: in the order of the hashes, each once (of one given twice the last counts).
pub fn encode_scrape(files: impl IntoIterator<Item = (InfoHash, ScrapeEntry)>) -> Vec<u8> {
    let files: BTreeMap<_, _> = files.into_iter().collect();
    let mut out = Writer::with_capacity(16 + files.len() * 100);
    out.open();
    out.bytes(b"files");
    out.open();
    for (info_hash, entry) in files {
        out.bytes(info_hash.as_bytes());
        out.open();
        out.int_pair("complete", entry.complete);
        out.int_pair("downloaded", entry.downloaded);
        out.optional_int("downloaders", entry.downloaders);
        out.int_pair("incomplete", entry.incomplete);
        out.close();
    }
    out.close();
    out.close();
    out.0
}

/// Reads the body of a reply to an announce.
///
/// An interval that is absent, not positive or no number is [`DEFAULT_INTERVAL`]; a longer one than [`MAX_INTERVAL`] is that.
/// What is sensible is for the caller to decide (sprat's core keeps to 1 minute to 2 hours). Peers may come compact or as
/// dictionaries; those with port 0 or a host name are left out, and after [`MAX_PEERS`] the rest. Counts that make no sense
/// are taken as absent.
///
/// # Errors
/// If the tracker refused, or answered something that is no reply.
pub fn decode_reply(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let reply = decode_dictionary(body)?;
    let mut peers = Vec::new();
    decode_peers(&mut peers, "peers", reply.get("peers"), COMPACT_V4)?;
    decode_peers(&mut peers, "peers6", reply.get("peers6"), COMPACT_V6)?;
    let bytes = |key| reply.get(key).and_then(Raw::as_bytes);
    Ok(AnnounceReply {
        interval: seconds(reply, "interval").unwrap_or(DEFAULT_INTERVAL),
        min_interval: seconds(reply, "min interval"),
        complete: count(reply, "complete"),
        incomplete: count(reply, "incomplete"),
        downloaded: count(reply, "downloaded"),
        peers,
        tracker_id: bytes("tracker id").filter(|id| id.len() <= MAX_TRACKER_ID).map(<[u8]>::to_vec),
        warning: reply.get("warning message").map(text),
        external_ip: bytes("external ip").and_then(ip_address),
    })
}

/// Reads the body of a reply to a scrape: the torrents that the tracker knows something about.
///
/// # Errors
/// If the tracker refused, or answered something that is no reply.
pub fn decode_scrape(body: &[u8]) -> Result<Vec<(InfoHash, ScrapeEntry)>, ReplyError> {
    let reply = decode_dictionary(body)?;
    let files = reply.get("files").and_then(Raw::as_dict).ok_or(ReplyError::NoFiles)?;
    let mut entries: Vec<_> = files
        .iter()
        .filter_map(|(key, entry)| {
            let (info_hash, entry) = (InfoHash(key.try_into().ok()?), entry.as_dict()?);
            let entry = ScrapeEntry {
                complete: count(entry, "complete").unwrap_or(0),
                downloaded: count(entry, "downloaded").unwrap_or(0),
                downloaders: count(entry, "downloaders"),
                incomplete: count(entry, "incomplete").unwrap_or(0),
            };
            Some((info_hash, entry))
        })
        .take(MAX_SCRAPE_ENTRIES)
        .collect();
    entries.sort_unstable_by_key(|&(info_hash, _)| info_hash);
    Ok(entries)
}

/// Text from outside made fit for a terminal: nothing that it would obey, at most [`MAX_TEXT`] characters.
fn terminal_text(bytes: &[u8]) -> String {
    // Bytes are cut before they are decoded: a megabyte of them is not decoded for 256 characters.
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_TEXT + 4)]);
    let shown = printable(start.trim());
    let mut characters = shown.chars();
    let mut text: String = characters.by_ref().take(MAX_TEXT).collect();
    if characters.next().is_some() {
        text.pop();
        text.push('…');
    }
    text
}

/// The dictionary that every reply is, if it is not a refusal.
fn decode_dictionary(body: &[u8]) -> Result<Dict<'_>, ReplyError> {
    match body.trim_ascii_start() {
        [] => return Err(ReplyError::Empty),
        [b'<', ..] | [0xef, 0xbb, 0xbf, b'<', ..] => return Err(ReplyError::WebPage),
        _ => {}
    }
    if body.len() > MAX_REPLY as usize {
        return Err(ReplyError::TooLong);
    }
    // What follows the value, a line break mostly, is let pass.
    let scan = bencode::scan_first(body, &Limits::message(MAX_REPLY)).map_err(|error| match error.kind {
        BencodeErrorKind::Truncated => ReplyError::Truncated,
        _ => ReplyError::Malformed(error),
    })?;
    let dictionary = scan.root().as_dict().ok_or(ReplyError::NotADictionary)?;
    let Some(reason) = dictionary.get("failure reason") else {
        return Ok(dictionary);
    };
    let retry_in = dictionary.get("retry in").and_then(|retry_in| match retry_in.as_int() {
        Some(minutes) => {
            let minutes = u64::try_from(minutes).ok().filter(|&minutes| minutes > 0)?;
            Some(RetryIn::After(Duration::from_secs(minutes.saturating_mul(60)).min(MAX_INTERVAL)))
        }
        None => (retry_in.as_bytes() == Some(b"never")).then_some(RetryIn::Never),
    });
    Err(ReplyError::Failure { reason: text(reason), retry_in })
}

/// A `failure reason` or `warning message`, which is a string, or should be.
fn text(value: Raw<'_>) -> String {
    match (value.as_bytes(), value.as_int()) {
        (Some(bytes), _) => terminal_text(bytes),
        (None, Some(number)) => number.to_string(),
        (None, None) => "(no text)".to_owned(),
    }
}

fn count(dictionary: Dict<'_>, key: &str) -> Option<u32> {
    let number = u64::try_from(dictionary.get(key)?.as_int()?).ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

fn seconds(dictionary: Dict<'_>, key: &str) -> Option<Duration> {
    let seconds = u64::try_from(dictionary.get(key)?.as_int()?).ok().filter(|&seconds| seconds > 0)?;
    Some(Duration::from_secs(seconds).min(MAX_INTERVAL))
}

/// Adds the peers of one list, compact or not, as long as there is room.
fn decode_peers(
    peers: &mut Vec<SocketAddr>,
    key: &'static str,
    list: Option<Raw<'_>>,
    entry: usize,
) -> Result<(), ReplyError> {
    let room = MAX_PEERS.saturating_sub(peers.len());
    let usable = |peer: &SocketAddr| peer.port() != 0;
    let Some(list) = list else {
        return Ok(());
    };
    if let Some(bytes) = list.as_bytes() {
        let odd = || ReplyError::Peers { key, length: bytes.len(), entry };
        if entry == COMPACT_V4 {
            peers.extend(parse_compact_v4(bytes).ok_or_else(odd)?.filter(usable).take(room));
        } else {
            peers.extend(parse_compact_v6(bytes).ok_or_else(odd)?.filter(usable).take(room));
        }
    } else if let Some(list) = list.as_list() {
        peers.extend(list.iter().filter_map(peer_of_dictionary).filter(usable).take(room));
    }
    Ok(())
}

/// A peer in the form of BEP 3. One that is named by a host name is left out: no name from a stranger is looked up.
fn peer_of_dictionary(value: Raw<'_>) -> Option<SocketAddr> {
    let peer = value.as_dict()?;
    let ip: IpAddr = std::str::from_utf8(peer.get("ip")?.as_bytes()?).ok()?.parse().ok()?;
    let port = u16::try_from(peer.get("port")?.as_int()?).ok()?;
    Some(canonical(SocketAddr::new(ip, port)))
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
}

/// Writes bencode straight into a buffer. The caller keeps the keys in order.
struct Writer(Vec<u8>);

impl Writer {
    fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    fn open(&mut self) {
        self.0.push(b'd');
    }

    fn close(&mut self) {
        self.0.push(b'e');
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.digits(bytes.len() as u64);
        self.0.push(b':');
        self.0.extend_from_slice(bytes);
    }

    fn pair(&mut self, key: &str, value: &[u8]) {
        self.bytes(key.as_bytes());
        self.bytes(value);
    }

    fn int_pair(&mut self, key: &str, value: impl Into<u64>) {
        self.bytes(key.as_bytes());
        self.0.push(b'i');
        self.digits(value.into());
        self.0.push(b'e');
    }

    /// A number, without the detour over a string: an announce has a dozen.
    fn digits(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
    }

    fn optional_int(&mut self, key: &str, value: Option<u32>) {
        if let Some(value) = value {
            self.int_pair(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What the client makes of `d<body>e`.
    fn decode(body: &str) -> Result<AnnounceReply, ReplyError> {
        decode_reply(format!("d{body}e").as_bytes())
    }

    #[test]
    fn trap_28_keys_are_sorted_and_peers_is_always_there() {
        let mut reply = AnnounceReply { interval: Duration::from_secs(1800), ..AnnounceReply::default() };
        assert_eq!(encode_reply(&reply), b"d8:intervali1800e5:peers0:e");
        reply = AnnounceReply {
            min_interval: Some(Duration::from_secs(60)),
            complete: Some(1),
            incomplete: Some(2),
            downloaded: Some(3),
            peers: vec![
                addr("[6161::6161]:24930"),
                addr("97.98.99.100:25958"),
                addr("[::ffff:97.97.97.97]:25186"),
            ],
            tracker_id: Some(b"id".to_vec()),
            warning: Some("hm".to_owned()),
            external_ip: Some("122.122.122.122".parse().unwrap()),
            ..reply
        };
        assert_eq!(
            String::from_utf8_lossy(&encode_reply(&reply)),
            "d8:completei1e10:downloadedi3e11:external ip4:zzzz10:incompletei2e8:intervali1800e12:min intervali60e\
             5:peers12:abcdefaaaabb6:peers618:aa\0\0\0\0\0\0\0\0\0\0\0\0aaab10:tracker id2:id15:warning message2:hme"
        );
    }

    #[test]
    fn a_reply_comes_back_as_it_went() {
        let reply = AnnounceReply {
            interval: Duration::from_secs(900),
            min_interval: Some(Duration::from_secs(60)),
            complete: Some(1),
            incomplete: Some(2),
            downloaded: Some(3),
            peers: vec![addr("192.0.2.1:6881"), addr("[2001:db8::1]:6882")],
            tracker_id: Some(b"\0\xff".to_vec()),
            warning: Some("hm".to_owned()),
            external_ip: Some("2001:db8::2".parse().unwrap()),
        };
        assert_eq!(decode_reply(&encode_reply(&reply)), Ok(reply));
    }

    #[test]
    fn failures_say_when_to_come_back() {
        for (retry_in, bencoded) in [
            (None, "d14:failure reason2:noe"),
            (Some(RetryIn::After(Duration::from_secs(300))), "d14:failure reason2:no8:retry ini5ee"),
            (Some(RetryIn::Never), "d14:failure reason2:no8:retry in5:nevere"),
        ] {
            assert_eq!(String::from_utf8(encode_failure("no", retry_in)).unwrap(), bencoded);
            let failure = ReplyError::Failure { reason: "no".to_owned(), retry_in };
            assert_eq!(decode_reply(bencoded.as_bytes()), Err(failure.clone()));
            assert_eq!(decode_scrape(bencoded.as_bytes()), Err(failure));
        }
        let soon = RetryIn::After(Duration::from_secs(1));
        assert!(encode_failure("no", Some(soon)).ends_with(b"8:retry ini1ee"), "never 0 minutes");
    }

    #[test]
    fn r32_a_negative_retry_in_is_none() {
        for retry in ["i-5e", "i0e", "4:soon", "le"] {
            let failure = ReplyError::Failure { reason: "no".to_owned(), retry_in: None };
            assert_eq!(decode(&format!("14:failure reason2:no8:retry in{retry}")), Err(failure), "{retry}");
        }
        let far = decode(&format!("14:failure reason2:no8:retry ini{}e", i64::MAX));
        let retry_in = Some(RetryIn::After(MAX_INTERVAL));
        assert_eq!(far, Err(ReplyError::Failure { reason: "no".to_owned(), retry_in }));
    }

    #[test]
    fn r02_r03_r05_r33_what_is_no_reply_is_told_apart() {
        assert_eq!(decode_reply(b""), Err(ReplyError::Empty));
        assert_eq!(decode_reply(b"\r\n"), Err(ReplyError::Empty));
        for page in ["<!DOCTYPE html><html>", "\n <html>", "\u{feff}<html>"] {
            assert_eq!(decode_reply(page.as_bytes()), Err(ReplyError::WebPage));
        }
        assert_eq!(decode_reply(b"i1e"), Err(ReplyError::NotADictionary));
        assert!(matches!(decode_reply(b"Service unavailable"), Err(ReplyError::Malformed(_))));
        let whole =
            encode_reply(&AnnounceReply { peers: vec![addr("192.0.2.1:1")], ..AnnounceReply::default() });
        for end in 1..whole.len() {
            assert_eq!(decode_reply(&whole[..end]), Err(ReplyError::Truncated), "{end}");
        }
    }

    #[test]
    fn r04_reasons_and_warnings_are_short_and_obeyed_by_no_terminal() {
        let failure = |reason: &str| Err(ReplyError::Failure { reason: reason.to_owned(), retry_in: None });
        assert_eq!(decode("14:failure reasoni7e"), failure("7"));
        assert_eq!(decode("14:failure reasonle"), failure("(no text)"));
        assert_eq!(
            decode("14:failure reason12:\x1b[31mx\u{202e}\ny "),
            failure("\u{fffd}[31mx\u{fffd}\u{fffd}y")
        );
        let long = "ä".repeat(500_000);
        let body = format!("14:failure reason{}:{long}", long.len());
        assert_eq!(decode(&body), failure(&format!("{}…", "ä".repeat(MAX_TEXT - 1))));
        let exact = "a".repeat(MAX_TEXT);
        let warned = decode(&format!("15:warning message{}:{exact}", exact.len()));
        assert_eq!(warned.map(|reply| reply.warning), Ok(Some(exact)));
    }

    #[test]
    fn r11_intervals_make_sense_or_are_the_default() {
        for (interval, expected) in [
            ("", DEFAULT_INTERVAL),
            ("8:intervali0e", DEFAULT_INTERVAL),
            ("8:intervali-1e", DEFAULT_INTERVAL),
            ("8:interval4:soon", DEFAULT_INTERVAL),
            ("8:intervali5e", Duration::from_secs(5)),
            ("8:intervali9223372036854775807e", MAX_INTERVAL),
        ] {
            assert_eq!(decode(interval).map(|reply| reply.interval), Ok(expected), "{interval}");
        }
        let error = decode("8:intervali9223372036854775808e").unwrap_err();
        assert!(matches!(error, ReplyError::Malformed(error) if error.kind == BencodeErrorKind::Overflow));
        for (min, expected) in
            [("i0e", None), ("i-1e", None), ("i9e", Some(Duration::from_secs(9))), ("1:x", None)]
        {
            assert_eq!(
                decode(&format!("12:min interval{min}")).map(|reply| reply.min_interval),
                Ok(expected),
                "{min}"
            );
        }
    }

    #[test]
    fn r13_compact_lists_of_odd_length_fail_the_reply() {
        assert_eq!(decode("5:peers7:1234567"), Err(ReplyError::Peers { key: "peers", length: 7, entry: 6 }));
        assert_eq!(
            decode("6:peers66:123456"),
            Err(ReplyError::Peers { key: "peers6", length: 6, entry: 18 })
        );
    }

    #[test]
    fn r14_peers_may_be_dictionaries_with_nonsense_in_them() {
        let peers = "5:peersl\
            d2:ip9:192.0.2.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881ee\
            d2:ip11:2001:db8::14:porti6882ee\
            d2:ip16:::ffff:192.0.2.24:porti1ee\
            d2:ip9:192.0.2.34:porti0ee\
            d2:ip9:192.0.2.34:porti-1ee\
            d2:ip9:192.0.2.34:porti65536ee\
            d2:ip9:192.0.2.34:port4:6881e\
            d2:ip9:192.0.2.3e\
            d4:porti1ee\
            d2:ip9:localhost4:porti1ee\
            d2:ipi1e4:porti1ee\
            i5e1:x\
            e";
        let expected = vec![addr("192.0.2.1:6881"), addr("[2001:db8::1]:6882"), addr("192.0.2.2:1")];
        assert_eq!(decode(peers).map(|reply| reply.peers), Ok(expected));
    }

    #[test]
    fn r15_a_thousand_peers_are_kept() {
        let mut body = b"d5:peers900000:".to_vec();
        body.extend((0..150_000_u32).flat_map(|n| [10, (n >> 16) as u8, (n >> 8) as u8, n as u8, 1, 1]));
        body.extend_from_slice(b"6:peers618:0123456789abcdefghe");
        let peers = decode_reply(&body).unwrap().peers;
        assert_eq!(peers.len(), MAX_PEERS);
        assert_eq!(peers[999], addr("10.0.3.231:257"));
    }

    #[test]
    fn peers_with_port_zero_are_dropped() {
        assert_eq!(
            decode("5:peers12:\x01\x01\x01\x01\0\0\x02\x02\x02\x02\0\x01").unwrap().peers,
            [addr("2.2.2.2:1")]
        );
    }

    #[test]
    fn r19_r31_ids_and_addresses_that_make_no_sense_are_dropped() {
        let long = format!("10:tracker id1000000:{}", "a".repeat(1_000_000));
        assert_eq!(decode(&long).map(|reply| reply.tracker_id), Ok(None));
        for (ip, expected) in [
            ("4:\x7f\0\0\x01", Some("127.0.0.1".parse().unwrap())),
            ("16:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", Some("::1".parse().unwrap())),
            ("5:abcde", None),
            ("0:", None),
            ("i4e", None),
        ] {
            assert_eq!(
                decode(&format!("11:external ip{ip}")).map(|reply| reply.external_ip),
                Ok(expected),
                "{ip}"
            );
        }
    }

    #[test]
    fn counts_that_make_no_sense_are_absent() {
        let reply = decode("8:completei-1e10:downloadedi99999999999e10:incomplete1:x").unwrap();
        assert_eq!((reply.complete, reply.downloaded, reply.incomplete), (None, Some(u32::MAX), None));
    }

    #[test]
    fn trap_10_scrape_replies_are_sorted_and_each_torrent_is_there_once() {
        let [a, b] = [InfoHash([b'a'; 20]), InfoHash([b'b'; 20])];
        let entry =
            |complete, downloaders| ScrapeEntry { complete, downloaded: 2, downloaders, incomplete: 3 };
        let encoded = encode_scrape([(b, entry(1, None)), (a, entry(9, None)), (a, entry(4, Some(2)))]);
        assert_eq!(
            String::from_utf8(encoded.clone()).unwrap(),
            "d5:filesd\
             20:aaaaaaaaaaaaaaaaaaaad8:completei4e10:downloadedi2e11:downloadersi2e10:incompletei3ee\
             20:bbbbbbbbbbbbbbbbbbbbd8:completei1e10:downloadedi2e10:incompletei3ee\
             ee"
        );
        assert_eq!(decode_scrape(&encoded), Ok(vec![(a, entry(4, Some(2))), (b, entry(1, None))]));
    }

    #[test]
    fn scrape_replies_with_nonsense_in_them_give_what_they_can() {
        let a = InfoHash([b'a'; 20]);
        let body = "d5:filesd1:xd8:completei1ee20:aaaaaaaaaaaaaaaaaaaade20:bbbbbbbbbbbbbbbbbbbbi1eee";
        assert_eq!(decode_scrape(body.as_bytes()), Ok(vec![(a, ScrapeEntry::default())]));
        assert_eq!(decode_scrape(b"d5:filesi1ee"), Err(ReplyError::NoFiles));
        assert_eq!(decode_scrape(b"de"), Err(ReplyError::NoFiles));
    }

    #[test]
    fn r10_a_reply_of_more_than_a_mebibyte_is_refused() {
        let body = |length: usize| format!("d1:x{length}:{}e", "a".repeat(length));
        assert!(decode_reply(body(MAX_REPLY as usize - 13).as_bytes()).is_ok());
        assert_eq!(decode_reply(body(MAX_REPLY as usize).as_bytes()), Err(ReplyError::TooLong));
    }

    #[test]
    fn deep_nesting_is_refused_and_what_follows_the_reply_is_let_pass() {
        for bomb in
            ["l".repeat(1_000_000), format!("d5:peers{}", "l".repeat(1_000_000)), "d0:".repeat(300_000)]
        {
            let error = decode_reply(bomb.as_bytes()).unwrap_err();
            assert!(
                matches!(error, ReplyError::Malformed(error) if error.kind == BencodeErrorKind::Depth),
                "{error}"
            );
        }
        assert_eq!(decode_reply(b"de\r\n").map(|reply| reply.peers), Ok(vec![]));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = fastrand::Rng::with_seed(1);
        let alphabet = b"dlei0123456789:peers6files\x00\xff-";
        for _ in 0..20_000 {
            let mut body = b"d5:peers".to_vec();
            body.extend((0..rng.usize(..40)).map(|_| alphabet[rng.usize(..alphabet.len())]));
            // Either answer is fine; that there is one is what counts.
            let _ = decode_reply(&body);
            let _ = decode_scrape(&body);
        }
    }
}
