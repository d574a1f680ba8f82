//! Backups of a live database.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::backups::{backup_files, large_server};
use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::*;

/// Sets the flag when dropped, also by a panic, so that a thread that runs until then ends.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a command with the server's configuration.
fn spawn(server: &Server, command: &[&str]) -> Child {
    Command::new(PROGRAM)
        .arg("--config")
        .arg(server.config())
        .args(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs these commands at the same time; returns their outputs.
fn run_concurrently(server: &Server, commands: &[&[&str]]) -> Vec<Output> {
    let children: Vec<_> = commands.iter().map(|command| spawn(server, command)).collect();
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

#[test]
fn of_two_concurrent_backups_to_one_name_one_succeeds() {
    let server = large_server();
    let file = server.folder.path().join("copy.db");
    let expected = server.run(&["check"]).stdout;
    for round in 0..4 {
        let backup: &[&str] = &["backup", file.to_str().unwrap()];
        let (made, rejected): (Vec<_>, Vec<_>) = run_concurrently(&server, &[backup, backup])
            .into_iter()
            .partition(|output| output.status.success());
        assert_eq!((made.len(), rejected.len()), (1, 1), "round {round}: {rejected:?}");
        assert_eq!(rejected[0].status.code(), Some(65), "{rejected:?}");
        assert!(text(&rejected[0].stderr).contains("copy.db exists already"), "{rejected:?}");
        let checked = server.run(&["check", file.to_str().unwrap()]);
        assert_eq!(checked.stdout, expected, "round {round}");
        assert_eq!(backup_files(server.folder.path()), ["copy.db"]);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn concurrent_backups_to_several_names_and_checks_succeed() {
    let mut server = large_server();
    let expected = server.run(&["check"]).stdout;
    let files = ["copy-1.db", "copy-2.db", "copy-3.db"].map(|name| server.folder.path().join(name));
    let [first, second, third] = files.each_ref().map(|file| file.to_str().unwrap());
    let check: &[&str] = &["check"];
    for _ in 0..2 {
        let commands: [&[&str]; 5] =
            [&["backup", first], check, &["backup", second], check, &["backup", third]];
        for (command, output) in commands.iter().zip(run_concurrently(&server, &commands)) {
            assert!(output.status.success(), "{command:?}: {output:?}");
            if command[0] == "check" {
                assert_eq!(output.stdout, expected);
            }
        }
        assert_eq!(backup_files(server.folder.path()), ["copy-1.db", "copy-2.db", "copy-3.db"]);
        for file in [first, second, third] {
            assert_eq!(server.run(&["check", file]).stdout, expected);
            fs::remove_file(file).unwrap();
        }
    }
    // The server is killed while it makes one backup and two others wait.
    let backups = [first, second, third].map(|file| spawn(&server, &["backup", file]));
    let unfinished = || {
        let names = backup_files(server.folder.path());
        names.iter().filter(|name| name.ends_with(".partial")).count()
    };
    wait_for(|| (unfinished() > 0).then_some(()));
    for _ in 0..20 {
        assert!(unfinished() <= 1, "at most one backup may be unfinished at a time");
        thread::sleep(Duration::from_millis(1));
    }
    server.kill();
    for backup in backups {
        drop(backup.wait_with_output());
    }
    server.restart();
    let left = backup_files(server.folder.path());
    let is_complete = |name: &String| files.iter().any(|file| file.ends_with(name));
    assert!(left.iter().all(is_complete), "{left:?}");
}

#[test]
fn two_servers_do_not_mix_their_backups_to_one_name() {
    let (large, small) = (large_server(), Server::start(GATEWAY));
    assert_eq!(small.post(EXAMPLE).outcome(), "applied");
    let file = large.folder.path().join("copy.db");
    let backup: &[&str] = &["backup", file.to_str().unwrap()];
    for round in 0..4 {
        let slow = spawn(&large, backup);
        if round % 2 == 0 {
            wait_for(|| backup_files(large.folder.path()).len().ge(&2).then_some(()));
        }
        let fast = small.run(backup);
        let slow = slow.wait_with_output().unwrap();
        let (made, rejected) =
            if slow.status.success() { (&large, &fast) } else { (&small, &slow) };
        assert!(slow.status.success() != fast.status.success(), "{slow:?} {fast:?}");
        assert!(text(&rejected.stderr).contains("copy.db exists already"), "{rejected:?}");
        let expected = made.run(&["check"]).stdout;
        let checked = made.run(&["check", file.to_str().unwrap()]);
        assert_eq!(checked.stdout, expected, "round {round}");
        assert_eq!(backup_files(large.folder.path()), ["copy.db"]);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_backup_under_load_is_complete() {
    let rng = SeededRng::for_test("backup");
    let since = Instant::now();
    let backups = repetitions(3, 10, 300);
    let server = Server::start(GATEWAY);
    // More data than a backup copies in one step.
    for number in 1..=20 {
        let body = json!({"type": number.to_string(), "pad": "a".repeat(200_000)});
        assert_eq!(server.post(&body.to_string()).outcome(), "quarantined");
    }
    let next = AtomicU64::new(1);
    let acknowledged = AtomicU64::new(0);
    let is_finished = AtomicBool::new(false);
    let mut acknowledged_before = 0;
    thread::scope(|scope| {
        // One connection, so that all webhooks up to a number are acknowledged.
        scope.spawn(|| {
            let mut connection = server.connect();
            while !is_finished.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let path = webhook_path(&format!("&key={number}&action={}", "a".repeat(500)));
                let body = webhook(&id(number), "SENT", 1).to_string();
                let answer = connection.send("POST", &path, JSON, body.as_bytes());
                assert_eq!(answer.status, 200);
                acknowledged.store(number, Ordering::SeqCst);
            }
        });
        let _finish = SetOnDrop(&is_finished);
        for number in 0..backups {
            let before = acknowledged.load(Ordering::SeqCst);
            let file = server.folder.path().join(format!("backup-{number}.db"));
            let made = server.run(&["backup", file.to_str().unwrap()]);
            assert!(made.status.success(), "{made:?}");
            let checked = server.run(&["check", file.to_str().unwrap()]);
            assert!(checked.status.success(), "{checked:?}");
            let copy =
                Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
            let integrity: String =
                copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(integrity, "ok");
            let rows: i64 =
                copy.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap();
            assert!(u64::try_from(rows).unwrap() >= before, "{rows} of {before}");
            acknowledged_before += before;
            fs::remove_file(&file).unwrap();
        }
    });
    assert!(acknowledged_before > 0, "expected acknowledged webhooks before a backup");
    let figures =
        [("backups", backups), ("acknowledged before them", acknowledged_before), ("missing", 0)];
    report("P11", &rng, &figures, since);
}

#[test]
fn a_backup_is_one_private_file_that_can_replace_the_database() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let file = server.folder.path().join("backup.db");
    let made = server.run(&["backup", file.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(text(&made.stdout).trim(), file.to_str().unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let beside: Vec<_> = fs::read_dir(server.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("backup.db"))
        .collect();
    assert_eq!(beside, ["backup.db"]);
    let repeated = server.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(repeated.status.code(), Some(65), "{repeated:?}");
    assert!(text(&repeated.stderr).contains("exists already"), "{repeated:?}");
    let no_folder = server.run(&["backup", "/nowhere/backup.db"]);
    assert!(text(&no_folder.stderr).contains("/nowhere/backup.db"), "{no_folder:?}");
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "applied");
    assert_eq!(server.terminate(), Some(0));
    // A stopped server's database can be backed up, too.
    let second = server.folder.path().join("second.db");
    assert!(server.run(&["backup", second.to_str().unwrap()]).status.success());
    assert_eq!(
        server.run(&["check", second.to_str().unwrap()]).stdout,
        server.run(&["check"]).stdout
    );
    fs::rename(&file, server.database()).unwrap();
    server.restart();
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(1))).status, 404);
}
