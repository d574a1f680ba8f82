//! File checks: permissions, owner, free space, the lock, and whether a prune waits for confirmation.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;

use super::report::Report;
use crate::admin::{self, Waiting};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::live;
use crate::config::{self, Config};
use crate::diagnosis::Found;
use crate::store::sqlite::{directory, with_suffix};

/// Free space below which the disk counts as full, in bytes.
const MIN_FREE_BYTES: u64 = 64 << 20;
/// WAL size above which another process must be holding it, in bytes; under load a WAL has 48 MiB at most.
const MAX_WAL_BYTES: u64 = 64 << 20;

/// Time allowed for a server to answer at its admin socket.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the files.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    for file in &config.secret_files {
        secret(file, report)?;
    }
    let database = &config.store.path;
    let Ok(found) = fs::metadata(database) else {
        let detail = format!(
            "not found at {}; start `statusmirror serve`, or run doctor with the server's \
             configuration, in the server's working directory",
            database.display()
        );
        return report.print(Found::Fail, "database", &detail);
    };
    permissions(database, &found, report)?;
    owner(database, &found, report)?;
    disk_space(database, &found, report)?;
    wal(config, report)?;
    let is_served = server_answers(database);
    lock(database, is_served, report)?;
    if is_served { prune(database, report) } else { Ok(()) }
}

fn secret(file: &Path, report: &mut Report<'_>) -> Result<(), Failure> {
    let label = format!("secret {}", file.display());
    match fs::metadata(file) {
        Ok(found) if found.mode() & 0o004 != 0 => {
            let detail = format!(
                "every user of this machine can read the file (mode {:03o}); run `chmod o=` on it",
                found.mode() & 0o777
            );
            report.print(Found::Warn, &label, &detail)
        }
        Ok(found) => report.print(Found::Ok, &label, &format!("mode {:03o}", found.mode() & 0o777)),
        Err(error) => report.print(Found::Fail, &label, &format!("{error}; restore the file")),
    }
}

fn permissions(database: &Path, found: &Metadata, report: &mut Report<'_>) -> Result<(), Failure> {
    let directory = fs::metadata(directory(database))?.mode();
    let mode = found.mode();
    let shown = format!(
        "the database has mode {:03o}, its directory {:03o}",
        mode & 0o777,
        directory & 0o777
    );
    // A user who may not enter the directory reaches no file in it; a user who may write the directory can
    // replace a file in it, unless the directory is sticky.
    let may_enter = directory & 0o001 != 0;
    let may_replace = directory & 0o1003 == 0o003;
    if may_replace || (may_enter && mode & 0o002 != 0) {
        let detail = format!(
            "{shown}: every user can change the database; run `chmod 700` on the directory"
        );
        return report.print(Found::Fail, "permissions", &detail);
    }
    if may_enter && mode & 0o004 != 0 {
        let detail = format!(
            "{shown}: every user can read the database, which holds phone numbers; run `chmod 700` \
             on the directory"
        );
        return report.print(Found::Warn, "permissions", &detail);
    }
    // The database may be moved or copied to a place where other users can read it.
    if let Some(detail) = config::permissions_warning(database) {
        return report.print(Found::Warn, "permissions", &format!("{shown}: {detail}"));
    }
    report.print(Found::Ok, "permissions", &shown)
}

fn owner(database: &Path, found: &Metadata, report: &mut Report<'_>) -> Result<(), Failure> {
    let beside = ["-wal", "-shm", ".lock", ".sock"].map(|suffix| with_suffix(database, suffix));
    let foreign = beside
        .iter()
        .find(|path| fs::metadata(path).is_ok_and(|beside| beside.uid() != found.uid()));
    let uid = found.uid();
    match foreign {
        Some(path) => {
            let detail = format!(
                "the database belongs to user {uid}, but {} does not; run `chown` on the files, \
                 with the server's user",
                path.display()
            );
            report.print(Found::Fail, "owner", &detail)
        }
        None => report.print(Found::Ok, "owner", &format!("all files belong to user {uid}")),
    }
}

