//! `sprat tracker key`: asks the running tracker, or changes the keys that it will start with.
#![expect(clippy::disallowed_methods, reason = "keys are random and have dates")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracker::keys::{Key, new_key};
use tracker::state::{StateDir, StateError, admin_of};

use super::super::args::{KeyCommand, KeyPlace};
use super::super::error::CliError;
use super::super::{Context, date};

/// How long the tracker may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(cx: &Context, command: KeyCommand, state: Option<PathBuf>) -> Result<(), CliError> {
    let place = match &command {
        KeyCommand::Create { place, .. } | KeyCommand::List { place } | KeyCommand::Revoke { place, .. } => {
            place
        }
    };
    let keys = Keys::find(place, state).await?;
    match command {
        KeyCommand::Create { expires, comment, .. } => {
            let key = keys.create(expires, comment).await?;
            if cx.out.is_json() { cx.out.json(json!(key)) } else { cx.out.data(key.key) }
        }
        KeyCommand::List { .. } => {
            let all = keys.list().await?;
            if cx.out.is_json() {
                cx.out.json(json!({"keys": all}));
            } else {
                all.iter().for_each(|key| cx.out.data(line(key)));
            }
        }
        KeyCommand::Revoke { key, .. } => keys.revoke(&key).await?,
    }
    Ok(())
}

/// Key, end and comment, with tabs between them.
fn line(key: &Key) -> String {
    let end = key.expires.and_then(|expires| i64::try_from(expires).ok()).map(date::rfc3339_of);
    let comment: String =
        key.comment.as_deref().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    format!("{}\t{}\t{comment}", key.key, end.as_deref().unwrap_or("never"))
}

/// The keys of one tracker.
enum Keys {
    /// Of one that runs.
    Running { addr: SocketAddr, token: String, client: reqwest::Client },
    /// Of one that does not.
    Resting(StateDir),
}

impl Keys {
    async fn find(place: &KeyPlace, state: Option<PathBuf>) -> Result<Self, CliError> {
        let dir = place.state.clone().or(state).ok_or_else(|| {
            CliError::Configuration("which tracker's keys? name its state directory: --state DIR".into())
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
        Ok(Self::Running { addr, token, client })
    }

    async fn create(&self, expires: Option<Duration>, comment: Option<String>) -> Result<Key, CliError> {
        let expires = expires.map(|expires| expires.as_secs());
        match self {
            Self::Running { .. } => {
                let wanted = json!({"expires_s": expires, "comment": comment});
                let made = self.ask(reqwest::Method::POST, "/keys", Some(wanted)).await?;
                serde_json::from_value(made).map_err(|error| self.nonsense(&error))
            }
            Self::Resting(dir) => {
                let mut random = [0; 20];
                getrandom::fill(&mut random).map_err(|error| CliError::Failed(error.to_string()))?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let key = new_key(random, now, expires, comment);
                let mut keys = dir.keys().map_err(unusable)?;
                if !keys.add(key.clone()) {
                    return Err(CliError::Failed("there are as many keys as there can be".into()));
                }
                dir.set_keys(&keys).map_err(unusable)?;
                Ok(key)
            }
        }
    }

    async fn list(&self) -> Result<Vec<Key>, CliError> {
        match self {
            Self::Running { .. } => {
                let mut all = self.ask(reqwest::Method::GET, "/keys", None).await?;
                serde_json::from_value(all["keys"].take()).map_err(|error| self.nonsense(&error))
            }
            Self::Resting(dir) => Ok(dir.keys().map_err(unusable)?.iter().cloned().collect()),
        }
    }

    async fn revoke(&self, key: &str) -> Result<(), CliError> {
        match self {
            Self::Running { .. } => {
                let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
                if !is_key {
                    return Err(no_key(key));
                }
                self.ask(reqwest::Method::DELETE, &format!("/keys/{key}"), None).await.map(drop)
            }
            Self::Resting(dir) => {
                let mut keys = dir.keys().map_err(unusable)?;
                if !keys.revoke(key) {
                    return Err(no_key(key));
                }
                dir.set_keys(&keys).map_err(unusable)
            }
        }
    }

    /// Asks the running tracker.
    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, CliError> {
        let Self::Running { addr, token, client } = self else { return Ok(Value::Null) };
        let url = format!("http://{addr}{path}");
        let failed =
            |error: reqwest::Error| CliError::Network { what: url.clone(), problem: error.to_string() };
        let mut request = client.request(method, &url).bearer_auth(token);
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

    fn nonsense(&self, error: &serde_json::Error) -> CliError {
        CliError::Failed(format!("the tracker's answer makes no sense: {error}"))
    }
}

fn unusable(error: StateError) -> CliError {
    CliError::Configuration(error.to_string())
}

fn no_key(key: &str) -> CliError {
    CliError::Failed(format!("there is no key {}", key.escape_debug()))
}

fn no_token(dir: &Path) -> CliError {
    let problem = format!("{}: there is no admin token; is it the tracker's state directory?", dir.display());
    CliError::Configuration(problem)
}
