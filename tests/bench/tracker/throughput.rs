//! Announces in a processor second, and how long they take.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use harness::bench::median;
use harness::bench::usage::{cpu_of_self, cpu_seconds, resident};

use crate::contenders::{Kind, Running, Setup, Tools, Wire};
use crate::options::Options;
use crate::population::Population;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::udp::Until;
use crate::{http, udp};

/// How long the paced part of a run lasts at most.
const PACED: Duration = Duration::from_secs(2);

/// A tracker with its clients.
struct Contest<'a> {
    running: Running,
    client: Client<'a>,
    rounds: Vec<Round>,
}

enum Client<'a> {
    Udp(udp::Generator<'a>, udp::Load),
    Http(http::Generator<'a>),
}

/// One run.
struct Round {
    tally: Tally,
    /// Processor seconds of the tracker, and of the load.
    tracker: f64,
    load: f64,
    paced: Option<Tally>,
    resident: u64,
}

/// All runs; gives the table, and whether sprat answered rightly.
pub(crate) fn table(scenario: Scenario, tools: &Tools, options: &Options, work: &Path) -> (String, bool) {
    let wire = match scenario {
        Scenario::Http => Wire::Http,
        Scenario::HttpClose => Wire::HttpClose,
        _ => Wire::Udp,
    };
    let sources = if scenario.is_udp() { options.sources } else { options.connections };
    let population = Population::zipf(options.torrents, options.peers, sources);
    let setup = Setup {
        work,
        core: options.tracker_core,
        numwant: options.numwant,
        hashes: population.hashes(),
        extra: &[],
    };
    let mut left_out = String::new();
    let mut contests = Vec::new();
    for kind in tools.kinds(wire).into_iter().filter(|&kind| options.wants(kind)) {
        eprintln!("{scenario}: {kind} gets its peers");
        match prepare(kind, wire, tools, options, &setup, &population, scenario == Scenario::UdpConnect) {
            Ok(contest) => contests.push(contest),
            Err(problem) => {
                let _ = writeln!(left_out, "\nLeft out: {kind}: {problem}");
            }
        }
    }
    for number in 1..=options.runs {
        eprintln!("{scenario}: run {number} of {}", options.runs);
        for contest in &mut contests {
            contest.play(options, options.rate(scenario));
        }
    }
    let right = contests.iter().filter(|contest| contest.running.kind == Kind::Sprat).all(Contest::is_sound);
    (render(scenario, options, &contests) + &left_out, right)
}

fn prepare<'a>(
    kind: Kind,
    wire: Wire,
    tools: &Tools,
    options: &Options,
    setup: &Setup<'_>,
    population: &'a Population,
    connect_each: bool,
) -> Result<Contest<'a>, String> {
    let running = tools.start(kind, wire, setup)?;
    let mut client = if matches!(wire, Wire::Udp | Wire::Udp6) {
        let generator =
            udp::Generator::new(running.address, population).map_err(|error| error.to_string())?;
        let load = udp::Load {
            numwant: options.numwant,
            window: options.window,
            burst: options.burst,
            connect_each: false,
        };
        Client::Udp(generator, load)
    } else {
        let load = http::Load { numwant: options.numwant, close: wire == Wire::HttpClose };
        Client::Http(http::Generator::new(running.address, population, load))
    };
    let tally = client.saturate(Until::All)?;
    if tally.answered < population.len() / 2 {
        return Err(format!(
            "{} of {} first announces were answered, {} wrongly",
            tally.answered,
            population.len(),
            tally.bad
        ));
    }
    if let Client::Udp(_, load) = &mut client {
        load.connect_each = connect_each;
    }
    Ok(Contest { running, client, rounds: Vec::new() })
}

impl Client<'_> {
    fn saturate(&mut self, until: Until) -> Result<Tally, String> {
        match self {
            Self::Udp(generator, load) => {
                generator.connect()?;
                Ok(generator.saturate(load, until))
            }
            Self::Http(generator) => Ok(generator.saturate(until)),
        }
    }
}

