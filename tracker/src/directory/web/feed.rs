//! Feeds: RSS of any search, and Torznab, by which Prowlarr, Sonarr and their kind search indexers
//! (Torznab specification 1.3; Newznab API).

use std::time::{Duration, SystemTime};

use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::ask::Wanted;
use super::guard::Links;
use super::{Problem, Shared, api, present};
use crate::directory::catalogue::{Listing, Results};
use crate::directory::facts::Sort;
use crate::directory::query::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::directory::record::Tag;

/// How far in an indexer's client may leaf by number: what lies deeper it finds with another query.
const MAX_OFFSET: usize = 10_000;

/// Categories of Newznab, and the tags that file a torrent under them. What has none of them is of the last one.
const CATEGORIES: [(u32, &str, &[&str]); 6] = [
    (2000, "Movies", &["movie", "movies", "film", "video"]),
    (3000, "Audio", &["audio", "music", "podcast", "audiobook"]),
    (4000, "PC", &["software", "linux", "iso", "pc", "game", "games"]),
    (5000, "TV", &["tv", "series", "show", "anime"]),
    (7000, "Books", &["book", "books", "ebook", "comic", "paper"]),
    (8000, "Other", &[]),
];

const XML: PreEscaped<&str> = PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");

pub(super) async fn rss(
    State(web): Shared,
    links: Links,
    Query(mut wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    if wanted.sort.is_empty() {
        // A reader looks for what is new.
        wanted.sort = "date".into();
    }
    let results = api::find(&web, &wanted).await?;
    let this = format!("{}/rss?{}", links.base, wanted.with("", ""));
    let page = format!("{}/?{}", links.base, wanted.with("", ""));
    Ok(xml("application/rss+xml; charset=utf-8", &channel(&links, &this, &page, &wanted.q, &results, None)))
}

/// As Torznab asks; what it asks beside this has no meaning here, or is answered as if it were not asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Torznab {
    t: String,
    q: String,
    cat: String,
    season: String,
    ep: String,
    limit: String,
    offset: String,
}

pub(super) async fn torznab(
    State(web): Shared,
    links: Links,
    Query(asked): Query<Torznab>,
) -> Result<Response, Problem> {
    let kind = "application/xml; charset=utf-8";
    match asked.t.as_str() {
        "caps" => return Ok(xml(kind, &capabilities())),
        "search" | "tvsearch" | "movie" | "music" | "book" => {}
        "" => return Ok(xml(kind, &error(200, "Missing parameter (t)"))),
        _ => return Ok(xml(kind, &error(202, "No such function"))),
    }
    let wanted = Wanted { q: asked.words(), ..Wanted::default() };
    let Ok(mut search) = wanted.search() else {
        return Ok(xml(kind, &error(201, "Incorrect parameter (q)")));
    };
    let number =
        |text: &str, default| if text.is_empty() { Some(default) } else { text.parse::<usize>().ok() };
    let (Some(limit), Some(offset)) = (number(&asked.limit, DEFAULT_LIMIT), number(&asked.offset, 0)) else {
        return Ok(xml(kind, &error(201, "Incorrect parameter (limit, offset)")));
    };
    if offset > MAX_OFFSET {
        return Ok(xml(kind, &error(201, "Incorrect parameter (offset)")));
    }
    search.window.limit = limit.clamp(1, MAX_LIMIT);
    search.window.offset = offset;
    if search.text.is_empty() {
        search.sort = Sort::Date;
    }
    // A category is what tags say.
    let tags = asked.tags();
    if !(tags.is_empty() || search.text.is_senseless) {
        search.text = search.text.with_any_tag(&tags);
    }
    let results = web.directory.read(move |directory, store| directory.search(store, &search)).await?;
    let this = format!("{}/torznab/api", links.base);
    Ok(xml(
        "application/rss+xml; charset=utf-8",
        &channel(&links, &this, &links.base, &asked.q, &results, Some(offset)),
    ))
}

impl Torznab {
    /// What is searched for: an episode is named in the title, as S01E02.
    fn words(&self) -> String {
        let number = |text: &str| text.parse::<u32>().ok();
        match (number(&self.season), number(&self.ep)) {
            (Some(season), Some(episode)) => format!("{} S{season:02}E{episode:02}", self.q),
            (Some(season), None) => format!("{} S{season:02}", self.q),
            _ => self.q.clone(),
        }
    }

    /// The tags of the categories that are asked for; none if everything is, or what no tag says.
    fn tags(&self) -> Vec<Tag> {
        let asked: Vec<u32> = self.cat.split(',').filter_map(|id| id.trim().parse().ok()).collect();
        let is_asked = |id: u32| asked.iter().any(|asked| asked / 1000 == id / 1000);
        if is_asked(8000) {
            return Vec::new();
        }
        let tags = CATEGORIES.iter().filter(|(id, ..)| is_asked(*id)).flat_map(|(_, _, tags)| *tags);
        tags.filter_map(|tag| tag.parse().ok()).collect()
    }
}

