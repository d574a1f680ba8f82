//! Reading: queries on the read threads.
//!
//! [`mod@thread`] runs the threads and their connections. A record in the
//! [cache](crate::store::sqlite::cache) takes precedence over its row, and the cache is searched first, so a
//! list is complete without a lock against the writer.
//!
//! [`in_order`] reads the table in the order of lists, for lists and searches. [`snapshot`] is the read transaction of
//! a query that executes several statements.
//!
//! A [`search`] reads on until it has enough messages or has reached its time limit. Each index costs
//! an entry for every message, so the whole set of messages has only the index by acceptance, which grows at its
//! end; the filter is applied while reading. A part reads the cache and the table for 25 ms each and
//! returns the place where the next part begins, so neither a rare filter nor an old period holds a read
//! thread.
//!
//! # Mapping the file
//!
//! Each thread has two connections. One maps the file, so that no data is copied while reading. But SQLite
//! gives the mapping up after every commit, and each page then has to be mapped again; and for a file larger
//! than memory, a mapping reads far more than is requested. So the other connection, which reads pages as
//! they are needed, is used while webhooks arrive, for 100 ms after each commit, and for 1 s after a page was
//! not in memory.
//!
//! Mapped pages count towards the process's memory (`RssFile`, `VmHWM`), although the kernel can reclaim them
//! at any time. With a mapping of the whole file, an export from 315 MiB used 535 MiB. So each thread maps at
//! most the first 64 MiB of the file, and reads the rest. That is more than the memory budget leaves when all
//! of its shares are full. Therefore a thread gives its mapping up when a share of the budget comes [under
//! pressure](crate::memory_budget::Share::pressure), also if no query arrives: the budget wakes the thread.
//! It maps the file again 1 s after the pressure has ended.
//!
//! Queries of a larger file cost more while no webhooks arrive, because pages behind the mapping are copied.
//! `scripts/bench --against` compares such queries with those of an earlier binary.
//!
//! Rejected: 16 MiB for each thread, which fit beside full shares, because now a file of up to 64 MiB is
//! mapped in full; `madvise` from outside SQLite, because SQLite may have placed another mapping at that
//! address by then.

pub(crate) mod change_feed;
pub(crate) mod history;
pub(crate) mod in_order;
pub(crate) mod messages;
pub(crate) mod search;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod thread;
