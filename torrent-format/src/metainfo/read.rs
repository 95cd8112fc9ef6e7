//! The info dictionary: read, checked, laid out.

use std::sync::Arc;

use super::entry::{Entry, Names, list_names};
use super::hybrid::{self, Form};
use super::info::{File, Info, Inner, Version};
use super::layers::Layers;
use super::{MetainfoError, Warnings, bad_value, lossy, wrong_type};
use crate::bencode::{self, Dict, Limits, Raw};
use crate::file_tree::{self, Walk};
use crate::safe_path::{MAX_PATHS_LENGTH, PathError, distinct_paths, excerpt};
use crate::{Alignment, BLOCK_LENGTH, InfoHash, InfoHashV2, InfoHashes, Layout, SafePath};

/// The files as one of the forms has them.
struct Files<'a> {
    entries: Vec<Entry<'a>>,
    names: Names<'a>,
    single_file: bool,
    layout: Layout,
}

pub(super) fn read(raw: Raw<'_>) -> Result<Info, MetainfoError> {
    let info = raw.as_dict().ok_or_else(|| wrong_type("info", "a dictionary"))?;
    let mut warnings = Warnings::default();
    let version = read_version(info, &mut warnings)?;
    if version.has_v2() {
        // Nobody has ever written v2 in another form, and the order of files is that of the keys.
        bencode::scan(raw.bytes(), &Limits::INFO.strict())?;
    }
    let name = read_name(info)?;
    let piece_length = read_piece_length(info, version)?;

    let v1 = version.has_v1().then(|| read_v1(info, name, piece_length)).transpose()?;
    let v2 = version.has_v2().then(|| read_v2(info, name, piece_length)).transpose()?;
    let (files, hashes_at) = match (v1, v2) {
        (Some((mut v1, hashes)), v2) => {
            if let Some(v2) = v2 {
                hybrid::check(v1.form(), v2.form())?;
                let mut roots = v2.entries.iter().map(|entry| entry.root);
                for entry in v1.entries.iter_mut().filter(|entry| !entry.attributes.pad) {
                    entry.root = roots.next().flatten();
                }
            }
            (v1, Some(hashes.as_ptr().addr() - raw.bytes().as_ptr().addr()))
        }
        (None, Some(v2)) => (v2, None),
        (None, None) => return Err(MetainfoError::Missing("pieces")),
    };
    let Files { entries, names, single_file, layout } = files;
    let files = name_files(name, &entries, names, single_file, &mut warnings)?;
    drop(entries);

    let hashes = InfoHashes::new(
        version.has_v1().then(|| InfoHash::of_info(raw.bytes())),
        version.has_v2().then(|| InfoHashV2::of_info(raw.bytes())),
    );
    Ok(Info {
        inner: Arc::new(Inner {
            hashes: hashes.ok_or(MetainfoError::Missing("pieces"))?,
            version,
            name: lossy(name),
            layers: Layers::new(&files, layout.piece_length()),
            files,
            layout: Arc::new(layout),
            hashes_at,
            private: read_private(info, &mut warnings),
            source: read_source(info, &mut warnings),
            single_file,
            warnings: warnings.finish(),
            raw: raw.bytes().to_vec(),
        }),
    })
}

/// What is to be read of it. A torrent of a version to come that has all that version 1 needs is read as that.
fn read_version(info: Dict<'_>, warnings: &mut Warnings) -> Result<Version, MetainfoError> {
    let has = |key| info.get(key).is_some();
    let Some(version) = info.get("meta version") else { return Ok(Version::V1) };
    let version = version.as_int().ok_or_else(|| wrong_type("meta version", "an integer"))?;
    match version {
        ..=1 if !has("pieces") && has("file tree") => {
            Err(bad_value("meta version", "is not 2, although there is a `file tree`"))
        }
        ..=1 => Ok(Version::V1),
        2 if has("pieces") || has("files") || has("length") => Ok(Version::Hybrid),
        2 => Ok(Version::V2),
        3.. if !has("pieces") || !(has("files") || has("length")) => Err(MetainfoError::TooNew(version)),
        3.. => {
            warnings
                .push(|| format!("`meta version` is {version}, which is too new: only the v1 form is used"));
            Ok(Version::V1)
        }
    }
}

