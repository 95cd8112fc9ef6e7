//! Where words go: [`Printer`]. Standard output is data; standard error is for people. Colour only decorates, and only where the stream
//! is a terminal. What came from outside is made fit for a terminal by [`printable`].

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::Value;
use torrent_format::InfoHash;
pub(crate) use torrent_format::safe_path::printable;

use super::Env;
use super::args::{Color, Global};
use super::error::CliError;

/// The version of the JSON that every command prints; a change that breaks readers raises it.
pub(crate) const SCHEMA: u32 = 1;

/// Prints. Cheap to clone; lines of several threads don't mix, neither with each other nor with progress bars.
#[derive(Clone)]
pub(crate) struct Printer {
    shared: Arc<Shared>,
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProgressMode {
    /// Bars that move.
    Bars,
    /// A plain line now and then.
    Lines,
    /// Not at all.
    Off,
}

struct Shared {
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
    stdout_failure: Mutex<Option<io::Error>>,
    /// Documents of a command that prints several as one array.
    documents: Mutex<Option<Vec<Value>>>,
    quiet: u8,
    json: bool,
    color: bool,
    progress: ProgressMode,
    bars: MultiProgress,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

impl Printer {
    /// Prints to the environment's streams as the global flags say.
    pub(crate) fn new(global: &Global, env: &mut Env) -> Self {
        let dumb = env.var("TERM").is_some_and(|term| term == "dumb");
        let terminal = env.stderr_is_terminal;
        let progress = match (global.no_progress || global.json || global.quiet > 0, terminal && !dumb) {
            (true, _) => ProgressMode::Off,
            (false, true) => ProgressMode::Bars,
            (false, false) => ProgressMode::Lines,
        };
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => env.colors_stderr(),
        };
        let target = match progress {
            ProgressMode::Bars => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        Self {
            shared: Arc::new(Shared {
                stdout: Mutex::new(std::mem::replace(&mut env.stdout, Box::new(io::sink()))),
                stderr: Mutex::new(std::mem::replace(&mut env.stderr, Box::new(io::sink()))),
                stdout_failure: Mutex::new(None),
                documents: Mutex::new(None),
                quiet: global.quiet,
                json: global.json,
                color,
                progress,
                bars: MultiProgress::with_draw_target(target),
            }),
        }
    }

    /// Whether standard output carries JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.shared.json
    }

    /// How progress is shown.
    pub(crate) fn progress_mode(&self) -> ProgressMode {
        self.shared.progress
    }

    /// Where bars are drawn.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.shared.bars
    }

    /// Whether people see decoration.
    pub(crate) fn is_colored(&self) -> bool {
        self.shared.color
    }

    /// A line of data.
    pub(crate) fn data(&self, line: impl Display) {
        self.bytes(format!("{line}\n").as_bytes());
    }

    /// A path as data: its own bytes, whatever they are, so that scripts can use it.
    pub(crate) fn path(&self, path: &Path) {
        let mut line = path.as_os_str().as_encoded_bytes().to_vec();
        line.push(b'\n');
        self.bytes(&line);
    }

    /// JSON as a line of data, with the schema's version in front.
    pub(crate) fn json(&self, mut value: Value) {
        if let Some(object) = value.as_object_mut() {
            object.insert("schema".into(), SCHEMA.into());
        }
        match &mut *lock(&self.shared.documents) {
            Some(documents) => documents.push(value),
            None => self.data(value),
        }
    }

    /// From now on `count` documents, and what goes wrong meanwhile, make one: an array. A single one stands for itself.
    pub(crate) fn collect(&self, count: usize) {
        if count > 1 && self.shared.json {
            *lock(&self.shared.documents) = Some(Vec::new());
        }
    }

    /// The end of the command: prints what was collected.
    pub(crate) fn finish(&self) {
        let documents = lock(&self.shared.documents).take();
        if let Some(documents) = documents {
            self.data(Value::from(documents));
        }
    }

    /// Takes the bars away for good, although a thread that was left behind may still draw them.
    pub(crate) fn close_bars(&self) {
        // What can't be cleared is no terminal any more.
        let _ = self.shared.bars.clear();
        self.shared.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Bytes of data as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        if self.shared.quiet > 1 {
            return;
        }
        self.shared.bars.suspend(|| {
            let mut stdout = lock(&self.shared.stdout);
            let mut failure = lock(&self.shared.stdout_failure);
            // A reader that has gone must not end a download: it is remembered, and reported at the end.
            if failure.is_none() {
                *failure = stdout.write_all(bytes).and_then(|()| stdout.flush()).err();
            }
        });
    }

    /// A line for people; `-q` silences it.
    pub(crate) fn note(&self, line: impl Display) {
        if self.shared.quiet == 0 {
            self.people(&format!("{line}\n"));
        }
    }

    /// Something is odd, but work goes on; `-q` silences it.
    pub(crate) fn warn(&self, line: impl Display) {
        if self.shared.quiet == 0 {
            self.people(&format!("{} {line}\n", self.paint(WARNING, "warning:")));
        }
    }

    /// Something failed, and the way out; `-qq` silences it.
    pub(crate) fn error(&self, error: &CliError) {
        self.error_about(None, error);
    }

    /// As [`Printer::error`]; the JSON names the torrent.
    pub(crate) fn error_about(&self, info_hash: Option<InfoHash>, error: &CliError) {
        // Whatever an error quotes from outside must not reach the terminal as commands.
        let message = without_os_code(&error.to_string());
        let message = printable(&message);
        let hint = error.hint();
        if self.is_json() {
            self.json(serde_json::json!({
                "event": "error", "message": message, "hint": hint, "exit_code": error.exit().code(),
                "info_hash": info_hash.map(|hash| hash.to_string()),
            }));
        }
        if self.shared.quiet < 2 {
            let mut text = format!("{} {message}\n", self.paint(ERROR, "error:"));
            if let Some(hint) = hint {
                text += &format!("{} {}\n", self.paint(HINT, "hint:"), printable(&hint));
            }
            self.people(&text);
        }
    }

    /// What went wrong with standard output, if anything did.
    pub(crate) fn take_stdout_failure(&self) -> Option<io::Error> {
        lock(&self.shared.stdout_failure).take()
    }

    /// Decorates for people.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.shared.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn people(&self, text: &str) {
        self.shared.bars.suspend(|| {
            // There is nobody left to tell if this fails.
            let _ = lock(&self.shared.stderr).write_all(text.as_bytes());
        });
    }
}

/// A line of the log, as `tracing` writes it: whole, and not into a bar.
pub(crate) struct LogLine {
    printer: Printer,
    text: Vec<u8>,
}

impl LogLine {
    /// For one line.
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, text: Vec::new() }
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        self.printer.people(&String::from_utf8_lossy(&self.text));
    }
}

/// "No such file or directory (os error 2)" without the number, which helps nobody.
pub(crate) fn without_os_code(text: &str) -> String {
    let Some((before, rest)) = text.rsplit_once(" (os error ") else { return text.to_owned() };
    match rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(')') {
        Some(after) => format!("{before}{after}"),
        None => text.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while printing leaves nothing half-done that would matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_operating_system_are_left_out() {
        assert_eq!(without_os_code("can't read x: No such file (os error 2)"), "can't read x: No such file");
        assert_eq!(without_os_code("a (os error x)"), "a (os error x)");
    }
}
