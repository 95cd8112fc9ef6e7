//! Symbolic links that are stored as such (BEP 47): those that lead to something in the torrent.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use super::SkipReason;

/// Links by their paths below `root`, and where each leads, as a path below `root` too; or why it can't be stored.
pub(super) type Links = BTreeMap<PathBuf, Result<PathBuf, SkipReason>>;

/// Finds where these links, given by their paths below `root`, lead. `files` are the paths below `root` of what is in the torrent.
pub(super) fn resolve<'a>(
    root: &Path,
    links: Vec<PathBuf>,
    files: impl Iterator<Item = &'a Path>,
) -> std::io::Result<Links> {
    let root = root.canonicalize()?;
    let mut present = HashSet::new();
    for file in files {
        // Whatever is above a path that is known is known as well.
        let _ = file.ancestors().take_while(|path| present.insert(path.to_path_buf())).count();
    }
    let mut links: Links = links
        .into_iter()
        .map(|link| {
            let target = target(&root, &link, &present);
            (link, target)
        })
        .collect();
    // A link may lead to another, or through one; if that can't be stored, neither can this. At most as many rounds as links follow
    // each other, which the operating system limits to 40 or so.
    loop {
        let stored = |path: &Path| path.ancestors().any(|path| matches!(links.get(path), Some(Ok(_))));
        let lost: Vec<PathBuf> = links
            .iter()
            .filter(|(_, target)| {
                target.as_ref().is_ok_and(|target| !present.contains(target) && !stored(target))
            })
            .map(|(link, _)| link.clone())
            .collect();
        if lost.is_empty() {
            return Ok(links);
        }
        links.extend(lost.into_iter().map(|link| (link, Err(SkipReason::LinkTarget))));
    }
}

/// Where a link below `root`, which is canonical, leads.
fn target(root: &Path, link: &Path, present: &HashSet<PathBuf>) -> Result<PathBuf, SkipReason> {
    let path = root.join(link);
    let written = std::fs::read_link(&path).map_err(|_| SkipReason::LinkTarget)?;
    let named = normal(&path.parent().unwrap_or(root).join(written));
    // Broken links and loops.
    let Ok(real) = path.canonicalize() else {
        return Err(if named.starts_with(root) { SkipReason::LinkTarget } else { SkipReason::LinkOutside });
    };
    let real = real.strip_prefix(root).map_err(|_| SkipReason::LinkOutside)?;
    let named = named.strip_prefix(root).map_err(|_| SkipReason::LinkOutside)?;
    // `..` behind another link may lead elsewhere than it reads.
    let same = root.join(named).canonicalize().is_ok_and(|path| path == root.join(real));
    let target = if same { named } else { real };
    // The root itself has no path below it.
    match present.contains(real) && !target.as_os_str().is_empty() {
        true => Ok(target.to_owned()),
        false => Err(SkipReason::LinkTarget),
    }
}

/// The path without `.` and `..`, by its letters only.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
