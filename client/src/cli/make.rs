//! Torrents made of files here: for `create`, and in memory for `seed`, `share` and `demo`.

use std::path::{Path, PathBuf};

use torrent_format::Metainfo;
use torrent_format::create::{Builder, Created, Plan, SkipReason, Skipped};

use super::Context;
use super::error::CliError;
use super::output::printable;
use super::progress::Meter;
use super::source::blocking;

/// Lines about what was left out; a source tree may have thousands.
const MAX_SKIPPED_LINES: usize = 10;

/// A torrent of a plain path.
#[derive(Debug)]
pub(crate) struct Made {
    /// The torrent.
    pub(crate) metainfo: Metainfo,
    /// The directory that holds the path.
    pub(crate) dir: PathBuf,
}

/// Makes a torrent of `path` in memory.
pub(crate) async fn torrent(cx: &Context, path: &Path, trackers: &[Vec<String>]) -> Result<Made, CliError> {
    let builder = Builder { trackers: trackers.to_vec(), ..Builder::new(path) };
    let plan = plan(builder).await?;
    report_skipped(cx, plan.skipped());
    let dir = directory_of(path)?;
    let created = hash(cx, plan).await?;
    Ok(Made { metainfo: created.metainfo, dir })
}

/// Finds the files.
pub(crate) async fn plan(builder: Builder) -> Result<Plan, CliError> {
    Ok(blocking(move || builder.plan()).await??)
}

/// Reads them, with progress.
pub(crate) async fn hash(cx: &Context, plan: Plan) -> Result<Created, CliError> {
    let meter = Meter::new(&cx.out, "hashing");
    let total = plan.layout().total();
    let (created, meter) = blocking(move || (plan.hash(&|done| meter.set(done, total)), meter)).await?;
    let created = created?;
    meter.sum_up("hashed", total);
    Ok(created)
}

/// Says what is there and not in the torrent, and which flag would change that.
pub(crate) fn report_skipped(cx: &Context, skipped: &[Skipped]) {
    for entry in skipped.iter().take(MAX_SKIPPED_LINES) {
        let path = entry.path.to_string_lossy();
        cx.out.note(format_args!("left out {}: {}", printable(&path), reason_text(entry.reason)));
    }
    if skipped.len() > MAX_SKIPPED_LINES {
        cx.out.note(format_args!("left out {} more", skipped.len() - MAX_SKIPPED_LINES));
    }
}

/// Why something is not in the torrent.
pub(crate) fn reason_text(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Hidden => "hidden",
        SkipReason::Junk => "system litter",
        SkipReason::Symlink => "a symbolic link",
        SkipReason::LinkOutside => "a symbolic link that leads elsewhere",
        SkipReason::LinkTarget => "a symbolic link to what is not in the torrent",
        SkipReason::Special => "neither a file nor a directory",
    }
}

/// The directory that holds `path`. What has no name of its own, as `.`, is looked up.
fn directory_of(path: &Path) -> Result<PathBuf, CliError> {
    let canonical;
    let named = if path.file_name().is_some() {
        path
    } else {
        canonical = path
            .canonicalize()
            .map_err(|source| CliError::Read { input: path.display().to_string(), source })?;
        &canonical
    };
    Ok(match named.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    })
}
