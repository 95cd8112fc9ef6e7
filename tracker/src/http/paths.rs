//! What a path asks for: [`Question`]. Paths are read by hand: what trackers have been called for twenty years takes more than
//! one route.

/// What a path asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question<'a> {
    /// With the key before it, if there is one.
    Announce(Option<&'a str>),
    /// With the key before it, if there is one.
    Scrape(Option<&'a str>),
    /// Meant for a tracker, but not as this one is called: a client gets a reason that it can show.
    Misspelt,
    /// Not meant for a tracker.
    Other,
}

impl<'a> Question<'a> {
    /// Slashes that are repeated count once: many clients join a base that ends in one with a path that begins with one.
    pub(super) fn of(path: &'a str) -> Self {
        match path {
            "/announce" => return Self::Announce(None),
            "/scrape" => return Self::Scrape(None),
            _ => {}
        }
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let (first, second, third) = (parts.next(), parts.next(), parts.next());
        let is_announce = |part: &str| matches!(part, "announce" | "announce.php");
        let is_scrape = |part: &str| matches!(part, "scrape" | "scrape.php");
        let is_key = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match (first, second, third) {
            (Some(last), None, _) if is_announce(last) && !path.ends_with('/') => Self::Announce(None),
            (Some(last), None, _) if is_scrape(last) && !path.ends_with('/') => Self::Scrape(None),
            (Some(first), ..) if first.starts_with("announce") || first.starts_with("scrape") => {
                Self::Misspelt
            }
            (Some(key), Some(last), None) if is_key(key) && !path.ends_with('/') => match last {
                _ if is_announce(last) => Self::Announce(Some(key)),
                _ if is_scrape(last) => Self::Scrape(Some(key)),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_03_paths_are_forgiven_what_clients_do_to_them() {
        for (path, expected) in [
            ("/announce", Question::Announce(None)),
            ("//announce", Question::Announce(None)),
            ("/announce.php", Question::Announce(None)),
            ("/scrape", Question::Scrape(None)),
            ("//scrape.php", Question::Scrape(None)),
            ("/key/announce", Question::Announce(Some("key"))),
            ("//key//scrape", Question::Scrape(Some("key"))),
            ("/announce/", Question::Misspelt),
            ("/announce/key", Question::Misspelt),
            ("/announce2", Question::Misspelt),
            ("/a/b/announce", Question::Other),
            ("/../announce", Question::Other),
            ("/%61/announce", Question::Other),
            ("/key/announce/", Question::Other),
            ("/health", Question::Other),
            ("/", Question::Other),
            ("", Question::Other),
        ] {
            assert_eq!(Question::of(path), expected, "{path}");
        }
    }
}
