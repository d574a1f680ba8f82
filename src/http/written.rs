//! JSON as it is written: pieces of a text, one behind the other.
//!
//! What belongs together is the caller's business; what must be escaped is the library's.

use std::fmt::Display;
use std::io::Write as _;

use crate::json::is_plain;
use crate::message::{MessageId, Timestamp};

/// A text of JSON that grows.
pub(crate) struct Json(Vec<u8>);

impl Json {
    /// An empty one, with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// One that goes on behind this.
    pub(crate) fn behind(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// All of it.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// A piece that is JSON as it stands.
    pub(crate) fn raw(&mut self, json: impl AsRef<[u8]>) -> &mut Self {
        self.0.extend_from_slice(json.as_ref());
        self
    }

    /// A number.
    pub(crate) fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        let number = number.into();
        // Writing to memory cannot fail.
        let _written = write!(self.0, "{number}");
        self
    }

    /// The id of a message.
    pub(crate) fn id(&mut self, id: MessageId) -> &mut Self {
        self.between_quotes(id.write(&mut [0; 36]).as_bytes())
    }

    /// A moment.
    pub(crate) fn time(&mut self, time: Timestamp) -> &mut Self {
        self.between_quotes(time.write(&mut [0; 27]))
    }

    /// Something else that prints without anything to escape.
    pub(crate) fn quoted(&mut self, value: impl Display) -> &mut Self {
        let _written = write!(self.0, "\"{value}\"");
        self
    }

    /// The same, or nothing.
    pub(crate) fn quoted_or_null(&mut self, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.quoted(value),
            None => self.raw("null"),
        }
    }

    /// Any text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        if is_plain(text) {
            return self.between_quotes(text.as_bytes());
        }
        // No text fails to be written.
        let escaped = serde_json::to_string(text).unwrap_or_default();
        self.raw(&escaped)
    }

    fn between_quotes(&mut self, text: &[u8]) -> &mut Self {
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
        self
    }

    /// An object of the texts that there are, each behind its name as it is written.
    pub(crate) fn texts<const N: usize>(
        &mut self,
        members: [(&'static str, Option<&str>); N],
    ) -> &mut Self {
        let mut before = "{";
        for (name, text) in members {
            if let Some(text) = text {
                self.raw(before).raw(name).text(text);
                before = ",";
            }
        }
        if before == "{" { self.raw("{}") } else { self.raw("}") }
    }

    /// An array of what is written of each.
    pub(crate) fn array<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) -> &mut Self {
        let mut before = "[";
        for item in items {
            self.raw(before);
            write(self, item);
            before = ",";
        }
        if before == "[" { self.raw("[]") } else { self.raw("]") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_the_library_writes_it() {
        for letter in ('\0'..='\u{fff}').chain(['\u{2028}', '\u{fffd}', '\u{1f600}']) {
            let text = format!("a{letter}b");
            let mut json = Json::with_capacity(0);
            json.text(&text);
            assert_eq!(json.finish(), serde_json::to_vec(&text).unwrap());
        }
    }

    #[test]
    fn what_there_is_stands_between_commas() {
        let mut json = Json::with_capacity(0);
        json.texts([
            (r#""a":"#, None),
            (r#""b":"#, Some("")),
            (r#""c":"#, None),
            (r#""d":"#, Some("x")),
        ]);
        json.texts([(r#""a":"#, None)]);
        json.array(&[1_u32, 2], |json, number| {
            json.number(*number);
        });
        json.array(&[0_u32; 0], |json, number| {
            json.number(*number);
        });
        assert_eq!(json.finish(), br#"{"b":"","d":"x"}{}[1,2][]"#);
    }
}
