//! The layout of the source: modules know only lower layers, files do not import one another in circles, and
//! files and folders are small.
//!
//! `cargo test --test it repo::architecture -- --nocapture` prints each circle of imports with the items that
//! close it. What is not yet as it should be is listed in `known_violations.txt`. The list must be exact, so it
//! only shrinks: a violation that is new or no longer there fails. The present list is then in
//! `target/tmp/known_violations.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use syn::Item;

use super::import_graph::{self, Files, Imports};

/// Modules of each layer, lowest first. A module knows only lower layers.
const LAYERS: [&[&str]; 11] = [
    &["message"],
    &["payload", "json", "clock", "memory_budget"],
    &["access"],
    &["metrics"],
    &["verify", "store"],
    &["dialect"],
    &["ingest", "diagnosis"],
    &["admin", "http"],
    // Made by tests, from the whole HTTP interface.
    &["openapi"],
    &["config", "simulator"],
    &["cli"],
];

/// Modules that know fewer modules than their layer allows.
const KNOWS_ONLY: [(&str, &[&str]); 1] = [("access", &["message"])];

/// Folders in which each file is one provider, one command or one view.
const ONE_FILE_EACH: [&str; 4] = ["dialect", "cli", "http/ui/views", "http/ui/templates"];

const MAX_LINES: usize = 400;
const MAX_FILES: usize = 12;

/// Who may name a library; whoever else does knows more than it should.
const OWNERS: [(&str, &[&str]); 19] = [
    ("rusqlite", &["store/sqlite"]),
    ("r2d2", &["store/sqlite"]),
    ("actix_web", &["http", "cli", "openapi"]),
    ("actix_http", &["http"]),
    ("actix_server", &["http", "cli/serve.rs"]),
    ("actix_codec", &["http/connection"]),
    ("csv", &["http/render"]),
    ("ipnet", &["access"]),
    ("askama", &["http/ui"]),
    ("prometheus_client", &["metrics", "http/ops"]),
    ("utoipa", &["http", "openapi"]),
    ("clap", &["cli"]),
    ("rustls", &["cli/doctor", "cli/common/tls.rs"]),
    ("opentelemetry", &["http/request_log", "cli/telemetry"]),
    ("opentelemetry_otlp", &["cli/telemetry"]),
    ("opentelemetry_sdk", &["cli/telemetry"]),
    ("sd_notify", &["cli"]),
    (
        "tokio",
        &["store/sqlite", "store/reply.rs", "store/notifier.rs", "ingest", "http", "admin", "cli"],
    ),
    ("serde", &["json", "dialect", "http", "admin", "config", "simulator", "diagnosis"]),
];

/// Violations that are there today, one a line.
const KNOWN: &str = include_str!("known_violations.txt");

/// The files of `src`, whole.
struct Source {
    texts: BTreeMap<String, String>,
    imports: Imports,
    /// Every `mod.rs` that has more than documentation, `mod` and `use`.
    maps_with_logic: Vec<String>,
}

static SOURCE: LazyLock<Source> = LazyLock::new(|| {
    let texts: BTreeMap<_, _> = files("src")
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.to_str().unwrap().to_owned(), read("src", &path)))
        .collect();
    let parse = |(path, text): (&String, &String)| {
        let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        (path.clone(), tree)
    };
    let trees: Files = texts.iter().map(parse).collect();
    let is_plain = |item: &Item| {
        matches!(item, Item::Use(_))
            || matches!(item, Item::Mod(module) if module.content.is_none())
    };
    let has_logic = |(file, tree): &(&String, &syn::File)| {
        file.ends_with("mod.rs") && !tree.items.iter().all(is_plain)
    };
    let with_logic = trees.iter().filter(has_logic);
    let maps_with_logic = with_logic.map(|(file, _)| file.clone()).collect();
    Source { imports: import_graph::imports(&trees), texts, maps_with_logic }
});

/// The paths of all files in this folder of the project, relative to it.
fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.into_iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect()
}

fn read(folder: &str, path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::read_to_string(root.join(path)).unwrap()
}

/// The module of `src` that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn layer(module: &str) -> usize {
    let layer = LAYERS.iter().position(|modules| modules.contains(&module));
    layer.unwrap_or_else(|| panic!("{module} has no layer; add it to LAYERS"))
}

