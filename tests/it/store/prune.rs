//! Pruning by age under any clock, and after a restore: data that was purged since the backup is purged again.

use std::fs;

use statusmirror::message::{Status, Timestamp};
use statusmirror::store::sqlite::restore;
use statusmirror::store::{Purge, Store, StoredEntry};

use crate::support::faults::wrong_clock::WrongClock;
use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::store::opened::{DAY, OpenedStore, day, message, purged};
use crate::support::*;

#[test]
fn the_daily_purge_moves_the_cutoff_by_at_most_seven_days() {
    let opened = OpenedStore::new();
    // An empty store needs no confirmation, because nothing can be removed by mistake.
    let first = opened.purge_daily(-400, day(0)).unwrap();
    assert_eq!((first.purged, first.waiting, first.is_first), (purged(0), purged(0), false));
    for number in 0..40 {
        opened.ingest(number, day(number.try_into().unwrap()));
    }
    // The clock jumps ahead by 900 days. The cut-off moves to day -393, before all messages.
    let wrong = opened.purge_daily(500, day(900)).unwrap();
    assert_eq!((wrong.is_due, wrong.purged, wrong.waiting), (true, purged(0), purged(40)));
    assert_eq!(opened.prune_waiting(), 80);
    // No second purge on the same day, however often the process starts.
    for hour in 0..5 {
        assert_eq!(opened.purge_daily(500, at(900 * DAY + hour * 3_600)), None);
    }
    // The clock is right again. With a shorter retention, the cut-off reaches the messages in steps.
    assert_eq!(opened.purge_daily(-360, day(40)).unwrap().waiting, purged(0));
    assert_eq!(opened.prune_waiting(), 0);
    let mut cutoff = -386;
    for run in 1..65 {
        let daily = opened.purge_daily(30, day(40 + run)).unwrap();
        cutoff = (cutoff + 7).min(30);
        let purged_count = u64::try_from(cutoff).unwrap_or(0);
        assert_eq!(opened.stored(0..40), (purged_count..40).collect::<Vec<_>>(), "run {run}");
        assert_eq!(daily.waiting, purged(30 - purged_count), "run {run}");
    }
    assert_eq!(cutoff, 30);
}

#[test]
fn the_first_retention_waits_for_one_confirmed_prune() {
    let opened = OpenedStore::new();
    for number in 0..40 {
        opened.ingest(number, day(number.try_into().unwrap()));
    }
    for run in 0..3 {
        let daily = opened.purge_daily(30, day(100 + run)).unwrap();
        assert_eq!((daily.purged, daily.waiting, daily.is_first), (purged(0), purged(30), true));
    }
    assert_eq!(opened.prune_waiting(), 60);
    let counted = opened.system.block_on(opened.store.count_purge(Purge::Older(day(30))));
    assert_eq!(counted.unwrap(), purged(30));
    assert_eq!(opened.stored(0..40).len(), 40, "counting must remove nothing");
    let pruned = opened.system.block_on(opened.store.prune(day(30)));
    assert_eq!(pruned.unwrap(), purged(30));
    assert_eq!((opened.stored(0..40), opened.prune_waiting()), ((30..40).collect(), 0));
    let daily = opened.purge_daily(33, day(104)).unwrap();
    assert_eq!((daily.purged, daily.waiting, daily.is_first), (purged(3), purged(0), false));
}

