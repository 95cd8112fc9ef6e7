//! What may be asked: [`Query`]. Pure.
//!
//! Words in any order, `"a phrase"`, `-not`, `this|that`; the last word may be unfinished. Any text is a query: what a query
//! language would call an error (a quote that does not close, an operator without operands) means what little is left of it. From
//! the text come words of letters and digits only, so nothing of what was typed reaches the languages of the stores.

use std::fmt::Write as _;

use torrent_format::InfoHashes;

use super::fold::words;
use super::record::Tag;

/// Longest query in bytes.
pub const MAX_QUERY: usize = 512;

/// Most words of a query, phrases' words included: each is a list to be walked.
pub const MAX_WORDS: usize = 24;

/// Most tags to filter by.
pub const MAX_TAG_FILTERS: usize = 8;

/// Fewest characters of an unfinished word: one letter would be a good part of all words.
const MIN_PREFIX: usize = 2;

/// Most results on a page.
pub const MAX_LIMIT: usize = 100;

/// Results on a page if nothing is said.
pub const DEFAULT_LIMIT: usize = 50;

/// What is searched for, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// All of these.
    all: Vec<AnyOf>,
    /// None of these.
    none: Vec<AnyOf>,
    /// Something was typed, and nothing of it is a word: nothing is like it.
    pub is_senseless: bool,
    /// It names a torrent.
    pub hash: Option<InfoHashes>,
}

/// Alternatives.
type AnyOf = Vec<Phrase>;

/// Words that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phrase {
    words: Vec<String>,
    /// The last word may go on.
    is_prefix: bool,
}

/// Why a query is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`MAX_QUERY`].
    #[error("a query has at most {MAX_QUERY} bytes")]
    TooLong,
    /// More words than [`MAX_WORDS`].
    #[error("a query has at most {MAX_WORDS} words")]
    TooManyWords,
}

/// Which words are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Title, torrent name and tags.
    Title,
    /// File names too.
    All,
}

impl Text {
    /// Reads what was typed.
    ///
    /// # Errors
    /// If there is too much of it.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let text = text.trim();
        if text.len() > MAX_QUERY {
            return Err(QueryError::TooLong);
        }
        let mut parsed = Self { hash: hash(text), ..Self::default() };
        if parsed.hash.is_some() {
            return Ok(parsed);
        }
        let mut ends_in_word = false;
        for (is_negated, atoms) in clauses(text) {
            ends_in_word = !is_negated && matches!(atoms.last(), Some(Atom::Word(_)));
            parsed.add(is_negated, &atoms);
        }
        if ends_in_word && let Some(last) = parsed.all.last_mut().and_then(|any| any.last_mut()) {
            last.is_prefix = last.words.last().is_some_and(|word| word.chars().count() >= MIN_PREFIX);
        }
        let count =
            |clauses: &[AnyOf]| clauses.iter().flatten().map(|phrase| phrase.words.len()).sum::<usize>();
        if count(&parsed.all) + count(&parsed.none) > MAX_WORDS {
            return Err(QueryError::TooManyWords);
        }
        parsed.is_senseless = !text.is_empty() && parsed.all.is_empty() && parsed.none.is_empty();
        Ok(parsed)
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.none.is_empty() && !self.is_senseless && self.hash.is_none()
    }

    /// As well as all that it asks for, one of these tags.
    pub fn with_any_tag(mut self, tags: &[Tag]) -> Self {
        let one = |tag: &Tag| Phrase { words: vec![tag.token()], is_prefix: false };
        self.all.push(tags.iter().map(one).collect());
        self
    }

    fn add(&mut self, is_negated: bool, atoms: &[Atom<'_>]) {
        if let (false, [Atom::Word(word)]) = (is_negated, atoms) {
            // `ubuntu.24.04` is three words in any order; characters that are words alone stay together.
            self.all.extend(runs(word).into_iter().map(|words| vec![Phrase { words, is_prefix: false }]));
            return;
        }
        let phrases =
            atoms.iter().map(|atom| Phrase { words: words(atom.text()).collect(), is_prefix: false });
        let any: AnyOf = phrases.filter(|phrase| !phrase.words.is_empty()).collect();
        if !any.is_empty() {
            if is_negated { self.none.push(any) } else { self.all.push(any) }
        }
    }

    /// As SQLite's FTS5 takes it; [`None`]: everything matches that has none of [`negative_fts5`](Self::negative_fts5).
    pub fn fts5(&self, scope: Scope, tags: &[Tag]) -> Option<String> {
        let mut clauses: Vec<String> = self.all.iter().map(|any| any_of(any, " OR ", fts5)).collect();
        if let Scope::Title = scope
            && !clauses.is_empty()
        {
            clauses = vec![format!("{{title tags}} : ({})", clauses.join(" AND "))];
        }
        clauses.extend(tags.iter().map(|tag| format!("tags : \"{}\"", tag.token())));
        if clauses.is_empty() {
            return None;
        }
        let positive = clauses.join(" AND ");
        Some(match self.negative_fts5() {
            Some(negative) => format!("({positive}) NOT ({negative})"),
            None => positive,
        })
    }

    /// What must not match, as FTS5 takes it.
    pub fn negative_fts5(&self) -> Option<String> {
        let clauses: Vec<String> = self.none.iter().map(|any| any_of(any, " OR ", fts5)).collect();
        (!clauses.is_empty()).then(|| clauses.join(" OR "))
    }

    /// As PostgreSQL's `tsquery` takes it; [`None`]: everything matches.
    pub fn tsquery(&self, scope: Scope, tags: &[Tag]) -> Option<String> {
        let weights = if scope == Scope::Title { "AB" } else { "" };
        let positive = self.all.iter().map(|any| any_of(any, " | ", |phrase| tsquery(phrase, weights)));
        let negative =
            self.none.iter().map(|any| format!("!{}", any_of(any, " | ", |phrase| tsquery(phrase, ""))));
        let tags = tags.iter().map(|tag| format!("'{}':B", tag.token()));
        let clauses: Vec<String> = positive.chain(tags).chain(negative).collect();
        (!clauses.is_empty()).then(|| clauses.join(" & "))
    }
}

