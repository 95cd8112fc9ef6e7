//! What stands behind the `?`: written by a client, read by a tracker.
//!
//! An info hash is 20 arbitrary bytes, so a query is no UTF-8 and no form: it is read from its raw bytes, and `+` is a plus.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::announce::{AnnounceEvent, AnnounceRequest};
use crate::{InfoHash, PeerId};

/// Longest value of a parameter that means something to us, in raw bytes: a `trackerid` is the longest honest one, and no
/// tracker gives out more than a few dozen bytes.
pub const MAX_VALUE: usize = 1024;

/// Most torrents in one scrape; a request line for so many just fits into 8 KiB.
pub const MAX_SCRAPE: usize = 100;

/// What is sent as `left` while the size is not known (a magnet before its metadata). Not 0, which would make us a seed, and
/// no huge number, which trackers with 32-bit or signed arithmetic take for 0. libtorrent sends the same: one block.
pub const UNKNOWN_LEFT: u64 = 16 * 1024;

/// The characters that stand for themselves in a URL (RFC 3986, 2.3); all other bytes go as `%XX`.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a query is refused. The text goes to the client as `failure reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A parameter that can't be done without is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// More than one `info_hash` in an announce: whatever is meant, it is not this.
    #[error("an announce has one info_hash")]
    SeveralInfoHashes,
    /// `info_hash` or `peer_id` is not 20 bytes.
    #[error("{name} is {length} bytes, not 20")]
    Length {
        /// Which.
        name: &'static str,
        /// How long it is, decoded.
        length: usize,
    },
    /// A `%` without two hexadecimal digits behind it.
    #[error("{0} has a % that is no %XX")]
    Escape(&'static str),
    /// Longer than [`MAX_VALUE`].
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// Not 1 to 65535; 0 passes with `stopped` only.
    #[error("port is not a number from 1 to 65535")]
    Port,
}

/// The URL that announces `request` to the tracker at `base`, which may have a query of its own (`?passkey=…`).
pub fn announce_url(base: &str, request: &AnnounceRequest) -> String {
    let mut url = with_separator(base);
    let left = if request.left == u64::MAX { UNKNOWN_LEFT } else { request.left };
    let info_hash = percent_encode(request.info_hash.as_bytes(), NOT_UNRESERVED);
    let peer_id = percent_encode(&request.peer_id.0, NOT_UNRESERVED);
    let AnnounceRequest { port, uploaded, downloaded, .. } = request;
    let result = write!(
        url,
        "info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}&compact=1"
    );
    debug_assert!(result.is_ok(), "a string takes everything");
    if let Some(event) = event_name(request.event) {
        url.push_str("&event=");
        url.push_str(event);
    }
    if let Some(numwant) = request.numwant {
        url.push_str(&format!("&numwant={numwant}"));
    }
    if let Some(key) = request.key {
        url.push_str(&format!("&key={key:08x}"));
    }
    if let Some(id) = &request.tracker_id {
        url.push_str("&trackerid=");
        url.extend(percent_encode(id, NOT_UNRESERVED));
    }
    url
}

/// The URL that asks the tracker at `base` about these torrents. `None` if the tracker has no scrape: by convention (BEP 48)
/// only one whose last path component begins with `announce` has.
pub fn scrape_url(base: &str, info_hashes: &[InfoHash]) -> Option<String> {
    let path_end = base.find(['?', '#']).unwrap_or(base.len());
    let name = base[..path_end].rfind('/')? + 1;
    let rest = base[name..].strip_prefix("announce")?;
    let mut url = with_separator(&format!("{}scrape{rest}", &base[..name]));
    for (i, info_hash) in info_hashes.iter().enumerate() {
        url.push_str(if i == 0 { "info_hash=" } else { "&info_hash=" });
        url.extend(percent_encode(info_hash.as_bytes(), NOT_UNRESERVED));
    }
    Some(url)
}

