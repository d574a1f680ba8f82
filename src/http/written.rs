//! JSON as it is written: pieces of a text, one behind the other.
//!
//! What belongs together is the caller's business; what must be escaped is the library's.

use std::fmt::{Display, Write};

/// A text of JSON that grows.
pub(crate) struct Json(String);

impl Json {
    /// An empty one, with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// All of it.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    /// A piece that is JSON as it stands.
    pub(crate) fn raw(&mut self, json: &str) -> &mut Self {
        self.0.push_str(json);
        self
    }

    /// A number.
    pub(crate) fn number(&mut self, number: u32) -> &mut Self {
        // Writing to a string cannot fail.
        let _written = write!(self.0, "{number}");
        self
    }

    /// A text that prints without anything to escape, such as an id or a time.
    pub(crate) fn quoted(&mut self, value: impl Display) -> &mut Self {
        self.0.push('"');
        let _written = write!(self.0, "{value}");
        self.0.push('"');
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
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) {
            return self.raw("\"").raw(text).raw("\"");
        }
        // No text fails to be written.
        let escaped = serde_json::to_string(text).unwrap_or_default();
        self.raw(&escaped)
    }

    /// An object of texts: the members that there are.
    pub(crate) fn texts(&mut self, members: &[(&str, Option<&str>)]) -> &mut Self {
        let mut before = "{";
        for (name, text) in members {
            if let Some(text) = text {
                self.raw(before).raw("\"").raw(name).raw("\":").text(text);
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
            assert_eq!(json.finish(), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn what_there_is_stands_between_commas() {
        let mut json = Json::with_capacity(0);
        json.texts(&[("a", None), ("b", Some("")), ("c", None), ("d", Some("x"))]);
        json.texts(&[("a", None)]);
        json.array(&[1, 2], |json, number| {
            json.number(*number);
        });
        json.array(&[], |json, number| {
            json.number(*number);
        });
        assert_eq!(json.finish(), r#"{"b":"","d":"x"}{}[1,2][]"#);
    }
}
