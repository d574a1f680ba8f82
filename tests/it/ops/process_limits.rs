//! Signals, resource limits, and memory that other users could read.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::*;

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
    // So many blocks of 512 bytes, or in some shells of 1,024: less than 4 MiB in any case.
    server.start_under(&shell("ulimit -S -f 4000 && exec \"$@\"")).unwrap();
    let post = |number: u64| {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["provider"] =
            serde_json::json!({"name": "N", "id": "a".repeat(200), "message": "b".repeat(900)});
        let about = format!("&action={0}&service={0}&key=k{number}", "c".repeat(500));
        server.send("POST", &webhook_path(&about), JSON, body.to_string().as_bytes())
    };
    let mut taken = 0;
    // The next one may find room again, once the WAL is cut.
    let refused = loop {
        let answer = post(taken + 1);
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 10_000, "nothing was refused");
    };
    refused.assert_problem(503);
    eventually(|| server.log().contains("the disk is full").then_some(()));
    assert_eq!(server.history(&id(1)).len(), 1, "queries go on");
    let raised = format!("prlimit --pid {} --fsize=unlimited:unlimited", server.process());
    assert!(Command::new("sh").args(["-c", &raised]).status().unwrap().success());
    eventually(|| (post(taken + 1).status == 200).then_some(()));
    server.kill();
    server.start_again();
    for number in 1..=taken + 1 {
        assert_eq!(server.history(&id(number)).len(), 1, "message {number}");
    }
}

#[test]
fn a_hangup_during_the_start_does_not_end_the_process() {
    let mut server = Server::start(GATEWAY);
    // The second one waits for the first one's lock: it is still starting.
    let (mut second, log) = server.begin_successor();
    // From its first moment on that a signal can reach it.
    let caught = format!("/proc/{}/status", second.id());
    let catches = || {
        let status = fs::read_to_string(&caught).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        (u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1).then_some(())
    };
    eventually(catches);
    for _ in 0..50 {
        assert!(kill("-HUP", second.id()));
    }
    assert_eq!(second.try_wait().unwrap(), None);
    assert_eq!(server.terminate(), Some(0));
    eventually(|| listening(&fs::read_to_string(&log).unwrap()));
    // What it was told during the start is done then.
    eventually(|| fs::read_to_string(&log).unwrap().contains("reloaded").then_some(()));
    assert!(kill("-TERM", second.id()));
    assert!(second.wait().unwrap().success());
}

#[test]
fn no_core_is_dumped() {
    let server = Server::start(GATEWAY);
    // Of a process that may be dumped the files in /proc belong to its user; else to root. As root both are
    // the same, and the kernel says it by not dumping.
    let dump = server.folder.path().join("dumped");
    fs::create_dir(&dump).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", PROGRAM])
        .arg("--config")
        .arg(server.config())
        .args(["serve", "--lock-wait", "60s"])
        .current_dir(&dump)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    eventually(|| {
        let status = fs::read_to_string(&status).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        // SIGXFSZ, which is ignored together with it.
        (u64::from_str_radix(mask, 16).unwrap() & (1 << 24) != 0).then_some(())
    });
    assert!(kill("-ABRT", child.id()));
    let ended = child.wait().unwrap();
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&ended), "{ended:?}");
    assert_eq!(fs::read_dir(&dump).unwrap().count(), 0);
}

#[test]
fn an_admin_command_of_any_length_takes_little_memory() {
    let server = Server::start(GATEWAY);
    let socket = server.folder.path().join("mirror.db.sock");
    let mut stream = UnixStream::connect(&socket).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 64 && stream.write_all(&piece).is_ok() {
        sent += 1;
    }
    assert!(sent < 16, "{sent} MiB were read of one line");
    let mut said = String::new();
    // The connection may be reset, as not everything was read.
    drop(stream.read_to_string(&mut said));
    assert!(said.is_empty() || said.contains("longer than"), "{said}");
    assert!(server.run(&["quarantine", "list"]).status.success(), "the others are answered");
}

#[test]
fn a_database_that_others_may_read_causes_a_warning() {
    let mut server = Server::start(GATEWAY);
    let warnings = |text: &str| {
        let warned: Vec<_> = text.lines().filter(|line| line.contains("has mode 6")).collect();
        assert!(warned.iter().all(|line| line.contains("chmod 600")), "{warned:?}");
        warned.len()
    };
    // Of a directory that others may enter, doctor says more.
    fs::set_permissions(server.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let checked = || text(&server.run(&["check-config"]).stdout).to_owned();
    assert_eq!(warnings(&checked()), 0);
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o644)).unwrap();
    // One warning each time, with the same words.
    let words = format!(
        "{} has mode 644, so others than its owner may open it, and it holds phone numbers; chmod 600 it",
        server.database().display()
    );
    let (checked_words, doctor) = (checked(), server.run(&["doctor"]).stdout);
    assert_eq!((warnings(&checked_words), warnings(text(&doctor))), (1, 1), "{checked_words}");
    assert!(checked_words.contains(&words) && text(&doctor).contains(&words), "{checked_words}");
    for mode in [0o640, 0o602, 0o604, 0o620] {
        fs::set_permissions(server.database(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(checked().contains(&format!("has mode {mode:o}")), "{}", checked());
    }
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(warnings(&server.log()), 0);
    assert_eq!(server.terminate(), Some(0));
    server.start_again();
    assert_eq!(warnings(&server.log()), 1, "{}", server.log());
    assert!(server.log().contains(&words), "{}", server.log());
}
