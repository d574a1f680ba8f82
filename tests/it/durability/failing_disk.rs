//! A failing disk: nothing more is acknowledged, and the next start does not trust the last writes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::fault_disk::{FaultyDisk, Volume};
use crate::support::*;

/// How long the process may take to end once its disk has failed.
const END: Duration = Duration::from_secs(1);
/// A machine that does much else needs longer, and time must not decide.
const PATIENCE: Duration = Duration::from_secs(20);

fn mark(server: &Server) -> std::path::PathBuf {
    server.folder.path().join("mirror.db.failed")
}

/// What the database and its WAL are, which are other files once the data is in new blocks.
fn files(server: &Server) -> [(u64, SystemTime); 2] {
    let wal = server.folder.path().join("mirror.db-wal");
    [server.database(), wal].map(|path| {
        let file = fs::metadata(path).unwrap();
        // The number alone may be that of a file that is gone.
        (file.ino(), file.created().unwrap())
    })
}

fn assert_none_is(server: &Server, before: [(u64, SystemTime); 2]) {
    let [database, wal] = files(server);
    assert!(database != before[0] && wal != before[1], "{before:?}");
}

/// Posts until the disk fails, and waits for the end; returns what was acknowledged, and how long
/// the end took.
fn fail(server: &mut Server, disk: &FaultyDisk, fault: &str, first: u64) -> (Vec<u64>, Duration) {
    let mut acknowledged = Vec::new();
    let mut connection = server.connect();
    let mut post = |server: &Server, number: u64| {
        let body = webhook(&id(number), "SENT", 1).to_string();
        let answer = connection.try_send("POST", &webhook_path(""), JSON, body.as_bytes());
        if answer.is_none() {
            connection = server.connect();
        }
        answer.map(|answer| answer.status)
    };
    for number in first..first + 10 {
        assert_eq!(post(server, number), Some(200));
        acknowledged.push(number);
    }
    disk.is(fault);
    assert_eq!(post(server, first + 10), Some(503), "the batch is told");
    let since = Instant::now();
    // Although the disk would take it again.
    disk.is_well();
    let again = Connection::try_to(server.port).ok().and_then(|mut connection| {
        connection.try_send("POST", &webhook_path(""), JSON, EXAMPLE.as_bytes())
    });
    assert!(again.as_ref().is_none_or(|answer| answer.status == 503), "{again:?}");
    assert_eq!(server.wait(), Some(74));
    let took = since.elapsed();
    assert!(took < PATIENCE, "{took:?}");
    (acknowledged, took)
}

#[test]
fn after_a_failed_sync_or_write_nothing_is_acknowledged_and_data_moves_to_new_blocks() {
    let chance = Chance::of("failing disk");
    let since = Instant::now();
    let rounds = times(2, 20, 200);
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    let (mut acknowledged, mut late) = (Vec::new(), 0);
    for round in 0..rounds {
        let before = files(&server);
        let fault = if round % 2 == 0 { "failing" } else { "broken" };
        let (more, took) = fail(&mut server, &disk, fault, 1 + round * 20);
        acknowledged.extend(more);
        late += u64::from(took > END);
        assert!(mark(&server).exists(), "{fault}");
        server.start_again();
        assert!(server.log().contains("copying the data to new blocks"));
        assert_none_is(&server, before);
        assert!(!mark(&server).exists(), "{fault}");
        for number in &acknowledged {
            assert_eq!(server.history(&id(*number)).len(), 1, "{number}");
        }
        // What was not acknowledged comes again, and is one.
        let again = webhook(&id(11 + round * 20), "SENT", 1).to_string();
        assert_eq!(server.post(&again).status, 200);
        assert_eq!(server.history(&id(11 + round * 20)).len(), 1);
    }
    let acknowledged = u64::try_from(acknowledged.len()).unwrap();
    let figures = [
        ("failures", rounds),
        ("acknowledged", acknowledged),
        ("lost", 0),
        ("later than 1 s", late),
    ];
    report("P4", &chance, &figures, since);
}

