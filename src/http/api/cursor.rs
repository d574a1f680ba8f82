//! Cursor: the opaque text that says where the next page of a list begins.
//!
//! A cursor contains a version, the database's lineage, a place, and a hash that ties them to one list. The
//! hash is not a secret: it tells a cursor of this list from any other text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;
use crate::message::{Channel, MessageId, Timestamp};
use crate::store::{Key, Place, SearchFilter};

/// Version of the cursors written by this program.
const VERSION: u8 = 1;
/// Bytes of the hash at the end of a cursor.
const HASH_BYTES: usize = 8;

/// List that a cursor belongs to.
pub(crate) struct List {
    name: String,
    /// Name of the list in cursors of version 0.1.0, if it differs.
    legacy_name: Option<String>,
}

impl List {
    /// List of the messages under a key.
    pub(crate) fn for_key(key: &Key) -> Self {
        let name = match key {
            Key::Destination(number) => format!("destination\n{number}"),
            Key::Reference(key) => format!("reference\n{key}"),
            Key::Foreign { source, id } => format!("provider\n{source}\n{id}"),
        };
        Self { name, legacy_name: None }
    }

    /// List of the messages that a search finds.
    pub(crate) fn for_search(search: &SearchFilter) -> Self {
        let SearchFilter { from, to, statuses, channel, source, provider_code, has_destination } =
            search;
        let mut name = form_urlencoded::Serializer::new(String::from("messages\n"));
        let mut add_filter = |filter, value: Option<&str>| {
            if let Some(value) = value {
                name.append_pair(filter, value);
            }
        };
        add_filter("from", from.map(|time| time.to_string()).as_deref());
        add_filter("to", to.map(|time| time.to_string()).as_deref());
        for status in statuses {
            add_filter("status", Some(status.name()));
        }
        add_filter("channel", channel.map(Channel::name));
        add_filter("source", source.as_deref());
        add_filter("code", provider_code.as_deref());
        add_filter(
            "destination",
            has_destination.map(|with| if with { "with" } else { "without" }),
        );
        // Written out, because a renamed field must not change what version 0.1.0 hashed.
        let legacy_name = Some(format!(
            "messages\nWanted {{ from: {from:?}, to: {to:?}, statuses: {statuses:?}, channel: {channel:?}, \
             source: {source:?}, provider_code: {provider_code:?}, has_number: {has_destination:?} }}"
        ));
        Self { name: name.finish(), legacy_name }
    }

    /// Creates the cursor of a place, in a database of this lineage.
    pub(crate) fn cursor(&self, lineage: u32, place: Place) -> String {
        let mut cursor = vec![VERSION];
        cursor.extend(lineage.to_be_bytes());
        cursor.extend(place_bytes(place));
        cursor.extend(list_hash(&cursor, &self.name));
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// Parses a cursor of this list, from a database of this lineage.
    pub(crate) fn parse_place(&self, lineage: u32, cursor: &str) -> Result<Place, StaleCursor> {
        let cursor = URL_SAFE_NO_PAD.decode(cursor).map_err(|_other| StaleCursor::Unknown)?;
        let (cursor_lineage, place) = self
            .versioned(&cursor)
            .or_else(|| Some((0, self.unversioned(&cursor)?)))
            .ok_or(StaleCursor::Unknown)?;
        if cursor_lineage == lineage { Ok(place) } else { Err(StaleCursor::Restored) }
    }

    fn versioned(&self, cursor: &[u8]) -> Option<(u32, Place)> {
        let (hashed, hash) = cursor.split_last_chunk::<HASH_BYTES>()?;
        let (version, rest) = hashed.split_first()?;
        let (lineage, rest) = rest.split_first_chunk()?;
        let is_valid = *version == VERSION && list_hash(hashed, &self.name) == hash;
        is_valid.then(|| Some((u32::from_be_bytes(*lineage), decode_place(rest)?)))?
    }

    /// Parses a cursor of version 0.1.0, which has neither version nor lineage.
    fn unversioned(&self, cursor: &[u8]) -> Option<Place> {
        let (hashed, hash) = cursor.split_last_chunk::<HASH_BYTES>()?;
        let name = self.legacy_name.as_ref().unwrap_or(&self.name);
        (list_hash(hashed, name) == hash).then(|| decode_place(hashed))?
    }
}

/// Rejection of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaleCursor {
    /// Not a cursor of this list, or one of an unknown version.
    Unknown,
    /// The database was restored from a backup after the cursor was issued.
    Restored,
}

