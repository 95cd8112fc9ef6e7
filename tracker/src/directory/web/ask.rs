//! What the query of a URL asks for: [`Wanted`], the same for pages, API and feeds.

use serde::Deserialize;

use super::Problem;
use super::date;
use super::size;
use crate::directory::catalogue::Search;
use crate::directory::facts::{Cursor, Filter, Sort, Window};
use crate::directory::query::{DEFAULT_LIMIT, MAX_LIMIT, MAX_TAG_FILTERS, Text};
use crate::directory::record::parse_tags;

/// As it was typed: a form sends a field that was left empty as an empty one, which says nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    pub(super) q: String,
    pub(super) sort: String,
    pub(super) limit: String,
    pub(super) cursor: String,
    pub(super) min_seeders: String,
    pub(super) min_size: String,
    pub(super) max_size: String,
    pub(super) since: String,
    pub(super) until: String,
    pub(super) tags: String,
    pub(super) alive: String,
}

impl Wanted {
    /// What it means.
    pub(super) fn search(&self) -> Result<Search, Problem> {
        let tags = parse_tags(&self.tags).map_err(|error| Problem::BadRequest(error.to_string()))?;
        if tags.len() > MAX_TAG_FILTERS {
            return Err(Problem::BadRequest(format!("at most {MAX_TAG_FILTERS} tags are filtered by")));
        }
        Ok(Search {
            text: Text::parse(&self.q).map_err(|error| Problem::BadRequest(error.to_string()))?,
            tags,
            sort: match self.sort.as_str() {
                "" | "relevance" => Sort::Relevance,
                "seeders" => Sort::Seeders,
                "size" => Sort::Size,
                "date" => Sort::Date,
                _ => return Err(bad("sort", "relevance, seeders, size or date")),
            },
            filter: Filter {
                min_seeders: read(&self.min_seeders, |text| text.parse().ok())
                    .ok_or_else(|| bad("min_seeders", "a number"))?
                    .unwrap_or(0),
                is_alive: match self.alive.as_str() {
                    "" | "0" | "false" => false,
                    "1" | "true" | "on" => true,
                    _ => return Err(bad("alive", "1 or 0")),
                },
                min_size: read(&self.min_size, size::parse).ok_or_else(|| bad("min_size", A_SIZE))?,
                max_size: read(&self.max_size, size::parse).ok_or_else(|| bad("max_size", A_SIZE))?,
                since: read(&self.since, date::parse).ok_or_else(|| bad("since", A_DAY))?,
                until: read(&self.until, date::parse).ok_or_else(|| bad("until", A_DAY))?,
            },
            window: Window {
                after: read(&self.cursor, parse_cursor)
                    .ok_or_else(|| bad("cursor", "what a page before it named"))?,
                offset: 0,
                limit: read(&self.limit, limit)
                    .ok_or_else(|| bad("limit", "between 1 and 100"))?
                    .unwrap_or(DEFAULT_LIMIT),
            },
        })
    }

    /// The query of a URL that asks for this, with something else for one field.
    pub(super) fn with(&self, field: &str, value: &str) -> String {
        let fields = [
            ("q", &self.q),
            ("sort", &self.sort),
            ("limit", &self.limit),
            ("min_seeders", &self.min_seeders),
            ("min_size", &self.min_size),
            ("max_size", &self.max_size),
            ("since", &self.since),
            ("until", &self.until),
            ("tags", &self.tags),
            ("alive", &self.alive),
        ];
        let fields =
            fields.iter().map(|&(name, said)| (name, if name == field { value } else { said.as_str() }));
        // Of what is not among them, a URL need say nothing unless it is said now.
        let more = (field == "cursor").then_some(("cursor", value));
        let all = fields.chain(more).filter(|(_, value)| !value.is_empty());
        all.map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
    }
}

const A_SIZE: &str = "a number of bytes, or 700M, or 1.5G";
const A_DAY: &str = "2026-11-29, or seconds since 1970";

/// Nothing, or what it means; [`None`]: it means nothing.
fn read<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text.trim() {
        "" => Some(None),
        text => parse(text).map(Some),
    }
}

fn limit(text: &str) -> Option<usize> {
    text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
}

fn bad(field: &str, expected: &str) -> Problem {
    Problem::BadRequest(format!("{field} is {expected}"))
}

/// As a URL carries it.
pub(super) fn show_cursor(cursor: Cursor) -> String {
    format!("{:x}-{:x}", cursor.key, cursor.id)
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (key, id) = text.split_once('-')?;
    Some(Cursor { key: u64::from_str_radix(key, 16).ok()?, id: u32::from_str_radix(id, 16).ok()? })
}

/// A value in the query of a URL.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h46_nonsense_is_refused_by_name() {
        let said = |change: fn(&mut Wanted)| {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            wanted.search().map(drop).map_err(|problem| problem.to_string())
        };
        assert_eq!(said(|_| ()), Ok(()));
        for (change, field) in [
            ((|it| it.limit = "-1".into()) as fn(&mut Wanted), "limit"),
            (|it| it.limit = "1000000000000000000".into(), "limit"),
            (|it| it.limit = "0".into(), "limit"),
            (|it| it.cursor = "-1".into(), "cursor"),
            (|it| it.cursor = "zz-1".into(), "cursor"),
            (|it| it.sort = "id; DROP TABLE".into(), "sort"),
            (|it| it.min_seeders = "1e9".into(), "min_seeders"),
            (|it| it.min_size = "big".into(), "min_size"),
            (|it| it.since = "soon".into(), "since"),
            (|it| it.alive = "maybe".into(), "alive"),
            (|it| it.tags = "!".into(), "a tag"),
        ] {
            let problem = said(change).unwrap_err();
            assert!(problem.starts_with(field), "{problem}");
        }
    }

    #[test]
    fn a_url_says_again_what_was_asked() {
        let wanted =
            Wanted { q: "a&b é".into(), sort: "size".into(), alive: "1".into(), ..Wanted::default() };
        assert_eq!(wanted.with("sort", "date"), "q=a%26b%20%C3%A9&sort=date&alive=1");
        let cursor = Cursor { key: u64::MAX, id: 7 };
        assert_eq!(
            wanted.with("cursor", &show_cursor(cursor)),
            "q=a%26b%20%C3%A9&sort=size&alive=1&cursor=ffffffffffffffff-7"
        );
        assert_eq!(parse_cursor(&show_cursor(cursor)), Some(cursor));
    }
}
