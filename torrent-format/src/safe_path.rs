//! The one place that turns names from outside into paths: [`SafePath::from_names`] for one file, [`distinct_paths`] for all files
//! of a torrent. And [`printable`], which makes such names fit for a terminal.
//!
//! A torrent's names are bytes that a stranger chose. What could leave the download directory is refused; what a file system or a
//! terminal could not bear is replaced, the same way every time, and said. The info hash is of the names as they were written.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Component, Path};

use crate::InfoHash;

/// The longest element of a path, in bytes: what Linux file systems take.
pub const MAX_NAME_LENGTH: usize = 255;

/// The longest path, in bytes: Linux's PATH_MAX.
pub const MAX_PATH_LENGTH: usize = 4096;

/// The longest that all paths of a torrent may be together, in bytes. A file's own entry may be far shorter than its path: a `file tree`
/// names a directory once for all files in it, and every path begins with the torrent's name. Half a million paths of 128 bytes.
pub const MAX_PATHS_LENGTH: usize = 64 * 1024 * 1024;

/// The most elements of a path; nothing real comes near, and every element may cost a system call.
pub const MAX_PATH_DEPTH: usize = 100;

/// The longest extension, with its dot, that a shortened name keeps, in bytes.
const MAX_KEPT_EXTENSION: usize = 32;

/// A relative path that cannot leave the directory it is joined to: made of plain names only.
///
/// Invariant: UTF-8; 1 to [`MAX_PATH_DEPTH`] elements joined by `/`; none empty, `.`, `..`, longer than [`MAX_NAME_LENGTH`] or
/// with a control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SafePath(Box<str>);

/// What [`SafePath::from_names`] made of names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sanitised {
    /// The path.
    pub path: SafePath,
    /// Whether it differs from the names as they were written.
    pub changed: bool,
}

/// Names that can't be a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// An element is `..` or contains a `/`: it would lead elsewhere.
    #[error("the path `{0}` leads out of the download directory")]
    Escapes(String),
    /// No element, or only empty ones.
    #[error("a path is empty")]
    Empty,
    /// More than [`MAX_PATH_DEPTH`] elements.
    #[error("a path has {0} elements; at most {MAX_PATH_DEPTH} are allowed")]
    TooDeep(usize),
    /// Longer than [`MAX_PATH_LENGTH`].
    #[error("a path has {0} bytes; at most {MAX_PATH_LENGTH} are allowed")]
    TooLong(usize),
    /// All paths of a torrent are together longer than [`MAX_PATHS_LENGTH`].
    #[error("the paths are together longer than {MAX_PATHS_LENGTH} bytes")]
    TooLongTogether,
    /// Two files of one torrent want the same path.
    #[error("two files have the same path `{0}`")]
    Same(String),
    /// One path of a torrent is a file, and a directory that holds another file.
    #[error("`{0}` is both a file and a directory")]
    FileAndDirectory(String),
}

impl SafePath {
    /// Turns names, outermost first, into a path.
    ///
    /// Control characters (C0, DEL, C1) become `_`, what is not UTF-8 becomes U+FFFD, an empty element or `.` beside others
    /// becomes `_`, and an element above [`MAX_NAME_LENGTH`] is shortened before its extension.
    ///
    /// # Errors
    /// [`PathError::Escapes`] for an element that is `..` or contains `/`, [`PathError::Empty`] if there is nothing but empty
    /// elements, [`PathError::TooDeep`] and [`PathError::TooLong`].
    pub fn from_names(names: &[&[u8]]) -> Result<Sanitised, PathError> {
        Self::build(names, false)
    }

    /// As a path to join to a directory.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The elements, joined by `/`. May hold bidirectional marks: print it through [`printable`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The elements, outermost first.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The path without its first element, which is the torrent's name; `None` if there is no other.
    pub fn below_first(&self) -> Option<&Path> {
        self.0.split_once('/').map(|(_, rest)| Path::new(rest))
    }

