//! What two torrents say differently, field by field: for `show --diff`, and what `edit` has changed. Both are compared as
//! `show --json` tells them, so that whatever can be shown can be compared. What one of them does not say (a magnet says little) is
//! no difference.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use torrent_format::Info;
use torrent_format::metainfo::Extra;

use super::output::printable;
use super::source::Source;
use super::value::{Size, grouped};
use super::{date, dump, show};

/// One difference.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Change {
    /// The key of `show --json`.
    field: &'static str,
    what: What,
}

#[derive(Clone, PartialEq, Debug)]
enum What {
    /// A field's value, or that of one item in a list. Null: none.
    Changed { item: Option<String>, old: Value, new: Value },
    /// An item of a list that is not in the other.
    Removed { item: String, old: Value },
    /// An item of a list that is new.
    Added { item: String, new: Value },
    /// The same items, but not in the same order or tiers.
    Reordered,
    /// So many pieces have other hashes.
    Rehashed { count: u64, of: u64 },
}

/// Fields with one value, in the order in which they are told.
const SCALARS: [&str; 13] = [
    "name",
    "info_hash_v1",
    "info_hash_v2",
    "version",
    "total_size",
    "piece_length",
    "piece_count",
    "private",
    "source",
    "comment",
    "created_by",
    "creation_date",
    "update_url",
];

/// Fields that are lists of texts, of which a torrent has none if it does not say.
const LISTS: [&str; 5] = ["web_seeds", "http_seeds", "nodes", "similar", "collections"];

/// All differences between `old` and `new`.
pub(crate) fn changes(old: &Source, new: &Source) -> Vec<Change> {
    let (before, after) = (show::document(old), show::document(new));
    // A torrent that has no comment says so; a magnet says nothing. That one names a single hash tells nothing of the version.
    let whole = old.info().is_some() && new.info().is_some();
    let both_say = |key: &str| whole || key != "version" && !before[key].is_null() && !after[key].is_null();
    let mut changes = Vec::new();
    for field in SCALARS.into_iter().filter(|field| both_say(field) && before[*field] != after[*field]) {
        let (old, new) = (before[field].clone(), after[field].clone());
        changes.push(Change { field, what: What::Changed { item: None, old, new } });
    }
    changes.extend(of_trackers(&before["trackers"], &after["trackers"]));
    for field in LISTS {
        changes.extend(of_items(field, &by_text(&before[field]), &by_text(&after[field])));
    }
    if both_say("files") {
        changes.extend(of_files(&before, &after));
    }
    if let (Source::Torrent(old), Source::Torrent(new)) = (old, new) {
        changes.extend(of_pieces(&old.info, &new.info));
        changes.extend(of_other_keys(&old.extra, &new.extra));
    }
    changes
}

/// A line for people each, as `show` labels its fields.
pub(crate) fn text(change: &Change) -> String {
    let label = match change.field {
        "info_hash_v1" => "info hash v1",
        "info_hash_v2" => "info hash v2",
        "total_size" => "size",
        "piece_length" => "piece length",
        "piece_count" => "pieces",
        "web_seeds" => "web seeds",
        "http_seeds" => "http seeds",
        "update_url" => "update url",
        "other_keys" => "other keys",
        "created_by" => "created by",
        "creation_date" => "created",
        field => field,
    };
    let value = |value: &Value| value_text(change.field, value);
    let item = |mark: &str, item: &str, entry: &Value| {
        let size = entry["length"].as_u64().map(|length| format!("  {}", Size(length))).unwrap_or_default();
        format!("{mark} {}{size}", printable(item))
    };
    let said = match &change.what {
        What::Changed { item: None, old, new } => format!("{} → {}", value(old), value(new)),
        What::Changed { item: Some(item), old, new } => {
            let what = if change.field == "files" { file_text(old, new) } else { "another value".to_owned() };
            format!("~ {}  {what}", printable(item))
        }
        What::Removed { item: name, old } => item("-", name, old),
        What::Added { item: name, new } => item("+", name, new),
        What::Reordered => "~ in another order".to_owned(),
        What::Rehashed { count, of } => {
            format!("~ {} of {} have other hashes", grouped(*count), grouped(*of))
        }
    };
    format!("{label:<13}{said}")
}

