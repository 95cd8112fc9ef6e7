//! `sprat create`: makes a .torrent of a file or directory.

use std::path::{Path, PathBuf};

use serde_json::json;
use torrent_format::create::{Builder, CreateError, Created, Plan, Walk};
use torrent_format::lint::Lint;
use torrent_format::{Magnet, Metainfo};

use super::args::{CreateArgs, PieceLength, Print};
use super::error::CliError;
use super::value::{Size, plural};
use super::{Context, list, magnet, make, show, write};

/// What `created by` says if nothing else is asked for. The same for the same program, so that its files can be made again.
const CREATED_BY: &str = concat!("sprat ", env!("CARGO_PKG_VERSION"));

pub(crate) async fn run(cx: &Context, args: CreateArgs) -> Result<(), CliError> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && cx.out.is_json() {
        return Err(CliError::Usage("--json and --output - both want standard output".into()));
    }
    if to_stdout && !args.dry_run && args.print != Print::Path {
        return Err(CliError::Usage("--print and --output - both want standard output".into()));
    }
    let plan = make::plan(builder(cx, &args)?).await.map_err(|error| in_words_of_flags(&args, error))?;
    let output = output_path(&args, &plan);
    if !args.dry_run {
        write::refuse_inside(&output, &args.path, plan.files())?;
        write::refuse_existing(&output, args.force)?;
    }
    check_lints(cx, &plan, &args.allow_lint)?;
    make::report_skipped(cx, plan.skipped());
    let created = make::hash(cx, plan).await?;
    if !args.dry_run {
        write::whole(cx, &output, &created.bytes, args.force)?;
    }
    report(cx, &args, &output, &created);
    Ok(())
}

fn builder(cx: &Context, args: &CreateArgs) -> Result<Builder, CliError> {
    let none_or = |text: &String| (text != "none").then(|| text.clone());
    Ok(Builder {
        format: args.format.into(),
        piece_length: match args.piece_length {
            PieceLength::Auto => torrent_format::create::PieceLength::Auto,
            PieceLength::Bytes(bytes) => torrent_format::create::PieceLength::Exactly(bytes),
        },
        trackers: args.tracker.iter().map(|tier| tier.0.clone()).collect(),
        web_seeds: args.web_seed.iter().map(|seed| seed.0.clone()).collect(),
        nodes: args.node.iter().map(|node| (node.host.clone(), node.port)).collect(),
        private: args.private,
        source: args.source.clone(),
        comment: args.comment.clone(),
        name: args.name.clone(),
        created_by: args.created_by.as_ref().map_or_else(|| Some(CREATED_BY.to_owned()), none_or),
        creation_date: creation_date(cx, args)?,
        walk: Walk {
            include: args.globs.include.clone(),
            exclude: args.globs.exclude.clone(),
            gitignore: args.gitignore,
            hidden: args.hidden,
            junk: args.junk,
            symlinks: args.symlinks.into(),
        },
        threads: args.threads.map_or(0, std::num::NonZero::get),
        ..Builder::new(&args.path)
    })
}

/// A refusal that is due to a flag names the flag.
fn in_words_of_flags(args: &CreateArgs, error: CliError) -> CliError {
    match error {
        CliError::Create(CreateError::Name { path, problem }) if args.name.is_some() && path == args.path => {
            CliError::Usage(format!("--name: {problem}"))
        }
        CliError::Create(CreateError::NoFiles { path })
            if !args.globs.include.is_empty() || !args.globs.exclude.is_empty() =>
        {
            let problem = "--include and --exclude leave no file".to_owned();
            CliError::Input { input: path.display().to_string(), problem, hint: None }
        }
        error => error,
    }
}

/// `--date`, else SOURCE_DATE_EPOCH (reproducible-builds.org), else none.
fn creation_date(cx: &Context, args: &CreateArgs) -> Result<Option<i64>, CliError> {
    let (None, Some(epoch)) = (args.date, cx.var("SOURCE_DATE_EPOCH")) else {
        return Ok(args.date.and_then(|date| date.0));
    };
    let seconds = epoch.to_str().and_then(|text| text.parse::<i64>().ok()).filter(|seconds| *seconds >= 0);
    let problem = || format!("SOURCE_DATE_EPOCH is `{}`, not seconds since 1970", epoch.display());
    seconds.map(Some).ok_or_else(|| CliError::Configuration(problem()))
}

/// `--output`, by default NAME.torrent here; in a directory by that name.
fn output_path(args: &CreateArgs, plan: &Plan) -> PathBuf {
    let default = format!("{}.torrent", plan.name());
    match &args.output {
        None => default.into(),
        Some(dir) if dir.is_dir() => dir.join(default),
        Some(path) => path.clone(),
    }
}

/// What would make the torrent useless to many, and was asked for, is refused; what only may trouble some is told.
fn check_lints(cx: &Context, plan: &Plan, allowed: &[String]) -> Result<(), CliError> {
    for lint in plan.lints().into_iter().filter(|lint| !allowed.iter().any(|name| name == lint.name())) {
        match lint {
            Lint::PrivateTrackerless | Lint::UnevenPieceLength { .. } | Lint::SmallPieceLength { .. } => {
                return Err(CliError::Lint(lint));
            }
            _ => cx.out.warn(lint),
        }
    }
    Ok(())
}

fn report(cx: &Context, args: &CreateArgs, output: &Path, created: &Created) {
    let Metainfo { info, .. } = &created.metainfo;
    let layout = info.layout();
    let (total, length, pieces) =
        (Size(layout.total()), Size(layout.piece_length().into()), layout.piece_count());
    let dry = if args.dry_run { " (nothing was written)" } else { "" };
    let magnet = Magnet::from_metainfo(&created.metainfo);
    let (padding, _) = list::padding(info);
    if cx.out.is_json() {
        cx.out.json(json!({
            "path": output.display().to_string(),
            "written": !args.dry_run,
            "name": info.name(),
            "info_hash_v1": info.hashes().v1().map(|hash| hash.to_string()),
            "info_hash_v2": info.hashes().v2().map(|hash| hash.to_string()),
            "version": show::version(info.version()),
            "piece_length": layout.piece_length(),
            "piece_count": pieces,
            "total_size": layout.total(),
            "padding": padding,
            "file_count": list::count(info),
            "magnet": magnet.to_string(),
            "skipped": created.skipped.iter().map(|entry| json!({
                "path": entry.path.to_string_lossy(), "reason": make::reason_text(entry.reason),
            })).collect::<Vec<_>>(),
        }));
        return;
    }
    let (files, pieces) = (list::counted(info), plural(pieces.into(), "piece"));
    let auto = if args.piece_length == PieceLength::Auto { " (auto)" } else { "" };
    let version = match padding {
        0 => show::version(info.version()).to_owned(),
        bytes => format!("{} with {} of padding", show::version(info.version()), Size(bytes)),
    };
    let hash = info.hashes();
    cx.out.note(format_args!("{total} in {files}, {pieces} of {length}{auto}, {version}, {hash}{dry}"));
    match args.print {
        // The .torrent itself went there.
        _ if output.as_os_str() == "-" && !args.dry_run => {}
        Print::Path => cx.out.path(output),
        Print::InfoHash => {
            info.hashes().v1().into_iter().for_each(|hash| cx.out.data(hash));
            info.hashes().v2().into_iter().for_each(|hash| cx.out.data(hash));
        }
        Print::Magnet => {
            magnet::warn_if_private(cx, info);
            cx.out.data(magnet);
        }
    }
}
