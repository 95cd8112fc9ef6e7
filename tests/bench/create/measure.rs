//! Time, processor time and memory of whole processes.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use harness::bench;
use harness::bench::usage::{cpu_of_children, kib};
use harness::wait::Stopwatch;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(1);

/// All that was seen of one contender.
#[derive(Debug)]
pub(crate) struct Measured {
    /// From the run that is not timed; `None`: not a process of its own.
    pub(crate) memory: Option<Memory>,
    /// In the order of the rounds.
    pub(crate) runs: Vec<Run>,
}

/// One timed run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From start to exit.
    pub(crate) seconds: f64,
    /// Processor time, user and system, of all its threads; whole hundredths of a second.
    pub(crate) cpu: f64,
}

/// The greatest that were seen, in KiB.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    /// Anonymous pages that are resident: `RssAnon` of /proc/PID/status, looked at every millisecond. Mapped files don't count, and
    /// the page cache never does.
    pub(crate) anonymous: u64,
    /// All that is resident, with mapped files: `VmHWM`, which the kernel keeps. An upper bound of the above that no peak escapes.
    pub(crate) resident: u64,
}

impl Measured {
    /// The median over the runs.
    pub(crate) fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        bench::median(self.runs.iter().map(of)).expect("it ran")
    }
}

/// Runs it untimed with an eye on its memory.
///
/// # Errors
/// If it can't be started, fails, or does not write `output`.
pub(crate) fn watch(command: &mut Command, output: Option<&Path>) -> Result<Option<Memory>, String> {
    let (mut child, errors) = start(command, output)?;
    let status_path = format!("/proc/{}/status", child.id());
    let (ended, end) = mpsc::channel::<()>();
    let sampler = std::thread::spawn(move || {
        let mut memory = Memory::default();
        while end.recv_timeout(SAMPLE) == Err(RecvTimeoutError::Timeout) {
            // Fails once it has ended.
            let Ok(status) = fs::read_to_string(&status_path) else { continue };
            memory.anonymous = memory.anonymous.max(kib(&status, "RssAnon:"));
            memory.resident = memory.resident.max(kib(&status, "VmHWM:"));
        }
        memory
    });
    let ok = finish(&mut child, errors, output);
    drop(ended);
    let memory = sampler.join().expect("the sampler does not panic");
    ok.map(|()| Some(memory))
}

/// Runs it timed.
///
/// # Panics
/// If it fails, which it did not before.
pub(crate) fn time(command: &mut Command, output: Option<&Path>) -> Run {
    let before = cpu_of_children();
    let stopwatch = Stopwatch::start();
    let (mut child, errors) = start(command, output).unwrap_or_else(|problem| panic!("{problem}"));
    finish(&mut child, errors, output).unwrap_or_else(|problem| panic!("{problem}"));
    let seconds = stopwatch.elapsed().as_secs_f64();
    Run { seconds, cpu: cpu_of_children() - before }
}

fn start(command: &mut Command, output: Option<&Path>) -> Result<(Child, File), String> {
    if let Some(output) = output {
        // Not there the first time.
        let _ = fs::remove_file(output);
    }
    // A file, so that nobody has to empty a pipe meanwhile.
    let errors = tempfile::tempfile().expect("a temporary file");
    let stderr = errors.try_clone().expect("a file can be had twice");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
    child.map(|child| (child, errors)).map_err(|error| format!("{command:?}: {error}"))
}

fn finish(child: &mut Child, mut errors: File, output: Option<&Path>) -> Result<(), String> {
    let status = child.wait().expect("it is our child");
    if !status.success() {
        let mut said = String::new();
        // What can't be read is not told.
        let _ = errors.rewind().and_then(|()| errors.read_to_string(&mut said));
        return Err(format!("{status}: {}", said.lines().next().unwrap_or_default()));
    }
    match output {
        Some(path) if !path.is_file() => Err(format!("it wrote no {}", path.display())),
        _ => Ok(()),
    }
}
