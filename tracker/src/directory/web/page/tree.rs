//! A torrent's files as a tree.

use std::collections::BTreeMap;

use maud::{Markup, html};
use torrent_format::Info;
use torrent_format::safe_path::printable;

use super::search::grouped;
use crate::directory::web::present::MAX_FILES;
use crate::directory::web::size;

/// Files up to which all directories stand open.
const FEW: usize = 40;

/// Deepest directory that has a level of its own; what is below it is shown by its path.
const MAX_DEPTH: usize = 12;

/// What lies in a directory.
#[derive(Debug, Default)]
struct Directory {
    directories: BTreeMap<String, Directory>,
    files: Vec<(String, u64)>,
    /// Of all that is below.
    size: u64,
}

impl Directory {
    fn add(&mut self, path: &[&str], length: u64, depth: usize) {
        self.size = self.size.saturating_add(length);
        match path {
            [name, rest @ ..] if !rest.is_empty() && depth < MAX_DEPTH => {
                self.directories.entry((*name).to_owned()).or_default().add(rest, length, depth + 1);
            }
            _ => self.files.push((path.join("/"), length)),
        }
    }

    fn show(&self, is_open: bool) -> Markup {
        html! {
            @for (name, directory) in &self.directories {
                li {
                    details open[is_open] {
                        summary { span.what dir="auto" { (name) } span.n { (size::show(directory.size)) } }
                        ul { (directory.show(is_open)) }
                    }
                }
            }
            @for (name, length) in &self.files {
                li { div.row { span.what dir="auto" { (name) } span.n { (size::show(*length)) } } }
            }
        }
    }
}

pub(super) fn tree(info: &Info) -> Markup {
    let files: Vec<_> = info.files().iter().filter(|file| !file.pad).collect();
    let mut root = Directory::default();
    for file in files.iter().take(MAX_FILES) {
        let path = printable(file.path.as_str());
        root.add(&path.split('/').collect::<Vec<_>>(), file.length, 0);
    }
    html! {
        ul.tree { (root.show(files.len() <= FEW)) }
        @if files.len() > MAX_FILES {
            p.soft { "and " (grouped((files.len() - MAX_FILES) as u64)) " more" }
        }
    }
}
