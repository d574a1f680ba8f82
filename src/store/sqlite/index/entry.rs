//! One entry of the index, in the form in which it is stored.
//!
//! All entries have the same length, and their bytes are in the order of the entries. So entries are searched and
//! merged without a look at what their keys are.

use sha2::{Digest, Sha256};

use crate::message::{Destination, MessageId};

/// Number of the base among the runs.
pub(crate) const BASE: i64 = 0;

/// Length of an entry, in bytes.
pub(crate) const ENTRY_BYTES: usize = 25;

/// Kinds of keys, as they are stored.
const ID: u8 = 1;
const DESTINATION: u8 = 2;
const REFERENCE: u8 = 3;

/// Secret of the file, for the hashes of keys. So a sender cannot choose keys that pass all filters, or reference
/// keys with the same hash.
#[derive(Clone, Copy, Default)]
pub(crate) struct IndexSecret(pub(crate) [u8; 32]);

/// Key under which the index lists a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexKey {
    /// Message id.
    Id([u8; 16]),
    /// Digits of a destination.
    Destination(u64),
    /// Hash of a reference key. If two keys have the same hash, their messages' rows tell them apart.
    Reference(u64),
}

impl IndexKey {
    /// Key of this reference key.
    pub(crate) fn of_reference(key: &str, secret: &IndexSecret) -> Self {
        Self::Reference(hash(secret, REFERENCE, key.as_bytes()))
    }

    /// Hash of the key, for the filters.
    pub(crate) fn hash(self, secret: &IndexSecret) -> u64 {
        match self {
            Self::Id(id) => hash(secret, ID, &id),
            Self::Destination(number) => hash(secret, DESTINATION, &number.to_be_bytes()),
            Self::Reference(hash) => hash,
        }
    }
}

impl From<MessageId> for IndexKey {
    fn from(id: MessageId) -> Self {
        Self::Id(*id.as_bytes())
    }
}

impl From<Destination> for IndexKey {
    fn from(destination: Destination) -> Self {
        Self::Destination(destination.number())
    }
}

fn hash(secret: &IndexSecret, kind: u8, key: &[u8]) -> u64 {
    let hash = Sha256::new_with_prefix(secret.0).chain_update([kind]).chain_update(key);
    hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Entry of the index: the kind of the key; an id, or a destination or hash and the message's place in lists; the
/// message's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexEntry(pub(crate) [u8; ENTRY_BYTES]);

impl IndexEntry {
    /// Comes before every entry of a message.
    pub(crate) const MIN: Self = Self([0; ENTRY_BYTES]);
    /// Comes after every entry of a message.
    pub(crate) const MAX: Self = Self([u8::MAX; ENTRY_BYTES]);

    /// Entry of the message in row `n`, which has this place in lists. An entry by id has no place.
    pub(crate) fn new(key: IndexKey, list_order: i64, n: i64) -> Self {
        let number = |number: u64| number.to_be_bytes();
        let listed = |kind, key| (kind, [number(key), number(ordered(list_order))]);
        let (kind, key) = match key {
            IndexKey::Id(id) => (ID, halves(id)),
            IndexKey::Destination(digits) => listed(DESTINATION, digits),
            IndexKey::Reference(hash) => listed(REFERENCE, hash),
        };
        let [first, second] = key;
        let mut bytes = [kind; ENTRY_BYTES];
        let (_kind, rest) = bytes.split_at_mut(1);
        let (places, _) = rest.as_chunks_mut();
        for (place, value) in places.iter_mut().zip([first, second, number(n.cast_unsigned())]) {
            *place = value;
        }
        Self(bytes)
    }

    /// Number of the message's row.
    pub(crate) fn n(&self) -> i64 {
        self.0.last_chunk().map_or(0, |n| i64::from_be_bytes(*n))
    }

    /// Key of the entry; none if it is no message's.
    pub(crate) fn key(&self) -> Option<IndexKey> {
        let [kind, rest @ ..] = &self.0;
        let first = rest.first_chunk().map(|number| u64::from_be_bytes(*number))?;
        match *kind {
            ID => rest.first_chunk().copied().map(IndexKey::Id),
            DESTINATION => Some(IndexKey::Destination(first)),
            REFERENCE => Some(IndexKey::Reference(first)),
            _ => None,
        }
    }
}

/// Both halves of an id.
fn halves(id: [u8; 16]) -> [[u8; 8]; 2] {
    let (halves, _) = id.as_chunks();
    halves.try_into().unwrap_or_default()
}

/// Number whose bytes are in the order of the signed numbers.
fn ordered(number: i64) -> u64 {
    number.cast_unsigned() ^ 1 << 63
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = (IndexKey, i64)> {
        prop_oneof![
            any::<[u8; 16]>().prop_map(|id| (IndexKey::Id(id), 0)),
            (any::<u64>(), any::<i64>()).prop_map(|(n, order)| (IndexKey::Destination(n), order)),
            (any::<u64>(), any::<i64>()).prop_map(|(h, order)| (IndexKey::Reference(h), order)),
        ]
    }

    /// Kind, key, place in lists, row.
    fn values(key: IndexKey, list_order: i64, n: i64) -> (u8, u128, i64, i64) {
        match key {
            IndexKey::Id(id) => (1, u128::from_be_bytes(id), 0, n),
            IndexKey::Destination(number) => (2, number.into(), list_order, n),
            IndexKey::Reference(hash) => (3, hash.into(), list_order, n),
        }
    }

    proptest! {
        #[test]
        fn entries_are_in_the_order_of_key_place_and_row(
            (one, one_order) in any_key(),
            (other, other_order) in any_key(),
            (one_n, other_n) in (0..=i64::MAX, 0..=i64::MAX),
            same_key in any::<bool>(),
        ) {
            let (other, other_order) =
                if same_key { (one, one_order.saturating_add(other_order % 2)) } else { (other, other_order) };
            let entry = IndexEntry::new(one, one_order, one_n);
            prop_assert_eq!((entry.key(), entry.n()), (Some(one), one_n));
            prop_assert_eq!(
                entry.cmp(&IndexEntry::new(other, other_order, other_n)),
                values(one, one_order, one_n).cmp(&values(other, other_order, other_n))
            );
            prop_assert!(IndexEntry::MIN < entry && entry < IndexEntry::MAX);
        }
    }
}
