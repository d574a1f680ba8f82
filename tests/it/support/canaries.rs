//! Canaries: secrets, keys, tokens, signatures and phone numbers that must not be in any output.
//!
//! A canary is noted when a test uses it. Every log, every error body and the standard error of every command
//! are searched for all noted canaries.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;

/// Minimum length of a noted secret, in bytes. Shorter ones also occur in unrelated words.
const MIN_SECRET_BYTES: usize = 6;
/// Numbers of digits that make a run of digits a possible phone number.
const PHONE_NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Explanation of the phone number format in the program's error messages. Its example number is allowed.
const FORMAT_EXPLANATION: &str = "not a phone number in E.164, like +393331234567";

static SECRETS: Mutex<Noted> = Mutex::new(None);
static NUMBERS: Mutex<Noted> = Mutex::new(None);

/// Noted canaries, none before the first. The set is behind an `Arc`, so that the search of a long log does
/// not hold the mutex: a request that waits for it would be too slow for the
/// server, which would close the connection.
type Noted = Option<Arc<BTreeSet<String>>>;

fn note(noted: &Mutex<Noted>, texts: impl IntoIterator<Item = String>) {
    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::make_mut(noted.get_or_insert_default()).extend(texts);
}

fn noted(noted: &Mutex<Noted>) -> Arc<BTreeSet<String>> {
    noted.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}

/// Notes a secret.
pub(crate) fn secret(text: &str) {
    if text.len() >= MIN_SECRET_BYTES {
        note(&SECRETS, [text.to_owned()]);
    }
}

/// Notes the secrets and keys of a configuration.
pub(crate) fn configuration(text: &str) {
    for line in text.lines() {
        for key in ["secrets = ", "key = ", "sha256 = "] {
            let Some((_, value)) = line.split_once(key) else { continue };
            let value = value.split([']', '}']).next().unwrap();
            // In a list every second part is between quotes; alone, the first one is.
            let quoted = value.split('"').skip(1).step_by(2);
            let is_list = value.starts_with('[');
            quoted.take(if is_list { usize::MAX } else { 1 }).for_each(secret);
        }
    }
}

/// Notes the value of an environment variable, if its name says that it holds a secret.
pub(crate) fn variable(name: &str, value: &str) {
    if ["KEY", "SECRET", "SECRETS"].iter().any(|end| name.ends_with(end)) {
        secret(value);
    }
}

/// Notes the credentials of a request and the phone numbers in its path and body.
pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) {
    for pair in path.split_once('?').map_or("", |(_, query)| query).split('&') {
        if let Some(("token" | "signature", value)) = pair.split_once('=') {
            secret(value);
            secret(&percent_decode_str(value).decode_utf8_lossy());
        }
    }
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == "x-api-key" || name.ends_with("signature") {
            value.split(' ').for_each(secret);
        }
    }
    let body = String::from_utf8_lossy(body);
    let in_path = path.split_once("/phonenumber/").and_then(|(_, rest)| digit_runs(rest).next());
    let numbers = plus_numbers(path).chain(plus_numbers(&body)).chain(in_path);
    note(&NUMBERS, numbers.map(str::to_owned));
}

/// Phone numbers after a plus sign, percent-encoded or not.
fn plus_numbers(text: &str) -> impl Iterator<Item = &str> {
    let after = |plus: &'static str| text.split(plus).skip(1);
    let all = after("+").chain(after("%2B")).chain(after("%2b"));
    all.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        PHONE_NUMBER_DIGITS.contains(&end).then(|| rest.split_at(end).0)
    })
}

/// Runs of digits that may be phone numbers.
fn digit_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|run| PHONE_NUMBER_DIGITS.contains(&run.len()))
}

/// Description of the first canary or panic in a text, if it has one.
pub(crate) fn find_canary(text: &str) -> Option<String> {
    let text = &text.replace(FORMAT_EXPLANATION, "");
    if text.contains("panicked") {
        return Some("a panic".to_owned());
    }
    if let Some(number) = plus_numbers(text).next() {
        return Some(format!("the number {number}"));
    }
    let numbers = noted(&NUMBERS);
    if let Some(number) = digit_runs(text).find(|run| numbers.contains(*run)) {
        return Some(format!("the number {number}, without a plus sign"));
    }
    let secrets = noted(&SECRETS);
    let secret = secrets.iter().find(|secret| text.contains(*secret));
    secret.map(|secret| format!("the secret {secret}"))
}

/// Asserts that a text has no canary and no panic. Does nothing while the test panics already.
#[track_caller]
pub(crate) fn assert_none(output_name: &str, text: &str) {
    if !std::thread::panicking()
        && let Some(canary) = find_canary(text)
    {
        panic!("{canary} is in {output_name}: {text}");
    }
}

#[test]
fn the_search_finds_every_kind_of_canary() {
    configuration(
        "[sources.canary]\nverify = { secrets = [\"canary-one\", \"canary-two\"], header = \"X-Canary\" }",
    );
    configuration("[api_keys.canary]\nkey = \"canary-three\"\nscopes = [\"canary-scope\"]");
    configuration("verify = { secrets = \"canary-seven\", header = \"X-Canary\" }");
    variable("STATUSMIRROR__API_KEYS__CANARY__KEY", "canary-four");
    request(
        "/api/messagestatus/phonenumber/4915901234567?token=canary%2Dfive",
        &[("X-Api-Key", "canary-six"), ("X-Canary-Signature", "v1,canary=")],
        br#"{"destination":"+4915907654321"}"#,
    );
    for canary in [
        "canary-one",
        "canary-two",
        "canary-three",
        "canary-four",
        "canary-five",
        "canary%2Dfive",
        "canary-six",
        "canary-seven",
        "v1,canary=",
        "+39333999888",
        "%2B39333999888",
        "4915901234567",
        "4915907654321",
        "thread 'main' panicked at src/main.rs",
    ] {
        let log = format!("{{\"level\":\"INFO\",\"message\":\"about {canary}\"}}\n");
        assert!(find_canary(&log).is_some(), "{canary}");
        let caught = std::panic::catch_unwind(|| assert_none("the log", &log));
        assert!(caught.is_err(), "{canary}");
    }
    let innocent = "{\"timestamp\":\"2026-11-24T21:41:00.123456+01:00\",\"source\":\"gateway\",\
                    \"id\":\"00000000-0000-4000-8000-000000000001\",\"X-Canary\":\"canary-scope\"}";
    assert_eq!(find_canary(innocent), None);
}
