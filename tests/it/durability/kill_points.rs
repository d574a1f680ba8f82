//! Kills at a chosen system call lose nothing acknowledged: while webhooks are stored, while the file is created,
//! during recovery and during shutdown.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::system_calls::killed_at;
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// How many connections post at a time.
const POSTING: u64 = 4;
/// SIGKILL.
const KILL: i32 = 9;
/// A number that is never reached.
const FOR_EVER: u64 = u64::MAX >> 1;
/// What storing webhooks does, and how often it surely does it.
const STORING: &[(&str, u64)] = &[("pwrite64", 200), ("fdatasync", 40)];
/// So many new messages fill two pages of the log, and several of the tables behind it.
const SEVERAL_PAGES: u64 = 100;
/// What a checkpoint of them does to the database and its WAL.
const TAKING_OVER: &[(&str, u64)] = &[("pwrite64", 2), ("fdatasync", 2), ("ftruncate", 2)];
/// What a stop after them does to the database.
const CLOSING: &[(&str, u64)] = &[("pwrite64", 5), ("fdatasync", 1), ("ftruncate", 1)];

/// Starts a server that is to be killed before it serves.
fn assert_killed_at_start(server: &mut Server, under: &[String]) {
    match server.start_under(under) {
        Ok(()) => panic!("it was not killed: {under:?}"),
        Err((status, log)) => assert_eq!(status.signal(), Some(KILL), "{log}"),
    }
}

#[test]
fn a_kill_at_any_system_call_loses_nothing_acknowledged() {
    if !is_installed("strace") {
        return;
    }
    let mut chance = Chance::of("kill points");
    let since = Instant::now();
    let points = times(6, 66, 600);
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start(GATEWAY);
    let database = server.database();
    let wal = server.folder.path().join("mirror.db-wal");
    for point in 0..points {
        let mut any_of = |calls: &[(&'static str, u64)]| {
            let (call, most) = calls[usize::try_from(point / 3).unwrap() % calls.len()];
            (call, 1 + chance.below(most))
        };
        match point % 3 {
            // While webhooks are stored; nothing is left to take over at the start.
            0 => {
                assert_eq!(server.terminate(), Some(0));
                let (call, n) = any_of(STORING);
                server.start_under(&killed_at(call, n, &[&database, &wal])).unwrap();
                deliveries.post(&server, POSTING, FOR_EVER, || ());
            }
            // While a start takes over what a crash has left.
            1 => {
                deliveries.post(&server, POSTING, SEVERAL_PAGES, || server.signal("-KILL"));
                assert_eq!(server.wait(), None, "it was killed");
                let (call, n) = any_of(TAKING_OVER);
                assert_killed_at_start(&mut server, &killed_at(call, n, &[&database, &wal]));
            }
            // While the service stops.
            _ => {
                assert_eq!(server.terminate(), Some(0));
                let (call, n) = any_of(CLOSING);
                server.start_under(&killed_at(call, n, &[&database])).unwrap();
                deliveries.post(&server, POSTING, SEVERAL_PAGES, || server.signal("-TERM"));
            }
        }
        assert_eq!(server.wait(), None, "it was killed");
        server.start_again();
        deliveries.check(&server);
    }
    deliveries.check_all(&mut server, &database);
    let figures =
        [("kill points", points), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P1, P3", &chance, &figures, since);
}

#[test]
fn a_kill_while_the_file_is_created_leaves_a_usable_one() {
    if !is_installed("strace") {
        return;
    }
    let mut chance = Chance::of("kill points of a new file");
    let since = Instant::now();
    let step = times(16, 1, 1);
    let mut points = 0;
    let mut server = Server::start(GATEWAY);
    for call in ["pwrite64", "fdatasync", "ftruncate", "unlink"] {
        let mut n = 1 + chance.below(step);
        loop {
            server.kill();
            for file in fs::read_dir(server.folder.path()).unwrap() {
                let path = file.unwrap().path();
                if path.file_name().unwrap().to_str().unwrap().starts_with("mirror.db") {
                    fs::remove_file(path).unwrap();
                }
            }
            match server.start_under(&killed_at(call, n, &[])) {
                // It does not do it that often.
                Ok(()) => break,
                Err((status, log)) => assert_eq!(status.signal(), Some(KILL), "{log}"),
            }
            server.start_again();
            assert_eq!(server.post(EXAMPLE).outcome(), "applied", "{call} {n}");
            points += 1;
            n += step;
        }
    }
    assert!(points > 1, "no more than {points} kills");
    report("P1, P12", &chance, &[("kill points of a new file", points)], since);
}
