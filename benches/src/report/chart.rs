//! Chart of horizontal bars as SVG, with colours for a light and a dark page.

use std::fmt::Write as _;

use super::tables::number;

/// Width of a chart.
const WIDTH: f64 = 760.0;
/// Position where bars begin, and where the longest one ends.
const LEFT: f64 = 260.0;
const RIGHT: f64 = 660.0;
/// Height of a bar, and distance from one bar to the next.
const BAR: f64 = 20.0;
const STEP: f64 = 28.0;
/// Height of the title and the subtitle above the bars.
const TOP: f64 = 64.0;

/// Bar of a chart.
pub(super) struct Bar {
    /// Label to the left of the bar.
    pub(super) label: String,
    /// Value that the length of the bar shows.
    pub(super) value: f64,
    /// Whether the value is of statusmirror.
    pub(super) is_ours: bool,
}

/// Draws bars on one scale that begins at zero.
pub(super) fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut height = TOP;
    let mut elements = String::new();
    for Bar { label, value, is_ours } in bars {
        let length = value / longest * (RIGHT - LEFT);
        let (class, middle) = (if *is_ours { "ours" } else { "other" }, height + BAR / 2.0);
        let (label, value, end) = (escape(label), number(*value), LEFT + length + 8.0);
        let label_end = LEFT - 10.0;
        // Writing to a String does not fail.
        write!(
            elements,
            "<text class=\"{class}-label\" x=\"{label_end}\" y=\"{middle}\" text-anchor=\"end\">{label}</text>\n\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{height}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
             <text class=\"value\" x=\"{end:.1}\" y=\"{middle}\">{value}</text>\n"
        )
        .unwrap_or_default();
        height += STEP;
    }
    let (title, subtitle) = (escape(title), escape(subtitle));
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
         {elements}</svg>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_say() {
        let bar = |label: &str, value, is_ours| Bar { label: label.to_owned(), value, is_ours };
        let chart = bars("a & b", "", &[bar("<one>", 10.0, true), bar("two", 5.0, false)]);
        assert!(chart.contains("class=\"ours\" x=\"260\" y=\"64\" width=\"400.0\""), "{chart}");
        assert!(chart.contains("class=\"other\" x=\"260\" y=\"92\" width=\"200.0\""), "{chart}");
        assert!(chart.contains("&lt;one&gt;") && chart.contains("a &amp; b"));
    }
}
