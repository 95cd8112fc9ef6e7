//! Plots as SVG, readable on light and on dark ground: [`Plot`].

use std::fmt::Write as _;

/// Of the whole picture, in SVG's units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Around the axes: left, top, right, bottom.
const MARGINS: [f64; 4] = [64.0, 44.0, 20.0, 52.0];

/// Steps of an axis at most.
const STEPS: f64 = 8.0;

/// Colours for series, one after another; they stand out against white and against black.
const STYLE: &str = "\
<style>
text { font: 13px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.axis { stroke: #888; fill: none }
.grid { stroke: #8884; fill: none }
.limit { stroke: #c33; stroke-dasharray: 6 4; fill: none }
.line { fill: none; stroke-width: 2 }
.s0 { stroke: #2a7de1; color: #2a7de1 } .s1 { stroke: #e07b1f; color: #e07b1f } .s2 { stroke: #2e9e5b; color: #2e9e5b }
.s3 { stroke: #9a5fd0; color: #9a5fd0 }
.dot { fill: currentColor; stroke: none; opacity: .75 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .limit { stroke: #f77 } }
</style>
";

/// A picture of some series over two axes that begin at zero.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Below the axes, and beside them.
    pub axes: [String; 2],
    /// What is shown.
    pub series: Vec<Series>,
    /// Upright lines, each with its name.
    pub limits: Vec<(String, f64)>,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// Where.
    pub points: Vec<(f64, f64)>,
    /// Whether they are dots rather than a line.
    pub dots: bool,
}

impl Plot {
    /// The picture.
    pub fn svg(&self) -> String {
        let [left, top, right, bottom] = MARGINS;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let far = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let spans = [
            Axis::to(far(&mut points().map(|point| point.0).chain(self.limits.iter().map(|limit| limit.1)))),
            Axis::to(far(&mut points().map(|point| point.1))),
        ];
        let x = |value: f64| left + value / spans[0].end * (WIDTH - left - right);
        let y = |value: f64| HEIGHT - bottom - value / spans[1].end * (HEIGHT - top - bottom);
        let mut svg =
            format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\n{STYLE}");
        let _ = writeln!(svg, "<text class=\"title\" x=\"{left}\" y=\"20\">{}</text>", escaped(&self.title));
        for value in spans[0].steps() {
            let (at, low) = (x(value), y(0.0));
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {top}V{low:.1}\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
                low + 18.0
            );
        }
        for value in spans[1].steps() {
            let at = y(value);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left} {at:.1}H{:.1}\"/>", WIDTH - right);
            let (beside, below) = (left - 8.0, at + 4.0);
            let _ = writeln!(svg, "<text x=\"{beside}\" y=\"{below:.1}\" text-anchor=\"end\">{value}</text>");
        }
        let _ =
            writeln!(svg, "<path class=\"axis\" d=\"M{left} {top}V{:.1}H{:.1}\"/>", y(0.0), WIDTH - right);
        let (middle, low) = ((left + WIDTH - right) / 2.0, HEIGHT - 12.0);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{}</text>",
            escaped(&self.axes[0])
        );
        let half = (top + HEIGHT - bottom) / 2.0;
        let upright = format!("transform=\"translate(16 {half}) rotate(-90)\" text-anchor=\"middle\"");
        let _ = writeln!(svg, "<text {upright}>{}</text>", escaped(&self.axes[1]));
        for (number, (name, value)) in self.limits.iter().enumerate() {
            let (at, low) = (x(*value), y(0.0) - 8.0 - 16.0 * number as f64);
            let _ = writeln!(svg, "<path class=\"limit\" d=\"M{at:.1} {top}V{:.1}\"/>", y(0.0));
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                at - 5.0,
                low,
                escaped(name)
            );
        }
        for (number, series) in self.series.iter().enumerate() {
            let colour = number % 4;
            if series.dots {
                for &(a, b) in &series.points {
                    let _ = writeln!(
                        svg,
                        "<circle class=\"dot s{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                        x(a),
                        y(b)
                    );
                }
            } else {
                let path: Vec<_> =
                    series.points.iter().map(|&(a, b)| format!("{:.1} {:.1}", x(a), y(b))).collect();
                let _ = writeln!(svg, "<path class=\"line s{colour}\" d=\"M{}\"/>", path.join("L"));
            }
            let (at, line) = (left + 14.0, top + 14.0 + 18.0 * number as f64);
            let _ = writeln!(
                svg,
                "<circle class=\"dot s{colour}\" cx=\"{at}\" cy=\"{:.1}\" r=\"5\"/>",
                line - 4.0
            );
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{line:.1}\">{}</text>",
                at + 12.0,
                escaped(&series.name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// From zero to a round number.
#[derive(Clone, Copy, Debug)]
struct Axis {
    step: f64,
    end: f64,
}

impl Axis {
    fn to(far: f64) -> Self {
        let far = if far > 0.0 { far } else { 1.0 };
        let power = 10.0_f64.powf((far / STEPS).log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| far / step <= STEPS);
        let step = step.unwrap_or(10.0 * power);
        Self { step, end: (far / step).ceil() * step }
    }

    fn steps(self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step).round() as u32;
        // Without the digits that only binary fractions have.
        (0..=count).map(move |number| (f64::from(number) * self.step * 1e6).round() / 1e6)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_beyond_all_values() {
        for (far, step, end) in [(87.0, 20.0, 100.0), (1.0, 0.2, 1.0), (0.0, 0.2, 1.0), (412.0, 100.0, 500.0)]
        {
            let axis = Axis::to(far);
            assert!((axis.step - step).abs() < 1e-9 && (axis.end - end).abs() < 1e-9, "{far}: {axis:?}");
        }
        assert_eq!(Axis::to(0.6).steps().last(), Some(0.6));
    }

    #[test]
    fn a_plot_is_one_well_formed_picture() {
        let series = Series { name: "a < b & c".into(), points: vec![(0.0, 0.0), (10.0, 1.0)], dots: false };
        let dots = Series { dots: true, ..series.clone() };
        let plot = Plot {
            title: "t".into(),
            axes: ["x".into(), "y".into()],
            series: vec![series, dots],
            limits: vec![("limit".into(), 5.0)],
        };
        let svg = plot.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b &amp; c") && svg.matches("<circle").count() == 4);
    }
}