/// The torrent's name. `name.utf-8` is what older tools write beside a name in the encoding of their own machine.
fn read_name(info: Dict<'_>) -> Result<&[u8], MetainfoError> {
    let name = info.get("name").ok_or(MetainfoError::Missing("name"))?;
    let name = name.as_bytes().ok_or_else(|| wrong_type("name", "a string"))?;
    let utf8 = info.get("name.utf-8").and_then(Raw::as_bytes);
    let name = utf8.filter(|name| !name.is_empty() && str::from_utf8(name).is_ok()).unwrap_or(name);
    if name.is_empty() {
        return Err(bad_value("name", "is empty"));
    }
    Ok(name)
}

fn read_piece_length(info: Dict<'_>, version: Version) -> Result<u64, MetainfoError> {
    let length = info.get("piece length").ok_or(MetainfoError::Missing("piece length"))?;
    let length = length.as_int().ok_or_else(|| wrong_type("piece length", "an integer"))?;
    let length = u64::try_from(length).map_err(|_| bad_value("piece length", "is negative"))?;
    if version.has_v2() && (!length.is_power_of_two() || length < BLOCK_LENGTH.into()) {
        return Err(bad_value("piece length", "is not a power of two of at least 16 KiB, as v2 has it"));
    }
    Ok(length)
}

/// The files of BEP 3, and the hashes of their pieces.
fn read_v1<'a>(
    info: Dict<'a>,
    name: &'a [u8],
    piece_length: u64,
) -> Result<(Files<'a>, &'a [u8]), MetainfoError> {
    let hashes = info.get("pieces").ok_or(MetainfoError::Missing("pieces"))?;
    let hashes = hashes.as_bytes().ok_or_else(|| wrong_type("pieces", "a string"))?;

    let (entries, names, single_file) = match (info.get("length"), info.get("files")) {
        (Some(_), Some(_)) => return Err(MetainfoError::Ambiguous),
        (None, None) => return Err(MetainfoError::Missing("length` or `files")),
        (Some(_), None) => {
            let entry = Entry::read(info, true, &str::to_owned)?;
            (vec![entry], Names::Single(std::iter::once(name)), true)
        }
        (None, Some(files)) => {
            let files = files.as_list().ok_or_else(|| wrong_type("files", "a list"))?;
            let entries = files.iter().enumerate().map(|(i, file)| read_listed(i, file));
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            if entries.is_empty() {
                return Err(bad_value("files", "is empty"));
            }
            (entries, Names::List(files.iter()), false)
        }
    };

    let files = entries.iter().map(|entry| (entry.length, entry.attributes.pad));
    let layout = Layout::of_files(piece_length, Alignment::EndToEnd, files)?;
    if !hashes.len().is_multiple_of(20) {
        return Err(bad_value("pieces", "is not a whole number of SHA-1 hashes"));
    }
    if hashes.len() / 20 != layout.piece_count() as usize {
        return Err(MetainfoError::PieceCount { expected: layout.piece_count(), found: hashes.len() / 20 });
    }
    Ok((Files { entries, names, single_file, layout }, hashes))
}

