//! `sprat verify`: local data against a torrent.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use torrent_format::metainfo::File;
use torrent_format::verify::{FileStatus, Report, verify};
use torrent_format::{Info, PieceIndex};

use super::args::VerifyArgs;
use super::error::CliError;
use super::exit::Exit;
use super::output::printable;
use super::progress::Meter;
use super::source::{self, Source, blocking};
use super::value::{grouped, plural};
use super::{Context, get, list, show};

/// Bad ranges that a line names; JSON has them all.
const MAX_RANGES: usize = 10;

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
    meter.sum_up("checked", total);
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
    if !report.conflicts.is_empty() {
        let pieces = plural(report.conflicts.len() as u64, "bad piece");
        cx.out.data(format_args!(
            "{pieces} right by the hashes of one version: the torrent contradicts itself, and no data can match it"
        ));
    }
    let (bad, unknown) = (report.bad.len() as u64, report.unknown.len() as u64);
    if bad == 0 && unknown > 0 && report.files.iter().all(|status| *status == FileStatus::Ok) {
        return Err(CliError::Input {
            input: name.into_owned(),
            problem: format!(
                "{} can't be checked: the .torrent lacks piece layers",
                plural(unknown, "piece")
            ),
            hint: Some("`sprat magnet --resolve -o FILE` fetches them from the swarm".into()),
        });
    }
    if bad == 0 {
        let problem = "every piece matches, but not the length of every file";
        return Err(CliError::Mismatch(format!("{base} is not what the torrent {name} says: {problem}")));
    }
    Err(CliError::Mismatch(format!(
        "{base} is not what the torrent {name} says: {} of {} pieces are bad",
        grouped(bad),
        grouped(count.into())
    )))
}

/// A line a bad file.
fn problems<'a>(info: &'a Info, report: &'a Report) -> impl Iterator<Item = String> + 'a {
    let bad = payload(info, report).filter(|(_, _, status)| **status != FileStatus::Ok);
    bad.map(|(position, file, status)| {
        let path = file.path.as_path().to_string_lossy();
        let ranges = match status {
            FileStatus::BadPieces { .. } => ranges_text(&report.bad_ranges(info, position)),
            _ => String::new(),
        };
        format!("{}: {}{ranges}", printable(&path), status_text(status, file.length))
    })
}

/// `, bytes 0-16383, 32768-40000 and 3 more ranges`.
fn ranges_text(ranges: &[Range<u64>]) -> String {
    if ranges.is_empty() {
        return String::new();
    }
    let shown: Vec<String> =
        ranges.iter().take(MAX_RANGES).map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
    let more = match ranges.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {}", plural(more as u64, "more range")),
    };
    format!(", bytes {}{more}", shown.join(", "))
}

/// What became of each file that has a number.
fn payload<'a>(
    info: &'a Info,
    report: &'a Report,
) -> impl Iterator<Item = (usize, &'a File, &'a FileStatus)> {
    list::files(info).filter_map(|(position, file)| Some((position, file, report.files.get(position)?)))
}

fn status_text(status: &FileStatus, length: u64) -> String {
    match status {
        FileStatus::Ok => "ok".into(),
        FileStatus::Missing => "missing".into(),
        FileStatus::NotAFile => "not a file".into(),
        FileStatus::WrongLength { found } if *found > length => {
            let (found, length, more) = (grouped(*found), grouped(length), grouped(found - length));
            format!("{found} bytes instead of {length}: {more} too many")
        }
        FileStatus::WrongLength { found } => {
            format!("{} instead of {}", plural(*found, "byte"), grouped(length))
        }
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

fn numbers(pieces: &[PieceIndex]) -> Vec<u32> {
    pieces.iter().copied().map(PieceIndex::get).collect()
}

fn json(info: &Info, report: &Report) -> Value {
    let files = payload(info, report).map(|(position, file, status)| {
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
            FileStatus::BadPieces { count } => {
                entry["count"] = (*count).into();
                let ranges = report.bad_ranges(info, position).into_iter();
                let ranges =
                    ranges.map(|range| json!({"offset": range.start, "length": range.end - range.start}));
                entry["bad_ranges"] = ranges.collect();
            }
            _ => {}
        }
        entry
    });
    let mut document = json!({
        "name": info.name(),
        "version": show::version(info.version()),
        "path": report.base.display().to_string(),
        "ok": report.is_ok(),
        "piece_count": info.layout().piece_count(),
        "pieces_good": report.good.count(),
        "bad_pieces": numbers(&report.bad),
        "conflicting_pieces": numbers(&report.conflicts),
        "unknown_pieces": numbers(&report.unknown),
        "files": files.collect::<Vec<_>>(),
    });
    for (key, hash) in show::hashes(info.hashes()) {
        document[key] = hash;
    }
    document
}
