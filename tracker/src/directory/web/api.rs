//! The API, for programs.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use torrent_format::InfoHashes;

use super::ask::{Wanted, show_cursor};
use super::guard::Links;
use super::{Problem, Shared, present};
use crate::directory::catalogue::{Results, Whole};
use crate::directory::pulse::{EVERY, Pulse};
use crate::metrics;

pub(super) async fn search(
    State(web): Shared,
    links: Links,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let results = find(&web, &wanted).await?;
    let next = results.next.map(|cursor| {
        format!("{}/api/v1/torrents?{}", links.base, wanted.with("cursor", &show_cursor(cursor)))
    });
    Ok(Json(present::results(&links, &results, next)).into_response())
}

/// Runs a search.
pub(super) async fn find(web: &super::Web, wanted: &Wanted) -> Result<Results, Problem> {
    let search = wanted.search()?;
    Ok(web.directory.read(move |directory, store| directory.search(store, &search)).await?)
}

/// The torrent of this info hash.
pub(super) async fn find_whole(web: &super::Web, hash: &str) -> Result<Whole, Problem> {
    let hashes = parse(hash)?;
    Ok(web.directory.read(move |directory, store| directory.whole(store, hashes)).await?)
}

pub(super) fn parse(hash: &str) -> Result<InfoHashes, Problem> {
    let is_hex = matches!(hash.len(), 40 | 64) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hashes = hash.parse().ok().filter(|_| is_hex);
    hashes.ok_or_else(|| Problem::BadRequest("an info hash has 40 or 64 hexadecimal digits".into()))
}

pub(super) async fn record(
    State(web): Shared,
    links: Links,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let whole = find_whole(&web, &hash).await?;
    Ok(Json(present::whole(&links, &whole)).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    /// Not even the announce URL is set.
    original: Option<String>,
}

pub(super) async fn torrent(
    State(web): Shared,
    links: Links,
    Path(hash): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let whole = find_whole(&web, &hash).await?;
    Ok(file(&links, whole, which.original.is_some()))
}

/// The .torrent as a download.
pub(super) fn file(links: &Links, whole: Whole, original: bool) -> Response {
    let disposition = present::disposition(&whole.listing.record.name);
    let bytes = if original { whole.bytes } else { present::torrent(links, whole) };
    let headers = [
        (header::CONTENT_TYPE, "application/x-bittorrent".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, bytes).into_response()
}

pub(super) async fn magnet(
    State(web): Shared,
    links: Links,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let whole = find_whole(&web, &hash).await?;
    let text = format!("{}\n", present::magnet(&links, &whole));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

pub(super) async fn history(State(web): Shared, Path(hash): Path<String>) -> Result<Response, Problem> {
    let hashes = parse(&hash)?;
    let read = web.directory.read(move |directory, store| {
        let listing = directory.find(store, hashes)?;
        directory.history(store, &listing)
    });
    Ok(Json(present::history(&read.await?)).into_response())
}

pub(super) async fn status(State(web): Shared) -> Response {
    let directory = &web.directory;
    let tracker = metrics::stats(&directory.tracker);
    let pulses: Vec<_> = directory
        .pulses
        .all()
        .iter()
        .map(|Pulse { announces, torrents, peers, memory }| {
            json!({"announces_per_s": announces, "torrents": torrents, "peers": peers, "memory_bytes": memory})
        })
        .collect();
    let listed = directory.facts().len();
    Json(json!({
        "schema": 1,
        "listed": listed,
        "open_publish": directory.open_publish,
        "tracker": tracker,
        "last_hour": {"every_s": EVERY.as_secs(), "samples": pulses},
    }))
    .into_response()
}