fn any_of(any: &AnyOf, or: &str, one: impl Fn(&Phrase) -> String) -> String {
    format!("({})", any.iter().map(one).collect::<Vec<_>>().join(or))
}

fn fts5(phrase: &Phrase) -> String {
    format!("\"{}\"{}", phrase.words.join(" "), if phrase.is_prefix { " *" } else { "" })
}

fn tsquery(phrase: &Phrase, weights: &str) -> String {
    let mut query = String::new();
    for (number, word) in phrase.words.iter().enumerate() {
        let follows = if number == 0 { "" } else { " <-> " };
        let star = if phrase.is_prefix && number + 1 == phrase.words.len() { "*" } else { "" };
        let mark = if weights.is_empty() && star.is_empty() { "" } else { ":" };
        // A string takes everything.
        let _ = write!(query, "{follows}'{word}'{mark}{star}{weights}");
    }
    format!("({query})")
}

/// A word as it was typed, or a phrase.
#[derive(Clone, Copy, Debug)]
enum Atom<'a> {
    Word(&'a str),
    Phrase(&'a str),
}

impl<'a> Atom<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Phrase(text) => text,
        }
    }
}

/// What blanks divide: whether it is excluded, and its alternatives. A `|` holds together what is beside it, blanks or not.
fn clauses(text: &str) -> Vec<(bool, Vec<Atom<'_>>)> {
    let mut clauses: Vec<(bool, Vec<Atom<'_>>)> = Vec::new();
    let (mut rest, mut joins) = (text, false);
    loop {
        let trimmed = rest.trim_start();
        if let Some(after) = trimmed.strip_prefix('|') {
            (rest, joins) = (after, !clauses.is_empty());
            continue;
        }
        rest = trimmed;
        let is_negated = rest.starts_with('-') && !joins;
        if is_negated {
            rest = rest.trim_start_matches('-');
        }
        if rest.is_empty() {
            return clauses;
        }
        let atom;
        (atom, rest) = first_atom(rest);
        match clauses.last_mut() {
            Some((_, atoms)) if joins => atoms.push(atom),
            _ => clauses.push((is_negated, vec![atom])),
        }
        joins = false;
    }
}

fn first_atom(text: &str) -> (Atom<'_>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let (phrase, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
        return (Atom::Phrase(phrase), rest);
    }
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '|' | '"')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (Atom::Word(word), rest)
}

/// The words of one that was typed; single characters of a script without spaces in one run.
fn runs(word: &str) -> Vec<Vec<String>> {
    let is_single = |word: &str| word.chars().count() == 1 && !word.is_ascii();
    let mut runs: Vec<Vec<String>> = Vec::new();
    for word in words(word) {
        match runs.last_mut() {
            Some(run) if is_single(&word) && run.last().is_some_and(|last| is_single(last)) => run.push(word),
            _ => runs.push(vec![word]),
        }
    }
    runs
}

