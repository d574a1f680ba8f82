//! A WAL with one flipped bit: acknowledged transactions are never dropped silently.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use statusmirror::store::sqlite::wal_damage;
use tempfile::TempDir;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::*;

/// Lengths of the WAL's header, and of a frame with its page of 4,096 bytes.
const HEADER: usize = 32;
const FRAME: usize = 24 + 4_096;

/// Killed server, with the WAL that the kill left.
struct KilledServer {
    server: Server,
    wal: Vec<u8>,
    /// End of each transaction, as an offset in the WAL in bytes.
    ends: Vec<usize>,
}

impl KilledServer {
    /// Kills a server after this number of webhooks, each in a transaction of its own.
    fn after(webhooks: u64) -> Self {
        let mut server = Server::start(GATEWAY);
        let mut connection = server.connect();
        for number in 1..=webhooks {
            let path =
                webhook_path(&format!("&destination=%2B3933312345{number:02}&key=k{number}"));
            let mut body = webhook(&id(number), "SENT", 1);
            // Every seventh webhook takes several pages.
            let length = if number % 7 == 0 { 9_000 } else { 9 };
            body["message"]["provider"] =
                serde_json::json!({"name": "a", "status": "b".repeat(length)});
            let answer = connection.send("POST", &path, JSON, body.to_string().as_bytes());
            assert_eq!(answer.outcome(), "applied");
        }
        server.kill();
        let wal = fs::read(server.folder.path().join("mirror.db-wal")).unwrap();
        let salt = &wal[16..24];
        let frames = (HEADER..wal.len()).step_by(FRAME).filter(|at| wal.len() >= at + FRAME);
        let commits =
            frames.filter(|at| wal[at + 8..at + 16] == *salt && wal[at + 4..at + 8] != [0; 4]);
        let ends: Vec<_> = commits.map(|at| at + FRAME).collect();
        assert!(ends.len() > 20, "{} transactions", ends.len());
        Self { server, wal, ends }
    }

    /// Folder with a copy of the database and with this WAL.
    fn with(&self, wal: &[u8]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(self.server.database(), folder.path().join("mirror.db")).unwrap();
        fs::write(folder.path().join("mirror.db-wal"), wal).unwrap();
        folder
    }
}

/// Number of notifications that SQLite finds; 0 if it cannot read them.
fn count_notifications(database: &Path) -> i64 {
    let db = Connection::open(database).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    db.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap_or(0)
}

fn is_damaged(folder: &TempDir) -> bool {
    wal_damage(&folder.path().join("mirror.db"), None).unwrap().is_some()
}

#[test]
fn a_flipped_bit_before_the_last_transaction_is_found_wherever_it_is() {
    let mut rng = SeededRng::for_test("flipped bits of a WAL");
    let since = Instant::now();
    let killed = KilledServer::after(60);
    let end = *killed.ends.last().unwrap();
    let [.., before_last, _] = killed.ends[..] else { panic!("too few transactions") };
    let stored = count_notifications(&killed.with(&killed.wal).path().join("mirror.db"));
    assert_eq!(stored, 60);
    assert!(!is_damaged(&killed.with(&killed.wal)));
    // Every byte of the WAL's header, of a commit frame's header and of the next frame's header; and
    // random bytes.
    let middle = killed.ends[killed.ends.len() / 2];
    let mut offsets: Vec<usize> = (0..HEADER).chain(middle - FRAME..middle - FRAME + 24).collect();
    offsets.extend(middle..middle + 24);
    let random = repetitions(100, 1_000, 20_000);
    offsets.extend(
        (0..random).map(|_| usize::try_from(rng.below(u64::try_from(end).unwrap())).unwrap()),
    );
    let (mut found, mut torn, mut harmless) = (0, 0, 0);
    for offset in offsets {
        let bit = 1 << rng.below(8);
        let mut wal = killed.wal.clone();
        wal[offset] ^= bit;
        let folder = killed.with(&wal);
        if is_damaged(&folder) {
            found += 1;
            continue;
        }
        let lost = stored - count_notifications(&folder.path().join("mirror.db"));
        // SQLite ignores some bytes.
        harmless += u64::from(lost == 0);
        torn += u64::from(lost > 0);
        // A flip in the commit frame before the last transaction looks like a torn sector, too. It
        // loses two transactions.
        let is_at_end = offset >= before_last - FRAME;
        assert!(
            lost == 0 || (is_at_end && lost <= 2),
            "byte {offset}, bit {bit}: {lost} lost silently"
        );
    }
    assert!(found > random / 2, "{found}");
    let figures = [
        ("flipped bits", found + torn + harmless),
        ("found", found),
        ("in the last transaction", torn),
        ("without effect", harmless),
    ];
    report("P32", &rng, &figures, since);
}

