//! `sprat tracker --print-config`: the settings in force, as a settings file says them.

use std::fmt::{Display, Write as _};

use super::super::args::{Every, Store, TrackerArgs};

/// The table `[tracker]`; what is at its default and has none to name is a comment.
pub(super) fn settings(args: &TrackerArgs) -> String {
    let mut out = String::from("[tracker]\n");
    let size = args.max_memory.map(|size| size.0);
    let store = match &args.store {
        Store::Memory => "memory",
        Store::Redis(url) => url,
    };
    list(&mut out, "http", &args.http);
    list(&mut out, "udp", &args.udp);
    list(&mut out, "trust-proxy", &args.trust_proxy);
    number(&mut out, "max-connections", Some(args.max_connections));
    number(&mut out, "threads", args.threads);
    text(&mut out, "interval", Some(Every(args.interval)));
    number(&mut out, "numwant", Some(args.numwant));
    number(&mut out, "max-numwant", Some(args.max_numwant));
    number(&mut out, "max-peers", Some(args.max_peers));
    number(&mut out, "max-torrents", Some(args.max_torrents));
    number(&mut out, "max-peers-per-ip", Some(args.max_peers_per_ip));
    number(&mut out, "max-memory", size);
    text(&mut out, "allow", args.allow.as_ref().map(|path| path.display()));
    text(&mut out, "deny", args.deny.as_ref().map(|path| path.display()));
    list(&mut out, "deny-client", &args.deny_client);
    number(&mut out, "private", Some(args.private));
    text(&mut out, "state", args.state.as_ref().map(|path| path.display()));
    text(&mut out, "save-every", Some(args.save_every));
    text(&mut out, "admin", Some(args.admin));
    text(&mut out, "metrics", args.metrics);
    text(&mut out, "store", Some(store));
    text(&mut out, "sync-every", Some(args.sync_every));
    number(&mut out, "directory", Some(args.directory));
    text(&mut out, "directory-db", args.directory_db.as_ref());
    number(&mut out, "open-publish", Some(args.open_publish));
    text(&mut out, "public-url", args.public_url.as_ref());
    out
}

fn text(out: &mut String, key: &str, value: Option<impl Display>) {
    number(out, key, value.map(|value| quoted(&value.to_string())));
}

fn number(out: &mut String, key: &str, value: Option<impl Display>) {
    // A string takes everything.
    let _ = match value {
        Some(value) => writeln!(out, "{key} = {value}"),
        None => writeln!(out, "# {key} ="),
    };
}

fn list(out: &mut String, key: &str, values: &[impl Display]) {
    let values: Vec<_> = values.iter().map(|value| quoted(&value.to_string())).collect();
    number(out, key, Some(format!("[{}]", values.join(", "))).filter(|_| !values.is_empty()));
}

/// A string of TOML; those of JSON are such.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
