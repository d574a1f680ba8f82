//! What the layout promises: arrows point down, and every file says what it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each floor, lowest first; a module knows only lower floors.
const FLOORS: [&[&str]; 8] = [
    &["budget", "message", "content", "json"],
    &["metrics"],
    &["clock", "proof", "store"],
    &["dialect"],
    &["ingest", "diagnosis"],
    &["http", "admin"],
    &["config", "simulate"],
    &["cli"],
];

/// Who may name a library; whoever else does knows more than it should.
const OWNERS: [(&str, &[&str]); 19] = [
    ("rusqlite", &["store/sqlite"]),
    ("r2d2", &["store/sqlite"]),
    ("actix_web", &["http", "cli"]),
    ("actix_http", &["http"]),
    ("actix_server", &["http", "cli/serve.rs"]),
    ("actix_codec", &["http/connection"]),
    ("csv", &["http"]),
    ("ipnet", &["http"]),
    ("askama", &["http/page"]),
    ("prometheus_client", &["metrics", "http/metrics.rs"]),
    ("utoipa", &["http"]),
    ("clap", &["cli"]),
    ("rustls", &["cli/doctor", "cli/tls.rs"]),
    ("opentelemetry", &["http/line", "cli/telemetry"]),
    ("opentelemetry_otlp", &["cli/telemetry"]),
    ("opentelemetry_sdk", &["cli/telemetry"]),
    ("sd_notify", &["cli"]),
    (
        "tokio",
        &[
            "store/sqlite",
            "store/reply.rs",
            "store/news.rs",
            "ingest",
            "http",
            "admin",
            "admin.rs",
            "cli",
        ],
    ),
    (
        "serde",
        &["json.rs", "dialect", "http", "admin", "admin.rs", "config", "simulate", "diagnosis"],
    ),
];

/// The files of this folder of the project, with their paths in it.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    walk(&root, &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&root).unwrap().to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

/// The code without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules behind every `crate::`, those in braces too.
fn imported(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    };
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').map(name).collect(),
            None => vec![name(rest)],
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn a_module_knows_only_lower_floors() {
    let floors: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |module| (*module, floor)))
        .collect();
    for (path, text) in sources() {
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if ["main", "lib"].contains(&module) {
            continue;
        }
        let own = *floors.get(module).unwrap_or_else(|| panic!("{module} has no floor"));
        for other in imported(&code(&text)) {
            let floor = floors.get(&*other).unwrap_or_else(|| panic!("{other} has no floor"));
            assert!(*floor < own || other == module, "{} knows {other}", path.display());
        }
    }
}

#[test]
fn a_library_is_named_by_its_owners_alone() {
    for (path, text) in sources() {
        let code = code(&text);
        for (library, owners) in OWNERS {
            let named = code.contains(&format!("{library}::"));
            let may = owners.iter().any(|owner| path.starts_with(owner));
            assert!(!named || may, "{} names {library}", path.display());
        }
    }
}

#[test]
fn the_clock_is_read_in_one_place() {
    for (path, text) in sources() {
        let is_read = code(&text).contains("SystemTime::now");
        assert_eq!(is_read, path.starts_with("clock.rs"), "{}", path.display());
    }
}

#[test]
fn a_file_says_what_it_is_and_has_at_most_400_lines_before_its_tests() {
    for (path, text) in sources() {
        let path = path.display();
        assert!(text.starts_with("//! "), "{path} does not say what it is");
        let lines = text.split("#[cfg(test)]").next().unwrap().lines().count();
        assert!(lines <= 400, "{path} has {lines} lines");
    }
}

#[test]
fn a_file_of_tests_has_at_most_400_lines() {
    for (path, text) in files("tests/it") {
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}