/// An entry of `files`, by its number.
fn read_listed(i: usize, file: Raw<'_>) -> Result<Entry<'_>, MetainfoError> {
    let file = file.as_dict().ok_or_else(|| wrong_type(format!("files[{i}]"), "a dictionary"))?;
    let path = format!("files[{i}].path");
    let names = match list_names(file) {
        Ok(names) => names.ok_or_else(|| wrong_type(&path, "a list of strings"))?,
        Err(error) => return Err(MetainfoError::Path { file: i + 1, error }),
    };
    if names.iter().all(|name| name.is_empty()) {
        return Err(bad_value(path, "is empty"));
    }
    Entry::read(file, true, &|key| format!("files[{i}].{key}"))
}

/// The files of BEP 52.
fn read_v2<'a>(info: Dict<'a>, name: &'a [u8], piece_length: u64) -> Result<Files<'a>, MetainfoError> {
    let tree = info.get("file tree").ok_or(MetainfoError::Missing("file tree"))?;
    let entries = file_tree::read(tree)?;
    let walk = Walk::new(tree)?;
    // A single file is in the tree by the torrent's own name.
    let single_file = entries.len() == 1
        && walk.clone().next().is_some_and(|file| file.is_ok_and(|file| file.names == [name]));
    let lengths = entries.iter().map(|entry| (entry.length, false));
    let layout = Layout::of_files(piece_length, Alignment::Pieces, lengths)?;
    Ok(Files { entries, names: Names::Tree(walk), single_file, layout })
}

impl<'a> Files<'a> {
    fn form(&self) -> Form<'a, '_> {
        Form { entries: &self.entries, names: self.names.clone(), layout: &self.layout }
    }
}

/// Gives every file its path.
fn name_files<'a>(
    torrent: &'a [u8],
    entries: &[Entry<'a>],
    names: Names<'a>,
    single_file: bool,
    warnings: &mut Warnings,
) -> Result<Vec<File>, MetainfoError> {
    let directory = (!single_file).then_some(torrent);
    let full = names.map(move |names| directory.into_iter().chain(names).collect::<Vec<_>>());
    let all = full.zip(entries).enumerate();
    // Pad files never touch a disk, and by BEP 47 those of equal length have equal paths.
    let on_disk = all.clone().filter(|(_, (_, entry))| entry.is_on_disk());
    let named = distinct_paths(on_disk.clone().map(|(_, (names, _))| names)).map_err(|(i, error)| {
        let file = on_disk.clone().nth(i).map_or(0, |(i, _)| i) + 1;
        MetainfoError::Path { file, error }
    })?;
    let mut named = named.into_iter();
    let mut files = Vec::with_capacity(entries.len());
    let mut padding = 0;
    for (i, (names, entry)) in all {
        let made = match entry.is_on_disk() {
            true => named.next().ok_or(PathError::Empty),
            false => SafePath::from_names(&names),
        };
        let made = made.map_err(|error| MetainfoError::Path { file: i + 1, error })?;
        let path = || excerpt(made.path.as_str());
        if entry.attributes.link {
            warnings.push(|| format!("`{}` is a symbolic link, which is not made", path()));
        } else if made.changed && !entry.attributes.pad {
            warnings.push(|| format!("file {} has an unusual name: it is saved as `{}`", i + 1, path()));
        }
        if !entry.is_on_disk() {
            padding += made.path.as_str().len();
            if padding > MAX_PATHS_LENGTH {
                return Err(MetainfoError::Path { file: i + 1, error: PathError::TooLongTogether });
            }
        }
        files.push(File {
            path: made.path,
            length: entry.length,
            pad: !entry.is_on_disk(),
            root: entry.root.copied(),
            executable: entry.attributes.executable,
            hidden: entry.attributes.hidden,
            symlink: entry.symlink(),
        });
    }
    Ok(files)
}

/// Whatever is not plainly "no" counts as private: the error on this side leaks nobody's address.
fn read_private(info: Dict<'_>, warnings: &mut Warnings) -> bool {
    let Some(private) = info.get("private") else { return false };
    match private.as_int() {
        Some(0) => false,
        Some(1) => true,
        _ => {
            warnings.push(|| "`private` is neither 0 nor 1: taken as 1".to_owned());
            true
        }
    }
}

fn read_source(info: Dict<'_>, warnings: &mut Warnings) -> Option<String> {
    let source = info.get("source")?;
    if source.as_bytes().is_none() {
        warnings.push(|| "`source` is not a string: ignored".to_owned());
    }
    source.as_bytes().map(lossy)
}
