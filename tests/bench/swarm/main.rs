//! How fast real swarms are, sprat beside the clients that others wrote, in one run:
//!
//! ```text
//! cargo bench -p tests --bench swarm -- [OPTION VALUE]...
//! ```
//!
//! Every peer is a process in a network namespace of its own, on an address in a /24 of its own, behind an uplink and a downlink of
//! limited rate; a bridge in one more namespace joins them, and nothing of the machine's own network is touched. The seeder is there and
//! announced when all leechers begin at one moment. The clients take turns, so that what disturbs the machine disturbs all of them.
//! It prints Markdown tables and asserts no time; it fails only if a copy turns out damaged.

mod calibrate;
mod clients;
mod figures;
mod machine_load;
mod options;
mod payload;
mod reaper;
mod scenario;
mod swarm;
mod table;
mod trace;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use clients::{Client, Tools};
use harness::bench::machine;
use harness::require;
use options::Options;
use reaper::Reaper;
use scenario::{Contender, Scenario};
use swarm::{Run, Stage};

/// The line on which the wire is calibrated, in bits a second.
const CALIBRATED: (u64, u64) = (10_000_000, 40_000_000);

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("swarm: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    if !require::require_networks() {
        eprintln!("swarm: run it as root, where network namespaces may be made");
        return ExitCode::FAILURE;
    }
    let work = tempfile::Builder::new().prefix("sprat-bench-").tempdir_in(&options.dir);
    let work = work.expect("a directory can be made in --dir");
    let _reaper = Reaper::start(work.path());
    let tools = Tools::find(&options);
    let efficiency = calibrate::efficiency(CALIBRATED.0, CALIBRATED.1, &options.congestion);
    let mut text = machine::describe();
    let _ = writeln!(text, "\n{}\n", tools.describe());
    let _ = writeln!(
        text,
        "TCP {}. A plain transfer both ways at once between two hosts of {} Mbit/s up and {} down brings over {efficiency:.3} of the \
         uplinks' rate (η): E_F and E_G are T_F and T_G divided by it and by the time of the last finisher.\n",
        options.congestion,
        CALIBRATED.0 / 1_000_000,
        CALIBRATED.1 / 1_000_000,
    );
    print!("{text}");
    let payload = payload::write(work.path(), options.size);
    let stage = Stage { tools: &tools, options: &options, work: work.path(), payload: &payload, efficiency };
    let mut sound = true;
    for scenario in options.scenarios() {
        let table = race(&scenario, &stage, &text, &mut sound);
        print!("\n{table}");
        let _ = write!(text, "\n{table}");
    }
    let made_by =
        format!("\nMedians and ranges of {} runs, in turn. Made by `{}`.\n", options.runs, options.command());
    print!("{made_by}");
    save(options.out.as_deref(), &[&text, &made_by]);
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All runs of a scenario; gives its table.
fn race(scenario: &Scenario, stage: &Stage<'_>, before: &str, sound: &mut bool) -> String {
    let installed = stage.tools.clients();
    if scenario.has_riders() && !installed.contains(&Client::Libtorrent) {
        return format!("### {}\n\nLeft out: its free riders are libtorrent.\n", scenario.name);
    }
    let wanted: Vec<_> = installed.into_iter().filter(|client| stage.options.wants(*client)).collect();
    let contenders = scenario.contenders(&wanted);
    let mut played: Vec<(Contender, Vec<Option<Run>>)> =
        contenders.into_iter().map(|contender| (contender, Vec::new())).collect();
    let mut table = String::new();
    for round in 1..=stage.options.runs {
        for index in 0..played.len() {
            let (contender, runs) = &mut played[index];
            let label = format!("{}-{contender}-{round}", scenario.name).replace(' ', "");
            let run = catch_unwind(AssertUnwindSafe(|| swarm::play(scenario, *contender, stage, &label)));
            if let Ok(run) = &run {
                *sound &= run.damaged == 0;
                let last = run.finished(1.0).map_or("never".into(), |last| format!("{last:.1} s"));
                eprintln!("{label}: last {last}, machine busy {:.0} %", 100.0 * run.load);
                append(stage.options.trace.as_deref(), &label, &trace::trace(run, scenario.piece_length));
            }
            runs.push(run.ok());
            table = table::table(scenario, &played, stage.efficiency);
            save(stage.options.out.as_deref(), &[before, "\n", &table]);
        }
    }
    table
}

fn save(path: Option<&Path>, parts: &[&str]) {
    if let Some(path) = path {
        fs::write(path, parts.concat()).expect("--out can be written");
    }
}

fn append(path: Option<&Path>, label: &str, trace: &str) {
    if let Some(path) = path {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("--trace can be written");
        write!(file, "{label}\n{trace}\n").expect("--trace can be written");
    }
}
