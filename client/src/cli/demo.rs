//! `sprat demo`: a tracker, a seeder that is short of bandwidth and three downloaders, all in this process and on loopback. Shows how
//! much the downloaders get from each other, and checks every copy.

#![expect(clippy::disallowed_methods, reason = "the time that it takes is part of what is shown")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use torrent_format::{Info, Metainfo};
use tracker::{Config, serve};

use super::args::DemoArgs;
use super::error::CliError;
use super::progress::Board;
use super::signals::Signals;
use super::source::blocking;
use super::value::{Rate, Size, plural, show_duration};
use super::{Context, list, make, net, verify};
use node::{Node, Role};
use report::Report;

mod content;
mod node;
mod report;

/// Enough for the difference between fetching from one seeder and trading to show.
const DOWNLOADERS: usize = 3;

/// How long one copy takes the seeder: long enough to watch, short enough to wait for.
const ONE_COPY: Duration = Duration::from_secs(6);

/// The seeder is never slower than this, in bytes a second: tiny demos need not last.
const MIN_UPLOAD: u64 = 256 << 10;

/// How often the bars move.
const REDRAW: Duration = Duration::from_millis(100);

/// Without progress for this long, something is wrong with this machine's loopback.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nodes and tracker may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(1);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) async fn run(cx: &Context, args: DemoArgs) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let failed = |source| CliError::System { action: "can't make a temporary directory", source };
    let scratch = tempfile::Builder::new().prefix("sprat-demo-").tempdir().map_err(failed)?;
    let mut nodes = Vec::new();
    let result = tokio::select! {
        result = Box::pin(play(cx, &args, &scratch, &mut nodes)) => result,
        signal = signals.next() => {
            cx.out.note(format_args!("{signal}: cleaning up {}; again quits at once", scratch.path().display()));
            Err(CliError::Interrupted(signal))
        }
    };
    signals.exit_at_next(result.is_ok());
    // Nobody writes any more when the directory is removed.
    node::stop_all(&mut nodes, STOP_LIMIT).await;
    drop(nodes);
    if let Err(error) = scratch.close() {
        cx.out.warn(format_args!("could not clean up: {error}"));
    }
    result
}

/// The whole play. Nodes are the caller's, so that they end in order however it ends.
async fn play(
    cx: &Context,
    args: &DemoArgs,
    scratch: &TempDir,
    nodes: &mut Vec<Node>,
) -> Result<(), CliError> {
    let original = match &args.path {
        Some(path) => path.clone(),
        None => make_up(cx, scratch.path(), args.size).await?,
    };
    let mut made = make::torrent(cx, &original, &[]).await?;
    let info = made.metainfo.info.clone();
    let tracker = serve(Config::embedded(vec![(LOOPBACK, 0).into()], Duration::from_secs(30))).await?;
    made.metainfo.trackers = tracker
        .local_addrs()
        .iter()
        .map(|addr| vec![net::announce_url(&addr.ip().to_string(), addr.port())])
        .collect();
    let upload = (info.layout().total() / ONE_COPY.as_secs()).max(MIN_UPLOAD);
    introduce(cx, &made.metainfo, upload);

    nodes.push(Node::start(scratch.path(), 0, &made.metainfo, Role::Seeder { dir: made.dir, upload }).await?);
    // The downloaders shall find it with their first announce.
    nodes[0].announced(PATIENCE).await?;
    for number in 1..=DOWNLOADERS {
        nodes.push(Node::start(scratch.path(), number, &made.metainfo, Role::Downloader).await?);
    }
    let time = watch(cx, nodes).await?;
    let report = Report::new(nodes, &info, time);
    node::stop_all(nodes, STOP_LIMIT).await;
    tracker.stop(STOP_LIMIT).await;
    check(cx, nodes, &info).await?;
    report.print(cx);
    Ok(())
}

async fn make_up(cx: &Context, scratch: &Path, size: Size) -> Result<PathBuf, CliError> {
    let dir = scratch.join("original");
    let root = dir.join("sprat-demo");
    let target = root.clone();
    let made = blocking(move || content::make_up(&target, size.0)).await?;
    made.map_err(|source| CliError::Write { path: dir, source })?;
    cx.out.note(format_args!("made up {size} of random files"));
    Ok(root)
}

fn introduce(cx: &Context, metainfo: &Metainfo, upload: u64) {
    let layout = metainfo.info.layout();
    let (size, pieces) = (Size(layout.total()), layout.piece_count());
    let (files, pieces) = (list::counted(&metainfo.info), plural(pieces.into(), "piece"));
    cx.out.note(format_args!("torrent {}: {size}, {files}, {pieces}", metainfo.info.info_hash()));
    for url in metainfo.trackers.iter().flatten() {
        cx.out.note(format_args!("tracker {url}"));
    }
    let limit = Rate(upload);
    cx.out
        .note(format_args!("1 seeder, limited to {limit} so that trading pays; {DOWNLOADERS} downloaders\n"));
}

/// Watches until every downloader has everything; says how long the last one took.
async fn watch(cx: &Context, nodes: &mut [Node]) -> Result<Duration, CliError> {
    let started = Instant::now();
    let mut board = Board::new(&cx.out, nodes.len()).without_total();
    let mut redraw = tokio::time::interval(REDRAW);
    let mut last = (0, Instant::now());
    loop {
        redraw.tick().await;
        for node in nodes.iter_mut() {
            if node.take_news()? {
                let time = show_duration(started.elapsed());
                cx.out.note(format_args!("{} is complete after {time}", node.name()));
            }
        }
        board.show(&nodes.iter().map(Node::row).collect::<Vec<_>>());
        if nodes.iter().all(Node::is_complete) {
            return Ok(started.elapsed());
        }
        let done: u64 = nodes.iter().map(|node| node.stats().bytes_done).sum();
        if done != last.0 {
            last = (done, Instant::now());
        } else if last.1.elapsed() >= PATIENCE {
            let problem = format!("no progress for {}", show_duration(PATIENCE));
            return Err(CliError::TimedOut { what: "the demo's swarm".into(), problem });
        }
    }
}

/// Reads every copy back and hashes it.
async fn check(cx: &Context, nodes: &[Node], info: &Info) -> Result<(), CliError> {
    for node in nodes.iter().filter(|node| node.is_downloader()) {
        if let Some(problem) = verify::first_problem(cx, info, node.dir()).await? {
            return Err(CliError::Failed(format!("the copy of {} is damaged: {problem}", node.name())));
        }
    }
    let copies =
        if DOWNLOADERS == 1 { "the copy is".into() } else { format!("all {DOWNLOADERS} copies are") };
    cx.out.note(format_args!("verified: {copies} identical to the original"));
    Ok(())
}
