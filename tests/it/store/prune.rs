//! Pruning by age under any clock.

use std::fs;

use statusmirror::message::{Status, Timestamp};
use statusmirror::store::{Purge, Store};

use crate::support::faults::wrong_clock::WrongClock;
use crate::support::store::deliveries::{about, delivery, entry};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::store::opened::{DAY, OpenedStore, both, day, message};
use crate::support::*;

#[test]
fn the_daily_purge_moves_the_cutoff_by_at_most_seven_days() {
    let opened = OpenedStore::new();
    // Nothing is there: nothing can be removed by a mistake.
    let first = opened.daily(-400, day(0)).unwrap();
    assert_eq!((first.purged, first.waiting, first.is_first), (both(0), both(0), false));
    for number in 0..40 {
        opened.arrives(number, day(number.try_into().unwrap()));
    }
    // The clock goes ahead by 900 days, and the cut-off is at -393 days then, far before everything.
    let wrong = opened.daily(500, day(900)).unwrap();
    assert_eq!((wrong.is_due, wrong.purged, wrong.waiting), (true, both(0), both(40)));
    assert_eq!(opened.waiting(), 80);
    // Not again on the same day, however often the process starts.
    for hour in 0..5 {
        assert_eq!(opened.daily(500, at(900 * DAY + hour * 3_600)), None);
    }
    // The clock is right again, and a shorter retention reaches what is there, step by step.
    assert_eq!(opened.daily(-360, day(40)).unwrap().waiting, both(0));
    assert_eq!(opened.waiting(), 0);
    let mut cutoff = -386;
    for run in 1..65 {
        let done = opened.daily(30, day(40 + run)).unwrap();
        cutoff = (cutoff + 7).min(30);
        let gone = u64::try_from(cutoff).unwrap_or(0);
        assert_eq!(opened.there(0..40), (gone..40).collect::<Vec<_>>(), "run {run}");
        assert_eq!(done.waiting, both(30 - gone), "run {run}");
    }
    assert_eq!(cutoff, 30);
}

#[test]
fn the_first_retention_waits_for_one_confirmed_prune() {
    let opened = OpenedStore::new();
    for number in 0..40 {
        opened.arrives(number, day(number.try_into().unwrap()));
    }
    for run in 0..3 {
        let asked = opened.daily(30, day(100 + run)).unwrap();
        assert_eq!((asked.purged, asked.waiting, asked.is_first), (both(0), both(30), true));
    }
    assert_eq!(opened.waiting(), 60);
    let counted = opened.system.block_on(opened.store.count_purge(Purge::Older(day(30))));
    assert_eq!(counted.unwrap(), both(30));
    assert_eq!(opened.there(0..40).len(), 40, "it was only counted");
    let pruned = opened.system.block_on(opened.store.prune(day(30)));
    assert_eq!(pruned.unwrap(), both(30));
    assert_eq!((opened.there(0..40), opened.waiting()), ((30..40).collect(), 0));
    let daily = opened.daily(33, day(104)).unwrap();
    assert_eq!((daily.purged, daily.waiting, daily.is_first), (both(3), both(0), false));
}

#[test]
fn webhooks_under_a_wrong_clock_are_kept_and_block_no_purge() {
    let opened = OpenedStore::new();
    opened.daily(-10, day(0)).unwrap();
    // In the order of their arrival: two of now, more than one piece of the far future, two of 1976.
    opened.arrives(0, day(0));
    opened.arrives(1, day(1));
    for number in 2..302 {
        opened.arrives(number, day(50 * 365));
    }
    opened.arrives(302, day(-50 * 365));
    opened.arrives(303, day(-300));
    opened.arrives(304, day(2));
    // A clock that is long past purges nothing; neither do the years after it at once.
    let past = opened.daily(-50 * 365, day(-50 * 365));
    assert!(past.is_none_or(|past| past.purged == both(0)));
    assert_eq!(opened.daily(-9, day(1)).unwrap().waiting, both(2), "those of the past");
    // What was behind the future ones is found when its time has come.
    let found = opened.daily(-3, day(7)).unwrap();
    assert_eq!((found.purged, found.waiting), (both(0), both(2)));
    let found = opened.daily(2, day(12)).unwrap();
    assert_eq!((found.purged, found.waiting), (both(2), both(2)));
    let found = opened.daily(3, day(13)).unwrap();
    assert_eq!((found.purged, found.waiting), (both(1), both(2)));
    assert_eq!(opened.there(0..305), (2..304).collect::<Vec<_>>());
    let pruned = opened.system.block_on(opened.store.prune(day(3)));
    assert_eq!(pruned.unwrap(), both(2));
    assert_eq!(opened.there(0..305), (2..302).collect::<Vec<_>>());
}

#[test]
fn a_later_notification_keeps_a_message_under_any_clock() {
    let opened = OpenedStore::new();
    opened.daily(-10, day(0)).unwrap();
    opened.arrives(1, day(20));
    // Later, but under a clock that went back.
    let said = notification(statement(Status::Delivered, Some(at(1))));
    let late = delivery(day(2), vec![entry(0, about(message(1), &said))]);
    opened.system.block_on(opened.store.ingest(late)).unwrap();
    let pruned = opened.system.block_on(opened.store.prune(day(10)));
    assert_eq!((pruned.unwrap().messages, opened.there(1..2)), (0, vec![1]));
}

