//! `sprat show --scrape`: asks the HTTP trackers how many peers they know (BEP 48), of each of the torrent's swarms.

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

/// One entry for each tracker and swarm (a hybrid torrent has two): `url`, `version`, and `seeds`, `leechers` and `downloaded` or
/// `error`. What goes wrong before a tracker has answered is one entry, without `version`.
pub(crate) async fn ask(cx: &Context, source: &Source) -> Result<Value, CliError> {
    let client = net::http_client(cx, TIMEOUT)?;
    let hashes = source.hashes();
    let swarms: Vec<(&str, InfoHash)> =
        hashes.v1().map(|v1| ("v1", v1)).into_iter().chain(hashes.v2_swarm().map(|v2| ("v2", v2))).collect();
    let trackers: Vec<String> = source.trackers().into_iter().flatten().collect();
    if !trackers.iter().any(|url| net::is_http(url)) {
        cx.out.warn(format_args!("{}: no http tracker to ask", source.label()));
    }
    let mut asking = tokio::task::JoinSet::new();
    for (number, url) in trackers.into_iter().take(MAX_TRACKERS).enumerate() {
        let (client, swarms) = (client.clone(), swarms.clone());
        asking.spawn(async move {
            let answers = match scrape(&client, &url, &swarms).await {
                Ok(entries) => swarms.iter().map(|swarm| answer(&url, *swarm, &entries)).collect(),
                Err(problem) => vec![json!({"url": url, "error": problem})],
            };
            (number, answers)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().flat_map(|(_, answers)| answers).collect())
}

/// What one tracker says of one swarm.
fn answer(url: &str, (version, info_hash): (&str, InfoHash), entries: &[(InfoHash, ScrapeEntry)]) -> Value {
    match entries.iter().find(|(hash, _)| *hash == info_hash) {
        Some((_, it)) => json!({
            "url": url, "version": version, "seeds": it.complete, "leechers": it.incomplete,
            "downloaded": it.downloaded,
        }),
        None => json!({"url": url, "version": version, "error": "the tracker does not know the torrent"}),
    }
}

/// Whether any tracker said what was asked for.
pub(crate) fn any_answered(answers: &Value) -> bool {
    answers.as_array().into_iter().flatten().any(|answer| answer.get("error").is_none())
}

/// An entry of [`ask`] for people.
pub(crate) fn text(answer: &Value) -> String {
    let url = printable(answer["url"].as_str().unwrap_or_default()).into_owned();
    let swarm = answer["version"].as_str().map(|version| format!(" ({version})")).unwrap_or_default();
    match answer["error"].as_str() {
        Some(problem) => format!("{url}{swarm}: {}", printable(problem)),
        None => format!(
            "{url}{swarm}: seeds {}, leechers {}, completed {}",
            answer["seeds"], answer["leechers"], answer["downloaded"]
        ),
    }
}

/// Asks one tracker for all of them at once.
async fn scrape(
    client: &reqwest::Client,
    url: &str,
    swarms: &[(&str, InfoHash)],
) -> Result<Vec<(InfoHash, ScrapeEntry)>, String> {
    if !net::is_http(url) {
        let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme);
        return Err(format!("not asked: {scheme}"));
    }
    let hashes: Vec<InfoHash> = swarms.iter().map(|(_, hash)| *hash).collect();
    let url = scrape_url(url, &hashes).ok_or("its URL has no form that could be asked (BEP 48)")?;
    let failed = |error: reqwest::Error| cause(&error);
    let mut response = client.get(url).send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY {
            return Err("its answer is too long".into());
        }
    }
    decode_scrape(&body).map_err(|error| error.to_string())
}
