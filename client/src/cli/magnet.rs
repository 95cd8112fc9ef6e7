//! `sprat magnet`: the magnet of a torrent; with `--resolve`, the torrent of a magnet.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use torrent_format::{Info, Magnet, Metainfo};

use super::args::MagnetArgs;
use super::error::CliError;
use super::metadata::Want;
use super::output::printable;
use super::signals::Signals;
use super::source::{self, Source};
use super::value::FileNumbers;
use super::{Context, list, metadata, net, show, write};

pub(crate) async fn run(cx: &Context, args: MagnetArgs) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let source = tokio::select! {
        source = source::resolve(cx, &args.source) => source?,
        signal = signals.next() => return Err(CliError::Interrupted(signal)),
    };
    if args.resolve {
        return resolve(cx, &args, source, signals).await;
    }
    let mut magnet = narrowed(source.to_magnet(), &args, &source)?;
    if args.no_trackers {
        magnet.trackers.clear();
    }
    // Those that are asked for by name stay.
    magnet.trackers.extend(args.network.tracker.iter().flat_map(|tier| tier.0.iter().cloned()));
    magnet.peers.extend(net::added_peers(&args.network));
    if let Some(numbers) = &args.select_file {
        magnet.select = positions(numbers, &source)?;
    }
    if let Source::Torrent(metainfo) = &source {
        warn_if_private(cx, &metainfo.info);
    }
    if cx.out.is_json() {
        let mut document = Map::from_iter(show::hashes(magnet.hashes));
        document.insert("magnet".into(), magnet.to_string().into());
        document.insert("name".into(), magnet.name.into());
        cx.out.json(Value::Object(document));
    } else {
        cx.out.data(magnet);
    }
    Ok(())
}

/// With only the hash that was asked for.
fn narrowed(magnet: Magnet, args: &MagnetArgs, source: &Source) -> Result<Magnet, CliError> {
    let (narrowed, version) = match (args.v1, args.v2) {
        (true, false) => (magnet.v1_only(), "v1"),
        (false, true) => (magnet.v2_only(), "v2"),
        _ => return Ok(magnet),
    };
    narrowed.ok_or_else(|| CliError::Input {
        input: source.label(),
        problem: format!("it has no {version} info hash"),
        hint: None,
    })
}

/// The files as the magnet counts them.
fn positions(numbers: &FileNumbers, source: &Source) -> Result<Vec<RangeInclusive<usize>>, CliError> {
    let info = source.info();
    if info.is_none() && source.hashes().v1().is_some() && source.hashes().v2().is_some() {
        let problem = "a hybrid's pad files count in a magnet, and the magnet does not say where they are";
        return Err(CliError::magnet_lacks(source.label(), problem));
    }
    match info.as_ref().and_then(|info| numbers.beyond(list::count(info))) {
        Some(problem) => Err(CliError::Usage(format!("--select-file: {problem}"))),
        None => Ok(numbers.positions(info.as_ref())),
    }
}

/// A magnet can't say that its torrent is private (BEP 27): who has nothing else looks for peers wherever it can.
pub(crate) fn warn_if_private(cx: &Context, info: &Info) {
    if info.is_private() {
        let name = printable(info.name());
        cx.out.warn(format_args!(
            "{name} is private, which a magnet does not say: clients may look for its peers outside its trackers"
        ));
    }
}

async fn resolve(
    cx: &Context,
    args: &MagnetArgs,
    source: Source,
    mut signals: Signals,
) -> Result<(), CliError> {
    let added = net::added_trackers(&args.network)?;
    if let Some(output) = &args.output {
        write::refuse_existing(output, args.force)?;
    }
    let fetch = |source| async move {
        metadata::fetch(cx, &source, Want::Layers, &args.network, args.timeout, &mut signals).await
    };
    let mut metainfo = match source {
        Source::Torrent(mut metainfo) if metainfo.info.missing_layers().next().is_some() => {
            metainfo.info = fetch(Source::Magnet(Box::new(Magnet::from_metainfo(&metainfo)))).await?;
            *metainfo
        }
        Source::Torrent(metainfo) => *metainfo,
        Source::Magnet(magnet) => with_links(fetch(Source::Magnet(magnet.clone())).await?, &magnet),
    };
    if metainfo.info.missing_layers().next().is_some() {
        cx.out.warn("no peer gave the piece layers: clients can use the .torrent by its v1 half only");
    }
    metainfo.trackers.extend(added);
    let output = match &args.output {
        Some(output) => output.clone(),
        None => default_output(&metainfo.info),
    };
    write::whole(cx, &output, &metainfo.to_bytes(), args.force)?;
    report(cx, &output, &metainfo);
    Ok(())
}

/// A .torrent that leads where the magnet led.
fn with_links(info: Info, magnet: &Magnet) -> Metainfo {
    let mut metainfo = Metainfo::new(info);
    metainfo.trackers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
    metainfo.web_seeds.clone_from(&magnet.web_seeds);
    metainfo
}

/// NAME.torrent here. The name is the one that the payload would have, so that it is fit for a file.
pub(crate) fn default_output(info: &Info) -> PathBuf {
    let first = info.files().first().map_or(Path::new("unnamed"), |file| file.path.as_path());
    let top = first.iter().next().unwrap_or(first.as_os_str());
    let mut name = top.to_owned();
    name.push(".torrent");
    PathBuf::from(name)
}

fn report(cx: &Context, output: &Path, metainfo: &Metainfo) {
    if output.as_os_str() == "-" {
        return;
    }
    if cx.out.is_json() {
        let mut document = Map::from_iter(show::hashes(metainfo.info.hashes()));
        document.insert("path".into(), output.display().to_string().into());
        cx.out.json(Value::Object(document));
    } else {
        cx.out.path(output);
    }
}
