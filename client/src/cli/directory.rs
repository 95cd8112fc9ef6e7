//! A directory of torrents, as its API is asked.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::args::DirectoryPlace;
use super::error::CliError;
use super::{Context, net, source};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer in bytes: a hundred results, or one with five thousand files.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// One directory.
pub(crate) struct Directory {
    base: String,
    client: reqwest::Client,
}

impl Directory {
    /// The one that is named by flag or variable.
    pub(crate) fn find(cx: &Context, place: &DirectoryPlace) -> Result<Self, CliError> {
        let of_environment = || cx.var("SPRAT_DIRECTORY_URL").and_then(|url| url.into_string().ok());
        let url = place.directory_url.clone().or_else(of_environment).ok_or_else(|| {
            CliError::Usage(
                "which directory? name it: --directory-url http://HOST:PORT, or SPRAT_DIRECTORY_URL".into(),
            )
        })?;
        let base = url.trim().trim_end_matches('/').to_owned();
        if !net::is_http(&base) {
            return Err(CliError::Usage(format!(
                "--directory-url {url}: a directory is at http://… or https://…"
            )));
        }
        Ok(Self { base, client: net::http_client(cx, PATIENCE)? })
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request of the API, for this path and query.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v1{path}", self.base))
    }

    /// What it answers; `Null` if it has nothing to say.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Value, CliError> {
        let failed = |error: reqwest::Error| CliError::Network {
            what: self.base.clone(),
            problem: source::cause(&error),
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER {
                return Err(self.nonsense("it is too long"));
            }
        }
        let answer = serde_json::from_slice::<Value>(&bytes);
        match answer {
            _ if status == reqwest::StatusCode::NO_CONTENT => Ok(Value::Null),
            Ok(answer) if status.is_success() => Ok(answer),
            Ok(answer) if answer["error"].is_string() => Err(CliError::Network {
                what: self.base.clone(),
                problem: answer["error"].as_str().unwrap_or_default().to_owned(),
            }),
            Err(error) if status.is_success() => Err(self.nonsense(&error)),
            _ => Err(CliError::Network {
                what: self.base.clone(),
                problem: format!("the server answers {status}"),
            }),
        }
    }

    fn nonsense(&self, problem: impl std::fmt::Display) -> CliError {
        let problem = format!("the answer is no directory's: {problem}");
        CliError::Network { what: self.base.clone(), problem }
    }
}
