//! `sprat tracker key`: asks the running tracker, or changes the keys that it will start with.
#![expect(clippy::disallowed_methods, reason = "keys are random and have dates")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tracker::keys::{Key, new_key};

use super::super::args::{KeyCommand, KeyPlace};
use super::super::error::CliError;
use super::super::{Context, date};
use super::admin::{Admin, is_plain, nonsense, unusable};

pub(super) async fn run(cx: &Context, command: KeyCommand, state: Option<PathBuf>) -> Result<(), CliError> {
    let place = match &command {
        KeyCommand::Create { place, .. } | KeyCommand::List { place } | KeyCommand::Revoke { place, .. } => {
            place
        }
    };
    let keys = Keys::find(place, state)?;
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
struct Keys(Admin);

impl Keys {
    fn find(place: &KeyPlace, state: Option<PathBuf>) -> Result<Self, CliError> {
        Admin::find(place, state).map(Self)
    }

    async fn create(&self, expires: Option<Duration>, comment: Option<String>) -> Result<Key, CliError> {
        let expires = expires.map(|expires| expires.as_secs());
        match &self.0 {
            Admin::Running(running) => {
                let wanted = json!({"expires_s": expires, "comment": comment});
                let made = running.ask(reqwest::Method::POST, "/keys", Some(wanted)).await?;
                serde_json::from_value(made).map_err(|error| nonsense(&error))
            }
            Admin::Resting(dir) => {
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
        match &self.0 {
            Admin::Running(running) => {
                let mut all = running.ask(reqwest::Method::GET, "/keys", None).await?;
                serde_json::from_value(all["keys"].take()).map_err(|error| nonsense(&error))
            }
            Admin::Resting(dir) => Ok(dir.keys().map_err(unusable)?.iter().cloned().collect()),
        }
    }

    async fn revoke(&self, key: &str) -> Result<(), CliError> {
        match &self.0 {
            Admin::Running(running) => {
                if !is_plain(key) {
                    return Err(no_key(key));
                }
                running.ask(reqwest::Method::DELETE, &format!("/keys/{key}"), None).await.map(drop)
            }
            Admin::Resting(dir) => {
                let mut keys = dir.keys().map_err(unusable)?;
                if !keys.revoke(key) {
                    return Err(no_key(key));
                }
                dir.set_keys(&keys).map_err(unusable)
            }
        }
    }
}

fn no_key(key: &str) -> CliError {
    CliError::Failed(format!("there is no key {}", key.escape_debug()))
}
