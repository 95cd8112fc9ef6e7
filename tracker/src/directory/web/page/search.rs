//! The first page: what is searched for, and what was found.

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use torrent_format::safe_path::printable;

use super::{Frame, problem};
use crate::directory::catalogue::{Listing, Results};
use crate::directory::web::ask::{Wanted, show_cursor};
use crate::directory::web::guard::Links;
use crate::directory::web::{Problem, Shared, api, date, present, size};

const SORTS: [(&str, &str); 4] =
    [("relevance", "Best match"), ("seeders", "Seeders"), ("size", "Size"), ("date", "Newest")];

pub(in crate::directory::web) async fn search(
    State(web): Shared,
    links: Links,
    Query(mut wanted): Query<Wanted>,
) -> Response {
    // It is shown again.
    wanted.q = printable(&wanted.q).into_owned();
    let found = api::find(&web, &wanted).await;
    let now = web.directory.now();
    let (content, refused) = match &found {
        Ok(results) => (list(&links, &wanted, results, now), None),
        Err(Problem::BadRequest(text)) => (html! { p.card.bad role="alert" { (text) } }, Some(())),
        Err(error) => return problem(error),
    };
    let title = if wanted.q.trim().is_empty() { "Torrents" } else { wanted.q.trim() };
    let content = html! { (form(&wanted)) (content) };
    let frame = Frame { title, here: "/", feed: Some(wanted.with("", "")) };
    match refused {
        Some(()) => frame.respond(axum::http::StatusCode::BAD_REQUEST, &content),
        None => frame.page(&content),
    }
}

fn form(wanted: &Wanted) -> Markup {
    let has_filters = [
        &wanted.min_seeders,
        &wanted.min_size,
        &wanted.max_size,
        &wanted.since,
        &wanted.until,
        &wanted.tags,
        &wanted.alive,
    ];
    let has_filters = has_filters.iter().any(|field| !field.is_empty());
    let field = |name: &str, label: &str, value: &str, kind: &str, placeholder: &str| {
        html! { label { span { (label) } input name=(name) value=(value) type=(kind) placeholder=[(!placeholder.is_empty()).then_some(placeholder)]; } }
    };
    html! {
        form.search role="search" action="/" method="get" {
            div.line {
                label.unseen for="q" { "Search torrents" }
                input id="q" name="q" type="search" value=(wanted.q) maxlength="512" placeholder="Search titles, files, tags, info hashes" autofocus[wanted.q.is_empty()];
                button type="submit" { "Search" }
            }
            @if !wanted.sort.is_empty() { input type="hidden" name="sort" value=(wanted.sort); }
            details open[has_filters] {
                summary { "Filters" }
                div.grid {
                    (field("min_seeders", "Seeders, at least", &wanted.min_seeders, "number", "0"))
                    (field("min_size", "Size, at least", &wanted.min_size, "text", "700M"))
                    (field("max_size", "Size, at most", &wanted.max_size, "text", "4G"))
                    (field("since", "Published since", &wanted.since, "date", ""))
                    (field("until", "Published before", &wanted.until, "date", ""))
                    (field("tags", "Tags", &wanted.tags, "text", "linux, iso"))
                    label.check { input type="checkbox" name="alive" value="1" checked[!wanted.alive.is_empty()]; "Hide dead ones" }
                }
            }
        }
    }
}

fn list(links: &Links, wanted: &Wanted, results: &Results, now: u64) -> Markup {
    let sort = match wanted.sort.as_str() {
        "" => "relevance",
        sort => sort,
    };
    let count = match results.total {
        0 => "Nothing found".to_owned(),
        1 => "1 torrent".to_owned(),
        total => format!("{} torrents", grouped(total as u64)),
    };
    let this = format!("/api/v1/torrents?{}", wanted.with("cursor", &wanted.cursor));
    html! {
        div.bar {
            h1 { (count) }
            nav.sorts aria-label="Order" {
                @for (name, label) in SORTS {
                    a href={ "/?" (wanted.with("sort", name)) } aria-current=[(name == sort).then_some("true")] { (label) }
                }
            }
        }
        @if results.listings.is_empty() {
            (nothing(wanted))
        } @else {
            table.list data-refresh="results" data-api=(this) {
                thead {
                    tr {
                        th scope="col" { "Title" }
                        th.n scope="col" { "Size" }
                        th.n scope="col" { "Age" }
                        th.n scope="col" { "Seeders" }
                        th.n scope="col" { "Leechers" }
                        th scope="col" { span.unseen { "Download" } }
                    }
                }
                tbody { @for listing in &results.listings { (row(links, listing, now)) } }
            }
        }
        @if let Some(next) = results.next {
            nav.pages aria-label="More results" {
                a.button.quiet rel="next" href={ "/?" (wanted.with("cursor", &show_cursor(next))) } { "More results" }
            }
        }
    }
}

fn nothing(wanted: &Wanted) -> Markup {
    let is_all = wanted.with("sort", "").is_empty() && wanted.cursor.is_empty();
    html! {
        div.card.none {
            @if is_all {
                p { "No torrent has been published here yet." }
                p { a.button href="/upload" { "Publish the first" } }
            } @else {
                p { "Nothing here is like that." }
                p.soft { "Fewer words find more. All words have to match; the last one may be unfinished." }
            }
        }
    }
}

fn row(links: &Links, listing: &Listing, now: u64) -> Markup {
    let Listing { record, live, .. } = listing;
    let name = present::path_name(record.hashes);
    let files =
        if record.files == 1 { String::new() } else { format!("{} files", grouped(record.files.into())) };
    let is_renamed = record.name != record.title;
    html! {
        tr data-hash=(name) {
            td.name {
                a href={ "/torrent/" (name) } dir="auto" { (record.title) }
                @if is_renamed { small dir="auto" { (record.name) } }
                @if !files.is_empty() || !record.tags.is_empty() {
                    small {
                        (files) " "
                        @for tag in &record.tags { a.tag href={ "/?tags=" (tag) } { (tag) } " " }
                    }
                }
            }
            td.n data-label="Size" { (size::show(record.size)) }
            td.n data-label="Age" { time datetime=(date::rfc3339(record.published)) { (age(now.saturating_sub(record.published))) } }
            td.n data-label="Seeders" { b.seed data-live="seeders" { (grouped(live.seeders.into())) } }
            td.n data-label="Leechers" { span.leech data-live="leechers" { (grouped(live.leechers.into())) } }
            td.get { a href=(present::magnet_of(links, listing)) aria-label={ "Magnet of " (record.title) } { "Magnet" } }
        }
    }
}

fn age(seconds: u64) -> String {
    date::ago(seconds).trim_end_matches(" ago").to_owned()
}

/// "12,345"
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
