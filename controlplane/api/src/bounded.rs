//! Texts, lists and maps that carry their own limits, so that no kind can forget to have one.
//!
//! A limit stands in the type: the parser refuses what is beyond it, and the CRD's schema states it
//! (`maxLength`, `maxItems`, `maxProperties`), from one number.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// Most labels or annotations, or entries of another map of texts.
pub const ENTRIES_MAX: usize = 256;
/// Longest key of such a map: a DNS prefix, a slash and a name.
pub const KEY_BYTES_MAX: usize = 317;
/// Longest value of such a map. Kubernetes bounds annotations only together, by 256 KiB.
pub const VALUE_BYTES_MAX: usize = 262_144;

/// A text of 1 to `MAX` characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text, if it is neither empty nor too long.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty() && text.chars().count() <= MAX).then_some(Self(text))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> PartialEq<str> for Text<MAX> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl<const MAX: usize> PartialEq<&str> for Text<MAX> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let length = text.chars().count();
        if length == 0 {
            return Err(de::Error::custom("is empty: write at least one character, or leave the field out"));
        }
        if length > MAX {
            return Err(de::Error::custom(format_args!(
                "has {length} characters, at most {MAX} are allowed"
            )));
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> JsonSchema for Text<MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX})
    }
}

/// A list of `MIN` to `MAX` items. A field that holds one is empty only if it was left out (or `MIN` is 0).
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize, const MIN: usize = 1>(Vec<T>);

impl<T, const MAX: usize, const MIN: usize> List<T, MAX, MIN> {
    /// The items, if they are not too many.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }

    /// True if there are no items.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The items as a vector.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize, const MIN: usize> Default for List<T, MAX, MIN> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize, const MIN: usize> Deref for List<T, MAX, MIN> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MAX: usize, const MIN: usize> IntoIterator for &'a List<T, MAX, MIN> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: fmt::Debug, const MAX: usize, const MIN: usize> fmt::Debug for List<T, MAX, MIN> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize, const MIN: usize> Deserialize<'de> for List<T, MAX, MIN> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize, const MIN: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize, const MIN: usize> de::Visitor<'de> for Items<T, MAX, MIN> {
            type Value = Vec<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a list of {MIN} to {MAX} items")
            }

            // Counted while they are read, so that a list beyond the limit is never held whole.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = from.next_element()? {
                    if items.len() == MAX {
                        return Err(de::Error::custom(format_args!("has more than {MAX} items")));
                    }
                    items.push(item);
                }
                if items.len() < MIN {
                    return Err(de::Error::custom(
                        "is an empty list: write at least one item, or leave the field out if it may be left out",
                    ));
                }
                Ok(items)
            }
        }

        from.deserialize_seq(Items::<T, MAX, MIN>(PhantomData)).map(Self)
    }
}

impl<T: JsonSchema, const MAX: usize, const MIN: usize> JsonSchema for List<T, MAX, MIN> {
    fn schema_name() -> Cow<'static, str> {
        format!("List{MIN}To{MAX}Of{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        if MIN == 0 {
            json_schema!({"type": "array", "maxItems": MAX, "items": items})
        } else {
            json_schema!({"type": "array", "minItems": MIN, "maxItems": MAX, "items": items})
        }
    }
}

/// A map of texts: labels, annotations, a selector.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Texts(BTreeMap<String, String>);

impl Texts {
    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key, as text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// True if `other` has every entry of this map.
    pub fn are_all_in(&self, other: &Texts) -> bool {
        self.0.iter().all(|(key, value)| other.text(key) == Some(value))
    }
}

impl Deref for Texts {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<(String, String)> for Texts {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, String>::deserialize(from)?;
        if entries.len() > ENTRIES_MAX {
            return Err(de::Error::custom(format_args!("has more than {ENTRIES_MAX} entries")));
        }
        for (key, value) in &entries {
            if key.is_empty() || key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
                let shown: String = key.chars().take(KEY_BYTES_MAX).collect();
                return Err(de::Error::custom(format_args!(
                    "has an entry {shown:?} that is empty or too long"
                )));
            }
        }
        Ok(Self(entries))
    }
}

