//! Shutdown of a store: the threads end, the WAL is emptied, and the locks are released last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use super::fail_stop::StopCause;
use super::settings::Settings;
use crate::store::sqlite::startup::lock::Lock;
use crate::store::sqlite::startup::schema;
use crate::store::sqlite::write::checkpoint;
use crate::store::sqlite::write::command::{Order, Task};

/// Threads and locks of a store, to be closed when the store is no longer needed.
pub struct Closing {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) writer: JoinHandle<()>,
    pub(crate) others: Vec<JoinHandle<()>>,
    pub(crate) should_stop: Arc<AtomicBool>,
    pub(crate) settings: Settings,
    pub(crate) lock: Lock,
    pub(crate) failed: watch::Receiver<Option<StopCause>>,
}

impl Closing {
    /// Ends the threads once all queued work is done, empties the WAL and releases the database. Returns
    /// whether everything succeeded. Blocks, so do not call it on an async worker.
    pub fn close(self) -> bool {
        self.should_stop.store(true, Ordering::Relaxed);
        // A writer that cannot be reached has ended already.
        drop(self.orders.blocking_send(Order::Other(Task::End)));
        let mut ended = self.writer.join().is_ok();
        for thread in self.others {
            ended &= thread.join().is_ok();
        }
        if self.failed.borrow().is_some() {
            return false;
        }
        let path = &self.settings.path;
        let is_wal_empty = self.settings.external_checkpoints
            || schema::open_second_connection(path)
                .is_ok_and(|db| checkpoint::truncate(&db).is_ok());
        let is_marked_clean = is_wal_empty && self.lock.mark_clean(path).is_ok();
        ended && is_marked_clean
    }
}
