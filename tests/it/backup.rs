//! Copies of a live database.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::faults::{Chance, report, times};
use crate::support::*;

/// Says that it is over when dropped, also by a panic: whoever goes on until then would not end.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_is_whole_and_holds_all_that_was_acknowledged_before() {
    let chance = Chance::of("backup");
    let since = Instant::now();
    let backups = times(3, 10, 300);
    let server = Server::start(GATEWAY);
    // More than is copied at once.
    for number in 1..=20 {
        let body = json!({"type": number.to_string(), "pad": "a".repeat(200_000)});
        assert_eq!(server.post(&body.to_string()).outcome(), "quarantined");
    }
    let next = AtomicU64::new(1);
    let acknowledged = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let mut held = 0;
    thread::scope(|scope| {
        // One connection, so that what is acknowledged is all up to a number.
        scope.spawn(|| {
            let mut connection = server.connect();
            while !done.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let path = webhook_path(&format!("&key={number}&action={}", "a".repeat(500)));
                let body = webhook(&id(number), "SENT", 1).to_string();
                let answer = connection.send("POST", &path, JSON, body.as_bytes());
                assert_eq!(answer.status, 200);
                acknowledged.store(number, Ordering::SeqCst);
            }
        });
        let _posting = Until(&done);
        for number in 0..backups {
            let before = acknowledged.load(Ordering::SeqCst);
            let file = server.folder.path().join(format!("backup-{number}.db"));
            let made = server.run(&["backup", file.to_str().unwrap()]);
            assert!(made.status.success(), "{made:?}");
            let checked = server.run(&["check", file.to_str().unwrap()]);
            assert!(checked.status.success(), "{checked:?}");
            let copy =
                Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
            let whole: String =
                copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(whole, "ok");
            let rows: i64 =
                copy.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap();
            assert!(u64::try_from(rows).unwrap() >= before, "{rows} of {before}");
            held += before;
            fs::remove_file(&file).unwrap();
        }
    });
    assert!(held > 0, "nothing was acknowledged meanwhile");
    let figures = [("backups", backups), ("acknowledged before them", held), ("missing", 0)];
    report("P11", &chance, &figures, since);
}

#[test]
fn a_backup_is_one_file_for_its_owner_and_can_take_the_databases_place() {
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
    let again = server.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(65), "{again:?}");
    assert!(text(&again.stderr).contains("exists already"), "{again:?}");
    let nowhere = server.run(&["backup", "/nowhere/backup.db"]);
    assert!(text(&nowhere.stderr).contains("/nowhere/backup.db"), "{nowhere:?}");
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "applied");
    assert_eq!(server.terminate(), Some(0));
    // At rest too.
    let second = server.folder.path().join("second.db");
    assert!(server.run(&["backup", second.to_str().unwrap()]).status.success());
    assert_eq!(
        server.run(&["check", second.to_str().unwrap()]).stdout,
        server.run(&["check"]).stdout
    );
    fs::rename(&file, server.database()).unwrap();
    server.start_again();
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
    assert_eq!(server.get(&format!("/api/messagestatus/{}", id(1))).status, 404);
}
