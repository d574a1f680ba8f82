//! JSON writer: appends pieces of text to one buffer.
//!
//! The caller is responsible for the structure; `serde_json` escapes the texts that need it.

use std::fmt::{self, Display, Write as _};

use super::read::is_plain;
use crate::message::{MessageId, Timestamp};

/// Buffer of JSON text.
pub(crate) struct Json(Vec<u8>);

impl Json {
    /// Creates an empty buffer with this capacity, in bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Continues an existing text.
    pub(crate) fn append_to(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// Returns the whole text.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Appends a piece that is already JSON.
    pub(crate) fn raw(&mut self, json: impl AsRef<[u8]>) -> &mut Self {
        self.0.extend_from_slice(json.as_ref());
        self
    }

    /// Appends a number.
    pub(crate) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// Appends a message id.
    pub(crate) fn id(&mut self, id: MessageId) -> &mut Self {
        self.between_quotes(id.write(&mut [0; 36]).as_bytes())
    }

    /// Appends a timestamp.
    pub(crate) fn time(&mut self, time: Timestamp) -> &mut Self {
        self.between_quotes(time.write(&mut [0; 27]))
    }

    /// Appends a value as a text, escaped where needed. If formatting fails, the text ends there.
    pub(crate) fn quoted(&mut self, value: impl Display) -> &mut Self {
        self.raw("\"");
        write!(Escaped(self), "{value}").unwrap_or_default();
        self.raw("\"")
    }

    /// Appends a quoted value, or `null`.
    pub(crate) fn quoted_or_null(&mut self, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.quoted(value),
            None => self.raw("null"),
        }
    }

    /// Appends any text, escaped where needed.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.raw("\"").escaped(text).raw("\"")
    }

    fn escaped(&mut self, text: &str) -> &mut Self {
        if is_plain(text) {
            return self.raw(text);
        }
        // Serializing a string cannot fail.
        let escaped = serde_json::to_string(text).unwrap_or_default();
        let inner = escaped.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        self.raw(inner.unwrap_or_default())
    }

    fn between_quotes(&mut self, text: &[u8]) -> &mut Self {
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
        self
    }

    /// Appends an object of the texts that are present; each name is written as it stands, with quotes and
    /// colon.
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

    /// Appends an array; `write` appends each item.
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

/// Writer of text between quotes, escaped as it arrives.
struct Escaped<'a>(&'a mut Json);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.escaped(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_serde_json_does() {
        for letter in ('\0'..='\u{fff}').chain(['\u{2028}', '\u{fffd}', '\u{1f600}']) {
            let text = format!("a{letter}b");
            let mut json = Json::with_capacity(0);
            json.text(&text).quoted(format_args!("a{letter}b"));
            let expected = serde_json::to_vec(&text).unwrap().repeat(2);
            assert_eq!(json.finish(), expected);
        }
    }

    #[test]
    fn commas_separate_the_present_members_and_items() {
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
