//! The command line: what was typed becomes calls of the other rooms, and what they say becomes words, bars or JSON.
//!
//! [`run`] is a function of its arguments and its environment, so that tests run it in their own process. `args` holds what was typed;
//! each command has a file of its own; `output` and `progress` are all that prints; `error` knows the exit codes.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use args::Command;
use error::CliError;
pub use exit::Exit;
use output::{LogLine, Printer};
use settings::Settings;
use signals::Signals;
use torrent_format::hash::Kernel;

use crate::engine::net::Via;

mod args;
mod create;
mod date;
mod demo;
mod diff;
mod directory;
mod dump;
mod edit;
mod endpoint;
mod error;
mod examples;
mod exit;
mod get;
mod hook;
mod list;
mod magnet;
mod make;
mod manual;
mod metadata;
mod net;
mod output;
mod parse;
mod progress;
mod publish;
mod scrape;
mod search;
mod seed;
mod select;
mod settings;
mod share;
mod show;
mod signals;
mod source;
mod tracker;
mod transfer;
mod value;
mod verify;
mod watch;
mod write;

/// Looks up an environment variable.
pub type Vars = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// All that a run sees of its surroundings, but for files and the network.
pub struct Env {
    /// Read when a SOURCE is `-`.
    pub stdin: Box<dyn Read + Send>,
    /// For data.
    pub stdout: Box<dyn Write + Send>,
    /// For people.
    pub stderr: Box<dyn Write + Send>,
    /// Whether `stdout` is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether `stderr` is a terminal. Bars are drawn on the process's own.
    pub stderr_is_terminal: bool,
    /// Environment variables.
    pub vars: Vars,
}

impl Env {
    /// That of this process.
    pub fn of_process() -> Self {
        Self {
            stdin: Box::new(io::stdin()),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            vars: Box::new(|name| std::env::var_os(name)),
        }
    }

    fn var(&self, name: &str) -> Option<OsString> {
        (self.vars)(name).filter(|value| !value.is_empty())
    }

    /// NO_COLOR (no-color.org) and TERM=dumb.
    fn allows_colors(&self) -> bool {
        self.var("NO_COLOR").is_none() && self.var("TERM").is_none_or(|term| term != "dumb")
    }

    fn colors_stdout(&self) -> bool {
        self.stdout_is_terminal && self.allows_colors()
    }

    fn colors_stderr(&self) -> bool {
        self.stderr_is_terminal && self.allows_colors()
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("stderr_is_terminal", &self.stderr_is_terminal).finish_non_exhaustive()
    }
}

/// What every command is given.
struct Context {
    out: Printer,
    stdin: Mutex<Box<dyn Read + Send>>,
    vars: Vars,
    /// Where packets may leave.
    via: Via,
}

impl Context {
    /// An environment variable, if it is set to something.
    fn var(&self, name: &str) -> Option<OsString> {
        (self.vars)(name).filter(|value| !value.is_empty())
    }

    /// Standard input; the second to ask finds it empty.
    fn take_stdin(&self) -> Box<dyn Read + Send> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *stdin, Box::new(io::empty()))
    }
}

/// The directory that `variable` names, by default `below` the home (XDG Base Directory Specification: relative ones don't count).
fn base_directory(var: impl Fn(&str) -> Option<OsString>, variable: &str, below: &str) -> Option<PathBuf> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below)))
}

/// Does what `args` (the program's name first) say.
pub fn run<I, T>(args: I, mut env: Env) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let typed = match parse::cli(&args, &Settings::default()) {
        Ok(typed) => typed,
        Err(error) => return explain(&args, &error, &mut env),
    };
    let settings = Settings::read(&typed.global, &env)
        .and_then(|settings| settings.with_environment(typed.command.name(), &env));
    // What the settings say is weighed with what was typed by reading that again.
    let cli = match settings.as_ref().map_or(Ok(typed), |settings| parse::cli(&args, settings)) {
        Ok(cli) => cli,
        Err(error) => return explain(&args, &error, &mut env),
    };
    let out = Printer::new(&cli.global, &mut env);
    let via = cli.command.network().map(net::via).unwrap_or_default();
    let cx = Context { out: out.clone(), stdin: Mutex::new(env.stdin), vars: env.vars, via };
    start_log(&cx, cli.global.verbose, cli.global.quiet);
    let result = settings.and_then(|_| limit_kernel(&cx)).and_then(|()| execute(&cx, cli.command));
    out.close_bars();
    let exit = match result {
        Ok(()) => Exit::Ok,
        Err(CliError::Reported(exit)) => exit,
        Err(error) => {
            out.error(&error);
            error.exit()
        }
    };
    out.finish();
    match out.take_stdout_failure() {
        // Whoever read has enough, as `head` has after ten lines.
        Some(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            let error = CliError::Write { path: "standard output".into(), source };
            out.error(&error);
            if exit == Exit::Ok { error.exit() } else { exit }
        }
        _ => exit,
    }
}

