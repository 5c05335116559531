//! Ids of requests, and how long they and other names may be.

use std::sync::Arc;

use serde_json::Value;

/// How long a method, a name or an id may be, in bytes. Longer ones are no names, but an attack on logs.
pub const NAME_MAX: usize = 4096;

/// What a request is answered by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// A text.
    Text(Arc<str>),
    /// An integer.
    Number(i64),
    /// An integer beyond `i64`.
    Large(u64),
}

impl Id {
    /// As JSON.
    pub fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(&**text),
            Self::Number(number) => Value::from(*number),
            Self::Large(number) => Value::from(*number),
        }
    }

    /// Of JSON: a text of bounded length or an integer.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) if text.len() <= NAME_MAX => Some(Self::Text(text.as_str().into())),
            Value::Number(number) => {
                number.as_i64().map(Self::Number).or_else(|| number.as_u64().map(Self::Large))
            }
            _ => None,
        }
    }
}
