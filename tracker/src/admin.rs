//! The admin API: keys, lists, figures, saving and reloading. For those who have the token.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use torrent_format::{InfoHash, InfoHashes};

use crate::keeper::{EditError, Keeper, Which};
use crate::keys::{MAX_COMMENT, new_key};
use crate::metrics;
use crate::tokens::{Scope, new_token};

/// Longest life of a key: a century. What is longer does not end.
const MAX_EXPIRY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

struct Admin {
    keeper: Arc<Keeper>,
    token: String,
}

type Shared = State<Arc<Admin>>;

/// Everything that can be asked.
pub(crate) fn router(keeper: Arc<Keeper>, token: String) -> Router {
    let admin = Arc::new(Admin { keeper, token });
    Router::new()
        .route("/stats", get(stats))
        .route("/keys", get(list_keys).post(create_key))
        .route("/keys/{key}", axum::routing::delete(revoke_key))
        .route("/tokens", get(list_tokens).post(create_token))
        .route("/tokens/{id}", axum::routing::delete(revoke_token))
        .route("/allow", get(|admin: Shared| async move { list(&admin, Which::Allow) }))
        .route("/deny", get(|admin: Shared| async move { list(&admin, Which::Deny) }))
        .route("/allow/{hash}", put(allow).delete(disallow))
        .route("/deny/{hash}", put(deny).delete(undeny))
        .route("/torrents/{hash}", get(torrent))
        .route("/reload", post(reload))
        .route("/save", post(save))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is nothing here") })
        .route_layer(middleware::from_fn_with_state(admin.clone(), authorize))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(admin)
}

async fn authorize(State(admin): Shared, request: Request, next: Next) -> Response {
    let said = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = said.and_then(|said| said.strip_prefix(b"Bearer ")).unwrap_or_default();
    if !is_equal(token, admin.token.as_bytes()) {
        return problem(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong: it is in admin.token of the state directory",
        );
    }
    next.run(request).await
}

/// Takes as long for every wrong token.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

async fn stats(State(admin): Shared) -> Response {
    Json(metrics::stats(&admin.keeper.tracker)).into_response()
}

