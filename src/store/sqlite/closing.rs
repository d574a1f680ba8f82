//! The end of a store: its threads end, the WAL is emptied, and the locks are given up last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use super::command::{Order, Task};
use super::failure::Failed;
use super::lock::Lock;
use super::open::Settings;
use super::{checkpoint, schema};

/// What must be closed when the store has done its work.
pub struct Closing {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) writer: JoinHandle<()>,
    pub(super) others: Vec<JoinHandle<()>>,
    pub(super) ends: Arc<AtomicBool>,
    pub(super) settings: Settings,
    pub(super) lock: Lock,
    pub(super) failed: watch::Receiver<Option<Failed>>,
}

impl Closing {
    /// Ends the threads once what was asked of them is done, empties the WAL and gives the database
    /// up. Says whether all was well to the end. Blocks, so it has no place on an async worker.
    pub fn close(self) -> bool {
        self.ends.store(true, Ordering::Relaxed);
        // Who cannot be told has ended already.
        drop(self.orders.blocking_send(Order::Other(Task::End)));
        let mut ended = self.writer.join().is_ok();
        for thread in self.others {
            ended &= thread.join().is_ok();
        }
        if self.failed.borrow().is_some() {
            return false;
        }
        let path = &self.settings.path;
        let emptied = self.settings.external_checkpoints
            || schema::open_again(path).is_ok_and(|db| checkpoint::cut(&db).is_ok());
        let left = emptied && self.lock.leave_in_order(path).is_ok();
        ended && left
    }
}
