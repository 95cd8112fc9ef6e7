//! The info dictionary: read, checked, laid out.

use std::sync::{Arc, OnceLock};

use super::{File, Info, Inner, MetainfoError, Version, Warnings};
use crate::bencode::{Dict, List, Raw};
use crate::safe_path::{distinct_paths, excerpt};
use crate::{Alignment, InfoHash, Layout};

/// A file's entry, before its names are a path.
struct Entry<'a> {
    length: u64,
    /// The torrent's name, then the file's own.
    names: Vec<&'a [u8]>,
    pad: bool,
}

pub(super) fn read(raw: Raw<'_>) -> Result<Info, MetainfoError> {
    let info = raw.as_dict().ok_or_else(|| wrong_type("info", "a dictionary"))?;
    let mut warnings = Warnings::default();
    let version = read_version(info, &mut warnings)?;

    let name = read_name(info)?;
    let piece_length = read_piece_length(info)?;
    let hashes = info.get("pieces").ok_or(MetainfoError::Missing("pieces"))?;
    let hashes = hashes.as_bytes().ok_or_else(|| wrong_type("pieces", "a string"))?;

    let (entries, single_file) = match (info.get("length"), info.get("files")) {
        (Some(_), Some(_)) => return Err(MetainfoError::Ambiguous),
        (None, None) => return Err(MetainfoError::Missing("length` or `files")),
        (Some(_), None) => (vec![read_single(info, name, &mut warnings)?], true),
        (None, Some(files)) => {
            let files = files.as_list().ok_or_else(|| wrong_type("files", "a list"))?;
            (read_files(files, name, &mut warnings)?, false)
        }
    };

    let layout = Layout::of_files(
        piece_length,
        Alignment::EndToEnd,
        entries.iter().map(|entry| (entry.length, entry.pad)),
    )?;
    if !hashes.len().is_multiple_of(20) {
        return Err(bad_value("pieces", "is not a whole number of SHA-1 hashes"));
    }
    if hashes.len() / 20 != layout.piece_count() as usize {
        return Err(MetainfoError::PieceCount { expected: layout.piece_count(), found: hashes.len() / 20 });
    }
    let files = name_files(&entries, &mut warnings)?;

    Ok(Info {
        inner: Arc::new(Inner {
            hashes: InfoHash::of_info(raw.bytes()).into(),
            version,
            name: String::from_utf8_lossy(name).into_owned(),
            layers: files.iter().map(|_| OnceLock::new()).collect(),
            files,
            layout: Arc::new(layout),
            hashes_at: Some(hashes.as_ptr().addr() - raw.bytes().as_ptr().addr()),
            private: read_private(info, &mut warnings),
            source: read_source(info, &mut warnings),
            single_file,
            warnings: warnings.finish(),
            raw: raw.bytes().to_vec(),
        }),
    })
}

/// A torrent that has what version 1 needs is read as that, whatever else it has.
fn read_version(info: Dict<'_>, warnings: &mut Warnings) -> Result<Version, MetainfoError> {
    let Some(version) = info.get("meta version") else { return Ok(Version::V1) };
    let version = version.as_int().ok_or_else(|| wrong_type("meta version", "an integer"))?;
    let has_v1 =
        info.get("pieces").is_some() && (info.get("length").is_some() || info.get("files").is_some());
    match version {
        ..=1 => Ok(Version::V1),
        2 if !has_v1 => Err(MetainfoError::V2Only),
        3.. if !has_v1 => Err(MetainfoError::TooNew(version)),
        2 => {
            warnings.push(|| "a hybrid torrent: only its v1 form is used".to_owned());
            Ok(Version::Hybrid)
        }
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

fn read_piece_length(info: Dict<'_>) -> Result<u64, MetainfoError> {
    let length = info.get("piece length").ok_or(MetainfoError::Missing("piece length"))?;
    let length = length.as_int().ok_or_else(|| wrong_type("piece length", "an integer"))?;
    u64::try_from(length).map_err(|_| bad_value("piece length", "is negative"))
}

fn read_single<'a>(
    info: Dict<'_>,
    name: &'a [u8],
    warnings: &mut Warnings,
) -> Result<Entry<'a>, MetainfoError> {
    let mut entry = Entry { length: 0, names: vec![name], pad: false };
    read_entry(info, "length", &mut entry, warnings)?;
    Ok(entry)
}