fn execute(cx: &Context, command: Command) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { action: "can't start", source })?;
    let result = runtime.block_on(async {
        match command {
            Command::Create(args) => interruptible(create::run(cx, *args)).await,
            Command::Show(args) => interruptible(show::run(cx, args)).await,
            Command::Verify(args) => interruptible(verify::run(cx, args)).await,
            Command::Edit(args) => interruptible(edit::run(cx, *args)).await,
            Command::Magnet(args) => Box::pin(magnet::run(cx, *args)).await,
            Command::Get(args) => Box::pin(get::run(cx, *args)).await,
            Command::Seed(args) => Box::pin(seed::run(cx, *args)).await,
            Command::Share(args) => Box::pin(share::run(cx, *args)).await,
            Command::Tracker(args) => Box::pin(tracker::run(cx, *args)).await,
            Command::Search(args) => interruptible(search::run(cx, args)).await,
            Command::Publish(args) => interruptible(publish::run(cx, *args)).await,
            Command::Demo(args) => Box::pin(demo::run(cx, args)).await,
            Command::Completions(args) => manual::completions(cx, args).await,
            Command::Man(args) => manual::man(cx, args).await,
        }
    });
    // A thread that still hashes for a command that was interrupted is not waited for.
    runtime.shutdown_background();
    result
}

/// Runs work that has nothing to save: a signal ends it.
async fn interruptible(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        result = Box::pin(work) => result,
        signal = signals.next() => Err(CliError::Interrupted(signal)),
    }
}

/// Prints clap's help or complaint: help is data, a complaint is not, but for an event in JSON.
fn explain(args: &[OsString], error: &clap::Error, env: &mut Env) -> Exit {
    // What was typed could not be read; these two can be told all the same.
    let mut flags = args.iter().take_while(|arg| *arg != "--");
    let json = error.use_stderr() && flags.clone().any(|arg| arg == "--json");
    let value_of = |flag: &OsString, next: Option<&OsString>| match flag.to_str()?.strip_prefix("--color")? {
        "" => next?.to_str().map(str::to_owned),
        rest => rest.strip_prefix('=').map(str::to_owned),
    };
    let mut color = None;
    while let Some(flag) = flags.next() {
        color = value_of(flag, flags.clone().next()).or(color);
    }
    let terminal = if error.use_stderr() { env.colors_stderr() } else { env.colors_stdout() };
    let colors = match color.as_deref() {
        Some("always") => true,
        Some("never") => false,
        _ => terminal,
    };
    let plain = error.render().to_string();
    if json {
        let message = plain.lines().next().unwrap_or_default();
        let event = serde_json::json!({
            "schema": output::SCHEMA, "event": "error", "message": message.strip_prefix("error: ").unwrap_or(message),
            "hint": null, "exit_code": Exit::Usage.code(), "info_hash": null,
        });
        // As below.
        let _ = writeln!(env.stdout, "{event}").and_then(|()| env.stdout.flush());
    }
    let text = if colors { error.render().ansi().to_string() } else { plain };
    let stream = if error.use_stderr() { &mut env.stderr } else { &mut env.stdout };
    // If it can't be printed, the exit code still says it.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if error.use_stderr() { Exit::Usage } else { Exit::Ok }
}

/// SPRAT_HASH_KERNEL: no faster code than this hashes.
fn limit_kernel(cx: &Context) -> Result<(), CliError> {
    let Some(name) = cx.var("SPRAT_HASH_KERNEL") else { return Ok(()) };
    let kernel = name.to_string_lossy().parse::<Kernel>();
    let kernel = kernel.map_err(|error| CliError::Configuration(format!("SPRAT_HASH_KERNEL: {error}")))?;
    torrent_format::hash::limit_kernel(kernel);
    Ok(())
}

fn start_log(cx: &Context, verbose: u8, quiet: u8) {
    let default = match (quiet, verbose) {
        (1.., _) => "off",
        (0, 0) => "error",
        (0, 1) => "warn,client=info,tracker=info",
        (0, _) => "info,client=debug,tracker=debug",
    };
    let wanted = cx.var("RUST_LOG").and_then(|filter| filter.into_string().ok());
    let filter = tracing_subscriber::EnvFilter::new(wanted.as_deref().unwrap_or(default));
    let out = cx.out.clone();
    // A process that runs several commands, as tests do, keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(out.is_colored())
        .with_writer(move || LogLine::new(out.clone()))
        .try_init();
}

#[cfg(test)]
mod tests;