#[test]
fn webhooks_under_a_wrong_clock_are_kept_and_block_no_purge() {
    let opened = OpenedStore::new();
    opened.purge_daily(-10, day(0)).unwrap();
    // In order of arrival: two on time, more than one batch 50 years ahead, one of 1976, one 300 days
    // behind, one on time.
    opened.ingest(0, day(0));
    opened.ingest(1, day(1));
    for number in 2..302 {
        opened.ingest(number, day(50 * 365));
    }
    opened.ingest(302, day(-50 * 365));
    opened.ingest(303, day(-300));
    opened.ingest(304, day(2));
    // A purge under a clock of 1976 removes nothing, and the next one does not make up 50 years at once.
    let past = opened.purge_daily(-50 * 365, day(-50 * 365));
    assert!(past.is_none_or(|past| past.purged == purged(0)));
    assert_eq!(opened.purge_daily(-9, day(1)).unwrap().waiting, purged(2), "the two from the past");
    // The message that arrived after the future ones is purged when its time has come.
    let found = opened.purge_daily(-3, day(7)).unwrap();
    assert_eq!((found.purged, found.waiting), (purged(0), purged(2)));
    let found = opened.purge_daily(2, day(12)).unwrap();
    assert_eq!((found.purged, found.waiting), (purged(2), purged(2)));
    let found = opened.purge_daily(3, day(13)).unwrap();
    assert_eq!((found.purged, found.waiting), (purged(1), purged(2)));
    assert_eq!(opened.stored(0..305), (2..304).collect::<Vec<_>>());
    let pruned = opened.system.block_on(opened.store.prune(day(3)));
    assert_eq!(pruned.unwrap(), purged(2));
    assert_eq!(opened.stored(0..305), (2..302).collect::<Vec<_>>());
}

#[test]
fn a_later_notification_keeps_a_message_under_any_clock() {
    let opened = OpenedStore::new();
    opened.purge_daily(-10, day(0)).unwrap();
    opened.ingest(1, day(20));
    // A later arrival, under a clock that was set back.
    let delivered = notification(statement(Status::Delivered, Some(at(1))));
    let late = delivery(day(2), vec![entry(0, with_message(message(1), &delivered))]);
    opened.system.block_on(opened.store.ingest(late)).unwrap();
    let pruned = opened.system.block_on(opened.store.prune(day(10)));
    assert_eq!((pruned.unwrap().messages, opened.stored(1..2)), (0, vec![1]));
}

#[test]
fn tombstones_are_kept_by_the_same_rule() {
    let opened = OpenedStore::new();
    let destination = "+393331234567".parse().unwrap();
    let is_erased = |now: Timestamp| {
        let mut statement = statement(Status::Sent, Some(at(0)));
        statement.destination = Some(destination);
        let delivery =
            delivery(now, vec![entry(0, with_message(message(1), &notification(statement)))]);
        let stored = opened.system.block_on(opened.store.ingest(delivery)).unwrap();
        matches!(stored[0], StoredEntry::Erased)
    };
    let purge = |now| {
        opened.system.block_on(opened.store.purge_daily(None, now)).unwrap().unwrap();
    };
    assert!(!is_erased(day(0)));
    purge(day(0));
    opened.system.block_on(opened.store.erase(destination, day(0), day(14))).unwrap();
    assert!(is_erased(day(0)) && is_erased(day(14)));
    // Under any clock at the time of the retry, and after a purge under a wrong clock.
    assert!(is_erased(day(50 * 365)) && is_erased(day(-50 * 365)));
    purge(day(50 * 365));
    assert!(is_erased(day(1)));
    purge(day(1));
    purge(day(2));
    assert!(is_erased(day(2)));
    purge(day(9));
    assert!(is_erased(day(9)));
    purge(day(14));
    assert!(is_erased(day(14)), "a tombstone is kept to the end of its time");
    purge(day(15));
    assert!(!is_erased(day(15)));
    // A tombstone that was made under a clock that is behind is kept as long.
    opened.system.block_on(opened.store.erase(destination, day(-300), day(-286))).unwrap();
    purge(day(16));
    assert!(is_erased(day(16)));
}

