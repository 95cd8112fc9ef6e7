//! `sprat edit`: changes .torrent files. What stands outside `info` can be changed without anybody noticing but those who read the
//! file; a change inside makes another torrent, with another swarm, and has to be asked for by name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use torrent_format::lint::lint;
use torrent_format::metainfo::InfoChanges;
use torrent_format::{Metainfo, SafePath};

use super::args::EditArgs;
use super::diff::{self, Change};
use super::endpoint::Tier;
use super::error::CliError;
use super::exit::Exit;
use super::output::printable;
use super::source::{self, Source};
use super::{Context, get, show, write};

/// A file that has been edited in memory.
struct Edited {
    /// As it was typed.
    input: PathBuf,
    target: Target,
    metainfo: Metainfo,
    bytes: Vec<u8>,
    changes: Vec<Change>,
}

/// Where it goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Nowhere,
    StandardOutput,
    /// The file itself, not a link to it.
    InPlace(PathBuf),
    Path(PathBuf),
}

/// Reads and edits every file before it writes the first: one that can't be edited leaves all as they were. Then each is replaced
/// whole, and one that can't be written does not keep the others from being.
pub(crate) async fn run(cx: &Context, args: EditArgs) -> Result<(), CliError> {
    check(cx, &args)?;
    let mut targets = BTreeSet::new();
    let mut all = Vec::new();
    for input in &args.files {
        let target = target(&args, input)?;
        if target != Target::Nowhere && !targets.insert(target.clone()) {
            let input = input.display();
            return Err(CliError::Usage(format!("{input}: another of the files goes to the same place")));
        }
        all.push(edit(cx, &args, input, target).await?);
    }
    cx.out.collect(all.len());
    let mut failure = None;
    for edited in &all {
        match put(cx, &args, edited) {
            Ok(written) => report(cx, edited, written, all.len() > 1),
            Err(error) => {
                cx.out.error(&error);
                failure.get_or_insert(error.exit());
            }
        }
    }
    failure.map_or(Ok(()), |exit: Exit| Err(CliError::Reported(exit)))
}

/// What can be told without looking at a file.
fn check(cx: &Context, args: &EditArgs) -> Result<(), CliError> {
    let usage = |problem: &str| Err(CliError::Usage(problem.to_owned()));
    let inside = args.private.is_some() || args.source.is_some() || args.name.is_some();
    let outside = args.clear_trackers
        || !(args.add_tracker.is_empty()
            && args.remove_tracker.is_empty()
            && args.replace_tracker.is_empty())
        || !(args.web_seed.is_empty() && args.remove_web_seed.is_empty())
        || args.comment.is_some()
        || args.created_by.is_some()
        || args.date.is_some();
    if !inside && !outside {
        return usage("nothing to change: `sprat edit --help` lists what can be");
    }
    if inside && !args.new_info_hash {
        return usage(
            "--private, --source and --name make it another torrent, which nobody has yet: --new-info-hash allows that",
        );
    }
    args.name.as_deref().map_or(Ok(()), check_name)?;
    for pair in args.replace_tracker.chunks_exact(2) {
        match pair[1].parse::<Tier>() {
            Ok(Tier(urls)) if urls.len() == 1 => {}
            Ok(_) => return usage("--replace-tracker: NEW is one URL"),
            Err(problem) => return usage(&format!("--replace-tracker: {problem}")),
        }
    }
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if !args.dry_run && !args.in_place && args.output.is_none() {
        return usage(
            "where to? --in-place overwrites the file, --output names another, --dry-run writes none",
        );
    }
    if to_stdout && cx.out.is_json() {
        return usage("--json and --output - both want standard output");
    }
    let several = args.files.len() > 1;
    if several && args.output.as_ref().is_some_and(|output| to_stdout || !output.is_dir()) {
        return usage("--output: for several files it names a directory that is there");
    }
    Ok(())
}

