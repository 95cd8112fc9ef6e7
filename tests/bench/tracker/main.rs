//! How much of a processor an announce takes, sprat's tracker beside those that others wrote, in one run:
//!
//! ```text
//! cargo bench -p tests --bench tracker -- [OPTION VALUE]...
//! ```
//!
//! The load comes from this process, on a core of its own; each tracker has the other core to itself while its turn is, and the
//! trackers take turns, so that what disturbs the machine disturbs all of them. Every answer is checked. It prints Markdown tables
//! and asserts no time; it fails only if sprat does not answer rightly.

mod contenders;
mod expiry;
mod floor;
mod http;
mod memory;
mod options;
mod packet;
mod population;
mod scenario;
mod tally;
mod throughput;
mod udp;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

use harness::bench::machine;
use rustix::thread::{CpuSet, sched_setaffinity};

use contenders::Tools;
use options::Options;
use scenario::Scenario;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [floor, address] = &arguments[..]
        && let Ok(address) = address.parse::<SocketAddr>()
    {
        return serve(floor, address);
    }
    let options = match Options::read(arguments.into_iter()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("tracker: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    // Open to other users: opentracker runs as one who may do nothing.
    let everyone_reads = fs::Permissions::from_mode(0o755);
    let work = tempfile::Builder::new().prefix("sprat-bench-").permissions(everyone_reads).tempdir();
    let work = work.expect("a temporary directory can be made");
    let tools = Tools::find(&options);
    let mut text = format!("{}\n{}\n", machine::describe(), tools.describe());
    print!("{text}");
    if machine::cores() < 2 {
        eprintln!("tracker: the load and the tracker need a core each");
        return ExitCode::FAILURE;
    }
    let mut core = CpuSet::new();
    core.set(options.load_core);
    sched_setaffinity(None, &core).expect("--load-core is a core of this machine");
    let mut sound = true;
    for &scenario in &options.scenarios {
        let (table, right) = match scenario {
            Scenario::Memory | Scenario::Memory6 => memory::table(scenario, &tools, &options, work.path()),
            Scenario::Expiry => expiry::table(&tools, &options, work.path()),
            _ => throughput::table(scenario, &tools, &options, work.path()),
        };
        sound &= right;
        print!("\n{table}");
        let _ = write!(text, "\n{table}");
        save(&options, &text);
    }
    let made_by = format!("\nMade by `{}`.\n", options.command());
    print!("{made_by}");
    save(&options, &(text + &made_by));
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// This process again, as a server that knows nothing.
fn serve(floor: &str, address: SocketAddr) -> ExitCode {
    let ended = match floor {
        "floor-udp" => floor::udp(address),
        _ => floor::http(address),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{floor}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn save(options: &Options, text: &str) {
    if let Some(path) = &options.out {
        fs::write(path, text).expect("--out can be written");
    }
}
