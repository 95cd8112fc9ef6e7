//! The tracker that keys and tokens are of: one that runs, which is asked by its admin API, or what one will start with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tracker::state::{StateDir, StateError, admin_of};

use super::super::args::KeyPlace;
use super::super::error::CliError;

/// How long the tracker may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tracker.
pub(super) enum Admin {
    /// One that runs.
    Running(Running),
    /// One that does not.
    Resting(StateDir),
}

/// A tracker that runs.
pub(super) struct Running {
    addr: SocketAddr,
    token: String,
    client: reqwest::Client,
}

impl Admin {
    pub(super) fn find(place: &KeyPlace, state: Option<PathBuf>) -> Result<Self, CliError> {
        let dir = place.state.clone().or(state).ok_or_else(|| {
            CliError::Configuration("which tracker's? name its state directory: --state DIR".into())
        })?;
        let known = admin_of(&dir).map_err(unusable)?;
        let addr = place.admin.or(known.as_ref().map(|(_, addr)| *addr));
        let token = known.map(|(token, _)| token);
        if place.admin.is_none() {
            // Whoever gets the directory is alone: no tracker runs.
            match StateDir::open(&dir) {
                Ok(dir) => return Ok(Self::Resting(dir)),
                Err(StateError::InUse(_)) => {}
                Err(error) => return Err(unusable(error)),
            }
        }
        let (Some(addr), Some(token)) = (addr, token) else { return Err(no_token(&dir)) };
        // Whoever comes first installs it; it is the same for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| CliError::Network { what: "HTTP".into(), problem: error.to_string() })?;
        Ok(Self::Running(Running { addr, token, client }))
    }
}

impl Running {
    /// Asks it.
    pub(super) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, CliError> {
        let url = format!("http://{}{path}", self.addr);
        let failed =
            |error: reqwest::Error| CliError::Network { what: url.clone(), problem: error.to_string() };
        let mut request = self.client.request(method, &url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.map_err(failed)?;
        let is_success = response.status().is_success();
        let text = response.text().await.map_err(failed)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if is_success {
            return Ok(answer);
        }
        Err(CliError::Failed(answer["error"].as_str().unwrap_or("the tracker refused").to_owned()))
    }
}

/// Whether it can stand in a path as it is.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub(super) fn nonsense(error: &serde_json::Error) -> CliError {
    CliError::Failed(format!("the tracker's answer makes no sense: {error}"))
}

pub(super) fn unusable(error: StateError) -> CliError {
    CliError::Configuration(error.to_string())
}

fn no_token(dir: &Path) -> CliError {
    let problem = format!("{}: there is no admin token; is it the tracker's state directory?", dir.display());
    CliError::Configuration(problem)
}