fn target(args: &EditArgs, input: &Path) -> Result<Target, CliError> {
    let from_stdin = input == Path::new("-");
    match &args.output {
        _ if args.dry_run => Ok(Target::Nowhere),
        Some(output) if output == Path::new("-") => Ok(Target::StandardOutput),
        Some(dir) if dir.is_dir() => match input.file_name() {
            Some(name) if !from_stdin => Ok(Target::Path(dir.join(name))),
            _ => Err(CliError::Usage(format!("--output {}: is a directory; name a file", dir.display()))),
        },
        Some(path) => Ok(Target::Path(path.clone())),
        None if from_stdin => {
            Err(CliError::Usage("standard input can't be edited in place: --output names a file".into()))
        }
        None => match input.canonicalize() {
            Ok(real) => Ok(Target::InPlace(real)),
            Err(source) => Err(CliError::Read { input: input.display().to_string(), source }),
        },
    }
}

async fn edit(cx: &Context, args: &EditArgs, input: &Path, target: Target) -> Result<Edited, CliError> {
    if let Target::Path(path) = &target {
        write::refuse_existing(path, args.force)?;
    }
    let before = source::read_torrent(cx, input).await?;
    get::warn_about(cx, &before);
    let Source::Torrent(old) = &before else {
        let problem = "a magnet holds nothing that could be edited";
        return Err(CliError::magnet_lacks(before.label(), problem));
    };
    let mut metainfo = (**old).clone();
    apply_outside(cx, args, input, &mut metainfo);
    apply_inside(args, input, &mut metainfo)?;
    let bytes = metainfo.to_bytes();
    let unreadable = |source| CliError::Torrent { input: input.display().to_string(), source };
    check_kept(&metainfo, &Metainfo::from_bytes(&bytes).map_err(unreadable)?)?;
    for lint in lint(&metainfo).into_iter().filter(|odd| !lint(old).contains(odd)) {
        cx.out.warn(format_args!("{}: {lint}", input.display()));
    }
    let after = Source::Torrent(Box::new(metainfo.clone()));
    let changes = diff::changes(&before, &after);
    Ok(Edited { input: input.to_owned(), target, metainfo, bytes, changes })
}

/// Clears, removes, replaces, then adds.
fn apply_outside(cx: &Context, args: &EditArgs, input: &Path, metainfo: &mut Metainfo) {
    let warn_missing = |what: &str, url: &str| {
        cx.out.warn(format_args!("{}: there is no {what} {}", input.display(), printable(url)));
    };
    let trackers = &mut metainfo.trackers;
    if args.clear_trackers {
        trackers.clear();
    }
    for url in &args.remove_tracker {
        if !remove(trackers, url) {
            warn_missing("tracker", url);
        }
    }
    for pair in args.replace_tracker.chunks_exact(2) {
        if !replace(trackers, &pair[0], &pair[1]) {
            warn_missing("tracker", &pair[0]);
        }
    }
    for Tier(urls) in &args.add_tracker {
        let known = |url: &String| trackers.iter().flatten().any(|known| known == url);
        let tier: Vec<String> = urls.iter().filter(|url| !known(url)).cloned().collect();
        trackers.push(tier);
    }
    trackers.retain(|tier| !tier.is_empty());

    for url in &args.remove_web_seed {
        let before = metainfo.web_seeds.len();
        metainfo.web_seeds.retain(|known| known != url);
        if metainfo.web_seeds.len() == before {
            warn_missing("web seed", url);
        }
    }
    for seed in &args.web_seed {
        if !metainfo.web_seeds.contains(&seed.0) {
            metainfo.web_seeds.push(seed.0.clone());
        }
    }
    if let Some(text) = &args.comment {
        metainfo.comment = some_text(text);
    }
    if let Some(text) = &args.created_by {
        metainfo.created_by = Some(text.clone()).filter(|text| text != "none");
    }
    if let Some(date) = args.date {
        metainfo.creation_date = date.0;
    }
}

