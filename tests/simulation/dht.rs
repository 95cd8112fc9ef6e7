//! Look-ups among many nodes of the DHT, in virtual time: how many find what was announced, in how many steps, with how many questions.
//! The bounds are those that Kademlia's structure gives (docs/architecture.md, "The DHT").

use std::time::Duration;

use client::dht::Id;
use harness::dht::{Searched, World};

/// What was announced, and by whom.
struct Announced {
    info_hash: Id,
    node: usize,
}

/// The figures of many searches.
#[derive(Debug)]
struct Figures {
    success: f64,
    mean_hops: f64,
    most_hops: u32,
    mean_asked: f64,
    median: Duration,
    p99: Duration,
}

const TORRENTS: usize = 50;
const SEARCHES: usize = 1000;

fn announce(world: &mut World) -> Vec<Announced> {
    let announce = |_| {
        let announced = Announced { info_hash: world.any_torrent(), node: world.any_node() };
        world.search(announced.node, announced.info_hash, Some(7000));
        announced
    };
    (0..TORRENTS).map(announce).collect()
}

fn search(name: &str, world: &mut World, announced: &[Announced]) -> Figures {
    let searches: Vec<(bool, Searched)> = (0..SEARCHES)
        .map(|number| {
            let Announced { info_hash, node } = announced[number % announced.len()];
            let mut peer = world.address(node);
            peer.set_port(7000);
            let from = world.any_node();
            let searched = world.search(from, info_hash, None);
            (searched.peers.contains(&peer), searched)
        })
        .collect();
    let count = searches.len() as f64;
    let mean =
        |figure: &dyn Fn(&Searched) -> f64| searches.iter().map(|(_, it)| figure(it)).sum::<f64>() / count;
    let mut times: Vec<_> = searches.iter().map(|(_, it)| it.took).collect();
    times.sort();
    let figures = Figures {
        success: searches.iter().filter(|(found, _)| *found).count() as f64 / count,
        mean_hops: mean(&|it| f64::from(it.outcome.hops)),
        most_hops: searches.iter().map(|(_, it)| it.outcome.hops).max().unwrap_or(0),
        mean_asked: mean(&|it| it.outcome.asked as f64),
        median: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    };
    println!(
        "{name}: found {:.1} %, hops {:.2} (at most {}), asked {:.1}, median {} ms, 99 % within {} ms",
        figures.success * 100.0,
        figures.mean_hops,
        figures.most_hops,
        figures.mean_asked,
        figures.median.as_millis(),
        figures.p99.as_millis()
    );
    figures
}

#[test]
fn of_200_nodes_any_finds_what_any_has_announced() {
    let mut world = World::new(1, 200, 0);
    world.run_for(Duration::from_secs(60));
    assert!(world.fitting() >= 198, "{} have an id that fits their address", world.fitting());
    let announced = announce(&mut world);
    let figures = search("200 nodes", &mut world, &announced);
    assert!(figures.success >= 0.995, "{figures:?}");
    assert!(figures.mean_hops <= 3.2 && figures.most_hops <= 6 && figures.mean_asked <= 40.0, "{figures:?}");
    assert!(
        figures.median <= Duration::from_millis(500) && figures.p99 <= Duration::from_secs(2),
        "{figures:?}"
    );
}

#[test]
fn a_fifth_of_200_nodes_dies_at_once_and_the_others_find_as_before() {
    let mut world = World::new(2, 200, 0);
    world.run_for(Duration::from_secs(60));
    let announced = announce(&mut world);
    let mut killed = 0;
    while killed < 40 {
        let node = world.any_node();
        if announced.iter().all(|announced| announced.node != node) {
            world.kill(node);
            killed += 1;
        }
    }
    let figures = search("40 of 200 nodes dead", &mut world, &announced);
    assert!(figures.success >= 0.995, "{figures:?}");
    assert!(
        figures.median <= Duration::from_millis(800) && figures.p99 <= Duration::from_secs(3),
        "{figures:?}"
    );
    // Who is dead is forgotten: of those that it knows, four in five live even in a table that was full of them.
    world.run_for(Duration::from_secs(30 * 60));
    let node = world.any_node();
    assert!(world.good(node) >= 30, "{}", world.good(node));
}

#[test]
fn two_packets_of_a_hundred_are_lost_and_200_nodes_find_as_before() {
    let mut world = World::new(3, 200, 2);
    world.run_for(Duration::from_secs(60));
    let announced = announce(&mut world);
    let figures = search("200 nodes, 2 % lost", &mut world, &announced);
    assert!(figures.success >= 0.995, "{figures:?}");
}

#[test]
fn among_a_thousand_nodes_it_takes_hardly_more_steps() {
    let mut world = World::new(4, 1000, 0);
    world.run_for(Duration::from_secs(60));
    let announced = announce(&mut world);
    let figures = search("1000 nodes", &mut world, &announced);
    assert!(figures.success >= 0.995, "{figures:?}");
    assert!(figures.mean_hops <= 3.2 && figures.most_hops <= 6 && figures.mean_asked <= 40.0, "{figures:?}");
}