impl JsonSchema for Texts {
    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Label values have at most 63 characters; our own kinds hold nothing but labels.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"type": "string", "maxLength": 253},
        })
    }
}

/// Longest key of a [`Map`], in characters.
pub const MAP_KEY_MAX: usize = 256;

/// A map of 1 to `MAX` entries. A field that holds one is empty only if it was left out.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Map<T, const MAX: usize>(BTreeMap<String, T>);

impl<T, const MAX: usize> Map<T, MAX> {
    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T, const MAX: usize> Default for Map<T, MAX> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T, const MAX: usize> Deref for Map<T, MAX> {
    type Target = BTreeMap<String, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for Map<T, MAX> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Map<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> de::Visitor<'de> for Entries<T, MAX> {
            type Value = BTreeMap<String, T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a map of 1 to {MAX} entries")
            }

            // Counted while they are read, so that a map beyond the limit is never held whole.
            fn visit_map<A: de::MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = from.next_key::<String>()? {
                    if entries.len() == MAX {
                        return Err(de::Error::custom(format_args!("has more than {MAX} entries")));
                    }
                    let length = key.chars().count();
                    if length == 0 || length > MAP_KEY_MAX {
                        return Err(de::Error::custom(format_args!(
                            "has a key of {length} characters, where 1 to {MAP_KEY_MAX} are needed"
                        )));
                    }
                    entries.insert(key, from.next_value()?);
                }
                if entries.is_empty() {
                    return Err(de::Error::custom(
                        "is an empty map: write at least one entry, or leave the field out if it may be left out",
                    ));
                }
                Ok(entries)
            }
        }

        from.deserialize_map(Entries::<T, MAX>(PhantomData)).map(Self)
    }
}

impl<T: JsonSchema, const MAX: usize> JsonSchema for Map<T, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("MapTo{MAX}Of{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    // A schema has no word for the length of keys; CEL has.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX,
            "additionalProperties": values,
            "x-kubernetes-validations": [{
                "rule": "self.all(k, size(k) >= 1 && size(k) <= 256)",
                "message": "a key has 1 to 256 characters",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Result<Text<3>, serde_json::Error> {
        serde_json::from_value("é".repeat(length).into())
    }

    #[test]
    fn a_text_has_one_to_its_most_characters() {
        assert!(text(0).is_err());
        assert!(text(1).is_ok());
        assert!(text(3).is_ok());
        assert!(text(4).is_err());
    }

    #[test]
    fn a_list_has_its_least_to_its_most_items() {
        let list = |items: usize| serde_json::from_value::<List<u8, 2>>(vec![0; items].into());
        assert!(list(0).is_err());
        assert!(list(1).is_ok());
        assert!(list(2).is_ok());
        assert!(list(3).is_err());
        assert!(serde_json::from_str::<List<u8, 2, 0>>("[]").is_ok());
    }

    #[test]
    fn a_map_is_bounded() {
        let map = |entries: usize| {
            let entries: BTreeMap<String, String> =
                (0..entries).map(|i| (i.to_string(), String::new())).collect();
            serde_json::from_value::<Texts>(serde_json::to_value(entries).expect("a map of texts is JSON"))
        };
        assert!(map(ENTRIES_MAX).is_ok());
        assert!(map(ENTRIES_MAX + 1).is_err());
        assert!(serde_json::from_str::<Texts>(r#"{"": "x"}"#).is_err());
    }

    #[test]
    fn a_map_has_one_to_its_most_entries_and_keys_of_bounded_length() {
        let map = |keys: &[&str]| {
            let entries: BTreeMap<&str, u8> = keys.iter().map(|key| (*key, 0)).collect();
            serde_json::from_value::<Map<u8, 2>>(serde_json::to_value(entries).expect("a map is JSON"))
        };
        assert!(map(&[]).is_err());
        assert!(map(&["a"]).is_ok());
        assert!(map(&["a", "b"]).is_ok());
        assert!(map(&["a", "b", "c"]).is_err());
        assert!(map(&[""]).is_err());
        assert!(map(&[&"k".repeat(MAP_KEY_MAX)]).is_ok());
        assert!(map(&[&"k".repeat(MAP_KEY_MAX + 1)]).is_err());
    }
}
