//! What a torrent may be, but had better not be: [`lint`].

use std::collections::HashSet;
use std::fmt;

use crate::metainfo::{File, Metainfo};
use crate::safe_path::excerpt;

/// The shortest piece length that clients are used to, in bytes.
const MIN_USUAL_PIECE_LENGTH: u32 = 16 * 1024;

/// Less padding than this costs nobody anything worth a line, however small the files are: 64 MiB.
const MIN_TOLD_PADDING: u64 = 64 << 20;

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
    /// A hybrid has more padding than payload: many files are much shorter than a piece. Clients that don't know BEP 47 fetch and
    /// store it.
    MuchPadding {
        /// Bytes.
        padding: u64,
        /// Bytes of the files.
        total: u64,
    },
    /// A file of a hybrid has the path of a pad file, and clients that don't know BEP 47 take them for one.
    PadName {
        /// The first such path.
        path: String,
        /// How many more there are.
        more: usize,
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
        "much-padding",
        "pad-name",
        "non-portable-name",
        "case-collision",
    ];

    /// The name of this one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PrivateTrackerless => "private-trackerless",
            Self::UnevenPieceLength { .. } => "uneven-piece-length",
            Self::SmallPieceLength { .. } => "small-piece-length",
            Self::MuchPadding { .. } => "much-padding",
            Self::PadName { .. } => "pad-name",
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
            Self::MuchPadding { padding, total } => {
                let (padding, total) = (padding.div_ceil(1 << 20), total.div_ceil(1 << 20));
                write!(
                    f,
                    "{padding} MiB of padding for {total} MiB of files, which are much shorter than a piece"
                )
            }
            Self::PadName { path, more } => {
                write!(f, "`{}` is the name of a pad file of the torrent", excerpt(path))?;
                and_more(f, *more)
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
    let is_file = |file: &&File| !file.pad;
    let is_pad = |file: &&File| file.pad && file.length > 0;
    let checked = Checked {
        private: info.is_private(),
        has_tracker: metainfo.trackers.iter().any(|tier| !tier.is_empty()),
        piece_length: info.layout().piece_length(),
        total: info.files().iter().filter(is_file).map(|file| file.length).sum(),
        padding: info.files().iter().filter(is_pad).map(|file| file.length).sum(),
        paths: info.files().iter().filter(is_file).map(|file| file.path.as_str()),
        pads: info.files().iter().filter(is_pad).map(|file| file.path.as_str()).collect(),
    };
    checked.lints()
}

/// What is looked at, of a torrent that is there or yet to be made.
pub(crate) struct Checked<'a, P> {
    pub(crate) private: bool,
    pub(crate) has_tracker: bool,
    pub(crate) piece_length: u32,
    /// Bytes of all files.
    pub(crate) total: u64,
    /// Bytes of all pad files.
    pub(crate) padding: u64,
    /// Of the files.
    pub(crate) paths: P,
    /// Of the pad files.
    pub(crate) pads: HashSet<&'a str>,
}

impl<'a, P: Iterator<Item = &'a str> + Clone> Checked<'a, P> {
    /// What is odd about it. At most one of each kind.
    pub(crate) fn lints(self) -> Vec<Lint> {
        let Self { private, has_tracker, piece_length, total, padding, paths, pads } = self;
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
        if padding > total.max(MIN_TOLD_PADDING) {
            lints.push(Lint::MuchPadding { padding, total });
        }
        let mut padlike = paths.clone().filter(|path| pads.contains(path));
        if let Some(path) = padlike.next() {
            lints.push(Lint::PadName { path: path.to_owned(), more: padlike.count() });
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

    type Paths<'a> = std::iter::Copied<std::slice::Iter<'a, &'a str>>;

    /// A torrent of these files with nothing odd about it but their names.
    fn plain<'a>(paths: &'a [&'a str]) -> Checked<'a, Paths<'a>> {
        Checked {
            private: false,
            has_tracker: false,
            piece_length: 16_384,
            total: 1,
            padding: 0,
            paths: paths.iter().copied(),
            pads: HashSet::new(),
        }
    }

    fn names<'a>(checked: Checked<'a, Paths<'a>>) -> Vec<&'static str> {
        checked.lints().iter().map(Lint::name).collect()
    }

    #[test]
    fn each_oddity_has_its_name() {
        let none: [&str; 0] = [];
        assert_eq!(names(Checked { private: true, has_tracker: true, ..plain(&["t/a", "t/b.c"]) }), none);
        assert_eq!(names(plain(&["t"])), none);
        let odd = ["t/.pad/9", "t/a", "t/A", "nul.txt/x"];
        let all = Checked {
            private: true,
            piece_length: 10_000,
            padding: MIN_TOLD_PADDING + 1,
            pads: HashSet::from(["t/.pad/9"]),
            ..plain(&odd)
        };
        assert_eq!(names(all), Lint::NAMES);
    }

    #[test]
    fn padding_is_told_if_it_is_much_and_more_than_the_files() {
        let told = |total, padding| !names(Checked { total, padding, ..plain(&["t/a"]) }).is_empty();
        assert!(!told(1, MIN_TOLD_PADDING) && told(1, MIN_TOLD_PADDING + 1));
        assert!(!told(1 << 30, 1 << 30) && told(1 << 30, (1 << 30) + 1));
        let lints = Checked { total: 20 << 20, padding: 300 << 20, ..plain(&["t/a"]) }.lints();
        let expected = "300 MiB of padding for 20 MiB of files, which are much shorter than a piece";
        assert_eq!(lints[0].to_string(), expected);
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
        let lints = plain(&["t/a:", "t/b", "t/c:", "t/\u{202e}:"]).lints();
        let told: Vec<_> = lints.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["`t/a:` contains one of <>:\"\\|?*, which not every system can save (and 2 more)"]);
    }
}
