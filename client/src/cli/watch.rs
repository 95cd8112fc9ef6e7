//! Watches several torrents until each is done, has failed or was stopped: what `get`, `seed` and `share` have in common.

#![expect(clippy::disallowed_methods, reason = "progress and patience are measured in real time")]

use std::task::Poll;
use std::time::{Duration, Instant};

use super::Context;
use super::error::CliError;
use super::exit::Exit;
use super::hook::Hooks;
use super::progress::Board;
use super::signals::{Signal, Signals};
use super::transfer::{STOP_LIMIT, Transfer};
use crate::engine::session::TorrentEvent;

/// After this long the command ends whatever its torrents do: well within the 3 s that were promised.
const STOP_DEADLINE: Duration = Duration::from_millis(2_600);

/// How often bars are redrawn: often enough to look alive.
const REDRAW: Duration = Duration::from_millis(250);

/// How often `progress` events are printed with `--json`.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait, and what to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `--timeout`
    pub(crate) timeout: Option<Duration>,
    /// `--on-done`
    pub(crate) on_done: Option<String>,
}

/// Watches until all have stopped. Failures are printed as they happen.
pub(crate) async fn watch(
    cx: &Context,
    mut signals: Signals,
    mut transfers: Vec<Transfer>,
    options: Options,
) -> Result<(), CliError> {
    let mut board = Board::new(&cx.out, transfers.len());
    let mut hooks = Hooks::new(options.on_done);
    let mut redraw = tokio::time::interval(REDRAW);
    let mut hook_failed = false;
    let mut last_json = Instant::now();
    let stopped_by = loop {
        if transfers.iter().all(Transfer::is_stopped) {
            break None;
        }
        tokio::select! {
            (index, event) = next_event(&mut transfers) => {
                if let Some(finished) = transfers[index].handle_event(cx, event) {
                    hooks.start(&finished);
                }
            }
            Some(error) = hooks.next_failure() => {
                cx.out.error(&error);
                hook_failed = true;
            }
            _ = redraw.tick() => {
                transfers.iter_mut().for_each(Transfer::log_why);
                board.show(&transfers.iter().map(Transfer::row).collect::<Vec<_>>());
                if cx.out.is_json() && last_json.elapsed() >= JSON_INTERVAL {
                    last_json = Instant::now();
                    transfers.iter().filter(|it| !it.is_stopped()).for_each(|it| it.print_progress(cx));
                }
                if let Some(limit) = options.timeout {
                    transfers.iter_mut().for_each(|transfer| transfer.give_up_after(cx, limit));
                }
            }
            signal = signals.next() => break Some(signal),
        }
    };
    drop(board);
    match stopped_by {
        Some(signal) => {
            signals.exit_at_next(transfers.iter().all(Transfer::is_done));
            stop_all(cx, &mut transfers, signal).await;
            stopped(&transfers, signal)?;
        }
        None => {
            loop {
                tokio::select! {
                    failure = hooks.next_failure() => match failure {
                        Some(error) => {
                            cx.out.error(&error);
                            hook_failed = true;
                        }
                        None => break,
                    },
                    signal = signals.next() => {
                        stopped(&transfers, signal)?;
                        break;
                    }
                }
            }
            failed(&transfers)?;
            if let Some(transfer) = transfers.iter().find(|transfer| !transfer.is_done()) {
                return Err(CliError::Unfinished(transfer.label().to_owned()));
            }
        }
    }
    if hook_failed { Err(CliError::Reported(Exit::Failure)) } else { Ok(()) }
}

/// The next news of any of them.
async fn next_event(transfers: &mut [Transfer]) -> (usize, Option<TorrentEvent>) {
    std::future::poll_fn(|task| {
        for (index, transfer) in
            transfers.iter_mut().enumerate().filter(|(_, transfer)| !transfer.is_stopped())
        {
            if let Poll::Ready(event) = transfer.handle.events.poll_recv(task) {
                return Poll::Ready((index, event));
            }
        }
        Poll::Pending
    })
    .await
}

async fn stop_all(cx: &Context, transfers: &mut [Transfer], signal: Signal) {
    if signal == Signal::Interrupt {
        cx.out.note("stopping, telling the trackers; Ctrl-C again quits at once");
    } else {
        cx.out.note(format_args!("{signal}: stopping, telling the trackers"));
    }
    let goodbye = async {
        transfers.iter().for_each(|transfer| transfer.handle.stop(STOP_LIMIT));
        while !transfers.iter().all(Transfer::is_stopped) {
            let (index, event) = next_event(transfers).await;
            transfers[index].handle_event(cx, event);
        }
    };
    if tokio::time::timeout(STOP_DEADLINE, goodbye).await.is_err() {
        cx.out.warn("not every tracker could be told in time");
    }
}

/// A signal came: what is done stays done.
fn stopped(transfers: &[Transfer], signal: Signal) -> Result<(), CliError> {
    failed(transfers)?;
    match transfers.iter().filter(|transfer| transfer.is_done()).count() {
        all if all == transfers.len() => Ok(()),
        done => Err(CliError::Stopped { signal, partly: done > 0 }),
    }
}

/// The first failure stands for all: each was printed when it happened.
fn failed(transfers: &[Transfer]) -> Result<(), CliError> {
    match transfers.iter().find_map(Transfer::failure) {
        Some(exit) => Err(CliError::Reported(exit)),
        None => Ok(()),
    }
}