/// As an object: `field`, `change` ("changed", "removed", "added", "reordered", "rehashed"), and what there is of `item` (a URL, a
/// path …), `old`, `new`, `count`.
pub(crate) fn json(change: &Change) -> Value {
    let field = change.field;
    match &change.what {
        What::Changed { item: None, old, new } => {
            json!({"field": field, "change": "changed", "old": old, "new": new})
        }
        What::Changed { item, old, new } => {
            json!({"field": field, "change": "changed", "item": item, "old": old, "new": new})
        }
        What::Removed { item, .. } => json!({"field": field, "change": "removed", "item": item}),
        What::Added { item, .. } => json!({"field": field, "change": "added", "item": item}),
        What::Reordered => json!({"field": field, "change": "reordered"}),
        What::Rehashed { count, .. } => json!({"field": field, "change": "rehashed", "count": count}),
    }
}

fn value_text(field: &str, value: &Value) -> String {
    match (field, value) {
        (_, Value::Null) => "none".into(),
        (_, Value::Bool(yes)) => if *yes { "yes" } else { "no" }.into(),
        (_, Value::String(text)) => printable(text).into_owned(),
        ("creation_date", value) => value.as_i64().map(date::show).unwrap_or_default(),
        ("total_size" | "piece_length", value) => {
            let bytes = value.as_u64().unwrap_or_default();
            format!("{} ({})", Size(bytes), grouped(bytes))
        }
        (_, value) => value.as_u64().map_or_else(|| value.to_string(), grouped),
    }
}

/// What became of a file.
fn file_text(old: &Value, new: &Value) -> String {
    match (old["length"].as_u64(), new["length"].as_u64()) {
        (Some(old), Some(new)) if old != new => format!("{} → {}", Size(old), Size(new)),
        _ if !same_content(old, new) => "other content".to_owned(),
        _ => "other attributes".to_owned(),
    }
}

/// Trackers by their URLs. In which tiers those are that both have matters too, but not what became of the rest.
fn of_trackers(old: &Value, new: &Value) -> Vec<Change> {
    let urls = |tiers: &Value| -> BTreeMap<String, Value> {
        tiers.as_array().into_iter().flatten().flat_map(by_text).collect()
    };
    let (before, after) = (urls(old), urls(new));
    let common = |tiers: &Value| -> Vec<Vec<String>> {
        let both = |url: &Value| {
            url.as_str()
                .filter(|url| before.contains_key(*url) && after.contains_key(*url))
                .map(str::to_owned)
        };
        let tiers = tiers.as_array().into_iter().flatten();
        let tiers =
            tiers.map(|tier| tier.as_array().into_iter().flatten().filter_map(both).collect::<Vec<_>>());
        tiers.filter(|tier| !tier.is_empty()).collect()
    };
    let mut changes = of_items("trackers", &before, &after);
    if common(old) != common(new) {
        changes.push(Change { field: "trackers", what: What::Reordered });
    }
    changes
}

