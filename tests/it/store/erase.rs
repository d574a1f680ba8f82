//! Erasure of a number, and pruning of old messages.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::faults::wrong_clock::WrongClock;
use crate::support::*;

/// A number that is erased, and one that only begins like it.
const NUMBER: &str = "+393331234567";
const LONGER: &str = "+3933312345678";

fn by_number(server: &Server, number: &str) -> usize {
    let path = format!("/api/messagestatus/phonenumber/{number}");
    server.get(&path).json()["messages"].as_array().unwrap().len()
}

fn post_to(server: &Server, id: &str, status: &str, number: &str) -> String {
    let path = webhook_path(&format!("&destination={}", number.replace('+', "%2B")));
    server.send("POST", &path, JSON, webhook(id, status, 1).to_string().as_bytes()).outcome()
}

/// How often the number is in the database or its WAL: as text, and as SQLite stores a number.
fn traces(server: &Server, number: &str) -> usize {
    let digits = number.trim_start_matches('+');
    let stored = digits.parse::<u64>().unwrap().to_be_bytes();
    let times_in = |bytes: &[u8], what: &[u8]| {
        bytes.windows(what.len()).filter(|window| *window == what).count()
    };
    ["mirror.db", "mirror.db-wal"]
        .iter()
        .filter_map(|name| fs::read(server.folder.path().join(name)).ok())
        .map(|bytes| times_in(&bytes, digits.as_bytes()) + times_in(&bytes, &stored[2..]))
        .sum()
}

