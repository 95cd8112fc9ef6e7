//! `sprat get`: downloads, verifies, exits.

use std::collections::BTreeSet;

use torrent_format::Info;

use super::args::{GetArgs, NetworkArgs, SeedGoal};
use super::error::CliError;
use super::metadata::Want;
use super::select::Selection;
use super::signals::Signals;
use super::source::{self, Source};
use super::transfer::{CLOSE_LIMIT, Goal, Transfer};
use super::watch::{Options, watch};
use super::{Context, list, metadata, net};
use crate::engine::announce::can_ask;
use crate::engine::session::{AddTorrent, Session};
use crate::engine::storage::{Access, Check};
use crate::torrent::{Ablation, Stay};

pub(crate) async fn run(cx: &Context, args: GetArgs) -> Result<(), CliError> {
    if args.select_file.is_some() && args.sources.len() > 1 {
        return Err(CliError::Usage(
            "--select-file numbers the files of one torrent; there are several".into(),
        ));
    }
    let selection = Selection::new(args.select_file.as_ref(), &args.globs)?;
    // Checked before anything is fetched.
    net::added_trackers(&args.network)?;
    let config = net::session_config(cx, &args.network, args.memory.0 as usize)?;
    let mut signals = Signals::listen()?;
    let mut sources = Vec::new();
    for typed in &args.sources {
        tokio::select! {
            source = source::resolve(cx, typed) => sources.push(source?),
            signal = signals.next() => return Err(CliError::Stopped { signal, partly: false }),
        }
    }
    refuse_twice(&sources)?;
    for source in &sources {
        warn_about(cx, source);
        if !args.show_files {
            warn_if_nobody_to_ask(cx, source, &args.network);
        }
    }
    if args.show_files {
        return show_files(cx, &args, &selection, sources, signals).await;
    }
    let session = Session::start(config).await?;
    let transfers = sources
        .iter()
        .map(|source| {
            let handle = session.add(add_torrent(source, &args, &selection));
            let transfer = Transfer::new(handle, source.label(), args.output.clone(), Goal::Get)
                .limited(args.network.max_download_limit.limit());
            transfer.print_started(cx, source.info().as_ref());
            transfer
        })
        .collect();
    let options = Options { timeout: args.timeout, on_done: args.on_done };
    let result = watch(cx, signals, transfers, options).await;
    session.close(CLOSE_LIMIT).await;
    result
}

/// What is odd about a .torrent does not keep it from being downloaded, but may explain what happens.
pub(crate) fn warn_about(cx: &Context, source: &Source) {
    if let Source::Torrent(metainfo) = source {
        for warning in &metainfo.warnings {
            cx.out.warn(format_args!("{}: {warning}", source.label()));
        }
    }
}

/// One torrent can't be downloaded twice at a time.
pub(crate) fn refuse_twice<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Result<(), CliError> {
    let mut seen = BTreeSet::new();
    // A hybrid may be given by either of its names.
    let mut known =
        |source: &Source| source.hashes().swarms().filter(|swarm| !seen.insert(*swarm)).count() > 0;
    match sources.into_iter().find(|source| known(source)) {
        Some(source) => Err(CliError::Usage(format!("{} was given twice", source.label()))),
        None => Ok(()),
    }
}

/// Without a tracker or a peer, nothing can happen but that somebody comes by himself.
pub(crate) fn warn_if_nobody_to_ask(cx: &Context, source: &Source, network: &NetworkArgs) {
    let torrent = torrent_of(source, network);
    if !network.no_dht && !source.info().is_some_and(|info| info.is_private()) {
        return;
    }
    if !torrent.trackers.is_empty() || !torrent.peers.is_empty() {
        return;
    }
    let label = source.label();
    let looks_around = !network.no_lsd && source.info().is_none_or(|info| !info.is_private());
    if source.trackers().is_empty() {
        let rest = if looks_around { ", only this network to look around in" } else { "" };
        cx.out.warn(format_args!(
            "{label}: there is no tracker and no peer to ask{rest}; --tracker or --peer names one"
        ));
    } else {
        cx.out.warn(format_args!(
            "{label}: none of its trackers speaks http or udp; --tracker or --peer names another"
        ));
    }
}

/// The source's torrent, for a session: its own trackers and peers, and those of the flags. Downloads to the working directory,
/// checks what no record vouches for, leaves when done.
pub(crate) fn torrent_of(source: &Source, network: &NetworkArgs) -> AddTorrent {
    let mut peers = net::added_peers(network);
    if let Source::Magnet(magnet) = source {
        peers.extend(magnet.peers.iter().cloned());
    }
    let mut trackers = source.trackers();
    trackers.extend(network.tracker.iter().map(|tier| tier.0.clone()));
    AddTorrent {
        hashes: source.hashes(),
        info: source.info(),
        trackers: only_known(trackers),
        peers,
        nodes: source.nodes(),
        dir: ".".into(),
        access: Access::Download { force: false },
        check: Check::Needed,
        allocate: crate::engine::storage::Allocate::default(),
        select: crate::engine::session::Select::all(),
        stay: Stay::Leave { linger: true },
        sequential: false,
        super_seed: false,
        ablation: Ablation::default(),
    }
}

/// How long to go on after completion.
pub(crate) fn seed_until(goal: SeedGoal) -> Stay {
    Stay::Seed { ratio: goal.seed_ratio, time: goal.seed_time }
}

fn add_torrent(source: &Source, args: &GetArgs, selection: &Selection) -> AddTorrent {
    let goes_on = args.seed || args.goal.seed_ratio.is_some() || args.goal.seed_time.is_some();
    let selection = match source {
        Source::Magnet(magnet) => selection.clone().or_magnet(&magnet.select),
        Source::Torrent(_) => selection.clone(),
    };
    AddTorrent {
        dir: args.output.clone(),
        access: Access::Download { force: args.force },
        check: match (args.check, args.no_check) {
            (true, _) => Check::Full,
            (_, true) => Check::Trust,
            _ => Check::Needed,
        },
        allocate: args.allocate.into(),
        select: selection.into_select(),
        stay: if goes_on { seed_until(args.goal) } else { Stay::Leave { linger: !args.no_linger } },
        sequential: args.sequential,
        ..torrent_of(source, &args.network)
    }
}

/// Trackers that can be spoken to, without tiers that are left empty.
fn only_known(trackers: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let tiers = trackers.into_iter().map(|tier| tier.into_iter().filter(|url| can_ask(url)).collect());
    tiers.filter(|tier: &Vec<String>| !tier.is_empty()).collect()
}

async fn show_files(
    cx: &Context,
    args: &GetArgs,
    selection: &Selection,
    sources: Vec<Source>,
    mut signals: Signals,
) -> Result<(), CliError> {
    cx.out.collect(sources.len());
    for source in sources {
        let info: Info = match source.info() {
            Some(info) => info,
            None => {
                metadata::fetch(cx, &source, Want::Info, &args.network, args.timeout, &mut signals).await?
            }
        };
        let wanted = selection.flags(&info).map_err(CliError::Usage)?;
        list::print(cx, &info, &wanted);
    }
    Ok(())
}
