//! Pages and charts, made from the figures in `docs/performance.json`.

mod chart;
mod loads;
mod pictures;
mod ratios;
mod row;
mod sustained;
mod tables;
mod targets;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

pub(crate) use ratios::{cpu_ratio, missed};

use crate::figures::Results;

/// File of the figures of the last run.
const FIGURES: &str = "docs/performance.json";
/// Pages with generated regions, and the function that makes each region.
const PAGES: [(&str, &[(&str, Region)]); 2] = [
    (
        "docs/performance.md",
        &[
            ("ratios", ratios::ratios),
            ("ingest", tables::ingest),
            ("sustained", sustained::sustained),
            ("threads", sustained::threads),
            ("connections", tables::connections),
            ("latency", tables::latency),
            ("reads", tables::reads),
            ("views", tables::views),
            ("batches", loads::batches),
            ("listeners", loads::listeners),
            ("ties", loads::ties),
            ("leak", loads::leak),
            ("footprint", tables::footprint),
            ("memory", tables::memory),
            ("machine", tables::machine),
        ],
    ),
    ("README.md", &[("summary", tables::summary)]),
];

/// Function that makes the text of a region.
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
            text = replace_region(&text, name, &region(results)).context(page)?;
        }
        fs::write(path, text)?;
    }
    for (name, picture) in pictures::all(results) {
        fs::write(root.join("docs").join(name), picture)?;
    }
    Ok(())
}

/// Prints the regions that have figures.
#[expect(clippy::print_stdout, reason = "the tables are the output of a run of some scenarios")]
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

/// Replaces the content between the markers of a region. Fails unless the region is there exactly once.
fn replace_region(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("{begin} is missing"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{end} is missing"))?;
    ensure!(!after.contains(&begin), "{begin} occurs twice");
    Ok(format!("{before}{begin}\n{}\n{end}{after}", content.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "one\n<!-- bench:a -->\nold\n<!-- /bench:a -->\ntwo\n";

    #[test]
    fn only_the_region_is_replaced_and_twice_is_as_once() {
        let once = replace_region(PAGE, "a", "| new |\n").unwrap();
        assert_eq!(once, "one\n<!-- bench:a -->\n| new |\n<!-- /bench:a -->\ntwo\n");
        assert_eq!(replace_region(&once, "a", "| new |\n").unwrap(), once);
    }

    #[test]
    fn a_region_that_is_missing_open_or_there_twice_is_an_error() {
        assert!(replace_region(PAGE, "b", "").is_err());
        assert!(replace_region("<!-- bench:a -->", "a", "").is_err());
        assert!(replace_region(&PAGE.repeat(2), "a", "").is_err());
    }
}
