//! The same JSON, written differently.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How many objects deep members are moved.
const DEPTH: usize = 4;

/// With white space wherever there may be some.
pub fn spaced(json: &str) -> String {
    let mut text = String::new();
    let (mut inside, mut escaped) = (false, false);
    for letter in json.chars() {
        let is_structure = !inside && "{}[]:,".contains(letter);
        if is_structure {
            text.push_str(" \n");
        }
        text.push(letter);
        if is_structure {
            text.push_str("\t\r");
        }
        if letter == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && letter == '\\' && !escaped;
    }
    text
}

/// With the members of its objects in the reverse order.
pub fn reversed(json: &str) -> String {
    reverse(json, DEPTH)
}

fn reverse(json: &str, depth: usize) -> String {
    let Ok(Members(members)) = serde_json::from_str(json) else { return json.to_owned() };
    if depth == 0 {
        return json.to_owned();
    }
    let written = members.iter().rev().map(|(name, value)| {
        let name = serde_json::Value::from(name.as_str());
        format!("{name}:{}", reverse(value.get(), depth - 1))
    });
    format!("{{{}}}", written.collect::<Vec<_>>().join(","))
}

/// Every member of an object, those of the same name too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
