//! Progress of a long command: its elapsed time, on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval between two updates. A shorter command shows nothing.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// Line on standard error with the elapsed time; removed when dropped.
pub(crate) struct Progress {
    /// Ends the thread when dropped.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows that a command does this, until the value is dropped.
    pub(crate) fn start(action: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, ended) = mpsc::channel();
        let (action, started) = (action.to_owned(), Instant::now());
        let show = move || {
            let mut width = 0;
            while ended.recv_timeout(UPDATE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let line = format!("{action}: {} s", started.elapsed().as_secs());
                width = line.len();
                // A progress line may get lost.
                drop(write!(io::stderr(), "\r{line}"));
            }
            if width > 0 {
                drop(write!(io::stderr(), "\r{:width$}\r", ""));
            }
        };
        // Without a thread, the command runs without this line.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show).ok();
        Self { end: Some(end), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
