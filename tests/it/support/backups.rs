//! Helpers of the tests of backup and restore.

use std::fs;
use std::path::Path;

use crate::support::*;

/// A server whose database takes some time to copy.
pub(crate) fn large() -> Server {
    let server = Server::start(GATEWAY);
    for number in 0..120 {
        let body = format!(r#"{{"type": "{number}", "pad": "{}"}}"#, "x".repeat(200_000));
        assert_eq!(server.post(&body).outcome(), "quarantined");
    }
    server
}

/// The names of the copies in this folder, whole or not, and of the file that says where one is.
pub(crate) fn copies(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_copy = |name: &String| {
        ["check", "copy", "partial", "backing-up"].iter().any(|part| name.contains(part))
    };
    let mut names: Vec<_> = names.filter(is_copy).collect();
    names.sort();
    names
}
