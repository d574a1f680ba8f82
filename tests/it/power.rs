//! What was acknowledged is there after the power went: whatever did not reach the disk is gone.

use std::time::Instant;

use crate::disk::Volume;
use crate::faults::{Chance, report, times};
use crate::posting::Ledger;
use crate::support::*;

/// How many connections post at a time.
const POSTING: u64 = 4;

#[test]
#[ignore = "needs root; see scripts/faults"]
fn nothing_that_was_acknowledged_is_lost_when_the_power_goes() {
    let mut chance = Chance::of("power cuts");
    let since = Instant::now();
    let cuts = times(3, 100, 500);
    let volume = Volume::ext4();
    let database = volume.path().join("mirror.db");
    let ledger = Ledger::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    for _ in 0..cuts {
        let mut before = 0;
        ledger.post(&server, POSTING, 1 + chance.below(200), || {
            before = ledger.acknowledged();
            volume.cut();
            server.signal("-KILL");
        });
        // Without power nobody would have heard more. A sync that the cut meets in the kernel may
        // yet return as if it had been done.
        ledger.only_first(before);
        server.wait();
        volume.unmount();
        volume.mount_again();
        server.start_again();
        ledger.check(&server);
    }
    ledger.check_all(&mut server, &database);
    let figures = [("cuts", cuts), ("acknowledged", ledger.acknowledged()), ("lost", 0)];
    report("P2, P3", &chance, &figures, since);
}

#[test]
#[ignore = "needs root; see scripts/faults"]
fn nothing_that_was_acknowledged_after_a_failed_disk_is_lost_with_the_kernels_cache() {
    if !is_installed("nbdfuse") || !is_installed("nbdkit") {
        return;
    }
    let mut chance = Chance::of("a failed disk and its cache");
    let since = Instant::now();
    let failures = times(1, 10, 100);
    let volume = Volume::failing();
    let database = volume.path().join("mirror.db");
    let ledger = Ledger::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    let mut again = 0;
    for _ in 0..failures {
        ledger.post(&server, POSTING, 1 + chance.below(200), || volume.fails(true));
        assert_eq!(server.wait(), Some(74));
        volume.fails(false);
        // What the failed commits wrote can be read, and is not on the disk.
        server.start_again();
        for number in ledger.refused() {
            let body = webhook(&id(number), "SENT", 1).to_string();
            assert_eq!(server.post(&body).status, 200, "{number}");
            ledger.acknowledge(number);
            again += 1;
        }
        server.kill();
        volume.unmount();
        volume.mount_again();
        server.start_again();
        ledger.check(&server);
    }
    assert!(again > 0, "nothing was refused");
    ledger.check_all(&mut server, &database);
    let figures = [
        ("failures", failures),
        ("acknowledged", ledger.acknowledged()),
        ("of them refused first", again),
        ("lost", 0),
    ];
    report("P4", &chance, &figures, since);
}
