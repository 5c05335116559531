//! Changes single values inside a JSON text and leaves every other byte as it came.
//!
//! The text was read by `json::parse` before, so it is known to be well-formed and without double keys.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use bytes::Bytes;
use serde_json::{Value, value::RawValue};

/// The fields of an object, as they stand in the text.
pub(crate) type Fields<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;

/// The fields of what stands there, if it is an object.
pub(crate) fn object(text: &str) -> Option<Fields<'_>> {
    #[derive(serde::Deserialize)]
    struct Object<'t>(#[serde(borrow)] Fields<'t>);
    text.trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str::<Object<'_>>(text).ok().map(|it| it.0))?
}

/// The items of what stands there, if it is a list.
pub(crate) fn list(text: &str) -> Option<Vec<&RawValue>> {
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text).ok())?
}

/// The text that stands there, if it is one.
pub(crate) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Changes to one text.
pub(crate) struct Edits<'t> {
    text: &'t str,
    changes: Vec<(Range<usize>, String)>,
}

impl<'t> Edits<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self { text, changes: Vec::new() }
    }

    /// Puts other JSON in the place of a part of the text.
    pub(crate) fn put(&mut self, part: &'t str, other: String) {
        self.changes.push((place(self.text, part), other));
    }

    /// Puts a text in the place of a value.
    pub(crate) fn put_text(&mut self, part: &'t RawValue, other: &str) {
        self.put(part.get(), Value::from(other).to_string());
    }

    /// The changed text; `None` if nothing changes.
    pub(crate) fn done(mut self) -> Option<Bytes> {
        if self.changes.is_empty() {
            return None;
        }
        self.changes.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(self.text.len());
        let mut at = 0;
        for (range, other) in self.changes {
            out.push_str(&self.text[at..range.start]);
            out.push_str(&other);
            at = range.end;
        }
        out.push_str(&self.text[at..]);
        Some(Bytes::from(out))
    }
}

/// Where a part that was borrowed from a text stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_changes_and_the_rest_stays() {
        let text = r#"{ "a" : {"n\u0061me":  "x", "n": 12345678901234567890123}, "b":[ 1.0 ] }"#;
        let mut edits = Edits::of(text);
        let inner = object(object(text).unwrap()["a"].get()).unwrap();
        edits.put_text(inner["name"], "y\"");
        assert_eq!(
            edits.done().unwrap(),
            r#"{ "a" : {"n\u0061me":  "y\"", "n": 12345678901234567890123}, "b":[ 1.0 ] }"#
        );
        assert!(Edits::of(text).done().is_none());
        assert_eq!(list("[1, 2]").unwrap().len(), 2);
        assert!(object("[1]").is_none() && list("{}").is_none());
    }
}
