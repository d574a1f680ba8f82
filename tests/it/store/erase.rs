//! Erasure of a destination, and pruning of old messages.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::faults::wrong_clock::WrongClock;
use crate::support::*;

/// Destination that is erased, and a longer one that begins with the same digits.
const DESTINATION: &str = "+393331234567";
const LONGER_DESTINATION: &str = "+3933312345678";

/// Number of messages to a destination, up to one page.
fn count_listed(server: &Server, destination: &str) -> usize {
    let path = format!("/api/messagestatus/phonenumber/{destination}");
    server.get(&path).json()["messages"].as_array().unwrap().len()
}

/// Posts a webhook with this destination; returns its outcome.
fn post(server: &Server, id: &str, status: &str, destination: &str) -> String {
    let path = webhook_path(&format!("&destination={}", destination.replace('+', "%2B")));
    server.send("POST", &path, JSON, webhook(id, status, 1).to_string().as_bytes()).outcome()
}

/// Number of occurrences of a destination in the database and its WAL, as text and as an SQLite integer.
fn count_traces(server: &Server, destination: &str) -> usize {
    let digits = destination.trim_start_matches('+');
    let integer = digits.parse::<u64>().unwrap().to_be_bytes();
    let count_in = |bytes: &[u8], pattern: &[u8]| {
        bytes.windows(pattern.len()).filter(|window| *window == pattern).count()
    };
    ["mirror.db", "mirror.db-wal"]
        .iter()
        .filter_map(|name| fs::read(server.folder.path().join(name)).ok())
        .map(|bytes| count_in(&bytes, digits.as_bytes()) + count_in(&bytes, &integer[2..]))
        .sum()
}