/// An info hash in hexadecimal: base32 could be a word.
fn hash(text: &str) -> Option<InfoHashes> {
    let is_hex = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.parse().ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> String {
        let text = Text::parse(text).unwrap();
        match (text.fts5(Scope::All, &[]), text.negative_fts5()) {
            (Some(query), _) => query,
            (None, Some(negative)) => format!("all NOT ({negative})"),
            (None, None) => if text.is_senseless { "nothing" } else { "all" }.to_owned(),
        }
    }

    #[test]
    fn the_syntax() {
        for (text, expected) in [
            ("", "all"),
            ("debian netinst", r#"("debian") AND ("netinst" *)"#),
            ("Ubuntu.24.04", r#"("ubuntu") AND ("24") AND ("04" *)"#),
            ("\"exact Phrase\"", r#"("exact phrase")"#),
            ("linux -beta", r#"(("linux")) NOT (("beta"))"#),
            ("-beta", r#"all NOT (("beta"))"#),
            ("iso|img", r#"("iso" OR "img" *)"#),
            ("iso | \"disk image\" x86", r#"("iso" OR "disk image") AND ("x86" *)"#),
            ("-cam|ts film", r#"(("film" *)) NOT (("cam" OR "ts"))"#),
            ("a", r#"("a")"#),
            ("web-dl", r#"("web") AND ("dl" *)"#),
            ("-web-dl", r#"all NOT (("web dl"))"#),
            ("東京", r#"("東 京")"#),
            ("東京 ta", r#"("東 京") AND ("ta" *)"#),
        ] {
            assert_eq!(compiled(text), expected, "{text}");
        }
    }

    #[test]
    fn h45_nothing_that_is_typed_is_an_operator_of_a_store() {
        for (text, expected) in [
            ("%' OR 1=1 --", r#"("or") AND ("1") AND ("1")"#),
            ("title:secret", r#"("title") AND ("secret" *)"#),
            ("NEAR(a b) AND NOT", r#"("near") AND ("a") AND ("b") AND ("and") AND ("not" *)"#),
            ("\"open", r#"("open")"#),
            ("\"\" | | \"", "nothing"),
            ("||a||", r#"("a")"#),
            ("- -- | -", "nothing"),
            ("(((((", "nothing"),
            ("a*", r#"("a")"#),
            ("^x {y}", r#"("x") AND ("y")"#),
            ("\u{0}\u{1b}[2J", r#"("2j" *)"#),
        ] {
            assert_eq!(compiled(text), expected, "{text}");
        }
        assert_eq!(Text::parse(&"(a+)+".repeat(200)), Err(QueryError::TooLong));
        assert_eq!(Text::parse(&"a ".repeat(MAX_WORDS + 1)), Err(QueryError::TooManyWords));
        assert!(Text::parse(&"a ".repeat(MAX_WORDS)).is_ok());
    }

    #[test]
    fn postgresql_is_told_the_same() {
        let tags = ["video-hd".parse().unwrap()];
        let text = Text::parse("\"a b\" iso|img -beta deb").unwrap();
        assert_eq!(
            text.tsquery(Scope::Title, &tags).unwrap(),
            "(('a':AB <-> 'b':AB)) & (('iso':AB) | ('img':AB)) & (('deb':*AB)) & '_video_hd':B & !(('beta'))"
        );
        assert_eq!(Text::parse("x y").unwrap().tsquery(Scope::All, &[]).unwrap(), "(('x')) & (('y'))");
        assert_eq!(Text::parse("").unwrap().tsquery(Scope::All, &[]), None);
        assert_eq!(
            text.fts5(Scope::Title, &tags).unwrap(),
            r#"({title tags} : (("a b") AND ("iso" OR "img") AND ("deb" *)) AND tags : "_video_hd") NOT (("beta"))"#
        );
    }

    #[test]
    fn an_info_hash_names_a_torrent() {
        let hash = "AAAAAAAAAAAAAAAAAAAAaaaaaaaaaaaaaaaaaaaa";
        assert_eq!(Text::parse(hash).unwrap().hash.unwrap().to_string(), hash.to_lowercase());
        assert!(Text::parse(&"b".repeat(64)).unwrap().hash.unwrap().v2().is_some());
        assert_eq!(Text::parse(&"b".repeat(32)).unwrap().hash, None);
        assert_eq!(Text::parse(&"g".repeat(40)).unwrap().hash, None);
    }
}
