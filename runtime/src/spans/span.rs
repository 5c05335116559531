//! One span, and how it is written as JSON. All of it is bounded: names and values are cut, what is too much is left
//! out.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use crate::trace::{SpanId, TraceContext, TraceId};

/// Most attributes of a span.
pub const ATTRIBUTES_MAX: usize = 40;
/// Most links of a span.
pub const LINKS_MAX: usize = 8;
/// Longest name of a span, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest text of an attribute, in bytes.
pub const VALUE_BYTES_MAX: usize = 256;

/// What a hop did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The trace.
    pub trace: TraceId,
    /// Its name in the trace.
    pub id: SpanId,
    /// The span on whose behalf it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<SpanId>,
    /// Other spans that carried it, or that it carried.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub links: Vec<Link>,
    /// What was done, for people.
    pub name: String,
    /// On which side.
    pub kind: SpanKind,
    /// The proxy that did it.
    pub proxy: Arc<str>,
    /// When it began, in microseconds since the Unix epoch.
    pub start: u64,
    /// How long it took, in microseconds; `None`: it is still open.
    pub duration: Option<u64>,
    /// What is known of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Whether it is exported.
    #[serde(default)]
    pub sampled: bool,
}

/// Another span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    /// Its trace.
    pub trace: TraceId,
    /// Its name there.
    pub span: SpanId,
}

impl From<&TraceContext> for Link {
    fn from(context: &TraceContext) -> Self {
        Self { trace: context.trace, span: context.span }
    }
}

/// On which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// It was asked.
    Server,
    /// It asked.
    Client,
}

impl Span {
    /// It began then.
    pub fn started(&mut self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.start = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    }

    /// Names it, cut to the bound.
    pub fn named(&mut self, name: &str) {
        self.name.clear();
        self.name.push_str(cut(name, NAME_BYTES_MAX));
    }

    /// Says what is known.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.attributes.set(key.into(), value.into());
    }

    /// Says what is known, if it is.
    pub fn maybe(&mut self, key: &'static str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.set(key, value.to_string());
        }
    }

    /// Links it to another span, while there is room.
    pub fn link(&mut self, link: Link) {
        if self.links.len() < LINKS_MAX && !self.links.contains(&link) {
            self.links.push(link);
        }
    }

    /// It failed.
    pub fn failed(&mut self, why: &str) {
        self.error = Some(cut(why, VALUE_BYTES_MAX).to_owned());
    }

    /// Whether it keeps the bounds: what came from elsewhere may not.
    pub fn is_bounded(&self) -> bool {
        let text_ok = |value: &Value| !matches!(value, Value::Text(text) if text.len() > VALUE_BYTES_MAX);
        self.name.len() <= NAME_BYTES_MAX
            && self.proxy.len() <= VALUE_BYTES_MAX
            && self.links.len() <= LINKS_MAX
            && self.attributes.0.len() <= ATTRIBUTES_MAX
            && self.attributes.0.iter().all(|(key, value)| key.len() <= NAME_BYTES_MAX && text_ok(value))
            && self.error.as_ref().is_none_or(|error| error.len() <= VALUE_BYTES_MAX)
    }
}

fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most { text } else { &text[..text.floor_char_boundary(most)] }
}

/// What is known of a span, by names of the semantic conventions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Vec<(Cow<'static, str>, Value)>);

impl Attributes {
    /// Says something; what was said before under this name is replaced.
    pub fn set(&mut self, key: Cow<'static, str>, value: Value) {
        if let Some((_, held)) = self.0.iter_mut().find(|(known, _)| *known == key) {
            *held = value;
        } else if self.0.len() < ATTRIBUTES_MAX {
            self.0.push((key, value));
        }
    }

    /// What is said under a name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The text that is said under a name.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Truth(_) => None,
        }
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A truth value.
    Truth(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(cut(text, VALUE_BYTES_MAX).to_owned())
    }
}

impl From<String> for Value {
    fn from(mut text: String) -> Self {
        text.truncate(cut(&text, VALUE_BYTES_MAX).len());
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }
    )*};
}
numbers!(u16, u32, u64, i64);

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => truth.fmt(out),
            Self::Number(number) => number.fmt(out),
            Self::Text(text) => text.fmt(out),
        }
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Attributes;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("attributes by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes = Attributes::default();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    attributes.set(Cow::Owned(key), value);
                }
                Ok(attributes)
            }
        }

        deserializer.deserialize_map(Read)
    }
}
