//! Rows: conversion between SQLite's values and the domain's types.
//!
//! A row that cannot be decoded is an error, never a default. [`list_order`] is the integer by which lists
//! are indexed. [`notification_chain`] visits the notifications of one message. [`tombstones`] are hashes of
//! erased ids.
//!
//! # A page costs the same however many messages share a second
//!
//! Lists are indexed by one integer for the time and the beginning of the id, in the eight bytes that the
//! time alone would take: within a whole second, as gateways state it, 24 bits separate ids. The whole id
//! would take 16 bytes more in each entry. Messages that still share a value (ids that count up, times between
//! two seconds) are sorted when they are read; beyond 256 of them the index by id is read as well, and
//! whichever needs fewer rows wins.
//!
//! Texts of a record that are only displayed share a column ([`packed_text`]): fetching columns is most of
//! the work of a list.

pub(crate) mod claim_ranks;
pub(crate) mod column;
pub(crate) mod hourly_counts;
pub(crate) mod list_order;
pub(crate) mod notification_chain;
pub(crate) mod packed_text;
pub(crate) mod record;
pub(crate) mod tombstones;
