//! A failing disk: nothing more is acknowledged, and the next start does not trust the last writes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::fault_disk::{FaultyDisk, Volume};
use crate::support::*;

/// Promised time from the disk's failure to the end of the process. The report counts longer times.
const EXIT_TIME: Duration = Duration::from_secs(1);
/// Time after which the test fails, longer because a busy machine is slow.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Path of the fail-stop mark beside the database.
fn mark(server: &Server) -> std::path::PathBuf {
    server.folder.path().join("mirror.db.failed")
}

/// Identities of the database and its WAL. They change when the data is copied to new blocks.
fn file_identities(server: &Server) -> [(u64, SystemTime); 2] {
    let wal = server.folder.path().join("mirror.db-wal");
    [server.database(), wal].map(|path| {
        let file = fs::metadata(path).unwrap();
        // A new file may have the inode number of a removed one.
        (file.ino(), file.created().unwrap())
    })
}

/// Asserts that both files were replaced.
fn assert_replaced(server: &Server, before: [(u64, SystemTime); 2]) {
    let [database, wal] = file_identities(server);
    assert!(database != before[0] && wal != before[1], "{before:?}");
}

/// Posts until the disk fails, and waits for the end of the process. Returns the numbers of the
/// acknowledged webhooks, and the time from the failure to the end.
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
    disk.set_fault(fault);
    assert_eq!(post(server, first + 10), Some(503), "the failed commit's webhook must be rejected");
    let since = Instant::now();
    // Nothing more is acknowledged, although the disk works again.
    disk.clear_fault();
    let answer = Connection::try_to(server.port).ok().and_then(|mut connection| {
        connection.try_send("POST", &webhook_path(""), JSON, EXAMPLE.as_bytes())
    });
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 503), "{answer:?}");
    assert_eq!(server.wait(), Some(74));
    let took = since.elapsed();
    assert!(took < EXIT_TIMEOUT, "{took:?}");
    (acknowledged, took)
}

#[test]
fn after_a_failed_sync_or_write_nothing_is_acknowledged_and_data_moves_to_new_blocks() {
    let rng = SeededRng::for_test("failing disk");
    let since = Instant::now();
    let rounds = repetitions(2, 20, 200);
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    let (mut acknowledged, mut late) = (Vec::new(), 0);
    for round in 0..rounds {
        let before = file_identities(&server);
        let fault = if round % 2 == 0 { "failing" } else { "broken" };
        let (more, took) = fail(&mut server, &disk, fault, 1 + round * 20);
        acknowledged.extend(more);
        late += u64::from(took > EXIT_TIME);
        assert!(mark(&server).exists(), "{fault}");
        server.restart();
        assert!(server.log().contains("copying the data to new blocks"));
        assert_replaced(&server, before);
        assert!(!mark(&server).exists(), "{fault}");
        for number in &acknowledged {
            assert_eq!(server.history(&id(*number)).len(), 1, "{number}");
        }
        // The webhook that was not acknowledged is retried, and stored once.
        let retry = webhook(&id(11 + round * 20), "SENT", 1).to_string();
        assert_eq!(server.post(&retry).status, 200);
        assert_eq!(server.history(&id(11 + round * 20)).len(), 1);
    }
    let acknowledged = u64::try_from(acknowledged.len()).unwrap();
    let figures = [
        ("failures", rounds),
        ("acknowledged", acknowledged),
        ("lost", 0),
        ("later than 1 s", late),
    ];
    report("P4", &rng, &figures, since);
}

#[test]
fn a_failed_checkpoint_stops_the_process() {
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    // The server is idle, so the only write is that of its checkpoint.
    disk.set_fault("failing");
    assert_eq!(server.wait(), Some(74));
    assert!(server.log().contains("\"during\":\"a checkpoint\""), "{}", server.log());
    disk.clear_fault();
    server.restart();
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
    let before = file_identities(&server);
    server.restart();
    assert_replaced(&server, before);
    assert!(!elsewhere.exists());
    assert_eq!(server.terminate(), Some(0));
    fs::write(mark(&server), "00000000-0000-4000-8000-000000000000\n").unwrap();
    let before = file_identities(&server);
    server.restart();
    assert_eq!(file_identities(&server), before, "a mark of another boot must have no effect");
    assert!(!mark(&server).exists());
}

#[test]
fn a_finished_copy_is_installed_by_the_next_start() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    server.kill();
    // State after a start that ended between the copy and its installation. The WAL belongs to the
    // original.
    let copied = server.folder.path().join("mirror.db.copied");
    let db = rusqlite::Connection::open(server.database()).unwrap();
    db.execute("VACUUM INTO ?", [copied.to_str().unwrap()]).unwrap();
    std::mem::forget(db);
    fs::write(server.database(), "unreadable by now").unwrap();
    server.restart();
    assert!(!copied.exists());
    assert_eq!(server.get(&format!("/api/messagestatus/{EXAMPLE_ID}")).status, 200);
}

#[test]
fn a_sync_without_space_is_a_full_disk_and_no_failure() {
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    disk.set_fault("quota");
    let full = server.post(&webhook(&id(1), "SENT", 1).to_string());
    full.assert_problem(503);
    assert!(full.json()["detail"].as_str().unwrap().contains("disk is full"), "{full:?}");
    disk.clear_fault();
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "applied");
    assert!(!mark(&server).exists());
}

#[test]
fn a_network_file_system_is_rejected_unless_allowed() {
    let disk = FaultyDisk::new();
    let mut server = Server::start_with(GATEWAY, &disk.envs());
    assert_eq!(server.terminate(), Some(0));
    disk.set_fault("network");
    let config = server.config();
    let arguments = ["--config", config.to_str().unwrap(), "serve"];
    let envs = disk.envs();
    let envs: Vec<(&str, &str)> =
        envs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let rejected = run_program_in(server.folder.path(), &arguments, &envs);
    assert_eq!(rejected.status.code(), Some(78), "{rejected:?}");
    assert!(text(&rejected.stderr).contains("is on NFS"), "{rejected:?}");
    let settings = fs::read_to_string(server.config()).unwrap();
    fs::write(
        server.config(),
        settings.replace("[store]\n", "[store]\nallow_network_filesystem = true\n"),
    )
    .unwrap();
    server.restart();
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
    let rejected = run_program_in(server.folder.path(), &arguments, &envs);
    assert_eq!(rejected.status.code(), Some(73), "{rejected:?}");
    assert!(
        text(&rejected.stderr).contains("not enough disk space for the required copy"),
        "{rejected:?}"
    );
    fs::remove_file(&ballast).unwrap();
    server.restart();
    assert_eq!(server.history(&id(1)).len(), 1);
}
