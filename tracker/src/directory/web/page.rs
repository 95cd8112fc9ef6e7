//! The pages, for people. All that they say is escaped as they are made; nothing in them is inline script or style.

mod search;
mod status;
mod torrent;
mod tree;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::guard::Links;
use super::{Problem, Shared};

pub(super) use search::search;
pub(super) use status::status;
pub(super) use torrent::torrent;

/// What stands around every page.
struct Frame<'a> {
    title: &'a str,
    /// The path of the entry of the menu that it belongs to.
    here: &'a str,
    /// The query of the search that this page's feed is of.
    feed: Option<String>,
}

impl<'a> Frame<'a> {
    fn new(title: &'a str, here: &'a str) -> Self {
        Self { title, here, feed: None }
    }

    fn around(&self, content: &Markup) -> Markup {
        let feed = format!("/rss?{}", self.feed.as_deref().unwrap_or_default());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { (self.title) " · sprat" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="stylesheet" href="/assets/style.css";
                    link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                    link rel="alternate" type="application/rss+xml" title="Torrents" href=(feed);
                    script defer src="/assets/app.js" {}
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        div {
                            a.brand href="/" { img src="/assets/icon.svg" alt="" width="27" height="27"; "sprat" }
                            nav aria-label="Pages" {
                                @for (path, name) in [("/", "Search"), ("/upload", "Upload"), ("/status", "Status")] {
                                    a href=(path) aria-current=[(path == self.here).then_some("page")] { (name) }
                                }
                            }
                        }
                    }
                    main id="content" { (content) }
                    footer.foot {
                        a href=(feed) { "RSS" }
                        a href="/about" { "API and Torznab" }
                        span { "Numbers are the tracker's, as of now." }
                    }
                }
            }
        }
    }

    fn page(&self, content: &Markup) -> Response {
        self.respond(StatusCode::OK, content)
    }

    fn respond(&self, status: StatusCode, content: &Markup) -> Response {
        let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::VARY, "Accept")];
        (status, headers, self.around(content).into_string()).into_response()
    }
}

/// A problem, for people.
fn problem(problem: &Problem) -> Response {
    let content = html! {
        h1 { "That did not work" }
        p.card.bad role="alert" { (problem) }
        p { a href="/" { "Search the directory" } }
    };
    let frame = Frame::new("That did not work", "");
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    problem.respond((headers, frame.around(&content).into_string()))
}

pub(super) async fn not_found() -> Response {
    let content = html! {
        h1 { "There is nothing here" }
        p { "This is a BitTorrent tracker with a directory. It is asked at " code { "/announce" } " and " code { "/scrape" } "." }
        p { a href="/" { "Search the directory" } }
    };
    Frame::new("Nothing here", "").respond(StatusCode::NOT_FOUND, &content)
}

pub(super) async fn upload(State(web): Shared, links: Links) -> Response {
    let is_open = web.directory.open_publish;
    let content = html! {
        h1 { "Publish a torrent" }
        noscript {
            p.card.bad { "Uploading from this page needs JavaScript. From a terminal: " code { "sprat publish FILE.torrent --directory-url " (links.base) } }
        }
        form.card.form id="upload" {
            label.drop {
                b { "Drop a .torrent here, or choose one" }
                span.soft { "at most 10 MiB" }
                span.mono id="chosen" aria-live="polite" {}
                input.unseen type="file" name="torrent" accept=".torrent,application/x-bittorrent" required;
            }
            div.two {
                label { span { "Title" } input name="title" maxlength="256" autocomplete="off" placeholder="the torrent's name"; }
                label { span { "Tags, with commas between them" } input name="tags" autocomplete="off" placeholder="linux, iso"; }
            }
            label { span { "Description" } textarea name="description" {} }
            label {
                span { @if is_open { "Token (not needed here; with one, you can remove it later)" } @else { "Token" } }
                input name="token" type="password" autocomplete="off" required[!is_open] placeholder="sprat_…";
            }
            div { button type="submit" { "Publish" } }
        }
        div id="result" tabindex="-1" role="status" hidden {}
        @if !is_open {
            p.soft { "Whoever runs the tracker makes tokens: " code { "sprat tracker token create --state DIR" } }
        }
    };
    Frame::new("Publish", "/upload").page(&content)
}

pub(super) async fn about(links: Links) -> Response {
    let base = &links.base;
    let content = html! {
        h1 { "For programs" }
        section.card {
            h2 { "Terminal" }
            pre { code {
                "export SPRAT_DIRECTORY_URL=" (base) "\n"
                "sprat search debian netinst\n"
                "sprat get \"$(sprat search -1 'debian netinst')\"\n"
                "sprat publish FILE.torrent --token-file TOKEN"
            } }
        }
        section.card {
            h2 { "API" }
            dl.long {
                dt { "Search" } dd { code { "GET " (base) "/api/v1/torrents?q=…" } }
                dt { "Publish" } dd { code { "POST " (base) "/api/v1/torrents" } }
                dt { "Described by" } dd { a href="/api/v1/openapi.json" { "openapi.json" } " (OpenAPI 3.1)" }
            }
        }
        section.card {
            h2 { "Feeds and indexers" }
            dl.long {
                dt { "RSS of any search" } dd { code { (base) "/rss?q=…" } }
                dt { "Torznab" } dd { code { (base) "/torznab" } " as URL, " code { "/api" } " as API path; no API key" }
            }
        }
        section.card {
            h2 { "Searching" }
            dl.long {
                dt { code { "ubuntu 24.04" } } dd { "both words, in any order; the last one may be unfinished" }
                dt { code { "\"long term\"" } } dd { "these words in this order" }
                dt { code { "-beta" } } dd { "not this word" }
                dt { code { "iso|img" } } dd { "one of these" }
                dt { "40 or 64 hexadecimal digits" } dd { "the torrent of this info hash" }
            }
        }
    };
    Frame::new("For programs", "").page(&content)
}
