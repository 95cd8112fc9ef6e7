//! Who takes part: sprat in its variants, and the tools of others that are installed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::bench::machine::cores;
use harness::bench::version;
use harness::foreign::libtorrent;
use harness::require::find;

use crate::floor::Floor;
use crate::options::Options;
use crate::payload::Payload;

/// The environment variable that chooses sprat's hash kernels, and what it is set to for "lanes off".
const KERNEL: &str = "SPRAT_HASH_KERNEL";

/// A torrent's version, as the command lines call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    V1,
    V2,
    Hybrid,
}

/// Whose figures these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// sprat as it comes.
    Sprat,
    /// sprat with slower kernels.
    SpratKernel,
    /// `sprat verify`.
    Verify,
    /// A tool of others.
    Other,
    /// What the hardware can do.
    Floor,
}

/// One line of the table.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) format: Format,
    pub(crate) action: Action,
}

/// What is timed.
pub(crate) enum Action {
    /// A process, that writes `output`, if it writes something.
    Process { command: Box<dyn Fn() -> Command>, output: Option<PathBuf> },
    /// Threads in this one.
    Floor(Floor),
}

/// What is installed.
pub(crate) struct Tools {
    sprat: PathBuf,
    home: PathBuf,
    others: Vec<Tool>,
    absent: Vec<&'static str>,
}

struct Tool {
    name: &'static str,
    version: String,
    formats: &'static [Format],
    command: fn(&Path, &Job<'_>) -> Command,
    program: PathBuf,
}

/// One torrent to make.
struct Job<'a> {
    format: Format,
    payload: &'a Path,
    output: &'a Path,
    piece_length: u32,
}

