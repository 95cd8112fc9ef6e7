//! `sprat tracker token`: asks the running tracker, or changes the tokens that it will start with.
#![expect(clippy::disallowed_methods, reason = "tokens are random and have dates")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tracker::tokens::{Scope, Token, new_token};

use super::super::args::{TokenCommand, TokenScope};
use super::super::error::CliError;
use super::super::{Context, date};
use super::admin::{Admin, is_plain, nonsense, unusable};

pub(super) async fn run(cx: &Context, command: TokenCommand, state: Option<PathBuf>) -> Result<(), CliError> {
    match command {
        TokenCommand::Create { scope, expires, comment, place } => {
            let scope = match scope {
                TokenScope::Publish => Scope::Publish,
                TokenScope::Admin => Scope::Admin,
            };
            let admin = Admin::find(&place, state)?;
            let (secret, token) = create(&admin, scope, expires, comment).await?;
            if cx.out.is_json() {
                cx.out.json(json!({"secret": secret, "token": token}));
            } else {
                cx.out.data(secret);
            }
        }
        TokenCommand::List { place } => {
            let all = list(&Admin::find(&place, state)?).await?;
            if cx.out.is_json() {
                cx.out.json(json!({"tokens": all}));
            } else {
                all.iter().for_each(|token| cx.out.data(line(token)));
            }
        }
        TokenCommand::Revoke { id, place } => revoke(&Admin::find(&place, state)?, &id).await?,
    }
    Ok(())
}

/// Id, scope, end and comment, with tabs between them.
fn line(token: &Token) -> String {
    let end = token.expires.and_then(|expires| i64::try_from(expires).ok()).map(date::rfc3339_of);
    let comment: String =
        token.comment.as_deref().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let scope = match token.scope {
        Scope::Publish => "publish",
        Scope::Admin => "admin",
    };
    format!("{}\t{scope}\t{}\t{comment}", token.id, end.as_deref().unwrap_or("never"))
}

async fn create(
    admin: &Admin,
    scope: Scope,
    expires: Option<Duration>,
    comment: Option<String>,
) -> Result<(String, Token), CliError> {
    let expires = expires.map(|expires| expires.as_secs());
    match admin {
        Admin::Running(running) => {
            let wanted = json!({"scope": scope, "expires_s": expires, "comment": comment});
            let mut made = running.ask(reqwest::Method::POST, "/tokens", Some(wanted)).await?;
            let secret = made["secret"].as_str().unwrap_or_default().to_owned();
            let token = serde_json::from_value(made["token"].take()).map_err(|error| nonsense(&error))?;
            Ok((secret, token))
        }
        Admin::Resting(dir) => {
            let mut random = [0; 20];
            getrandom::fill(&mut random).map_err(|error| CliError::Failed(error.to_string()))?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let (secret, token) = new_token(random, scope, now, expires, comment);
            let mut tokens = dir.tokens().map_err(unusable)?;
            if !tokens.add(token.clone()) {
                return Err(CliError::Failed("there are as many tokens as there can be".into()));
            }
            dir.set_tokens(&tokens).map_err(unusable)?;
            Ok((secret, token))
        }
    }
}

async fn list(admin: &Admin) -> Result<Vec<Token>, CliError> {
    match admin {
        Admin::Running(running) => {
            let mut all = running.ask(reqwest::Method::GET, "/tokens", None).await?;
            serde_json::from_value(all["tokens"].take()).map_err(|error| nonsense(&error))
        }
        Admin::Resting(dir) => Ok(dir.tokens().map_err(unusable)?.iter().cloned().collect()),
    }
}

async fn revoke(admin: &Admin, id: &str) -> Result<(), CliError> {
    let unknown = || CliError::Failed(format!("there is no token {}", id.escape_debug()));
    match admin {
        Admin::Running(_) if !is_plain(id) => Err(unknown()),
        Admin::Running(running) => {
            running.ask(reqwest::Method::DELETE, &format!("/tokens/{id}"), None).await.map(drop)
        }
        Admin::Resting(dir) => {
            let mut tokens = dir.tokens().map_err(unusable)?;
            if !tokens.revoke(id) {
                return Err(unknown());
            }
            dir.set_tokens(&tokens).map_err(unusable)
        }
    }
}
