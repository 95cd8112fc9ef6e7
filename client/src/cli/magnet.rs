//! `sprat magnet`: the magnet of a torrent; with `--resolve`, the torrent of a magnet.

use std::path::{Path, PathBuf};

use serde_json::json;
use torrent_format::{Info, Magnet, Metainfo};

use super::args::MagnetArgs;
use super::error::CliError;
use super::signals::Signals;
use super::source::{self, Source};
use super::value::FileNumbers;
use super::{Context, metadata, net, write};

pub(crate) async fn run(cx: &Context, args: MagnetArgs) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let source = tokio::select! {
        source = source::resolve(cx, &args.source) => source?,
        signal = signals.next() => return Err(CliError::Interrupted(signal)),
    };
    if args.resolve {
        return resolve(cx, &args, source, signals).await;
    }
    let mut magnet = source.to_magnet();
    if args.no_trackers {
        magnet.trackers.clear();
    }
    // Those that are asked for by name stay.
    magnet.trackers.extend(args.network.tracker.iter().flat_map(|tier| tier.0.iter().cloned()));
    magnet.peers.extend(net::added_peers(&args.network));
    if let Some(numbers) = &args.select_file {
        check_numbers(numbers, source.info().as_ref())?;
        // The magnet counts from 0 (BEP 53).
        magnet.select = numbers.0.iter().map(|range| range.start() - 1..=range.end() - 1).collect();
    }
    if cx.out.is_json() {
        let info_hash = magnet.hashes.to_string();
        cx.out.json(json!({"magnet": magnet.to_string(), "info_hash_v1": info_hash, "name": magnet.name}));
    } else {
        cx.out.data(magnet);
    }
    Ok(())
}

fn check_numbers(numbers: &FileNumbers, info: Option<&Info>) -> Result<(), CliError> {
    let Some(count) = info.map(|info| info.files().len()) else { return Ok(()) };
    match numbers.0.iter().find(|range| *range.end() > count) {
        Some(range) => {
            let last = range.end();
            Err(CliError::Usage(format!("--select-file: there is no file {last}: the torrent has {count}")))
        }
        None => Ok(()),
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
    let mut metainfo = match source {
        Source::Torrent(metainfo) => *metainfo,
        Source::Magnet(_) => {
            let info = metadata::fetch(cx, &source, &args.network, args.timeout, &mut signals).await?;
            with_links(info, &source.to_magnet())
        }
    };
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
        let info_hash = metainfo.info.info_hash().to_string();
        cx.out.json(json!({"path": output.display().to_string(), "info_hash_v1": info_hash}));
    } else {
        cx.out.path(output);
    }
}
