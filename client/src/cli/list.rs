//! A torrent's files as a list, numbered as `--select-file` wants them, or as a tree.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use torrent_format::Info;

use super::Context;
use super::output::printable;
use super::value::Size;

/// Prints the files; `wanted` has a flag a file, or is empty for all.
pub(crate) fn print(cx: &Context, info: &Info, wanted: &[bool]) {
    if cx.out.is_json() {
        let mut files = json(info);
        for (file, wanted) in files.iter_mut().zip(wanted) {
            file["selected"] = (*wanted).into();
        }
        cx.out
            .json(json!({"name": info.name(), "info_hash_v1": info.info_hash().to_string(), "files": files}));
        return;
    }
    for (index, file) in info.files().iter().enumerate() {
        if wanted.get(index).copied().unwrap_or(true) {
            let path = file.path.as_path().to_string_lossy();
            let (path, size) = (printable(&path), Size(file.length).to_string());
            cx.out.data(format_args!("{:>6}  {size:>9}  {path}", index + 1));
        }
    }
}

/// The files as JSON, paths with slashes.
pub(crate) fn json(info: &Info) -> Vec<Value> {
    let path = |path: &Path| path.iter().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join("/");
    info.files()
        .iter()
        .map(|file| json!({"path": path(file.path.as_path()), "length": file.length, "pad": file.pad}))
        .collect()
}

/// The files as a tree, directories with the sum of what is in them.
pub(crate) fn tree(info: &Info) -> String {
    let mut root = Node::default();
    for file in info.files() {
        let mut node = &mut root;
        node.length = node.length.saturating_add(file.length);
        for name in file.path.as_path().iter() {
            node = node.children.entry(printable(&name.to_string_lossy()).into_owned()).or_default();
            node.length = node.length.saturating_add(file.length);
        }
    }
    let mut lines = Vec::new();
    root.draw("", "", &mut lines);
    lines.join("\n")
}

#[derive(Default)]
struct Node {
    length: u64,
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
            lines.push(format!("{lead}{mark}{name}{slash}  {}", Size(child.length)));
            child.draw(&format!("{lead}{below}"), "below", lines);
        }
    }
}
