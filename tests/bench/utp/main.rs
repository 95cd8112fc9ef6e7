//! What uTP leaves to others (experiment 15 of the reference on swarms):
//!
//! ```text
//! cargo bench -p tests --bench utp -- [OPTION VALUE]...        (as root: it makes network namespaces)
//! ```
//!
//! One host sends through a router over 4 Mbit/s with half a second of buffer, as at home; others receive, each a `sprat get` from a
//! `sprat seed` of its own over uTP, or from libtorrent if that is installed, or whatever the kernel's TCP brings. A packet goes through the buffer
//! twenty times a second, and says how long it has waited. It prints a Markdown table with the marks that there are, and fails only if a transfer
//! does not go.

mod flow;
mod queue;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use flow::{Flow, Kind};
use harness::bench::machine;
use harness::foreign::libtorrent;
use harness::netns::{Host, Network};
use harness::reaper::Reaper;
use harness::require;
use harness::sandbox::Sandbox;
use harness::wait::{self, Stopwatch};
use queue::Probe;

/// Bits a second.
const RATE: u64 = 4_000_000;

/// What the buffer holds.
const BUFFER: Duration = Duration::from_millis(500);

/// Until the last flow has found its rate.
const WARM_UP: Duration = Duration::from_secs(30);

const USAGE: &str = "\
usage: cargo bench -p tests --bench utp -- [OPTION VALUE]...       (as root: it makes network namespaces)

  --seconds N          how long is measured, in each of eight cases, after half a minute     [60]
  --congestion NAME    the congestion control of TCP                                       [cubic]
  --only TEXT          the cases whose names have this in them                             [all]
  --out FILE           the table goes there too
";

/// What happens on the line.
struct Case {
    name: &'static str,
    /// With the seconds after which they begin.
    flows: &'static [(Kind, u64)],
    marks: &'static [Mark],
}

/// What is wanted.
#[derive(Clone, Copy)]
enum Mark {
    /// The line is used to such a share.
    Used(f64),
    /// The mean wait in the queue, in milliseconds.
    Wait(f64),
    /// TCP has such a share of what the flows have together.
    TcpKeeps(f64),
    /// Jain's index of fairness.
    Jain(f64),
    /// The least that one has of what the flows have together.
    Least(f64),
}

const CASES: [Case; 8] = [
    Case { name: "TCP alone", flows: &[(Kind::Tcp, 0)], marks: &[] },
    Case { name: "uTP alone", flows: &[(Kind::Utp, 0)], marks: &[Mark::Used(0.95), Mark::Wait(130.0)] },
    Case { name: "uTP, then TCP", flows: &[(Kind::Utp, 0), (Kind::Tcp, 15)], marks: &[Mark::TcpKeeps(0.8)] },
    Case { name: "TCP, then uTP", flows: &[(Kind::Tcp, 0), (Kind::Utp, 15)], marks: &[Mark::TcpKeeps(0.8)] },
    Case {
        name: "four uTP",
        flows: &[(Kind::Utp, 0), (Kind::Utp, 0), (Kind::Utp, 0), (Kind::Utp, 0)],
        marks: &[Mark::Jain(0.9), Mark::Used(0.95), Mark::Wait(130.0)],
    },
    Case {
        name: "four uTP, one by one",
        flows: &[(Kind::Utp, 0), (Kind::Utp, 10), (Kind::Utp, 20), (Kind::Utp, 30)],
        marks: &[Mark::Jain(0.9), Mark::Used(0.95), Mark::Wait(130.0)],
    },
    Case {
        name: "uTP, then libtorrent's",
        flows: &[(Kind::Utp, 0), (Kind::Libtorrent, 15)],
        marks: &[Mark::Least(0.1)],
    },
    Case {
        name: "libtorrent's uTP, then ours",
        flows: &[(Kind::Libtorrent, 0), (Kind::Utp, 15)],
        marks: &[Mark::Least(0.1)],
    },
];

/// What was measured.
struct Outcome {
    /// Bytes of frames that each flow had, and of payload.
    frames: Vec<u64>,
    payload: Vec<u64>,
    seconds: f64,
    /// Of packets through the queue, in milliseconds.
    waits: Vec<f64>,
}

fn main() -> ExitCode {
    let (mut seconds, mut congestion, mut only, mut out) = (60, String::from("cubic"), String::new(), None);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--seconds" && value.parse().is_ok_and(|n: u64| n > 0) => {
                seconds = value.parse().unwrap_or(seconds);
            }
            [option, value] if option == "--congestion" => congestion.clone_from(value),
            [option, value] if option == "--only" => only.clone_from(value),
            [option, value] if option == "--out" => out = Some(value.clone()),
            _ => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if !require::require_networks() {
        eprintln!("utp: run it as root, where network namespaces may be made");
        return ExitCode::FAILURE;
    }
    let mut text = machine::describe();
    let _ = write!(
        text,
        "\n{} Mbit/s, a buffer of {} ms, {seconds} s of each case, TCP with {congestion}.\n\n\
         | | flows' shares of the line, % | payload, % | queue: mean, ms | 95 % | marks |\n\
         | --- | ---: | ---: | ---: | ---: | --- |\n",
        RATE / 1_000_000,
        BUFFER.as_millis()
    );
    print!("{text}");
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        if case.flows.iter().any(|(kind, _)| *kind == Kind::Libtorrent) && !libtorrent::require() {
            continue;
        }
        let outcome = measure(case, &congestion, Duration::from_secs(seconds));
        let row = outcome.row(case);
        print!("{row}");
        text.push_str(&row);
        if let Some(out) = &out {
            std::fs::write(out, &text).expect("--out can be written");
        }
    }
    ExitCode::SUCCESS
}

