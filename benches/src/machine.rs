//! Where it is measured, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::figures::float;
use crate::process::field;
use crate::receiver::{POSTGRES, Places};
use crate::scenario::sync_time;

/// The day, in UTC.
pub(crate) fn today() -> String {
    said("date", &["-u", "+%Y-%m-%d"])
}

/// The lines of the table.
pub(crate) fn describe(places: &Places) -> Result<Vec<(String, String)>> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism()?;
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:").unwrap_or_default();
    let data = places.data();
    fs::create_dir_all(&data)?;
    let mut lines = vec![
        ("date".to_owned(), today()),
        ("processor".to_owned(), format!("{model}, {cores} cores")),
        ("memory".to_owned(), format!("{:.0} GiB", float(memory) / float(1_u64 << 20))),
        ("kernel".to_owned(), said("uname", &["-sr"])),
        ("file system".to_owned(), file_system(&data)),
        ("append 4 KiB and fdatasync, median".to_owned(), format!("{:.0} µs", sync_time(&data)?)),
    ];
    let commit = said("git", &["-C", &places.root.display().to_string(), "describe", "--always"]);
    let versions = [
        ("statusmirror", commit),
        ("Rust", said("rustc", &["--version"])),
        ("actix-web, SQLite of the Rust programs", locked(&places.root)),
        ("Python", said(&places.python().display().to_string(), &["--version"])),
        ("FastAPI", pinned(&places.root.join("benches/receivers/fastapi/requirements.txt"))),
        ("Node", said("node", &["--version"])),
        ("Express", depended(&places.root.join("benches/receivers/express/package.json"))),
        ("PostgreSQL", said(POSTGRES, &["--version"])),
    ];
    lines.extend(versions.map(|(name, version)| (name.to_owned(), version)));
    Ok(lines)
}

/// What a command prints; nothing if there is none.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "not there".to_owned())
}

/// The kind of file system, and the device behind it.
fn file_system(folder: &Path) -> String {
    said("findmnt", &["-no", "FSTYPE,SOURCE", "--target", &folder.display().to_string()])
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" on ")
}

fn locked(root: &Path) -> String {
    let text = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let version = |name: &str| {
        let rest = text.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let found = ["actix-web", "rusqlite", "libsqlite3-sys"].map(version);
    found.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The versions of the packages that are named in the program.
fn pinned(requirements: &Path) -> String {
    let text = fs::read_to_string(requirements).unwrap_or_default();
    let version = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}==")))?;
        Some(format!("{name} {}", line.split_whitespace().next()?))
    };
    let names = ["fastapi", "uvicorn", "pydantic"];
    names.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

fn depended(package: &Path) -> String {
    let text = fs::read_to_string(package).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let dependencies = package.get("dependencies").and_then(serde_json::Value::as_object);
    let entries = dependencies
        .into_iter()
        .flatten()
        .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()));
    entries.collect::<Vec<_>>().join(", ")
}