/// Every notification must lead to the one before it, and no message may be taken for an earlier one.
fn assert_sound(server: &Server) {
    let checked = server.run(&["check"]);
    assert!(checked.status.success(), "{checked:?}");
    let file = Connection::open(server.database()).unwrap();
    let lost = "SELECT count(*) FROM notification AS one WHERE previous NOT IN (SELECT seq \
                FROM notification AS other WHERE other.message = one.message)";
    assert_eq!(file.query_row(lost, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    let lost = "SELECT count(*) FROM foreign_id WHERE n NOT IN (SELECT n FROM message)";
    assert_eq!(file.query_row(lost, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn an_erased_number_is_in_no_byte_and_does_not_return() {
    let mut chance = Chance::of("erasure");
    let since = Instant::now();
    let messages = times(600, 3_000, 100_000);
    let mut server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    let mut connection = server.connect();
    let (mut erased, mut others) = (0, 0);
    // Rows are moved about: numbers become known late, times earlier, pages split and are freed.
    for number in 1..=messages {
        let body = webhook(&id(number), "SENT", 60).to_string();
        let to_it = chance.below(3) == 0;
        erased += u64::from(to_it);
        others += u64::from(!to_it);
        let to = if to_it { NUMBER.to_owned() } else { format!("+4915{:09}", chance.below(99)) };
        let path = match chance.below(3) {
            0 => webhook_path(""),
            _ => webhook_path(&format!("&destination={}&key={number}", to.replace('+', "%2B"))),
        };
        assert_eq!(connection.send("POST", &path, JSON, body.as_bytes()).status, 200);
        let mut registration =
            json!({"destination": to, "reference": {"key": format!("k{number}")}});
        if chance.below(2) == 0 {
            registration["providerAcceptanceAt"] =
                json!(format!("2026-02-12T14:{:02}:00Z", chance.below(60)));
        }
        let path = format!("/api/messages/{}", id(number));
        let put = connection.send(
            "PUT",
            &path,
            &[("X-Api-Key", KEY)],
            registration.to_string().as_bytes(),
        );
        assert_eq!(put.status, 200, "{put:?}");
    }
    // It is named where it is nobody's destination, and in what was not understood.
    assert_eq!(server.put(&id(900_001), &json!({"destination": LONGER})).status, 201);
    let named = json!({"destination": "+15558675310", "reference": {"key": "to 393331234567"}});
    assert_eq!(server.put(&id(900_002), &named).status, 201);
    let mut failed = webhook(&id(900_006), "UNDELIVERED", 1);
    failed["message"]["provider"]["code"] = json!("no way to 393331234567");
    assert_eq!(server.post(&failed.to_string()).outcome(), "applied");
    let late = webhook(&id(900_003), "LOST", 1);
    for destination in ["%2B393331234567", "0039%20333%2012%2034%20567"] {
        let path = webhook_path(&format!("&destination={destination}"));
        let answer = server.send("POST", &path, JSON, late.to_string().as_bytes());
        assert_eq!(answer.outcome(), "quarantined");
    }
    let form =
        "MessageSid=SM1342fe1b2c904d1ab04f0fc7a58abca9&MessageStatus=sent&To=%2B393331234567";
    let path = format!("/webhooks/twilio?token={TOKEN}");
    assert_eq!(server.send("POST", &path, FORM, form.as_bytes()).outcome(), "applied");
    assert_eq!(server.post(&webhook(&id(900_004), "LOST", 1).to_string()).outcome(), "quarantined");
    assert!(traces(&server, NUMBER) > 100, "there is something to erase");

    let counted = || {
        let file = Connection::open(server.database()).unwrap();
        let total = "SELECT sum(messages) FROM hourly WHERE kind < 6";
        file.query_row(total, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = counted();
    let done = server.run(&["erase", "--destination", NUMBER, "--yes"]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(counted(), before, "the sums outlive what they count");
    let said = format!("{} messages, 2 entries of the quarantine\n", erased + 3);
    let told = text(&done.stdout);
    assert!(told.starts_with(&format!("to erase: {said}")), "{told}");
    assert!(told.ends_with(&format!("erased: {said}")), "{told}");
    assert_eq!(traces(&server, NUMBER), 0);
    assert_eq!(by_number(&server, NUMBER), 0);
    assert_eq!(by_number(&server, LONGER), 1, "another number");
    assert!(!server.log().contains(NUMBER.trim_start_matches('+')));
    for (path, body) in [(path.as_str(), form.to_owned()), (&webhook_path(""), late.to_string())] {
        let headers = if path.contains("twilio") { FORM } else { JSON };
        let path = format!("{path}&destination=%2B393331234567");
        let retried = server.send("POST", &path, headers, body.as_bytes());
        assert_eq!(retried.outcome(), "ignored", "{retried:?}");
        assert!(retried.json()["results"][0]["reason"].as_str().unwrap().contains("erased"));
    }
    server.put(&id(900_002), &named).assert_problem(409);
    assert_eq!(traces(&server, NUMBER), 0, "a late retry leaves nothing");
    // A message after it is another one.
    assert_eq!(post_to(&server, &id(900_005), "SENT", NUMBER), "applied");
    assert_eq!(by_number(&server, NUMBER), 1);
    assert_sound(&server);
    assert!(server.run(&["erase", "--destination", NUMBER, "--yes"]).status.success());
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(traces(&server, NUMBER), 0);
    server.start_again();
    server.put(&id(900_002), &named).assert_problem(409);
    assert_eq!(post_to(&server, &id(900_005), "SENT", NUMBER), "ignored");
    let figures = [("erased", erased + 3), ("kept", others), ("bytes left", 0)];
    report("P24", &chance, &figures, since);
}

#[test]
fn erasing_needs_no_server_and_names_copies() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(post_to(&server, &id(1), "SENT", NUMBER), "applied");
    assert_eq!(server.terminate(), Some(0));
    let kept = server.folder.path().join("mirror.db.version-1");
    fs::write(&kept, "a copy").unwrap();
    // One that somebody has made, under a name of its own, and two that are none.
    let other = server.folder.path().join("sunday");
    fs::copy(server.database(), &other).unwrap();
    fs::write(server.folder.path().join("notes"), "no database").unwrap();
    fs::write(server.folder.path().join("mirror.db.before-restore-x-wal"), "a part").unwrap();
    let done = server.run(&["erase", "--destination", NUMBER, "--yes"]);
    assert!(done.status.success(), "{done:?}");
    let told = text(&done.stdout);
    for copy in ["mirror.db.version-1", "mirror.db.before-restore-x-wal", "sunday"] {
        assert!(told.contains(&format!("{copy} is a copy")), "{copy}: {told}");
    }
    assert!(!told.contains("notes") && told.matches("is a copy").count() == 3, "{told}");
    fs::remove_file(other).unwrap();
    assert_eq!(traces(&server, NUMBER), 0);
    let none = server.run(&["erase", "--destination", "333 1234567"]);
    assert_eq!(none.status.code(), Some(64), "{none:?}");
}

/// Texts that name [`NUMBER`], each with the letters that only a certain notation has.
const NOTATIONS: [&str; 12] = [
    "+39\u{a0}333\u{a0}1234567",
    "+39\t333\t1234567",
    "+39\n333\n1234567",
    "+39\u{2011}333\u{2011}1234567",
    "+39\u{2013}333\u{2212}1234567",
    "\u{ff0b}\u{ff13}\u{ff19}\u{ff13}\u{ff13}\u{ff13}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}\u{ff17}",
    "\u{663}\u{669}\u{663}\u{663}\u{663}\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}",
    "39%20333%201234567",
    "39%C2%A0333%e2%80%911234567",
    "%33%39333123%34567",
    r"+39\u00a0333\u20111234567",
    "+39&nbsp;333&#160;123&#x2d;4567",
];

#[test]
fn a_number_is_erased_in_every_notation() {
    let server = Server::start(GATEWAY);
    for notation in NOTATIONS {
        let body = json!({"type": notation}).to_string();
        assert_eq!(server.post(&body).outcome(), "quarantined", "{notation}");
    }
    assert_eq!(server.post(&json!({"type": LONGER}).to_string()).outcome(), "quarantined");
    let listed = || {
        let list = server.run(&["quarantine", "list"]);
        text(&list.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed().len(), NOTATIONS.len() + 1);
    let done = server.run(&["erase", "--destination", NUMBER, "--yes"]);
    assert!(done.status.success(), "{done:?}");
    let left = listed();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn old_messages_are_pruned_while_webhooks_go_on() {
    let clock = WrongClock::new();
    let mut server = Server::start_with(GATEWAY, &clock.envs());
    for number in 1..=300 {
        assert_eq!(post_to(&server, &id(number), "SENT", NUMBER), "applied");
    }
    assert_eq!(server.post(&webhook(&id(1), "LOST", 1).to_string()).outcome(), "quarantined");
    clock.jump(3_600);
    // One of the old ones has news.
    assert_eq!(post_to(&server, &id(7), "DELIVERED", NUMBER), "applied");
    assert_eq!(post_to(&server, &id(400), "SENT", LONGER), "applied");
    let none = server.run(&["prune", "--older-than", "1d", "--yes"]);
    assert!(text(&none.stdout).ends_with("removed: 0 messages, 0 entries of the quarantine\n"));
    let pruned = thread::scope(|scope| {
        let posting = scope.spawn(|| {
            for number in 401..=500 {
                assert_eq!(post_to(&server, &id(number), "SENT", LONGER), "applied");
            }
        });
        let pruned = server.run(&["prune", "--older-than", "30m", "--yes"]);
        posting.join().unwrap();
        pruned
    });
    let removed = "removed: 299 messages, 1 entries of the quarantine\n";
    assert!(text(&pruned.stdout).ends_with(removed), "{pruned:?}");
    assert_eq!(by_number(&server, NUMBER), 1);
    assert_eq!(server.history(&id(7)).len(), 2);
    assert_eq!(server.history(&id(500)).len(), 1);
    assert_eq!(post_to(&server, &id(1), "SENT", NUMBER), "applied", "it is not erased");
    assert_sound(&server);
    assert_eq!(server.terminate(), Some(0));
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replace("[store]\n", "[store]\nretention = \"1s\"\n"))
        .unwrap();
    thread::sleep(Duration::from_millis(1_100));
    server.start_again();
    // The prune before was confirmed, so the daily one goes on from it.
    eventually(|| server.history(&id(500)).is_empty().then_some(()));
    // A number is never given to another message, even if all are gone, and who knew them.
    assert_eq!(server.terminate(), Some(0));
    server.start_again();
    assert_eq!(post_to(&server, &id(1_000), "SENT", NUMBER), "applied");
    assert_sound(&server);
    assert_eq!(server.terminate(), Some(0));
    let file = Connection::open(server.database()).unwrap();
    let (n, seq): (i64, i64) = file
        .query_row("SELECT n, last FROM message", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(n > 401 && seq > 401, "{n}, {seq}");
}
