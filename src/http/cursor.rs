//! The opaque text that says where the next page begins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::message::{MessageId, Timestamp};
use crate::store::{Key, Place};

const CHECK_BYTES: usize = 8;

/// The cursor of a place in the list that is called so.
pub(crate) fn write(list: &str, place: Place) -> String {
    let place = bytes(place);
    let mut cursor = place.to_vec();
    cursor.extend(check(list, &place));
    URL_SAFE_NO_PAD.encode(cursor)
}

/// The place that a cursor of the list says that is called so; none if it was not given for this list.
pub(crate) fn read(list: &str, cursor: &str) -> Option<Place> {
    let cursor = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (micros, rest) = cursor.split_first_chunk::<8>()?;
    let (id, checked) = rest.split_first_chunk::<16>()?;
    let place = Place {
        accepted_at: Timestamp::from_micros(i64::from_be_bytes(*micros))?,
        id: MessageId::from_bytes(*id),
    };
    (check(list, &bytes(place)) == checked).then_some(place)
}

fn bytes(place: Place) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (time, id) = bytes.split_at_mut(8);
    time.copy_from_slice(&place.accepted_at.micros().to_be_bytes());
    id.copy_from_slice(place.id.as_bytes());
    bytes
}

/// What the list under a key is called where cursors are checked.
pub(crate) fn of_key(key: &Key) -> String {
    match key {
        Key::Destination(number) => format!("destination\n{number}"),
        Key::Reference(key) => format!("reference\n{key}"),
        Key::Foreign { source, id } => format!("provider\n{source}\n{id}"),
    }
}

/// Tells a cursor of ours from any other text, and of one list from that of another.
fn check(list: &str, place: &[u8]) -> Vec<u8> {
    let digest = Sha256::new().chain_update(place).chain_update(list).finalize();
    digest.into_iter().take(CHECK_BYTES).collect()
}