async fn list_keys(State(admin): Shared) -> Response {
    let keys = admin.keeper.tracker.keys();
    Json(json!({"keys": keys.iter().collect::<Vec<_>>()})).into_response()
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Wanted {
    expires_s: Option<u64>,
    comment: Option<String>,
}

async fn create_key(State(admin): Shared, body: Bytes) -> Response {
    let wanted =
        if body.is_empty() { Ok(Wanted::default()) } else { serde_json::from_slice::<Wanted>(&body) };
    let wanted = match wanted {
        Ok(wanted) if wanted.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT) => {
            return problem(StatusCode::BAD_REQUEST, &format!("a comment has at most {MAX_COMMENT} bytes"));
        }
        Ok(wanted) => wanted,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let mut random = [0; 20];
    if let Err(error) = crate::random(&mut random) {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
    }
    let clock = admin.keeper.tracker.clock;
    let now = clock.epoch(clock.now()).as_secs();
    let expires = wanted.expires_s.filter(|&seconds| seconds <= MAX_EXPIRY.as_secs());
    let key = new_key(random, now, expires, wanted.comment);
    match admin.keeper.add_key(key.clone()) {
        Ok(()) => (StatusCode::CREATED, Json(json!(key))).into_response(),
        Err(error) => refused(&error),
    }
}

async fn revoke_key(State(admin): Shared, Path(key): Path<String>) -> Response {
    done(admin.keeper.revoke_key(&key))
}

async fn list_tokens(State(admin): Shared) -> Response {
    match admin.keeper.tokens() {
        Ok(tokens) => Json(json!({"tokens": tokens.iter().collect::<Vec<_>>()})).into_response(),
        Err(error) => refused(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedToken {
    scope: Scope,
    expires_s: Option<u64>,
    comment: Option<String>,
}

async fn create_token(State(admin): Shared, body: Bytes) -> Response {
    let wanted = match serde_json::from_slice::<WantedToken>(&body) {
        Ok(wanted) if wanted.comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT) => {
            return problem(StatusCode::BAD_REQUEST, &format!("a comment has at most {MAX_COMMENT} bytes"));
        }
        Ok(wanted) => wanted,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let mut random = [0; 20];
    if let Err(error) = crate::random(&mut random) {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
    }
    let clock = admin.keeper.tracker.clock;
    let now = clock.epoch(clock.now()).as_secs();
    let expires = wanted.expires_s.filter(|&seconds| seconds <= MAX_EXPIRY.as_secs());
    let (secret, token) = new_token(random, wanted.scope, now, expires, wanted.comment);
    match admin.keeper.add_token(token.clone()) {
        Ok(()) => (StatusCode::CREATED, Json(json!({"secret": secret, "token": token}))).into_response(),
        Err(error) => refused(&error),
    }
}

async fn revoke_token(State(admin): Shared, Path(id): Path<String>) -> Response {
    done(admin.keeper.revoke_token(&id))
}

fn list(admin: &Admin, which: Which) -> Response {
    let lists = admin.keeper.tracker.lists();
    let all = match which {
        Which::Allow => lists.allow.as_ref().map(crate::access::List::all).unwrap_or_default(),
        Which::Deny => lists.deny.all(),
    };
    Json(json!({"info_hashes": all.iter().map(ToString::to_string).collect::<Vec<_>>()})).into_response()
}

async fn allow(State(admin): Shared, Path(hash): Path<String>) -> Response {
    change(&hash, |info_hash| admin.keeper.list(Which::Allow, info_hash))
}

async fn disallow(State(admin): Shared, Path(hash): Path<String>) -> Response {
    change(&hash, |info_hash| admin.keeper.unlist(Which::Allow, info_hash))
}

async fn deny(State(admin): Shared, Path(hash): Path<String>) -> Response {
    change(&hash, |info_hash| admin.keeper.list(Which::Deny, info_hash))
}

async fn undeny(State(admin): Shared, Path(hash): Path<String>) -> Response {
    change(&hash, |info_hash| admin.keeper.unlist(Which::Deny, info_hash))
}

fn change(hash: &str, change: impl Fn(InfoHash) -> Result<(), EditError>) -> Response {
    match parse(hash) {
        Some(info_hash) => done(change(info_hash)),
        None => problem(StatusCode::BAD_REQUEST, "an info hash has 40 or 64 hexadecimal digits"),
    }
}

async fn torrent(State(admin): Shared, Path(hash): Path<String>) -> Response {
    let Some(info_hash) = parse(&hash) else {
        return problem(StatusCode::BAD_REQUEST, "an info hash has 40 or 64 hexadecimal digits");
    };
    let entry = admin.keeper.tracker.scrape(&info_hash);
    let counts: Value = json!({
        "complete": entry.complete,
        "incomplete": entry.incomplete,
        "downloaders": entry.downloaders,
        "downloaded": entry.downloaded,
    });
    Json(counts).into_response()
}

async fn reload(State(admin): Shared) -> Response {
    match admin.keeper.reload() {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error),
    }
}

async fn save(State(admin): Shared) -> Response {
    let keeper = admin.keeper.clone();
    match tokio::task::spawn_blocking(move || keeper.save()).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn done(result: Result<(), EditError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &EditError) -> Response {
    let status = match error {
        EditError::NotListed | EditError::NoKey | EditError::NoToken => StatusCode::NOT_FOUND,
        EditError::NoAllowList
        | EditError::InFile(_)
        | EditError::TooManyKeys
        | EditError::TooManyTokens
        | EditError::NoDirectory
        | EditError::NoState => StatusCode::CONFLICT,
        EditError::State(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    problem(status, &error.to_string())
}

fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"error": text}))).into_response()
}

fn parse(hash: &str) -> Option<InfoHash> {
    hash.parse::<InfoHashes>().ok()?.swarms().next()
}