fn disk_space(database: &Path, found: &Metadata, report: &mut Report<'_>) -> Result<(), Failure> {
    let disk = statvfs(directory(database)).map_err(io::Error::from)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let shown = format!("{} MiB free, the database has {} MiB", free >> 20, found.len() >> 20);
    if free < MIN_FREE_BYTES {
        let detail = format!("{shown}; free disk space: on a full disk, webhooks get 503");
        report.print(Found::Fail, "disk", &detail)
    } else if free < found.len() {
        let detail = format!(
            "{shown}; free disk space: after a disk error, the next start copies the whole \
             database to new blocks"
        );
        report.print(Found::Warn, "disk", &detail)
    } else {
        report.print(Found::Ok, "disk", &shown)
    }
}

fn wal(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    let length = fs::metadata(with_suffix(&config.store.path, "-wal")).map_or(0, |wal| wal.len());
    let shown = format!("{} KiB", length >> 10);
    if length <= MAX_WAL_BYTES {
        return report.print(Found::Ok, "WAL", &shown);
    }
    let remedy = if config.store.external_checkpoints {
        "the external program does not checkpoint the WAL; check that program"
    } else {
        "a long read by another program blocks checkpoints; find that program, and stop it"
    };
    report.print(Found::Warn, "WAL", &format!("{shown}; {remedy}"))
}

fn lock(database: &Path, is_served: bool, report: &mut Report<'_>) -> Result<(), Failure> {
    let holder = fs::metadata(with_suffix(database, ".lock")).ok().and_then(|lock| holder(&lock));
    match (holder, is_served) {
        (Some(process), true) => {
            report.print(Found::Ok, "lock", &format!("held by the server, process {process}"))
        }
        (None, true) => report.print(Found::Ok, "lock", "held by a server"),
        (Some(process), false) => {
            let detail = format!(
                "held by process {process}, but its admin socket cannot be reached; wait until the \
                 server has started, or run doctor as the server's user"
            );
            report.print(Found::Warn, "lock", &detail)
        }
        (None, false) => {
            let detail = "no server has the database open; start `statusmirror serve`, or run \
                          doctor with the server's configuration";
            report.print(Found::Fail, "lock", detail)
        }
    }
}

/// Check for messages that the daily purge keeps until an operator confirms a prune.
fn prune(database: &Path, report: &mut Report<'_>) -> Result<(), Failure> {
    let (found, detail) = match live::ask(database, admin::CountWaiting {}) {
        Ok(Some(Waiting(0))) => (Found::Ok, "nothing waits for a confirmation".to_owned()),
        Ok(Some(Waiting(waiting))) => (
            Found::Warn,
            format!(
                "{waiting} messages and quarantined entries are older than store.retention, and \
                 are kept until a prune is confirmed, in case the clock or the setting is wrong; \
                 check both, then run `statusmirror prune --yes`"
            ),
        ),
        Ok(None) => (Found::Warn, "unknown: no server has the database open".to_owned()),
        Err(failure) => (Found::Warn, format!("unknown: {}", failure.message)),
    };
    report.print(found, "prune", &detail)
}

/// Whether a server answers at the admin socket. The probe sends no command, so the answer is an error.
fn server_answers(database: &Path) -> bool {
    let Ok(mut stream) = admin::connect(database) else { return false };
    let mut answer = [0];
    stream.shutdown(Shutdown::Write).is_ok()
        && stream.set_read_timeout(Some(ADMIN_TIMEOUT)).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && io::copy(&mut stream, &mut io::sink()).is_ok()
}

/// Process that holds a lock on this file, according to the kernel. Trying the lock would keep a server from
/// starting meanwhile.
fn holder(lock: &Metadata) -> Option<u32> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let inode = lock.ino().to_string();
    locks.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let process = columns.clone().nth(4)?.parse().ok()?;
        let file = columns.nth(5)?;
        (line.contains("FLOCK") && file.rsplit(':').next() == Some(&inode)).then_some(process)
    })
}
