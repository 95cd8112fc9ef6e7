//! Files that sprat makes: complete under their own name, or not there at all.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use torrent_format::create::PlannedFile;

use super::Context;
use super::error::CliError;

/// Writes `bytes` to a temporary name beside `path`, makes them durable, and renames. `-` is standard output. Without `force`, what is
/// there stays.
pub(crate) fn whole(cx: &Context, path: &Path, bytes: &[u8], force: bool) -> Result<(), CliError> {
    if path.as_os_str() == "-" {
        cx.out.bytes(bytes);
        return Ok(());
    }
    if path.file_name().is_none_or(std::ffi::OsStr::is_empty) || path.is_dir() {
        return Err(CliError::Write { path: path.to_owned(), source: io::ErrorKind::IsADirectory.into() });
    }
    refuse_existing(path, force)?;
    save(path, bytes, force, None)
}

/// Writes `bytes` in place of the file `path`, as [`whole`] does, and with its permissions. `path` is no link: that would be replaced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let metadata = path.metadata();
    let metadata = metadata.map_err(|source| CliError::Write { path: path.to_owned(), source })?;
    save(path, bytes, true, Some(metadata.permissions()))
}

fn save(path: &Path, bytes: &[u8], force: bool, permissions: Option<Permissions>) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::Write { path: path.to_owned(), source };
    // Opened here, with the mode that any program makes a file with, and written to past the wrapper: the errors of `tempfile` quote
    // the temporary name, which nobody has typed.
    let mut file = tempfile::Builder::new()
        .prefix(".sprat-")
        .make_in(directory_of(path), |temporary| {
            OpenOptions::new().write(true).create_new(true).open(temporary)
        })
        .map_err(failed)?;
    let handle = file.as_file_mut();
    if let Some(permissions) = permissions {
        handle.set_permissions(permissions).map_err(failed)?;
    }
    handle.write_all(bytes).and_then(|()| handle.sync_all()).map_err(failed)?;
    let renamed = if force { file.persist(path) } else { file.persist_noclobber(path) };
    match renamed {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CliError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(error.error)),
    }
}

/// Says early, before hours of hashing, that `path` is taken.
pub(crate) fn refuse_existing(path: &Path, force: bool) -> Result<(), CliError> {
    if !force && path.as_os_str() != "-" && path.symlink_metadata().is_ok() {
        return Err(CliError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Refuses an output that is the payload or lies inside it: it would destroy what has just been hashed, or make the torrent untrue.
/// `files` may lie elsewhere, if symbolic links were followed.
pub(crate) fn refuse_inside(output: &Path, payload: &Path, files: &[PlannedFile]) -> Result<(), CliError> {
    if output.as_os_str() == "-" {
        return Ok(());
    }
    let Some(target) = resolved(output) else { return Ok(()) };
    // The payload by the name that was typed, which may be a link, and by its real one.
    let roots = [resolved(payload), payload.canonicalize().ok()];
    let inside = roots.iter().flatten().any(|root| target.starts_with(root));
    if inside || files.iter().any(|file| file.source.canonicalize().is_ok_and(|real| real == target)) {
        let (output, payload) = (output.display(), payload.display());
        return Err(CliError::Usage(format!(
            "the output {output} lies inside the data of {payload}: name another place with --output"
        )));
    }
    Ok(())
}

/// The real directory of `path`, and its own name: what a rename to it replaces.
fn resolved(path: &Path) -> Option<PathBuf> {
    match path.file_name() {
        Some(name) => Some(directory_of(path).canonicalize().ok()?.join(name)),
        None => path.canonicalize().ok(),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
