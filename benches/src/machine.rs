//! Description of the machine, and versions of the measured programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::figures::float;
use crate::process::field;
use crate::receiver::{POSTGRES, Paths};
use crate::scenario::sync_time;

/// Current date in UTC.
pub(crate) fn today() -> String {
    output_of("date", &["-u", "+%Y-%m-%d"])
}

/// Rows of the table of the machine and the versions.
pub(crate) fn describe(paths: &Paths) -> Result<Vec<(String, String)>> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism()?;
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:").unwrap_or_default();
    let data = paths.data();
    fs::create_dir_all(&data)?;
    let mut rows = vec![
        ("date".to_owned(), today()),
        ("processor".to_owned(), format!("{model}, {cores} cores")),
        ("memory".to_owned(), format!("{:.0} GiB", float(memory) / float(1_u64 << 20))),
        ("kernel".to_owned(), output_of("uname", &["-sr"])),
        ("file system".to_owned(), file_system(&data)),
        ("append 4 KiB and fdatasync, median".to_owned(), format!("{:.0} µs", sync_time(&data)?)),
    ];
    let commit =
        output_of("git", &["-C", &paths.root.display().to_string(), "describe", "--always"]);
    let versions = [
        ("statusmirror", commit),
        ("Rust", output_of("rustc", &["--version"])),
        ("actix-web, SQLite of the Rust programs", locked_versions(&paths.root)),
        ("Python", output_of(&paths.python().display().to_string(), &["--version"])),
        (
            "FastAPI",
            pinned_versions(&paths.root.join("benches/receivers/fastapi/requirements.txt")),
        ),
        ("Node", output_of("node", &["--version"])),
        ("Express", declared_versions(&paths.root.join("benches/receivers/express/package.json"))),
        ("PostgreSQL", output_of(POSTGRES, &["--version"])),
    ];
    rows.extend(versions.map(|(name, version)| (name.to_owned(), version)));
    Ok(rows)
}

/// Standard output of a command, or "not there" if the command is missing or prints nothing.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "not there".to_owned())
}

/// Type of the file system, and its device.
fn file_system(folder: &Path) -> String {
    output_of("findmnt", &["-no", "FSTYPE,SOURCE", "--target", &folder.display().to_string()])
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" on ")
}

/// Versions of packages in the product's `Cargo.lock`.
fn locked_versions(root: &Path) -> String {
    let text = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let version = |name: &str| {
        let rest = text.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let versions = ["actix-web", "rusqlite", "libsqlite3-sys"].map(version);
    versions.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Versions of the packages of the FastAPI receiver in its requirements file.
fn pinned_versions(requirements: &Path) -> String {
    let text = fs::read_to_string(requirements).unwrap_or_default();
    let version = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}==")))?;
        Some(format!("{name} {}", line.split_whitespace().next()?))
    };
    let names = ["fastapi", "uvicorn", "pydantic"];
    names.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

/// Dependencies and their versions in a `package.json`.
fn declared_versions(package: &Path) -> String {
    let text = fs::read_to_string(package).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let dependencies = package.get("dependencies").and_then(serde_json::Value::as_object);
    let entries = dependencies
        .into_iter()
        .flatten()
        .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()));
    entries.collect::<Vec<_>>().join(", ")
}
