//! Helpers of the tests of backup and restore.

use std::fs;
use std::path::Path;

use crate::support::*;

/// Server with a database of 24 MB, so that a backup takes some time.
pub(crate) fn large_server() -> Server {
    let server = Server::start(GATEWAY);
    for number in 0..120 {
        let body = format!(r#"{{"type": "{number}", "pad": "{}"}}"#, "x".repeat(200_000));
        assert_eq!(server.post(&body).outcome(), "quarantined");
    }
    server
}

/// Names of the backup files in this folder: complete copies, partial copies, copies that `check` reads, and
/// the file that records the path of an unfinished copy.
pub(crate) fn backup_files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_copy = |name: &String| {
        ["check", "copy", "partial", "backing-up"].iter().any(|part| name.contains(part))
    };
    let mut names: Vec<_> = names.filter(is_copy).collect();
    names.sort();
    names
}