    /// `marked`: every element that must be changed also gets a hash of what was written, so that different names stay different.
    fn build(names: &[&[u8]], marked: bool) -> Result<Sanitised, PathError> {
        if names.iter().all(|name| name.is_empty()) {
            return Err(PathError::Empty);
        }
        if names.len() > MAX_PATH_DEPTH {
            return Err(PathError::TooDeep(names.len()));
        }
        // A name may be that of every file; what is longer than a whole path is not worth shortening a million times.
        if let Some(name) = names.iter().find(|name| name.len() > MAX_PATH_LENGTH) {
            return Err(PathError::TooLong(name.len()));
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum::<usize>() - 1);
        let mut changed = false;
        for (i, name) in names.iter().enumerate() {
            if *name == b".." || name.contains(&b'/') {
                let joined =
                    names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join("/");
                return Err(PathError::Escapes(excerpt(&joined)));
            }
            if i > 0 {
                path.push('/');
            }
            let clean = clean_element(name);
            let differs = clean.as_bytes() != *name;
            changed |= differs;
            match marked && differs {
                true => path.push_str(&mark_element(&clean, name)),
                false => path.push_str(&clean),
            }
        }
        if path.len() > MAX_PATH_LENGTH {
            return Err(PathError::TooLong(path.len()));
        }
        debug_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
        Ok(Sanitised { path: Self(path.into_boxed_str()), changed })
    }
}

/// Turns the names of all files of a torrent into paths of which none is another or lies below another.
///
/// If paths meet only because names had to be changed, those that were changed get a hash of what was written. Which path a
/// file gets does not depend on the order of the files.
///
/// # Errors
/// As [`SafePath::from_names`]; and [`PathError::Same`] or [`PathError::FileAndDirectory`] if paths meet as they were written.
/// With the error comes which file.
pub fn distinct_paths<'a, N, I>(files: I) -> Result<Vec<Sanitised>, (usize, PathError)>
where
    N: AsRef<[&'a [u8]]>,
    I: Iterator<Item = N> + Clone,
{
    let mut paths = Vec::new();
    let mut length = 0;
    for (i, names) in files.clone().enumerate() {
        let made = SafePath::from_names(names.as_ref()).map_err(|error| (i, error))?;
        length += made.path.as_str().len();
        if length > MAX_PATHS_LENGTH {
            return Err((i, PathError::TooLongTogether));
        }
        paths.push(made);
    }

    let mut to_mark = vec![false; paths.len()];
    for (upper, lower) in conflicts(&paths) {
        if !paths[upper].changed && !paths[lower].changed {
            return Err((lower, conflict_error(&paths[upper].path, &paths[lower].path)));
        }
        to_mark[upper] |= paths[upper].changed;
        to_mark[lower] |= paths[lower].changed;
    }
    if !to_mark.contains(&true) {
        return Ok(paths);
    }
    for (i, names) in files.enumerate().filter(|&(i, _)| to_mark[i]) {
        paths[i] = SafePath::build(names.as_ref(), true).map_err(|error| (i, error))?;
    }
    match conflicts(&paths).first() {
        Some(&(upper, lower)) => Err((lower, conflict_error(&paths[upper].path, &paths[lower].path))),
        None => Ok(paths),
    }
}

/// Text from outside, fit for a terminal or a log: control characters, line separators and marks that reorder text become
/// U+FFFD.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        Cow::Owned(text.replace(is_unprintable, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The beginning of a text from outside, fit for a line of a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 100;
    let start = &text[..text.floor_char_boundary(LENGTH)];
    let dots = if start.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", printable(start))
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn clean_element(name: &[u8]) -> Cow<'_, str> {
    if name.is_empty() || name == b"." {
        return Cow::Borrowed("_");
    }
    let text = String::from_utf8_lossy(name);
    let text = match text.contains(char::is_control) {
        true => Cow::Owned(text.replace(char::is_control, "_")),
        false => text,
    };
    match text.len() > MAX_NAME_LENGTH {
        true => Cow::Owned(shorten(&text, "")),
        false => text,
    }
}

/// Puts a hash of what was written before the extension.
fn mark_element(clean: &str, written: &[u8]) -> String {
    let hash = InfoHash::of_info(written);
    let mark = hash.0[..8].iter().fold(String::from("-"), |mut mark, byte| {
        let _ = write!(mark, "{byte:02x}");
        mark
    });
    shorten(clean, &mark)
}

