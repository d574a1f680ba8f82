//! The layout of the source: modules know only lower layers, files do not import one another in circles, and
//! files and folders are small.
//!
//! `cargo test --test it repo::architecture -- --nocapture` prints each circle of imports with the items that
//! close it.

use std::collections::BTreeMap;
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

/// Modules that may import a library. Any other import of it breaks the separation of layers.
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
fn files_do_not_import_one_another_in_circles() {
    let cycles = import_graph::cycles(&SOURCE.imports.edges);
    for cycle in &cycles {
        println!("\ncycle of {} files:", cycle.len());
        for ((from, to), items) in &SOURCE.imports.edges {
            if cycle.contains(from) && cycle.contains(to) {
                let items: Vec<_> = items.iter().map(String::as_str).collect();
                println!("  {from} -> {to}: {}", items.join(", "));
            }
        }
    }
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn a_file_has_at_most_400_lines_with_its_unit_tests() {
    for (file, text) in &SOURCE.texts {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{file} has {lines} lines");
    }
}

#[test]
fn a_folder_has_at_most_12_files_side_by_side() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for path in files("src") {
        let folder = path.parent().unwrap().to_str().unwrap().to_owned();
        *counts.entry(folder).or_default() += 1;
    }
    for (folder, count) in counts {
        let is_exempt = ONE_FILE_EACH.contains(&folder.as_str());
        assert!(is_exempt || count <= MAX_FILES, "{folder} has {count} files");
    }
}

#[test]
fn a_mod_file_has_no_logic() {
    let with_logic = &SOURCE.maps_with_logic;
    assert!(with_logic.is_empty(), "{with_logic:?} have more than documentation, `mod` and `use`");
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
