//! Lists of messages, newest acceptance first: what they are made by, and what was written of each message.

use std::cmp::Reverse;
use std::mem;
use std::ops::Range;

use crate::message::{Destination, MessageId, Shown, Timestamp};

/// What messages are listed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The recipient.
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

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// At most so many.
    pub count: u32,
    /// Only messages accepted strictly before this.
    pub before: Option<Timestamp>,
    /// Only messages after this place.
    pub after: Option<Place>,
}

/// A message's place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Its name.
    pub id: MessageId,
}

/// Adds what is shown of a message to a text.
pub type Write = fn(&mut Vec<u8>, &Shown<'_>);

/// A part of a list. Of the many rows of a list only what was written of them is kept, all in one text.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The messages, in order.
    pub messages: Vec<Listed>,
    /// Whether the list goes on after them.
    pub more: bool,
    /// What was written of them, in whatever order.
    text: Vec<u8>,
}

/// A message of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Where it stands.
    pub place: Place,
    /// Where it is in the text.
    text: Range<usize>,
}

impl Listing {
    /// Adds a message behind the others.
    pub fn add(&mut self, message: &Shown<'_>, write: Write) {
        let place = Place { accepted_at: message.accepted_at, id: message.id };
        let start = self.text.len();
        write(&mut self.text, message);
        self.messages.push(Listed { place, text: start..self.text.len() });
    }

    /// Brings the messages into the order of lists, and leaves so many, with what was written of them.
    pub fn keep_first(&mut self, count: usize) {
        self.messages.sort_by_key(|message| (Reverse(message.place.accepted_at), message.place.id));
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

    /// What was written of one of its messages.
    pub fn text_of(&self, message: &Listed) -> &[u8] {
        self.text.get(message.text.clone()).unwrap_or_default()
    }
}
