//! Valid and invalid configurations.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use statusmirror::config::{self, Secrets};
use statusmirror::message::Timestamp;

use crate::support::*;

/// Invalid configuration, and the key and the correction that the error must name.
#[rustfmt::skip]
const INVALID: &[(&str, &str, &str)] = &[
    (r#"server.listn = "x""#, "server.listn", "did you mean `listen`?"),
    (r#"listen = "127.0.0.1:9000""#, "listen", "did you mean `server.listen`?"),
    ("[servr]", "servr", "did you mean `server`?"),
    ("store.queue = 7", "store.queue", "now `store.max_in_flight`"),
    ("store.any_filesystem = true", "store.any_filesystem", "now `store.allow_network_filesystem`"),
    ("[server", "line 1", "expected `]`"),
    ("[server]\nlisten = 127.0.0.1:9000", "line 2", "put the value of `listen` in quotes: listen = \"…\""),
    ("[log]\nlevel =", "line 2", "`level` has no value"),
    ("store.url = sqlite:x.db", "line 1", "put the value of `store.url` in quotes"),
    (r#"server.listen = "nowhere""#, "server.listen", "write host:port"),
    (r#"store.max_in_flight = "many""#, "store.max_in_flight", "expected an integer"),
    ("store.max_in_flight = 0", "store.max_in_flight", "at least 1"),
    (r#"store.url = "mysql:x""#, "store.url", "write sqlite:"),
    (r#"log.level = "loud""#, "log.level", "use error, warn"),
    (r#"log.format = "xml""#, "log.format", "use auto"),
    ("[api_keys.a]", "api_keys.a", "either `key` or `sha256`"),
    (r#"api_keys.a.sha256 = "12""#, "api_keys.a.sha256", "64 digits"),
    (r#"api_keys.a.key = "x"
api_keys.a.scopes = "all""#, "api_keys.a.scopes", "`all`"),
    (r#"api_keys.a.key = "x"
api_keys.a.expires = "soon""#, "api_keys.a.expires", "a date alone, like 2027-01-31, means the end of that day in UTC"),
    (r#"api_keys.a.key = "x"
api_keys.a.expires = "2027-02-29""#, "api_keys.a.expires", "not a time"),
    (r#"api_keys.a.key = "x"
api_keys.a.expires = 2027-01-31T12:00:00"#, "api_keys.a.expires", "a time without a zone"),
    (r#"server.internal_listen = "nowhere""#, "server.internal_listen", "write host:port"),
    (r#"server.trusted_proxies = ["127.0.0.1", "10.0.0.0/33"]"#, "server.trusted_proxies", "`10.0.0.0/33` is neither"),
    (r#"server.trusted_proxies = "proxy""#, "server.trusted_proxies", "`proxy` is neither"),
    ("[sources.own]", "sources.own.verify", "this key is required"),
    (r#"sources.Own.verify = { scheme = "none" }"#, "sources.Own", "a-z"),
    (r#"sources.own.verify = { scheme = "nun" }"#, "sources.own.verify.scheme", "the schemes are url-token"),
    (r#"sources.own.verify = { scheme = "url-token" }"#, "sources.own.verify.secrets", "at least one secret"),
    (r#"sources.own.verify = { scheme = "url-token", secrets = 7 }"#, "sources.own.verify.secrets", "write a text"),
    (r#"sources.own.verify = { scheme = "url-token", secrets = { env = "NO_SUCH" } }"#, "secrets", "NO_SUCH"),
    (r#"sources.own.verify = { scheme = "url-token", secrets = { file = "/none" } }"#, "secrets", "/none"),
    (r#"sources.own.verify = { scheme = "url-token", secrets = "" }"#, "secrets", "the secret is empty"),
    (r#"sources.own.verify = { scheme = "native", secrets = "x" }"#, "sources.own", "no signature of its own"),
    (r#"sources.own.verify = { scheme = "hmac", secrets = "x" }"#, "sources.own.verify.header", "name the header"),
    (r#"sources.own.verify = { scheme = "hmac", secrets = "x", header = "X", timestamp = "header:T" }"#, "sources.own.verify.signed", "a time that is not signed can be forged"),
    (r#"sources.own.verify = { scheme = "hmac", secrets = "x", header = "X", signed = "{boby}" }"#, "sources.own.verify.signed", "unknown placeholder {boby}"),
    (r#"sources.own.verify = { scheme = "hmac", secrets = "x", header = "X", algorithm = "md5" }"#, "sources.own.verify.algorithm", "sha256, sha1 or sha512"),
    (r#"sources.own.verify = { scheme = "standard-webhooks", secrets = "whpk_AAAA" }"#, "sources.own.verify.secrets", "not an ed25519 public key"),
    (r#"sources.own.verify = { scheme = "hmac", secrets = "x", header = "X Y" }"#, "sources.own.verify.header", "cannot be the name of a header"),
    (r#"sources.own.verify = { scheme = "none", max_age_seconds = -1 }"#, "max_age_seconds", "unsigned"),
    (r#"sources.own.verify = { scheme = "none", secrets = "x" }"#, "verify.scheme", "the scheme none has no other keys"),
    (r#"sources.own.verify = { scheme = "url-token", secrets = "x", header = "X" }"#, "verify.header", "only"),
    (r#"sources.own.verify = { scheme = "url-token", secrets = { env = "A", file = "B" } }"#, "secrets", "write"),
    (r#"sources.own.verify = { schme = "none" }"#, "sources.own.verify.schme", "did you mean `scheme`?"),
    ("sources.own.verfy = 1", "sources.own.verfy", "did you mean `verify`?"),
    (r#"sources.own.max_body_bytes = 99999999999
sources.own.verify = { scheme = "none" }"#, "sources.own.max_body_bytes", "from 1 to 67108864"),
    (r#"api_keys.a.key = "x"
api_keys.a.scopes = []"#, "api_keys.a.scopes", "write read"),
    (r#"api_keys.a.key = "x"
api_keys.b.key = "x""#, "api_keys.b", "`a` has the same key"),
    (r#"sources.own.public_url = "https://x/y?z=1"
sources.own.verify = { scheme = "none" }"#, "sources.own", "without a query"),
    (r#"sources.own.dialect = "twillio"
sources.own.verify = { scheme = "none" }"#, "sources.own.dialect", "the dialects are gateway, twilio"),
    (r#"sources.own.dialect = "twilio"
sources.own.verify = { scheme = "native", secrets = "x" }"#, "sources.own", "set server.public_url"),
];

#[test]
fn an_invalid_configuration_is_reported_with_file_key_and_correction() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    for (config, key, correction) in INVALID {
        fs::write(&file, config).unwrap();
        let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{config}");
        for part in ["it.toml", key, correction] {
            assert!(stderr.contains(part), "{config}: {part} is not in {stderr}");
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let check = |config: &str| {
        fs::write(folder.path().join("it.toml"), config).unwrap();
        let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        text(&output.stderr).to_owned()
    };
    // Lines that are not TOML.
    let stderr = check(
        "[server]\nlisten = 127.0.0.1:9000\npublic_url = https://x.example\n[store\n[log]\n\
         level = \"warn\"\nlevel = \"info\"\n",
    );
    assert!(stderr.contains("4 mistakes in the configuration:\n"), "{stderr}");
    let expected = [
        "line 2: put the value of `listen` in quotes",
        "line 3: put the value of `public_url` in quotes",
        "line 4: unclosed table",
        "line 7: duplicate key",
    ];
    assert_in_order(&stderr, &expected);
    // Unknown keys, wrong types and missing keys; impossible values; secrets that are absent. The listener
    // would need a source if none were configured, but both sources have mistakes.
    let stderr = check(
        "[server]\nlistn = \"x\"\nlisten = \"0.0.0.0:8080\"\nmax_event_streams = \"many\"\n\
         [store]\nretention = \"soon\"\nmax_in_flight = 0\n\
         [sources.gateway]\ndialect = \"gatewa\"\nmax_body_bytes = 0\n\
         verify = { scheme = \"url-token\", secrets = { env = \"NO_SUCH\" } }\n\
         [sources.other]\n[sources.third]\nverify = 7\n\
         [api_keys.a]\nscopes = [\"all\"]\nexpires = \"soon\"\nkey = 'a-key-of-some-length'\n",
    );
    assert!(stderr.contains("11 mistakes in the configuration:\n"), "{stderr}");
    let expected = [
        "line 2: server.listn: unknown key",
        "line 4: server.max_event_streams: expected an integer, found a text",
        "line 6: store.retention:",
        "line 7: store.max_in_flight:",
        "line 9: sources.gateway.dialect:",
        "line 10: sources.gateway.max_body_bytes:",
        "line 11: sources.gateway.verify.secrets: the environment variable NO_SUCH is not set",
        "line 12: sources.other.verify: this key is required",
        "line 14: sources.third.verify: expected a section",
        "line 16: api_keys.a.scopes:",
        "line 17: api_keys.a.expires:",
    ];
    assert_in_order(&stderr, &expected);
    // A public listener lacks both, and an invalid address is one mistake.
    let stderr = check("[server]\nlisten = \"0.0.0.0:0\"\n");
    assert!(stderr.contains("2 mistakes in the configuration:\n"), "{stderr}");
    assert_in_order(&stderr, &["no source is configured", "no API key is configured"]);
    let stderr = check("[server]\nlisten = \"nowhere\"\n");
    assert_eq!(stderr.matches("write host:port").count(), 1, "{stderr}");
    assert!(!folder.path().join("data").exists());
}

/// Fails unless the text has these parts in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is not in order: {text}")).1;
    }
}

#[test]
fn errors_name_the_variable_and_hide_secrets() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("it.toml"), "[api_keys.a]\nkey = \"a-secret-key\n").unwrap();
    let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &[]);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("line 2") && !stderr.contains("a-secret-key"), "{stderr}");
    let envs = [("STATUSMIRROR__API_KEYS__A", "a-secret-key")];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("expected a section, found a text"), "{stderr}");
    assert!(!stderr.contains("a-secret-key"), "{stderr}");
    let envs = [("STATUSMIRROR__STORE__MAX_IN_FLIGHT", "many")];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    assert!(
        text(&output.stderr).contains("STATUSMIRROR__STORE__MAX_IN_FLIGHT: store.max_in_flight"),
        "{output:?}"
    );
    let envs = [("STATUSMIRROR__STORE__MAX_IN_FLIGHT", "0")];
    fs::write(folder.path().join("it.toml"), "store.max_in_flight = 5").unwrap();
    let output = run_program_in(folder.path(), &["--config", "it.toml", "check-config"], &envs);
    assert!(
        text(&output.stderr).contains("STATUSMIRROR__STORE__MAX_IN_FLIGHT: store.max_in_flight"),
        "{output:?}"
    );
    let envs = [("STATUSMIRROR__STOER__QUEUE", "1")];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    assert!(text(&output.stderr).contains("did you mean `store`?"), "{output:?}");
    let output = run_program_in(folder.path(), &["--config", "none.toml", "check-config"], &[]);
    assert!(text(&output.stderr).contains("none.toml: No such file"), "{output:?}");
}

#[test]
fn a_public_address_is_rejected_with_generated_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let envs = [("STATUSMIRROR__SERVER__LISTEN", "0.0.0.0:0")];
    let output = run_program_in(folder.path(), &["serve"], &envs);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("other machines can reach 0.0.0.0:0"), "{output:?}");
}

#[test]
fn check_config_reports_the_settings_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_program_in(folder.path(), &["check-config"], &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("source:   demo (gateway, url-token)"), "{output:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let envs = [
        ("STATUSMIRROR__SOURCES__ANY__VERIFY__SCHEME", "none"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SCHEME", "url-token"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SECRETS", "0123"),
    ];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("warning:  source `any` accepts every request without verification"),
        "{stdout}"
    );
    assert!(stdout.contains("fewer than 16 characters"), "{stdout}");
    assert!(!stdout.contains("0123"), "{stdout}");
}

#[test]
fn print_config_shows_values_and_origins_and_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    let contents = r#"
server.listen = "127.0.0.1:7070"
server.trusted_proxies = "10.0.0.0/8"
[api_keys.a]
key = "a-key-that-is-written-out"
expires = 2027-01-31
[sources.env]
verify = { scheme = "hmac", secrets = ["a-secret-that-is-written-out", { env = "OTHER" }], header = "X", prefix = "a\"b" }
"#;
    fs::write(&file, contents).unwrap();
    let envs = [
        ("STATUSMIRROR__STORE__MAX_IN_FLIGHT", "7"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SCHEME", "url-token"),
        ("STATUSMIRROR__SOURCES__OWN__VERIFY__SECRETS", "another-secret-written-out"),
        ("OTHER", "a-secret-that-is-elsewhere"),
    ];
    let output = run_program_in(folder.path(), &["--config", "it.toml", "print-config"], &envs);
    assert!(output.status.success(), "{output:?}");
    let stdout = text(&output.stdout);
    for line in [
        r#"server.listen = "127.0.0.1:7070"  # FOLDER/it.toml"#,
        r#"server.internal_listen = ""  # default"#,
        r#"server.trusted_proxies = ["10.0.0.0/8"]  # FOLDER/it.toml"#,
        "store.max_in_flight = 7  # STATUSMIRROR__STORE__MAX_IN_FLIGHT",
        "quarantine.max_rows = 100000  # default",
        r#"api_keys.a.key = "(hidden)"  # FOLDER/it.toml"#,
        r#"api_keys.a.scopes = ["read"]  # default"#,
        r#"api_keys.a.expires = "2027-01-31"  # FOLDER/it.toml"#,
        r#"sources.env.dialect = "gateway"  # default"#,
        r#"sources.env.verify.secrets = ["(hidden)", { env = "OTHER" }]  # FOLDER/it.toml"#,
        r#"sources.env.verify.prefix = "a\"b"  # FOLDER/it.toml"#,
        "sources.env.verify.max_age_seconds = 1209600  # default",
        r#"sources.own.verify.secrets = "(hidden)"  # STATUSMIRROR__SOURCES__OWN__VERIFY__SECRETS"#,
    ] {
        let line = line.replace("FOLDER", folder.path().to_str().unwrap());
        assert!(stdout.lines().any(|printed| printed == line), "{line} is not in {stdout}");
    }
    for secret in ["written", "elsewhere"] {
        assert!(!stdout.contains(secret), "{stdout}");
    }
    // The output is a valid configuration. Its settings are printed with the same values and other origins.
    fs::write(folder.path().join("printed.toml"), stdout).unwrap();
    let arguments = ["--config", "printed.toml", "print-config"];
    let output =
        run_program_in(folder.path(), &arguments, &[("OTHER", "a-secret-that-is-elsewhere")]);
    let values = |output: &str| -> Vec<String> {
        output.lines().map(|line| line.split_once("  # ").unwrap().0.to_owned()).collect()
    };
    assert_eq!(values(stdout), values(text(&output.stdout)), "{output:?}");
}

#[test]
fn check_config_shows_when_keys_expire_and_warns_two_weeks_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let days_ahead = |days: i64| {
        let micros = i64::try_from(now.as_secs()).unwrap() * 1_000_000 + days * 86_400_000_000;
        Timestamp::from_micros(micros).unwrap().to_string()
    };
    let (near, far) = (days_ahead(13), days_ahead(15));
    let envs = [
        ("STATUSMIRROR__API_KEYS__A__KEY", "a-key-of-some-length-a"),
        ("STATUSMIRROR__API_KEYS__A__EXPIRES", "2026-01-31"),
        ("STATUSMIRROR__API_KEYS__B__KEY", "a-key-of-some-length-b"),
        ("STATUSMIRROR__API_KEYS__B__EXPIRES", &near),
        ("STATUSMIRROR__API_KEYS__C__KEY", "a-key-of-some-length-c"),
        ("STATUSMIRROR__API_KEYS__C__EXPIRES", &far),
        ("STATUSMIRROR__API_KEYS__D__KEY", "a-key-of-some-length-d"),
    ];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    let stdout = text(&output.stdout);
    for line in [
        "API key:  a (until 2026-01-31T23:59:59.999999Z)\n",
        &format!("API key:  b (until {near})\n"),
        &format!("API key:  c (until {far})\n"),
        "API key:  d\n",
        "warning:  api_keys.a.expires: the key expired 2026-01-31T23:59:59.999999Z",
        &format!("warning:  api_keys.b.expires: the key expires {near}"),
    ] {
        assert!(stdout.contains(line), "{line} is not in {stdout}");
    }
    assert_eq!(stdout.matches("warning").count(), 2, "{stdout}");
}

#[test]
fn a_key_is_valid_through_its_last_moment_and_a_date_through_its_end_in_utc() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.toml");
    for (expires, last, first_after) in [
        ("\"2027-01-31\"", "2027-01-31T23:59:59.999999Z", "2027-02-01T00:00:00Z"),
        ("2027-01-31", "2027-01-31T23:59:59.999999Z", "2027-02-01T00:00:00Z"),
        ("\"2028-02-29\"", "2028-02-29T23:59:59.999999Z", "2028-03-01T00:00:00Z"),
        ("\"2027-01-31T12:00:00+02:00\"", "2027-01-31T10:00:00Z", "2027-01-31T10:00:00.000001Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z", "2027-01-31T12:00:00.000001Z"),
    ] {
        let sections = "[sources.gateway]\nverify = { scheme = \"none\" }\n[api_keys.a]";
        fs::write(&file, format!("{sections}\nkey = \"{KEY}\"\nexpires = {expires}\n")).unwrap();
        let key = config::read(Some(&file), Secrets::Require).unwrap().api_keys.pop().unwrap();
        assert!(!key.has_expired(last.parse().unwrap()), "{expires}");
        assert!(key.has_expired(first_after.parse().unwrap()), "{expires}");
    }
}

#[test]
fn the_shipped_file_contains_only_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/statusmirror.toml");
    let defaults = run_program_in(folder.path(), &["check-config"], &[]);
    let shipped_output = run_program_in(folder.path(), &["--config", shipped, "check-config"], &[]);
    let without_file = |stdout: &str| stdout.replace(&format!("file:     {shipped}\n"), "");
    let none = "file:     none; defaults and environment variables apply\n";
    assert_eq!(
        text(&defaults.stdout).replace(none, ""),
        without_file(text(&shipped_output.stdout))
    );
    // The settings that are commented out are valid.
    let commented = fs::read_to_string(shipped).unwrap();
    let settings = commented
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || line.split(' ').nth(1) == Some("="));
    let config = settings.fold(String::new(), |config, line| config + line + "\n");
    let config = config
        .replace("/run/secrets/gateway", folder.path().join("secret").to_str().unwrap())
        .replace("\"signed-url\"", "\"hmac\"");
    fs::write(folder.path().join("secret"), "a-secret-in-a-file\n").unwrap();
    fs::write(folder.path().join("all.toml"), config).unwrap();
    let arguments = ["--config", "all.toml", "check-config"];
    let output =
        run_program_in(folder.path(), &arguments, &[("BILLING_KEY", "a-key-of-some-length")]);
    assert!(text(&output.stdout).contains("gateway (gateway, hmac)"), "{output:?}");
}

/// Kubernetes sets variables like these for a service of this name.
#[test]
fn a_variable_with_one_underscore_causes_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let envs = [
        ("STATUSMIRROR_SERVER_LISTEN", "127.0.0.1:1"),
        ("STATUSMIRROR_STORE__MAX_IN_FLIGHT", "1"),
        ("STATUSMIRROR_SERVICE_HOST", "10.0.0.1"),
        ("STATUSMIRROR_SERVICE_PORT", "8080"),
        ("STATUSMIRROR_PORT", "tcp://10.0.0.1:8080"),
        ("STATUSMIRROR_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("STATUSMIRROR__LOG__LEVEL", "warn"),
    ];
    let output = run_program_in(folder.path(), &["check-config"], &envs);
    assert!(output.status.success(), "{output:?}");
    let warnings = text(&output.stdout).lines().filter(|line| line.starts_with("warning:"));
    let warnings: Vec<_> = warnings.collect();
    let expected = [
        "the environment variable STATUSMIRROR_SERVER_LISTEN has no effect; write STATUSMIRROR__SERVER__LISTEN",
        "the environment variable STATUSMIRROR_STORE__MAX_IN_FLIGHT has no effect; write \
         STATUSMIRROR__STORE__MAX_IN_FLIGHT",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.ends_with(expected), "{warning}");
    }
    let strict = run_program_in(folder.path(), &["check-config", "--strict"], &envs);
    assert_eq!(strict.status.code(), Some(78), "{strict:?}");
    assert!(text(&strict.stderr).contains("2 warnings; with --strict"), "{strict:?}");
    let strict = run_program_in(folder.path(), &["check-config", "--strict"], &[]);
    assert!(strict.status.success(), "{strict:?}");
}
