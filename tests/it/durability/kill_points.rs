//! Kills at a chosen system call lose nothing acknowledged: while webhooks are stored, while the file is
//! created, during recovery and during shutdown.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::system_calls::strace_kill_command;
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// Number of connections that post at the same time.
const CONNECTIONS: u64 = 4;
/// Number of the signal SIGKILL.
const SIGKILL: i32 = 9;
/// Number of webhooks that is never reached.
const UNLIMITED: u64 = u64::MAX >> 1;
/// System calls of storing webhooks, each with a count that is reached for certain.
const STORING: &[(&str, u64)] = &[("pwrite64", 200), ("fdatasync", 40)];
/// Number of new messages that fill two pages of the notification log and several of other tables.
const SEVERAL_PAGES: u64 = 100;
/// System calls of a checkpoint of these pages, on the database and its WAL.
const CHECKPOINT: &[(&str, u64)] = &[("pwrite64", 2), ("fdatasync", 2), ("ftruncate", 2)];
/// System calls of a shutdown after these messages, on the database.
const SHUTDOWN: &[(&str, u64)] = &[("pwrite64", 5), ("fdatasync", 1), ("ftruncate", 1)];

/// Starts the server, which must be killed before it serves.
fn assert_killed_at_start(server: &mut Server, under: &[String]) {
    match server.start_with_command(under) {
        Ok(()) => panic!("the server was not killed: {under:?}"),
        Err((status, log)) => assert_eq!(status.signal(), Some(SIGKILL), "{log}"),
    }
}

#[test]
fn a_kill_at_any_system_call_loses_nothing_acknowledged() {
    if !is_installed("strace") {
        return;
    }
    let mut rng = SeededRng::for_test("kill points");
    let since = Instant::now();
    let points = repetitions(6, 66, 600);
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start(GATEWAY);
    let database = server.database();
    let wal = server.folder.path().join("mirror.db-wal");
    for point in 0..points {
        let mut any_of = |calls: &[(&'static str, u64)]| {
            let (call, max) = calls[usize::try_from(point / 3).unwrap() % calls.len()];
            (call, 1 + rng.below(max))
        };
        match point % 3 {
            // While webhooks are stored. The orderly stop leaves nothing to checkpoint at the start.
            0 => {
                assert_eq!(server.terminate(), Some(0));
                let (call, n) = any_of(STORING);
                server
                    .start_with_command(&strace_kill_command(call, n, &[&database, &wal]))
                    .unwrap();
                deliveries.post(&server, CONNECTIONS, UNLIMITED, || ());
            }
            // While a start checkpoints the WAL that a crash left.
            1 => {
                deliveries.post(&server, CONNECTIONS, SEVERAL_PAGES, || server.signal("-KILL"));
                assert_eq!(server.wait(), None, "expected a kill");
                let (call, n) = any_of(CHECKPOINT);
                assert_killed_at_start(
                    &mut server,
                    &strace_kill_command(call, n, &[&database, &wal]),
                );
            }
            // During the shutdown.
            _ => {
                assert_eq!(server.terminate(), Some(0));
                let (call, n) = any_of(SHUTDOWN);
                server.start_with_command(&strace_kill_command(call, n, &[&database])).unwrap();
                deliveries.post(&server, CONNECTIONS, SEVERAL_PAGES, || server.signal("-TERM"));
            }
        }
        assert_eq!(server.wait(), None, "expected a kill");
        server.restart();
        deliveries.check(&server);
    }
    deliveries.check_all(&mut server, &database);
    let figures =
        [("kill points", points), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P1, P3", &rng, &figures, since);
}

#[test]
fn a_kill_while_the_file_is_created_leaves_a_usable_one() {
    if !is_installed("strace") {
        return;
    }
    let mut rng = SeededRng::for_test("kill points of a new file");
    let since = Instant::now();
    let step = repetitions(16, 1, 1);
    let mut points = 0;
    let mut server = Server::start(GATEWAY);
    for call in ["pwrite64", "fdatasync", "ftruncate", "unlink"] {
        let mut n = 1 + rng.below(step);
        loop {
            server.kill();
            for file in fs::read_dir(server.folder.path()).unwrap() {
                let path = file.unwrap().path();
                if path.file_name().unwrap().to_str().unwrap().starts_with("mirror.db") {
                    fs::remove_file(path).unwrap();
                }
            }
            match server.start_with_command(&strace_kill_command(call, n, &[])) {
                // The start makes fewer than `n` of these calls.
                Ok(()) => break,
                Err((status, log)) => assert_eq!(status.signal(), Some(SIGKILL), "{log}"),
            }
            server.restart();
            assert_eq!(server.post(EXAMPLE).outcome(), "applied", "{call} {n}");
            points += 1;
            n += step;
        }
    }
    assert!(points > 1, "expected more than one kill");
    report("P1, P12", &rng, &[("kill points of a new file", points)], since);
}
