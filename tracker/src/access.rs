//! Which torrents and which clients are served: [`Lists`] and [`Clients`]. Pure.

use std::collections::{BTreeSet, HashSet};

use torrent_format::{InfoHash, InfoHashes, PeerId};

/// Torrents that are listed: those of a file, and those that were added while the tracker ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What the file says.
    pub file: HashSet<InfoHash>,
    /// What was added to it.
    pub added: BTreeSet<InfoHash>,
}

/// Which torrents are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Only these; [`None`]: all.
    pub allow: Option<List>,
    /// All but these, whatever else is said.
    pub deny: List,
}

/// A line of a list that names no torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no info hash: {text}")]
pub struct ListError {
    /// Counted from 1.
    pub line: usize,
    /// What it says, shortened.
    pub text: String,
}

impl List {
    /// Whether the torrent is listed.
    pub fn contains(&self, info_hash: &InfoHash) -> bool {
        self.file.contains(info_hash) || self.added.contains(info_hash)
    }

    /// All that are listed, in order.
    pub fn all(&self) -> BTreeSet<InfoHash> {
        self.file.iter().chain(&self.added).copied().collect()
    }
}

impl Lists {
    /// Whether this torrent is served.
    pub fn permit(&self, info_hash: &InfoHash) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(info_hash)) && !self.deny.contains(info_hash)
    }

    /// Nothing is listed, and nothing has to be.
    pub fn permit_all(&self) -> bool {
        self.allow.is_none() && self.deny.file.is_empty() && self.deny.added.is_empty()
    }
}

/// Reads a list: an info hash a line, 40 or 64 hexadecimal digits; of a v2 torrent's, the 20 bytes that trackers are told
/// (BEP 52). What follows a `#` says nothing, and neither does an empty line.
///
/// # Errors
/// If a line says something else.
pub fn parse_list(text: &str) -> Result<HashSet<InfoHash>, ListError> {
    let mut list = HashSet::new();
    for (number, line) in text.lines().enumerate() {
        let said = line.split('#').next().unwrap_or_default().trim();
        if said.is_empty() {
            continue;
        }
        let hashes: InfoHashes = said
            .parse()
            .map_err(|_| ListError { line: number + 1, text: said.escape_debug().take(80).collect() })?;
        list.extend(hashes.swarms());
    }
    Ok(list)
}

/// Clients that are refused, by how their peer ids begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    prefixes: Vec<String>,
}

impl Clients {
    /// Refuses the clients whose peer ids begin with one of these; empty ones say nothing.
    pub fn refusing(prefixes: impl IntoIterator<Item = String>) -> Self {
        Self { prefixes: prefixes.into_iter().filter(|prefix| !prefix.is_empty()).collect() }
    }

    /// Whether this client is served.
    pub fn permit(&self, peer_id: &PeerId) -> bool {
        !self.prefixes.iter().any(|prefix| peer_id.0.starts_with(prefix.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InfoHash = InfoHash([0xaa; 20]);
    const B: InfoHash = InfoHash([0xbb; 20]);

    fn list(file: &[InfoHash], added: &[InfoHash]) -> List {
        List { file: file.iter().copied().collect(), added: added.iter().copied().collect() }
    }

    #[test]
    fn both_lists_hold_at_the_same_time_and_deny_wins() {
        for (allow, deny, expected) in [
            (None, list(&[], &[]), (true, true)),
            (None, list(&[A], &[]), (false, true)),
            (None, list(&[], &[A]), (false, true)),
            (Some(list(&[], &[])), list(&[], &[]), (false, false)),
            (Some(list(&[A], &[])), list(&[], &[]), (true, false)),
            (Some(list(&[A], &[B])), list(&[A], &[]), (false, true)),
        ] {
            let lists = Lists { allow, deny };
            assert_eq!((lists.permit(&A), lists.permit(&B)), expected, "{lists:?}");
        }
        assert!(Lists::default().permit_all());
        assert!(!Lists { allow: Some(List::default()), ..Lists::default() }.permit_all());
    }

    #[test]
    fn a_list_has_hashes_of_both_versions_and_comments() {
        let v1 = "aa".repeat(20);
        let v2 = format!("{}{}", "bb".repeat(20), "cc".repeat(12));
        let text = format!("# mine\n\n  {v1} # a film\r\n{}\n{v2}\n", v1.to_uppercase());
        assert_eq!(parse_list(&text), Ok([A, B].into()));
        let error = parse_list(&format!("{v1}\nnonsense\x1b")).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is no info hash: nonsense\\u{1b}");
    }

    #[test]
    fn clients_are_told_by_how_their_ids_begin() {
        let clients = Clients::refusing(["-XL".to_owned(), "-BAD10-".to_owned(), String::new()]);
        for (id, expected) in [
            (b"-XL0012-aaaaaaaaaaaa", false),
            (b"-BAD10-aaaaaaaaaaaaa", false),
            (b"-SR0100-aaaaaaaaaaaa", true),
        ] {
            assert_eq!(clients.permit(&PeerId(*id)), expected);
        }
    }
}