impl Contest<'_> {
    fn play(&mut self, options: &Options, rate: Option<f64>) {
        let pid = self.running.process.pid();
        let (tracker, load) = (cpu_seconds(pid), cpu_of_self());
        let tally = self.client.saturate(Until::After(options.time)).unwrap_or_default();
        let (tracker, load) = (cpu_seconds(pid) - tracker, cpu_of_self() - load);
        let time = options.time.min(PACED);
        let paced = rate.map(|rate| match &mut self.client {
            Client::Udp(generator, load) => generator.pace(load, rate, time),
            Client::Http(generator) => generator.pace(rate, time),
        });
        self.rounds.push(Round { tally, tracker, load, paced, resident: resident(pid) });
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of)).unwrap_or(0.0)
    }

    fn is_sound(&self) -> bool {
        self.rounds.iter().all(|round| round.tally.bad == 0 && round.tally.answered > 0)
    }
}

impl Round {
    fn per_cpu_second(&self) -> f64 {
        self.tally.answered as f64 / self.tracker.max(0.01)
    }
}

fn render(scenario: Scenario, options: &Options, contests: &[Contest<'_>]) -> String {
    let mut text = format!("### {}\n\n", scenario.title());
    text.push_str(
        "| tracker | announces a CPU second | range | sprat's against it | announces/s | tracker's core | load's core | peers an answer | p50 µs | p99 µs | RSS MiB | lost | wrong |\n",
    );
    text.push_str(
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let sprat = contests.iter().find(|contest| contest.running.kind == Kind::Sprat);
    for contest in contests {
        let rounds = &contest.rounds;
        let each: Vec<f64> = rounds.iter().map(Round::per_cpu_second).collect();
        let least = each.iter().copied().fold(f64::INFINITY, f64::min);
        let most = each.iter().copied().fold(0.0, f64::max);
        let against = sprat.filter(|_| contest.running.kind != Kind::Sprat).and_then(|sprat| {
            let pairs = sprat.rounds.iter().zip(rounds);
            median(pairs.map(|(ours, theirs)| ours.per_cpu_second() / theirs.per_cpu_second()))
        });
        let share = |of: fn(&Round) -> f64| {
            100.0 * contest.median(|round| of(round) / round.tally.elapsed.as_secs_f64())
        };
        let latency = |share: f64| {
            let each = rounds.iter().filter_map(|round| round.paced.as_ref()?.quantile(share));
            median(each).map_or("–".into(), |value| format!("{value:.0}"))
        };
        let sum = |of: fn(&Tally) -> u64| rounds.iter().map(|round| of(&round.tally)).sum::<u64>();
        let _ = writeln!(
            text,
            "| {} | {:.0} | {least:.0}..{most:.0} | {} | {:.0} | {:.0} % | {:.0} % | {:.1} | {} | {} | {:.0} | {} | {} |",
            contest.running.kind,
            contest.median(Round::per_cpu_second),
            against.map_or("–".into(), |ratio| format!("{ratio:.2}")),
            contest.median(|round| round.tally.rate()),
            share(|round| round.tracker),
            share(|round| round.load),
            contest.median(|round| round.tally.peers_each()),
            latency(0.5),
            latency(0.99),
            contest.median(|round| round.resident as f64 / f64::from(1 << 20)),
            sum(|tally| tally.lost),
            sum(|tally| tally.bad),
        );
    }
    let paced = options
        .rate(scenario)
        .map_or(String::new(), |rate| format!("; p50 and p99 at {rate:.0} announces/s"));
    let _ = writeln!(
        text,
        "\nMedians of {} runs of {} s each, in turn{paced}. {} peers of {} torrents (Zipf), {} wanted.",
        options.runs,
        options.time.as_secs(),
        options.peers,
        options.torrents,
        options.numwant,
    );
    text
}
