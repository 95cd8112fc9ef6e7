//! `sprat show`: what a torrent or magnet says.

use serde_json::{Map, Value, json};
use torrent_format::Magnet;
use torrent_format::lint::lint;

use super::args::ShowArgs;
use super::error::CliError;
use super::exit::Exit;
use super::output::printable;
use super::source::{self, Source};
use super::value::{Size, plural};
use super::{Context, date, dump, list, scrape};

pub(crate) async fn run(cx: &Context, args: ShowArgs) -> Result<(), CliError> {
    let mut odd = false;
    let mut unanswered = false;
    cx.out.collect(args.sources.len());
    for (index, typed) in args.sources.iter().enumerate() {
        if args.dump {
            dump::print(cx, typed).await?;
            continue;
        }
        let source = source::resolve(cx, typed).await?;
        if index > 0 && !cx.out.is_json() && args.field.is_none() && !args.lint {
            cx.out.data("");
        }
        let shown = show(cx, &source, &args).await?;
        odd |= shown.odd;
        unanswered |= shown.unanswered;
    }
    if unanswered {
        cx.out.warn("no tracker answered");
        return Err(CliError::Reported(Exit::Network));
    }
    if odd && args.lint { Err(CliError::Reported(Exit::Failure)) } else { Ok(()) }
}

/// What the exit code depends on.
struct Shown {
    /// There is something odd about the torrent.
    odd: bool,
    /// No tracker said what it was asked.
    unanswered: bool,
}

/// Shows one.
async fn show(cx: &Context, source: &Source, args: &ShowArgs) -> Result<Shown, CliError> {
    let lints = lints(source);
    let mut document = document(source);
    if args.scrape {
        document.insert("scrape".into(), scrape::ask(cx, source).await?);
    }
    let unanswered = args.scrape && !scrape::any_answered(&document["scrape"]);
    if let Some(field) = &args.field {
        return print_field(cx, &document, field).map(|()| Shown { odd: false, unanswered });
    }
    if args.lint && !cx.out.is_json() {
        lints.iter().for_each(|(name, message)| cx.out.data(format_args!("{name}: {message}")));
    } else if cx.out.is_json() {
        cx.out.json(Value::Object(document));
    } else if args.files || args.tree {
        let info = source.info().ok_or_else(|| no_info(source))?;
        if args.tree { cx.out.data(list::tree(&info)) } else { list::print(cx, &info, &[]) }
    } else {
        cx.out.data(text(source, &document));
    }
    Ok(Shown { odd: !lints.is_empty(), unanswered })
}

