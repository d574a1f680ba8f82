//! JSON output of the commands: each line is valid under the schema in `docs/schemas`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use boon::{Compiler, Schemas};
use serde_json::Value;

use crate::support::*;

/// Schemas of the documentation, and those that a test has used.
struct CheckedSchemas {
    used: BTreeSet<String>,
}

impl CheckedSchemas {
    fn folder() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas"))
    }

    /// Only line of an output, checked against the schema of this name.
    #[track_caller]
    fn read(&mut self, name: &str, output: &Output) -> Value {
        let mut lines = self.read_lines(name, output);
        assert_eq!(lines.len(), 1, "{output:?}");
        lines.remove(0)
    }

    /// Lines of an output, each checked against the schema of this name.
    #[track_caller]
    fn read_lines(&mut self, name: &str, output: &Output) -> Vec<Value> {
        self.used.insert(name.to_owned());
        let path = Self::folder().join(format!("{name}.json"));
        let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("schema.json", schema).unwrap();
        let mut schemas = Schemas::new();
        let schema = compiler.compile("schema.json", &mut schemas).unwrap();
        let lines = text(&output.stdout).lines().map(|line| {
            let value: Value = serde_json::from_str(line).expect("each line is JSON");
            if let Err(error) = schemas.validate(&value, schema) {
                panic!("{name}: {error}: {value:#}");
            }
            value
        });
        lines.collect()
    }
}

#[test]
fn the_json_of_every_command_is_valid_under_its_schema() {
    let mut schemas = CheckedSchemas { used: BTreeSet::new() };
    let server = Server::start(&format!("{GATEWAY}{TWILIO}"));
    assert_eq!(server.post(EXAMPLE).status, 200);
    assert_eq!(server.post(&EXAMPLE.replace("DELIVERED", "LOST")).outcome(), "quarantined");
    let json = |arguments: &[&str]| server.run(&[arguments, &["--format", "json"]].concat());

    let status = json(&["status"]);
    assert_eq!(status.status.code(), Some(1), "the quarantine needs attention: {status:?}");
    let status = schemas.read("status", &status);
    assert_eq!(status["sources"][0]["name"], "gateway");
    assert_eq!(status["sources"][0]["accepted"], 2);
    assert_eq!(status["store"]["quarantined"], 1);
    assert_eq!(status["attention"].as_array().unwrap().len(), 1);

    let doctor = schemas.read("doctor", &json(&["doctor"]));
    assert!(doctor["checks"].as_array().unwrap().len() > 5, "{doctor}");

    let listed = schemas.read_lines("quarantine-list", &json(&["quarantine", "list"]));
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["source"], "gateway");

    let check = schemas.read("check", &json(&["check"]));
    assert_eq!(check["records"]["rows"], 1);

    let prune = schemas.read("prune", &json(&["prune", "--older-than", "400d", "--dry-run"]));
    assert_eq!(prune["removed"], Value::Null);
    assert_eq!(prune["olderThanSeconds"], 400 * 86_400);
    let pruned = schemas.read("prune", &json(&["prune", "--older-than", "400d", "--yes"]));
    assert!(pruned["removed"]["messages"].is_u64(), "{pruned}");

    let erase = ["erase", "--destination", "+393331234567"];
    let undecided = json(&erase);
    assert_eq!(undecided.status.code(), Some(64), "{undecided:?}");
    assert!(text(&undecided.stderr).contains("give --yes or --dry-run"), "{undecided:?}");
    let counted = schemas.read("erase", &json(&[&erase[..], &["--dry-run"]].concat()));
    assert_eq!((&counted["removed"], &counted["walEmptied"]), (&Value::Null, &Value::Null));
    let erased = schemas.read("erase", &json(&[&erase[..], &["--yes"]].concat()));
    assert_eq!(erased["removed"], counted["toRemove"]);

    let settings = schemas.read("print-config", &json(&["print-config"]));
    let is_scheme = |setting: &&Value| setting["key"] == "sources.gateway.verify.scheme";
    let scheme = settings["settings"].as_array().unwrap().iter().find(is_scheme).unwrap();
    assert_eq!(scheme["value"], "url-token");
    assert_eq!(scheme["origin"], server.config().display().to_string());

    let config = schemas.read("check-config", &json(&["check-config"]));
    assert_eq!((&config["valid"], &config["errors"][0]), (&Value::Bool(true), &Value::Null));
    assert_eq!(config["summary"]["sources"][1]["scheme"], "native");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("statusmirror.toml"), "[log]\nlevel = 7\nformt = 8\n").unwrap();
    let invalid = run_program_in(folder.path(), &["check-config", "--format", "json"], &[]);
    assert_eq!(invalid.status.code(), Some(78), "{invalid:?}");
    let invalid = schemas.read("check-config", &invalid);
    assert_eq!((&invalid["valid"], &invalid["summary"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(invalid["errors"].as_array().unwrap().len(), 2, "{invalid}");

    let mut verify = server.command(&["verify", "gateway", "--format", "json"]);
    let mut verify = verify.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let request = b"POST /webhooks/gateway?token=wrong HTTP/1.1\n\n{}";
    verify.stdin.take().unwrap().write_all(request).unwrap();
    let verified = verify.wait_with_output().unwrap();
    assert_eq!(verified.status.code(), Some(65), "{verified:?}");
    let verified = schemas.read("verify", &verified);
    assert_eq!(
        (&verified["accepted"], &verified["source"]),
        (&Value::Bool(false), &"gateway".into())
    );

    let url = format!("http://127.0.0.1:{}", server.port);
    let simulated = server
        .command(&["simulate", "--messages", "10", "--seed", "7", "--url", &url])
        .args(["--api-key-env", "SIMULATION_KEY", "--format", "json"])
        .env("SIMULATION_KEY", KEY)
        .output()
        .unwrap();
    let simulated = schemas.read("simulate", &simulated);
    assert_eq!(
        (&simulated["seed"], &simulated["differences"]),
        (&7.into(), &Value::Array(Vec::new()))
    );

    let files = fs::read_dir(CheckedSchemas::folder()).unwrap();
    let all: BTreeSet<_> = files
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(schemas.used, all, "each schema belongs to a command");
}
