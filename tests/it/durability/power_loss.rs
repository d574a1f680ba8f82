//! Power cuts, which drop all data that was not synced, lose nothing acknowledged.

use std::time::Instant;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::fault_disk::Volume;
use crate::support::posted_deliveries::PostedDeliveries;
use crate::support::*;

/// Number of connections that post at the same time.
const CONNECTIONS: u64 = 4;

#[test]
#[ignore = "needs root; see scripts/faults"]
fn a_power_cut_loses_nothing_acknowledged() {
    let mut rng = SeededRng::for_test("power cuts");
    let since = Instant::now();
    let cuts = repetitions(3, 100, 500);
    let volume = Volume::ext4();
    let database = volume.path().join("mirror.db");
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    for _ in 0..cuts {
        let mut before = 0;
        deliveries.post(&server, CONNECTIONS, 1 + rng.below(200), || {
            before = deliveries.acknowledged();
            volume.cut();
            server.signal("-KILL");
        });
        // Without power, no sender would have received a further answer. A sync that runs in the kernel
        // during the cut may return success.
        deliveries.keep_first(before);
        server.wait();
        volume.unmount();
        volume.mount();
        server.restart();
        deliveries.check(&server);
    }
    deliveries.check_all(&mut server, &database);
    let figures = [("cuts", cuts), ("acknowledged", deliveries.acknowledged()), ("lost", 0)];
    report("P2, P3", &rng, &figures, since);
}

#[test]
#[ignore = "needs root; see scripts/faults"]
fn nothing_acknowledged_after_a_failed_disk_is_lost_with_the_page_cache() {
    if !is_installed("nbdfuse") || !is_installed("nbdkit") {
        return;
    }
    let mut rng = SeededRng::for_test("a failed disk and its cache");
    let since = Instant::now();
    let failures = repetitions(1, 10, 100);
    let volume = Volume::failing();
    let database = volume.path().join("mirror.db");
    let deliveries = PostedDeliveries::default();
    let mut server = Server::start_with(
        GATEWAY,
        &[("STATUSMIRROR__STORE__URL", format!("sqlite:{}", database.display()))],
    );
    let mut retried = 0;
    for _ in 0..failures {
        deliveries.post(&server, CONNECTIONS, 1 + rng.below(200), || volume.set_failing(true));
        assert_eq!(server.wait(), Some(74));
        volume.set_failing(false);
        // The page cache has the writes of the failed commits, the disk does not.
        server.restart();
        for number in deliveries.take_retriable() {
            let body = webhook(&id(number), "SENT", 1).to_string();
            assert_eq!(server.post(&body).status, 200, "{number}");
            deliveries.acknowledge(number);
            retried += 1;
        }
        server.kill();
        volume.unmount();
        volume.mount();
        server.restart();
        deliveries.check(&server);
    }
    assert!(retried > 0, "expected rejected or unanswered webhooks");
    deliveries.check_all(&mut server, &database);
    let figures = [
        ("failures", failures),
        ("acknowledged", deliveries.acknowledged()),
        ("of them rejected first", retried),
        ("lost", 0),
    ];
    report("P4", &rng, &figures, since);
}