#[test]
fn a_failed_checkpoint_stops_the_process() {
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    // Nothing is written now but by the checkpoint of a service that is idle.
    disk.is("failing");
    assert_eq!(server.wait(), Some(74));
    assert!(server.log().contains("\"during\":\"a checkpoint\""), "{}", server.log());
    disk.is_well();
    server.start_again();
    assert!(server.log().contains("copying the data to new blocks"));
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
}

#[test]
fn a_fail_stop_mark_of_another_boot_is_void_and_one_elsewhere_is_found() {
    let disk = FaultyDisk::new();
    let runtime = tempfile::tempdir().unwrap();
    let mut envs = disk.envs().to_vec();
    envs.push(("RUNTIME_DIRECTORY", runtime.path().to_str().unwrap().to_owned()));
    let mut server = Server::start_with(GATEWAY, &envs);
    fail(&mut server, &disk, "failing", 1);
    let elsewhere = runtime.path().join("mirror.db.failed");
    assert_eq!(fs::read(mark(&server)).unwrap(), fs::read(&elsewhere).unwrap());
    fs::remove_file(mark(&server)).unwrap();
    let before = files(&server);
    server.start_again();
    assert_none_is(&server, before);
    assert!(!elsewhere.exists());
    assert_eq!(server.terminate(), Some(0));
    fs::write(mark(&server), "00000000-0000-4000-8000-000000000000\n").unwrap();
    let before = files(&server);
    server.start_again();
    assert_eq!(files(&server), before, "it is of another boot");
    assert!(!mark(&server).exists());
}

#[test]
fn a_finished_copy_is_installed_by_the_next_start() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    server.kill();
    // As if the start had ended between the copy and its installation: the WAL belongs to the file
    // that the copy was made of.
    let copied = server.folder.path().join("mirror.db.copied");
    let db = rusqlite::Connection::open(server.database()).unwrap();
    db.execute("VACUUM INTO ?", [copied.to_str().unwrap()]).unwrap();
    std::mem::forget(db);
    fs::write(server.database(), "unreadable by now").unwrap();
    server.start_again();
    assert!(!copied.exists());
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
}

#[test]
fn a_sync_without_space_is_a_full_disk_and_no_failure() {
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    disk.is("quota");
    let full = server.post(&webhook(&id(1), "SENT", 1).to_string());
    full.assert_problem(503);
    assert!(full.json()["detail"].as_str().unwrap().contains("disk is full"), "{full:?}");
    disk.is_well();
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "applied");
    assert!(!mark(&server).exists());
}

#[test]
fn a_network_file_system_is_rejected_unless_allowed() {
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.terminate(), Some(0));
    disk.is("network");
    let config = server.config();
    let arguments = ["--config", config.to_str().unwrap(), "serve"];
    let envs = disk.envs();
    let envs: Vec<(&str, &str)> =
        envs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = run_in(server.folder.path(), &arguments, &envs);
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(text(&refused.stderr).contains("is on NFS"), "{refused:?}");
    let text = fs::read_to_string(server.config()).unwrap();
    fs::write(
        server.config(),
        text.replace("[store]\n", "[store]\nallow_network_filesystem = true\n"),
    )
    .unwrap();
    server.start_again();
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
}

#[test]
#[ignore = "needs root; see scripts/faults"]
fn a_start_without_space_for_the_copy_reports_how_much_is_needed() {
    let (disk, volume) = (FaultyDisk::new(), Volume::tmpfs(16));
    let database = volume.path().join("mirror.db");
    let mut envs = disk.envs().to_vec();
    envs.push(("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display())));
    let mut server = Server::start_with(GATEWAY, &envs);
    fail(&mut server, &disk, "failing", 1);
    let ballast = volume.path().join("ballast");
    drop(fs::write(&ballast, vec![0; 16 << 20]));
    let config = server.config();
    let arguments = ["--config", config.to_str().unwrap(), "serve"];
    let envs: Vec<(&str, &str)> =
        envs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = run_in(server.folder.path(), &arguments, &envs);
    assert_eq!(refused.status.code(), Some(73), "{refused:?}");
    assert!(text(&refused.stderr).contains("bytes of space"), "{refused:?}");
    fs::remove_file(&ballast).unwrap();
    server.start_again();
    assert_eq!(server.history(&id(1)).len(), 1);
}
