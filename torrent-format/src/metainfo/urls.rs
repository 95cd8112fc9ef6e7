//! URLs of trackers and web seeds, from a .torrent or a magnet: kept as they were written, if they can be used at all.

use url::Url;

/// The longest URL that is kept, in bytes. Trackers with passkeys need 200.
pub(crate) const MAX_URL_LENGTH: usize = 2048;

/// What a tracker may be spoken to by. Not all of it is spoken here, but others read what is passed on.
pub(crate) const TRACKER_SCHEMES: &[&str] = &["http", "https", "udp", "ws", "wss"];

/// What a web seed may be read by (BEP 19).
pub(crate) const WEB_SEED_SCHEMES: &[&str] = &["http", "https"];

/// The URL without spaces around it, or why it can't be used.
pub(crate) fn check_url<'a>(text: &'a [u8], schemes: &[&str]) -> Result<&'a str, &'static str> {
    if text.len() > MAX_URL_LENGTH {
        return Err("is too long");
    }
    let text = str::from_utf8(text).map_err(|_| "is not UTF-8")?.trim_matches(' ');
    // The parser would drop line breaks silently; what others make of them is header injection.
    if text.contains(|c: char| c.is_control() || c == ' ') {
        return Err("contains white space or control characters");
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !schemes.contains(&url.scheme()) {
        return Err("is of a kind that is not supported");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_kept_as_written_or_refused() {
        for (url, expected) in [
            ("http://t.example/announce?passkey=A%2fb", Ok("http://t.example/announce?passkey=A%2fb")),
            (" udp://t.example:80 ", Ok("udp://t.example:80")),
            ("HTTPS://T.Example/", Ok("HTTPS://T.Example/")),
            ("http://user:pass@t.example/a", Ok("http://user:pass@t.example/a")), // M96
            ("http://xn--bcher-kva.example/", Ok("http://xn--bcher-kva.example/")), // M97
            ("wss://[2001:db8::1]/", Ok("wss://[2001:db8::1]/")),
            ("file:///etc/passwd", Err("is of a kind that is not supported")), // M95
            ("ftp://t.example/", Err("is of a kind that is not supported")),
            ("gopher://t.example/", Err("is of a kind that is not supported")),
            ("javascript:alert(1)", Err("is of a kind that is not supported")),
            ("http://t.example/\r\nX: y", Err("contains white space or control characters")), // M98
            ("http://t.exa\tmple/", Err("contains white space or control characters")),
            ("http://", Err("is not a URL")),
            ("udp:///announce", Err("names no host")),
            ("announce", Err("is not a URL")),
            ("", Err("is not a URL")),
        ] {
            assert_eq!(check_url(url.as_bytes(), TRACKER_SCHEMES), expected, "{url:?}");
        }
        let long = format!("http://t.example/{}", "x".repeat(1_000_000));
        assert_eq!(check_url(long.as_bytes(), TRACKER_SCHEMES), Err("is too long"), "M94");
        assert_eq!(check_url(b"http://\xff/", TRACKER_SCHEMES), Err("is not UTF-8"));
    }
}
