//! One torrent's page.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::search::grouped;
use super::{Frame, problem, tree};
use crate::directory::catalogue::Whole;
use crate::directory::history::{HOURS, Sample};
use crate::directory::web::guard::Links;
use crate::directory::web::plot::{self, Line, plot};
use crate::directory::web::{Shared, api, date, present, size};

/// What a .torrent is called in `Accept`: who says so gets that instead of the page, so that the page's URL is all that
/// `sprat get` needs.
const TORRENT: &str = "application/x-bittorrent";

pub(in crate::directory::web) async fn torrent(
    State(web): Shared,
    links: Links,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    if let Some(hash) = name.strip_suffix(".torrent") {
        return match api::find_whole(&web, hash).await {
            Ok(whole) => api::file(&links, whole, false),
            Err(error) => problem(&error),
        };
    }
    let wants_file = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|it| it.contains(TORRENT)));
    let hashes = match api::parse(&name) {
        Ok(hashes) => hashes,
        Err(error) => return problem(&error),
    };
    let read = web.directory.read(move |directory, store| {
        let whole = directory.whole(store, hashes)?;
        let history = directory.history(store, &whole.listing)?;
        Ok((whole, history))
    });
    match read.await {
        Ok((whole, _)) if wants_file => {
            let mut response = api::file(&links, whole, false);
            response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
            response
        }
        Ok((whole, history)) => {
            let content = content(&links, &whole, &history, web.directory.now());
            Frame::new(&whole.listing.record.title, "").page(&content).into_response()
        }
        Err(error) => problem(&error.into()),
    }
}

fn content(links: &Links, whole: &Whole, history: &[Sample], now: u64) -> Markup {
    let record = &whole.listing.record;
    let name = present::path_name(record.hashes);
    html! {
        h1 dir="auto" { (record.title) }
        @if !record.tags.is_empty() {
            p { @for tag in &record.tags { a.tag href={ "/?tags=" (tag) } { (tag) } " " } }
        }
        section.card data-refresh="torrent" data-api={ "/api/v1/torrents/" (name) } {
            (facts(whole, now))
            div.actions {
                a.button href=(present::magnet(links, whole)) { "Magnet" }
                a.button.quiet href={ "/torrent/" (name) ".torrent" } download { ".torrent" }
            }
            div.copy {
                code id="get" tabindex="0" { "sprat get '" (links.base) "/torrent/" (name) "'" }
                button.quiet type="button" data-copy="get" hidden { "Copy" }
            }
        }
        section.card aria-label="History" { (over_time(history, record.published, now)) }
        @if !record.description.is_empty() {
            section.card { h2 { "Description" } p.text dir="auto" { (record.description) } }
        }
        section.card {
            h2 { "Files" }
            (tree::tree(&whole.metainfo.info))
        }
        section.card {
            h2 { "Details" }
            (details(links, whole))
        }
    }
}

fn facts(whole: &Whole, now: u64) -> Markup {
    let listing = &whole.listing;
    let (record, live) = (&listing.record, listing.live);
    html! {
        dl.facts {
            div { dt { "Seeders" } dd.seed data-live="seeders" { (grouped(live.seeders.into())) } }
            div { dt { "Leechers" } dd.leech data-live="leechers" { (grouped(live.leechers.into())) } }
            div { dt { "Completed" } dd.done data-live="completed" { (grouped(listing.completed.into())) } }
            div { dt { "Size" } dd { (size::show(record.size)) } }
            div { dt { "Files" } dd { (grouped(record.files.into())) } }
            div {
                dt { "Published" }
                dd { time datetime=(date::rfc3339(record.published)) title=(date::rfc3339(record.published)) { (date::ago(now.saturating_sub(record.published))) } }
            }
        }
    }
}

/// As far back as there is anything, at least a day. When it was published, nobody was known to have it.
fn over_time(history: &[Sample], published: u64, now: u64) -> Markup {
    let (now, published) = (now as f64 / 3600.0, published as f64 / 3600.0);
    let first = history.first().map_or(now, |sample| f64::from(sample.hour)).min(published);
    let from = first.clamp(now - f64::from(HOURS), now - 24.0);
    let place = |hour: f64| ((hour - from) / (now - from)).clamp(0.0, 1.0);
    let line = |class, label, value: fn(&Sample) -> u32| {
        let mut points = vec![(place(published), 0.0)];
        for (number, sample) in history.iter().enumerate() {
            // The last one is now, and not when its hour began.
            let is_last = number + 1 == history.len();
            let at = if is_last { 1.0 } else { place(f64::from(sample.hour)).max(points[0].0) };
            points.push((at, f64::from(value(sample))));
        }
        Line { class, label, points }
    };
    let lines = [
        line("done", "completed", |it| it.completed),
        line("leech", "leechers", |it| it.leechers),
        line("seed", "seeders", |it| it.seeders),
    ];
    let frame = plot::Frame {
        title: "Over time",
        from: &date::day((from.max(0.0) * 3600.0) as u64),
        to: "now",
        is_small: false,
        has_steps: true,
    };
    plot(&frame, &lines, |value| grouped(value as u64))
}

fn details(links: &Links, whole: &Whole) -> Markup {
    let (record, metainfo) = (&whole.listing.record, &whole.metainfo);
    let layout = metainfo.info.layout();
    let name = present::path_name(record.hashes);
    html! {
        dl.long {
            dt { "Name" } dd dir="auto" { (record.name) }
            @if let Some(hash) = record.hashes.v1() { dt { "Info hash v1" } dd.mono { (hash) } }
            @if let Some(hash) = record.hashes.v2() { dt { "Info hash v2" } dd.mono { (hash) } }
            dt { "Version" } dd { (present::version(metainfo)) @if metainfo.info.is_private() { ", private" } }
            dt { "Pieces" } dd { (grouped(layout.piece_count().into())) " of " (size::show(layout.piece_length().into())) }
            dt { "Trackers" }
            dd {
                ul {
                    @for url in &links.announce { li { (url) } }
                    @for url in metainfo.trackers.iter().flatten().filter(|url| !links.announce.contains(url)) { li { (url) } }
                }
            }
            @if !metainfo.web_seeds.is_empty() {
                dt { "Web seeds" } dd { ul { @for url in &metainfo.web_seeds { li { (url) } } } }
            }
            dt { "As uploaded" } dd { a href={ "/api/v1/torrents/" (name) "/torrent?original=1" } { "the very bytes" } }
        }
    }
}
