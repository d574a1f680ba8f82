//! Documents: settings are accepted, and each program shown is equal to its file. `repo::links` checks links. The
//! commands are run by `repo::pages` and by `scripts/acceptance/recipes`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::support::*;

/// Fenced block: the last non-empty line before it, its language, and its text.
pub(super) struct Block {
    before: String,
    language: String,
    text: String,
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository.
pub(super) fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // Builds, and the data of a server that runs in this folder, are no part of the repository.
            let is_foreign = ["target", "node_modules", "data"].contains(&name);
            let is_hidden = name.starts_with('.') && name != ".ci";
            if !path.is_dir() {
                found.push(path);
            } else if !is_foreign && !is_hidden {
                folders.push(path);
            }
        }
    }
    found
}

/// Every document, by its path from the root.
pub(super) fn documents() -> BTreeMap<PathBuf, String> {
    let is_document = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "md") || path.ends_with("llms.txt")
    };
    let found = files().into_iter().filter(is_document);
    let found: BTreeMap<_, _> = found
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().to_owned(), text)
        })
        .collect();
    assert!(found.len() > 20, "{} documents", found.len());
    found
}

/// Blocks of a document, and its prose without them.
pub(super) fn parts(document: &str) -> (Vec<Block>, String) {
    let mut blocks = Vec::new();
    let mut prose = String::new();
    let mut before = "";
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let lines = lines.by_ref().take_while(|line| *line != "```");
            let text = lines.flat_map(|line| [line, "\n"]).collect();
            blocks.push(Block { before: before.to_owned(), language: language.to_owned(), text });
            before = "";
        } else {
            prose += line;
            prose += "\n";
            if !line.is_empty() {
                before = line;
            }
        }
    }
    (blocks, prose)
}

/// Targets of the links in this text.
pub(super) fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0)
}

#[test]
fn every_recipe_is_in_the_list() {
    let list = fs::read_to_string(root().join("docs/recipes/README.md")).unwrap();
    for path in documents().into_keys().filter(|path| path.starts_with("docs/recipes")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || list.contains(&format!("]({name})")), "{name}");
    }
}

#[test]
fn every_code_block_is_run_accepted_or_a_file() {
    let mut shown = 0;
    for (path, document) in documents() {
        let folder = root().join(&path).parent().unwrap().to_owned();
        let is_run = super::pages::is_page(&path) || path.starts_with("docs/recipes");
        for block in parts(&document).0 {
            let location = format!("{}, after `{}`", path.display(), block.before);
            match &*block.language {
                "toml" => assert_accepted(&block.text, &location),
                "json" => {
                    serde_json::from_str::<Value>(&block.text).expect(&location);
                }
                // The runs of the commands compare their output with these blocks.
                "sh" | "text" => assert!(is_run, "{location}: no test runs this block"),
                _ => {
                    let file = links(&block.before).last().expect(&location);
                    let text = fs::read_to_string(folder.join(file)).expect(&location);
                    assert!(block.text == text, "{location}: {file} has changed");
                    shown += 1;
                }
            }
        }
    }
    assert!(shown > 10, "{shown} files are shown");
}

/// Asserts that `check-config` accepts the configuration, after creating its secrets.
fn assert_accepted(configuration: &str, location: &str) {
    let folder = tempfile::tempdir().unwrap();
    let secrets = |kind: &str| -> Vec<String> {
        let before = format!("{kind} = \"");
        let found = configuration.split(&before).skip(1);
        found.map(|rest| rest.split_once('"').unwrap().0.to_owned()).collect()
    };
    // Each secret contains its name, because no two keys may be equal.
    let secret = |name: &str| format!("an unguessable secret: {name}");
    for name in secrets("file") {
        let file = folder.path().join(&name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, secret(&name)).unwrap();
    }
    let variables = secrets("env");
    let envs: Vec<_> = variables.iter().map(|name| (name.as_str(), secret(name))).collect();
    let envs: Vec<_> = envs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fs::write(folder.path().join("statusmirror.toml"), configuration).unwrap();
    let arguments = ["--config", "statusmirror.toml", "check-config"];
    let output = run_program_in(folder.path(), &arguments, &envs);
    assert!(output.status.success(), "{location}: {}", text(&output.stderr));
}

/// Signed callback URL of `tests/vectors/callback-url.json`.
#[derive(Deserialize)]
struct Vector {
    name: String,
    secret: String,
    source: String,
    parameters: BTreeMap<String, String>,
    signature: String,
}

#[test]
fn the_vectors_of_callback_urls_hold() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/callback-url.json")).unwrap();
    assert!(vectors.len() >= 12, "{} vectors", vectors.len());
    let sources: BTreeMap<_, _> =
        vectors.iter().map(|vector| (&vector.source, &vector.secret)).collect();
    let mut sections = String::new();
    for (source, secret) in sources {
        let verify = format!("{{ scheme = \"signed-url\", secrets = [\"{secret}\"] }}");
        writeln!(sections, "[sources.{source}]\nverify = {verify}").unwrap();
    }
    let server = Server::start(&sections);
    for vector in &vectors {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(&vector.parameters).finish();
        let post = |signature: &str| {
            let path = format!("/webhooks/{}?{query}&signature={signature}", vector.source);
            server.send("POST", &path, JSON, EXAMPLE.as_bytes()).status
        };
        assert_eq!(post(&vector.signature), 200, "{}", vector.name);
        let (first, rest) = vector.signature.split_at(1);
        let other = if first == "0" { "1" } else { "0" };
        assert_eq!(post(&format!("{other}{rest}")), 401, "{}", vector.name);
    }
}

/// Former names of settings, metrics, log fields and the service's own routes.
const FORMER_NAMES: [&str; 13] = [
    "STORE__QUEUE",
    "store.queue",
    "any_filesystem",
    "webhooks_refused",
    "queue_depth",
    "queue_capacity",
    "records_without_number",
    "since_accepted_seconds",
    "since_secret_verified_seconds",
    "oldest_unfinished_age",
    "withoutNumber",
    "number=without",
    "refused a webhook",
];

#[test]
fn no_file_for_users_has_a_former_name() {
    let folders = ["docs", "monitoring", "packaging", "config", "scripts"];
    let mut folders: Vec<_> = folders.map(|folder| root().join(folder)).into();
    let mut files: Vec<_> =
        ["README.md", "compose.yaml", "Dockerfile"].map(|file| root().join(file)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 50, "{} files", files.len());
    for path in files {
        // Binary files are skipped.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let found: Vec<_> = FORMER_NAMES.into_iter().filter(|name| text.contains(name)).collect();
        assert!(found.is_empty(), "{} has {found:?}", path.display());
    }
}
