//! Lists of messages, newest acceptance first: their keys, and the rendered messages.

use std::cmp::{Ordering, Reverse};
use std::mem;
use std::ops::Range;

use crate::message::{Destination, MessageId, Shown, Timestamp};

/// Key of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The destination.
    Destination(Destination),
    /// The client's reference key.
    Reference(String),
    /// The provider's own id, at one source.
    Foreign {
        /// The source's name.
        source: String,
        /// The provider's id.
        id: String,
    },
}

/// Page of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Maximum number of messages.
    pub count: u32,
    /// Only messages accepted strictly before this time.
    pub before: Option<Timestamp>,
    /// Only messages after this place.
    pub after: Option<Place>,
}

/// A message's place in a list: newest acceptance first, ties by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Time of acceptance.
    pub accepted_at: Timestamp,
    /// The message's id.
    pub id: MessageId,
}

impl Place {
    /// The first possible place.
    pub const FIRST: Self =
        Self { accepted_at: Timestamp::LATEST, id: MessageId::from_bytes([0; 16]) };

    /// The place after all messages accepted at this time or later.
    pub fn after_all_accepted_at(accepted_at: Timestamp) -> Self {
        Self { accepted_at, id: MessageId::from_bytes([u8::MAX; 16]) }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |place: &Self| (Reverse(place.accepted_at), place.id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Function that renders a message and appends it to the text.
pub type Write = fn(&mut Vec<u8>, &Shown<'_>);

/// A part of a list. Rows are rendered into one text as they are read; nothing else of them is kept.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The messages, in order.
    pub messages: Vec<Listed>,
    /// Whether the list continues after these messages.
    pub more: bool,
    /// Rendered messages, in any order.
    text: Vec<u8>,
}

/// A message in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Place of the message.
    pub place: Place,
    /// Byte range of the message in the text.
    text: Range<usize>,
}

impl Listing {
    /// Adds a message at the end.
    pub fn add(&mut self, message: &Shown<'_>, write: Write) {
        let place = Place { accepted_at: message.accepted_at, id: message.id };
        let start = self.text.len();
        write(&mut self.text, message);
        self.messages.push(Listed { place, text: start..self.text.len() });
    }

    /// Sorts the messages into list order and keeps the first `count`, with their texts.
    pub fn keep_first(&mut self, count: usize) {
        self.messages.sort_by_key(|message| message.place);
        if self.messages.len() > count {
            self.messages.truncate(count);
            let before = mem::take(&mut self.text);
            for Listed { text, .. } in &mut self.messages {
                let start = self.text.len();
                self.text.extend_from_slice(before.get(text.clone()).unwrap_or_default());
                *text = start..self.text.len();
            }
        }
    }

    /// Removes all but the first `count` messages added.
    pub fn cut(&mut self, count: usize) {
        self.messages.truncate(count);
    }

    /// Appends the messages of another listing.
    pub fn append(&mut self, other: &Self) {
        for message in &other.messages {
            let start = self.text.len();
            self.text.extend_from_slice(other.text_of(message));
            self.messages.push(Listed { place: message.place, text: start..self.text.len() });
        }
    }

    /// Rendered text of a message.
    pub fn text_of(&self, message: &Listed) -> &[u8] {
        self.text.get(message.text.clone()).unwrap_or_default()
    }
}
