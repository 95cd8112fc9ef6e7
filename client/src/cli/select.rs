//! Which files of a torrent are wanted: numbers, globs, and what the magnet says.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use torrent_format::Info;
use torrent_format::create::Patterns;

use super::args::Globs;
use super::error::CliError;
use super::value::{FileNumbers, plural};
use crate::engine::session::Select;

/// Which files; asked again for each torrent, once its info is known.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// From 0. Empty: all.
    numbers: Vec<RangeInclusive<usize>>,
    include: Option<Patterns>,
    exclude: Patterns,
}

impl Selection {
    /// What the flags say.
    pub(crate) fn new(numbers: Option<&FileNumbers>, globs: &Globs) -> Result<Self, CliError> {
        let numbers =
            numbers.map(|typed| typed.0.iter().map(|range| range.start() - 1..=range.end() - 1).collect());
        Ok(Self {
            numbers: numbers.unwrap_or_default(),
            include: if globs.include.is_empty() { None } else { Some(Patterns::new(&globs.include)?) },
            exclude: Patterns::new(&globs.exclude)?,
        })
    }

    /// Numbers on the command line go before those of the magnet (`so`, BEP 53, from 0).
    pub(crate) fn or_magnet(mut self, select: &[RangeInclusive<usize>]) -> Self {
        if self.numbers.is_empty() {
            self.numbers = select.to_vec();
        }
        self
    }

    /// As the session wants it.
    pub(crate) fn into_select(self) -> Select {
        Select(Arc::new(move |info| self.flags(info)))
    }

    /// One flag a file; empty: all.
    pub(crate) fn flags(&self, info: &Info) -> Result<Vec<bool>, String> {
        let files = info.files();
        let count = files.len();
        if let Some(range) = self.numbers.iter().find(|range| *range.end() >= count) {
            let files = plural(count as u64, "file");
            return Err(format!("there is no file {}: the torrent has {files}", range.end() + 1));
        }
        let wanted: Vec<bool> = files
            .iter()
            .enumerate()
            .map(|(number, file)| {
                let below_root = below_root(info, file.path.as_path());
                (self.numbers.is_empty() || self.numbers.iter().any(|range| range.contains(&number)))
                    && self.include.as_ref().is_none_or(|patterns| patterns.matches(below_root))
                    && !self.exclude.matches(below_root)
            })
            .collect();
        match wanted.iter().filter(|wanted| **wanted).count() {
            all if all == count => Ok(Vec::new()),
            0 => Err("the selection leaves no file to download".into()),
            _ => Ok(wanted),
        }
    }
}

/// A file's path as globs see it: without the torrent's own directory.
fn below_root<'a>(info: &Info, path: &'a Path) -> &'a Path {
    if info.is_single_file() {
        return path;
    }
    let mut components = path.components();
    components.next();
    components.as_path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_names_a_file_a_directory_or_a_path() {
        for (glob, path, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "docs/a.txt", true),
            ("docs", "docs/deep/a.txt", true),
            ("docs/*.txt", "docs/a.txt", true),
            ("./docs/", "docs/a.txt", true),
            ("docs/**/*.txt", "docs/deep/a.txt", true),
            ("deep/*", "docs/deep/a.txt", false),
            ("*.txt", "a.txt.bak", false),
        ] {
            assert_eq!(
                Patterns::new(&[glob.to_owned()]).unwrap().matches(Path::new(path)),
                expected,
                "{glob} {path}"
            );
        }
    }
}
