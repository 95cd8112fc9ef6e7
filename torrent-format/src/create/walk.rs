//! Which files of a directory go into a torrent.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use globset::{Glob, GlobSet, GlobSetBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::{CreateError, links};
use crate::SafePath;

/// Which files of a directory are taken.
///
/// A pattern is matched against the path below the directory (`*` also matches `/`), and, if it has no `/`, against every name in
/// it: `*.txt` means text files at any depth, `target` whatever is below any `target`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Walk {
    /// If there are any: only files that match one, or are below a directory that does.
    pub include: Vec<String>,
    /// No file that matches one, or is below a directory that does. Goes before `include`.
    pub exclude: Vec<String>,
    /// Leave out what `.gitignore` files say, and `.git`.
    pub gitignore: bool,
    /// Take files and directories whose names begin with a dot.
    pub hidden: bool,
    /// Take what desktops leave behind, such as `Thumbs.db`.
    pub junk: bool,
    /// What to do with symbolic links.
    pub symlinks: Symlinks,
}

/// What to do with symbolic links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Symlinks {
    /// Leave them out.
    #[default]
    Skip,
    /// Take what they point to.
    Follow,
    /// Take them as links (BEP 47), if they lead to something in the torrent. Links to directories are not walked.
    Store,
}

/// Something that is there and was not taken, although nobody asked to leave it out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Skipped {
    /// Its path below the directory.
    pub path: PathBuf,
    /// Why not.
    pub reason: SkipReason,
}

/// Why something was not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SkipReason {
    /// Its name begins with a dot.
    Hidden,
    /// A desktop left it behind.
    Junk,
    /// A symbolic link; if links are followed, one that leads nowhere.
    Symlink,
    /// A symbolic link that leads out of the directory, and so can't be stored.
    LinkOutside,
    /// A symbolic link to what is not in the torrent, and so can't be stored.
    LinkTarget,
    /// Neither a file nor a directory: a FIFO, a socket, a device.
    Special,
}

/// A file to be taken.
pub(super) struct Found {
    /// Where it is.
    pub(super) source: PathBuf,
    /// Its path below the directory.
    pub(super) relative: PathBuf,
    /// If it is a symbolic link to be stored: where it leads, below the directory.
    pub(super) link: Option<PathBuf>,
}

/// The files below `root`, in no particular order.
pub(super) fn walk(root: &Path, options: &Walk) -> Result<(Vec<Found>, Vec<Skipped>), CreateError> {
    let filter = Arc::new(Filter::new(root, options)?);
    let entries = WalkBuilder::new(root)
        .standard_filters(false)
        .git_ignore(options.gitignore)
        .git_exclude(options.gitignore)
        .parents(options.gitignore)
        .require_git(false)
        .follow_links(options.symlinks == Symlinks::Follow)
        .filter_entry({
            let filter = Arc::clone(&filter);
            move |entry| filter.passes(entry)
        })
        .build();

    let mut found = Vec::new();
    let mut links = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => match dangling(&error) {
                Some(link) => {
                    filter.skip(link.strip_prefix(root).unwrap_or(link), SkipReason::Symlink);
                    continue;
                }
                None => return Err(io_error(root, error)),
            },
        };
        let relative = filter.relative(&entry);
        let Some(kind) = entry.file_type().filter(|_| filter.is_included(relative)) else { continue };
        if kind.is_symlink() {
            links.push(relative.to_owned());
        } else if kind.is_file() {
            found.push(Found { relative: relative.to_owned(), source: entry.into_path(), link: None });
        }
    }
    if !links.is_empty() {
        let files = found.iter().map(|file| file.relative.as_path());
        let links = links::resolve(root, links, files)
            .map_err(|source| CreateError::Io { path: root.to_owned(), source })?;
        for (relative, target) in links {
            match target {
                Ok(target) => {
                    found.push(Found { source: root.join(&relative), relative, link: Some(target) });
                }
                Err(reason) => filter.skip(&relative, reason),
            }
        }
    }
    let mut skipped =
        std::mem::take(&mut *filter.skipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    skipped.sort();
    Ok((found, skipped))
}

/// The path that these names make, if everybody can save them as they are.
pub(super) fn check_names(source: &Path, names: &[&str]) -> Result<SafePath, CreateError> {
    let error = |problem: String| CreateError::Name { path: source.to_owned(), problem };
    let bytes: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let made = SafePath::from_names(&bytes).map_err(|problem| error(problem.to_string()))?;
    match made.changed {
        true => Err(error(format!("it would be saved as `{}`", made.path.as_str()))),
        false => Ok(made.path),
    }
}

/// The link that can't be followed because it leads nowhere, if that is the error.
fn dangling(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => dangling(err),
        ignore::Error::WithPath { path, err } => {
            let missing = err.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
            let link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            (missing && link).then_some(path.as_path())
        }
        _ => None,
    }
}

