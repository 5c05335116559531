//! From a tree to a type, strictly: what is unknown, missing or of the wrong type is named by its field.

use std::fmt;

use api::Reason;
use serde::{
    Deserializer, de,
    de::{DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    fault::Fault,
    nearest::nearest,
    node::{Key, Node, Value},
};

/// What a field that is written with no value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// It is an error: in a policy, a field left blank by mistake must not widen anything.
    Refuse,
    /// It is as if it were not written, as an API server takes it in Kubernetes' own kinds.
    Drop,
}

/// Most characters of a user's text that an error repeats.
const SHOWN_MAX: usize = 64;

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'de> {
    pub(super) node: &'de Node,
    pub(super) nulls: Nulls,
    /// Whether this is the whole object: its metadata and status are written by machines, nulls and all.
    pub(super) root: bool,
}

impl<'de> Decoder<'de> {
    fn inner(&self, node: &'de Node, key: Option<&str>) -> Self {
        let machine = self.root && key.is_some_and(|key| key == "metadata" || key == "status");
        Self { node, nulls: if machine { Nulls::Drop } else { self.nulls }, root: false }
    }

    fn any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(Fault::invalid("is a number beyond all bounds")),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { from: self, items: items.iter(), index: 0 }),
            Value::Map(entries) => {
                visitor.visit_map(Entries { from: self, entries: entries.iter(), value: None })
            }
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor).map_err(|fault| fault.on_line(self.node.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match (&self.node.value, self.nulls) {
            (Value::Null, Nulls::Drop) => visitor.visit_none(),
            (Value::Null, Nulls::Refuse) => Err(blank().on_line(self.node.line)),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let answer = match &self.node.value {
            Value::Text(text) => {
                let variant: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            Value::Null => Err(blank()),
            other => Err(Fault::invalid(format!(
                "is {}, where one of {} is needed",
                shown(other),
                variants.join(", ")
            ))),
        };
        answer.map_err(|fault| fault.on_line(self.node.line))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

struct Items<'de> {
    from: Decoder<'de>,
    items: std::slice::Iter<'de, Node>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(self.from.inner(node, None)).map(Some).map_err(|fault| fault.item(index))
    }
}

struct Entries<'de> {
    from: Decoder<'de>,
    entries: std::slice::Iter<'de, (Key, Node)>,
    value: Option<&'de (Key, Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let next =
            self.entries.by_ref().find(|(_, node)| self.from.nulls == Nulls::Refuse || !node.is_null());
        let Some(entry) = next else { return Ok(None) };
        self.value = Some(entry);
        let key: StrDeserializer<'_, Fault> = entry.0.text.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.within(&entry.0.text).on_line(entry.0.line))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(Fault::invalid("has a value without a key"));
        };
        // A value that begins on the next line is a list or a map; its field is named on the line of its key.
        seed.deserialize(self.from.inner(node, Some(&key.text)))
            .map_err(|fault| fault.within(&key.text).on_line(key.line))
    }
}

fn blank() -> Fault {
    Fault::invalid("is left blank").remedy("write a value, or take the field out")
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::invalid(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        if found == de::Unexpected::Unit {
            return blank();
        }
        let wanted = wanted(&expected.to_string());
        let fault = Self::invalid(format!("is {}, where {wanted} is needed", unexpected(found)));
        match found {
            de::Unexpected::Bool(_)
            | de::Unexpected::Unsigned(_)
            | de::Unexpected::Signed(_)
            | de::Unexpected::Float(_)
                if wanted == "a text" =>
            {
                fault.remedy("write it in quotes")
            }
            de::Unexpected::Str(_) if wanted.starts_with("a number") => {
                fault.remedy("write it without quotes")
            }
            _ => fault,
        }
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid(format!("is {}, where {} is needed", unexpected(found), wanted(&expected.to_string())))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let fault =
            Self::invalid(format!("is {:?}, where one of {} is needed", cut(found), expected.join(", ")));
        match nearest(found, expected) {
            Some(near) => fault.remedy(format!("did you mean {near}?")),
            None => fault,
        }
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        let fault = Self::new(Reason::UnknownField, "unknown field");
        match nearest(found, expected) {
            Some(near) => fault.remedy(format!("did you mean {near}?")),
            None if expected.is_empty() => fault.remedy("there are no fields here; take it out"),
            None => fault.remedy(format!("the fields here are {}", expected.join(", "))),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Reason::MissingField, "is missing").remedy("write it").within(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::conflict("stands there twice").within(field)
    }
}

/// What serde expected, in words of the people who write YAML.
fn wanted(expected: &str) -> String {
    let words = match expected {
        "u8" => "a number of 0 to 255",
        "u16" => "a number of 0 to 65535",
        "u32" => "a number of 0 to 4294967295",
        "i64" | "u64" | "i32" => "a whole number",
        "a JSON number" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" | "str" => "a text",
        "a map" => "a map of fields",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a map of fields",
        other => other,
    };
    words.to_owned()
}

fn unexpected(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(flag) => flag.to_string(),
        de::Unexpected::Unsigned(number) => number.to_string(),
        de::Unexpected::Signed(number) => number.to_string(),
        de::Unexpected::Float(number) => number.to_string(),
        de::Unexpected::Str(text) => format!("the text {:?}", cut(text)),
        de::Unexpected::Unit => "blank".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map of fields".to_owned(),
        other => other.to_string(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "blank".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("{:?}", cut(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map of fields".to_owned(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}