#[test]
fn tombstones_are_kept_by_the_same_rule() {
    let opened = OpenedStore::new();
    let number = "+393331234567".parse().unwrap();
    let posted = |when: Timestamp| {
        let mut said = statement(Status::Sent, Some(at(0)));
        said.destination = Some(number);
        let delivery = delivery(when, vec![entry(0, about(message(1), &notification(said)))]);
        let stored = opened.system.block_on(opened.store.ingest(delivery)).unwrap();
        matches!(stored[0], statusmirror::store::StoredEntry::Erased)
    };
    let purged = |now| {
        opened.system.block_on(opened.store.purge_daily(None, now)).unwrap().unwrap();
    };
    assert!(!posted(day(0)));
    purged(day(0));
    opened.system.block_on(opened.store.erase(number, day(0), day(14))).unwrap();
    assert!(posted(day(0)) && posted(day(14)));
    // Whatever the clock shows at that moment, and after a run under a wrong one.
    assert!(posted(day(50 * 365)) && posted(day(-50 * 365)));
    purged(day(50 * 365));
    assert!(posted(day(1)));
    purged(day(1));
    purged(day(2));
    assert!(posted(day(2)));
    purged(day(9));
    assert!(posted(day(9)));
    purged(day(14));
    assert!(posted(day(14)), "to the end of its time");
    purged(day(15));
    assert!(!posted(day(15)));
    // Erased under a clock that is behind, it is kept as long.
    opened.system.block_on(opened.store.erase(number, day(-300), day(-286))).unwrap();
    purged(day(16));
    assert!(posted(day(16)));
}

#[test]
fn a_start_under_a_wrong_clock_removes_nothing_and_reports_what_waits() {
    let clock = WrongClock::new();
    let mut server = Server::start_with(GATEWAY, &clock.envs());
    let restart = |server: &mut Server, offset: i64| {
        assert_eq!(server.terminate(), Some(0));
        clock.jump(offset);
        server.start_again();
    };
    let config = |config: String| config.replace("[store]\n", "[store]\nretention = \"400d\"\n");
    server.configure(config);
    restart(&mut server, 0);
    eventually(|| server.log().contains("removed what is older").then_some(()));
    for number in 1..=5 {
        assert_eq!(server.post(&webhook(&id(number), "SENT", 1).to_string()).outcome(), "applied");
    }
    let years = 365 * DAY;
    for (offset, old) in [(900 * DAY, 5), (900 * DAY, 5), (50 * years, 6), (-50 * years, 0)] {
        let before = server.log().len();
        restart(&mut server, offset);
        eventually(|| server.get("/readyz").status.eq(&200).then_some(()));
        if offset > 0 {
            let log = eventually(|| {
                let log = server.log().split_off(before);
                log.contains("`statusmirror prune --yes` removes them at once").then_some(log)
            });
            assert!(log.contains(&format!("\"messages\":{old}")), "{log}");
            let shown = server.get("/metrics").body;
            assert!(shown.contains(&format!("\nstatusmirror_prune_waiting {old}\n")), "{shown}");
            assert!(server.get("/ui/health").body.contains("statusmirror prune --yes"));
        }
        let late = id(offset.unsigned_abs() + u64::from(offset < 0));
        assert_eq!(server.post(&webhook(&late, "SENT", 1).to_string()).status, 200);
    }
    restart(&mut server, 0);
    let lost = (1..=5).filter(|number| server.history(&id(*number)).is_empty()).count();
    assert_eq!(lost, 0);
    let pruned = server.run(&["prune", "--yes"]);
    assert!(text(&pruned.stdout).starts_with("to remove: 1 messages"), "those of 1976: {pruned:?}");
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
    for (command, words) in [(&erase, "to erase: 3 messages"), (&prune, "to remove: 3 messages")] {
        let asked = server.run(command);
        assert_eq!(asked.status.code(), Some(64), "{asked:?}");
        assert!(text(&asked.stderr).contains("nothing was removed"), "{asked:?}");
        assert!(text(&asked.stdout).contains(words), "{asked:?}");
        let dry = server.run(&[&command[..], &["--dry-run"]].concat());
        assert!(dry.status.success() && text(&dry.stdout).contains(words), "{dry:?}");
        let both = server.run(&[&command[..], &["--dry-run", "--yes"]].concat());
        assert_eq!(both.status.code(), Some(64), "{both:?}");
        assert_eq!(server.history(&id(1)).len(), 1);
    }
    let told = server.run(&[&erase[..], &["--dry-run"]].concat());
    for file in [server.database(), copy, backup] {
        assert!(text(&told.stdout).contains(file.to_str().unwrap()), "{told:?}");
    }
    let unset = server.run(&["prune", "--yes"]);
    assert_eq!(unset.status.code(), Some(64), "{unset:?}");
    assert!(text(&unset.stderr).contains("store.retention is not set"), "{unset:?}");
    // At a terminal it asks.
    if is_installed("script") {
        for (answer, code, left) in [("n", 1, 1), ("y", 0, 0)] {
            let line = format!(
                "echo {answer} | script -qec '{PROGRAM} --config {} prune --older-than 1s' /dev/null",
                server.config().display()
            );
            let asked = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            assert!(text(&asked.stdout).contains("Remove this for good? [y/N]"), "{asked:?}");
            assert_eq!(asked.status.code(), Some(code), "{asked:?}");
            assert_eq!(server.history(&id(1)).len(), left);
        }
    }
}
