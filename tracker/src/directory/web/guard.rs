//! What holds for every request: limits, who may change anything, what browsers are told.
//!
//! There is no cookie and no password that a browser would send by itself: whoever has a token sends it in a header. So another
//! site can't act for its visitors, but for two ways that are closed here: a form or script of another site where anybody may
//! publish (its `Origin` is refused), and a name of that site's which suddenly leads to us (its `Host` is).

use std::net::IpAddr;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::convert::Infallible;
use std::sync::Arc;
use torrent_format::InfoHash;

use super::{Asker, MAX_REMARKS, Problem, Shared, Web};
use crate::directory::record::MAX_UPLOAD;
use crate::tokens::Token;

/// What browsers may do with our pages: what comes from here, and nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) async fn guard(State(web): Shared, request: Request, next: Next) -> Response {
    let mut response = match admit(&web, &request) {
        Ok(()) => {
            let is_get = request.method() == Method::GET;
            let is_asset = request.uri().path().starts_with("/assets/");
            let known = request.headers().get(header::IF_NONE_MATCH).cloned();
            let response = next.run(request).await;
            let is_cacheable = is_get && response.status() == StatusCode::OK;
            if is_cacheable { tag(response, known, is_asset).await } else { response }
        }
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn admit(web: &Web, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let ip = request.extensions().get::<Asker>().map_or(IpAddr::from([127, 0, 0, 1]), |asker| asker.ip);
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let limiter = if is_change { &web.writing } else { &web.reading };
    let now = web.directory.tracker.clock.now();
    if !request.uri().path().starts_with("/assets/")
        && let Err(wait) = limiter.take(now, ip)
    {
        return Err(Problem::TooMany(wait.as_secs() + 1));
    }
    if is_change || headers.contains_key(header::AUTHORIZATION) {
        check_host(web, headers)?;
        check_origin(web, headers)?;
    }
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > (MAX_UPLOAD + MAX_REMARKS) as u64) {
        return Err(Problem::TooLarge);
    }
    Ok(())
}

/// An address can't be made to lead elsewhere, and neither can the name that the operator gave.
fn check_host(web: &Web, headers: &HeaderMap) -> Result<(), Problem> {
    let host = host(headers).unwrap_or_default();
    let name = without_port(host);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let ours = web.directory.public_url.as_deref().map(authority);
    if is_address
        || name.eq_ignore_ascii_case("localhost")
        || ours.is_some_and(|ours| ours.eq_ignore_ascii_case(host))
    {
        return Ok(());
    }
    Err(Problem::Misdirected)
}

fn check_origin(web: &Web, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let ours = [host(headers), web.directory.public_url.as_deref().map(authority)];
    let is_ours = origin.contains("://")
        && ours.into_iter().flatten().any(|ours| ours.eq_ignore_ascii_case(authority(origin)));
    if is_ours { Ok(()) } else { Err(Problem::Forbidden("another site can't do this here")) }
}

/// Who sends this token; [`None`] if there is none.
pub(super) fn bearer(web: &Web, headers: &HeaderMap) -> Result<Option<Token>, Problem> {
    let Some(said) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = said.to_str().ok().and_then(|said| said.strip_prefix("Bearer ")).unwrap_or_default();
    let directory = &web.directory;
    let token = directory.tokens().find(token.trim(), directory.now()).cloned();
    token.map(Some).ok_or(Problem::Unauthorized("the token is unknown, revoked or expired"))
}

/// Lets browsers and feed readers ask whether there is anything new.
async fn tag(response: Response, known: Option<HeaderValue>, is_asset: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    // It is there as a whole already; nothing here is made as it is sent.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("\"{}\"", InfoHash::of_info(&body));
    let is_known = known.is_some_and(|known| {
        let mut tags =
            known.to_str().unwrap_or_default().split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|known| known == tag || known == "*")
    });
    let caching = if is_asset { "public, max-age=3600" } else { "no-cache" };
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    // Hexadecimal digits and quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

/// Where this directory is, as the one who asks would say: for links and announce URLs.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// Without a slash at the end.
    pub(super) base: String,
    /// Of the tracker, HTTP first.
    pub(super) announce: Vec<String>,
}

impl FromRequestParts<Arc<Web>> for Links {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, Infallible> {
        let is_https = parts.extensions.get::<Asker>().is_some_and(|asker| asker.is_https);
        let scheme = if is_https { "https" } else { "http" };
        let base = match &web.directory.public_url {
            Some(url) => url.clone(),
            None => format!("{scheme}://{}", host(&parts.headers).unwrap_or("localhost")),
        };
        let udp =
            web.udp_port.map(|port| format!("udp://{}:{port}/announce", without_port(authority(&base))));
        Ok(Self { announce: [format!("{base}/announce")].into_iter().chain(udp).collect(), base })
    }
}

/// The `Host` of a request, if nothing is wrong with it.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    Some(host).filter(|host| !host.is_empty() && host.len() <= 255 && host.bytes().all(is_plain))
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_their_ports() {
        for (url, host, name) in [
            ("http://a.example:6969/x", "a.example:6969", "a.example"),
            ("https://a.example", "a.example", "a.example"),
            ("http://[::1]:80", "[::1]:80", "[::1]"),
            ("http://[::1]", "[::1]", "[::1]"),
        ] {
            assert_eq!((authority(url), without_port(authority(url))), (host, name));
        }
    }
}
