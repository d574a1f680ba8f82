//! Links of the documents, and paths that documents and other files name: each has a target in the repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::documents::{documents, files, links, parts, root};

/// Folders of the repository whose files documents name in text.
const FOLDERS: [&str; 10] = [
    ".ci",
    "benches",
    "config",
    "docs",
    "fuzz",
    "monitoring",
    "packaging",
    "scripts",
    "src",
    "tests",
];

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(prose: &str) -> Vec<String> {
    let is_kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let mut repetitions = BTreeMap::new();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(is_kept).collect::<String>().replace(' ', "-"))
        .map(|anchor| {
            let before = repetitions.entry(anchor.clone()).or_insert(0);
            let number = *before;
            *before += 1;
            if number == 0 { anchor } else { format!("{anchor}-{number}") }
        })
        .collect()
}

/// Checks a link of this document. All documents are given.
fn follow(
    documents: &BTreeMap<PathBuf, String>,
    document: &Path,
    link: &str,
) -> Result<(), &'static str> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let file = match file {
        "" => root().join(document),
        file => root().join(document).parent().unwrap().join(file),
    };
    let file = file.canonicalize().ok().ok_or("the target does not exist")?;
    let root = root().canonicalize().unwrap();
    let file = file.strip_prefix(root).ok().ok_or("the target is not in the repository")?;
    if file.starts_with("target") || file.starts_with("data") {
        return Err("the target is not in the repository");
    }
    if !anchor.is_empty() {
        let text = documents.get(file).ok_or("only documents have anchors")?;
        if !anchors(&parts(text).1).iter().any(|heading| heading == anchor) {
            return Err("the anchor names no heading");
        }
    }
    Ok(())
}

#[test]
fn every_link_has_a_target() {
    let mut followed = 0;
    let documents = documents();
    for (path, document) in &documents {
        let (_, prose) = parts(document);
        for link in links(&prose).filter(|link| !link.starts_with("https://")) {
            if let Err(reason) = follow(&documents, path, link) {
                panic!("{}: {link}: {reason}", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 100, "{followed} links");
}

#[test]
fn a_link_without_a_target_is_found() {
    let documents = documents();
    let follow = |link| follow(&documents, Path::new("docs/install.md"), link);
    for link in ["operations.md", "../README.md#quickstart", "#memory", "../packaging/kubernetes"] {
        assert_eq!(follow(link), Ok(()), "{link}");
    }
    for link in [
        "absent.md",
        "README.md",
        "#absent",
        "operations.md#absent",
        "../Dockerfile#build",
        "/etc/hostname",
        "http://127.0.0.1:8080/",
    ] {
        assert!(follow(link).is_err(), "{link}");
    }
}

#[test]
fn every_link_is_written_in_one_form() {
    for (path, document) in documents() {
        for line in parts(&document).1.lines() {
            let is_definition = line.starts_with('[') && line.contains("]: ");
            let is_html = ["href=", "src="].iter().any(|attribute| line.contains(attribute));
            assert!(!is_definition && !is_html, "{}: no test reads: {line}", path.display());
        }
    }
}

/// Whether a path that a text names exists. The last part may be a pattern or a placeholder, like `NAME.rs`.
fn exists(path: &str) -> bool {
    let path = Path::new(path);
    let last = path.file_name().unwrap().to_str().unwrap();
    let is_pattern = last.contains('*') || last.contains("NAME");
    root().join(if is_pattern { path.parent().unwrap() } else { path }).exists()
}

#[test]
fn every_path_in_a_document_exists() {
    let mut checked = 0;
    for (path, document) in documents() {
        // Text between backticks.
        for code in parts(&document).1.split('`').skip(1).step_by(2) {
            for word in code.split_whitespace() {
                let is_ours =
                    word.split_once('/').is_some_and(|(first, _)| FOLDERS.contains(&first));
                if is_ours {
                    assert!(exists(word), "{}: {word} does not exist", path.display());
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 60, "{checked} paths");
}

#[test]
fn every_document_that_another_file_names_exists() {
    let is_path = |letter: char| letter.is_ascii_alphanumeric() || "/-_.".contains(letter);
    let mut checked = 0;
    for file in files() {
        // Binary files are skipped.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let names = text.split(|letter| !is_path(letter)).map(|word| word.trim_end_matches('.'));
        let is_document = |name: &&str| {
            let path = Path::new(name);
            path.starts_with("docs") && path.extension().is_some_and(|extension| extension == "md")
        };
        for name in names.filter(is_document) {
            assert!(exists(name), "{}: {name} does not exist", file.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} names of documents");
}
