//! `sprat search`: asks a directory.

use reqwest::Method;
use serde_json::{Value, json};
use torrent_format::Magnet;

use super::Context;
use super::args::SearchArgs;
use super::date;
use super::directory::Directory;
use super::error::CliError;
use super::output::printable;
use super::value::Size;

/// Most results that a directory gives at once.
const PAGE: u32 = 100;

pub(crate) async fn run(cx: &Context, args: SearchArgs) -> Result<(), CliError> {
    let directory = Directory::find(cx, &args.place)?;
    let query = args.query.join(" ");
    let (mut found, mut total, mut cursor) = (Vec::new(), Value::Null, String::new());
    let limit = if args.best { 1 } else { args.limit };
    while found.len() < limit as usize {
        let left = limit - u32::try_from(found.len()).unwrap_or(limit);
        let asked = [
            ("q", query.clone()),
            ("sort", args.sort.name().to_owned()),
            ("limit", left.min(PAGE).to_string()),
            ("cursor", cursor.clone()),
            ("min_seeders", args.min_seeders.map(|number| number.to_string()).unwrap_or_default()),
            ("tags", args.tags.clone().unwrap_or_default()),
        ];
        let asked: Vec<String> = asked
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect();
        let request = directory.request(Method::GET, &format!("/torrents?{}", asked.join("&")));
        let mut answer = directory.ask(request).await?;
        total = answer["total"].take();
        let Value::Array(page) = answer["torrents"].take() else { break };
        found.extend(page);
        match answer["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    if found.is_empty() && !cx.out.is_json() {
        return Err(CliError::Failed(match query.trim() {
            "" => format!("{}: nothing is listed there", directory.base()),
            query => format!("nothing is like {}", printable(query)),
        }));
    }
    if args.best {
        let Some(best) = found.first() else { return Err(CliError::Failed("nothing was found".into())) };
        let magnet = magnet(&directory, best).await?;
        if cx.out.is_json() {
            cx.out.json(json!({"magnet": magnet.to_string(), "torrent": best}));
        } else {
            cx.out.data(magnet);
        }
        return Ok(());
    }
    if cx.out.is_json() {
        cx.out.json(json!({"total": total, "torrents": found}));
        return Ok(());
    }
    for torrent in &found {
        cx.out.data(lines(torrent));
    }
    let total = total.as_u64().unwrap_or(0);
    if total > found.len() as u64 {
        cx.out.note(format_args!("{} of {total}: --limit shows more", found.len()));
    }
    Ok(())
}

/// The whole magnet, with the torrent's own trackers and web seeds. It is read, and written anew: what a directory says goes into
/// other people's command lines.
async fn magnet(directory: &Directory, torrent: &Value) -> Result<Magnet, CliError> {
    let hash = torrent["info_hash"].as_str().filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let whole = match hash {
        Some(hash) => directory.ask(directory.request(Method::GET, &format!("/torrents/{hash}"))).await?,
        None => Value::Null,
    };
    let magnet = whole["magnet"].as_str().and_then(|magnet| magnet.parse().ok());
    magnet.ok_or_else(|| CliError::Network {
        what: directory.base().to_owned(),
        problem: "the answer has no magnet".into(),
    })
}

/// Numbers and title, and below them where it is.
fn lines(torrent: &Value) -> String {
    let number = |name: &str| torrent[name].as_u64().unwrap_or(0);
    let day = i64::try_from(number("published")).ok().map(date::rfc3339_of).unwrap_or_default();
    let text = |name: &str| printable(torrent[name].as_str().unwrap_or_default()).into_owned();
    format!(
        "{:>6} up {:>6} down  {:>10}  {}  {}\n  {}",
        number("seeders"),
        number("leechers"),
        Size(number("total_size")).to_string(),
        day.get(..10).unwrap_or_default(),
        text("title"),
        text("url"),
    )
}

/// As the query of a URL carries it.
pub(crate) fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h44_a_name_does_not_reach_the_terminal_as_commands() {
        let torrent = json!({
            "title": "a\u{1b}[31m\nb", "seeders": 12, "leechers": 3, "total_size": 1536, "published": 1_795_910_400,
            "url": "http://h/torrent/\u{7}",
        });
        assert_eq!(
            lines(&torrent),
            "    12 up      3 down    1.50 KiB  2026-11-29  a\u{fffd}[31m\u{fffd}b\n  http://h/torrent/\u{fffd}"
        );
        assert_eq!(lines(&Value::Null), "     0 up      0 down         0 B  1970-01-01  \n  ");
    }
}
