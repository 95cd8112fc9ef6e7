//! The two forms of a hybrid torrent (BEP 52, "Upgrade Path"): the same files in the same order, each beginning a piece.

use super::MetainfoError;
use super::entry::{Entry, Names};
use crate::Layout;
use crate::safe_path::excerpt;

/// One of the two forms.
pub(super) struct Form<'a, 'b> {
    pub(super) entries: &'b [Entry<'a>],
    pub(super) names: Names<'a>,
    pub(super) layout: &'b Layout,
}

/// Checks that both are of the same files, at the same places. Which file has which root is then known by the order.
///
/// Names are compared as they were written.
///
/// # Errors
/// [`MetainfoError::Inconsistent`]
pub(super) fn check(v1: Form<'_, '_>, v2: Form<'_, '_>) -> Result<(), MetainfoError> {
    let listed = v1.names.clone().zip(v1.entries).enumerate().filter(|(_, (_, entry))| !entry.attributes.pad);
    let mut in_tree = v2.names.clone().zip(v2.entries).enumerate();
    for (i, (names, entry)) in listed {
        let Some((j, (tree_names, tree_entry))) = in_tree.next() else {
            return Err(inconsistent(&names, "is not in the file tree"));
        };
        if names != tree_names {
            let elsewhere = v2.names.clone().any(|other| other == names);
            let problem = if elsewhere {
                "stands at another place in the file tree"
            } else {
                "is not in the file tree"
            };
            return Err(inconsistent(&names, problem));
        }
        if entry.length != tree_entry.length {
            return Err(inconsistent(&names, "has another length in the file tree"));
        }
        if entry.attributes.link != tree_entry.attributes.link {
            return Err(inconsistent(&names, "is a symbolic link in only one of them"));
        }
        if entry.length > 0 && v1.layout.file_range(i).start != v2.layout.file_range(j).start {
            return Err(inconsistent(&names, "is not padded to the start of its piece"));
        }
    }
    if let Some((_, (names, _))) = in_tree.next() {
        return Err(inconsistent(&names, "is only in the file tree"));
    }
    // Padding after the last file is optional, but it must not begin a piece of its own.
    if v1.layout.piece_count() != v2.layout.piece_count() {
        let last = v1.names.zip(v1.entries).filter(|(_, entry)| entry.is_on_disk()).last();
        let names = last.map(|(names, _)| names).unwrap_or_default();
        return Err(inconsistent(&names, "is followed by more padding than its piece needs"));
    }
    Ok(())
}

fn inconsistent(names: &[&[u8]], problem: &'static str) -> MetainfoError {
    let path = names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join("/");
    MetainfoError::Inconsistent { file: format!("`{}`", excerpt(&path)), problem }
}
