//! What a torrent may be, but had better not be: [`lint`].

use std::collections::HashSet;
use std::fmt;

use crate::metainfo::{File, Metainfo};
use crate::safe_path::excerpt;

/// The shortest piece length that clients are used to, in bytes.
const MIN_USUAL_PIECE_LENGTH: u32 = 16 * 1024;

/// Something odd about a torrent that was or is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lint {
    /// Private, but without a tracker nobody can find a peer (BEP 27).
    PrivateTrackerless,
    /// The piece length is not a power of two, which some clients refuse.
    UnevenPieceLength {
        /// Bytes.
        piece_length: u32,
    },
    /// The piece length is below 16 KiB, which some clients refuse.
    SmallPieceLength {
        /// Bytes.
        piece_length: u32,
    },
    /// Other systems can't save a file by this name.
    NonPortableName {
        /// The first such path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
        /// How many more there are.
        more: usize,
    },
    /// Two paths differ only by case, and other systems take them for one.
    CaseCollision {
        /// The first such path.
        path: String,
        /// How many more there are.
        more: usize,
    },
}

impl Lint {
    /// The names of all lints, as `--allow-lint` takes them.
    pub const NAMES: &[&str] = &[
        "private-trackerless",
        "uneven-piece-length",
        "small-piece-length",
        "non-portable-name",
        "case-collision",
    ];

    /// The name of this one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PrivateTrackerless => "private-trackerless",
            Self::UnevenPieceLength { .. } => "uneven-piece-length",
            Self::SmallPieceLength { .. } => "small-piece-length",
            Self::NonPortableName { .. } => "non-portable-name",
            Self::CaseCollision { .. } => "case-collision",
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let and_more = |f: &mut fmt::Formatter<'_>, more: usize| match more {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        };
        match self {
            Self::PrivateTrackerless => f.write_str("a private torrent without a tracker finds no peers"),
            Self::UnevenPieceLength { piece_length } => {
                write!(f, "piece length {piece_length} is not a power of two")
            }
            Self::SmallPieceLength { piece_length } => {
                write!(f, "piece length {piece_length} is less than 16 KiB")
            }
            Self::NonPortableName { path, problem, more } => {
                write!(f, "`{}` {problem}, which not every system can save", excerpt(path))?;
                and_more(f, *more)
            }
            Self::CaseCollision { path, more } => {
                write!(f, "`{}` differs only by case from another path", excerpt(path))?;
                and_more(f, *more)
            }
        }
    }
}

/// What is odd about a torrent. At most one of each kind.
pub fn lint(metainfo: &Metainfo) -> Vec<Lint> {
    let info = &metainfo.info;
    let has_tracker = metainfo.trackers.iter().any(|tier| !tier.is_empty());
    let paths = info.files().iter().filter(|file: &&File| !file.pad).map(|file| file.path.as_str());
    check(info.is_private(), has_tracker, info.layout().piece_length(), paths)
}

/// As [`lint`], for a torrent that is yet to be made.
pub(crate) fn check<'a>(
    private: bool,
    has_tracker: bool,
    piece_length: u32,
    paths: impl Iterator<Item = &'a str> + Clone,
) -> Vec<Lint> {
    let mut lints = Vec::new();
    if private && !has_tracker {
        lints.push(Lint::PrivateTrackerless);
    }
    if !piece_length.is_power_of_two() {
        lints.push(Lint::UnevenPieceLength { piece_length });
    }
    if piece_length < MIN_USUAL_PIECE_LENGTH {
        lints.push(Lint::SmallPieceLength { piece_length });
    }
    let mut odd = paths
        .clone()
        .filter_map(|path| path.split('/').find_map(name_problem).map(|problem| (path, problem)));
    if let Some((path, problem)) = odd.next() {
        lints.push(Lint::NonPortableName { path: path.to_owned(), problem, more: odd.count() });
    }
    let mut folded = HashSet::new();
    let mut colliding = paths.filter(|path| !folded.insert(path.to_lowercase()));
    if let Some(path) = colliding.next() {
        lints.push(Lint::CaseCollision { path: path.to_owned(), more: colliding.count() });
    }
    lints
}

/// What Windows, or a file system made for it, has against a name.
fn name_problem(name: &str) -> Option<&'static str> {
    const DEVICES: &[&str] = &["CON", "PRN", "AUX", "NUL"];
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered =
        |prefix| stem.strip_prefix(prefix).is_some_and(|n: &str| matches!(n.as_bytes(), [b'1'..=b'9']));
    if DEVICES.contains(&&*stem) || numbered("COM") || numbered("LPT") {
        return Some("is the name of a device on Windows");
    }
    if name.ends_with(['.', ' ']) {
        return Some("ends with a dot or a space");
    }
    name.contains(['<', '>', ':', '"', '\\', '|', '?', '*']).then_some("contains one of <>:\"\\|?*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(private: bool, has_tracker: bool, piece_length: u32, paths: &[&str]) -> Vec<&'static str> {
        check(private, has_tracker, piece_length, paths.iter().copied()).iter().map(Lint::name).collect()
    }

    #[test]
    fn each_oddity_has_its_name() {
        let none: [&str; 0] = [];
        assert_eq!(names(true, true, 16_384, &["t/a", "t/b.c"]), none);
        assert_eq!(names(false, false, 16_384, &["t"]), none);
        assert_eq!(names(true, false, 10_000, &["t/a", "t/A", "nul.txt/x"]), Lint::NAMES);
    }

    #[test]
    fn names_that_not_every_system_can_save_are_told() {
        // M45–M47
        for name in ["CON", "nul.txt", "Com1", "LPT9.a.b", "aux .x", "a.", "a ", "a:b", "a\\b", "what?"] {
            assert!(name_problem(name).is_some(), "{name}");
        }
        for name in ["CONSOLE", "com", "com0", "COM10", "a.b", ".hidden", "-rf", "~", "ä"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
    }

    #[test]
    fn many_of_a_kind_are_one_line() {
        let lints = check(false, false, 16_384, ["t/a:", "t/b", "t/c:", "t/\u{202e}:"].into_iter());
        let told: Vec<_> = lints.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["`t/a:` contains one of <>:\"\\|?*, which not every system can save (and 2 more)"]);
    }
}
