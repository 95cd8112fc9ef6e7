//! The experiments at a small size. Their marks are `sim experiments`' business; here stands what must not get worse, with some room,
//! and that without a policy it does: a measure that does not see a policy switched off sees nothing.

use harness::sim::experiments::{ALL, Row, Setup};

struct Table(Vec<Row>);

impl Table {
    /// Of experiment `number`, with this many seeds.
    fn of(number: u32, seeds: u64) -> Self {
        let experiment =
            ALL.iter().find(|experiment| experiment.number == number).expect("it is in the table");
        Self((experiment.run)(&Setup { seeds, small: true, jobs: 2 }))
    }

    /// The median of the row of this name, or that ends so.
    #[track_caller]
    fn median(&self, metric: &str) -> f64 {
        let row = self.0.iter().find(|row| row.metric == metric || row.metric.ends_with(metric));
        row.unwrap_or_else(|| panic!("no row {metric}")).median()
    }
}

#[track_caller]
fn at_most(value: f64, most: f64) {
    assert!(value <= most, "{value:.3} is more than {most}");
}

#[track_caller]
fn at_least(value: f64, least: f64) {
    assert!(value >= least, "{value:.3} is less than {least}");
}

#[test]
fn classes_finish_in_the_order_of_what_they_give() {
    let table = Table::of(2, 2);
    at_most(table.median("stay: fast class, median over TFT-fluid 53.7 s"), 1.90);
    at_most(table.median("stay: middle class, median over TFT-fluid 95.8 s"), 1.20);
    at_most(table.median("stay: slow class, median over TFT-fluid 108.6 s"), 1.20);
    at_most(table.median("stay: T_last / T_F"), 1.20);
    at_least(table.median("stay: rank correlation, up and down"), 0.60);
}

#[test]
fn a_slow_seed_sends_little_twice() {
    let table = Table::of(3, 3);
    at_most(table.median("C1, normal seed"), 1.20);
    at_most(table.median("T_last / T_F"), 1.25);
}

#[test]
fn a_bad_source_at_the_end_costs_seconds_unless_there_is_no_endgame() {
    let table = Table::of(10, 3);
    at_most(table.median("all well: time for the last 1 % of bytes, %"), 3.0);
    at_most(table.median("all well: duplicates, % of F"), 0.5);
    at_most(table.median("source silent: last finish later by, s"), 5.0);
    at_least(table.median("ablation: source silent, no endgame: last finish later by, s"), 10.0);
}

#[test]
fn a_newcomer_has_a_piece_at_once_and_trades_soon() {
    let table = Table::of(11, 2);
    at_most(table.median("first verified piece, p50, s"), 5.0);
    at_most(table.median("first verified piece, p95, s"), 15.0);
    at_most(table.median("first reciprocated unchoke, p50, s"), 30.0);
}

#[test]
fn liars_are_found_and_nobody_else() {
    let table = Table::of(8, 1);
    for name in ["v1, 10 % of peers corrupt 10 %", "v2, 10 % of peers corrupt 10 %"] {
        at_most(table.median(&format!("{name}: honest peers banned")), 0.0);
        at_most(table.median(&format!("{name}: waste, % of F")), 7.0);
        at_most(table.median(&format!("{name}: honest peers, slower by")), 1.20);
        at_least(table.median(&format!("{name}: swarms with all files correct")), 1.0);
    }
}

#[test]
fn the_seed_may_go_when_every_piece_is_out() {
    let table = Table::of(9, 3);
    at_least(table.median("every piece is out, 0 % crash: swarms that finish (of 9)"), 1.0);
    let once = "super-seeding, exactly F bytes are out, 0 % crash: swarms that finish (of 9)";
    at_least(table.median(once), 1.0);
}

#[test]
fn attackers_do_not_take_the_seed_from_the_others() {
    at_most(Table::of(7, 2).median("new every 10 s: honest peers, slower by"), 1.10);
}

#[test]
fn the_tracker_s_graph_is_near_a_random_one_whoever_came_first() {
    let table = Table::of(13, 1);
    for name in ["sequential", "burst", "sequential, 30 % behind NAT"] {
        at_most(table.median(&format!("{name}: parts")), 1.0);
        at_most(table.median(&format!("{name}: diameter")), 3.0);
        at_most(table.median(&format!("{name}: mean path")), 2.2);
        at_most(table.median(&format!("{name}: clustering / (k / N)")), 2.0);
        at_least(table.median(&format!("{name}: connected after half are gone")), 0.999);
    }
    for name in ["sequential", "sequential, 30 % behind NAT"] {
        let row = format!("{name}: degree of the oldest fifth / of the newest");
        at_most(table.median(&row), 1.5);
        at_least(table.median(&row), 1.0 / 1.5);
    }
}

#[test]
fn who_knows_one_peer_finds_the_swarm_when_the_tracker_is_dead() {
    let table = Table::of(14, 1);
    at_most(table.median("to 30 neighbours, p95, s"), 60.0);
    at_most(table.median("parts"), 1.0);
    at_most(table.median("diameter"), 4.0);
    at_most(table.median("told of, and gone, %"), 10.0);
    at_most(table.median("a fifth tells lies: to 30 neighbours, p95, over that without"), 1.2);
}

#[test]
fn messages_cost_little() {
    at_most(Table::of(16, 2).median("messages over payload, %"), 1.0);
}
