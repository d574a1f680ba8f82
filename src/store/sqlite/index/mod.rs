//! Index of the messages by id, destination and reference key: one large base, and small sorted runs in front
//! of it.
//!
//! [`entry`] is one entry of the index. [`blocks`] stores entries in blocks of a page each. [`runs`] knows the runs,
//! each with a [`filter`], and finds the rows of a key. [`new_run`] is a run that is being written, and [`merge`]
//! moves the entries of many runs to the base. [`merged_entries`] reads several runs as if they were one.
//! [`id_filter`] tells the writer which ids are new. [`stored_rows`] gives the entries of rows that are stored, for a
//! migration and for a check.
//!
//! # Why it is not three indexes of SQLite
//!
//! Ids and destinations are random, so each entry of an ordinary index dirties a page of its own: it is copied
//! to the WAL and then to the file, 8 kB for 30 bytes, three times for each message. The larger the file, the
//! less often two messages share such a page. Therefore the cost of a webhook grew with the file.
//!
//! Here a batch of messages is written back as one sorted run: its entries lie side by side and fill whole
//! pages. When the runs have an eighteenth of all messages, or there are 64 of them, their entries are added to the
//! base together, again in the order of their keys, so that a page of the base takes several at a time.
//!
//! An entry is not a row of its own, because SQLite takes about a microsecond to insert, read or delete a row. A block
//! of 160 entries is one row and fills a page. It is read, merged with its new entries, and overwritten in place.
//!
//! # Finding an entry
//!
//! The filter of a run, which is in memory, says of most keys that the run does not have them. So a query reads the
//! base and rarely anything else. There it finds the block by its start, and the entry in the block.
//!
//! The writer asks for each id that is not cached whether it is new, and mostly it is. In a large file that search
//! would cost more than all other work for the message: 64 filters, and two pages of the base, which no cache holds.
//! So the writer has one filter of all ids in memory, and searches only for those that pass.
//!
//! # What happens when
//!
//! - A run counts once its row in `index_run` is committed, in the same transaction as `progress.indexed_n`.
//!   Until then its messages stay in the cache, and a start removes what was written of it and of its rows.
//! - A merge adds entries to the base, and leaves the runs as they are. Until the base has all of them, some entries
//!   are in both. Then the runs are removed from `index_run`, and their blocks are deleted. A merge that was
//!   interrupted begins again: adding an entry twice changes nothing.
//! - If a row's keys change, or the row is removed, the old entries are deleted wherever they are. New ones go
//!   to the base.
//!
//! Rejected, with figures in `docs/performance.md`: the three indexes; a row for each entry; batches that are sorted
//! but go to the base at once, which dirty one page for each entry once the base is a hundred times larger than a
//! batch; runs of runs without a base, which are read in more places.

pub(crate) mod blocks;
pub(crate) mod entry;
pub(crate) mod filter;
pub(crate) mod id_filter;
pub(crate) mod merge;
pub(crate) mod merged_entries;
pub(crate) mod new_run;
pub(crate) mod runs;
pub(crate) mod stored_rows;
