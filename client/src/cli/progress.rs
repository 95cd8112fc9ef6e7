//! How far things are: bars where standard error is a terminal, else a plain line a minute. [`Meter`] for work on this machine
//! (hashing), [`Board`] for torrents.

#![expect(clippy::disallowed_methods, reason = "progress is shown in real time")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Printer, ProgressMode};
use super::value::{Rate, Size, plural, show_duration};

/// How often a plain line says how far things are, where nothing can be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(60);

/// Torrents that have a line of their own; more would fill a small terminal and flicker.
const MAX_LINES: usize = 10;

/// One job with a known size. May be told from any thread.
pub(crate) struct Meter {
    printer: Printer,
    doing: &'static str,
    started: Instant,
    bar: ProgressBar,
    last_line: Mutex<Instant>,
}

impl Meter {
    /// Begins to show it. `doing` is a word such as "hashing".
    pub(crate) fn new(printer: &Printer, doing: &'static str) -> Self {
        let bar = printer.bars().add(ProgressBar::hidden());
        if printer.progress_mode() == ProgressMode::Bars {
            bar.set_style(style(match width() {
                ..60 => "{msg} {percent:>3}% {bytes}/{total_bytes}",
                60..MIN_WIDE => "{msg} [{wide_bar}] {percent:>3}% {bytes_per_sec} ETA {eta}",
                _ => {
                    "{elapsed} {msg} [{wide_bar}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}"
                }
            }));
            bar.set_message(doing);
        }
        let now = Instant::now();
        Self { printer: printer.clone(), doing, started: now, bar, last_line: Mutex::new(now) }
    }

    /// `done` bytes of `total`.
    pub(crate) fn set(&self, done: u64, total: u64) {
        match self.printer.progress_mode() {
            ProgressMode::Off => {}
            ProgressMode::Bars => {
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            ProgressMode::Lines => {
                let now = Instant::now();
                // Another thread that prints at this moment says the same.
                if let Ok(mut last) = self.last_line.try_lock()
                    && now - *last >= PLAIN_INTERVAL
                {
                    *last = now;
                    let (percent, rate) = (percent(done, total), self.rate(now, done));
                    let left = total.saturating_sub(done) / rate.0.max(1);
                    let eta = show_duration(Duration::from_secs(left));
                    let total = Size(total);
                    self.printer
                        .note(format_args!("{}: {percent}% of {total}, {rate}, ETA {eta}", self.doing));
                }
            }
        }
    }

    /// Says how long it took for all of `total` bytes: to the log, and to whoever has watched the bar. `did` is a word such as "hashed".
    pub(crate) fn sum_up(&self, did: &str, total: u64) {
        let now = Instant::now();
        let (seconds, rate) = ((now - self.started).as_secs_f64(), self.rate(now, total));
        tracing::info!(
            "{did} {} in {seconds:.1} s, {rate}, by {}",
            Size(total),
            torrent_format::hash::kernel()
        );
        if self.printer.progress_mode() == ProgressMode::Bars {
            self.printer.note(format_args!("{did} {} in {seconds:.1} s, {rate}", Size(total)));
        }
    }

    fn rate(&self, now: Instant, done: u64) -> Rate {
        Rate((done as f64 / (now - self.started).as_secs_f64().max(0.001)) as u64)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.printer.bars().remove(&self.bar);
    }
}

/// Where one torrent stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// Fit for a terminal.
    pub(crate) name: String,
    /// What it is doing, if not simply downloading.
    pub(crate) doing: Option<Cow<'static, str>>,
    /// The phase it is in; where nothing can be redrawn, a change of it is worth a line. `None`: it is over, or told elsewhere.
    pub(crate) phase: Option<&'static str>,
    /// Bytes.
    pub(crate) done: u64,
    /// Bytes; 0: not known.
    pub(crate) total: u64,
    /// Bytes a second.
    pub(crate) download_rate: u64,
    /// Bytes a second.
    pub(crate) upload_rate: u64,
    /// Bytes in this run.
    pub(crate) uploaded: u64,
    /// Connections.
    pub(crate) peers: usize,
    /// Nothing more to fetch.
    pub(crate) complete: bool,
}

