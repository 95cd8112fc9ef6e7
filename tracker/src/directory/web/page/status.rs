//! How the tracker is doing.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::Frame;
use super::search::grouped;
use crate::directory::pulse::{KEPT, Pulse};
use crate::directory::web::guard::Links;
use crate::directory::web::plot::{self, Line, plot};
use crate::directory::web::{Shared, size};

pub(in crate::directory::web) async fn status(State(web): Shared, links: Links) -> Response {
    let directory = &web.directory;
    let (stats, figures) = (directory.tracker.shards.stats(), directory.tracker.shards.figures());
    let pulses = directory.pulses.all();
    let listed = directory.facts().len();
    let uptime = directory.tracker.clock.now().as_secs();
    let announces = pulses.last().map_or(0.0, |pulse| pulse.announces);
    let content = html! {
        h1 { "Status" }
        div data-refresh="page" {
            section.card {
                dl.facts {
                    div { dt { "Announces/s" } dd { (rate(announces)) } }
                    div { dt { "Swarms" } dd { (grouped(stats.swarms as u64)) } }
                    div { dt { "Seeders" } dd.seed { (grouped(stats.seeds as u64)) } }
                    div { dt { "Leechers" } dd.leech { (grouped(stats.leechers as u64)) } }
                    div { dt { "Memory" } dd { (size::show(figures.bytes as u64)) } }
                    div { dt { "Completed" } dd.done { (grouped(figures.completed)) } }
                    div { dt { "Listed here" } dd { (grouped(listed as u64)) } }
                    div { dt { "Up" } dd { (duration(uptime)) } }
                }
            }
            div.plots {
                (small("Announces/s", "link", &pulses, |it| it.announces, rate))
                (small("Swarms", "seed", &pulses, |it| it.torrents as f64, count))
                (small("Peers", "leech", &pulses, |it| it.peers as f64, count))
                (small("Memory", "done", &pulses, |it| it.memory as f64, |bytes| size::show(bytes as u64)))
            }
        }
        section.card {
            h2 { "Tracker" }
            dl.long {
                dt { "Announce" } dd { ul { @for url in &links.announce { li { code { (url) } } } } }
                dt { "Publishing" } dd { @if directory.open_publish { "open to everybody" } @else { "with a token" } }
            }
        }
    };
    Frame::new("Status", "/status").page(&content)
}

fn small(
    title: &str,
    class: &'static str,
    pulses: &[Pulse],
    value: fn(&Pulse) -> f64,
    show: fn(f64) -> String,
) -> Markup {
    let first = KEPT - pulses.len();
    let place = |at: usize| (first + at + 1) as f64 / KEPT as f64;
    let points = pulses.iter().enumerate().map(|(at, pulse)| (place(at), value(pulse))).collect();
    let frame = plot::Frame { title, from: "an hour ago", to: "now", is_small: true, has_steps: false };
    html! { section.card { (plot(&frame, &[Line { class, label: "", points }], show)) } }
}

fn rate(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { grouped(value.round() as u64) }
}

fn count(value: f64) -> String {
    grouped(value.round() as u64)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
