//! JSON as it stands: every string, member name and number is looked at, decoded, and what is masked is exchanged in
//! place, so that all other bytes stay as they were, also where a member is named twice.

use std::{borrow::Cow, ops::Range};

use mesh::{Denial, resource::Direction};
use serde::de::IgnoredAny;

use crate::{
    compile::Rules,
    look::{SHADOWS_MAX, mask},
};

/// How often JSON may stand in a string of JSON and is still read as such.
pub const NESTED_MAX: usize = 4;
/// Shortest number that is looked at, in digits.
const DIGITS_MIN: usize = 8;

/// What became of a text.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The text that may go on in its place.
    pub(crate) changed: Option<String>,
    /// Why nothing may.
    pub(crate) refused: Option<Denial>,
    /// What guards in audit would have refused.
    pub(crate) shadows: Vec<Denial>,
}

/// True if it is one JSON text.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A token of a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// A string or member name, with its quotes.
    String,
    /// A number, `true`, `false` or `null`.
    Bare,
}

/// The tokens of a JSON text that [`is_json`], with where they stand.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (Token, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            match bytes[at] {
                b'"' => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != b'"' {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                    at = (at + 1).min(bytes.len());
                    return Some((Token::String, start..at));
                }
                byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') => {
                    while at < bytes.len()
                        && (bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'-' | b'+' | b'.'))
                    {
                        at += 1;
                    }
                    return Some((Token::Bare, start..at));
                }
                _ => at += 1,
            }
        }
        None
    })
}

/// What a string token says.
pub(crate) fn decoded(token: &str) -> Cow<'_, str> {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // Half of a surrogate pair is no character, and serde_json says so: it is then looked at as it stands.
    serde_json::from_str::<String>(token).map_or(Cow::Borrowed(inner), Cow::Owned)
}

impl Rules {
    /// Looks at all of a JSON text.
    pub(crate) fn look_json(&self, text: &str, direction: Direction) -> Outcome {
        self.look_nested(text, direction, 0)
    }

    fn look_nested(&self, text: &str, direction: Direction, depth: usize) -> Outcome {
        let mut outcome = Outcome::default();
        let mut out = String::new();
        let mut at = 0;
        for (token, range) in tokens(text) {
            let raw = &text[range.clone()];
            let changed = match token {
                Token::Bare if raw.len() < DIGITS_MIN => continue,
                Token::Bare => {
                    let one = outcome.take(self.look(raw, direction).into_outcome(raw));
                    one.map(|text| quoted(&text))
                }
                Token::String => {
                    let text = decoded(raw);
                    let inner = text.trim_start();
                    let nested = depth < NESTED_MAX && inner.starts_with(['{', '[', '"']) && is_json(inner);
                    let one = if nested {
                        self.look_nested(&text, direction, depth + 1)
                    } else {
                        self.look(&text, direction).into_outcome(&text)
                    };
                    outcome.take(one).map(|text| quoted(&text))
                }
            };
            if outcome.refused.is_some() {
                return outcome;
            }
            if let Some(changed) = changed {
                out.push_str(&text[at..range.start]);
                out.push_str(&changed);
                at = range.end;
            }
        }
        if at > 0 {
            out.push_str(&text[at..]);
            outcome.changed = Some(out);
        }
        outcome
    }
}

impl Outcome {
    /// Takes over what one part of the text came to; what stands in its place, if something does.
    fn take(&mut self, one: Self) -> Option<String> {
        self.refused = self.refused.take().or(one.refused);
        self.shadows.extend(one.shadows);
        self.shadows.truncate(SHADOWS_MAX);
        one.changed
    }
}

impl crate::look::Found {
    pub(crate) fn into_outcome(self, text: &str) -> Outcome {
        let changed = match self.masked(text) {
            Cow::Owned(changed) => Some(changed),
            Cow::Borrowed(_) => None,
        };
        let refused = self.refused.into_iter().next().map(|(_, denial)| denial);
        Outcome { changed, refused, shadows: self.shadows }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| {
        let mut out = String::from("\"");
        mask(&mut out, "guarded");
        out.push('"');
        out
    })
}