/// Reads an announce from the raw bytes of a query, without the `?`.
///
/// What can be forgiven is: unknown parameters, an unknown `event` (a regular announce), `numwant`, `uploaded` or `downloaded`
/// that are no numbers, `compact=0`. Numbers too large are taken as the largest. A `left` that is
/// missing or no number is that of a leecher: some clients count in 32 bits, and beyond 2 GiB below zero. Of a
/// parameter given twice the first counts. Addresses in the query (`ip`, `ipv4`, `ipv6`) are ignored: anyone could be named.
///
/// # Errors
/// If it does not name exactly one torrent, one peer and one port.
pub fn parse_announce(query: &[u8]) -> Result<AnnounceRequest, QueryError> {
    let mut info_hash = None;
    let [mut peer_id, mut port, mut uploaded, mut downloaded, mut left] = [None; 5];
    let [mut event, mut numwant, mut key, mut tracker_id] = [None; 4];
    for (name, value) in parameters(query) {
        let (name, slot) = match name {
            b"info_hash" if info_hash.is_some() => return Err(QueryError::SeveralInfoHashes),
            b"info_hash" => ("info_hash", &mut info_hash),
            b"peer_id" => ("peer_id", &mut peer_id),
            b"port" => ("port", &mut port),
            b"uploaded" => ("uploaded", &mut uploaded),
            b"downloaded" => ("downloaded", &mut downloaded),
            b"left" => ("left", &mut left),
            b"event" => ("event", &mut event),
            b"numwant" => ("numwant", &mut numwant),
            b"key" => ("key", &mut key),
            b"trackerid" => ("trackerid", &mut tracker_id),
            _ => continue,
        };
        if value.len() > MAX_VALUE {
            return Err(QueryError::TooLong(name));
        }
        slot.get_or_insert(value);
    }

    let info_hash = InfoHash(twenty_bytes("info_hash", info_hash)?);
    let peer_id = PeerId(twenty_bytes("peer_id", peer_id)?);
    let event = parse_event(event.unwrap_or_default());
    let port = parse_number(port.ok_or(QueryError::Missing("port"))?)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port != 0 || event == AnnounceEvent::Stopped)
        .ok_or(QueryError::Port)?;
    let left = left.and_then(parse_number).unwrap_or(u64::MAX);
    let tracker_id = tracker_id.map(|id| unescape(id).ok_or(QueryError::Escape("trackerid"))).transpose()?;
    Ok(AnnounceRequest {
        info_hash,
        peer_id,
        port,
        uploaded: uploaded.and_then(parse_number).unwrap_or(0),
        downloaded: downloaded.and_then(parse_number).unwrap_or(0),
        left,
        event,
        numwant: numwant.and_then(parse_number).map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        key: key.and_then(parse_key),
        tracker_id,
    })
}

/// Reads a scrape from the raw bytes of a query: the torrents asked for, each once, in the order asked, the first
/// [`MAX_SCRAPE`] of them.
///
/// # Errors
/// If no torrent is named (a scrape of everything is not for anyone to ask), or one of them by something else than 20 bytes.
pub fn parse_scrape(query: &[u8]) -> Result<Vec<InfoHash>, QueryError> {
    let mut info_hashes = Vec::new();
    for (name, value) in parameters(query) {
        if name != b"info_hash" {
            continue;
        }
        if info_hashes.len() == MAX_SCRAPE {
            break;
        }
        let info_hash = InfoHash(twenty_bytes("info_hash", Some(value))?);
        if !info_hashes.contains(&info_hash) {
            info_hashes.push(info_hash);
        }
    }
    if info_hashes.is_empty() {
        return Err(QueryError::Missing("info_hash"));
    }
    Ok(info_hashes)
}

/// `base` without its fragment, ready to be continued with a parameter.
fn with_separator(base: &str) -> String {
    let base = base.split_once('#').map_or(base, |(base, _)| base);
    let separator = match base.as_bytes().last() {
        _ if !base.contains('?') => "?",
        Some(b'?' | b'&') => "",
        _ => "&",
    };
    format!("{base}{separator}")
}

fn event_name(event: AnnounceEvent) -> Option<&'static str> {
    match event {
        AnnounceEvent::Regular => None,
        AnnounceEvent::Started => Some("started"),
        AnnounceEvent::Completed => Some("completed"),
        AnnounceEvent::Stopped => Some("stopped"),
        AnnounceEvent::Paused => Some("paused"),
    }
}

/// Names and raw values. Split at `&` first and then at the first `=`: a value may hold a `=` (a key in base64), and a
/// parameter may have no value at all.
fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&byte| byte == b'&').map(|parameter| {
        let equals = parameter.iter().position(|&byte| byte == b'=');
        equals.map_or((parameter, &[][..]), |equals| (&parameter[..equals], &parameter[equals + 1..]))
    })
}

fn twenty_bytes(name: &'static str, value: Option<&[u8]>) -> Result<[u8; 20], QueryError> {
    let value = value.ok_or(QueryError::Missing(name))?;
    if value.len() > MAX_VALUE {
        return Err(QueryError::TooLong(name));
    }
    let mut bytes = [0; 20];
    let mut length = 0;
    unescape_each(value, |byte| {
        if let Some(place) = bytes.get_mut(length) {
            *place = byte;
        }
        length += 1;
    })
    .ok_or(QueryError::Escape(name))?;
    if length == bytes.len() { Ok(bytes) } else { Err(QueryError::Length { name, length }) }
}

