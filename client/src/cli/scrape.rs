//! `sprat show --scrape`: asks the HTTP trackers how many peers they know (BEP 48).

use std::time::Duration;

use serde_json::{Value, json};
use torrent_format::InfoHash;
use torrent_format::announce::http::{ScrapeEntry, decode_scrape, scrape_url};

use super::Context;
use super::error::CliError;
use super::net;
use super::output::printable;
use super::source::{Source, cause};

/// How long a tracker may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes: one torrent's figures need a hundred.
const MAX_REPLY: usize = 64 << 10;

/// Trackers that are asked; the rest of a long list are copies of each other.
const MAX_TRACKERS: usize = 20;

/// One entry a tracker: `url`, and `seeds`, `leechers` and `downloaded` or `error`.
pub(crate) async fn ask(cx: &Context, source: &Source) -> Result<Value, CliError> {
    let client = net::http_client(TIMEOUT)?;
    let info_hash = source.hashes().primary();
    let trackers: Vec<String> = source.trackers().into_iter().flatten().collect();
    if !trackers.iter().any(|url| net::is_http(url)) {
        cx.out.warn(format_args!("{}: no http tracker to ask", source.label()));
    }
    let mut asking = tokio::task::JoinSet::new();
    for (number, url) in trackers.into_iter().take(MAX_TRACKERS).enumerate() {
        let client = client.clone();
        asking.spawn(async move {
            let answer = match scrape(&client, &url, info_hash).await {
                Ok(it) => json!({
                    "url": url, "seeds": it.complete, "leechers": it.incomplete, "downloaded": it.downloaded,
                }),
                Err(problem) => json!({"url": url, "error": problem}),
            };
            (number, answer)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Whether any tracker said what was asked for.
pub(crate) fn any_answered(answers: &Value) -> bool {
    answers.as_array().into_iter().flatten().any(|answer| answer.get("error").is_none())
}

/// An entry of [`ask`] for people.
pub(crate) fn text(answer: &Value) -> String {
    let url = printable(answer["url"].as_str().unwrap_or_default()).into_owned();
    match answer["error"].as_str() {
        Some(problem) => format!("{url}: {}", printable(problem)),
        None => format!(
            "{url}: seeds {}, leechers {}, completed {}",
            answer["seeds"], answer["leechers"], answer["downloaded"]
        ),
    }
}

async fn scrape(client: &reqwest::Client, url: &str, info_hash: InfoHash) -> Result<ScrapeEntry, String> {
    if !net::is_http(url) {
        let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme);
        return Err(format!("not asked: {scheme}"));
    }
    let url = scrape_url(url, &[info_hash]).ok_or("its URL has no form that could be asked (BEP 48)")?;
    let failed = |error: reqwest::Error| cause(&error);
    let mut response = client.get(url).send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY {
            return Err("its answer is too long".into());
        }
    }
    let entries = decode_scrape(&body).map_err(|error| error.to_string())?;
    let entry = entries.into_iter().find(|(hash, _)| *hash == info_hash).map(|(_, entry)| entry);
    entry.ok_or_else(|| "the tracker does not know the torrent".into())
}
