//! Truncation of a damaged WAL before the damage, once an operator has accepted the loss.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use super::lock;
use super::wal_damage::{WalDamage, wal_damage};
use crate::store::sqlite::OpenError;
use crate::store::sqlite::paths::{real_path, with_suffix};

/// Truncates the damaged WAL with this salt before the damage, so that the database can be opened. Returns
/// the number of transactions lost.
pub fn accept_wal_loss(database: &Path, salt: &str) -> Result<u64, OpenError> {
    let database = &real_path(database);
    let mut lock = lock::take(database, Duration::ZERO)?;
    lock.hold(database)?;
    let path = with_suffix(database, "-wal");
    let failed = |source| OpenError::File { path: path.clone(), source };
    match wal_damage(database, lock.page_bytes()).map_err(failed)? {
        Some(damage) if damage.salt == salt => {
            let wal = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            wal.set_len(damage.sound_bytes).map_err(failed)?;
            wal.sync_all().map_err(failed)?;
            Ok(damage.transactions)
        }
        Some(WalDamage { salt, transactions, .. }) => {
            Err(OpenError::WalDamaged { path, salt, transactions })
        }
        None => Err(OpenError::WalSound { path }),
    }
}
