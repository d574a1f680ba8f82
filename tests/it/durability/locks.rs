//! Locks: one database has one server, by any path to the database.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::*;

/// Path at which another server may reach the database. A shell runs `setup` first, in a mount namespace of
/// its own if it mounts something.
struct AccessPath {
    name: &'static str,
    path: PathBuf,
    setup: Option<String>,
}

impl AccessPath {
    fn new(name: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { name, path: path.into(), setup: None }
    }

    fn after(mut self, setup: String) -> Self {
        self.setup = Some(setup);
        self
    }
}

/// All paths to this database. Links and mount points are made in `elsewhere`.
fn access_paths(database: &Path, elsewhere: &Path) -> Vec<AccessPath> {
    let folder = database.parent().unwrap();
    let database_in = |name: &str| {
        let path = elsewhere.join(name);
        fs::create_dir(&path).unwrap();
        path.join("mirror.db")
    };
    let linked = database_in("symbolic");
    symlink(database, &linked).unwrap();
    let twice = database_in("twice");
    symlink(&linked, &twice).unwrap();
    symlink(folder, elsewhere.join("folder")).unwrap();
    let mounted_folder = database_in("mounted-folder");
    let mount_folder = format!(
        "mount --bind '{}' '{}'",
        folder.display(),
        mounted_folder.parent().unwrap().display()
    );
    let mounted_file = database_in("mounted-file");
    fs::write(&mounted_file, "").unwrap();
    let mount_file = format!("mount --bind '{}' '{}'", database.display(), mounted_file.display());
    let dots = folder.join("..").join(folder.file_name().unwrap()).join("mirror.db");
    vec![
        AccessPath::new("the same path", database),
        AccessPath::new("a path with dots", dots),
        AccessPath::new("a relative path", "mirror.db").after(format!("cd '{}'", folder.display())),
        AccessPath::new("a symbolic link", linked),
        AccessPath::new("a symbolic link to one", twice),
        AccessPath::new("a folder's symbolic link", elsewhere.join("folder/mirror.db")),
        AccessPath::new("a mounted folder", mounted_folder).after(mount_folder),
        AccessPath::new("a mounted file", mounted_file).after(mount_file),
    ]
}

/// Starts a second server with the database at this path. None if this machine does not permit the mount.
fn serve_at(access: &AccessPath, config: &Path) -> Option<Output> {
    let mut command = match &access.setup {
        Some(setup) if setup.starts_with("mount") => {
            let namespace = ["-m", "sh", "-c"];
            let mounted = Command::new("unshare").args(namespace).arg(setup).output();
            if !mounted.is_ok_and(|output| output.status.success()) {
                eprintln!("NOT TESTED: {}, which takes root and unshare", access.name);
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
    let setup = access.setup.as_deref().unwrap_or("true");
    let output = command
        .arg(format!("{setup} && exec timeout 60 \"$@\""))
        .args(["sh", PROGRAM, "--config"])
        .arg(config)
        .arg("serve")
        .env("STATUSMIRROR__STORE__URL", format!("sqlite:{}", access.path.display()))
        .output()
        .unwrap();
    Some(output)
}

#[test]
fn a_second_server_is_rejected_by_any_path_to_the_database() {
    let server = Server::start(GATEWAY);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for access in access_paths(&server.database(), elsewhere.path()) {
        let Some(second) = serve_at(&access, &server.config()) else { continue };
        let stderr = text(&second.stderr);
        assert_eq!(second.status.code(), Some(75), "{}: {stderr}", access.name);
        assert!(stderr.contains("another process holds"), "{}: {stderr}", access.name);
        tried += 1;
    }
    assert!(tried >= 6, "{tried}");
    assert_eq!(server.post(EXAMPLE).outcome(), "applied", "the first server must continue");
}

#[test]
fn a_second_server_is_rejected_although_the_lock_file_was_removed() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let lock = server.folder.path().join("mirror.db.lock");
    fs::remove_file(&lock).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for access in access_paths(&server.database(), elsewhere.path()) {
        let Some(second) = serve_at(&access, &server.config()) else { continue };
        assert_eq!(second.status.code(), Some(75), "{}: {second:?}", access.name);
        drop(fs::remove_file(&lock));
    }
    // The first server stops at the next webhook.
    server.post(&webhook(&id(1), "SENT", 1).to_string()).assert_problem(503);
    assert_eq!(server.wait(), Some(74));
    server.restart();
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}

#[test]
fn a_database_with_two_hard_links_is_rejected() {
    let mut server = Server::start(GATEWAY);
    let other = tempfile::tempdir_in(server.folder.path().parent().unwrap()).unwrap();
    let link = other.path().join("mirror.db");
    fs::hard_link(server.database(), &link).unwrap();
    let access = AccessPath::new("a hard link", &link);
    let second = serve_at(&access, &server.config()).unwrap();
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    // The WAL lies beside one of the two names only, so the database is rejected at both.
    assert_eq!(server.terminate(), Some(0));
    for access in [access, AccessPath::new("its own name", server.database())] {
        let started = serve_at(&access, &server.config()).unwrap();
        assert_eq!(started.status.code(), Some(78), "{started:?}");
        assert!(text(&started.stderr).contains("2 hard links"), "{started:?}");
    }
    fs::remove_file(&link).unwrap();
    server.restart();
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
    server.restart();
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
    // No file is made beside the link, and commands reach the server through it.
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
    server.restart();
    assert_eq!(server.history(EXAMPLE_ID).len(), 1);
}
