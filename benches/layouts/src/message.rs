//! Random messages.

use fastrand::Rng;

use crate::entry::{Entry, Key};

/// Number of messages that are accepted at about the same time: their places in lists differ by their ids alone.
const SIMULTANEOUS: i64 = 100;

/// Message as far as the index is concerned.
pub(crate) struct Message {
    pub(crate) id: [u8; 16],
    /// Digits of the E.164 number.
    pub(crate) destination: i64,
    pub(crate) reference_key: Box<str>,
    /// Place in lists, newest acceptance first.
    pub(crate) list_order: i64,
}

impl Message {
    /// Message of this row, with a random id, destination and reference key.
    pub(crate) fn random(random: &mut Rng, n: i64) -> Self {
        Self {
            id: random_id(random),
            destination: 4_915_000_000_000 + random.i64(0..1_000_000_000),
            reference_key: format!("order-{:012x}", random.u64(0..1 << 48)).into(),
            list_order: -((n / SIMULTANEOUS) << 24) + random.i64(0..1 << 24),
        }
    }

    /// Entries of the message in the index.
    pub(crate) fn entries(&self, n: i64) -> [Entry; 3] {
        let list_order = self.list_order;
        [
            Entry { key: Key::Id(self.id), list_order: 0, n },
            Entry { key: Key::Destination(self.destination), list_order, n },
            Entry { key: Key::Reference(self.reference_key.clone()), list_order, n },
        ]
    }
}

/// Random id.
pub(crate) fn random_id(random: &mut Rng) -> [u8; 16] {
    random.u128(..).to_be_bytes()
}