fn measure(case: &Case, congestion: &str, measured: Duration) -> Outcome {
    let sandbox = Sandbox::new();
    let _reaper = Reaper::start(sandbox.root());
    let network = Network::new();
    let (sender, echo) = (network.home(RATE, BUFFER), network.host());
    sender.set_congestion_control(congestion);
    let receivers: Vec<Host> = case.flows.iter().map(|_| network.host()).collect();
    let torrent = flow::torrent(&sandbox);
    let prepared = case.flows.iter().enumerate();
    let mut flows: Vec<Flow> = prepared
        .map(|(number, (kind, _))| Flow::prepare(*kind, &sandbox, &torrent, &sender, number))
        .collect();
    let clock = Stopwatch::start();
    for (flow, ((_, begins), host)) in flows.iter_mut().zip(case.flows.iter().zip(&receivers)) {
        wait::moment(Duration::from_secs(*begins).saturating_sub(clock.elapsed()));
        flow.begin(&sandbox, &torrent, &sender, host);
    }
    wait::moment(WARM_UP);
    let read = || -> (Vec<u64>, Vec<u64>) {
        // The sender and the echo are plugged in before the receivers.
        let frames = network.traffic()[2..].iter().map(|traffic| traffic.received).collect();
        (frames, flows.iter().map(Flow::had).collect())
    };
    let probe = Probe::start(&sender, &echo);
    let (before, clock) = (read(), Stopwatch::start());
    wait::moment(measured);
    let (after, seconds) = (read(), clock.elapsed().as_secs_f64());
    let difference = |after: Vec<u64>, before: Vec<u64>| -> Vec<u64> {
        after.into_iter().zip(before).map(|(after, before)| after - before).collect()
    };
    let outcome = Outcome {
        frames: difference(after.0, before.0),
        payload: difference(after.1, before.1),
        seconds,
        waits: probe.stop(),
    };
    assert!(outcome.payload.iter().sum::<u64>() > 0, "{}: nothing was transferred", case.name);
    outcome
}

impl Outcome {
    /// The share of the line that so many bytes are.
    fn share(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / RATE as f64 / self.seconds
    }

    fn jain(&self) -> f64 {
        let sum: f64 = self.frames.iter().map(|bytes| *bytes as f64).sum();
        let squares: f64 = self.frames.iter().map(|bytes| (*bytes as f64).powi(2)).sum();
        sum * sum / squares / self.frames.len() as f64
    }

    fn row(&self, case: &Case) -> String {
        let mean = self.waits.iter().sum::<f64>() / self.waits.len() as f64;
        let mut sorted = self.waits.clone();
        sorted.sort_by(f64::total_cmp);
        let high = sorted[sorted.len() * 95 / 100];
        let all: u64 = self.frames.iter().sum();
        let tcp: u64 = case
            .flows
            .iter()
            .zip(&self.frames)
            .map(|(flow, bytes)| if flow.0 == Kind::Tcp { *bytes } else { 0 })
            .sum();
        let marks: Vec<String> = case
            .marks
            .iter()
            .map(|mark| {
                let (text, met) = match *mark {
                    Mark::Used(least) => {
                        let used = self.share(all);
                        (format!("used {:.1} % (≥ {:.0})", 100.0 * used, 100.0 * least), used >= least)
                    }
                    Mark::Wait(most) => (format!("queue {mean:.0} ms (≤ {most:.0})"), mean <= most),
                    Mark::TcpKeeps(least) => {
                        let kept = tcp as f64 / all as f64;
                        (format!("TCP keeps {:.1} % (≥ {:.0})", 100.0 * kept, 100.0 * least), kept >= least)
                    }
                    Mark::Least(least) => {
                        let fewest = *self.frames.iter().min().unwrap_or(&0) as f64 / all as f64;
                        (
                            format!("the least {:.1} % (≥ {:.0})", 100.0 * fewest, 100.0 * least),
                            fewest >= least,
                        )
                    }
                    Mark::Jain(least) => {
                        let jain = self.jain();
                        (format!("Jain {jain:.3} (≥ {least})"), jain >= least)
                    }
                };
                format!("{text}: {}", if met { "met" } else { "**missed**" })
            })
            .collect();
        let shares: Vec<String> =
            self.frames.iter().map(|bytes| format!("{:.1}", 100.0 * self.share(*bytes))).collect();
        let payload = 100.0 * self.share(self.payload.iter().sum());
        format!(
            "| {} | {} | {payload:.1} | {mean:.0} | {high:.0} | {} |\n",
            case.name,
            shares.join(", "),
            marks.join("; ")
        )
    }
}