/// The bytes that `%XX` stand for, all others as they are. `None` at a `%` without two digits.
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    unescape_each(value, |byte| bytes.push(byte))?;
    Some(bytes)
}

fn unescape_each(value: &[u8], mut each: impl FnMut(u8)) -> Option<()> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        each(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            _ => byte,
        });
    }
    Some(())
}

/// A number of decimal digits; one too large is the largest.
fn parse_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))),
    )
}

/// Unknown events are regular announces: `paused` was unknown once, and the peers that sent it were shut out.
fn parse_event(value: &[u8]) -> AnnounceEvent {
    match value {
        b"started" => AnnounceEvent::Started,
        b"completed" => AnnounceEvent::Completed,
        b"stopped" => AnnounceEvent::Stopped,
        b"paused" => AnnounceEvent::Paused,
        _ => AnnounceEvent::Regular,
    }
}

/// A key in the usual form, up to eight hexadecimal digits. Others may use any bytes; those tell us nothing.
fn parse_key(value: &[u8]) -> Option<u32> {
    let digits =
        std::str::from_utf8(value).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%0E%0F%10%11%12%13";
    const HASH_BYTES: [u8; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    const ID: &str = "-SR0100-abcdefghijkl";

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            info_hash: InfoHash(HASH_BYTES),
            peer_id: PeerId(*b"-SR0100-abcdefghijkl"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: AnnounceEvent::Regular,
            numwant: None,
            key: None,
            tracker_id: None,
        }
    }

    /// An announce that is fine but for what `more` says.
    fn parse(more: &str) -> Result<AnnounceRequest, QueryError> {
        let hash = if more.contains("info_hash=") { String::new() } else { format!("info_hash={HASH}&") };
        let id = if more.contains("peer_id=") { String::new() } else { format!("peer_id={ID}&") };
        let port = if more.contains("port=") { "" } else { "port=6881&" };
        parse_announce(format!("{hash}{id}{port}{more}").as_bytes())
    }

    #[test]
    fn the_url_of_a_whole_announce() {
        let request = AnnounceRequest {
            info_hash: InfoHash(*b"\x00 %&=+\xffAZaz09-._~/?#"),
            event: AnnounceEvent::Started,
            numwant: Some(50),
            key: Some(0xbeef),
            tracker_id: Some(b"a b".to_vec()),
            ..request()
        };
        assert_eq!(
            announce_url("http://tracker.example/announce", &request),
            "http://tracker.example/announce?info_hash=%00%20%25%26%3D%2B%FFAZaz09-._~%2F%3F%23\
             &peer_id=-SR0100-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3&compact=1\
             &event=started&numwant=50&key=0000beef&trackerid=a%20b"
        );
        let (_, query) = announce_url("http://tracker.example/", &request).split_once('?').map(own).unwrap();
        assert_eq!(parse_announce(query.as_bytes()), Ok(request));
    }

    fn own((a, b): (&str, &str)) -> (String, String) {
        (a.to_owned(), b.to_owned())
    }

    #[test]
    fn a_tracker_s_own_query_is_continued() {
        for (base, start) in [
            ("http://t.example/a", "http://t.example/a?info_hash="),
            ("http://t.example/a?passkey=1", "http://t.example/a?passkey=1&info_hash="),
            ("http://t.example/a?", "http://t.example/a?info_hash="),
            ("http://t.example/a?b&", "http://t.example/a?b&info_hash="),
            ("http://t.example/a?b#c", "http://t.example/a?b&info_hash="),
            ("http://t.example", "http://t.example?info_hash="),
        ] {
            let url = announce_url(base, &request());
            assert!(url.starts_with(start), "{url}");
        }
    }

    #[test]
    fn an_unknown_size_is_one_that_every_tracker_takes_for_a_leecher_s() {
        let url = announce_url("http://t.example/a", &AnnounceRequest { left: u64::MAX, ..request() });
        assert!(url.contains("&left=16384&"), "{url}");
        let url = announce_url("http://t.example/a", &AnnounceRequest { left: 0, ..request() });
        assert!(url.contains("&left=0&"), "{url}");
    }

    #[test]
    fn scrape_stands_where_announce_stood() {
        let hash = [InfoHash([b'a'; 20])];
        let a = "a".repeat(20);
        for (base, expected) in [
            ("http://t.example/announce", Some(format!("http://t.example/scrape?info_hash={a}"))),
            (
                "http://t.example/x/announce.php?k=1",
                Some(format!("http://t.example/x/scrape.php?k=1&info_hash={a}")),
            ),
            ("http://t.example/announce?x=/y", Some(format!("http://t.example/scrape?x=/y&info_hash={a}"))),
            ("http://t.example/a", None),
            ("http://t.example/announce/key", None),
            ("announce", None),
        ] {
            assert_eq!(scrape_url(base, &hash), expected, "{base}");
        }
        let two = scrape_url("http://t.example/announce", &[InfoHash([b'a'; 20]), InfoHash([b'b'; 20])]);
        assert_eq!(two, Some(format!("http://t.example/scrape?info_hash={a}&info_hash={}", "b".repeat(20))));
    }

    #[test]
    fn trap_01_the_raw_bytes_are_decoded_and_plus_is_a_plus() {
        let expected = InfoHash(*b"\x00\xab+\xcd Azz~~~~~~~~~~~\xff");
        let mut query = b"info_hash=%00%aB+%Cd%20%41zz~~~~~~~~~~~\xff&port=1&peer_id=".to_vec();
        query.extend_from_slice(ID.as_bytes());
        assert_eq!(parse_announce(&query).map(|request| request.info_hash), Ok(expected));
    }

    #[test]
    fn trap_01_exactly_twenty_bytes() {
        for (name, length) in
            [("info_hash", 0), ("info_hash", 19), ("info_hash", 21), ("info_hash", 40), ("peer_id", 19)]
        {
            let error = QueryError::Length { name, length };
            assert_eq!(parse(&format!("{name}={}", "a".repeat(length))), Err(error));
        }
        for (query, error) in [
            ("", QueryError::Missing("info_hash")),
            (&format!("info_hash={HASH}"), QueryError::Missing("peer_id")),
            (&format!("info_hash={HASH}&peer_id={ID}"), QueryError::Missing("port")),
        ] {
            assert_eq!(parse_announce(query.as_bytes()), Err(error), "{query}");
        }
    }

    #[test]
    fn a_percent_sign_without_two_digits_is_refused() {
        for bad in ["%", "%0", "%zz", "%0g", "%+1", "aaaaaaaaaaaaaaaaaaa%"] {
            assert_eq!(parse(&format!("info_hash={bad}")), Err(QueryError::Escape("info_hash")), "{bad}");
            assert_eq!(parse(&format!("peer_id={bad}")), Err(QueryError::Escape("peer_id")), "{bad}");
            assert_eq!(parse(&format!("trackerid={bad}")), Err(QueryError::Escape("trackerid")), "{bad}");
            assert!(parse(&format!("unknown={bad}")).is_ok(), "{bad}");
        }
    }

    #[test]
    fn trap_02_split_at_ampersands_then_at_the_first_equals_sign() {
        let request = parse("foo&&=&=x&key=YQ==&bar=a=b;left=0&left=5&").unwrap();
        assert_eq!((request.left, request.key), (5, None));
        assert_eq!(parse("numwant=3;left=0").map(|r| (r.numwant, r.left)), Ok((None, u64::MAX)));
    }

    #[test]
    fn trap_03_a_second_info_hash_is_refused_of_others_the_first_counts() {
        let twice = format!("info_hash={HASH}&info_hash={HASH}");
        assert_eq!(parse(&twice), Err(QueryError::SeveralInfoHashes));
        let request = parse("port=1&port=2&left=3&left=4&event=stopped&event=started").unwrap();
        assert_eq!((request.port, request.left, request.event), (1, 3, AnnounceEvent::Stopped));
    }

    #[test]
    fn trap_05_left_saturates_and_a_missing_one_is_a_leecher_s() {
        for (query, left) in [
            ("", u64::MAX),
            ("left=", u64::MAX),
            ("left", u64::MAX),
            ("left=0", 0),
            ("left=000", 0),
            ("left=4294967296", 1 << 32),
            ("left=18446744073709551615", u64::MAX),
            ("left=18446744073709551616", u64::MAX),
            ("left=99999999999999999999999999", u64::MAX),
        ] {
            assert_eq!(parse(query).map(|request| request.left), Ok(left), "{query}");
        }
        for query in ["left=-1", "left=x", "left=+1", "left=1.0"] {
            assert_eq!(parse(query).map(|request| request.left), Ok(u64::MAX), "{query}");
        }
    }

    #[test]
    fn trap_06_uploaded_and_downloaded_never_fail_and_never_wrap() {
        for (value, expected) in [("5", 5), ("", 0), ("-1", 0), ("x", 0), ("18446744073709551616", u64::MAX)]
        {
            let request = parse(&format!("uploaded={value}&downloaded={value}")).unwrap();
            assert_eq!((request.uploaded, request.downloaded), (expected, expected), "{value}");
        }
    }

    #[test]
    fn trap_07_event_empty_is_regular() {
        for (event, expected) in [
            ("started", AnnounceEvent::Started),
            ("completed", AnnounceEvent::Completed),
            ("stopped", AnnounceEvent::Stopped),
            ("paused", AnnounceEvent::Paused),
            ("", AnnounceEvent::Regular),
            ("empty", AnnounceEvent::Regular),
            ("none", AnnounceEvent::Regular),
            ("bogus", AnnounceEvent::Regular),
            ("%00", AnnounceEvent::Regular),
        ] {
            assert_eq!(parse(&format!("event={event}")).map(|r| r.event), Ok(expected), "{event}");
        }
        assert_eq!(parse("").map(|r| r.event), Ok(AnnounceEvent::Regular));
    }

    #[test]
    fn trap_08_port_zero_passes_with_stopped_only() {
        for port in ["0", "65536", "-1", "abc", "", "18446744073709551617"] {
            assert_eq!(parse(&format!("port={port}")), Err(QueryError::Port), "{port}");
        }
        assert_eq!(parse("port=0&event=stopped").map(|r| r.port), Ok(0));
        assert_eq!(parse("port=1").map(|r| r.port), Ok(1));
        assert_eq!(parse("port=65535").map(|r| r.port), Ok(65_535));
    }

    #[test]
    fn trap_09_numwant_never_fails_the_announce_nor_does_compact() {
        for (query, numwant) in [
            ("", None),
            ("numwant=0", Some(0)),
            ("numwant=-1", None),
            ("numwant=x", None),
            ("numwant=", None),
            ("numwant=7", Some(7)),
            ("numwant=1000000000", Some(1_000_000_000)),
            ("numwant=99999999999999999999999", Some(u32::MAX)),
            ("compact=0", None),
            ("compact=2", None),
        ] {
            assert_eq!(parse(query).map(|r| r.numwant), Ok(numwant), "{query}");
        }
    }

    #[test]
    fn trap_10_a_scrape_names_each_torrent_once_and_a_hundred_at_most() {
        let hash = |number: usize| format!("info_hash={number:020}");
        let of = |number: usize| InfoHash(format!("{number:020}").into_bytes().try_into().unwrap());
        let query = |numbers: &[usize]| numbers.iter().map(|&n| hash(n)).collect::<Vec<_>>().join("&");

        assert_eq!(parse_scrape(query(&[2, 1, 2]).as_bytes()), Ok(vec![of(2), of(1)]));
        let many: Vec<_> = (0..10_000).collect();
        let expected: Vec<_> = (0..MAX_SCRAPE).map(of).collect();
        assert_eq!(parse_scrape(query(&many).as_bytes()), Ok(expected));
        assert_eq!(parse_scrape(b""), Err(QueryError::Missing("info_hash")));
        assert_eq!(parse_scrape(b"foo=bar"), Err(QueryError::Missing("info_hash")));
        assert_eq!(parse_scrape(b"info_hash=x"), Err(QueryError::Length { name: "info_hash", length: 1 }));
    }

    #[test]
    fn a_value_of_more_than_a_kibibyte_is_refused() {
        let long = "a".repeat(MAX_VALUE + 1);
        for name in ["info_hash", "peer_id", "key", "trackerid"] {
            assert_eq!(parse(&format!("{name}={long}")), Err(QueryError::TooLong(name)));
        }
        assert!(parse(&format!("unknown={long}")).is_ok());
        assert_eq!(
            parse_scrape(format!("info_hash={long}").as_bytes()),
            Err(QueryError::TooLong("info_hash"))
        );
    }

    #[test]
    fn keys_are_hexadecimal_or_nothing() {
        for (key, expected) in
            [("0000beef", Some(0xbeef)), ("BEEF", Some(0xbeef)), ("123456789", None), ("+1", None)]
        {
            assert_eq!(parse(&format!("key={key}")).map(|r| r.key), Ok(expected), "{key}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = fastrand::Rng::with_seed(1);
        let alphabet = b"info_hash=peer_id&port%=&;+\x00\xff0123456789abcdef";
        for _ in 0..20_000 {
            let query: Vec<u8> =
                (0..rng.usize(..120)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
            // Either answer is fine; that there is one is what counts.
            let _ = parse_announce(&query);
            let _ = parse_scrape(&query);
        }
    }
}
