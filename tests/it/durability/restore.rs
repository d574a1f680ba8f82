//! Restore: a backup replaces the database, complete, durable and without the messages erased since.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::support::backups::{backup_files, large_server};
use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::system_calls::run_killed_at;
use crate::support::*;

/// Destination that is erased after the backup, and the number of its message.
const DESTINATION: &str = "+393331234567";
const ERASED_MESSAGE: u64 = 7;

/// Server with a backup, messages from before and after it, and a destination erased since.
struct BackedUpServer {
    server: Server,
    backup: PathBuf,
    elsewhere: tempfile::TempDir,
}

impl BackedUpServer {
    fn new() -> Self {
        let server = Server::start(GATEWAY);
        let elsewhere = tempfile::tempdir().unwrap();
        let backup = elsewhere.path().join("backup.db");
        for number in 1..=5 {
            assert_eq!(
                server.post(&webhook(&id(number), "SENT", 1).to_string()).outcome(),
                "applied"
            );
        }
        let path = webhook_path("&destination=%2B393331234567");
        let body = webhook(&id(ERASED_MESSAGE), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
        let unreadable = format!(r#"{{"type": "{DESTINATION}"}}"#);
        assert_eq!(server.post(&unreadable).outcome(), "quarantined");
        assert!(server.run(&["backup", backup.to_str().unwrap()]).status.success());
        for number in 11..=15 {
            assert_eq!(
                server.post(&webhook(&id(number), "SENT", 1).to_string()).outcome(),
                "applied"
            );
        }
        let erased = server.run(&["erase", "--destination", DESTINATION, "--yes"]);
        assert!(erased.status.success(), "{erased:?}");
        // The erasure emptied the WAL, so one more webhook is stored.
        assert_eq!(server.post(&webhook(&id(16), "SENT", 1).to_string()).outcome(), "applied");
        Self { server, backup, elsewhere }
    }

    fn restore(&self) -> Output {
        self.server.run(&["restore", self.backup.to_str().unwrap()])
    }

    /// Names of the files beside the database that begin with this prefix, sorted.
    fn beside(&self, prefix: &str) -> Vec<String> {
        let folder = fs::read_dir(self.server.folder.path()).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    /// Asserts that the server has the messages of the backup without the erased one, and no later one.
    fn assert_restored(&self) {
        for number in 1..=5 {
            assert_eq!(self.server.history(&id(number)).len(), 1, "message {number}");
        }
        assert!(self.server.history(&id(11)).is_empty());
        assert!(self.server.history(&id(ERASED_MESSAGE)).is_empty());
        assert!(self.server.run(&["quarantine", "list"]).stdout.is_empty());
        // A late retry does not restore the erased message.
        let retry = self.server.post(&webhook(&id(ERASED_MESSAGE), "SENT", 1).to_string());
        assert_eq!(retry.outcome(), "ignored");
    }
}

#[test]
fn a_restore_keeps_later_erasures() {
    let mut backed = BackedUpServer::new();
    let before = fs::read(backed.server.database()).unwrap();
    let running = backed.restore();
    assert_eq!(running.status.code(), Some(75), "{running:?}");
    assert!(fs::read(backed.server.database()).unwrap() == before, "the database must not change");
    assert!(backed.beside("mirror.db.before-restore").is_empty());
    backed.server.kill();
    let restored = backed.restore();
    let stdout = text(&restored.stdout);
    assert!(restored.status.success(), "{restored:?}");
    assert!(stdout.contains("set aside: ") && stdout.contains("removed: 2 "), "{stdout}");
    assert!(!stdout.contains("repeat"), "{stdout}");
    let aside = backed.beside("mirror.db.before-restore");
    assert!(aside.iter().any(|name| name.ends_with("-wal")), "{aside:?}");
    assert!(backed.beside("mirror.db.rest").is_empty(), "no intermediate file may be left");
    backed.server.restart();
    backed.assert_restored();
    // `erase` names the files that were set aside.
    let erased = backed.server.run(&["erase", "--destination", DESTINATION, "--yes"]);
    for name in &aside {
        assert!(text(&erased.stdout).contains(name), "{name}: {erased:?}");
    }
    assert_eq!(backed.server.terminate(), Some(0));
    // A second restore, maybe within the same second, keeps the files that were set aside before.
    assert!(backed.restore().status.success());
    backed.server.restart();
    backed.assert_restored();
    assert!(aside.iter().all(|name| backed.beside(name).contains(name)));
    // The backup itself is unchanged.
    assert!(backed.server.run(&["check", backed.backup.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_dir(backed.elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn state_of_the_old_database_is_void_after_a_restore() {
    let mut backed = BackedUpServer::new();
    let cursor = |server: &Server| {
        let list = server.get("/api/messages?count=2");
        let next = list.header("link").unwrap().split(['<', '>']).nth(1).unwrap();
        next.to_owned()
    };
    let next = cursor(&backed.server);
    assert_eq!(backed.server.get(&next).status, 200);
    assert_eq!(backed.server.terminate(), Some(0));
    assert!(backed.restore().status.success());
    backed.server.restart();
    backed.server.get(&next).assert_problem(400);
    let other = cursor(&backed.server);
    assert_eq!(backed.server.get(&other).status, 200);
    assert_eq!(backed.server.terminate(), Some(0));
    // The lineage increases again, also with the same backup.
    assert!(backed.restore().status.success());
    backed.server.restart();
    backed.server.get(&other).assert_problem(400);
}

#[test]
fn a_restore_without_the_old_database_lists_the_erasures_to_repeat() {
    let mut backed = BackedUpServer::new();
    assert_eq!(backed.server.terminate(), Some(0));
    let damaged = vec![0x55; 40_960];
    fs::write(backed.server.database(), &damaged).unwrap();
    let started = backed.server.run(&["serve"]);
    assert_eq!(started.status.code(), Some(65), "{started:?}");
    let restored = backed.restore();
    assert!(restored.status.success(), "{restored:?}");
    let stdout = text(&restored.stdout);
    let repeat = "repeat with `statusmirror erase --destination NUMBER` every erasure that was made since 20";
    assert!(stdout.contains("could not be read") && stdout.contains(repeat), "{stdout}");
    let aside = backed.beside("mirror.db.before-restore");
    let aside = backed.server.folder.path().join(&aside[0]);
    assert!(fs::read(aside).unwrap() == damaged);
    backed.server.restart();
    assert_eq!(backed.server.history(&id(ERASED_MESSAGE)).len(), 1);
}

#[test]
fn only_a_sound_backup_is_restored() {
    let mut backed = BackedUpServer::new();
    assert_eq!(backed.server.terminate(), Some(0));
    let before = fs::read(backed.server.database()).unwrap();
    let sound = fs::read(&backed.backup).unwrap();
    let assert_rejected = |backup: &str, code: i32, error: &str| {
        let restored = backed.restore();
        assert_eq!(restored.status.code(), Some(code), "{backup}: {restored:?}");
        assert!(text(&restored.stderr).contains(error), "{backup}: {restored:?}");
        assert!(fs::read(backed.server.database()).unwrap() == before, "{backup}");
        assert!(backed.beside("mirror.db.rest").is_empty(), "{backup}");
        assert!(backed.beside("mirror.db.before").is_empty(), "{backup}");
    };
    let mut damaged = sound.clone();
    damaged[4_096 * 3..4_096 * 5].fill(0x55);
    fs::write(&backed.backup, &damaged).unwrap();
    assert_rejected("damaged", 65, "is damaged");
    fs::write(&backed.backup, &sound[..sound.len() / 2]).unwrap();
    assert_rejected("cut short", 65, "is damaged");
    let mut newer = sound.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&backed.backup, &newer).unwrap();
    assert_rejected("newer", 65, "schema version 99");
    fs::write(&backed.backup, "a letter").unwrap();
    assert_rejected("foreign", 65, "");
    fs::write(&backed.backup, &sound).unwrap();
    let wal = backed.elsewhere.path().join("backup.db-wal");
    fs::write(&wal, "something").unwrap();
    assert_rejected("with a WAL", 65, "-wal beside it");
    fs::remove_file(&wal).unwrap();
    fs::remove_file(&backed.backup).unwrap();
    assert_rejected("missing", 66, "file not found: ");
    let own = backed.server.run(&["restore", backed.server.database().to_str().unwrap()]);
    assert_eq!(own.status.code(), Some(65), "{own:?}");
}

#[test]
fn a_backup_in_place_of_the_database_is_rejected_beside_a_wal_and_served_without_one() {
    let mut backed = BackedUpServer::new();
    backed.server.kill();
    fs::copy(&backed.backup, backed.server.database()).unwrap();
    let wal = backed.server.folder.path().join("mirror.db-wal");
    let before = (fs::read(backed.server.database()).unwrap(), fs::read(&wal).unwrap());
    assert!(!before.1.is_empty());
    let started = backed.server.run(&["serve"]);
    assert_eq!(started.status.code(), Some(65), "{started:?}");
    assert!(text(&started.stderr).contains("statusmirror restore"), "{started:?}");
    assert!(before == (fs::read(backed.server.database()).unwrap(), fs::read(&wal).unwrap()));
    fs::remove_file(&wal).unwrap();
    backed.server.restart();
    assert!(backed.server.log().contains("the database is a backup"), "{}", backed.server.log());
    assert_eq!(backed.server.history(&id(1)).len(), 1);
    assert!(backed.server.history(&id(11)).is_empty());
    // The next start no longer takes the database for a backup.
    backed.server.kill();
    backed.server.restart();
    assert_eq!(backed.server.history(&id(1)).len(), 1);
}

#[test]
fn a_kill_at_any_system_call_of_a_restore_leaves_the_old_database_or_the_new() {
    if !is_installed("strace") {
        return;
    }
    let rng = SeededRng::for_test("restore");
    let since = Instant::now();
    let step = usize::try_from(repetitions(4, 1, 1)).unwrap();
    let mut backed = BackedUpServer::new();
    backed.server.kill();
    let wal = backed.server.folder.path().join("mirror.db-wal");
    let old = (fs::read(backed.server.database()).unwrap(), fs::read(&wal).unwrap());
    let put_back = |backed: &BackedUpServer| {
        for name in backed.beside("mirror.db") {
            fs::remove_file(backed.server.folder.path().join(name)).unwrap();
        }
        fs::write(backed.server.database(), &old.0).unwrap();
        fs::write(&wal, &old.1).unwrap();
    };
    let (mut kills, mut left_old) = (0, 0);
    for call in
        ["pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "copy_file_range"]
    {
        for n in (1..).step_by(if call == "rename" { 1 } else { step }) {
            put_back(&backed);
            let killed = run_killed_at(
                &backed.server,
                call,
                n,
                &["restore", backed.backup.to_str().unwrap()],
            );
            if killed.status.success() {
                break;
            }
            kills += 1;
            backed.server.restart();
            assert_eq!(backed.server.history(&id(1)).len(), 1, "{call} {n}");
            let is_old = backed.server.history(&id(11)).len() == 1;
            left_old += u64::from(is_old);
            if !is_old {
                backed.assert_restored();
            }
            assert_eq!(backed.server.terminate(), Some(0));
            assert!(backed.restore().status.success(), "{call} {n}");
            assert!(backed.beside("mirror.db.rest").is_empty(), "{call} {n}");
            backed.server.restart();
            backed.assert_restored();
            assert_eq!(backed.server.terminate(), Some(0));
        }
    }
    assert!(
        kills > 8 && left_old > 0 && left_old < kills,
        "{kills} kills, {left_old} left the old one"
    );
    let figures =
        [("kills", kills), ("left the old", left_old), ("left the new", kills - left_old)];
    report("P31", &rng, &figures, since);
}

#[test]
fn an_interrupted_backup_or_check_leaves_nothing_behind() {
    let mut server = large_server();
    let folder = server.folder.path().to_owned();
    let copy = folder.join("copy.db");
    for command in [&["backup", copy.to_str().unwrap()][..], &["check"]] {
        let mut interrupted = 0;
        for _ in 0..20 {
            let mut child = Command::new(PROGRAM)
                .arg("--config")
                .arg(server.config())
                .args(command)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let has_begun = || backup_files(&folder).iter().any(|name| name.ends_with(".partial"));
            while !has_begun() && child.try_wait().unwrap().is_none() {}
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            if ended.success() || copy.exists() {
                // The command finished before the kill.
                drop(fs::remove_file(&copy));
                continue;
            }
            wait_for(|| backup_files(&folder).is_empty().then_some(()));
            interrupted += 1;
            if interrupted == 3 {
                break;
            }
        }
        assert!(interrupted > 0, "{command:?} was never interrupted");
    }
    // The server is killed during a backup.
    let mut child = Command::new(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .args(["backup", copy.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while backup_files(&folder).is_empty() && child.try_wait().unwrap().is_none() {}
    server.kill();
    child.wait().unwrap();
    drop(fs::remove_file(&copy));
    server.restart();
    assert_eq!(backup_files(&folder), Vec::<String>::new());
}

/// Whether a process has a copy open whose file was unlinked.
fn has_unlinked_copy_open(process: u32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).any(|file| {
        let file = file.to_string_lossy();
        file.contains(".check-") && file.ends_with(" (deleted)")
    })
}

#[test]
fn a_check_reads_a_copy_that_has_no_name_any_more() {
    let server = large_server();
    let mut child = Command::new(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .arg("check")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut is_unlinked = false;
    while !is_unlinked && child.try_wait().unwrap().is_none() {
        is_unlinked = has_unlinked_copy_open(child.id());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_unlinked, "the copy must be unlinked while it is read");
    assert_eq!(backup_files(server.folder.path()), Vec::<String>::new());
}