/// The keys that every reader of `show --json` may rely on. What a source does not say is null or empty.
fn document(source: &Source) -> Map<String, Value> {
    let magnet = source.to_magnet().to_string();
    let lints =
        lints(source).iter().map(|(name, message)| json!({"name": name, "message": message})).collect();
    let document = match source {
        Source::Torrent(metainfo) => json!({
            "name": metainfo.info.name(),
            "info_hash_v1": metainfo.info.info_hash().to_string(),
            "info_hash_v2": null,
            "version": "v1",
            "piece_length": metainfo.info.layout().piece_length(),
            "piece_count": metainfo.info.layout().piece_count(),
            "total_size": metainfo.info.layout().total(),
            "private": metainfo.info.is_private(),
            "trackers": metainfo.trackers,
            "web_seeds": metainfo.web_seeds,
            "nodes": metainfo.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>(),
            "comment": metainfo.comment,
            "source": metainfo.info.source(),
            "created_by": metainfo.created_by,
            "creation_date": metainfo.creation_date,
            "files": list::json(&metainfo.info),
            "magnet": magnet,
            "lints": lints,
        }),
        Source::Magnet(said) => of_magnet(said, magnet, lints),
    };
    match document {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}

fn of_magnet(said: &Magnet, magnet: String, lints: Value) -> Value {
    json!({
        "name": said.name,
        "info_hash_v1": said.hashes.to_string(),
        "info_hash_v2": null,
        "version": "v1",
        "piece_length": null,
        "piece_count": null,
        "total_size": said.length,
        "private": null,
        "trackers": said.trackers.iter().map(|url| [url]).collect::<Vec<_>>(),
        "web_seeds": said.web_seeds,
        "nodes": [],
        "peers": said.peers,
        "comment": null,
        "source": null,
        "created_by": null,
        "creation_date": null,
        "files": null,
        "magnet": magnet,
        "lints": lints,
    })
}

/// For people: only what is said, a line each.
fn text(source: &Source, document: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{label:<13}{value}"));
        }
    };
    let said = |key: &str| match &document[key] {
        Value::String(text) => printable(text).into_owned(),
        _ => String::new(),
    };
    line("name", said("name"));
    line("info hash", said("info_hash_v1"));
    match source {
        Source::Torrent(metainfo) => {
            let layout = metainfo.info.layout();
            let files = metainfo.info.files().len();
            let (total, length) = (Size(layout.total()), Size(layout.piece_length().into()));
            line(
                "size",
                format!("{total} ({}) in {}", plural(layout.total(), "byte"), plural(files as u64, "file")),
            );
            line("pieces", format!("{} of {length}", layout.piece_count()));
            line("private", if metainfo.info.is_private() { "yes".into() } else { String::new() });
        }
        Source::Magnet(magnet) => {
            line("size", magnet.length.map(|length| Size(length).to_string()).unwrap_or_default());
        }
    }
    for (number, tier) in source.trackers().iter().enumerate() {
        line(if number == 0 { "trackers" } else { "" }, printable(&tier.join(", ")).into_owned());
    }
    for (label, key) in [("web seeds", "web_seeds"), ("nodes", "nodes"), ("peers", "peers")] {
        let values = document.get(key).and_then(Value::as_array).into_iter().flatten();
        for (number, value) in values.filter_map(Value::as_str).enumerate() {
            line(if number == 0 { label } else { "" }, printable(value).into_owned());
        }
    }
    line("source", said("source"));
    line("comment", said("comment"));
    line("created by", said("created_by"));
    line("created", document["creation_date"].as_i64().map(date::show).unwrap_or_default());
    for answer in document.get("scrape").and_then(Value::as_array).into_iter().flatten() {
        line("scrape", scrape::text(answer));
    }
    for (number, (_, message)) in lints(source).into_iter().enumerate() {
        line(if number == 0 { "odd" } else { "" }, message);
    }
    line("magnet", said("magnet"));
    lines.join("\n")
}

/// What is odd: the name of the lint, and the oddity in words, fit for a terminal.
fn lints(source: &Source) -> Vec<(&'static str, String)> {
    let Source::Torrent(metainfo) = source else { return Vec::new() };
    let lints = lint(metainfo).into_iter().map(|lint| (lint.name(), lint.to_string()));
    lints.chain(metainfo.warnings.iter().map(|warning| ("malformed", warning.clone()))).collect()
}

fn print_field(cx: &Context, document: &Map<String, Value>, field: &str) -> Result<(), CliError> {
    match document.get(field) {
        None => {
            let known: Vec<&str> = document.keys().map(String::as_str).collect();
            Err(CliError::Usage(format!("there is no field `{field}`; there are {}", known.join(", "))))
        }
        Some(value) if cx.out.is_json() => {
            cx.out.json(json!({ field: value }));
            Ok(())
        }
        Some(Value::Null) => Ok(()),
        Some(Value::Array(items)) => {
            items.iter().for_each(|item| cx.out.data(bare(item)));
            Ok(())
        }
        Some(value) => {
            cx.out.data(bare(value));
            Ok(())
        }
    }
}

/// Text without quotes; a tier as its URLs; anything with structure as JSON.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(bare).collect::<Vec<_>>().join(",")
        }
        Value::Object(object) if object.contains_key("path") => bare(&object["path"]),
        other => other.to_string(),
    }
}

fn no_info(source: &Source) -> CliError {
    CliError::magnet_lacks(source.label(), "a magnet does not say which files there are")
}
