//! Process setup that every command does first, and raw output to standard error.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Maximum time that the last message may wait for standard error to be read.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Disables core dumps, because memory holds secrets and phone numbers. Ignores SIGXFSZ, so that exceeding
/// `RLIMIT_FSIZE` fails the write instead of killing the process.
pub(crate) fn prepare() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    ignore_file_size_signal()
}

#[expect(unsafe_code, reason = "to ignore a signal has no safe name")]
fn ignore_file_size_signal() -> io::Result<()> {
    // SAFETY: ignoring a signal runs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.map(drop).map_err(io::Error::from)
}

/// Writes a line to standard error. Gives up after a second, because the process must end even if standard
/// error is not read.
pub(crate) fn print_with_timeout(line: String) {
    let (done, printed) = sync_channel(1);
    let spawned = thread::Builder::new().spawn(move || {
        write_to_stderr(line.as_bytes());
        // The receiver may have given up.
        done.send(()).ok();
    });
    if spawned.is_ok() {
        printed.recv_timeout(MESSAGE_TIMEOUT).ok();
    }
}

/// Writes to standard error without its lock, which may be held by a thread that waits for the reader. A
/// write error is ignored: there is no place to report it.
pub(crate) fn write_to_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(io::stderr(), bytes) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
}