/// Imports that close a circle of files.
fn cycle_violations() -> Vec<String> {
    let mut violations = Vec::new();
    for cycle in import_graph::cycles(&SOURCE.imports.edges) {
        println!("\ncycle of {} files:", cycle.len());
        for ((from, to), items) in &SOURCE.imports.edges {
            if cycle.contains(from) && cycle.contains(to) {
                let items: Vec<_> = items.iter().map(String::as_str).collect();
                println!("  {from} -> {to}: {}", items.join(", "));
                violations.push(format!("cycle: {from} -> {to}"));
            }
        }
    }
    violations
}

/// Files with more lines than they may have, unit tests included, with how many.
fn size_violations() -> Vec<String> {
    let lines = SOURCE.texts.iter().map(|(file, text)| (file, text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > MAX_LINES);
    long.map(|(file, lines)| format!("lines: {file} {lines}")).collect()
}

/// Folders with more files side by side than they may have, with how many.
fn folder_violations() -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for path in files("src") {
        let folder = path.parent().unwrap().to_str().unwrap().to_owned();
        *counts.entry(folder).or_default() += 1;
    }
    let is_large = |(folder, count): &(String, usize)| {
        *count > MAX_FILES && !ONE_FILE_EACH.contains(&folder.as_str())
    };
    let large = counts.into_iter().filter(is_large);
    large.map(|(folder, count)| format!("folder: {folder} {count}")).collect()
}

fn logic_violations() -> Vec<String> {
    SOURCE.maps_with_logic.iter().map(|file| format!("logic: {file}")).collect()
}

#[test]
fn a_module_knows_only_lower_layers() {
    for ((from, to), items) in &SOURCE.imports.edges {
        let (knowing, known) = (module(from), module(to));
        // The program and the map of the library stand above all layers.
        if ["main", "lib"].contains(&knowing) || knowing == known {
            continue;
        }
        assert!(layer(known) < layer(knowing), "{from} names {items:?} of {to}");
        if let Some((_, modules)) = KNOWS_ONLY.iter().find(|(module, _)| *module == knowing) {
            assert!(modules.contains(&known), "{from} names {items:?} of {to}");
        }
    }
}

#[test]
fn violations_of_the_layout_are_those_that_are_known() {
    let found: BTreeSet<String> =
        [cycle_violations(), size_violations(), folder_violations(), logic_violations()]
            .concat()
            .into_iter()
            .collect();
    let known: BTreeSet<String> = KNOWN.lines().map(str::to_owned).collect();
    let new: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    let present = Path::new(env!("CARGO_TARGET_TMPDIR")).join("known_violations.txt");
    let lines: Vec<&str> = found.iter().map(String::as_str).collect();
    fs::write(&present, lines.join("\n") + "\n").unwrap();
    assert!(new.is_empty(), "new violations of the layout: {new:#?}");
    assert!(
        gone.is_empty(),
        "no longer violations, copy {} to tests/it/repo/: {gone:#?}",
        present.display()
    );
}

#[test]
fn a_library_is_named_only_by_its_owners() {
    for (file, paths) in &SOURCE.imports.foreign {
        for (library, owners) in OWNERS {
            let is_of_library = |path: &&String| path.split("::").next() == Some(library);
            let named = paths.iter().find(is_of_library);
            let may = owners.iter().any(|owner| Path::new(file).starts_with(owner));
            assert!(named.is_none() || may, "{file} names {}", named.unwrap());
        }
    }
}

#[test]
fn the_clock_is_read_in_one_place() {
    for (file, paths) in &SOURCE.imports.foreign {
        let reads = paths.iter().any(|path| path.ends_with("SystemTime::now"));
        assert!(!reads || file == "clock.rs", "{file} reads the clock");
    }
    let paths = &SOURCE.imports.foreign["clock.rs"];
    assert!(
        paths.contains("SystemTime::now"),
        "the clock is not found where it is read: {paths:?}"
    );
}

#[test]
fn every_file_begins_with_documentation() {
    for (file, text) in &SOURCE.texts {
        assert!(text.starts_with("//! "), "{file} does not say what it is");
    }
}

#[test]
fn a_file_of_tests_has_at_most_400_lines() {
    for path in files("tests/it") {
        let lines = read("tests/it", &path).lines().count();
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        assert!(!is_code || lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}