fn category(tags: &[Tag]) -> (u32, &'static str) {
    let of = |names: &[&str]| tags.iter().any(|tag| names.contains(&tag.as_str()));
    let (id, name, _) = CATEGORIES.iter().find(|(_, _, names)| of(names)).unwrap_or(&CATEGORIES[5]);
    (*id, name)
}

fn capabilities() -> Markup {
    html! {
        (XML)
        caps {
            server version="1.3" title="sprat" {}
            limits max=(MAX_LIMIT) default=(DEFAULT_LIMIT) {}
            registration available="no" open="no" {}
            searching {
                search available="yes" supportedParams="q" {}
                tv-search available="yes" supportedParams="q,season,ep" {}
                movie-search available="yes" supportedParams="q" {}
                music-search available="yes" supportedParams="q" {}
                book-search available="yes" supportedParams="q" {}
            }
            categories {
                @for (id, name, _) in CATEGORIES {
                    category id=(id) name=(name) {}
                }
            }
        }
    }
}

fn error(code: u32, description: &str) -> Markup {
    html! { (XML) error code=(code) description=(description) {} }
}

/// `offset`: as Torznab wants it said.
fn channel(
    links: &Links,
    this: &str,
    page: &str,
    words: &str,
    results: &Results,
    offset: Option<usize>,
) -> Markup {
    let title =
        if words.trim().is_empty() { "Torrents".to_owned() } else { format!("Torrents: {}", clean(words)) };
    html! {
        (XML)
        rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom" xmlns:torznab="http://torznab.com/schemas/2015/feed"
            xmlns:newznab="http://www.newznab.com/DTD/2010/feeds/attributes/" {
            channel {
                atom:link href=(this) rel="self" type="application/rss+xml" {}
                title { (title) }
                link { (page) }
                description { "What was found in the directory at " (links.base) }
                @if let Some(offset) = offset {
                    newznab:response offset=(offset) total=(results.total) {}
                }
                @for listing in &results.listings {
                    (item(links, listing))
                }
            }
        }
    }
}

fn item(links: &Links, listing: &Listing) -> Markup {
    let Listing { record, live, completed, .. } = listing;
    let name = present::path_name(record.hashes);
    let (page, torrent) =
        (format!("{}/torrent/{name}", links.base), format!("{}/torrent/{name}.torrent", links.base));
    let (category_id, category_name) = category(&record.tags);
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(record.published));
    let attributes = [
        ("category", category_id.to_string()),
        ("infohash", record.hashes.primary().to_string()),
        ("magneturl", present::magnet_of(links, listing).to_string()),
        ("seeders", live.seeders.to_string()),
        ("peers", (u64::from(live.seeders) + u64::from(live.leechers)).to_string()),
        ("grabs", completed.to_string()),
        ("size", record.size.to_string()),
        ("files", record.files.to_string()),
        ("downloadvolumefactor", "1".to_owned()),
        ("uploadvolumefactor", "1".to_owned()),
    ];
    html! {
        item {
            title { (clean(&record.title)) }
            guid isPermaLink="true" { (page) }
            link { (torrent) }
            comments { (page) }
            pubDate { (date) }
            category { (category_name) }
            description {
                (super::size::show(record.size)) ", " (live.seeders) " seeders, " (live.leechers) " leechers"
            }
            // The length is that of the payload: it is what clients show.
            enclosure url=(torrent) length=(record.size) type="application/x-bittorrent" {}
            @for (name, value) in attributes {
                torznab:attr name=(name) value=(value) {}
            }
        }
    }
}

/// Without what XML may not even escape.
fn clean(text: &str) -> String {
    let is_allowed = |c: char| !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars().map(|c| if is_allowed(c) { c } else { '\u{fffd}' }).collect()
}

fn xml(kind: &'static str, body: &Markup) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.0.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torznab_asks_for_episodes_and_categories() {
        let asked = |season: &str, ep: &str, cat: &str| Torznab {
            q: "Show".into(),
            season: season.into(),
            ep: ep.into(),
            cat: cat.into(),
            ..Torznab::default()
        };
        assert_eq!(asked("1", "2", "").words(), "Show S01E02");
        assert_eq!(asked("11", "", "").words(), "Show S11");
        assert_eq!(asked("", "2", "").words(), "Show");
        let tags = |cat: &str| asked("", "", cat).tags().iter().map(Tag::to_string).collect::<Vec<_>>();
        assert_eq!(tags("5030,5040"), ["tv", "series", "show", "anime"]);
        assert_eq!(tags("5030,8000"), [""; 0]);
        assert_eq!(tags(""), [""; 0]);
        assert_eq!(category(&["music".parse().unwrap()]), (3000, "Audio"));
        assert_eq!(category(&[]), (8000, "Other"));
    }

    #[test]
    fn h44_xml_has_no_character_that_it_may_not_have() {
        assert_eq!(clean("a\u{0}\u{1b}\u{ffff}é\n"), "a\u{fffd}\u{fffd}\u{fffd}é\u{fffd}");
        let markup = error(1, "<script>&\"").0;
        assert!(markup.contains("&lt;script&gt;&amp;&quot;"), "{markup}");
    }
}
