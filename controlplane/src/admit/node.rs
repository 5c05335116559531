//! A document as a tree that remembers its lines, before it is any kind.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

use super::fault::{Fault, Segment};

/// Deepest nesting of maps and lists in a document: reading is recursive, and a stack has an end.
pub(crate) const DEPTH_MAX: usize = 32;

/// A value and the line on which it begins, counted from 1 in its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) line: u64,
}

impl Node {
    /// The value of a field, if this is a map that has it.
    pub(crate) fn get(&self, field: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.text == field).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub(crate) fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// True if nothing is written here.
    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// True if this is a map.
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// The line on which it begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Moves it down by so many lines: its text began further down in a file.
    pub(crate) fn shift(&mut self, lines: u64) {
        self.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => {
                for (key, node) in entries {
                    key.line += lines;
                    node.shift(lines);
                }
            }
            _ => {}
        }
    }

    /// The line of the part that a fault speaks of, or of what is nearest to it.
    pub(super) fn line_of(&self, fault: &Fault) -> u64 {
        let mut node = self;
        let mut line = self.line;
        for segment in fault.path() {
            let next = match (segment, &node.value) {
                (Segment::Key(field), Value::Map(entries)) => {
                    entries.iter().find(|(key, _)| key.text == *field).map(|(key, node)| (key.line, node))
                }
                (Segment::Index(index), Value::List(items)) => {
                    items.get(*index).map(|node| (node.line, node))
                }
                _ => None,
            };
            match next {
                Some((at, inner)) => (line, node) = (at, inner),
                None => break,
            }
        }
        line
    }
}

/// From JSON, which has no lines: all are 0.
impl From<serde_json::Value> for Node {
    fn from(value: serde_json::Value) -> Self {
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(flag),
            serde_json::Value::Number(number) => Value::Number(number),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(items) => Value::List(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(entries) => Value::Map(
                entries.into_iter().map(|(text, value)| (Key { text, line: 0 }, Self::from(value))).collect(),
            ),
        };
        Self { line: 0, value }
    }
}

/// Read by `serde-saphyr` alone, which tells the lines.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(from)?;
        Ok(Self { line: spanned.referenced.line(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> de::Visitor<'de> for Anything {
            type Value = Value;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("YAML")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
                Value::deserialize(from)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                Ok(Value::Bool(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Number(number.into()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
                serde_json::Number::from_f64(number)
                    .map(Value::Number)
                    .ok_or_else(|| E::custom("is a number without a finite value"))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(Value::Text(text))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = from.next_element::<Node>()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = from.next_key::<Spanned<String>>()? {
                    let key = Key { line: key.referenced.line(), text: key.value };
                    entries.push((key, from.next_value::<Node>()?));
                }
                Ok(Value::Map(entries))
            }
        }

        from.deserialize_any(Anything)
    }
}
