//! The directory over HTTP: pages for people, an API, feeds. All routes are in [`router`].

mod api;
mod ask;
mod date;
mod feed;
mod guard;
mod page;
mod plot;
mod present;
mod size;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use super::catalogue::{Directory, DirectoryError};
use super::limiter::{Limiter, READING, WRITING};
use super::record::MAX_UPLOAD;
use super::store::StoreError;

/// Room in an upload for what is not the .torrent: the parts' heads, the description.
const MAX_REMARKS: usize = 256 * 1024;

/// Uploads that are read at a time: at 10 MiB each, what they may take of memory.
const MAX_UPLOADS: usize = 16;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) ip: IpAddr,
    /// The proxy that it came by, which is trusted, says that it came to it by HTTPS.
    pub(crate) is_https: bool,
}

/// What all routes share.
pub(crate) struct Web {
    pub(crate) directory: Arc<Directory>,
    /// The port of the tracker's UDP side, if it has one.
    pub(crate) udp_port: Option<u16>,
    reading: Limiter,
    writing: Limiter,
    uploads: Arc<Semaphore>,
}

type Shared = axum::extract::State<Arc<Web>>;

/// Everything that can be asked of a directory.
pub(crate) fn router(directory: Arc<Directory>, udp_port: Option<u16>) -> Router {
    let web = Arc::new(Web {
        directory,
        udp_port,
        reading: Limiter::new(READING),
        writing: Limiter::new(WRITING),
        uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
    });
    Router::new()
        .route("/", get(page::search))
        .route("/torrent/{hash}", get(page::torrent))
        .route("/upload", get(page::upload))
        .route("/status", get(page::status))
        .route("/about", get(page::about))
        .route(
            "/assets/style.css",
            get(|| asset("text/css; charset=utf-8", include_bytes!("web/assets/style.css"))),
        )
        .route(
            "/assets/app.js",
            get(|| asset("text/javascript; charset=utf-8", include_bytes!("web/assets/app.js"))),
        )
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", include_bytes!("web/assets/icon.svg"))))
        .route(
            "/robots.txt",
            get(|| asset("text/plain", b"User-agent: *\nDisallow: /api/\nDisallow: /torznab/\n")),
        )
        .route("/rss", get(feed::rss))
        .route("/torznab/api", get(feed::torznab))
        .route("/api/v1/openapi.json", get(|| asset("application/json", include_bytes!("web/openapi.json"))))
        .route("/api/v1/torrents", get(api::search).post(upload::publish))
        .route("/api/v1/torrents/{hash}", get(api::record).delete(upload::remove))
        .route("/api/v1/torrents/{hash}/torrent", get(api::torrent))
        .route("/api/v1/torrents/{hash}/magnet", get(api::magnet))
        .route("/api/v1/torrents/{hash}/history", get(api::history))
        .route("/api/v1/status", get(api::status))
        .fallback(page::not_found)
        .layer(DefaultBodyLimit::max(MAX_UPLOAD + MAX_REMARKS))
        .layer(middleware::from_fn_with_state(web.clone(), guard::guard))
        .with_state(web)
}

async fn asset(kind: &'static str, bytes: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], bytes).into_response()
}

/// Why a request is answered with something else than what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unauthorized(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    #[error(
        "by this name the directory takes no token and no upload: start it with --public-url, or use its address"
    )]
    Misdirected,
    #[error("an upload has at most {} MiB", MAX_UPLOAD >> 20)]
    TooLarge,
    #[error("too much at once from your address: try again in {0} s")]
    TooMany(u64),
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::Directory(DirectoryError::Busy | DirectoryError::Store(StoreError::TooSlow)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Directory(DirectoryError::Store(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Directory(DirectoryError::Record(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Directory(DirectoryError::Unknown) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The response's headers, for whatever body it gets.
    fn respond(&self, body: impl IntoResponse) -> Response {
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::TooMany(seconds) => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds))),
            Self::Directory(DirectoryError::Busy) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // It is not read to its end only to be thrown away.
            Self::TooLarge => drop(headers.insert(header::CONNECTION, HeaderValue::from_static("close"))),
            Self::Unauthorized(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        if let Self::Directory(DirectoryError::Store(error)) = self {
            tracing::warn!(%error, "the directory failed");
        }
        response
    }
}

/// For programs.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(axum::Json(serde_json::json!({"schema": 1, "error": self.to_string()})))
    }
}
