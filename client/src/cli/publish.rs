//! `sprat publish`: puts a torrent into a directory, or takes it out.

use std::fs;
use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use torrent_format::InfoHashes;

use super::Context;
use super::args::PublishArgs;
use super::directory::Directory;
use super::error::CliError;
use super::output::printable;
use super::source::{self, Material};

pub(crate) async fn run(cx: &Context, args: PublishArgs) -> Result<(), CliError> {
    let directory = Directory::find(cx, &args.place)?;
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let authorize = |request: RequestBuilder| match &token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    if args.remove {
        let hash = name(source::resolve(cx, &args.source).await?.hashes());
        directory.ask(authorize(directory.request(Method::DELETE, &format!("/torrents/{hash}")))).await?;
        if cx.out.is_json() {
            cx.out.json(json!({"removed": hash}));
        } else {
            cx.out.note(format_args!("removed {hash}"));
        }
        return Ok(());
    }
    let (input, bytes) = match source::find(cx, &args.source).await? {
        Material::Bytes { input, bytes } => (input, bytes),
        Material::Magnet(_) => {
            let hint = Some("sprat magnet --resolve -o FILE MAGNET fetches its .torrent".to_owned());
            let (input, problem) =
                (args.source.to_string_lossy().into_owned(), "a directory lists .torrents".to_owned());
            return Err(CliError::Input { input, problem, hint });
        }
    };
    // What is wrong with it is said here, and not by somebody else after it was sent.
    source::parse_torrent(input, &bytes)?;
    let description = args.description.as_deref().map(read).transpose()?;
    let remarks = [("title", args.title), ("tags", args.tags), ("description", description)];
    let form = Form::new(&bytes, remarks.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let request = directory
        .request(Method::POST, "/torrents")
        .header(reqwest::header::CONTENT_TYPE, form.content_type())
        .body(form.body);
    let answer = directory.ask(authorize(request)).await?;
    if cx.out.is_json() {
        cx.out.json(answer);
        return Ok(());
    }
    if answer["duplicate"].as_bool() == Some(true) {
        cx.out.note("it was listed already, and stays as it was");
    }
    cx.out.data(printable(answer["url"].as_str().unwrap_or_default()));
    Ok(())
}

/// What a directory calls a torrent.
fn name(hashes: InfoHashes) -> String {
    match (hashes.v1(), hashes.v2()) {
        (None, Some(v2)) => v2.to_string(),
        _ => hashes.primary().to_string(),
    }
}

fn read_token(path: &Path) -> Result<String, CliError> {
    let token = read(path)?.trim().to_owned();
    let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain {
        Ok(token)
    } else {
        Err(CliError::Configuration(format!("{}: there is no token in it", path.display())))
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|source| CliError::Read { input: path.display().to_string(), source })
}

/// An upload as a form of a web page would send it (RFC 7578).
struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    fn new(torrent: &[u8], fields: impl Iterator<Item = (&'static str, String)>) -> Self {
        let fields: Vec<_> = fields.collect();
        let is_in = |boundary: &str| {
            let texts = fields.iter().map(|(_, value)| value.as_bytes()).chain([torrent]);
            let mut windows = texts.flat_map(|text| text.windows(boundary.len()));
            windows.any(|window| window == boundary.as_bytes())
        };
        // Something that is not in what it divides.
        let mut boundary = String::from("sprat-form");
        while is_in(&boundary) {
            boundary.push('-');
        }
        let mut body = Vec::with_capacity(torrent.len() + 1024);
        for (name, value) in &fields {
            let part =
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"torrent\"; filename=\"upload.torrent\"\r\n\
             Content-Type: application/x-bittorrent\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(torrent);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Self { boundary, body }
    }

    fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_divides_a_form_is_not_in_it() {
        let form = Form::new(b"\r\n--sprat-form\r\n", [("title", "sprat-form-".to_owned())].into_iter());
        assert_eq!(form.content_type(), "multipart/form-data; boundary=sprat-form--");
        let body = String::from_utf8(form.body).unwrap();
        assert_eq!(body.matches("--sprat-form--\r\n").count(), 2, "two parts: {body}");
        assert!(body.ends_with("\r\n--sprat-form----\r\n"), "{body}");
    }
}
