//! Locks: one database has one server, by any path to the database.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::*;

/// A way to reach the database of a server by another path. `setup` is what a shell does first, in a mount
/// namespace of its own if it mounts something.
struct Way {
    name: &'static str,
    path: PathBuf,
    setup: Option<String>,
}

impl Way {
    fn new(name: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { name, path: path.into(), setup: None }
    }

    fn after(mut self, setup: String) -> Self {
        self.setup = Some(setup);
        self
    }
}

/// Every other path to this database. What they need is made in `elsewhere`.
fn ways(database: &Path, elsewhere: &Path) -> Vec<Way> {
    let folder = database.parent().unwrap();
    let at = |name: &str| {
        let path = elsewhere.join(name);
        fs::create_dir(&path).unwrap();
        path.join("mirror.db")
    };
    let linked = at("symbolic");
    symlink(database, &linked).unwrap();
    let twice = at("twice");
    symlink(&linked, &twice).unwrap();
    symlink(folder, elsewhere.join("folder")).unwrap();
    let mounted_folder = at("mounted-folder");
    let mount_folder = format!(
        "mount --bind '{}' '{}'",
        folder.display(),
        mounted_folder.parent().unwrap().display()
    );
    let mounted_file = at("mounted-file");
    fs::write(&mounted_file, "").unwrap();
    let mount_file = format!("mount --bind '{}' '{}'", database.display(), mounted_file.display());
    let dots = folder.join("..").join(folder.file_name().unwrap()).join("mirror.db");
    vec![
        Way::new("the same path", database),
        Way::new("a path with dots", dots),
        Way::new("a relative path", "mirror.db").after(format!("cd '{}'", folder.display())),
        Way::new("a symbolic link", linked),
        Way::new("a symbolic link to one", twice),
        Way::new("a folder's symbolic link", elsewhere.join("folder/mirror.db")),
        Way::new("a mounted folder", mounted_folder).after(mount_folder),
        Way::new("a mounted file", mounted_file).after(mount_file),
    ]
}

/// Starts a second server that reaches the database this way; none if this machine does not let us mount.
fn serve_by(way: &Way, config: &Path) -> Option<Output> {
    let mut command = match &way.setup {
        Some(setup) if setup.starts_with("mount") => {
            let namespace = ["-m", "sh", "-c"];
            let works = Command::new("unshare").args(namespace).arg(setup).output();
            if !works.is_ok_and(|output| output.status.success()) {
                eprintln!("NOT TESTED: {}, which takes root and unshare", way.name);
                return None;
            }
            let mut command = Command::new("unshare");
            command.args(namespace);
            command
        }
        _ => {
            let mut command = Command::new("sh");
            command.arg("-c");
            command
        }
    };
    let setup = way.setup.as_deref().unwrap_or("true");
    let served = command
        .arg(format!("{setup} && exec timeout 60 \"$@\""))
        .args(["sh", PROGRAM, "--config"])
        .arg(config)
        .arg("serve")
        .env("STATUSMIRROR__STORE__URL", format!("sqlite:{}", way.path.display()))
        .output()
        .unwrap();
    Some(served)
}

#[test]
fn a_second_server_is_rejected_by_any_path_to_the_database() {
    let server = Server::start(GATEWAY);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for way in ways(&server.database(), elsewhere.path()) {
        let Some(second) = serve_by(&way, &server.config()) else { continue };
        let said = text(&second.stderr);
        assert_eq!(second.status.code(), Some(75), "{}: {said}", way.name);
        assert!(said.contains("another process holds"), "{}: {said}", way.name);
        tried += 1;
    }
    assert!(tried >= 6, "{tried}");
    assert_eq!(server.post(EXAMPLE).outcome(), "applied", "the first goes on");
}

#[test]
fn a_second_server_is_rejected_although_the_lock_file_was_removed() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let lock = server.folder.path().join("mirror.db.lock");
    fs::remove_file(&lock).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for way in ways(&server.database(), elsewhere.path()) {
        let Some(second) = serve_by(&way, &server.config()) else { continue };
        assert_eq!(second.status.code(), Some(75), "{}: {second:?}", way.name);
        drop(fs::remove_file(&lock));
    }
    // The first one stops with the next webhook.
    server.post(&webhook(&id(1), "SENT", 1).to_string()).assert_problem(503);
    assert_eq!(server.wait(), Some(74));
    server.start_again();
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}

#[test]
fn a_database_with_two_hard_links_is_rejected() {
    let mut server = Server::start(GATEWAY);
    let other = tempfile::tempdir_in(server.folder.path().parent().unwrap()).unwrap();
    let link = other.path().join("mirror.db");
    fs::hard_link(server.database(), &link).unwrap();
    let way = Way::new("a hard link", &link);
    let second = serve_by(&way, &server.config()).unwrap();
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    // The WAL is beside the other name, so neither name is right as long as there are two.
    assert_eq!(server.terminate(), Some(0));
    for way in [way, Way::new("its own name", server.database())] {
        let alone = serve_by(&way, &server.config()).unwrap();
        assert_eq!(alone.status.code(), Some(78), "{alone:?}");
        assert!(text(&alone.stderr).contains("2 hard links"), "{alone:?}");
    }
    fs::remove_file(&link).unwrap();
    server.start_again();
}

#[test]
fn a_lock_file_that_is_a_symbolic_link_is_rejected() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    let lock = server.folder.path().join("mirror.db.lock");
    let other = server.folder.path().join("other");
    fs::rename(&lock, &other).unwrap();
    symlink(&other, &lock).unwrap();
    let started = server.run(&["serve"]);
    assert_eq!(started.status.code(), Some(73), "{started:?}");
    assert!(text(&started.stderr).contains("mirror.db.lock"), "{started:?}");
}

#[test]
fn a_symbolic_link_leads_to_the_same_store_and_the_same_server() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    assert_eq!(server.terminate(), Some(0));
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("link.db");
    symlink(server.database(), &link).unwrap();
    server.configure(|config| {
        let old = server.database().display().to_string();
        config.replace(&old, &link.display().to_string())
    });
    server.start_again();
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
    // Nothing is beside the link, and commands find the server by it.
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    for command in [
        &["quarantine", "list"][..],
        &["prune", "--older-than", "400d", "--yes"],
        &["erase", "--destination", "+393331234567", "--yes"],
    ] {
        let output = server.run(command);
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    server.kill();
    server.start_again();
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}
