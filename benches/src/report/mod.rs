//! The pages and charts, all made of the figures in `docs/performance.json`.

mod chart;
mod loads;
mod pictures;
mod ratios;
mod tables;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::figures::{Results, ratio};

/// The figures of the last run.
const FIGURES: &str = "docs/performance.json";
/// The pages, each with the regions that are made here.
const PAGES: [(&str, &[(&str, Region)]); 2] = [
    (
        "docs/performance.md",
        &[
            ("ratios", ratios::ratios),
            ("ingest", tables::ingest),
            ("connections", tables::connections),
            ("latency", tables::latency),
            ("reads", tables::reads),
            ("views", tables::views),
            ("batches", loads::batches),
            ("listeners", loads::listeners),
            ("ties", loads::ties),
            ("leak", loads::leak),
            ("footprint", tables::footprint),
            ("growth", tables::growth),
            ("memory", tables::memory),
            ("machine", tables::machine),
        ],
    ),
    ("README.md", &[("summary", tables::summary)]),
];

/// What makes the text of a region.
type Region = fn(&Results) -> String;

/// Reads the figures of the last run.
pub(crate) fn read(root: &Path) -> Result<Results> {
    let text = fs::read_to_string(root.join(FIGURES)).context(FIGURES)?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes the figures, and the pages and charts from them.
pub(crate) fn write(root: &Path, results: &Results) -> Result<()> {
    fs::write(root.join(FIGURES), serde_json::to_string_pretty(results)? + "\n")?;
    for (page, regions) in PAGES {
        let path = root.join(page);
        let mut text = fs::read_to_string(&path).context(page)?;
        for (name, region) in regions {
            text = replaced(&text, name, &region(results)).context(page)?;
        }
        fs::write(path, text)?;
    }
    for (name, picture) in pictures::all(results) {
        fs::write(root.join("docs").join(name), picture)?;
    }
    Ok(())
}

/// Prints what there is.
#[expect(clippy::print_stdout, reason = "this is what a run of some scenarios is for")]
pub(crate) fn print(results: &Results) {
    for (_, regions) in PAGES {
        for (name, region) in regions.iter().filter(|(name, _)| *name != "summary") {
            let text = region(results);
            if text != tables::NOTHING {
                println!("\n## {name}\n\n{text}");
            }
        }
    }
}

/// Names of the figures that were measured and do not hold.
pub(crate) fn missed(results: &Results) -> Vec<&'static str> {
    ratios::missed(results)
}

/// The figure that `--quick` is held against.
pub(crate) fn cpu_ratio(results: &Results) -> Option<f64> {
    let (ours, verified) = (results.of("ingest", "ours"), results.of("ingest", "verified"));
    ratio(ours, verified, |round| Some(round.cpu))
}

/// The text with something else between a region's marks.
fn replaced(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no {end}"))?;
    ensure!(!after.contains(&begin), "{begin} is there twice");
    Ok(format!("{before}{begin}\n{}\n{end}{after}", content.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "one\n<!-- bench:a -->\nold\n<!-- /bench:a -->\ntwo\n";

    #[test]
    fn only_the_region_is_replaced_and_twice_is_as_once() {
        let once = replaced(PAGE, "a", "| new |\n").unwrap();
        assert_eq!(once, "one\n<!-- bench:a -->\n| new |\n<!-- /bench:a -->\ntwo\n");
        assert_eq!(replaced(&once, "a", "| new |\n").unwrap(), once);
    }

    #[test]
    fn a_region_that_is_missing_open_or_there_twice_is_an_error() {
        assert!(replaced(PAGE, "b", "").is_err());
        assert!(replaced("<!-- bench:a -->", "a", "").is_err());
        assert!(replaced(&PAGE.repeat(2), "a", "").is_err());
    }
}
