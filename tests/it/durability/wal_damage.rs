//! A WAL with one flipped bit: acknowledged transactions are never dropped silently.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use statusmirror::store::sqlite::wal_damage;
use tempfile::TempDir;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::*;

/// The length of a WAL's header, and of a frame with its page of 4,096 bytes.
const HEADER: usize = 32;
const FRAME: usize = 24 + 4_096;

/// A database, and a WAL that a kill left.
struct Killed {
    server: Server,
    wal: Vec<u8>,
    /// Where each transaction ends, in bytes of the WAL.
    ends: Vec<usize>,
}

impl Killed {
    /// After so many webhooks, one after the other.
    fn after(webhooks: u64) -> Self {
        let mut server = Server::start(GATEWAY);
        let mut connection = server.connect();
        for number in 1..=webhooks {
            let path =
                webhook_path(&format!("&destination=%2B3933312345{number:02}&key=k{number}"));
            let mut body = webhook(&id(number), "SENT", 1);
            // Some take several pages.
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

    /// A copy of both files, with this WAL.
    fn with(&self, wal: &[u8]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(self.server.database(), folder.path().join("mirror.db")).unwrap();
        fs::write(folder.path().join("mirror.db-wal"), wal).unwrap();
        folder
    }
}

/// How many notifications SQLite finds.
fn rows(database: &Path) -> i64 {
    let file = Connection::open(database).unwrap();
    file.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    file.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap_or(0)
}

fn damaged(folder: &TempDir) -> bool {
    wal_damage(&folder.path().join("mirror.db"), None).unwrap().is_some()
}

#[test]
fn a_flipped_bit_before_the_last_transaction_is_found_wherever_it_is() {
    let mut chance = Chance::of("flipped bits of a WAL");
    let since = Instant::now();
    let killed = Killed::after(60);
    let end = *killed.ends.last().unwrap();
    let [.., before_last, _] = killed.ends[..] else { panic!("too few transactions") };
    let whole = rows(&killed.with(&killed.wal).path().join("mirror.db"));
    assert_eq!(whole, 60);
    assert!(!damaged(&killed.with(&killed.wal)));
    // Every byte of the header, of a commit frame's header and of one behind it; and by chance.
    let middle = killed.ends[killed.ends.len() / 2];
    let mut places: Vec<usize> = (0..HEADER).chain(middle - FRAME..middle - FRAME + 24).collect();
    places.extend(middle..middle + 24);
    let random = times(100, 1_000, 20_000);
    places.extend(
        (0..random).map(|_| usize::try_from(chance.below(u64::try_from(end).unwrap())).unwrap()),
    );
    let (mut found, mut torn, mut harmless) = (0, 0, 0);
    for place in places {
        let bit = 1 << chance.below(8);
        let mut wal = killed.wal.clone();
        wal[place] ^= bit;
        let folder = killed.with(&wal);
        if damaged(&folder) {
            found += 1;
            continue;
        }
        let lost = whole - rows(&folder.path().join("mirror.db"));
        // What SQLite does not look at is no loss.
        harmless += u64::from(lost == 0);
        torn += u64::from(lost > 0);
        // The transaction before the last one, too, where its mark cannot be told from a torn sector.
        let of_last = place >= before_last - FRAME;
        assert!(
            lost == 0 || (of_last && lost <= 2),
            "byte {place}, bit {bit}: {lost} lost silently"
        );
    }
    assert!(found > random / 2, "{found}");
    let figures = [
        ("flipped bits", found + torn + harmless),
        ("found", found),
        ("in the last transaction", torn),
        ("without effect", harmless),
    ];
    report("P32", &chance, &figures, since);
}

#[test]
fn a_truncated_wal_is_no_damage() {
    let killed = Killed::after(40);
    let end = *killed.ends.last().unwrap();
    let mut chance = Chance::of("short WAL");
    for _ in 0..times(60, 600, 6_000) {
        let kept = usize::try_from(chance.below(u64::try_from(end).unwrap())).unwrap();
        let cut = killed.with(&killed.wal[..kept]);
        assert!(!damaged(&cut), "{kept} bytes");
        // The length may be there without the bytes.
        let mut zeros = killed.wal[..kept].to_vec();
        zeros.resize(end, 0);
        assert!(!damaged(&killed.with(&zeros)), "{kept} bytes and zeros");
    }
}

#[test]
fn a_start_on_a_damaged_wal_is_rejected_until_the_loss_is_accepted() {
    let mut killed = Killed::after(40);
    let path = killed.server.folder.path().join("mirror.db-wal");
    let place = killed.ends[20] + 24 + 100;
    let mut wal = killed.wal.clone();
    wal[place] ^= 4;
    fs::write(&path, &wal).unwrap();
    let database = fs::read(killed.server.database()).unwrap();
    let unchanged = || {
        assert!(fs::read(&path).unwrap() == wal);
        assert!(fs::read(killed.server.database()).unwrap() == database);
    };
    let salt = format!("{:016x}", u64::from_be_bytes(wal[16..24].try_into().unwrap()));
    let accept = format!("statusmirror accept-wal-loss {salt}");
    for command in [&["serve"][..], &["check"], &["quarantine", "list"]] {
        let rejected = killed.server.run(command);
        assert_eq!(rejected.status.code(), Some(65), "{rejected:?}");
        let said = text(&rejected.stderr);
        assert!(said.contains("mirror.db-wal is damaged") && said.contains(&accept), "{said}");
        assert!(said.contains("statusmirror restore"), "{said}");
        unchanged();
    }
    let other = killed.server.run(&["accept-wal-loss", "0011223344556677"]);
    assert_eq!(other.status.code(), Some(65), "{other:?}");
    assert!(text(&other.stderr).contains(&accept), "{other:?}");
    unchanged();
    let accepted = killed.server.run(&["accept-wal-loss", &salt]);
    assert!(accepted.status.success(), "{accepted:?}");
    // It is done once.
    let again = killed.server.run(&["accept-wal-loss", &salt]);
    assert_eq!(again.status.code(), Some(65), "{again:?}");
    assert!(text(&again.stderr).contains("is not damaged"), "{again:?}");
    killed.server.start_again();
    assert_eq!(killed.server.history(&id(5)).len(), 1);
    assert_eq!(killed.server.history(&id(40)).len(), 0);
    assert_eq!(killed.server.post(EXAMPLE).outcome(), "applied");
    let held = killed.server.run(&["accept-wal-loss", &salt]);
    assert_eq!(held.status.code(), Some(75), "{held:?}");
}

#[test]
fn a_torn_tail_is_truncated_silently() {
    let mut killed = Killed::after(30);
    let place = killed.ends.last().unwrap() - 100;
    let mut wal = killed.wal.clone();
    wal[place] ^= 4;
    fs::write(killed.server.folder.path().join("mirror.db-wal"), &wal).unwrap();
    let before = killed.server.log().len();
    killed.server.start_again();
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
