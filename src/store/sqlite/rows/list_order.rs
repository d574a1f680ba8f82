//! List order in the indexes: newest acceptance first, ties by id.
//!
//! An index stores one integer for a message's place in that order, which takes no more room than the time
//! alone would. Gateways state whole seconds, so many messages have the same acceptance time: for a whole
//! second the integer continues with the beginning of the id. Messages that still have the same integer are
//! sorted when they are read ([`read::in_order`](crate::store::sqlite::read::in_order)).

use crate::message::MessageId;
use crate::store::Place;

/// Number of list-order values per second.
const VALUES_PER_SECOND: i64 = 1 << 25;
/// Offset of the values that stand for an id. The values before it stand for times until the next second.
const ID_OFFSET: i64 = 1 << 20;
/// Microseconds per second.
const MICROS_PER_SECOND: i64 = 1_000_000;

/// List-order value of a place: greater for a message that comes later in lists, or equal if both were
/// accepted at the same time.
pub(crate) fn list_order(place: Place) -> i64 {
    let accepted_at = place.accepted_at.micros();
    let (second, micros) =
        (accepted_at.div_euclid(MICROS_PER_SECOND), accepted_at.rem_euclid(MICROS_PER_SECOND));
    let within = if micros == 0 {
        ID_OFFSET + id_bits(second, id_prefix(place.id))
    } else {
        MICROS_PER_SECOND - micros
    };
    within - second * VALUES_PER_SECOND
}

/// First half of an id.
fn id_prefix(id: MessageId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |prefix| u64::from_be_bytes(*prefix))
}

/// The beginning of an id in 24 bits: its first 23 bits, plus a term that separates ids that begin with a
/// time (UUID version 7) within about a second of this one. Never smaller for a greater id.
fn id_bits(second: i64, prefix: u64) -> i64 {
    const ID_TIME_LEAD_MILLIS: i64 = 524;
    // In the unit of such ids: milliseconds, then 16 bits.
    const ID_TIME_SPAN: u64 = 2_048 << 16;
    let first = u64::try_from(second * 1_000 - ID_TIME_LEAD_MILLIS).unwrap_or(0) << 16;
    let timed = prefix.clamp(first, first.saturating_add(ID_TIME_SPAN)) - first;
    // Both terms have 23 bits, so the sum always fits.
    i64::try_from((prefix >> 41) + (timed >> 4)).unwrap_or(i64::MAX)
}

/// The first id that can have this value.
pub(crate) fn first_id(value: i64) -> MessageId {
    let (second, wanted) =
        (-value.div_euclid(VALUES_PER_SECOND), value.rem_euclid(VALUES_PER_SECOND) - ID_OFFSET);
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if id_bits(second, middle) < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    MessageId::from_bytes((u128::from(high) << 64).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Timestamp;

    fn id() -> impl Strategy<Value = MessageId> {
        let anything = any::<u128>();
        let small = 0..5_000_u128;
        // Ids with a time within two seconds of the first second below.
        let timed = (-2_000..2_000_i64, any::<u128>()).prop_map(|(milliseconds, rest)| {
            let time = u128::from((1_770_907_680_000 + milliseconds).cast_unsigned());
            (time << 80) | (rest >> 48)
        });
        prop_oneof![anything, small, timed, Just(0), Just(u128::MAX)]
            .prop_map(|id| MessageId::from_bytes(id.to_be_bytes()))
    }

    fn place() -> impl Strategy<Value = Place> {
        let seconds = prop_oneof![
            Just(1_770_907_680_000_000),
            (0..3_i64).prop_map(|second| second * MICROS_PER_SECOND),
            Just(-62_167_219_200_000_000),
            Just(253_402_300_799_000_000)
        ];
        let rest = prop_oneof![Just(0), Just(1), Just(999_999), 0..MICROS_PER_SECOND];
        (seconds, rest, id()).prop_map(|(second, rest, id)| {
            let accepted_at = Timestamp::from_micros(second + rest).unwrap();
            Place { accepted_at, id }
        })
    }

    proptest! {
        #[test]
        fn values_are_in_list_order(one in place(), other in place()) {
            let (first, second) = if one <= other { (one, other) } else { (other, one) };
            prop_assert!(list_order(first) <= list_order(second), "{first:?} {second:?}");
            if first.accepted_at != second.accepted_at {
                prop_assert!(list_order(first) < list_order(second), "{first:?} {second:?}");
            }
        }

        #[test]
        fn first_id_is_the_lowest_id_of_its_value(place in place()) {
            let value = list_order(place);
            let first = first_id(value);
            prop_assert!(first <= place.id);
            if place.accepted_at.micros() % MICROS_PER_SECOND == 0 {
                prop_assert_eq!(list_order(Place { id: first, ..place }), value);
            }
        }
    }

    #[test]
    fn random_ids_of_one_second_have_distinct_values() {
        let accepted_at = Timestamp::from_micros(1_770_907_680_000_000).unwrap();
        for bits in [0, 1_770_907_680_500_u128 << 80] {
            // The ids differ only in their first bits, or in the bits after their time.
            let shift = if bits == 0 { 128 - 18 } else { 72 };
            let mut numbers: Vec<_> = (0..128_u128)
                .map(|value| MessageId::from_bytes((bits | (value << shift)).to_be_bytes()))
                .map(|id| list_order(Place { accepted_at, id }))
                .collect();
            numbers.dedup();
            assert_eq!(numbers.len(), 128);
        }
    }
}
