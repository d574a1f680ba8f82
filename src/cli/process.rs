//! What every command does with its own process before anything else.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// For how long the last words may wait for whoever reads standard error.
const PATIENCE: Duration = Duration::from_secs(1);

/// Turns core dumps off, because memory holds secrets and phone numbers, and turns a file that may not grow
/// (`RLIMIT_FSIZE`) from a signal that ends the process into an error of the write.
pub(super) fn prepare() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    ignore_file_size_signal()
}

#[expect(unsafe_code, reason = "to ignore a signal has no safe name")]
fn ignore_file_size_signal() -> io::Result<()> {
    // SAFETY: to ignore a signal runs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.map(drop).map_err(io::Error::from)
}

/// Writes a line to standard error. Gives up after a second, because the process must end although nobody
/// reads it.
pub(super) fn say_last(line: String) {
    let (done, said) = sync_channel(1);
    let saying = thread::Builder::new().spawn(move || {
        write_to_stderr(line.as_bytes());
        // Who waited may have given up.
        done.send(()).ok();
    });
    if saying.is_ok() {
        said.recv_timeout(PATIENCE).ok();
    }
}

/// Writes to standard error without its lock, which a thread may hold that waits for whoever reads. What
/// cannot be written is lost: there is nowhere to say so.
pub(super) fn write_to_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(io::stderr(), bytes) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
}