fn apply_inside(args: &EditArgs, input: &Path, metainfo: &mut Metainfo) -> Result<(), CliError> {
    let changes = InfoChanges {
        name: args.name.clone(),
        private: args.private,
        source: args.source.as_deref().map(some_text),
    };
    if changes == InfoChanges::default() {
        return Ok(());
    }
    let edited = metainfo.info.edited(&changes);
    metainfo.info =
        edited.map_err(|source| CliError::Torrent { input: input.display().to_string(), source })?;
    Ok(())
}

/// A name that nobody has to change to save the torrent by it.
fn check_name(name: &str) -> Result<(), CliError> {
    match SafePath::from_names(&[name.as_bytes()]) {
        Ok(made) if made.changed => {
            Err(CliError::Usage(format!("--name: it would be saved as `{}`", made.path.as_str())))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(CliError::Usage(format!("--name: {error}"))),
    }
}

/// Whether it was there.
fn remove(trackers: &mut [Vec<String>], url: &str) -> bool {
    let count = |trackers: &[Vec<String>]| trackers.iter().map(Vec::len).sum::<usize>();
    let before = count(trackers);
    trackers.iter_mut().for_each(|tier| tier.retain(|known| known != url));
    count(trackers) < before
}

/// Puts `new` into the place of `old`, unless it has one already. Whether `old` was there.
fn replace(trackers: &mut [Vec<String>], old: &str, new: &str) -> bool {
    if old != new && trackers.iter().flatten().any(|known| known == new) {
        return remove(trackers, old);
    }
    let found = trackers.iter_mut().flatten().find(|known| *known == old);
    found.map(|known| new.clone_into(known)).is_some()
}

/// What is written has to be read again, by us and by others.
fn check_kept(written: &Metainfo, read: &Metainfo) -> Result<(), CliError> {
    let lost = |written: Vec<&String>, read: Vec<&String>| {
        written.into_iter().find(|url| !read.contains(url)).map(|url| {
            CliError::Usage(format!(
                "`{url}` can't be added: it is no such URL, or there are too many already"
            ))
        })
    };
    let trackers = lost(trackers(written), trackers(read));
    let web_seeds = lost(written.web_seeds.iter().collect(), read.web_seeds.iter().collect());
    trackers.or(web_seeds).map_or(Ok(()), Err)
}

fn trackers(metainfo: &Metainfo) -> Vec<&String> {
    metainfo.trackers.iter().flatten().collect()
}

/// Writes it, if there is anything to write; says whether it did.
fn put(cx: &Context, args: &EditArgs, edited: &Edited) -> Result<bool, CliError> {
    match &edited.target {
        Target::Nowhere => return Ok(false),
        Target::InPlace(_) if edited.changes.is_empty() => return Ok(false),
        Target::StandardOutput => cx.out.bytes(&edited.bytes),
        Target::InPlace(path) => write::replace(path, &edited.bytes)?,
        Target::Path(path) => write::whole(cx, path, &edited.bytes, args.force)?,
    }
    Ok(true)
}

/// The changes as data, but where the .torrent itself is.
fn report(cx: &Context, edited: &Edited, written: bool, several: bool) {
    let path = match &edited.target {
        Target::Path(path) => path,
        _ => &edited.input,
    };
    if cx.out.is_json() {
        let mut document = Map::from_iter(show::hashes(edited.metainfo.info.hashes()));
        document.insert("path".into(), path.display().to_string().into());
        document.insert("written".into(), written.into());
        document.insert("changes".into(), edited.changes.iter().map(diff::json).collect());
        cx.out.json(Value::Object(document));
        return;
    }
    if edited.changes.is_empty() {
        cx.out.note(format_args!("{}: nothing to change", edited.input.display()));
    }
    let lines = edited.changes.iter().map(diff::text);
    if edited.target == Target::StandardOutput {
        lines.for_each(|line| cx.out.note(line));
    } else if several && !edited.changes.is_empty() {
        cx.out.path(path);
        lines.for_each(|line| cx.out.data(format_args!("  {line}")));
    } else {
        lines.for_each(|line| cx.out.data(line));
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
