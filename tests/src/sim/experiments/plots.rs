//! The pictures of `docs/swarm.md`.

use super::super::limits::{self, Peer};
use super::super::plot::{Plot, Series};
use super::super::report::Report;
use super::super::{World, run_all};
use super::classes::{RATES, classes};
use super::crowd::crowd;
use super::measure::{honest, took, traffic_by};

/// All pictures: the name of the file, and what is in it.
pub fn plots(small: bool) -> Vec<(&'static str, String)> {
    let (peers, each, pieces) = if small { (100, 10, 64) } else { (1_000, 10, 256) };
    let scenario = classes(1, each, pieces, true);
    let of_classes = World::new(scenario.clone()).run();
    let members: Vec<_> =
        scenario.nodes[1..].iter().map(|node| Peer { up: node.up, down: node.down }).collect();
    let ideal = limits::tit_for_tat(scenario.total, scenario.nodes[0].up, &members, true);
    let limits_of_classes = RATES
        .iter()
        .enumerate()
        .map(|(class, rate)| (format!("{rate} Mbit/s, ideal"), ideal[class].as_secs_f64()));
    vec![
        ("crowd.svg", completion_of_crowds(peers)),
        (
            "classes.svg",
            Plot {
                title: format!("{each} peers of each class, and a seed: share that has everything"),
                axes: ["seconds".into(), "share of the class".into()],
                series: (1..=3).rev().map(|class| completion(&of_classes, Some(class))).collect(),
                limits: limits_of_classes.collect(),
            }
            .svg(),
        ),
        (
            "give-and-take.svg",
            Plot {
                title: "Who gives, gets: rates until the first peer has everything".into(),
                axes: ["upload, Mbit/s".into(), "download, Mbit/s".into()],
                series: (1..=3).rev().map(|class| rates(&of_classes, class)).collect(),
                limits: Vec::new(),
            }
            .svg(),
        ),
    ]
}

/// Experiment 1 at three sizes: the curves should lie one on the other.
fn completion_of_crowds(most: usize) -> String {
    let sizes = [most / 20, most / 5, most];
    let scenarios: Vec<_> = sizes.iter().map(|&peers| crowd(1, peers, 128)).collect();
    let runs = run_all(&scenarios, 1);
    let limits = runs.last().and_then(|run| run.limits).map(|(_, granular)| granular.as_secs_f64());
    Plot {
        title: "Flash crowd of equal peers and an equal seed: share that has everything".into(),
        axes: ["seconds".into(), "share of the peers".into()],
        series: sizes
            .iter()
            .zip(&runs)
            .map(|(peers, run)| Series { name: format!("{peers} peers"), ..completion(run, None) })
            .collect(),
        limits: limits.map(|limit| (format!("limit for {most}"), limit)).into_iter().collect(),
    }
    .svg()
}

fn completion(run: &Report, class: Option<u8>) -> Series {
    let members = || honest(run).filter(|node| class.is_none_or(|class| node.class == class));
    let mut times: Vec<f64> = members().filter_map(|node| Some(node.finished?.as_secs_f64())).collect();
    times.sort_by(f64::total_cmp);
    let count = members().count() as f64;
    let mut points = vec![(0.0, 0.0)];
    for (number, &time) in times.iter().enumerate() {
        points.push((time, number as f64 / count));
        points.push((time, (number + 1) as f64 / count));
    }
    Series { name: class.map_or_else(String::new, name), points, dots: false }
}

fn rates(run: &Report, class: u8) -> Series {
    let until = honest(run).map(|node| took(node) as usize).min().unwrap_or_default();
    let mbit = |bytes: f64| bytes * 8.0 / 1e6 / until.max(1) as f64;
    let members = honest(run).filter(|node| node.class == class);
    let points =
        members.map(|node| traffic_by(node, until)).map(|[up, down]| (mbit(up), mbit(down))).collect();
    Series { name: name(class), points, dots: true }
}

fn name(class: u8) -> String {
    format!("{} Mbit/s", RATES[usize::from(class) - 1])
}