/// Files and links by their paths; below the torrents' names, if those differ, which is told elsewhere.
fn of_files(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<Change> {
    let renamed = old["name"] != new["name"];
    let entries = |document: &Map<String, Value>, key: &str| -> Vec<(String, Value)> {
        let path = |entry: &Value| {
            let path = entry["path"].as_str().unwrap_or_default();
            // The file of a torrent that is one has nothing below the name.
            if renamed { path.split_once('/').map_or("", |(_, below)| below) } else { path }.to_owned()
        };
        document[key].as_array().into_iter().flatten().map(|entry| (path(entry), entry.clone())).collect()
    };
    let links = |document: &Map<String, Value>| -> BTreeMap<String, Value> {
        let links = entries(document, "symlinks").into_iter();
        links
            .map(|(path, link)| {
                (format!("{path} -> {}", link["target"].as_str().unwrap_or_default()), Value::Null)
            })
            .collect()
    };
    let (old_files, new_files) = (entries(old, "files"), entries(new, "files"));
    let (before, after) = (old_files.iter().cloned().collect(), new_files.iter().cloned().collect());
    let mut changes = of_items("files", &before, &after);
    for (path, old) in &before {
        let Some(new) = after.get(path) else { continue };
        if !same_content(old, new) || attributes(old) != attributes(new) {
            let (item, old, new) = (Some(path.clone()), old.clone(), new.clone());
            changes.push(Change { field: "files", what: What::Changed { item, old, new } });
        }
    }
    let in_both = |files: Vec<(String, Value)>| -> Vec<String> {
        let paths = files.into_iter().map(|(path, _)| path);
        paths.filter(|path| before.contains_key(path) && after.contains_key(path)).collect()
    };
    if in_both(old_files) != in_both(new_files) {
        changes.push(Change { field: "files", what: What::Reordered });
    }
    changes.extend(of_items("symlinks", &links(old), &links(new)));
    changes
}

/// By v1 hashes, which are all that a v1 torrent has to tell whether its files are others: where the pieces are as many and as long.
fn of_pieces(old: &Info, new: &Info) -> Option<Change> {
    let comparable = old.layout().piece_length() == new.layout().piece_length()
        && old.layout().piece_count() == new.layout().piece_count();
    let differs = |piece: &_| match (old.piece_hash(*piece), new.piece_hash(*piece)) {
        (Some(old), Some(new)) => old != new,
        _ => false,
    };
    let count = old.layout().pieces().filter(differs).count() as u64;
    let of = u64::from(old.layout().piece_count());
    (comparable && count > 0).then_some(Change { field: "pieces", what: What::Rehashed { count, of } })
}

/// Keys outside the info that mean nothing to us.
fn of_other_keys(old: &Extra, new: &Extra) -> Vec<Change> {
    let told = ["httpseeds", "update-url", "similar", "collections"];
    let keys = |extra: &Extra| -> BTreeMap<String, Value> {
        let entries = extra.iter().map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value));
        let entries = entries.filter(|(key, _)| !told.contains(&&**key));
        entries.map(|(key, value)| (key, dump::to_json(value))).collect()
    };
    let (before, after) = (keys(old), keys(new));
    let mut changes = of_items("other_keys", &before, &after);
    for (key, old) in &before {
        if let Some(new) = after.get(key).filter(|new| *new != old) {
            let (item, old, new) = (Some(key.clone()), old.clone(), new.clone());
            changes.push(Change { field: "other_keys", what: What::Changed { item, old, new } });
        }
    }
    changes
}

fn of_items(
    field: &'static str,
    old: &BTreeMap<String, Value>,
    new: &BTreeMap<String, Value>,
) -> Vec<Change> {
    let missing = |from: &BTreeMap<String, Value>, item: &String| !from.contains_key(item);
    let removed = old.iter().filter(|(item, _)| missing(new, item));
    let removed = removed.map(|(item, entry)| What::Removed { item: item.clone(), old: entry.clone() });
    let added = new.iter().filter(|(item, _)| missing(old, item));
    let added = added.map(|(item, entry)| What::Added { item: item.clone(), new: entry.clone() });
    removed.chain(added).map(|what| Change { field, what }).collect()
}

/// Of what can't be told (a v1 torrent has no hash a file) nothing is claimed.
fn same_content(old: &Value, new: &Value) -> bool {
    let known = !old["root"].is_null() && !new["root"].is_null();
    old["length"] == new["length"] && (!known || old["root"] == new["root"])
}

/// What a file is besides its name and its bytes.
fn attributes(file: &Value) -> Map<String, Value> {
    let mut attributes = file.as_object().cloned().unwrap_or_default();
    attributes.retain(|key, _| !matches!(&**key, "path" | "length" | "root"));
    attributes
}

fn by_text(list: &Value) -> BTreeMap<String, Value> {
    let items = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    items.map(|item| (item.to_owned(), item.into())).collect()
}
