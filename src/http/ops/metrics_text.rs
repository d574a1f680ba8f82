//! Conversion of `OpenMetrics` to Prometheus' text format 0.0.4, which has fewer types and names some of them
//! differently.

/// Converts `OpenMetrics` to the text format.
pub(crate) fn from_open_metrics(metrics: &str) -> String {
    let mut plain = String::with_capacity(metrics.len());
    let mut help = None;
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // HELP names the metric like its samples, and their name depends on the type.
            help = rest.split_once(' ').map(|(_name, text)| text);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "gauge" | "stateset" => ("", "gauge"),
                "histogram" | "summary" => ("", kind),
                _ => ("", "untyped"),
            };
            if let Some(text) = help.take() {
                // Only `OpenMetrics` escapes quotes in HELP.
                let text = text.replace("\\\"", "\"");
                plain.extend(["# HELP ", name, suffix, " ", &text, "\n"]);
            }
            plain.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            plain.extend([line, "\n"]);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::from_open_metrics;

    #[test]
    fn types_and_names_follow_the_text_format() {
        let metrics = "# HELP a Said \\\"so\\\".\n# TYPE a counter\na_total{x=\"#\"} 1\n\
                       # HELP b What.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                       # HELP c_bytes How long.\n# TYPE c_bytes gauge\n# UNIT c_bytes bytes\nc_bytes 2\n\
                       # TYPE d histogram\nd_bucket{le=\"+Inf\"} 1\nd_sum 1.0\nd_count 1\n\
                       # TYPE e stateset\ne{e=\"on\"} 1\n# TYPE f unknown\nf 1\n# EOF\n";
        let plain = "# HELP a_total Said \"so\".\n# TYPE a_total counter\na_total{x=\"#\"} 1\n\
                     # HELP b_info What.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                     # HELP c_bytes How long.\n# TYPE c_bytes gauge\nc_bytes 2\n\
                     # TYPE d histogram\nd_bucket{le=\"+Inf\"} 1\nd_sum 1.0\nd_count 1\n\
                     # TYPE e gauge\ne{e=\"on\"} 1\n# TYPE f untyped\nf 1\n";
        assert_eq!(from_open_metrics(metrics), plain);
    }
}
