//! Reads JSON within bounds, and takes fields out of objects with the name of what does not fit.
//!
//! What is judged and counted is what was read here, and it is written anew before it is sent, so no reader behind
//! us can see a field that we did not.

use serde_json::{Map, Value};

/// Most values that one document may hold. Without it a body of brackets would take many times its size.
pub const VALUES_MAX: usize = 200_000;

/// An object.
pub type Object = Map<String, Value>;

/// Why a document is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(String),
    /// It is JSON, and no object.
    #[error("it is not an object")]
    NotObject,
    /// It has more than [`VALUES_MAX`] values.
    #[error("it has more than {VALUES_MAX} values")]
    TooMany,
}

/// Reads one object.
///
/// # Errors
/// When it is none, or beyond a bound.
pub fn object(bytes: &[u8]) -> Result<Object, JsonError> {
    if values(bytes) > VALUES_MAX {
        return Err(JsonError::TooMany);
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonError::NotObject),
        Err(error) => Err(JsonError::Syntax(error.to_string())),
    }
}

/// How many values a document can have at most, by what separates them.
fn values(bytes: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (1, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' | b':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// The text of a field, if it is one.
pub fn text<'v>(object: &'v Object, field: &str) -> Option<&'v str> {
    object.get(field).and_then(Value::as_str)
}

/// The list of a field; empty if it is none.
pub fn list<'v>(object: &'v Object, field: &str) -> &'v [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An owned object out of a `json!`.
pub fn map(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_and_nothing_else() {
        assert_eq!(object(br#"{"a":1}"#).unwrap().len(), 1);
        assert_eq!(object(b"[]"), Err(JsonError::NotObject));
        for bytes in [&b""[..], b"{", b"{}{}", b"\xff", b"{\"a\":\"\xff\"}", b"<html>"] {
            assert!(matches!(object(bytes), Err(JsonError::Syntax(_))), "{bytes:?}");
        }
        // Deeper than the parser goes.
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(object(deep.as_bytes()).is_err());
    }

    #[test]
    fn values_are_bounded_on_both_sides() {
        let list = |length: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(length));
        // The object, its field and the list are three; so is the first item.
        assert!(object(list(VALUES_MAX - 4).as_bytes()).is_ok());
        assert_eq!(object(list(VALUES_MAX - 3).as_bytes()), Err(JsonError::TooMany));
        // Text holds no values.
        assert!(object(format!("{{\"a\":\"{}\"}}", ",".repeat(VALUES_MAX * 2)).as_bytes()).is_ok());
    }
}