struct Filter {
    root: PathBuf,
    options: Walk,
    include: Patterns,
    exclude: Patterns,
    skipped: Mutex<Vec<Skipped>>,
}

impl Filter {
    fn new(root: &Path, options: &Walk) -> Result<Self, CreateError> {
        Ok(Self {
            root: root.to_owned(),
            include: Patterns::new(&options.include)?,
            exclude: Patterns::new(&options.exclude)?,
            options: options.clone(),
            skipped: Mutex::default(),
        })
    }

    /// Whether to take a file, or to look into a directory.
    fn passes(&self, entry: &DirEntry) -> bool {
        if entry.depth() == 0 {
            return true;
        }
        let relative = self.relative(entry);
        if self.exclude.match_one(relative) || (self.options.gitignore && entry.file_name() == ".git") {
            return false;
        }
        let Some(reason) = self.skip_reason(entry) else { return true };
        self.skip(relative, reason);
        false
    }

    fn skip(&self, relative: &Path, reason: SkipReason) {
        if let Ok(mut skipped) = self.skipped.lock() {
            skipped.push(Skipped { path: relative.to_owned(), reason });
        }
    }

    fn skip_reason(&self, entry: &DirEntry) -> Option<SkipReason> {
        let name = entry.file_name().as_encoded_bytes();
        let junk = is_junk(name);
        if junk && !self.options.junk {
            return Some(SkipReason::Junk);
        }
        // Who asks for `.DS_Store` as junk need not ask for it again as hidden.
        if !junk && !self.options.hidden && name.starts_with(b".") {
            return Some(SkipReason::Hidden);
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            return (self.options.symlinks != Symlinks::Store).then_some(SkipReason::Symlink);
        }
        (!kind.is_file() && !kind.is_dir()).then_some(SkipReason::Special)
    }

    fn is_included(&self, relative: &Path) -> bool {
        self.options.include.is_empty() || self.include.matches(relative)
    }

    fn relative<'a>(&self, entry: &'a DirEntry) -> &'a Path {
        entry.path().strip_prefix(&self.root).unwrap_or(entry.path())
    }
}

/// Patterns as [`Walk`] describes them: for whole paths, and those of them without a `/` for any name.
#[derive(Clone, Debug)]
pub struct Patterns {
    paths: GlobSet,
    names: GlobSet,
}

impl Patterns {
    /// Reads them.
    ///
    /// # Errors
    /// [`CreateError::Pattern`] names the one that is none.
    pub fn new(patterns: &[String]) -> Result<Self, CreateError> {
        let mut paths = GlobSetBuilder::new();
        let mut names = GlobSetBuilder::new();
        let error = |pattern: &str, problem: &globset::Error| CreateError::Pattern {
            pattern: pattern.to_owned(),
            problem: problem.kind().to_string(),
        };
        for pattern in patterns {
            // As typed after a directory's name has been completed by a shell, or copied from the output of find.
            let trimmed = pattern.trim_end_matches('/').trim_start_matches("./");
            let glob = Glob::new(trimmed).map_err(|problem| error(pattern, &problem))?;
            if !trimmed.contains('/') {
                names.add(glob.clone());
            }
            paths.add(glob);
        }
        let build = |set: GlobSetBuilder| set.build().map_err(|problem| error(&patterns.join(" "), &problem));
        Ok(Self { paths: build(paths)?, names: build(names)? })
    }

    /// Whether the path, or a directory above it, matches.
    pub fn matches(&self, path: &Path) -> bool {
        path.ancestors().filter(|path| *path != Path::new("")).any(|path| self.match_one(path))
    }

    fn match_one(&self, path: &Path) -> bool {
        self.paths.is_match(path) || path.file_name().is_some_and(|name| self.names.is_match(name))
    }
}

/// What Windows, macOS, NAS and browsers leave in directories.
fn is_junk(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[b"Thumbs.db", b"ehthumbs.db", b"Desktop.ini", b".DS_Store", b"@eaDir"];
    NAMES.iter().any(|junk| junk.eq_ignore_ascii_case(name)) || name.ends_with(b":Zone.Identifier")
}

fn io_error(root: &Path, error: ignore::Error) -> CreateError {
    fn path_of(error: &ignore::Error) -> Option<&Path> {
        match error {
            ignore::Error::WithPath { path, .. } => Some(path),
            ignore::Error::Loop { child, .. } => Some(child),
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
            _ => None,
        }
    }
    let path = path_of(&error).unwrap_or(root).to_owned();
    let text = error.to_string();
    CreateError::Io { path, source: error.into_io_error().unwrap_or_else(|| std::io::Error::other(text)) }
}