impl Row {
    /// Time to completion at the present rate.
    pub(crate) fn eta(&self) -> Option<Duration> {
        let left = self.total.saturating_sub(self.done);
        (!self.complete && left > 0 && self.download_rate > 0).then(|| {
            // A century is as good as never, and can be shown.
            Duration::from_secs((left / self.download_rate).min(100 * 365 * 86_400))
        })
    }

    /// The figures, without name and bar.
    fn figures(&self) -> String {
        let mut parts = Vec::new();
        if self.total > 0 && !self.complete {
            parts.push(format!("{}/{}", Size(self.done), Size(self.total)));
        }
        parts.extend(self.doing.as_deref().map(str::to_owned));
        if self.download_rate > 0 && !self.complete {
            parts.push(format!("down {}", Rate(self.download_rate)));
        }
        if self.upload_rate > 0 || self.complete {
            parts.push(format!("up {} ({})", Rate(self.upload_rate), Size(self.uploaded)));
        }
        parts.push(plural(self.peers as u64, "peer"));
        parts.extend(self.eta().map(|eta| format!("ETA {}", show_duration(eta))));
        parts.join("  ")
    }

    /// All of it in one plain line.
    fn plain(&self) -> String {
        match (self.total, self.complete) {
            (0, _) | (_, true) => format!("{}: {}", self.name, self.figures()),
            (total, false) => {
                let doing = if self.doing.is_none() { "downloading  " } else { "" };
                format!("{}: {doing}{}%  {}", self.name, percent(self.done, total), self.figures())
            }
        }
    }
}

/// Several torrents, a line each, and a total.
pub(crate) struct Board {
    printer: Printer,
    bars: Vec<ProgressBar>,
    total: Option<ProgressBar>,
    /// Columns that the bars are laid out for.
    width: u16,
    lines: Lines,
}

impl Board {
    /// Begins to show `count` torrents.
    pub(crate) fn new(printer: &Printer, count: usize) -> Self {
        let mut board = Self {
            printer: printer.clone(),
            bars: Vec::new(),
            total: None,
            width: width(),
            lines: Lines { last: Instant::now(), phases: BTreeMap::new() },
        };
        let width = board.width;
        if printer.progress_mode() == ProgressMode::Bars {
            board.bars.extend((0..count.min(MAX_LINES)).map(|_| line_bar(printer, width)));
            board.total = (count > 1).then(|| line_bar(printer, width));
        }
        board
    }

    /// Without the line that sums them up.
    pub(crate) fn without_total(mut self) -> Self {
        if let Some(bar) = self.total.take() {
            self.printer.bars().remove(&bar);
        }
        self
    }

    /// Shows how they stand now.
    pub(crate) fn show(&mut self, rows: &[Row]) {
        if self.printer.progress_mode() == ProgressMode::Lines {
            self.lines.due(rows, Instant::now()).iter().for_each(|line| self.printer.note(line));
            return;
        }
        self.fit();
        for (bar, row) in self.bars.iter().zip(rows) {
            draw(bar, row);
        }
        if let Some(bar) = &self.total {
            let hidden = rows.len() - self.bars.len();
            draw(bar, &total(rows, hidden));
        }
    }

    /// Lays the bars out anew if the terminal has another width now.
    fn fit(&mut self) {
        if self.bars.is_empty() || self.width == width() {
            return;
        }
        self.width = width();
        for bar in self.bars.iter().chain(&self.total) {
            bar.set_style(line_style(self.width));
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for bar in self.bars.iter().chain(&self.total) {
            bar.finish_and_clear();
            self.printer.bars().remove(bar);
        }
    }
}

/// What is said where nothing can be redrawn.
struct Lines {
    last: Instant,
    /// What was said last of each row.
    phases: BTreeMap<usize, &'static str>,
}

impl Lines {
    /// The lines that are due: each row that is in another phase than it was, and once a minute each that is not complete.
    fn due(&mut self, rows: &[Row], now: Instant) -> Vec<String> {
        let minute = now - self.last >= PLAIN_INTERVAL;
        if minute {
            self.last = now;
        }
        let mut lines = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let changed = row.phase.is_some_and(|phase| self.phases.insert(number, phase) != Some(phase));
            if changed || minute && !row.complete {
                lines.push(row.plain());
            }
        }
        lines
    }
}

/// From this many columns on there is room for everything.
const MIN_WIDE: u16 = 100;

