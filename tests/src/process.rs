//! A running program: its lines as they come, its end, and its death when the test is over.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub use rustix::process::Signal;

use crate::wait::{self, Deadline, Stopwatch};

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line that a program wrote.
#[derive(Clone, Debug)]
pub struct Line {
    /// On which stream.
    pub stream: Stream,
    /// When it was read, since the start of the program.
    pub at: Duration,
    /// Without its end; bytes that are not UTF-8 replaced.
    pub text: String,
}

/// How a program ended, and all that it wrote.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Every line, in the order of reading.
    pub lines: Vec<Line>,
}

/// A child process. Dropped, it is killed by its own pid.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    started: Stopwatch,
    output: Arc<Output>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<Captured>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Captured {
    lines: Vec<Line>,
    closed: usize,
}

impl Finished {
    /// What it wrote on standard output.
    pub fn stdout(&self) -> String {
        join(&self.lines, Stream::Out)
    }

    /// What it wrote on standard error.
    pub fn stderr(&self) -> String {
        join(&self.lines, Stream::Err)
    }

    /// Fails the test with all output unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code\n{}", transcript(&self.lines));
        self
    }
}

impl Process {
    /// Starts `command`; `name` is how failures call it.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let started = Stopwatch::start();
        command.stdin(Stdio::null());
        Self::adopt(name, command, started)
    }

    /// Like [`Process::spawn`], with `input` on its standard input, which is then closed.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn_with_input(name: &str, command: &mut Command, input: &[u8]) -> Self {
        let started = Stopwatch::start();
        command.stdin(Stdio::piped());
        let mut process = Self::adopt(name, command, started);
        if let Some(mut stdin) = process.child.stdin.take() {
            // The program may have refused its arguments and gone: then its exit code says so.
            let _ = std::io::Write::write_all(&mut stdin, input);
        }
        process
    }

    fn adopt(name: &str, command: &mut Command, started: Stopwatch) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name}: can't start {command:?}: {error}"));
        let output = Arc::new(Output::default());
        let out = child.stdout.take().expect("was piped");
        let err = child.stderr.take().expect("was piped");
        read_lines(out, Stream::Out, started, Arc::clone(&output));
        read_lines(err, Stream::Err, started, Arc::clone(&output));
        Self { name: name.to_owned(), child, started, output, ended: false }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Since it was started: the same clock as [`Line::at`].
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it wrote so far.
    pub fn lines(&self) -> Vec<Line> {
        self.locked().lines.clone()
    }

    /// Shows what it wrote so far, without a copy.
    pub fn look<T>(&self, probe: impl FnOnce(&[Line]) -> T) -> T {
        probe(&self.locked().lines)
    }

    /// Waits until `probe`, which is shown all lines so far whenever there are new ones, gives something.
    ///
    /// # Panics
    /// If it does not within `limit`, or the program ends before.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, limit: Duration, mut probe: impl FnMut(&[Line]) -> Option<T>) -> T {
        let deadline = Deadline::after(limit);
        let mut state = self.locked();
        loop {
            if let Some(found) = probe(&state.lines) {
                return found;
            }
            let left = deadline.remaining().filter(|_| state.closed < 2);
            let Some(left) = left else {
                let (name, text) = (&self.name, transcript(&state.lines));
                drop(state);
                panic!("{name}: {what}: not within {limit:?}, or it ended\n{text}");
            };
            state = self.output.changed.wait_timeout(state, left).expect("no reader panics").0;
        }
    }

    /// Waits for a line on either stream that holds `text`, and gives it.
    ///
    /// # Panics
    /// As [`Process::wait_for`].
    #[track_caller]
    pub fn wait_line(&self, text: &str, limit: Duration) -> String {
        self.wait_for(&format!("a line with {text:?}"), limit, |lines| {
            lines.iter().find(|line| line.text.contains(text)).map(|line| line.text.clone())
        })
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    #[track_caller]
    pub fn wait_exit(mut self, limit: Duration) -> Finished {
        let name = self.name.clone();
        let status = wait::try_until(limit, || self.child.try_wait().expect("it is our child"));
        let Some(status) = status else {
            panic!("{name}: still running after {limit:?}");
        };
        self.ended = true;
        // The pipes may be held open by a grandchild; what matters has been written by now.
        let deadline = Deadline::after(Duration::from_secs(5));
        let mut state = self.locked();
        while let Some(left) = deadline.remaining().filter(|_| state.closed < 2) {
            state = self.output.changed.wait_timeout(state, left).expect("no reader panics").0;
        }
        let lines = state.lines.clone();
        drop(state);
        Finished { code: status.code().filter(|_| status.signal().is_none()), lines }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        // It may have ended by itself: whoever waits for it sees how.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// SIGKILL, and waits until it is gone.
    #[track_caller]
    pub fn kill(mut self) -> Finished {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        self.wait_exit(wait::SOON)
    }

    fn locked(&self) -> MutexGuard<'_, Captured> {
        self.output.state.lock().expect("no reader panics")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, transcript(&self.lines()));
        }
    }
}

/// Runs `command` to its end.
///
/// # Panics
/// If it does not end within `limit`.
#[track_caller]
pub fn run(name: &str, command: &mut Command, limit: Duration) -> Finished {
    Process::spawn(name, command).wait_exit(limit)
}

fn read_lines(from: impl Read + Send + 'static, stream: Stream, started: Stopwatch, output: Arc<Output>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { break };
            let text = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            let mut state = output.state.lock().expect("no test panics with it");
            state.lines.push(Line { stream, at: started.elapsed(), text });
            output.changed.notify_all();
        }
        output.state.lock().expect("no test panics with it").closed += 1;
        output.changed.notify_all();
    });
}

fn join(lines: &[Line], stream: Stream) -> String {
    lines.iter().filter(|line| line.stream == stream).fold(String::new(), |mut text, line| {
        text.push_str(&line.text);
        text.push('\n');
        text
    })
}

/// The last lines with stream and time, for a failure's message.
fn transcript(lines: &[Line]) -> String {
    const SHOWN: usize = 60;
    let mut text = String::new();
    if lines.len() > SHOWN {
        let _ = writeln!(text, "… {} lines before", lines.len() - SHOWN);
    }
    for line in &lines[lines.len().saturating_sub(SHOWN)..] {
        let _ = writeln!(text, "{:8.3} {:?} {}", line.at.as_secs_f64(), line.stream, line.text);
    }
    text
}
