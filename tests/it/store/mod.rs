//! The store: contract, cache, write-back, migrations, purge and quarantine.

mod cache;
mod code_counts;
mod contract;
mod convergence;
mod equal_times;
mod erase;
mod message_index;
mod migrations;
mod prune;
mod quarantine;
mod quarantine_migration;
mod transactions;
mod write_back;
