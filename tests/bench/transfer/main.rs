//! The data path: how fast one machine moves, hashes and writes, sprat beside the clients that others wrote, in one run:
//!
//! ```text
//! cargo bench -p tests --bench transfer -- [OPTION VALUE]...
//! ```
//!
//! Everything goes over loopback in plain TCP without encryption or limits. The contenders take turns, so that what disturbs the
//! machine disturbs all of them. It prints Markdown tables and asserts no time; it fails only if a copy turns out damaged.

mod clients;
mod crowd;
mod floor;
mod large;
mod measure;
mod options;
mod pair;
mod payload;
mod relay;
mod table;

use std::fmt::Write as _;
use std::process::ExitCode;

use clients::Tools;
use harness::bench::machine;
use harness::reaper::Reaper;
use options::{Case, Options};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if floor::act(&arguments) {
        return ExitCode::SUCCESS;
    }
    let options = match Options::read(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("transfer: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    allow_open_files();
    let work = tempfile::Builder::new().prefix("sprat-bench-").tempdir_in(&options.dir);
    let work = work.expect("a directory can be made in --dir");
    let _reaper = Reaper::start(work.path());
    let tools = Tools::find(&options);
    let mut text = machine::describe();
    let _ = writeln!(text, "\n{}", tools.describe());
    print!("{text}");
    let mut sound = true;
    for case in &options.cases {
        // Of its own, and gone before the next: payloads have one name, and lie in memory.
        let work = tempfile::tempdir_in(work.path()).expect("a directory can be made in another");
        let table = match case {
            Case::Peers => crowd::race(&tools, &options, work.path()),
            Case::Start => large::start(&tools, &options, work.path()),
            Case::Idle => large::idle(&tools, &options, work.path()),
            Case::OneFile | Case::Tree | Case::Delay => {
                pair::race(*case, &tools, &options, work.path(), &mut sound)
            }
        };
        print!("\n{table}");
        let _ = write!(text, "\n{table}");
        options.save(&text);
    }
    let made_by = format!("\nMade by `{}`.\n", options.command());
    print!("{made_by}");
    text.push_str(&made_by);
    options.save(&text);
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// For clients that hold every file of a torrent open: so many, or as many as may be.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (enough, maximum) = (Some(1 << 16), getrlimit(Resource::Nofile).maximum);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: enough, maximum: enough });
    if raised.is_err() {
        // Refused too: then those clients fail, and say so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
