//! The simulator: whole swarms of the real core in virtual time, on one thread, without a socket.
//!
//! A [`World`] owns one [`queue`] of (time, sequence, event) and one seeded generator. Each [`node`] owns a `client::torrent::Torrent` and
//! drives it exactly as the engine does: one handler call, then every action. [`link`] carries messages and blocks with latency
//! and a shared uplink; announces go to the real `tracker::swarm::Swarms`; a [`check::Checker`] watches every step. No payload exists:
//! a block is its coordinates and a mark that says whether its bytes would be good.
//!
//! Not all play by the rules: a [`Behaviour`] says who cheats, and how. [`experiments`] are the swarms by which the core is judged, each with the
//! marks that it must reach; [`limits`] say what nobody can beat.
//!
//! A [`Scenario`] and its seed decide everything that happens, bit for bit; [`Report::log`] is the proof, a hash over all events.

use std::sync::atomic::{AtomicUsize, Ordering};

pub mod behaviour;
pub mod check;
pub mod event;
pub mod experiments;
pub mod graph;
pub mod idle;
pub mod limits;
pub mod link;
pub mod node;
pub mod plot;
pub mod queue;
pub mod report;
pub mod scenario;
pub mod world;

pub use behaviour::Behaviour;
pub use check::{Checker, Rule, Violation};
pub use report::{Outcome, Report};
pub use scenario::{Holding, Leaving, NodeSpec, Scenario};
pub use world::World;

/// Runs all of these, `jobs` at a time, and reports in their order.
///
/// # Panics
/// If a run does: the core is in a loop.
pub fn run_all(scenarios: &[Scenario], jobs: usize) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(index) else { return done };
            done.push((index, World::new(scenario.clone()).run()));
        }
    };
    let mut runs: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run panicked")).collect()
    });
    runs.sort_by_key(|(index, _)| *index);
    runs.into_iter().map(|(_, run)| run).collect()
}
