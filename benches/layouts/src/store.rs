//! Database with a log, the messages, and their index.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fastrand::Rng;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::layout::Layout;
use crate::message::Message;
use crate::runs::Runs;

/// Settings of the writer's connection. The program itself runs the checkpoints.
const SETTINGS: &str = "\
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -16384;";

/// Tables that all layouts have.
const TABLES: &str = "\
    CREATE TABLE notification (seq INTEGER PRIMARY KEY, message BLOB, rest BLOB) STRICT;
    CREATE TABLE message (
        n INTEGER PRIMARY KEY, id BLOB, rest BLOB, destination INTEGER, reference_key TEXT, list_order INTEGER
    ) STRICT;
    CREATE INDEX message_by_acceptance ON message (list_order);";

/// Number of messages in a transaction.
const TRANSACTION_MESSAGES: u64 = 16;
/// Number of notifications of a message.
const NOTIFICATIONS: usize = 3;
/// Bytes of a notification besides its message's id.
const NOTIFICATION_REST: [u8; 280] = [7; 280];
/// Bytes of a message besides the columns that are indexed.
const MESSAGE_REST: [u8; 180] = [8; 180];

/// Number of transactions after which the size of the WAL is looked at.
const CHECK_TRANSACTIONS: u64 = 100;
/// Number of pages in the WAL from which on they are moved to the file: 32 MB.
const CHECKPOINT_PAGES: i64 = 8_000;

/// Maximum number of messages that are remembered, to look for them later.
const MAX_SAMPLES: u64 = 20_000;

/// Id and destination of a stored message.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    n: i64,
    pub(crate) id: [u8; 16],
    pub(crate) destination: i64,
}

/// Database with a log, the messages, and their index.
pub(crate) struct Store {
    db: Connection,
    path: PathBuf,
    layout: Layout,
    /// Runs, if the layout has them.
    runs: Option<Runs>,
    random: Rng,
    /// Number of messages stored.
    messages: i64,
    /// Number of notifications stored.
    notifications: i64,
    /// Number of transactions committed.
    transactions: u64,
    /// Number of messages of which one is remembered.
    sampled_of: i64,
    samples: Vec<Sample>,
}

impl Store {
    /// Creates the database of a layout, for about so many messages.
    pub(crate) fn create(path: &Path, layout: Layout, messages: u64) -> Result<Self> {
        let db = Connection::open(path)?;
        db.set_prepared_statement_cache_capacity(64);
        db.execute_batch(SETTINGS)?;
        db.execute_batch(TABLES)?;
        db.execute_batch(layout.schema())?;
        Ok(Self {
            db,
            path: path.to_owned(),
            layout,
            runs: layout.merging().map(Runs::new),
            random: Rng::with_seed(1),
            messages: 0,
            notifications: 0,
            transactions: 0,
            sampled_of: i64::try_from(messages.div_ceil(MAX_SAMPLES))?,
            samples: Vec::new(),
        })
    }

    /// Connection to the database.
    pub(crate) fn db(&self) -> &Connection {
        &self.db
    }

    /// Layout of the index.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Numbers of the index's runs, the base among them; none if the layout has no runs.
    pub(crate) fn runs(&self) -> Vec<i64> {
        self.runs.as_ref().map(Runs::numbers).unwrap_or_default()
    }

    /// Remembered messages that are in the database's index, and not only in a batch in memory.
    pub(crate) fn samples(&self) -> &[Sample] {
        let indexed = self.runs.as_ref().map_or(self.messages, Runs::indexed);
        let count = self.samples.partition_point(|sample| sample.n <= indexed);
        self.samples.get(..count).unwrap_or_default()
    }

    /// Size of the database's file without the WAL, in bytes.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    /// Stores so many random messages, each with its notifications.
    pub(crate) fn add(&mut self, messages: u64) -> Result<()> {
        let mut left = messages;
        while left > 0 {
            let count = left.min(TRANSACTION_MESSAGES);
            self.add_in_transaction(usize::try_from(count)?)?;
            left -= count;
            self.transactions += 1;
            if self.transactions.is_multiple_of(CHECK_TRANSACTIONS) {
                self.checkpoint_if_large()?;
            }
        }
        Ok(())
    }

    fn add_in_transaction(&mut self, messages: usize) -> Result<()> {
        const ADD_NOTIFICATION: &str = "INSERT INTO notification VALUES (?, ?, ?)";
        const ADD_MESSAGE: &str = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)";
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for _ in 0..messages {
            self.messages += 1;
            let n = self.messages;
            let message = Message::random(&mut self.random, n);
            let Message { id, destination, reference_key, list_order } = &message;
            for _ in 0..NOTIFICATIONS {
                self.notifications += 1;
                transaction.prepare_cached(ADD_NOTIFICATION)?.execute(params![
                    self.notifications,
                    id,
                    NOTIFICATION_REST
                ])?;
            }
            transaction.prepare_cached(ADD_MESSAGE)?.execute(params![
                n,
                id,
                MESSAGE_REST,
                destination,
                reference_key,
                list_order
            ])?;
            if n % self.sampled_of == 0 {
                self.samples.push(Sample { n, id: *id, destination: *destination });
            }
            if let Some(runs) = &mut self.runs {
                runs.add(&message, n);
            }
        }
        if let Some(runs) = &mut self.runs {
            runs.advance(&transaction, messages)?;
        }
        Ok(transaction.commit()?)
    }

    /// Moves the pages of a large WAL to the file, so that the next transaction begins a new WAL.
    fn checkpoint_if_large(&self) -> Result<()> {
        let pages = |mode: &str| -> rusqlite::Result<(i64, i64)> {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            self.db.query_row(&sql, [], |row| Ok((row.get(1)?, row.get(2)?)))
        };
        let (written, moved) = pages("NOOP")?;
        if written >= CHECKPOINT_PAGES && written > moved {
            pages("RESTART")?;
        }
        Ok(())
    }
}