/// Asserts that every notification names its predecessor, and that every provider id has its message.
fn assert_sound(server: &Server) {
    let output = server.run(&["check"]);
    assert!(output.status.success(), "{output:?}");
    let db = Connection::open(server.database()).unwrap();
    let broken_chains = "SELECT count(*) FROM notification AS one WHERE previous NOT IN (SELECT seq \
                         FROM notification AS other WHERE other.message = one.message)";
    assert_eq!(db.query_row(broken_chains, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    let orphans = "SELECT count(*) FROM foreign_id WHERE n NOT IN (SELECT n FROM message)";
    assert_eq!(db.query_row(orphans, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn an_erased_number_is_in_no_byte_and_does_not_return() {
    let mut rng = SeededRng::for_test("erasure");
    let since = Instant::now();
    let messages = repetitions(600, 3_000, 100_000);
    let mut server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    let mut connection = server.connect();
    let (mut erased, mut others) = (0, 0);
    // Destinations arrive late and acceptance times become earlier, so rows move between pages, and
    // pages are split and freed.
    for number in 1..=messages {
        let body = webhook(&id(number), "SENT", 60).to_string();
        let is_erased = rng.below(3) == 0;
        erased += u64::from(is_erased);
        others += u64::from(!is_erased);
        let destination =
            if is_erased { DESTINATION.to_owned() } else { format!("+4915{:09}", rng.below(99)) };
        let parameters = format!("&destination={}&key={number}", destination.replace('+', "%2B"));
        let path = webhook_path(if rng.below(3) == 0 { "" } else { &parameters });
        assert_eq!(connection.send("POST", &path, JSON, body.as_bytes()).status, 200);
        let mut registration =
            json!({"destination": destination, "reference": {"key": format!("k{number}")}});
        if rng.below(2) == 0 {
            registration["providerAcceptanceAt"] =
                json!(format!("2026-02-12T14:{:02}:00Z", rng.below(60)));
        }
        let path = format!("/api/messages/{}", id(number));
        let answer = connection.send(
            "PUT",
            &path,
            &[("X-Api-Key", KEY)],
            registration.to_string().as_bytes(),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // The digits also occur in a longer destination, in other texts, and in unreadable deliveries.
    assert_eq!(server.put(&id(900_001), &json!({"destination": LONGER_DESTINATION})).status, 201);
    let with_key = json!({"destination": "+15558675310", "reference": {"key": "to 393331234567"}});
    assert_eq!(server.put(&id(900_002), &with_key).status, 201);
    let mut failed = webhook(&id(900_006), "UNDELIVERED", 1);
    failed["message"]["provider"]["code"] = json!("no way to 393331234567");
    assert_eq!(server.post(&failed.to_string()).outcome(), "applied");
    let unreadable = webhook(&id(900_003), "LOST", 1);
    for destination in ["%2B393331234567", "0039%20333%2012%2034%20567"] {
        let path = webhook_path(&format!("&destination={destination}"));
        let answer = server.send("POST", &path, JSON, unreadable.to_string().as_bytes());
        assert_eq!(answer.outcome(), "quarantined");
    }
    let form =
        "MessageSid=SM1342fe1b2c904d1ab04f0fc7a58abca9&MessageStatus=sent&To=%2B393331234567";
    let path = format!("/webhooks/twilio?token={TOKEN}");
    assert_eq!(server.send("POST", &path, FORM, form.as_bytes()).outcome(), "applied");
    assert_eq!(server.post(&webhook(&id(900_004), "LOST", 1).to_string()).outcome(), "quarantined");
    assert!(count_traces(&server, DESTINATION) > 100, "expected occurrences before the erasure");

    let count_hourly = || {
        let db = Connection::open(server.database()).unwrap();
        let total = "SELECT sum(messages) FROM hourly WHERE kind < 6";
        db.query_row(total, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = count_hourly();
    let output = server.run(&["erase", "--destination", DESTINATION, "--yes"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(count_hourly(), before, "hourly counts must keep erased messages");
    let counts = format!("{} messages, 2 quarantined entries\n", erased + 3);
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with(&format!("to erase: {counts}")), "{stdout}");
    assert!(stdout.ends_with(&format!("erased: {counts}")), "{stdout}");
    assert_eq!(count_traces(&server, DESTINATION), 0);
    assert_eq!(count_listed(&server, DESTINATION), 0);
    assert_eq!(count_listed(&server, LONGER_DESTINATION), 1, "another destination is kept");
    assert!(!server.log().contains(DESTINATION.trim_start_matches('+')));
    for (path, body) in
        [(path.as_str(), form.to_owned()), (&webhook_path(""), unreadable.to_string())]
    {
        let headers = if path.contains("twilio") { FORM } else { JSON };
        let path = format!("{path}&destination=%2B393331234567");
        let retried = server.send("POST", &path, headers, body.as_bytes());
        assert_eq!(retried.outcome(), "ignored", "{retried:?}");
        assert!(retried.json()["results"][0]["reason"].as_str().unwrap().contains("erased"));
    }
    server.put(&id(900_002), &with_key).assert_problem(409);
    assert_eq!(count_traces(&server, DESTINATION), 0, "late retries must store nothing");
    // A new message to the destination is stored.
    assert_eq!(post(&server, &id(900_005), "SENT", DESTINATION), "applied");
    assert_eq!(count_listed(&server, DESTINATION), 1);
    assert_sound(&server);
    assert!(server.run(&["erase", "--destination", DESTINATION, "--yes"]).status.success());
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(count_traces(&server, DESTINATION), 0);
    server.restart();
    server.put(&id(900_002), &with_key).assert_problem(409);
    assert_eq!(post(&server, &id(900_005), "SENT", DESTINATION), "ignored");
    let figures = [("erased", erased + 3), ("kept", others), ("bytes left", 0)];
    report("P24", &rng, &figures, since);
}

#[test]
fn erasing_needs_no_server_and_names_copies() {
    let mut server = Server::start(GATEWAY);
    assert_eq!(post(&server, &id(1), "SENT", DESTINATION), "applied");
    assert_eq!(server.terminate(), Some(0));
    let migrated = server.folder.path().join("mirror.db.version-1");
    fs::write(&migrated, "a copy").unwrap();
    // A copy under a name of its own, a file that is no copy, and one part of a copy.
    let renamed = server.folder.path().join("sunday");
    fs::copy(server.database(), &renamed).unwrap();
    fs::write(server.folder.path().join("notes"), "no database").unwrap();
    fs::write(server.folder.path().join("mirror.db.before-restore-x-wal"), "a part").unwrap();
    let output = server.run(&["erase", "--destination", DESTINATION, "--yes"]);
    assert!(output.status.success(), "{output:?}");
    let stdout = text(&output.stdout);
    for copy in ["mirror.db.version-1", "mirror.db.before-restore-x-wal", "sunday"] {
        assert!(stdout.contains(&format!("{copy} is a copy")), "{copy}: {stdout}");
    }
    assert!(!stdout.contains("notes") && stdout.matches("is a copy").count() == 3, "{stdout}");
    fs::remove_file(renamed).unwrap();
    assert_eq!(count_traces(&server, DESTINATION), 0);
    let national = server.run(&["erase", "--destination", "333 1234567"]);
    assert_eq!(national.status.code(), Some(64), "{national:?}");
}

/// Notations of [`DESTINATION`] with other separators, digits or encodings.
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
    assert_eq!(
        server.post(&json!({"type": LONGER_DESTINATION}).to_string()).outcome(),
        "quarantined"
    );
    let entries = || {
        let output = server.run(&["quarantine", "list"]);
        text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(entries().len(), NOTATIONS.len() + 1);
    let output = server.run(&["erase", "--destination", DESTINATION, "--yes"]);
    assert!(output.status.success(), "{output:?}");
    let kept = entries();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn old_messages_are_pruned_while_webhooks_go_on() {
    let clock = WrongClock::new();
    let mut server = Server::start_with(GATEWAY, &clock.envs());
    for number in 1..=300 {
        assert_eq!(post(&server, &id(number), "SENT", DESTINATION), "applied");
    }
    assert_eq!(server.post(&webhook(&id(1), "LOST", 1).to_string()).outcome(), "quarantined");
    clock.jump(3_600);
    // One of the old messages receives another notification.
    assert_eq!(post(&server, &id(7), "DELIVERED", DESTINATION), "applied");
    assert_eq!(post(&server, &id(400), "SENT", LONGER_DESTINATION), "applied");
    let empty = server.run(&["prune", "--older-than", "1d", "--yes"]);
    assert!(text(&empty.stdout).ends_with("removed: 0 messages, 0 quarantined entries\n"));
    let pruned = thread::scope(|scope| {
        let posting = scope.spawn(|| {
            for number in 401..=500 {
                assert_eq!(post(&server, &id(number), "SENT", LONGER_DESTINATION), "applied");
            }
        });
        let pruned = server.run(&["prune", "--older-than", "30m", "--yes"]);
        posting.join().unwrap();
        pruned
    });
    let removed = "removed: 299 messages, 1 quarantined entry\n";
    assert!(text(&pruned.stdout).ends_with(removed), "{pruned:?}");
    assert_eq!(count_listed(&server, DESTINATION), 1);
    assert_eq!(server.history(&id(7)).len(), 2);
    assert_eq!(server.history(&id(500)).len(), 1);
    assert_eq!(post(&server, &id(1), "SENT", DESTINATION), "applied", "no tombstone");
    assert_sound(&server);
    assert_eq!(server.terminate(), Some(0));
    let config = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), config.replace("[store]\n", "[store]\nretention = \"1s\"\n"))
        .unwrap();
    thread::sleep(Duration::from_millis(1_100));
    server.restart();
    // The confirmed prune allows the daily purge, which continues from its cut-off.
    wait_for(|| server.history(&id(500)).is_empty().then_some(()));
    // Row numbers are never reused, even if all messages were removed and the server restarted.
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    assert_eq!(post(&server, &id(1_000), "SENT", DESTINATION), "applied");
    assert_sound(&server);
    assert_eq!(server.terminate(), Some(0));
    let db = Connection::open(server.database()).unwrap();
    let (n, seq): (i64, i64) = db
        .query_row("SELECT n, last FROM message", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(n > 401 && seq > 401, "{n}, {seq}");
}
