//! `statusmirror quarantine`: filters, summary, replay and removal, from the operator's view.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::*;

/// Reasons of the entries of [`server_with_quarantine`].
const UNKNOWN_STATUS: &str = "message.status: unknown word `LOST_AT_SEA`";
const NOT_JSON: &str = "the body is not JSON: expected ident at line 1 column 2";
const UNKNOWN_WORD: &str = "MessageStatus: unknown word `lost`";

/// Server with quarantined entries: three of the gateway with an unknown status, two of the gateway that are
/// not JSON, and one of Twilio.
fn server_with_quarantine() -> Server {
    let server = Server::start(&format!("{GATEWAY}{TWILIO_BY_TOKEN}"));
    for number in 1..=3 {
        let body = webhook(&id(number), "LOST_AT_SEA", 1).to_string();
        assert_eq!(server.post(&body).outcome(), "quarantined");
    }
    for body in ["not JSON", "not JSON either"] {
        server.post(body).assert_problem(400);
    }
    let path = format!("/webhooks/twilio?token={TOKEN}");
    let answer = server.send("POST", &path, FORM, b"MessageSid=SM1&MessageStatus=lost");
    assert_eq!(answer.outcome(), "quarantined");
    server
}

/// Runs `statusmirror quarantine` with these arguments; returns exit code, standard output and standard error.
fn quarantine(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = server.run(&[&["quarantine"], arguments].concat());
    (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

/// Sources and reasons of the listed entries.
fn listed(server: &Server, filters: &[&str]) -> Vec<(String, String)> {
    let (code, stdout, _) = quarantine(server, &[&["list"], filters].concat());
    assert_eq!(code, Some(0));
    let entry = |line: &str| {
        let columns: Vec<_> = line.splitn(5, "  ").collect();
        (columns[2].to_owned(), columns[4].to_owned())
    };
    stdout.lines().map(entry).collect()
}

fn entries(parts: &[(&str, &str, usize)]) -> Vec<(String, String)> {
    let repeated = |(source, reason, count): &(&str, &str, usize)| {
        vec![((*source).to_owned(), (*reason).to_owned()); *count]
    };
    parts.iter().flat_map(repeated).collect()
}

#[test]
fn a_list_is_filtered_by_source_and_reason() {
    let server = server_with_quarantine();
    let unknown_status = ("gateway", UNKNOWN_STATUS, 3);
    let (not_json, unknown_word) = (("gateway", NOT_JSON, 2), ("twilio", UNKNOWN_WORD, 1));
    for (filters, expected) in [
        (&[][..], entries(&[unknown_status, not_json, unknown_word])),
        (&["--source", "gateway"], entries(&[unknown_status, not_json])),
        (&["--source", "twilio"], entries(&[unknown_word])),
        (&["--reason", "lost_at_sea"], entries(&[unknown_status])),
        (&["--reason", "UNKNOWN WORD"], entries(&[unknown_status, unknown_word])),
        (&["--source", "gateway", "--reason", "json"], entries(&[not_json])),
        (&["--source", "twilio", "--reason", "json"], entries(&[])),
        // A source is named in full.
        (&["--source", "gate"], entries(&[])),
    ] {
        assert_eq!(listed(&server, filters), expected, "{filters:?}");
    }
    for (filters, hint) in [
        (
            &["--source", "gate"][..],
            "no source `gate` is configured; configured sources: gateway, twilio",
        ),
        (&["--reason", "no such reason"], "no quarantined entry matches"),
    ] {
        let (code, stdout, stderr) = quarantine(&server, &[&["list"], filters].concat());
        assert_eq!((code, stdout.as_str()), (Some(0), ""), "{filters:?}");
        assert!(stderr.contains(hint), "{filters:?}: {stderr}");
    }
    // An empty filter is more likely an empty variable of a script than a request for all entries.
    for filter in ["--source", "--reason"] {
        assert_eq!(quarantine(&server, &["list", filter, ""]).0, Some(64));
    }
}

#[test]
fn a_summary_counts_entries_by_source_and_reason() {
    let mut server = server_with_quarantine();
    let all = format!(
        "3  gateway  {UNKNOWN_STATUS}\n2  gateway  {NOT_JSON}\n1  twilio  {UNKNOWN_WORD}\n"
    );
    assert_eq!(quarantine(&server, &["summary"]).1, all);
    let filtered = quarantine(&server, &["summary", "--source", "gateway", "--reason", "JSON"]);
    assert_eq!(filtered.1, format!("2  gateway  {NOT_JSON}\n"));
    // Repetitions of an entry are not further entries.
    server.post("not JSON").assert_problem(400);
    // Counts of different lengths are aligned.
    for number in 11..=17 {
        let body = webhook(&id(number), "LOST_AT_SEA", 1).to_string();
        assert_eq!(server.post(&body).outcome(), "quarantined");
    }
    let aligned = format!(
        "10  gateway  {UNKNOWN_STATUS}\n 2  gateway  {NOT_JSON}\n 1  twilio  {UNKNOWN_WORD}\n"
    );
    assert_eq!(quarantine(&server, &["summary"]).1, aligned);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(quarantine(&server, &["summary"]).1, aligned, "without a server");
}

/// Last line of the output of a replay, which has one line more than it has entries.
fn result(stdout: &str, entries: usize) -> &str {
    assert_eq!(stdout.lines().count(), entries + 1, "{stdout}");
    stdout.lines().last().unwrap()
}

#[test]
fn a_replay_ends_with_its_result_and_is_filtered() {
    let mut server = server_with_quarantine();
    let still = format!("still in quarantine: 3 × {UNKNOWN_STATUS}, 2 × {NOT_JSON}");
    let (code, stdout, _) = quarantine(&server, &["replay", "--all"]);
    let expected = format!("0 of 6 understood; {still}, 1 × {UNKNOWN_WORD}");
    assert_eq!((code, result(&stdout, 6)), (Some(0), expected.as_str()));
    let gateway = quarantine(&server, &["replay", "--all", "--source", "gateway"]).1;
    assert_eq!(result(&gateway, 5), format!("0 of 5 understood; {still}"));
    let words = quarantine(&server, &["replay", "--all", "--reason", "LOST", "--source", "twilio"]);
    assert_eq!(
        result(&words.1, 1),
        format!("0 of 1 understood; still in quarantine: 1 × {UNKNOWN_WORD}")
    );
    // An entry that is ignored now leaves the quarantine, too: the dialect `gateway` ignores a test.
    let path = format!("/webhooks/twilio?token={TOKEN}");
    assert_eq!(server.send("POST", &path, FORM, b"type=x").outcome(), "quarantined");
    let (right, wrong) = ("[sources.gateway]\n", "[sources.gateway]\ndialect = \"twilio\"\n");
    server.configure(|config| config.replace(right, wrong));
    server.reload();
    let test = server.send("POST", &webhook_path(""), FORM, br#"{"type":"TEST"}"#);
    assert_eq!(test.outcome(), "quarantined");
    assert_eq!(server.terminate(), Some(0));
    server.configure(|config| config.replace(wrong, right));
    // Without a server.
    let (_, stdout, _) =
        quarantine(&server, &["replay", "--all", "--reason", "MessageSid is missing"]);
    let expected = "1 of 2 understood; still in quarantine: 1 × MessageSid is missing";
    assert_eq!(result(&stdout, 2), expected);
    assert!(stdout.contains("  ignored: a test"), "{stdout}");
    assert_eq!(listed(&server, &[]).len(), 7);
    // Nothing matches.
    let (code, stdout, stderr) = quarantine(&server, &["replay", "--all", "--reason", "no such"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("no quarantined entry matches"), "{stderr}");
    // Ids and filters exclude each other, and filters alone are not a request for all entries.
    for arguments in [
        &["replay", "--source", "gateway"][..],
        &["replay", "x", "--source", "gateway"],
        &["replay", "x", "--all"],
        &["replay"],
    ] {
        assert_eq!(quarantine(&server, arguments).0, Some(64), "{arguments:?}");
    }
}

#[test]
fn a_result_names_the_five_most_frequent_reasons() {
    let server = Server::start(GATEWAY);
    for number in 1..=8 {
        let repeated = if number == 8 { 2 } else { 1 };
        for repetition in 0..repeated {
            let body = webhook(&id(10 * number + repetition), &format!("LOST_{number}"), 1);
            assert_eq!(server.post(&body.to_string()).outcome(), "quarantined");
        }
    }
    let (_, stdout, _) = quarantine(&server, &["replay", "--all"]);
    let reason =
        |count: u32, number: u32| format!("{count} × message.status: unknown word `LOST_{number}`");
    let named = [reason(2, 8), reason(1, 1), reason(1, 2), reason(1, 3), reason(1, 4)].join(", ");
    let expected = format!(
        "0 of 9 understood; still in quarantine: {named}, 3 × other reasons, in the lines above"
    );
    assert_eq!(result(&stdout, 9), expected);
}

/// Number of entries in quarantine, as the metrics show it.
fn gauge(server: &Server) -> u64 {
    let metrics = server.get("/metrics").body;
    let value = |line: &str| line.strip_prefix("statusmirror_quarantine_entries ")?.parse().ok();
    metrics.lines().find_map(value).unwrap()
}

/// Ids of the listed entries.
fn ids(server: &Server) -> Vec<String> {
    let list = quarantine(server, &["list"]).1;
    list.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_drop_counts_first_and_needs_confirmation() {
    let server = server_with_quarantine();
    let counts = format!(
        "to drop: 5 quarantined entries\n3  gateway  {UNKNOWN_STATUS}\n2  gateway  {NOT_JSON}\n"
    );
    let drop = ["drop", "--all", "--source", "gateway"];
    let (code, stdout, stderr) = quarantine(&server, &drop);
    assert_eq!((code, &stdout), (Some(64), &counts));
    assert!(stderr.contains("nothing was removed"), "{stderr}");
    let (code, stdout, _) = quarantine(&server, &[&drop[..], &["--dry-run"]].concat());
    assert_eq!((code, &stdout), (Some(0), &counts));
    assert_eq!(quarantine(&server, &[&drop[..], &["--dry-run", "--yes"]].concat()).0, Some(64));
    assert_eq!(gauge(&server), 6);
    if is_installed("script") {
        let answered = |answer: &str| {
            let command = format!(
                "{PROGRAM} --config {} quarantine drop --all --reason json",
                server.config().display()
            );
            let mut script = Command::new("script")
                .args(["-qec", &command, "/dev/null"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut output, mut byte) = (Vec::new(), [0]);
            while !output.ends_with(b"[y/N] ") {
                assert_eq!(script.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1);
                output.push(byte[0]);
            }
            // It arrives after the entries were counted, so the operator has not confirmed its removal.
            server.post(&format!("not JSON {answer}")).assert_problem(400);
            script.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
            script.wait().unwrap().code()
        };
        assert_eq!((answered("n"), gauge(&server)), (Some(1), 7));
        assert_eq!((answered("y"), gauge(&server)), (Some(0), 5));
        assert_eq!(listed(&server, &["--reason", "json"]).len(), 1);
    }
}

#[test]
fn dropped_entries_are_gone_for_good_with_and_without_a_server() {
    let mut server = server_with_quarantine();
    let all = ids(&server);
    // One unknown id: nothing is removed.
    let unknown = "00000000-0000-4000-8000-000000000000";
    let (code, stdout, stderr) = quarantine(&server, &["drop", &all[0], unknown, "--yes"]);
    assert_eq!((code, stdout.as_str()), (Some(65), ""));
    assert!(stderr.contains(unknown), "{stderr}");
    assert_eq!(ids(&server), all);
    // An entry named twice is one entry.
    let (code, stdout, _) = quarantine(&server, &["drop", &all[5], &all[5], "--yes"]);
    let one = format!(
        "to drop: 1 quarantined entry\n1  twilio  {UNKNOWN_WORD}\ndropped: 1 quarantined entry\n"
    );
    assert_eq!((code, stdout), (Some(0), one));
    assert_eq!(gauge(&server), 5);
    server.kill();
    server.restart();
    assert_eq!((ids(&server), gauge(&server)), (all[..5].to_vec(), 5));
    assert_eq!(server.terminate(), Some(0));
    let (_, stdout, _) = quarantine(&server, &["drop", "--all", "--reason", "lost", "--yes"]);
    assert!(stdout.ends_with("dropped: 3 quarantined entries\n"), "{stdout}");
    // The raw payloads were overwritten, not just unlinked.
    let database = fs::read(server.database()).unwrap();
    let is_in_file =
        |part: &str| database.windows(part.len()).any(|bytes| bytes == part.as_bytes());
    assert!(is_in_file("not JSON either") && !is_in_file("LOST_AT_SEA"));
    server.restart();
    assert_eq!((ids(&server), gauge(&server)), (all[3..5].to_vec(), 2));
    // A repetition is a new entry: a drop is no request to ignore the sender.
    let body = webhook(&id(1), "LOST_AT_SEA", 1).to_string();
    assert_eq!(server.post(&body).outcome(), "quarantined");
    assert_eq!(listed(&server, &["--reason", "lost"]).len(), 1);
    let (_, stdout, _) = quarantine(&server, &["drop", "--all", "--yes"]);
    assert!(stdout.ends_with("dropped: 3 quarantined entries\n"), "{stdout}");
    let (code, stdout, stderr) = quarantine(&server, &["drop", "--all", "--yes"]);
    let none = "to drop: 0 quarantined entries\ndropped: 0 quarantined entries\n";
    assert_eq!((code, stdout.as_str()), (Some(0), none));
    assert!(stderr.contains("the quarantine is empty"), "{stderr}");
    for arguments in [&["drop", "--yes"][..], &["drop", "--source", "gateway", "--yes"]] {
        assert_eq!(quarantine(&server, arguments).0, Some(64), "{arguments:?}");
    }
}

#[test]
fn a_command_in_another_folder_names_the_path_without_data() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("data/statusmirror.db").display().to_string();
    for arguments in [
        &["list"][..],
        &["summary"],
        &["show", "x"],
        &["replay", "--all"],
        &["drop", "--all"],
        &["drop", "--all", "--yes"],
    ] {
        let output = run_program_in(folder.path(), &[&["quarantine"], arguments].concat(), &[]);
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(66), ""), "{arguments:?}");
        let message = format!("there is no data here: the database {database} does not exist; run");
        assert!(stderr.contains(&message), "{arguments:?}: {stderr}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is created");
    }
}
