//! How fast torrents are made and verified, sprat beside the tools that others wrote, in one run:
//!
//! ```text
//! cargo bench -p tests --bench create -- [OPTION VALUE]...
//! ```
//!
//! Everything is timed as a whole process, from start to exit, with the payload in the page cache. The contenders take turns, so
//! that what disturbs the machine disturbs all of them. It prints Markdown tables, and asserts no time; it fails only if sprat does.

mod contenders;
mod floor;
mod measure;
mod options;
mod payload;
mod table;

use std::path::Path;
use std::process::ExitCode;

use harness::bench::machine;

use contenders::{Action, Contender, Kind, Tools};
use measure::Measured;
use options::Options;
use payload::Payload;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("create: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let work = tempfile::Builder::new().prefix("sprat-bench-").tempdir_in(&options.dir);
    let work = work.expect("a directory can be made in --dir");
    let tools = Tools::find(&options, work.path());
    println!("{}", machine::describe());
    println!("{}", tools.describe());
    let mut complete = true;
    for payload in options.payloads() {
        eprintln!("writing {payload}");
        payload.write(work.path());
        let contenders = tools.contenders(&payload, work.path());
        let measured = race(&contenders, &payload, work.path(), options.runs);
        println!("{}", table::table(&payload, &contenders, &measured, options.runs));
        payload.remove(work.path());
        let ours = contenders.iter().zip(&measured).filter(|(contender, _)| contender.kind != Kind::Other);
        complete &= ours.into_iter().all(|(_, measured)| measured.is_some());
    }
    println!("Made by `{}`.", options.command());
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One round that is not timed, in which memory is watched and everything comes into the cache; then `runs` timed rounds.
fn race(contenders: &[Contender], payload: &Payload, work: &Path, runs: usize) -> Vec<Option<Measured>> {
    payload.warm(work);
    let mut measured: Vec<_> = contenders
        .iter()
        .map(|contender| {
            eprintln!("first run: {contender}");
            let memory = match &contender.action {
                Action::Process { command, output } => measure::watch(&mut command(), output.as_deref()),
                Action::Floor(floor) => {
                    floor.run();
                    Ok(None)
                }
            };
            match memory {
                Ok(memory) => Some(Measured { memory, runs: Vec::new() }),
                Err(problem) => {
                    println!("Left out: {contender}: {problem}\n");
                    None
                }
            }
        })
        .collect();
    for round in 1..=runs {
        eprintln!("round {round} of {runs}");
        for (contender, measured) in contenders.iter().zip(&mut measured) {
            let Some(measured) = measured else { continue };
            let run = match &contender.action {
                Action::Process { command, output } => measure::time(&mut command(), output.as_deref()),
                Action::Floor(floor) => floor.run(),
            };
            measured.runs.push(run);
        }
    }
    measured
}