#[test]
fn a_start_under_a_wrong_clock_removes_nothing_and_reports_what_waits() {
    let clock = WrongClock::new();
    let mut server = Server::start_with(GATEWAY, &clock.envs());
    let restart = |server: &mut Server, offset: i64| {
        assert_eq!(server.terminate(), Some(0));
        clock.jump(offset);
        server.restart();
    };
    server.configure(|config| config.replace("[store]\n", "[store]\nretention = \"400d\"\n"));
    restart(&mut server, 0);
    wait_for(|| server.log().contains("the daily purge removed").then_some(()));
    for number in 1..=5 {
        assert_eq!(server.post(&webhook(&id(number), "SENT", 1).to_string()).outcome(), "applied");
    }
    let years = 365 * DAY;
    for (offset, waiting) in [(900 * DAY, 5), (900 * DAY, 5), (50 * years, 6), (-50 * years, 0)] {
        let before = server.log().len();
        restart(&mut server, offset);
        wait_for(|| server.get("/readyz").status.eq(&200).then_some(()));
        if offset > 0 {
            let log = wait_for(|| {
                let log = server.log().split_off(before);
                log.contains("`statusmirror prune --yes` removes them at once").then_some(log)
            });
            assert!(log.contains(&format!("\"messages\":{waiting}")), "{log}");
            let metrics = server.get("/metrics").body;
            let line = format!("\nstatusmirror_prune_waiting {waiting}\n");
            assert!(metrics.contains(&line), "{metrics}");
            assert!(server.get("/ui/health").body.contains("statusmirror prune --yes"));
        }
        let message = id(offset.unsigned_abs() + u64::from(offset < 0));
        assert_eq!(server.post(&webhook(&message, "SENT", 1).to_string()).status, 200);
    }
    restart(&mut server, 0);
    let lost = (1..=5).filter(|number| server.history(&id(*number)).is_empty()).count();
    assert_eq!(lost, 0);
    let pruned = server.run(&["prune", "--yes"]);
    assert!(
        text(&pruned.stdout).starts_with("to remove: 1 message,"),
        "the message of 1976: {pruned:?}"
    );
}

#[test]
fn prune_and_erase_report_counts_and_need_confirmation() {
    let server = Server::start(GATEWAY);
    for number in 1..=3 {
        let path = webhook_path("&destination=%2B393331234567");
        let body = webhook(&id(number), "SENT", 1).to_string();
        assert_eq!(server.send("POST", &path, JSON, body.as_bytes()).outcome(), "applied");
    }
    let copy = server.folder.path().join("mirror.db.restored");
    fs::write(&copy, "an old one").unwrap();
    let backup = server.folder.path().join("kept.db");
    assert!(server.run(&["backup", backup.to_str().unwrap()]).status.success());
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let erase = ["erase", "--destination", "+393331234567"];
    let prune = ["prune", "--older-than", "1s"];
    for (command, counts) in [(&erase, "to erase: 3 messages"), (&prune, "to remove: 3 messages")] {
        let unconfirmed = server.run(command);
        assert_eq!(unconfirmed.status.code(), Some(64), "{unconfirmed:?}");
        assert!(text(&unconfirmed.stderr).contains("nothing was removed"), "{unconfirmed:?}");
        assert!(text(&unconfirmed.stdout).contains(counts), "{unconfirmed:?}");
        let dry_run = server.run(&[&command[..], &["--dry-run"]].concat());
        assert!(dry_run.status.success() && text(&dry_run.stdout).contains(counts), "{dry_run:?}");
        let both = server.run(&[&command[..], &["--dry-run", "--yes"]].concat());
        assert_eq!(both.status.code(), Some(64), "{both:?}");
        assert_eq!(server.history(&id(1)).len(), 1);
    }
    let dry_run = server.run(&[&erase[..], &["--dry-run"]].concat());
    for file in [server.database(), copy, backup] {
        assert!(text(&dry_run.stdout).contains(file.to_str().unwrap()), "{dry_run:?}");
    }
    let unset = server.run(&["prune", "--yes"]);
    assert_eq!(unset.status.code(), Some(64), "{unset:?}");
    assert!(text(&unset.stderr).contains("store.retention is not set"), "{unset:?}");
    // At a terminal, the command asks for confirmation.
    if is_installed("script") {
        for (answer, code, kept) in [("n", 1, 1), ("y", 0, 0)] {
            let line = format!(
                "echo {answer} | script -qec '{PROGRAM} --config {} prune --older-than 1s' /dev/null",
                server.config().display()
            );
            let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            assert!(text(&output.stdout).contains("Remove this permanently? [y/N]"), "{output:?}");
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            assert_eq!(server.history(&id(1)).len(), kept);
        }
    }
}

const DESTINATION: &str = "+393331234567";

impl OpenedStore {
    fn back_up(&self) {
        let backup = self.folder.path().join("backup.db");
        self.system.block_on(self.store.back_up(backup)).unwrap();
    }

    /// Closes the store, restores the backup under this clock, and opens the store again.
    fn restored(self, now: Timestamp) -> Self {
        let (folder, settings) = self.close();
        restore(&settings, &folder.path().join("backup.db"), now).unwrap();
        Self::open(folder, settings)
    }