impl From<StaleCursor> for Problem {
    fn from(stale: StaleCursor) -> Self {
        let detail = match stale {
            StaleCursor::Unknown => {
                "This cursor belongs to another list, to other filters or to another version of \
                 the service. Start without a cursor."
            }
            StaleCursor::Restored => {
                "The database was restored from a backup after this cursor was issued, so earlier \
                 pages may differ from the messages that are stored now. Start without a cursor."
            }
        };
        Self::BadRequest(detail.to_owned())
    }
}

fn place_bytes(place: Place) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (time, id) = bytes.split_at_mut(8);
    time.copy_from_slice(&place.accepted_at.micros().to_be_bytes());
    id.copy_from_slice(place.id.as_bytes());
    bytes
}

/// Parses the output of [`place_bytes`].
fn decode_place(bytes: &[u8]) -> Option<Place> {
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    Some(Place {
        accepted_at: Timestamp::from_micros(i64::from_be_bytes(*micros))?,
        id: MessageId::from_bytes(id.try_into().ok()?),
    })
}

/// Hash of a cursor's content and its list.
fn list_hash(hashed: &[u8], list: &str) -> Vec<u8> {
    let digest = Sha256::new().chain_update(hashed).chain_update(list).finalize();
    digest.into_iter().take(HASH_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Status;

    fn example_place() -> Place {
        Place {
            accepted_at: "2026-02-12T14:49:00Z".parse().unwrap(),
            id: "b31b6607-9c55-48ba-b145-3f40b809d2d2".parse().unwrap(),
        }
    }

    /// Cursor of version 0.1.0.
    fn unversioned(name: &str) -> String {
        let mut cursor = Vec::from(place_bytes(example_place()));
        cursor.extend(list_hash(&place_bytes(example_place()), name));
        URL_SAFE_NO_PAD.encode(cursor)
    }

    #[test]
    fn a_cursor_is_valid_only_for_its_list_lineage_and_version() {
        let search = SearchFilter { statuses: vec![Status::Sent], ..SearchFilter::default() };
        let (list, other) = (List::for_search(&search), List::for_search(&SearchFilter::default()));
        let cursor = list.cursor(7, example_place());
        assert_eq!(list.parse_place(7, &cursor), Ok(example_place()));
        assert_eq!(list.parse_place(8, &cursor), Err(StaleCursor::Restored));
        assert_eq!(list.parse_place(0, &cursor), Err(StaleCursor::Restored));
        assert_eq!(other.parse_place(7, &cursor), Err(StaleCursor::Unknown));
        let mut later = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        later[0] = 2;
        assert_eq!(list.parse_place(7, &URL_SAFE_NO_PAD.encode(&later)), Err(StaleCursor::Unknown));
        for text in ["", "x", "AAAA", cursor.trim_start_matches('A'), &format!("{cursor}A")] {
            assert_eq!(list.parse_place(7, text), Err(StaleCursor::Unknown), "{text}");
        }
    }

    #[test]
    fn cursors_of_version_0_1_0_are_accepted() {
        let (number, search) = ("+393331234567".parse().unwrap(), SearchFilter::default());
        for (list, name) in [
            (List::for_key(&Key::Destination(number)), "destination\n+393331234567".to_owned()),
            (List::for_key(&Key::Reference("k".to_owned())), "reference\nk".to_owned()),
            (
                List::for_search(&search),
                "messages\nWanted { from: None, to: None, statuses: [], channel: None, source: None, \
                 provider_code: None, has_number: None }"
                    .to_owned(),
            ),
        ] {
            let cursor = unversioned(&name);
            assert_eq!(list.parse_place(0, &cursor), Ok(example_place()));
            assert_eq!(list.parse_place(1, &cursor), Err(StaleCursor::Restored));
        }
    }
}
