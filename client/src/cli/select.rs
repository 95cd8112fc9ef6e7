//! Which files of a torrent are wanted: numbers, globs, and what the magnet says. Users count without pad files, magnets with them.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use torrent_format::Info;
use torrent_format::create::Patterns;

use super::args::Globs;
use super::error::CliError;
use super::list;
use super::value::{FileNumbers, plural};
use crate::engine::session::Select;

/// Which files; asked again for each torrent, once its info is known.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    numbers: Numbers,
    include: Option<Patterns>,
    exclude: Patterns,
}

/// Two ways to count files.
#[derive(Clone, Debug)]
enum Numbers {
    All,
    /// As `sprat show --files` counts: from 1, without pad files.
    Typed(FileNumbers),
    /// As a magnet counts (`so`, BEP 53): positions in [`Info::files`], from 0, pad files included.
    Positions(Vec<RangeInclusive<usize>>),
}

impl Selection {
    /// What the flags say.
    pub(crate) fn new(numbers: Option<&FileNumbers>, globs: &Globs) -> Result<Self, CliError> {
        Ok(Self {
            numbers: numbers.map_or(Numbers::All, |typed| Numbers::Typed(typed.clone())),
            include: if globs.include.is_empty() { None } else { Some(Patterns::new(&globs.include)?) },
            exclude: Patterns::new(&globs.exclude)?,
        })
    }

    /// Numbers on the command line go before those of the magnet.
    pub(crate) fn or_magnet(mut self, select: &[RangeInclusive<usize>]) -> Self {
        if matches!(self.numbers, Numbers::All) && !select.is_empty() {
            self.numbers = Numbers::Positions(select.to_vec());
        }
        self
    }

    /// As the session wants it.
    pub(crate) fn into_select(self) -> Select {
        Select(Arc::new(move |info| self.flags(info)))
    }

    /// One flag for each of [`Info::files`]; empty: all. Nobody wants a pad file.
    pub(crate) fn flags(&self, info: &Info) -> Result<Vec<bool>, String> {
        let count = list::count(info);
        if let Some(problem) = self.numbers.beyond(info) {
            return Err(problem);
        }
        let mut wanted = vec![false; info.files().len()];
        for (index, (position, file)) in list::files(info).enumerate() {
            let below_root = below_root(info, file.path.as_path());
            wanted[position] = self.numbers.name(index + 1, position)
                && self.include.as_ref().is_none_or(|patterns| patterns.matches(below_root))
                && !self.exclude.matches(below_root);
        }
        match wanted.iter().filter(|wanted| **wanted).count() {
            all if all == count => Ok(Vec::new()),
            0 => Err("the selection leaves no file to download".into()),
            _ => Ok(wanted),
        }
    }
}

impl Numbers {
    /// Whether the file with this number and this position is meant.
    fn name(&self, number: usize, position: usize) -> bool {
        match self {
            Self::All => true,
            Self::Typed(typed) => typed.0.iter().any(|range| range.contains(&number)),
            Self::Positions(ranges) => ranges.iter().any(|range| range.contains(&position)),
        }
    }

    /// What is wrong with them, if they name files that the torrent does not have.
    fn beyond(&self, info: &Info) -> Option<String> {
        match self {
            Self::All => None,
            Self::Typed(typed) => typed.beyond(list::count(info)),
            Self::Positions(ranges) => {
                let files = info.files().len();
                let beyond = ranges.iter().find(|range| *range.end() >= files)?;
                let files = plural(files as u64, "file");
                Some(format!("the magnet selects file {}, from 0: the torrent has {files}", beyond.end()))
            }
        }
    }
}

impl FileNumbers {
    /// What is wrong with them for a torrent of `count` files, if anything is.
    pub(crate) fn beyond(&self, count: usize) -> Option<String> {
        let beyond = self.0.iter().find(|range| *range.end() > count)?;
        Some(format!("there is no file {}: the torrent has {}", beyond.end(), plural(count as u64, "file")))
    }

    /// The same files as a magnet counts them (BEP 53). Without the info there are no pad files to be counted.
    pub(crate) fn positions(&self, info: Option<&Info>) -> Vec<RangeInclusive<usize>> {
        let Some(info) = info else {
            return self.0.iter().map(|range| range.start() - 1..=range.end() - 1).collect();
        };
        let mut ranges: Vec<RangeInclusive<usize>> = Vec::new();
        for (index, (position, _)) in list::files(info).enumerate() {
            if !self.0.iter().any(|range| range.contains(&(index + 1))) {
                continue;
            }
            match ranges.last_mut().filter(|last| last.end() + 1 == position) {
                Some(last) => *last = *last.start()..=position,
                None => ranges.push(position..=position),
            }
        }
        ranges
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
