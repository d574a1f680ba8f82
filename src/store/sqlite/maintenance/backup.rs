//! Backup on request: waits its turn, has the writer copy the database, and makes the copy durable.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crate::store::reply;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::write::backup::BackupError;
use crate::store::sqlite::write::command::{Order, Task};

impl SqliteStore {
    /// See [`Store::back_up`](crate::store::Store::back_up).
    pub(crate) async fn copy_to(&self, name: PathBuf) -> Result<(), BackupError> {
        let turn = Arc::clone(&self.backups).lock_owned().await;
        let (reply, copied) = reply::channel();
        let order = Order::Other(Task::BackUp(name, turn, reply));
        self.orders.send(order).await.map_err(|_closed| BackupError::Stopped)?;
        let partial = copied.await.map_err(|_gone| BackupError::Stopped)??;
        // Not on the writer's thread, because syncing a long file takes time.
        let (reply, persisted) = reply::channel();
        thread::spawn(move || {
            let persisted = partial.persist();
            if persisted.is_ok() && reply.is_abandoned() {
                partial.discard();
            }
            // Before the process may end.
            drop(partial);
            reply.send(persisted);
        });
        persisted.await.map_err(|_gone| BackupError::Stopped)?
    }
}
