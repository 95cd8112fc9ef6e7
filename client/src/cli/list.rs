//! A torrent's files as users see them: as a list, numbered as `--select-file` wants them, or as a tree. Pad files (BEP 47) are
//! nobody's files: they are neither listed nor numbered, only counted. Symbolic links are listed, but have no number: there is nothing
//! to download.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use torrent_format::Info;
use torrent_format::metainfo::File;

use super::output::printable;
use super::value::{Size, plural};
use super::{Context, dump, show};

/// The files that have a number, in its order, from 1. With each its position in [`Info::files`], by which the engine and magnets
/// (BEP 53) count.
pub(crate) fn files(info: &Info) -> impl Iterator<Item = (usize, &File)> {
    info.files().iter().enumerate().filter(|(_, file)| !file.pad)
}

/// How many those are.
pub(crate) fn count(info: &Info) -> usize {
    files(info).count()
}

/// `3 files`, `3 files and 1 link`.
pub(crate) fn counted(info: &Info) -> String {
    let files = plural(count(info) as u64, "file");
    match links(info).count() {
        0 => files,
        links => format!("{files} and {}", plural(links as u64, "link")),
    }
}

/// The symbolic links, and where they lead from the torrent's directory.
pub(crate) fn links(info: &Info) -> impl Iterator<Item = (&File, &str)> {
    info.files().iter().filter_map(|file| Some((file, file.symlink.as_deref()?)))
}

/// How many bytes of padding the torrent has, in how many pad files.
pub(crate) fn padding(info: &Info) -> (u64, usize) {
    let pads = info.files().iter().filter(|file| file.pad && file.symlink.is_none());
    pads.fold((0, 0), |(bytes, count), pad| (bytes + pad.length, count + 1))
}

/// Prints the files; `wanted` has a flag for each of [`Info::files`], or is empty for all.
pub(crate) fn print(cx: &Context, info: &Info, wanted: &[bool]) {
    if cx.out.is_json() {
        let mut entries = json(info);
        if !wanted.is_empty() {
            for (entry, (position, _)) in entries.iter_mut().zip(files(info)) {
                entry["selected"] = wanted.get(position).copied().unwrap_or(true).into();
            }
        }
        let mut document = Map::from_iter(show::hashes(info.hashes()));
        document.insert("name".into(), info.name().into());
        document.insert("files".into(), entries.into());
        document.insert("symlinks".into(), links_json(info).into());
        cx.out.json(Value::Object(document));
        return;
    }
    let mut number = 0;
    for (position, file) in info.files().iter().enumerate() {
        let path = file.path.as_path().to_string_lossy();
        let path = printable(&path);
        if let Some(target) = file.symlink.as_deref().filter(|_| wanted.is_empty()) {
            cx.out.data(format_args!("{:>6}  {:>9}  {path} -> {}", "", "link", printable(target)));
        }
        number += usize::from(!file.pad);
        if !file.pad && wanted.get(position).copied().unwrap_or(true) {
            let size = Size(file.length).to_string();
            cx.out.data(format_args!("{number:>6}  {size:>9}  {path}{}", attributes(file)));
        }
    }
}

/// What BEP 47 can say of a file, for people.
fn attributes(file: &File) -> &'static str {
    match (file.executable, file.hidden) {
        (false, false) => "",
        (true, false) => "  (executable)",
        (false, true) => "  (hidden)",
        (true, true) => "  (executable, hidden)",
    }
}

/// The files as JSON, paths with slashes, roots of hash trees (BEP 52) in hex, attributes only if they are set.
pub(crate) fn json(info: &Info) -> Vec<Value> {
    files(info)
        .map(|(_, file)| {
            let mut entry = json!({"path": slashed(file), "length": file.length});
            if let Some(root) = file.root {
                entry["root"] = dump::hex(&root).into();
            }
            for (name, _) in
                [("executable", file.executable), ("hidden", file.hidden)].iter().filter(|(_, set)| *set)
            {
                entry[*name] = true.into();
            }
            entry
        })
        .collect()
}

/// The symbolic links as JSON.
pub(crate) fn links_json(info: &Info) -> Vec<Value> {
    links(info).map(|(link, target)| json!({"path": slashed(link), "target": target})).collect()
}

fn slashed(file: &File) -> String {
    file.path.as_path().iter().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The files as a tree, directories with the sum of what is in them.
pub(crate) fn tree(info: &Info) -> String {
    let mut root = Node::default();
    for file in info.files().iter().filter(|file| !file.pad || file.symlink.is_some()) {
        let mut node = &mut root;
        node.length = node.length.saturating_add(file.length);
        for name in file.path.as_path().iter() {
            node = node.children.entry(printable(&name.to_string_lossy()).into_owned()).or_default();
            node.length = node.length.saturating_add(file.length);
        }
        node.target = file.symlink.as_deref().map(|target| printable(target).into_owned());
    }
    let mut lines = Vec::new();
    root.draw("", "", &mut lines);
    lines.join("\n")
}

#[derive(Default)]
struct Node {
    length: u64,
    /// Where it leads, if it is a symbolic link.
    target: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    /// Draws what is below. `lead` is what stands before each of its lines.
    ///
    /// Recursion is bounded: a path that a torrent may have has a bounded number of components.
    fn draw(&self, lead: &str, branch: &str, lines: &mut Vec<String>) {
        let last = self.children.len().saturating_sub(1);
        for (index, (name, child)) in self.children.iter().enumerate() {
            let (mark, below) = match (branch, index == last) {
                ("", _) => ("", ""),
                (_, false) => ("├── ", "│   "),
                (_, true) => ("└── ", "    "),
            };
            let slash = if child.children.is_empty() { "" } else { "/" };
            lines.push(match &child.target {
                Some(target) => format!("{lead}{mark}{name} -> {target}"),
                None => format!("{lead}{mark}{name}{slash}  {}", Size(child.length)),
            });
            child.draw(&format!("{lead}{below}"), "below", lines);
        }
    }
}
