//! `sprat show`: what a torrent or magnet says.

use std::ffi::OsStr;

use serde_json::{Map, Value, json};
use torrent_format::lint::lint;
use torrent_format::metainfo::Version;
use torrent_format::{InfoHashes, Magnet, Metainfo};

use super::args::ShowArgs;
use super::error::CliError;
use super::exit::Exit;
use super::output::printable;
use super::source::{self, Source};
use super::value::{Size, grouped, plural};
use super::{Context, date, diff, dump, list, scrape};

pub(crate) async fn run(cx: &Context, args: ShowArgs) -> Result<(), CliError> {
    if let Some(other) = &args.diff {
        let [source] = &args.sources[..] else {
            return Err(CliError::Usage("--diff compares OTHER with one SOURCE".into()));
        };
        return compare(cx, source, other).await;
    }
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

/// Says how `new` differs from `old`; exit 1 if it does, as diff(1) has it.
async fn compare(cx: &Context, old: &OsStr, new: &OsStr) -> Result<(), CliError> {
    let (old, new) = (source::resolve(cx, old).await?, source::resolve(cx, new).await?);
    let changes = diff::changes(&old, &new);
    if cx.out.is_json() {
        let changes: Vec<Value> = changes.iter().map(diff::json).collect();
        cx.out.json(json!({"equal": changes.is_empty(), "changes": changes}));
    } else {
        changes.iter().for_each(|change| cx.out.data(diff::text(change)));
    }
    if changes.is_empty() { Ok(()) } else { Err(CliError::Reported(Exit::Failure)) }
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
pub(crate) fn document(source: &Source) -> Map<String, Value> {
    let document = match source {
        Source::Torrent(metainfo) => of_torrent(metainfo),
        Source::Magnet(said) => of_magnet(said),
    };
    let Value::Object(mut document) = document else { return Map::new() };
    let lints = lints(source).into_iter().map(|(name, message)| json!({"name": name, "message": message}));
    document.insert("lints".into(), lints.collect());
    document.insert("magnet".into(), source.to_magnet().to_string().into());
    document.extend(hashes(source.hashes()));
    document
}

/// `info_hash_v1` and `info_hash_v2`, as far as they are known.
pub(crate) fn hashes(hashes: InfoHashes) -> [(String, Value); 2] {
    let (v1, v2) = (hashes.v1().map(|hash| hash.to_string()), hashes.v2().map(|hash| hash.to_string()));
    [("info_hash_v1".into(), v1.into()), ("info_hash_v2".into(), v2.into())]
}

/// As `--format` takes it.
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::V2 => "v2",
        Version::Hybrid => "hybrid",
        _ => "v1",
    }
}

fn of_torrent(metainfo: &Metainfo) -> Value {
    let info = &metainfo.info;
    let (padding, pad_files) = list::padding(info);
    json!({
        "name": info.name(),
        "version": version(info.version()),
        "piece_length": info.layout().piece_length(),
        "piece_count": info.layout().piece_count(),
        "total_size": info.layout().total(),
        "padding": padding,
        "pad_file_count": pad_files,
        "private": info.is_private(),
        "trackers": metainfo.trackers,
        "web_seeds": metainfo.web_seeds,
        "http_seeds": metainfo.extra.http_seeds(),
        "nodes": metainfo.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>(),
        "comment": metainfo.comment,
        "source": info.source(),
        "created_by": metainfo.created_by,
        "creation_date": metainfo.creation_date,
        "update_url": metainfo.extra.update_url(),
        "similar": metainfo.similar().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "collections": metainfo.collections(),
        "files": list::json(info),
        "symlinks": list::links_json(info),
    })
}

fn of_magnet(said: &Magnet) -> Value {
    // A magnet with one hash may be a hybrid's all the same.
    let version = match (said.hashes.v1(), said.hashes.v2()) {
        (Some(_), Some(_)) => "hybrid",
        (None, _) => "v2",
        (_, None) => "v1",
    };
    json!({
        "name": said.name,
        "version": version,
        "piece_length": null,
        "piece_count": null,
        "total_size": said.length,
        "padding": null,
        "pad_file_count": null,
        "private": null,
        "trackers": said.trackers.iter().map(|url| [url]).collect::<Vec<_>>(),
        "web_seeds": said.web_seeds,
        "http_seeds": [],
        "nodes": [],
        "peers": said.peers,
        "comment": null,
        "source": null,
        "created_by": null,
        "creation_date": null,
        "update_url": null,
        "similar": [],
        "collections": [],
        "files": null,
        "symlinks": null,
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
    line("info hash v1", said("info_hash_v1"));
    line("info hash v2", said("info_hash_v2"));
    match source {
        Source::Torrent(metainfo) => {
            let layout = metainfo.info.layout();
            let (total, length) = (Size(layout.total()), Size(layout.piece_length().into()));
            let files = list::counted(&metainfo.info);
            line("version", said("version"));
            line("size", format!("{total} ({}) in {files}", plural(layout.total(), "byte")));
            line("pieces", format!("{} of {length}", grouped(layout.piece_count().into())));
            let (padding, pads) = list::padding(&metainfo.info);
            if pads > 0 {
                line("padding", format!("{} in {}", Size(padding), plural(pads as u64, "pad file")));
            }
            line("private", if metainfo.info.is_private() { "yes".into() } else { String::new() });
        }
        Source::Magnet(magnet) => {
            line("size", magnet.length.map(|length| Size(length).to_string()).unwrap_or_default());
        }
    }
    for (number, tier) in source.trackers().iter().enumerate() {
        line(if number == 0 { "trackers" } else { "" }, printable(&tier.join(", ")).into_owned());
    }
    for (label, key) in [
        ("web seeds", "web_seeds"),
        ("http seeds", "http_seeds"),
        ("nodes", "nodes"),
        ("peers", "peers"),
        ("similar", "similar"),
        ("collections", "collections"),
    ] {
        let values = document.get(key).and_then(Value::as_array).into_iter().flatten();
        for (number, value) in values.filter_map(Value::as_str).enumerate() {
            line(if number == 0 { label } else { "" }, printable(value).into_owned());
        }
    }
    line("source", said("source"));
    line("comment", said("comment"));
    line("created by", said("created_by"));
    line("update url", said("update_url"));
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
