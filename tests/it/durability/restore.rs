//! Restore: a backup replaces the database, complete, durable and without what was erased since.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::support::backups::{copies, large};
use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::system_calls::run_killed_at;
use crate::support::*;

/// A number that is erased after the backup, and its message.
const NUMBER: &str = "+393331234567";
const OF_NUMBER: u64 = 7;

/// A server with a backup: what came before it and after it, and something that was erased since.
struct Backed {
    server: Server,
    backup: PathBuf,
    elsewhere: tempfile::TempDir,
}

impl Backed {
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
        let body = webhook(&id(OF_NUMBER), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
        let unread = format!(r#"{{"type": "{NUMBER}"}}"#);
        assert_eq!(server.post(&unread).outcome(), "quarantined");
        assert!(server.run(&["backup", backup.to_str().unwrap()]).status.success());
        for number in 11..=15 {
            assert_eq!(
                server.post(&webhook(&id(number), "SENT", 1).to_string()).outcome(),
                "applied"
            );
        }
        let erased = server.run(&["erase", "--destination", NUMBER, "--yes"]);
        assert!(erased.status.success(), "{erased:?}");
        // Which emptied the WAL.
        assert_eq!(server.post(&webhook(&id(16), "SENT", 1).to_string()).outcome(), "applied");
        Self { server, backup, elsewhere }
    }

    fn restore(&self) -> Output {
        self.server.run(&["restore", self.backup.to_str().unwrap()])
    }

    /// The files beside the database whose names begin with this.
    fn beside(&self, prefix: &str) -> Vec<String> {
        let folder = fs::read_dir(self.server.folder.path()).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    /// What was in the backup is served, but for what was erased, and nothing that came later.
    fn assert_restored(&self) {
        for number in 1..=5 {
            assert_eq!(self.server.history(&id(number)).len(), 1, "message {number}");
        }
        assert!(self.server.history(&id(11)).is_empty());
        assert!(self.server.history(&id(OF_NUMBER)).is_empty());
        assert!(self.server.run(&["quarantine", "list"]).stdout.is_empty());
        // A late retry does not bring it back.
        let again = self.server.post(&webhook(&id(OF_NUMBER), "SENT", 1).to_string());
        assert_eq!(again.outcome(), "ignored");
    }
}

#[test]
fn a_restore_keeps_later_erasures() {
    let mut backed = Backed::new();
    let before = fs::read(backed.server.database()).unwrap();
    let running = backed.restore();
    assert_eq!(running.status.code(), Some(75), "{running:?}");
    assert!(fs::read(backed.server.database()).unwrap() == before, "nothing is touched");
    assert!(backed.beside("mirror.db.before-restore").is_empty());
    backed.server.kill();
    let restored = backed.restore();
    let said = text(&restored.stdout);
    assert!(restored.status.success(), "{restored:?}");
    assert!(said.contains("set aside: ") && said.contains("which removed 2 "), "{said}");
    assert!(!said.contains("repeat"), "{said}");
    let aside = backed.beside("mirror.db.before-restore");
    assert!(aside.iter().any(|name| name.ends_with("-wal")), "{aside:?}");
    assert!(backed.beside("mirror.db.rest").is_empty(), "nothing is left of the way");
    backed.server.start_again();
    backed.assert_restored();
    // `erase` names the copies.
    let erased = backed.server.run(&["erase", "--destination", NUMBER, "--yes"]);
    for name in &aside {
        assert!(text(&erased.stdout).contains(name), "{name}: {erased:?}");
    }
    assert_eq!(backed.server.terminate(), Some(0));
    // Once more, on the same second or not: the older copies stay.
    assert!(backed.restore().status.success());
    backed.server.start_again();
    backed.assert_restored();
    assert!(aside.iter().all(|name| backed.beside(name).contains(name)));
    // The backup itself is as it was.
    assert!(backed.server.run(&["check", backed.backup.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_dir(backed.elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn state_of_the_old_database_is_void_after_a_restore() {
    let mut backed = Backed::new();
    let cursor = |server: &Server| {
        let list = server.get("/api/messages?count=2");
        let next = list.header("link").unwrap().split(['<', '>']).nth(1).unwrap();
        next.to_owned()
    };
    let next = cursor(&backed.server);
    assert_eq!(backed.server.get(&next).status, 200);
    assert_eq!(backed.server.terminate(), Some(0));
    assert!(backed.restore().status.success());
    backed.server.start_again();
    backed.server.get(&next).assert_problem(400);
    let other = cursor(&backed.server);
    assert_eq!(backed.server.get(&other).status, 200);
    assert_eq!(backed.server.terminate(), Some(0));
    // The lineage goes on, also from the same backup.
    assert!(backed.restore().status.success());
    backed.server.start_again();
    backed.server.get(&other).assert_problem(400);
}

#[test]
fn a_restore_without_the_old_database_lists_the_erasures_to_repeat() {
    let mut backed = Backed::new();
    assert_eq!(backed.server.terminate(), Some(0));
    let damaged = vec![0x55; 40_960];
    fs::write(backed.server.database(), &damaged).unwrap();
    let refused = backed.server.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    let restored = backed.restore();
    assert!(restored.status.success(), "{restored:?}");
    let said = text(&restored.stdout);
    let repeat = "repeat with `statusmirror erase --destination NUMBER` every erasure that was made since 20";
    assert!(said.contains("could not be read") && said.contains(repeat), "{said}");
    let aside = backed.beside("mirror.db.before-restore");
    let aside = backed.server.folder.path().join(&aside[0]);
    assert!(fs::read(aside).unwrap() == damaged);
    backed.server.start_again();
    assert_eq!(backed.server.history(&id(OF_NUMBER)).len(), 1);
}

#[test]
fn only_a_sound_backup_is_restored() {
    let mut backed = Backed::new();
    assert_eq!(backed.server.terminate(), Some(0));
    let before = fs::read(backed.server.database()).unwrap();
    let sound = fs::read(&backed.backup).unwrap();
    let refused = |what: &str, code: i32, words: &str| {
        let restored = backed.restore();
        assert_eq!(restored.status.code(), Some(code), "{what}: {restored:?}");
        assert!(text(&restored.stderr).contains(words), "{what}: {restored:?}");
        assert!(fs::read(backed.server.database()).unwrap() == before, "{what}");
        assert!(backed.beside("mirror.db.rest").is_empty(), "{what}");
        assert!(backed.beside("mirror.db.before").is_empty(), "{what}");
    };
    let mut damaged = sound.clone();
    damaged[4_096 * 3..4_096 * 5].fill(0x55);
    fs::write(&backed.backup, &damaged).unwrap();
    refused("damaged", 65, "is damaged");
    fs::write(&backed.backup, &sound[..sound.len() / 2]).unwrap();
    refused("cut short", 65, "is damaged");
    let mut newer = sound.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&backed.backup, &newer).unwrap();
    refused("newer", 65, "schema version 99");
    fs::write(&backed.backup, "a letter").unwrap();
    refused("foreign", 65, "");
    fs::write(&backed.backup, &sound).unwrap();
    let wal = backed.elsewhere.path().join("backup.db-wal");
    fs::write(&wal, "something").unwrap();
    refused("with a WAL", 65, "-wal beside it");
    fs::remove_file(&wal).unwrap();
    fs::remove_file(&backed.backup).unwrap();
    refused("missing", 66, "there is no file");
    let own = backed.server.run(&["restore", backed.server.database().to_str().unwrap()]);
    assert_eq!(own.status.code(), Some(65), "{own:?}");
}

#[test]
fn a_backup_in_place_of_the_database_is_rejected_beside_a_wal_and_served_without_one() {
    let mut backed = Backed::new();
    backed.server.kill();
    fs::copy(&backed.backup, backed.server.database()).unwrap();
    let wal = backed.server.folder.path().join("mirror.db-wal");
    let before = (fs::read(backed.server.database()).unwrap(), fs::read(&wal).unwrap());
    assert!(!before.1.is_empty());
    let refused = backed.server.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    assert!(text(&refused.stderr).contains("statusmirror restore"), "{refused:?}");
    assert!(before == (fs::read(backed.server.database()).unwrap(), fs::read(&wal).unwrap()));
    fs::remove_file(&wal).unwrap();
    backed.server.start_again();
    assert!(backed.server.log().contains("the database is a backup"), "{}", backed.server.log());
    assert_eq!(backed.server.history(&id(1)).len(), 1);
    assert!(backed.server.history(&id(11)).is_empty());
    // It is a backup no more.
    backed.server.kill();
    backed.server.start_again();
    assert_eq!(backed.server.history(&id(1)).len(), 1);
}

#[test]
fn a_kill_at_any_system_call_of_a_restore_leaves_the_old_database_or_the_new() {
    if !is_installed("strace") {
        return;
    }
    let chance = Chance::of("restore");
    let since = Instant::now();
    let every = usize::try_from(times(4, 1, 1)).unwrap();
    let mut backed = Backed::new();
    backed.server.kill();
    let wal = backed.server.folder.path().join("mirror.db-wal");
    let old = (fs::read(backed.server.database()).unwrap(), fs::read(&wal).unwrap());
    let put_back = |backed: &Backed| {
        for name in backed.beside("mirror.db") {
            fs::remove_file(backed.server.folder.path().join(name)).unwrap();
        }
        fs::write(backed.server.database(), &old.0).unwrap();
        fs::write(&wal, &old.1).unwrap();
    };
    let (mut kills, mut left_old) = (0, 0);
    for kind in
        ["pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "copy_file_range"]
    {
        for call in (1..).step_by(if kind == "rename" { 1 } else { every }) {
            put_back(&backed);
            let killed = run_killed_at(
                &backed.server,
                kind,
                call,
                &["restore", backed.backup.to_str().unwrap()],
            );
            if killed.status.success() {
                break;
            }
            kills += 1;
            backed.server.start_again();
            assert_eq!(backed.server.history(&id(1)).len(), 1, "{kind} {call}");
            let is_old = backed.server.history(&id(11)).len() == 1;
            left_old += u64::from(is_old);
            if !is_old {
                backed.assert_restored();
            }
            assert_eq!(backed.server.terminate(), Some(0));
            assert!(backed.restore().status.success(), "{kind} {call}");
            assert!(backed.beside("mirror.db.rest").is_empty(), "{kind} {call}");
            backed.server.start_again();
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
    report("P31", &chance, &figures, since);
}

#[test]
fn an_interrupted_backup_or_check_leaves_nothing_behind() {
    let mut server = large();
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
            let is_begun = || copies(&folder).iter().any(|name| name.ends_with(".partial"));
            while !is_begun() && child.try_wait().unwrap().is_none() {}
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            if ended.success() || copy.exists() {
                // It was too fast.
                drop(fs::remove_file(&copy));
                continue;
            }
            eventually(|| copies(&folder).is_empty().then_some(()));
            interrupted += 1;
            if interrupted == 3 {
                break;
            }
        }
        assert!(interrupted > 0, "{command:?} was never interrupted");
    }
    // The server is killed in the middle of it.
    let mut child = Command::new(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .args(["backup", copy.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while copies(&folder).is_empty() && child.try_wait().unwrap().is_none() {}
    server.kill();
    child.wait().unwrap();
    drop(fs::remove_file(&copy));
    server.start_again();
    assert_eq!(copies(&folder), Vec::<String>::new());
}

/// Whether a process has a copy open whose name is removed.
fn reads_a_copy_without_a_name(process: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).any(|file| {
        let file = file.to_string_lossy();
        file.contains(".check-") && file.ends_with(" (deleted)")
    })
}

#[test]
fn a_check_reads_a_copy_that_has_no_name_any_more() {
    let server = large();
    let mut child = Command::new(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .arg("check")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = false;
    while !seen && child.try_wait().unwrap().is_none() {
        seen = reads_a_copy_without_a_name(child.id());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen, "the copy kept its name while it was read");
    assert_eq!(copies(server.folder.path()), Vec::<String>::new());
}