#[test]
fn a_truncated_wal_is_no_damage() {
    let killed = KilledServer::after(40);
    let end = *killed.ends.last().unwrap();
    let mut rng = SeededRng::for_test("short WAL");
    for _ in 0..repetitions(60, 600, 6_000) {
        let kept = usize::try_from(rng.below(u64::try_from(end).unwrap())).unwrap();
        let cut = killed.with(&killed.wal[..kept]);
        assert!(!is_damaged(&cut), "{kept} bytes");
        // The file may have its length, with zeros in place of the lost bytes.
        let mut zeros = killed.wal[..kept].to_vec();
        zeros.resize(end, 0);
        assert!(!is_damaged(&killed.with(&zeros)), "{kept} bytes and zeros");
    }
}

#[test]
fn a_start_on_a_damaged_wal_is_rejected_until_the_loss_is_accepted() {
    let mut killed = KilledServer::after(40);
    let path = killed.server.folder.path().join("mirror.db-wal");
    let offset = killed.ends[20] + 24 + 100;
    let mut wal = killed.wal.clone();
    wal[offset] ^= 4;
    fs::write(&path, &wal).unwrap();
    let database = fs::read(killed.server.database()).unwrap();
    let assert_unchanged = || {
        assert!(fs::read(&path).unwrap() == wal);
        assert!(fs::read(killed.server.database()).unwrap() == database);
    };
    let salt = format!("{:016x}", u64::from_be_bytes(wal[16..24].try_into().unwrap()));
    let accept = format!("statusmirror accept-wal-loss {salt}");
    for command in [&["serve"][..], &["check"], &["quarantine", "list"]] {
        let rejected = killed.server.run(command);
        assert_eq!(rejected.status.code(), Some(65), "{rejected:?}");
        let stderr = text(&rejected.stderr);
        assert!(
            stderr.contains("mirror.db-wal is damaged") && stderr.contains(&accept),
            "{stderr}"
        );
        assert!(stderr.contains("statusmirror restore"), "{stderr}");
        assert_unchanged();
    }
    let wrong_salt = killed.server.run(&["accept-wal-loss", "0011223344556677"]);
    assert_eq!(wrong_salt.status.code(), Some(65), "{wrong_salt:?}");
    assert!(text(&wrong_salt.stderr).contains(&accept), "{wrong_salt:?}");
    assert_unchanged();
    let accepted = killed.server.run(&["accept-wal-loss", &salt]);
    assert!(accepted.status.success(), "{accepted:?}");
    // A second time, there is no damage to accept.
    let repeated = killed.server.run(&["accept-wal-loss", &salt]);
    assert_eq!(repeated.status.code(), Some(65), "{repeated:?}");
    assert!(text(&repeated.stderr).contains("is not damaged"), "{repeated:?}");
    killed.server.restart();
    assert_eq!(killed.server.history(&id(5)).len(), 1);
    assert_eq!(killed.server.history(&id(40)).len(), 0);
    assert_eq!(killed.server.post(EXAMPLE).outcome(), "applied");
    let while_running = killed.server.run(&["accept-wal-loss", &salt]);
    assert_eq!(while_running.status.code(), Some(75), "{while_running:?}");
}

#[test]
fn a_torn_tail_is_truncated_silently() {
    let mut killed = KilledServer::after(30);
    let offset = killed.ends.last().unwrap() - 100;
    let mut wal = killed.wal.clone();
    wal[offset] ^= 4;
    fs::write(killed.server.folder.path().join("mirror.db-wal"), &wal).unwrap();
    let before = killed.server.log().len();
    killed.server.restart();
    assert_eq!(killed.server.history(&id(29)).len(), 1);
    assert_eq!(killed.server.history(&id(30)).len(), 0);
    let log = killed.server.log().split_off(before);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// SQLite before 3.51.3 can corrupt a database in WAL mode when a checkpoint meets a commit that restarts the
/// WAL: the WAL-reset bug, <https://sqlite.org/wal.html#walresetbug>.
#[test]
fn the_bundled_sqlite_has_no_wal_reset_bug() {
    let version = rusqlite::version();
    println!("bundled SQLite: {version}");
    assert!(rusqlite::version_number() >= 3_051_003, "SQLite {version} has the WAL-reset bug");
}
