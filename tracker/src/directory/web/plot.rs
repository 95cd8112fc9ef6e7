//! Plots of numbers over time, as SVG. Pure.

use maud::{Markup, html};

/// One line of a plot.
pub(super) struct Line {
    /// Of the style sheet.
    pub(super) class: &'static str,
    pub(super) label: &'static str,
    /// Times between 0 and 1, in order, and numbers of 0 or more.
    pub(super) points: Vec<(f64, f64)>,
}

/// What stands around the lines.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    /// The times at both ends.
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) is_small: bool,
    /// Each number holds until the next one.
    pub(super) has_steps: bool,
}

/// Units of the drawing: it is stretched to wherever it is put.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// So that a line at the top does not lie on the edge.
const MARGIN: f64 = 4.0;

/// The plot, said in words for those who don't see it. Labels are not part of the drawing, and so not stretched with it.
pub(super) fn plot(frame: &Frame<'_>, lines: &[Line], show: impl Fn(f64) -> String) -> Markup {
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let top = round_up(most);
    let last = |line: &Line| line.points.last().map_or(0.0, |point| point.1);
    let words: Vec<String> =
        lines.iter().map(|line| format!("{} {}", line.label, show(last(line)))).collect();
    let words = format!(
        "{}, {} to {}: now {}; at most {}",
        frame.title,
        frame.from,
        frame.to,
        words.join(", "),
        show(most)
    );
    html! {
        figure.plot.small[frame.is_small] {
            figcaption {
                b { (frame.title) }
                @for line in lines { i class=(line.class) { (line.label) " " (show(last(line))) } }
            }
            .area {
                .y aria-hidden="true" { span { (show(top)) } span { "0" } }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(words) {
                    @for height in [25, 50, 75] {
                        line x1="0" x2=(WIDTH) y1=(height) y2=(height) {}
                    }
                    @for line in lines {
                        g class=(line.class) { path d=(path(&line.points, top, frame.has_steps)) {} }
                    }
                }
                .x aria-hidden="true" { span { (frame.from) } span { (frame.to) } }
            }
        }
    }
}

fn path(points: &[(f64, f64)], top: f64, has_steps: bool) -> String {
    let y = |value: f64| HEIGHT - MARGIN / 2.0 - value / top * (HEIGHT - MARGIN);
    let mut path = String::new();
    for (number, &(time, value)) in points.iter().enumerate() {
        let x = time * WIDTH;
        path += &match (number, has_steps) {
            (0, _) => format!("M{x:.1} {:.1}", y(value)),
            (_, true) => format!("H{x:.1}V{:.1}", y(value)),
            (_, false) => format!("L{x:.1} {:.1}", y(value)),
        };
    }
    path
}

/// 1, 2 or 5 times a power of ten, at least 1.
fn round_up(value: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if value <= step * power {
                return step * power;
            }
        }
        power *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_scale_lines_and_words() {
        assert_eq!([0.0, 1.0, 1.1, 47.0, 501.0].map(round_up), [1.0, 1.0, 2.0, 50.0, 1000.0]);
        assert_eq!(path(&[(0.0, 0.0), (0.5, 2.0), (1.0, 1.0)], 2.0, true), "M0.0 98.0H500.0V2.0H1000.0V50.0");
        assert_eq!(path(&[(0.0, 0.0), (1.0, 2.0)], 2.0, false), "M0.0 98.0L1000.0 2.0");
        let frame = Frame { title: "Peers", from: "then", to: "now", is_small: true, has_steps: true };
        let lines = [Line { class: "seed", label: "seeders", points: vec![(0.0, 3.0), (1.0, 1.0)] }];
        let plot = plot(&frame, &lines, |value| format!("{value:.0}")).0;
        assert!(plot.contains("aria-label=\"Peers, then to now: now seeders 1; at most 3\""), "{plot}");
    }
}
