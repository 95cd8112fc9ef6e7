//! Publishing and removing.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use torrent_format::safe_path::printable;

use super::guard::{Links, bearer};
use super::{Problem, Shared, Web, api, present};
use crate::directory::catalogue::{Directory, DirectoryError};
use crate::directory::record::{MAX_UPLOAD, Remarks};

/// What may stand in the URL of an upload that is nothing but the .torrent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    title: Option<String>,
    tags: Option<String>,
    description: Option<String>,
}

pub(super) async fn publish(
    State(web): Shared,
    links: Links,
    Query(said): Query<Said>,
    request: Request,
) -> Result<Response, Problem> {
    // Before a byte of the upload is read.
    let owner = bearer(&web, request.headers())?;
    if owner.is_none() && !web.directory.open_publish {
        return Err(Problem::Unauthorized("publishing here takes a token: see `sprat tracker token create`"));
    }
    let _slot = web.uploads.clone().try_acquire_owned().map_err(|_| DirectoryError::Busy)?;
    let (bytes, remarks) = read(&web, said, request).await?;
    let upload =
        web.directory.read(move |directory, _| directory.prepare(bytes, &remarks, owner.as_ref())).await?;
    let hashes = upload.record.hashes;
    let inserted = web.directory.insert(upload).await?;
    let listing =
        web.directory.read(move |directory, store| directory.listing_of(store, inserted.id)).await?;
    let mut value = present::listed(&links, &listing);
    value["schema"] = 1.into();
    value["duplicate"] = inserted.is_duplicate.into();
    let status = if inserted.is_duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let place = format!("{}/api/v1/torrents/{}", links.base, present::path_name(hashes));
    Ok((status, [(header::LOCATION, place)], Json(value)).into_response())
}

pub(super) async fn remove(
    State(web): Shared,
    headers: HeaderMap,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let token = bearer(&web, &headers)?.ok_or(Problem::Unauthorized("removing takes a token"))?;
    let hashes = api::parse(&hash)?;
    let listing = web.directory.read(move |directory, store| directory.find(store, hashes)).await?;
    if !Directory::may_remove(&listing.record, &token) {
        return Err(Problem::Forbidden(
            "somebody else published it: its owner's token removes it, or an admin's",
        ));
    }
    web.directory.remove(listing.id, listing.record.hashes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The .torrent, and what is said of it.
async fn read(web: &Web, said: Said, request: Request) -> Result<(Vec<u8>, Remarks), Problem> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        let bytes = Bytes::from_request(request, web).await.map_err(|error| cut(error.status(), &error))?;
        let remarks = Remarks { title: said.title, tags: said.tags, description: said.description };
        return Ok((bytes.into(), remarks));
    }
    let bad = |error: axum::extract::multipart::MultipartError| cut(error.status(), &error);
    let mut parts = Multipart::from_request(request, web)
        .await
        .map_err(|error| Problem::BadRequest(error.to_string()))?;
    let (mut bytes, mut remarks) = (None, Remarks::default());
    while let Some(part) = parts.next_field().await.map_err(bad)? {
        match part.name().unwrap_or_default() {
            "torrent" => bytes = Some(part.bytes().await.map_err(bad)?.into()),
            "title" => remarks.title = Some(part.text().await.map_err(bad)?),
            "tags" => remarks.tags = Some(part.text().await.map_err(bad)?),
            "description" => remarks.description = Some(part.text().await.map_err(bad)?),
            other => {
                let other: String = printable(other).chars().take(40).collect();
                return Err(Problem::BadRequest(format!("an upload has no part `{other}`")));
            }
        }
    }
    let bytes: Vec<u8> =
        bytes.ok_or_else(|| Problem::BadRequest("the upload has no part `torrent`".into()))?;
    if bytes.len() > MAX_UPLOAD { Err(Problem::TooLarge) } else { Ok((bytes, remarks)) }
}

fn cut(status: StatusCode, error: &dyn std::fmt::Display) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
        _ => Problem::BadRequest(error.to_string()),
    }
}
