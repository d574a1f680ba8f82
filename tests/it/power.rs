//! What was acknowledged is there after the power went: whatever was not synced is gone.

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
