//! Power cuts lose nothing acknowledged: data that was not synced is gone.

use std::time::Instant;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::fault_disk::Volume;
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// How many connections post at a time.
const POSTING: u64 = 4;

#[test]
#[ignore = "needs root; see scripts/faults"]
fn a_power_cut_loses_nothing_acknowledged() {
    let mut chance = Chance::of("power cuts");
    let since = Instant::now();
    let cuts = times(3, 100, 500);
    let volume = Volume::ext4();
    let database = volume.path().join("mirror.db");
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    for _ in 0..cuts {
        let mut before = 0;
        deliveries.post(&server, POSTING, 1 + chance.below(200), || {
            before = deliveries.acknowledged();
            volume.cut();
            server.signal("-KILL");
        });
        // Without power nobody would have heard more. A sync that the cut meets in the kernel may
        // yet return as if it had been done.
        deliveries.only_first(before);
        server.wait();
        volume.unmount();
        volume.mount_again();
        server.start_again();
        deliveries.check(&server);
    }
    deliveries.check_all(&mut server, &database);
    let figures = [("cuts", cuts), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P2, P3", &chance, &figures, since);
}

#[test]
#[ignore = "needs root; see scripts/faults"]
fn nothing_acknowledged_after_a_failed_disk_is_lost_with_the_page_cache() {
    if !is_installed("nbdfuse") || !is_installed("nbdkit") {
        return;
    }
    let mut chance = Chance::of("a failed disk and its cache");
    let since = Instant::now();
    let failures = times(1, 10, 100);
    let volume = Volume::failing();
    let database = volume.path().join("mirror.db");
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    let mut again = 0;
    for _ in 0..failures {
        deliveries.post(&server, POSTING, 1 + chance.below(200), || volume.fails(true));
        assert_eq!(server.wait(), Some(74));
        volume.fails(false);
        // What the failed commits wrote can be read, and is not on the disk.
        server.start_again();
        for number in deliveries.refused() {
            let body = webhook(&id(number), "SENT", 1).to_string();
            assert_eq!(server.post(&body).status, 200, "{number}");
            deliveries.acknowledge(number);
            again += 1;
        }
        server.kill();
        volume.unmount();
        volume.mount_again();
        server.start_again();
        deliveries.check(&server);
    }
    assert!(again > 0, "nothing was refused");
    deliveries.check_all(&mut server, &database);
    let figures = [
        ("failures", failures),
        ("acknowledged", deliveries.acknowledged()),
        ("of them refused first", again),
        ("lost", 0),
    ];
    report("P4", &chance, &figures, since);
}