fn read_files<'a>(
    files: List<'a>,
    name: &'a [u8],
    warnings: &mut Warnings,
) -> Result<Vec<Entry<'a>>, MetainfoError> {
    if files.is_empty() {
        return Err(bad_value("files", "is empty"));
    }
    let mut entries = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let key = |key: &str| format!("files[{i}]{key}");
        let file = file.as_dict().ok_or_else(|| wrong_type(&key(""), "a dictionary"))?;
        let mut entry = Entry { length: 0, names: vec![name], pad: false };

        let path = file.get("path").and_then(read_path);
        let path = path.ok_or_else(|| wrong_type(&key(".path"), "a list of strings"))?;
        let utf8 = file.get("path.utf-8").and_then(read_path).filter(|path| is_usable_utf8(path));
        entry.names.extend(utf8.unwrap_or(path));
        if entry.names[1..].iter().all(|name| name.is_empty()) {
            return Err(bad_value(&key(".path"), "is empty"));
        }
        read_entry(file, &key(".length"), &mut entry, warnings)?;
        entries.push(entry);
    }
    Ok(entries)
}

fn read_path(path: Raw<'_>) -> Option<Vec<&[u8]>> {
    path.as_list()?.iter().map(Raw::as_bytes).collect()
}

fn is_usable_utf8(path: &[&[u8]]) -> bool {
    !path.is_empty() && path.iter().all(|name| !name.is_empty() && str::from_utf8(name).is_ok())
}

/// The length and the attributes (BEP 47) of a file; `key` names the length.
fn read_entry(
    file: Dict<'_>,
    key: &str,
    entry: &mut Entry<'_>,
    warnings: &mut Warnings,
) -> Result<(), MetainfoError> {
    let length = file.get("length").ok_or(MetainfoError::Missing("length"))?;
    let length = length.as_int().ok_or_else(|| wrong_type(key, "an integer"))?;
    entry.length = u64::try_from(length).map_err(|_| bad_value(key, "is negative"))?;

    let attributes = file.get("attr").and_then(Raw::as_bytes).unwrap_or_default();
    entry.pad = attributes.contains(&b'p');
    if attributes.contains(&b'l') {
        if entry.length > 0 {
            return Err(bad_value(key, "is not 0, although the file is a symbolic link"));
        }
        let path = entry.names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join("/");
        warnings.push(|| format!("`{}` is a symbolic link, which is not made", excerpt(&path)));
        entry.pad = true;
    }
    Ok(())
}

fn name_files(entries: &[Entry<'_>], warnings: &mut Warnings) -> Result<Vec<File>, MetainfoError> {
    // Pad files never touch a disk, and by BEP 47 those of equal length have equal paths.
    let on_disk = entries.iter().enumerate().filter(|(_, entry)| !entry.pad);
    let numbers: Vec<usize> = on_disk.clone().map(|(i, _)| i).collect();
    let named = distinct_paths(on_disk.map(|(_, entry)| &entry.names))
        .map_err(|(i, error)| MetainfoError::Path { file: numbers[i] + 1, error })?;
    let mut named = named.into_iter();
    let mut files = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let made = match entry.pad {
            true => crate::SafePath::from_names(&entry.names),
            false => named.next().ok_or(crate::safe_path::PathError::Empty),
        };
        let made = made.map_err(|error| MetainfoError::Path { file: i + 1, error })?;
        if made.changed && !entry.pad {
            warnings.push(|| {
                format!(
                    "file {} has an unusual name: it is saved as `{}`",
                    i + 1,
                    excerpt(made.path.as_str())
                )
            });
        }
        files.push(File { path: made.path, length: entry.length, pad: entry.pad, root: None });
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
    source.as_bytes().map(|source| String::from_utf8_lossy(source).into_owned())
}

fn wrong_type(key: &str, expected: &'static str) -> MetainfoError {
    MetainfoError::WrongType { key: key.to_owned(), expected }
}

fn bad_value(key: &str, problem: &'static str) -> MetainfoError {
    MetainfoError::BadValue { key: key.to_owned(), problem }
}