/// Columns of the terminal; 80 where it does not say.
fn width() -> u16 {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { columns }
}

fn line_bar(printer: &Printer, width: u16) -> ProgressBar {
    let bar = printer.bars().add(ProgressBar::new(0));
    bar.set_style(line_style(width));
    bar
}

/// One physical line, whatever the width: the figures are cut off where it ends.
fn line_style(width: u16) -> ProgressStyle {
    style(match width {
        ..30 => "{prefix:8!} {percent:>3}%",
        30..60 => "{prefix:10!} {percent:>3}%  {wide_msg}",
        60..MIN_WIDE => "{prefix:12!} [{bar:10}] {percent:>3}%  {wide_msg}",
        _ => "{elapsed} {prefix:20!} [{bar:24}] {percent:>3}%  {wide_msg}",
    })
}

fn draw(bar: &ProgressBar, row: &Row) {
    bar.set_prefix(row.name.clone());
    bar.set_length(row.total.max(1));
    bar.set_position(if row.complete { row.total.max(1) } else { row.done });
    bar.set_message(row.figures());
}

fn total(rows: &[Row], hidden: usize) -> Row {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
    Row {
        name: if hidden > 0 { format!("total (+{hidden} more)") } else { "total".into() },
        doing: None,
        phase: None,
        done: sum(|row| row.done),
        total: sum(|row| row.total),
        // What a finished torrent received last is not what comes in now.
        download_rate: sum(|row| if row.complete { 0 } else { row.download_rate }),
        upload_rate: sum(|row| row.upload_rate),
        uploaded: sum(|row| row.uploaded),
        peers: rows.iter().map(|row| row.peers).sum(),
        complete: rows.iter().all(|row| row.complete),
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// Rounded down, so that 100 means all. All of nothing is all.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if total == 0 { 100 } else { (u128::from(done) * 100 / u128::from(total)) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_what_there_is_to_say() {
        let row = Row {
            name: "photos".into(),
            done: 512 << 20,
            total: 2 << 30,
            download_rate: 1 << 20,
            peers: 1,
            ..Row::default()
        };
        assert_eq!(row.plain(), "photos: downloading  25%  512 MiB/2 GiB  down 1 MiB/s  1 peer  ETA 25m36s");
        let seeding = Row {
            complete: true,
            doing: Some("seeding".into()),
            done: 2 << 30,
            upload_rate: 2048,
            peers: 3,
            ..row
        };
        assert_eq!(seeding.plain(), "photos: seeding  up 2 KiB/s (0 B)  3 peers");
        let looking = Row { name: "x".into(), doing: Some("looking for metadata".into()), ..Row::default() };
        assert_eq!(looking.plain(), "x: looking for metadata  0 peers");
    }

    #[test]
    fn a_plain_line_comes_with_each_phase_and_each_minute() {
        let start = Instant::now();
        let mut lines = Lines { last: start, phases: BTreeMap::new() };
        let mut rows = [Row { name: "a".into(), phase: Some("looking for peers"), ..Row::default() }];
        rows[0].doing = Some("looking for peers".into());
        let after = |seconds| start + Duration::from_secs(seconds);
        let looking = ["a: looking for peers  0 peers"];
        assert_eq!(lines.due(&rows, after(0)), looking);
        assert!(lines.due(&rows, after(1)).is_empty());
        assert_eq!(lines.due(&rows, after(60)), looking, "the same figures a minute later");
        rows[0] = Row { doing: None, phase: Some("downloading"), total: 2048, peers: 1, ..rows[0].clone() };
        assert_eq!(lines.due(&rows, after(61)), ["a: downloading  0%  0 B/2 KiB  1 peer"]);
        rows[0] = Row { complete: true, phase: None, ..rows[0].clone() };
        assert!(lines.due(&rows, after(121)).is_empty());
    }

    #[test]
    fn the_total_leaves_out_what_finished_torrents_received() {
        let row = Row { total: 10, done: 5, download_rate: 3, upload_rate: 1, ..Row::default() };
        let sum = total(&[row.clone(), Row { complete: true, ..row }], 0);
        assert_eq!((sum.download_rate, sum.upload_rate, sum.done), (3, 2, 10));
    }

    #[test]
    fn percent_never_says_100_too_early() {
        assert_eq!(percent(999_999, 1_000_000), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(0, 0), 100);
    }
}
