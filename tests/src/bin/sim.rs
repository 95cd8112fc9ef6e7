//! Runs swarms of the real core in virtual time and prints what they came to: `sim flash --peers 50 --seeds 10`.

use std::process::ExitCode;

use client::torrent::Ablation;
use harness::sim::experiments::{ALL, Experiment, Setup, Verdict, plots, table};
use harness::sim::report;
use harness::sim::{Leaving, Outcome, Scenario, run_all};

const USAGE: &str = "\
usage: sim SCENARIO [OPTION VALUE]...
       sim experiment NUMBER [--seeds N] [--jobs N] [--small]
       sim experiments [--seeds N] [--jobs N] [--small]
       sim plot --out DIRECTORY [--small]

scenarios
  flash        one seed and --peers downloaders, equal uplinks, all at once
  slow-seed    the like, with a seed at a quarter of the rate
  leave        the like as flash; the seed leaves once every piece is with somebody else
  poison       the like as flash; one peer in ten sends bad blocks
  chaos        anything goes; of the options only --seeds, --seed and --jobs count

options
  --peers N          downloaders                                        [50]
  --pieces N         pieces                                             [256]
  --piece-length B   bytes of a piece: 16384, 256KiB, 1MiB              [256KiB]
  --rate B           uplink of every node, bytes a second: 512KiB, 4Mbit [512KiB]
  --seeds N          runs, with seeds one after another                 [1]
  --seed N           seed of the first run                              [1]
  --jobs N           runs at a time                                     [1]
  --without P        switch a policy off: rarest-first, choker, endgame, take-over; or the checker, for speed
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_none_or(|first| first == "--help" || first == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if let Some(outcome) = experiments(&arguments) {
        return outcome.unwrap_or_else(|message| {
            eprintln!("sim: {message}\n\n{USAGE}");
            ExitCode::from(2)
        });
    }
    let options = match Options::read(&arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("sim: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let scenarios: Vec<_> = (0..options.seeds).map(|index| options.scenario(options.seed + index)).collect();
    let runs = run_all(&scenarios, options.jobs);
    print!("{}", report::table(&runs));
    for run in &runs {
        println!(
            "seed {}: uplinks in each twentieth of the run, %: used, unwanted, choking, unasked",
            run.seed
        );
        type Kind = fn(&(f64, harness::sim::idle::Share)) -> f64;
        let kinds: [Kind; 4] =
            [|part| part.0, |part| part.1.unwanted, |part| part.1.choking, |part| part.1.unasked];
        for kind in kinds {
            let percent: Vec<_> =
                run.timeline.iter().map(|part| format!("{:3.0}", kind(part) * 100.0)).collect();
            println!("  {}", percent.join(" "));
        }
        let probe = run.probe;
        let each = |sum: u64, of: u64| sum as f64 / of.max(1) as f64;
        println!(
            "seed {}: {:.1} neighbours want something of a node, {:.1} of them are unchoked",
            run.seed,
            each(probe.wanting, probe.looks),
            each(probe.slots, probe.looks)
        );
        // Only the checker knows what was asked of whom.
        if probe.outstanding > 0 {
            println!(
                "seed {}: a downloader waits for {:.0} blocks; of idle uplinks with somebody unchoked {:.0} % have nothing that is not asked \
                 of others",
                run.seed,
                each(probe.outstanding, probe.lacking),
                100.0 * each(probe.asked_elsewhere, probe.unasked)
            );
        }
        for violation in &run.violations {
            println!("seed {}: {violation}", run.seed);
        }
        if run.outcome != Outcome::Finished {
            println!("seed {}: {:?}", run.seed, run.outcome);
        }
    }
    let sound = runs.iter().all(|run| run.outcome == Outcome::Finished && run.violation_count == 0);
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `None`: it is not about experiments.
fn experiments(arguments: &[String]) -> Option<Result<ExitCode, String>> {
    let (first, mut rest) = arguments.split_first()?;
    let mut chosen: Vec<&Experiment> = ALL.iter().collect();
    match first.as_str() {
        "experiments" => {}
        "experiment" => {
            let number = next(&mut rest).and_then(|number| number.parse().ok());
            chosen.retain(|experiment| Some(experiment.number) == number);
            if chosen.is_empty() {
                let known: Vec<_> = ALL.iter().map(|experiment| experiment.number.to_string()).collect();
                return Some(Err(format!("which experiment? One of {}", known.join(", "))));
            }
        }
        "plot" => return Some(draw(rest)),
        _ => return None,
    }
    let mut setup = Setup { seeds: 10, small: false, jobs: 1 };
    while let Some(option) = next(&mut rest) {
        let mut number = || next(&mut rest).and_then(|value| value.parse().ok()).filter(|&number| number > 0);
        let fits = match option.as_str() {
            "--small" => {
                setup.small = true;
                Some(())
            }
            "--seeds" => number().map(|seeds| setup.seeds = seeds),
            "--jobs" => number().map(|jobs| setup.jobs = jobs as usize),
            _ => None,
        };
        if fits.is_none() {
            return Some(Err(format!("{option}: no such option, or not such a value")));
        }
    }
    let mut sound = true;
    for experiment in chosen {
        let rows = (experiment.run)(&setup);
        print!("{}", table(experiment, &rows));
        sound &= rows.iter().all(|row| row.verdict() != Verdict::Fails);
    }
    Some(Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// Writes the pictures.
fn draw(arguments: &[String]) -> Result<ExitCode, String> {
    let (directory, small) = match arguments {
        [out, directory] if out == "--out" => (directory, false),
        [out, directory, small] if out == "--out" && small == "--small" => (directory, true),
        _ => return Err("where to? --out DIRECTORY".into()),
    };
    let directory = std::path::Path::new(directory);
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    for (name, svg) in plots(small) {
        std::fs::write(directory.join(name), svg).map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn next<'a>(rest: &mut &'a [String]) -> Option<&'a String> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(first)
}

struct Options {
    scenario: String,
    peers: usize,
    pieces: u32,
    piece_length: u32,
    rate: u64,
    seeds: u64,
    seed: u64,
    jobs: usize,
    ablation: Ablation,
    checked: bool,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let (scenario, rest) = arguments.split_first().ok_or("which scenario?")?;
        if !["flash", "slow-seed", "leave", "poison", "chaos"].contains(&scenario.as_str()) {
            return Err(format!("no such scenario: {scenario}"));
        }
        let mut options = Self {
            scenario: scenario.clone(),
            peers: 50,
            pieces: 256,
            piece_length: 256 << 10,
            rate: 512 << 10,
            seeds: 1,
            seed: 1,
            jobs: 1,
            ablation: Ablation::default(),
            checked: true,
        };
        for pair in rest.chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let bad = || format!("{option}: {value} won't do");
            let number = || value.parse::<u64>().ok().filter(|&number| number > 0).ok_or_else(bad);
            match option.as_str() {
                "--peers" => options.peers = number()? as usize,
                "--pieces" => options.pieces = u32::try_from(number()?).map_err(|_| bad())?,
                "--piece-length" => {
                    options.piece_length =
                        bytes(value).and_then(|size| u32::try_from(size).ok()).ok_or_else(bad)?;
                }
                "--rate" => options.rate = bytes(value).ok_or_else(bad)?,
                "--seeds" => options.seeds = number()?,
                "--seed" => options.seed = value.parse().map_err(|_| bad())?,
                "--jobs" => options.jobs = number()? as usize,
                "--without" => match value.as_str() {
                    "rarest-first" => options.ablation.random_picker = true,
                    "choker" => options.ablation.no_choker = true,
                    "checker" => options.checked = false,
                    "endgame" => options.ablation.no_endgame = true,
                    "take-over" => options.ablation.no_take_over = true,
                    _ => return Err(bad()),
                },
                _ => return Err(format!("no such option: {option}")),
            }
        }
        Ok(options)
    }

    fn scenario(&self, seed: u64) -> Scenario {
        if self.scenario == "chaos" {
            return Scenario::chaos(seed);
        }
        let mut scenario = Scenario::flash_crowd(seed, self.peers, self.pieces, self.piece_length, self.rate);
        match self.scenario.as_str() {
            "slow-seed" => scenario.nodes[0].up = self.rate.div_ceil(4),
            "leave" => scenario.nodes[0].leaving = Leaving::OnceSpread,
            "poison" => scenario.nodes.iter_mut().skip(1).step_by(10).for_each(|node| node.poison = 0.5),
            _ => {}
        }
        scenario.checked = self.checked;
        for node in &mut scenario.nodes {
            node.ablation = self.ablation;
        }
        scenario
    }
}

/// `16384`, `256KiB`, `1MiB`, or a rate as `4Mbit`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "Mbit" => 125_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|&bytes| bytes > 0)
}
