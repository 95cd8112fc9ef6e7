//! `sprat show --scrape`: asks the trackers how many peers they know (BEP 48, over UDP BEP 15), of each of the torrent's swarms.

use serde_json::{Value, json};
use torrent_format::InfoHash;
use torrent_format::announce::http::ScrapeEntry;

use super::Context;
use super::error::CliError;
use super::output::printable;
use super::source::Source;
use crate::engine::announce::{Announcer, can_ask};
use crate::engine::net::Outside;
use crate::engine::session::SessionError;

/// Trackers that are asked; the rest of a long list are copies of each other.
const MAX_TRACKERS: usize = 20;

/// One entry for each tracker and swarm (a hybrid torrent has two): `url`, `version`, and `seeds`, `leechers` and `downloaded` or
/// `error`. What goes wrong before a tracker has answered is one entry, without `version`.
pub(crate) async fn ask(cx: &Context, source: &Source) -> Result<Value, CliError> {
    let outside = Outside::new(cx.via.clone()).map_err(SessionError::from)?;
    let announcer = Announcer::new(&outside).map_err(SessionError::Http)?;
    let hashes = source.hashes();
    let swarms: Vec<(&str, InfoHash)> =
        hashes.v1().map(|v1| ("v1", v1)).into_iter().chain(hashes.v2_swarm().map(|v2| ("v2", v2))).collect();
    let trackers: Vec<String> = source.trackers().into_iter().flatten().collect();
    if !trackers.iter().any(|url| can_ask(url)) {
        cx.out.warn(format_args!("{}: no http or udp tracker to ask", source.label()));
    }
    let mut asking = tokio::task::JoinSet::new();
    for (number, url) in trackers.into_iter().take(MAX_TRACKERS).enumerate() {
        let (announcer, swarms) = (announcer.clone(), swarms.clone());
        asking.spawn(async move {
            let hashes: Vec<InfoHash> = swarms.iter().map(|(_, hash)| *hash).collect();
            let scraped = match can_ask(&url) {
                true => announcer.scrape(&url, &hashes).await,
                false => Err(format!("not asked: {}", url.split_once(':').map_or("no scheme", |(it, _)| it))),
            };
            let answers = match scraped {
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
