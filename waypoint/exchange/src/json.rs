//! Reads JSON within bounds, so that nobody downstream can read it another way.
//!
//! A message is judged by what is read here and then sent on as the bytes that arrived, so a second reader must
//! come to the same conclusion: a key that stands twice is refused, and in what callers send also a key that
//! stands twice but for case, since some readers do not tell these apart.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep a message may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values (objects, arrays and leaves) a message may hold.
pub const VALUES_MAX: usize = 200_000;
/// How many values what a server says may hold: room for a list of 10,000 tools.
pub const ANSWER_VALUES_MAX: usize = 1_000_000;
/// How much of a key an error repeats.
const KEY_SHOWN_MAX: usize = 64;

/// Which keys of one object count as one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Equal ones.
    Equal,
    /// Those that are equal but for case, too.
    EqualButForCase,
}

/// Why bytes are no JSON that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(String),
    /// Deeper than [`DEPTH_MAX`].
    #[error("it nests deeper than {DEPTH_MAX}")]
    TooDeep,
    /// More values than [`VALUES_MAX`].
    #[error("it holds too many values")]
    TooMany,
    /// A key stands twice in one object.
    #[error("the key {0:?} stands twice in one object")]
    KeyTwice(String),
    /// Two keys of one object differ only by case.
    #[error("the key {0:?} stands twice in one object, differing only by case")]
    KeyTwiceButForCase(String),
}

/// Reads one JSON value, and nothing after it.
///
/// # Errors
/// When it is not JSON, or beyond a bound.
pub fn parse(bytes: &[u8], keys: Keys) -> Result<Value, JsonError> {
    parse_within(bytes, keys, VALUES_MAX)
}

/// As [`parse`], for what servers say.
///
/// # Errors
/// When it is not JSON, or beyond a bound.
pub fn parse_answer(bytes: &[u8], keys: Keys) -> Result<Value, JsonError> {
    parse_within(bytes, keys, ANSWER_VALUES_MAX)
}

fn parse_within(bytes: &[u8], keys: Keys, values_max: usize) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let bounds = Bounds { keys, left: Cell::new(values_max), broken: RefCell::new(None) };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Reader { depth: 0, bounds: &bounds }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| bounds.broken.take().unwrap_or_else(|| JsonError::Syntax(error.to_string())))
}

/// What one reading may still use up, and the bound that it broke.
struct Bounds {
    keys: Keys,
    left: Cell<usize>,
    broken: RefCell<Option<JsonError>>,
}

impl Bounds {
    fn break_with<E: serde::de::Error>(&self, error: JsonError) -> E {
        let said = E::custom(&error);
        *self.broken.borrow_mut() = Some(error);
        said
    }

    fn take_one<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.break_with(JsonError::TooMany)),
        }
    }
}

struct Reader<'b> {
    depth: usize,
    bounds: &'b Bounds,
}

impl Reader<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.bounds.break_with(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, bounds: self.bounds })
    }

    fn again(&self) -> Self {
        Self { depth: self.depth, bounds: self.bounds }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.bounds.take_one()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number beyond bounds"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner.again())? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        let mut folded = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.bounds.break_with(JsonError::KeyTwice(shown(&key))));
            }
            if self.bounds.keys == Keys::EqualButForCase && !folded.insert(fold(&key)) {
                return Err(self.bounds.break_with(JsonError::KeyTwiceButForCase(shown(&key))));
            }
            let value = entries.next_value_seed(inner.again())?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// The key without case. Through upper case, so that letters with several lower cases fall together (`ſ` and `s`).
pub fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn shown(key: &str) -> String {
    key.chars().take(KEY_SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), JsonError>) {
        assert_eq!(parse(text.as_bytes(), Keys::EqualButForCase).map(|_| ()), expected, "{text}");
    }

    #[test]
    fn json_is_read() {
        let text = r#"{"a":[1,-2,3.5,null,true,"x\u0061"],"b":{}}"#;
        let value = parse(text.as_bytes(), Keys::Equal).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn depth_is_bounded_on_both_sides() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check(&nested(DEPTH_MAX), Ok(()));
        check(&nested(DEPTH_MAX + 1), Err(JsonError::TooDeep));
        check(&nested(100_000), Err(JsonError::TooDeep));
    }

    #[test]
    fn values_are_bounded_on_both_sides() {
        let list = |length: usize| format!("[{}1]", "1,".repeat(length - 1));
        check(&list(VALUES_MAX - 1), Ok(()));
        check(&list(VALUES_MAX), Err(JsonError::TooMany));
    }

    #[test]
    fn a_key_stands_once() {
        check(r#"{"a":1,"b":1}"#, Ok(()));
        check(r#"{"a":1,"a":1}"#, Err(JsonError::KeyTwice("a".into())));
        check(r#"{"a":1,"\u0061":1}"#, Err(JsonError::KeyTwice("a".into())));
        check(r#"[{"x":{"name":1,"name":2}}]"#, Err(JsonError::KeyTwice("name".into())));
    }

    #[test]
    fn a_key_stands_once_whatever_its_case() {
        check(r#"{"name":1,"Name":1}"#, Err(JsonError::KeyTwiceButForCase("Name".into())));
        check("{\"params\":1,\"param\u{17f}\":1}", Err(JsonError::KeyTwiceButForCase("param\u{17f}".into())));
        check("{\"k\":1,\"\u{212a}\":1}", Err(JsonError::KeyTwiceButForCase("\u{212a}".into())));
        assert!(parse(br#"{"name":1,"Name":1}"#, Keys::Equal).is_ok());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert_eq!(parse(b"\"\xff\"", Keys::Equal), Err(JsonError::NotUtf8));
        for text in ["", "{", "{} {}", "nul", "\u{feff}{}", "{'a':1}", "[1,]", "1e999", "NaN", "\"\u{0}\""] {
            let error = parse(text.as_bytes(), Keys::Equal).unwrap_err();
            assert!(matches!(error, JsonError::Syntax(_)), "{text}: {error}");
        }
    }
}