/// `name` with `mark` before its extension, cut to [`MAX_NAME_LENGTH`] bytes before the mark.
fn shorten(name: &str, mark: &str) -> String {
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_KEPT_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    };
    let room = MAX_NAME_LENGTH - mark.len() - extension.len();
    format!("{}{mark}{extension}", &stem[..stem.floor_char_boundary(room)])
}

/// Pairs of files of which the second has the path of the first, or lies below it.
fn conflicts(paths: &[Sanitised]) -> Vec<(usize, usize)> {
    // Compared element by element, whatever lies below a path comes straight after it.
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_by(|&a, &b| paths[a].path.elements().cmp(paths[b].path.elements()));
    let mut found = Vec::new();
    let mut upper: Option<usize> = None;
    for &lower in &order {
        match upper {
            Some(upper) if is_at_or_below(paths[upper].path.as_str(), paths[lower].path.as_str()) => {
                found.push((upper, lower));
            }
            _ => upper = Some(lower),
        }
    }
    found
}

fn is_at_or_below(upper: &str, lower: &str) -> bool {
    lower.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn conflict_error(upper: &SafePath, lower: &SafePath) -> PathError {
    let text = excerpt(upper.as_str());
    if upper == lower { PathError::Same(text) } else { PathError::FileAndDirectory(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&[u8]]) -> Result<(String, bool), PathError> {
        SafePath::from_names(names).map(|made| (made.path.as_str().to_owned(), made.changed))
    }

    fn all(files: &[&[&[u8]]]) -> Result<Vec<String>, (usize, PathError)> {
        let paths = distinct_paths(files.iter())?;
        Ok(paths.into_iter().map(|made| made.path.as_str().to_owned()).collect())
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let escapes = |text: &str| Err(PathError::Escapes(text.to_owned()));
        assert_eq!(path(&[b".."]), escapes(".."), "M30");
        assert_eq!(path(&[b"t", b"..", b"x"]), escapes("t/../x"), "M30");
        assert_eq!(path(&[b"../../etc/x"]), escapes("../../etc/x"), "M31");
        assert_eq!(path(&[b"/abs"]), escapes("/abs"), "M32");
        assert_eq!(path(&[b"t", b"a/../../b"]), escapes("t/a/../../b"), "M33");
        assert_eq!(path(&[b"\x1b[2J", b".."]), escapes("\u{fffd}[2J/.."), "the error is fit for a terminal");
        assert_eq!(path(&[]), Err(PathError::Empty), "M37");
        assert_eq!(path(&[b"", b""]), Err(PathError::Empty), "M37");
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in [
            "a\\..\\b",
            "CON",
            "NUL.txt",
            "COM1",
            "dot.",
            "space ",
            "foo:bar",
            "~",
            "-rf",
            ".git",
            "...",
            "ä",
            "e\u{301}",
            "\u{202b}rtl",
            "lrm\u{200e}",
        ] {
            assert_eq!(path(&[name.as_bytes()]), Ok((name.to_owned(), false)), "M34, M44–M48, M50, M52, M53");
        }
        assert_eq!(
            path(&[b".ssh", b"authorized_keys"]),
            Ok((".ssh/authorized_keys".to_owned(), false)),
            "M50"
        );
    }

    #[test]
    fn what_a_file_system_or_terminal_can_not_bear_is_replaced() {
        for (id, names, expected) in [
            ("M35", &[&b"t"[..], b"."][..], "t/_"),
            ("M35", &[b"."], "_"),
            ("M36", &[b"t", b"", b"x"], "t/_/x"),
            ("M38", &[b"a\0b"], "a_b"),
            ("M39", &[b"\x01\x1f\x7f\x1b[31m\n"], "____[31m_"),
            ("M39", &["c1\u{9b}".as_bytes()], "c1_"),
            ("M43", &[b"\xc0\xae\xc0\xae"], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("M43", &[b"latin \xe4"], "latin \u{fffd}"),
            ("M49", &[b"\xed\xa0\x80"], "\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(path(names), Ok((expected.to_owned(), true)), "{id}");
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = |stem: usize, rest: &str| format!("{}{rest}", "n".repeat(stem));
        assert_eq!(path(&[long(255, "").as_bytes()]), Ok((long(255, ""), false)), "M40");
        assert_eq!(path(&[long(300, ".tar").as_bytes()]), Ok((long(251, ".tar"), true)), "M40");
        assert_eq!(
            path(&[format!(".{}", long(300, "")).as_bytes()]),
            Ok((format!(".{}", long(254, "")), true)),
            "M40"
        );
        // Cut between characters, not within one.
        assert_eq!(path(&["ä".repeat(200).as_bytes()]), Ok(("ä".repeat(127), true)), "M40");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        assert!(path(&[&b"d"[..]; 100]).is_ok(), "M42");
        assert_eq!(path(&[&b"d"[..]; 101]), Err(PathError::TooDeep(101)), "M42");
        let element = [b'e'; 255];
        assert!(path(&[&element[..]; 16]).is_ok(), "M41");
        assert_eq!(path(&[&element[..]; 17]), Err(PathError::TooLong(17 * 256 - 1)), "M41");
    }

    #[test]
    fn two_files_never_share_a_path() {
        assert_eq!(
            all(&[&[b"t", b"a"], &[b"t", b"b"], &[b"t", b"a"]]),
            Err((2, PathError::Same("t/a".to_owned()))),
            "M51"
        );
        let both = PathError::FileAndDirectory("t/a".to_owned());
        assert_eq!(all(&[&[b"t", b"a-b"], &[b"t", b"a", b"b"], &[b"t", b"a"]]), Err((1, both)), "M54");
        assert_eq!(all(&[&[b"t", b"A.txt"], &[b"t", b"a.txt"]]).unwrap(), ["t/A.txt", "t/a.txt"], "M52");
    }

    #[test]
    fn names_that_meet_once_changed_are_told_apart_by_what_was_written() {
        let made =
            all(&[&[b"t", b"\x01.txt"], &[b"t", b"_.txt"], &[b"t", b"\x02.txt"], &[b"t", b"\x03"]]).unwrap();
        assert_eq!(made, ["t/_-c819db537b041fbf.txt", "t/_.txt", "t/_-0c65062a37dd5b78.txt", "t/_"], "M55");
        let made = all(&[&[b"t", b"\x01"], &[b"t", b"_", b"x"], &[b"t", b"\x02", b"y"]]).unwrap();
        assert_eq!(made, ["t/_-bf8b4530d8d246dd", "t/_/x", "t/_-c4ea21bb365bbeea/y"], "M54");
    }

    #[test]
    fn many_equal_names_take_no_longer_than_sorting_them() {
        // M56, M57
        assert!(matches!(all(&[&[&b"t"[..], b"x"][..]; 100_000]), Err((_, PathError::Same(_)))));
        let names: Vec<_> = (0..100_000).map(|i| format!("{}{i:06}", "n".repeat(300))).collect();
        let paths = distinct_paths(names.iter().map(|name| [&b"t"[..], name.as_bytes()])).unwrap();
        let distinct: std::collections::HashSet<_> = paths.iter().map(|made| made.path.as_str()).collect();
        assert_eq!(distinct.len(), 100_000);
    }

    #[test]
    fn printed_text_commands_no_terminal() {
        assert_eq!(printable("plain – text"), "plain – text");
        assert_eq!(
            printable("\x1b[31mred\r\n\u{202e}x\u{2066}\u{9b}"),
            "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}x\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn random_names_stay_below_the_root() {
        let mut rng = fastrand::Rng::with_seed(0x5afe);
        let pieces: [&[u8]; 12] =
            [b".", b"..", b"/", b"\\", b"\0", b"a", b"\xff", b"\x1b", b":", b" ", b"\xc0\xae", b"-"];
        for _ in 0..20_000 {
            let names: Vec<Vec<u8>> = (0..rng.usize(0..5))
                .map(|_| {
                    (0..rng.usize(0..4)).flat_map(|_| rng.choice(pieces).unwrap().iter().copied()).collect()
                })
                .collect();
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            if let Ok(made) = SafePath::from_names(&names) {
                assert_eq!(made.path.as_path().components().count(), names.len(), "{names:?}");
                assert!(
                    made.path.as_path().components().all(|part| matches!(part, Component::Normal(_))),
                    "{names:?}"
                );
            }
        }
    }
}
