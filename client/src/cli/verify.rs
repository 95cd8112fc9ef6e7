//! `sprat verify`: local data against a torrent.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use torrent_format::verify::{FileStatus, Report, verify};
use torrent_format::{Info, PieceIndex};

use super::args::VerifyArgs;
use super::error::CliError;
use super::exit::Exit;
use super::output::printable;
use super::progress::Meter;
use super::source::{self, Source, blocking};
use super::value::{Rate, Size, plural};
use super::{Context, get};

pub(crate) async fn run(cx: &Context, args: VerifyArgs) -> Result<(), CliError> {
    let source = source::resolve(cx, &args.source).await?;
    let Source::Torrent(metainfo) = &source else {
        let problem = "a magnet does not hold the hashes to check against";
        return Err(CliError::magnet_lacks(source.label(), problem));
    };
    get::warn_about(cx, &source);
    let info = metainfo.info.clone();
    let root = args.path.unwrap_or_else(|| ".".into());
    let report = check(cx, &info, root, args.threads.map_or(0, std::num::NonZero::get)).await?;
    print(cx, &info, &report, args.pieces)
}

/// The first thing that is wrong with the data of this torrent below `dir`, in words; `None` if nothing is.
pub(crate) async fn first_problem(cx: &Context, info: &Info, dir: &Path) -> Result<Option<String>, CliError> {
    let report = check(cx, info, dir.to_owned(), 0).await?;
    if report.is_ok() {
        return Ok(None);
    }
    let mut problems = problems(info, &report);
    Ok(Some(problems.next().unwrap_or_else(|| pieces_text(&report))))
}

async fn check(cx: &Context, info: &Info, root: PathBuf, threads: usize) -> Result<Report, CliError> {
    let meter = Meter::new(&cx.out, "checking");
    let (info, total) = (info.clone(), info.layout().total());
    let job = move || {
        let report = verify(&info, &root, threads, &|done| meter.set(done, total));
        (report, meter)
    };
    let (report, meter) = blocking(job).await?;
    let seconds = meter.elapsed().as_secs_f64().max(0.001);
    tracing::info!("checked {} in {seconds:.1}s, {}", Size(total), Rate((total as f64 / seconds) as u64));
    Ok(report)
}

fn print(cx: &Context, info: &Info, report: &Report, pieces: bool) -> Result<(), CliError> {
    if cx.out.is_json() {
        cx.out.json(json(info, report));
        return if report.is_ok() { Ok(()) } else { Err(CliError::Reported(Exit::Mismatch)) };
    }
    let name = printable(info.name());
    let count = info.layout().piece_count();
    if report.is_ok() {
        cx.out.note(format_args!("{name}: all {} match", plural(count.into(), "piece")));
        return Ok(());
    }
    let base = report.base.display();
    if !report.base.exists() {
        return Err(CliError::Mismatch(format!("{base}: no such file or directory")));
    }
    problems(info, report).for_each(|problem| cx.out.data(problem));
    if pieces && !report.bad.is_empty() {
        cx.out.data(pieces_text(report));
    }
    let (bad, good) = (report.bad.len(), report.good.count());
    if bad == 0 {
        let problem = "every piece matches, but not the length of every file";
        return Err(CliError::Mismatch(format!("{base} is not what the torrent {name} says: {problem}")));
    }
    Err(CliError::Mismatch(format!(
        "{base} is not what the torrent {name} says: {bad} of {} pieces are bad",
        bad + good as usize
    )))
}

/// A line a bad file.
fn problems<'a>(info: &'a Info, report: &'a Report) -> impl Iterator<Item = String> + 'a {
    let bad = info.files().iter().zip(&report.files).filter(|(_, status)| **status != FileStatus::Ok);
    bad.map(|(file, status)| {
        let path = file.path.as_path().to_string_lossy();
        format!("{}: {}", printable(&path), status_text(status, file.length))
    })
}

fn status_text(status: &FileStatus, length: u64) -> String {
    match status {
        FileStatus::Ok => "ok".into(),
        FileStatus::Missing => "missing".into(),
        FileStatus::NotAFile => "not a file".into(),
        FileStatus::WrongLength { found } if *found > length => {
            format!("{found} bytes instead of {length}: {} too many", found - length)
        }
        FileStatus::WrongLength { found } => format!("{} instead of {length}", plural(*found, "byte")),
        FileStatus::BadPieces { count } => plural(u64::from(*count), "bad piece"),
        FileStatus::Unreadable { kind } => format!("can't be read: {kind}"),
    }
}

/// Bad pieces as ranges: `bad pieces: 3, 7-9`.
fn pieces_text(report: &Report) -> String {
    let ranges: Vec<String> = report
        .bad
        .chunk_by(|a, b| a.get() + 1 == b.get())
        .map(|run| match run {
            [one] => one.get().to_string(),
            run => format!("{}-{}", run[0].get(), run[run.len() - 1].get()),
        })
        .collect();
    format!("bad pieces: {}", ranges.join(", "))
}

fn json(info: &Info, report: &Report) -> Value {
    let files = info.files().iter().zip(&report.files).map(|(file, status)| {
        let state = match status {
            FileStatus::Ok => "ok",
            FileStatus::Missing => "missing",
            FileStatus::NotAFile => "not_a_file",
            FileStatus::WrongLength { .. } => "wrong_length",
            FileStatus::BadPieces { .. } => "bad_pieces",
            FileStatus::Unreadable { .. } => "unreadable",
        };
        let mut entry = json!({
            "path": file.path.as_path().to_string_lossy(), "length": file.length, "status": state,
        });
        match status {
            FileStatus::WrongLength { found } => entry["found"] = (*found).into(),
            FileStatus::BadPieces { count } => entry["count"] = (*count).into(),
            _ => {}
        }
        entry
    });
    json!({
        "name": info.name(),
        "info_hash_v1": info.info_hash().to_string(),
        "path": report.base.display().to_string(),
        "ok": report.is_ok(),
        "piece_count": info.layout().piece_count(),
        "pieces_good": report.good.count(),
        "bad_pieces": report.bad.iter().copied().map(PieceIndex::get).collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
    })
}
