//! The way of the log's lines to standard error: through a thread of its own, so that nobody who has
//! something to say waits for whoever reads it.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::cli::process::write_to_stderr;

/// For so long lines are gathered: a wake for each of them would cost more than the line.
const TOGETHER: Duration = Duration::from_millis(10);
/// So many bytes may wait for whoever reads; what comes then is lost, and counted.
const MOST: usize = 4 << 20;

/// Where lines go.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    more: Condvar,
    /// All was written.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether lines are being written that wait no more.
    writing: bool,
    /// How many lines were lost.
    lost: u64,
}

impl Lines {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let lines = Self::default();
        let written = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || written.write_all())?;
        Ok(lines)
    }

    /// Waits until all is written, up to `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.0.done.wait_timeout_while(self.state(), patience, is_busy));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes for ever.
    fn write_all(&self) {
        let mut lines = Vec::new();
        loop {
            let is_idle = |state: &mut State| state.waiting.is_empty();
            drop(self.0.more.wait_while(self.state(), is_idle));
            thread::sleep(TOGETHER);
            let lost = {
                let mut state = self.state();
                mem::swap(&mut lines, &mut state.waiting);
                state.writing = true;
                mem::take(&mut state.lost)
            };
            // A log that cannot be written must not stop the service, and there is nowhere to say so.
            write_to_stderr(&lines);
            lines.clear();
            if lost > 0 {
                tracing::warn!(lines = lost, "the log was read too slowly; some lines are lost");
            }
            self.state().writing = false;
            self.0.done.notify_all();
        }
    }

    /// Adds a line.
    pub(crate) fn add(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() > MOST {
            state.lost += 1;
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