impl Tools {
    /// Looks for all of them.
    pub(crate) fn find(options: &Options, work: &Path) -> Self {
        const V1: &[Format] = &[Format::V1];
        type Row<'a> =
            (&'static str, PathBuf, &'a [&'a str], &'static [Format], fn(&Path, &Job<'_>) -> Command);
        let rows: [Row<'_>; 5] = [
            ("mktorrent", "mktorrent".into(), &["--help"], V1, mktorrent),
            ("transmission-create", "transmission-create".into(), &["--version"], V1, transmission),
            (
                "libtorrent (Python)",
                libtorrent::PYTHON.into(),
                &["-c", libtorrent::CREATE_SCRIPT, "version"],
                &[Format::V1, Format::V2, Format::Hybrid],
                libtorrent,
            ),
            ("torf", options.torf.clone(), &["-c", "import torf; print(torf.__version__)"], V1, torf),
            ("imdl", options.imdl.clone(), &["--version"], V1, imdl),
        ];
        let mut tools = Self {
            sprat: harness::binary::sprat().to_owned(),
            home: work.join("home"),
            others: Vec::new(),
            absent: Vec::new(),
        };
        for (name, program, version, formats, command) in rows {
            let program = program.to_str().and_then(find).unwrap_or(program);
            match self::version(Command::new(&program).args(version)) {
                Some(version) => tools.others.push(Tool { name, version, formats, command, program }),
                None => tools.absent.push(name),
            }
        }
        tools
    }

    /// Names and versions, as Markdown.
    pub(crate) fn describe(&self) -> String {
        let sprat = version(Command::new(&self.sprat).arg("--version")).unwrap_or_default();
        let others: Vec<_> =
            self.others.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
        let mut text = format!("sprat {sprat}; {}", others.join("; "));
        if !self.absent.is_empty() {
            text.push_str(&format!("; not installed: {}", self.absent.join(", ")));
        }
        text.push('\n');
        text
    }

    /// All lines of the table of `payload`. sprat's torrent of a format is made before the line that verifies it.
    pub(crate) fn contenders(&self, payload: &Payload, work: &Path) -> Vec<Contender> {
        let mut contenders = Vec::new();
        for format in [Format::V1, Format::V2, Format::Hybrid] {
            contenders.extend(self.sprat_lines(format, payload, work));
            for tool in self.others.iter().filter(|tool| tool.formats.contains(&format)) {
                let output = work.join(format!("{}.{format}.torrent", tool.name));
                let (command, program) = (tool.command, tool.program.clone());
                let (path, torrent, piece_length) =
                    (payload.path(work), output.clone(), payload.piece_length);
                let command = move || {
                    command(&program, &Job { format, payload: &path, output: &torrent, piece_length })
                };
                contenders.push(Contender {
                    kind: Kind::Other,
                    name: tool.name.into(),
                    format,
                    action: Action::Process { command: Box::new(command), output: Some(output) },
                });
            }
            if payload.is_file() {
                let floor = Floor::new(format, &payload.path(work), payload.piece_length);
                let name = format!("floor: {}", floor.kernels());
                contenders.push(Contender { kind: Kind::Floor, name, format, action: Action::Floor(floor) });
            }
        }
        contenders
    }

    fn sprat_lines(&self, format: Format, payload: &Payload, work: &Path) -> Vec<Contender> {
        let line = |kind, name: String, output: Option<PathBuf>, command: Box<dyn Fn() -> Command>| {
            Contender { kind, name, format, action: Action::Process { command, output } }
        };
        let create = |kernel: Option<&'static str>| -> (PathBuf, Box<dyn Fn() -> Command>) {
            let torrent = work.join(format!("sprat.{}.{format}.torrent", kernel.unwrap_or("default")));
            let (tools, payload, output) = (self.sprat("create"), payload.clone(), torrent.clone());
            let work = work.to_owned();
            let command = move || {
                let mut command = tools();
                command.arg(payload.path(&work)).args(["--format", &format.to_string()]).arg("--quiet");
                command.args(["-l", &payload.piece_length.to_string()]).arg("-o").arg(&output);
                if let Some(kernel) = kernel {
                    command.env(KERNEL, kernel);
                }
                command
            };
            (torrent, Box::new(command))
        };
        let (torrent, command) = create(None);
        let mut lines = vec![line(Kind::Sprat, "sprat create".into(), Some(torrent.clone()), command)];
        let (verify, data) = (self.sprat("verify"), payload.path(work));
        let verify = move || {
            let mut command = verify();
            command.arg(&torrent).arg(&data).arg("--quiet");
            command
        };
        lines.push(line(Kind::Verify, "sprat verify".into(), None, Box::new(verify)));
        for kernel in ["sha-ni", "portable"] {
            let (torrent, command) = create(Some(kernel));
            lines.push(line(
                Kind::SpratKernel,
                format!("sprat create, {KERNEL}={kernel}"),
                Some(torrent),
                command,
            ));
        }
        lines
    }

    /// sprat with nobody's settings but its own.
    fn sprat(&self, command: &'static str) -> impl Fn() -> Command + use<> {
        let (sprat, home) = (self.sprat.clone(), self.home.clone());
        move || {
            let mut sprat = Command::new(&sprat);
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("SPRAT_") {
                    sprat.env_remove(&name);
                }
            }
            sprat.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env("XDG_STATE_HOME", &home).arg(command);
            sprat
        }
    }
}

fn mktorrent(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    let exponent = job.piece_length.ilog2();
    command.args(["-d", "-a", "http://tracker.example/announce", "-l", &exponent.to_string()]);
    command.args(["-t", &cores().to_string(), "-o"]).arg(job.output).arg(job.payload);
    command
}

fn transmission(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    let kib = job.piece_length >> 10;
    command.args(["-s", &kib.to_string(), "-o"]).arg(job.output).arg(job.payload);
    command
}

fn libtorrent(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", libtorrent::CREATE_SCRIPT, "create", &job.format.to_string()]);
    command.arg(job.piece_length.to_string()).arg(job.payload).arg(job.output);
    command
}

fn torf(program: &Path, job: &Job<'_>) -> Command {
    const SCRIPT: &str = "\
import sys, torf
torrent = torf.Torrent(path=sys.argv[1], piece_size=int(sys.argv[2]))
torrent.generate(threads=int(sys.argv[3]))
torrent.write(sys.argv[4])
";
    let mut command = Command::new(program);
    command.args(["-c", SCRIPT]).arg(job.payload).arg(job.piece_length.to_string());
    command.arg(cores().to_string()).arg(job.output);
    command
}

fn imdl(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["torrent", "create", "--piece-length", &job.piece_length.to_string()]);
    command.arg("--output").arg(job.output).arg("--input").arg(job.payload);
    command
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.format)
    }
}
