//! The curve: time over the number of targets, both on logarithmic scales.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 20.0;
const RIGHT: f64 = 190.0;
const COLOURS: [&str; 6] = ["#1f5fa8", "#c4572d", "#2e8540", "#7a3e9d", "#8a6d00", "#444444"];

/// Draws series of points as an SVG image.
pub fn curve(series: &[(&str, Vec<(f64, f64)>)]) -> String {
    let points = || series.iter().flat_map(|(_, points)| points);
    let bounds = |value: fn(&(f64, f64)) -> f64| {
        let low = points().map(value).fold(f64::INFINITY, f64::min).log10().floor();
        let high = points().map(value).fold(f64::NEG_INFINITY, f64::max).log10().ceil();
        (low, high.max(low + 1.0))
    };
    let ((x0, x1), (y0, y1)) = (bounds(|point| point.0), bounds(|point| point.1));
    let x = |value: f64| LEFT + (value.log10() - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value.log10() - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for power in (x0 as i32)..=(x1 as i32) {
        let (at, top, bottom) = (x(10_f64.powi(power)), TOP, HEIGHT - BOTTOM);
        let _ = writeln!(text, "<path d=\"M{at:.1} {top} V{bottom}\" stroke=\"#ddd\"/>");
        let label = bottom + 18.0;
        let _ = writeln!(
            text,
            "<text x=\"{at:.1}\" y=\"{label}\" text-anchor=\"middle\">{}</text>",
            10_f64.powi(power)
        );
    }
    for power in (y0 as i32)..=(y1 as i32) {
        let (at, right) = (y(10_f64.powi(power)), WIDTH - RIGHT);
        let _ = writeln!(text, "<path d=\"M{LEFT} {at:.1} H{right}\" stroke=\"#ddd\"/>");
        let (label, seconds) = (LEFT - 8.0, 10_f64.powi(power));
        let _ = writeln!(
            text,
            "<text x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">{seconds} s</text>",
            at + 4.0
        );
    }
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> =
            points.iter().map(|(number, seconds)| format!("{:.1} {:.1}", x(*number), y(*seconds))).collect();
        let _ = writeln!(
            text,
            "<path d=\"M{}\" stroke=\"{colour}\" fill=\"none\" stroke-width=\"2\"/>",
            path.join(" L")
        );
        for (number, seconds) in points {
            let (x, y) = (x(*number), y(*seconds));
            let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let (left, line) = (WIDTH - RIGHT + 12.0, TOP + 14.0 + 18.0 * index as f64);
        let _ = writeln!(text, "<text x=\"{left}\" y=\"{line}\" fill=\"{colour}\">{name}</text>");
    }
    let (middle, low) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 10.0);
    let _ = writeln!(
        text,
        "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">targets in the repository</text>"
    );
    text + "</svg>\n"
}
