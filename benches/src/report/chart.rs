//! A chart of horizontal bars as SVG, which takes the colours of a light or a dark page.

use std::fmt::Write as _;

use super::tables::number;

/// The width of a chart.
const WIDTH: f64 = 760.0;
/// Where bars begin, and where the longest ends.
const LEFT: f64 = 260.0;
const RIGHT: f64 = 660.0;
/// The height of a bar, and from one to the next.
const BAR: f64 = 20.0;
const STEP: f64 = 28.0;
/// The height of what stands above the bars.
const TOP: f64 = 64.0;

/// A bar.
pub(super) struct Bar {
    /// What it stands for.
    pub(super) label: String,
    /// How long it is.
    pub(super) value: f64,
    /// Whether it is ours.
    pub(super) ours: bool,
}

/// Draws bars from zero on one scale.
pub(super) fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut height = TOP;
    let mut drawn = String::new();
    for Bar { label, value, ours } in bars {
        let length = value / longest * (RIGHT - LEFT);
        let (class, middle) = (if *ours { "ours" } else { "other" }, height + BAR / 2.0);
        let (label, value, end) = (escaped(label), number(*value), LEFT + length + 8.0);
        let before = LEFT - 10.0;
        // Writing to a String does not fail.
        write!(
            drawn,
            "<text class=\"{class}-label\" x=\"{before}\" y=\"{middle}\" text-anchor=\"end\">{label}</text>\n\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{height}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
             <text class=\"value\" x=\"{end:.1}\" y=\"{middle}\">{value}</text>\n"
        )
        .unwrap_or_default();
        height += STEP;
    }
    let (title, subtitle) = (escaped(title), escaped(subtitle));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>\n\
         text {{ font: 13px system-ui, sans-serif; fill: #57606a; dominant-baseline: central }}\n\
         .title {{ font-size: 16px; font-weight: 600; fill: #1f2328 }}\n\
         .value {{ fill: #1f2328 }}\n\
         .ours-label {{ font-weight: 600; fill: #1f2328 }}\n\
         .ours {{ fill: #0969da }}\n\
         .other {{ fill: #afb8c1 }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         text {{ fill: #9198a1 }}\n\
         .title, .value, .ours-label {{ fill: #f0f6fc }}\n\
         .ours {{ fill: #4493f8 }}\n\
         .other {{ fill: #57606a }}\n\
         }}\n\
         </style>\n\
         <text class=\"title\" x=\"16\" y=\"22\">{title}</text>\n\
         <text x=\"16\" y=\"43\">{subtitle}</text>\n\
         {drawn}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_say() {
        let bar = |label: &str, value, ours| Bar { label: label.to_owned(), value, ours };
        let drawn = bars("a & b", "", &[bar("<one>", 10.0, true), bar("two", 5.0, false)]);
        assert!(drawn.contains("class=\"ours\" x=\"260\" y=\"64\" width=\"400.0\""), "{drawn}");
        assert!(drawn.contains("class=\"other\" x=\"260\" y=\"92\" width=\"200.0\""), "{drawn}");
        assert!(drawn.contains("&lt;one&gt;") && drawn.contains("a &amp; b"));
    }
}
