//! Daily purge of a running server. The log says what it removed and what waits for an operator.

use std::time::Duration;

use tokio::time::sleep;

use crate::admin::Admin;
use crate::store::{DailyPurge, Purged};

/// Interval at which to check whether a day has passed.
const CHECK_INTERVAL: Duration = Duration::from_hours(1);

/// Purges once a day, until the process ends.
pub(crate) async fn run_daily(admin: Admin, retention: Option<Duration>) {
    loop {
        match admin.purge_daily(retention).await {
            Ok(Some(result)) if retention.is_some() => log_result(result),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the daily purge failed"),
        }
        sleep(CHECK_INTERVAL).await;
    }
}

fn log_result(DailyPurge { is_due, purged, waiting, is_first }: DailyPurge) {
    if is_due {
        let Purged { messages, quarantined } = purged;
        tracing::info!(
            messages,
            quarantined,
            "the daily purge removed messages and quarantined entries"
        );
    }
    if waiting == Purged::default() {
        return;
    }
    let Purged { messages, quarantined } = waiting;
    if is_first {
        tracing::warn!(
            messages,
            quarantined,
            "messages and quarantined entries are older than store.retention; nothing is removed \
             until `statusmirror prune --yes` confirms the first purge of this database"
        );
    } else {
        tracing::warn!(
            messages,
            quarantined,
            "messages and quarantined entries are older than store.retention, but kept: a daily \
             purge moves the cut-off by at most 7 days, in case the clock is wrong; `statusmirror \
             prune --yes` removes them at once"
        );
    }
}
