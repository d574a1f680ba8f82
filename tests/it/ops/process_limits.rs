//! Signals, resource limits, core dumps, and files that other users may read.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::*;

/// Command that runs its arguments in this shell script.
fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script, "sh"].map(str::to_owned).to_vec()
}

#[test]
fn a_file_size_limit_is_a_full_disk() {
    if !is_installed("prlimit") {
        return;
    }
    let mut server = Server::start(GATEWAY);
    assert_eq!(server.terminate(), Some(0));
    // 4,000 blocks of 512 bytes, or of 1,024 bytes in some shells: less than 4 MiB in both cases.
    server.start_with_command(&shell("ulimit -S -f 4000 && exec \"$@\"")).unwrap();
    let post = |number: u64| {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["provider"] =
            serde_json::json!({"name": "N", "id": "a".repeat(200), "message": "b".repeat(900)});
        let parameters = format!("&action={0}&service={0}&key=k{number}", "c".repeat(500));
        server.send("POST", &webhook_path(&parameters), JSON, body.to_string().as_bytes())
    };
    let mut accepted = 0;
    // A later webhook may be accepted again, after the WAL is truncated.
    let rejected = loop {
        let answer = post(accepted + 1);
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 10_000, "no webhook was rejected");
    };
    rejected.assert_problem(503);
    wait_for(|| server.log().contains("the disk is full").then_some(()));
    assert_eq!(server.history(&id(1)).len(), 1, "queries are still answered");
    let raise_limit = format!("prlimit --pid {} --fsize=unlimited:unlimited", server.process());
    assert!(Command::new("sh").args(["-c", &raise_limit]).status().unwrap().success());
    wait_for(|| (post(accepted + 1).status == 200).then_some(()));
    server.kill();
    server.restart();
    for number in 1..=accepted + 1 {
        assert_eq!(server.history(&id(number)).len(), 1, "message {number}");
    }
}

#[test]
fn a_hangup_during_the_start_does_not_end_the_process() {
    let mut server = Server::start(GATEWAY);
    // The second server waits for the lock of the first one, so it is still starting.
    let (mut second, log) = server.start_successor();
    // Bit 0 of `SigCgt` is set as soon as the process catches SIGHUP.
    let status_file = format!("/proc/{}/status", second.id());
    let catches_hangup = || {
        let status = fs::read_to_string(&status_file).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        (u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1).then_some(())
    };
    wait_for(catches_hangup);
    for _ in 0..50 {
        assert!(kill("-HUP", second.id()));
    }
    assert_eq!(second.try_wait().unwrap(), None);
    assert_eq!(server.terminate(), Some(0));
    wait_for(|| listen_port(&fs::read_to_string(&log).unwrap()));
    // A SIGHUP during the start causes a reload after the start.
    wait_for(|| fs::read_to_string(&log).unwrap().contains("reloaded").then_some(()));
    assert!(kill("-TERM", second.id()));
    assert!(second.wait().unwrap().success());
}

#[test]
fn no_core_is_dumped() {
    let server = Server::start(GATEWAY);
    // The owner of a process's files in /proc shows whether the process can be dumped, but not if it runs as
    // root. So this test aborts the process and looks for a dump.
    let dump_folder = server.folder.path().join("dumped");
    fs::create_dir(&dump_folder).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", PROGRAM])
        .arg("--config")
        .arg(server.config())
        .args(["serve", "--lock-wait", "60s"])
        .current_dir(&dump_folder)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    wait_for(|| {
        let status = fs::read_to_string(&status).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        // The program ignores SIGXFSZ right after it disables core dumps.
        (u64::from_str_radix(mask, 16).unwrap() & (1 << 24) != 0).then_some(())
    });
    assert!(kill("-ABRT", child.id()));
    let exit_status = child.wait().unwrap();
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&exit_status), "{exit_status:?}");
    assert_eq!(fs::read_dir(&dump_folder).unwrap().count(), 0);
}

#[test]
fn an_admin_command_of_any_length_takes_little_memory() {
    let server = Server::start(GATEWAY);
    let socket = server.folder.path().join("mirror.db.sock");
    let mut stream = UnixStream::connect(&socket).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent_mib = 0;
    while sent_mib < 64 && stream.write_all(&chunk).is_ok() {
        sent_mib += 1;
    }
    assert!(sent_mib < 16, "{sent_mib} MiB of one line were read");
    let mut answer = String::new();
    // The connection may be reset, because the server has not read the whole line.
    drop(stream.read_to_string(&mut answer));
    assert!(answer.is_empty() || answer.contains("longer than"), "{answer}");
    assert!(server.run(&["quarantine", "list"]).status.success(), "other commands are answered");
}

#[test]
fn a_database_that_others_may_read_causes_a_warning() {
    let mut server = Server::start(GATEWAY);
    let warnings = |text: &str| {
        let lines: Vec<_> = text.lines().filter(|line| line.contains("has mode 6")).collect();
        assert!(lines.iter().all(|line| line.contains("chmod 600")), "{lines:?}");
        lines.len()
    };
    // If others may enter the directory, `doctor` prints a further warning.
    fs::set_permissions(server.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let check_config = || text(&server.run(&["check-config"]).stdout).to_owned();
    assert_eq!(warnings(&check_config()), 0);
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o644)).unwrap();
    // `check-config` and `doctor` print one warning each, with the same text.
    let warning = format!(
        "{} has mode 644, so users other than its owner can open the file, and it holds phone \
         numbers; run `chmod 600` on it",
        server.database().display()
    );
    let (check_output, doctor_output) = (check_config(), server.run(&["doctor"]).stdout);
    assert_eq!((warnings(&check_output), warnings(text(&doctor_output))), (1, 1), "{check_output}");
    assert!(
        check_output.contains(&warning) && text(&doctor_output).contains(&warning),
        "{check_output}"
    );
    for mode in [0o640, 0o602, 0o604, 0o620] {
        fs::set_permissions(server.database(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(check_config().contains(&format!("has mode {mode:o}")), "{}", check_config());
    }
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(warnings(&server.log()), 0);
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    assert_eq!(warnings(&server.log()), 1, "{}", server.log());
    assert!(server.log().contains(&warning), "{}", server.log());
}
