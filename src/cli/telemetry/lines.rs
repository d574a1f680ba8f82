//! Log output: a thread of its own writes the lines to standard error, so that no other thread waits for the
//! reader of the log.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::cli::common::process::write_to_stderr;

/// Time for which lines are gathered before a write: a wake-up for each line would cost more than the line.
const BATCH_WINDOW: Duration = Duration::from_millis(10);
/// Maximum size of waiting lines, in bytes; further lines are dropped and counted.
const MAX_QUEUED_BYTES: usize = 4 << 20;

/// Queue of log lines for the writing thread.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals that lines are waiting.
    more: Condvar,
    /// Signals that all lines were written.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether lines that were taken from the queue are being written.
    writing: bool,
    /// Number of dropped lines.
    dropped: u64,
}

impl Lines {
    /// Starts the writing thread.
    pub(crate) fn start() -> io::Result<Self> {
        let lines = Self::default();
        let written = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || written.write_all())?;
        Ok(lines)
    }

    /// Waits until all lines are written, up to `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) {
        let is_busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.0.done.wait_timeout_while(self.state(), timeout, is_busy));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines, for ever.
    fn write_all(&self) {
        let mut lines = Vec::new();
        loop {
            let is_idle = |state: &mut State| state.waiting.is_empty();
            drop(self.0.more.wait_while(self.state(), is_idle));
            thread::sleep(BATCH_WINDOW);
            let dropped = {
                let mut state = self.state();
                mem::swap(&mut lines, &mut state.waiting);
                state.writing = true;
                mem::take(&mut state.dropped)
            };
            // A log that cannot be written must not stop the service, and there is no place to report it.
            write_to_stderr(&lines);
            lines.clear();
            if dropped > 0 {
                tracing::warn!(
                    lines = dropped,
                    "standard error was read too slowly; log lines were dropped"
                );
            }
            self.state().writing = false;
            self.0.done.notify_all();
        }
    }

    /// Queues a line, or drops it if too many bytes wait.
    pub(crate) fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() > MAX_QUEUED_BYTES {
            state.dropped += 1;
        } else {
            if state.waiting.is_empty() {
                self.0.more.notify_one();
            }
            state.waiting.extend_from_slice(line);
        }
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