    /// Runs the daily purge without a retention: only expired tombstones are removed.
    fn purge_tombstones(&self, now: Timestamp) {
        self.system.block_on(self.store.purge_daily(None, now)).unwrap().unwrap();
    }

    /// Posts a message to the destination; returns whether it is rejected as erased.
    fn is_erased(&self, now: Timestamp) -> bool {
        let mut statement = statement(Status::Sent, Some(at(0)));
        statement.destination = Some(DESTINATION.parse().unwrap());
        let delivery =
            delivery(now, vec![entry(0, with_message(message(1), &notification(statement)))]);
        let stored = self.system.block_on(self.store.ingest(delivery)).unwrap();
        matches!(stored[0], StoredEntry::Erased)
    }

    fn erase(&self, now: Timestamp, until: Timestamp) {
        let destination = DESTINATION.parse().unwrap();
        self.system.block_on(self.store.erase(destination, now, until)).unwrap();
    }
}

/// Store with a retention of 10 days, purged daily, backed up on day 12 and restored on day 18.
fn restored() -> OpenedStore {
    let opened = OpenedStore::new();
    opened.purge_daily(-10, day(0)).unwrap();
    for number in 0..10 {
        opened.ingest(number, day(number.try_into().unwrap()));
    }
    for today in 1..=18 {
        opened.purge_daily(today - 10, day(today)).unwrap();
        if today == 12 {
            opened.back_up();
        }
    }
    assert_eq!(opened.stored(0..10), [8, 9]);
    let opened = opened.restored(day(18));
    assert_eq!(opened.stored(0..10), (2..10).collect::<Vec<_>>());
    opened
}

#[test]
fn messages_pruned_since_the_backup_are_pruned_again() {
    let opened = restored();
    let first = opened.purge_daily(8, day(18)).unwrap();
    assert_eq!((first.purged, first.waiting, first.is_first), (purged(6), purged(0), false));
    assert_eq!(opened.stored(0..10), [8, 9]);
    let next = opened.purge_daily(9, day(19)).unwrap();
    assert_eq!((next.purged, next.waiting), (purged(1), purged(0)));
}

#[test]
fn a_wrong_clock_after_a_restore_removes_seven_days_at_most() {
    let opened = restored();
    let wrong = opened.purge_daily(908, day(918)).unwrap();
    assert_eq!((wrong.purged, wrong.waiting), (purged(7), purged(1)));
    assert_eq!(opened.stored(0..10), [9]);
    assert_eq!(
        opened.purge_daily(908, at(918 * 24 * 60 * 60 + 1)),
        None,
        "no second purge on the same day"
    );
}

#[test]
fn tombstones_are_kept_whichever_of_the_two_clocks_was_ahead() {
    for is_ahead_at_backup in [false, true] {
        let opened = OpenedStore::new();
        opened.purge_tombstones(day(0));
        assert!(!opened.is_erased(day(0)));
        let run_wrong_clock = || (30..34).for_each(|today| opened.purge_tombstones(day(today)));
        if is_ahead_at_backup {
            run_wrong_clock();
            opened.back_up();
            opened.purge_tombstones(day(1));
        } else {
            opened.back_up();
            run_wrong_clock();
        }
        opened.erase(day(1), day(15));
        let opened = opened.restored(day(1));
        // The first purge runs under a clock that is far ahead again.
        opened.purge_tombstones(day(60));
        assert!(opened.is_erased(day(1)), "ahead at the backup: {is_ahead_at_backup}");
        opened.purge_tombstones(day(2));
        for today in 3..=15 {
            opened.purge_tombstones(day(today));
            assert!(opened.is_erased(day(today)), "day {today}");
        }
    }
}

#[test]
fn erased_messages_are_removed_although_their_tombstones_expired() {
    let opened = OpenedStore::new();
    opened.purge_tombstones(day(0));
    assert!(!opened.is_erased(day(0)));
    opened.back_up();
    opened.erase(day(1), day(2));
    // Only a daily purge removes an expired tombstone, and none has run since.
    let opened = opened.restored(day(3));
    assert_eq!(opened.stored(1..2), Vec::<u64>::new());
}
