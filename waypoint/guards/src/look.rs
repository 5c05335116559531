//! Looks at one text: what of it is masked, whether it is refused, and what guards in audit would have done.

use std::{borrow::Cow, ops::Range, sync::Arc};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use mesh::{
    Denial, Reason,
    resource::{Direction, GuardAction},
};

use crate::{
    compile::Rules,
    find::{MATCHES_MAX, Stretch},
};

/// Shortest run of base64 that is decoded, in characters.
const BASE64_MIN: usize = 16;
/// Most reports of guards in audit for one body.
pub(crate) const SHADOWS_MAX: usize = 16;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What was found in one text.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What is masked, in order and apart, each with the name that stands in its place.
    pub(crate) masks: Vec<(Range<usize>, Arc<str>)>,
    /// What is refused, and where it stands.
    pub(crate) refused: Vec<(Range<usize>, Denial)>,
    /// What guards in audit would have refused or masked.
    pub(crate) shadows: Vec<Denial>,
}

impl Rules {
    /// Looks at one text in one direction, and at what is in base64 in it.
    pub(crate) fn look(&self, text: &str, direction: Direction) -> Found {
        let mut found = self.look_plain(text, direction);
        if text.len() >= BASE64_MIN && self.reads(direction) {
            for (range, inner) in encoded(text) {
                let hidden = self.look_plain(&inner, direction);
                // A part of base64 has no mask of its own: the whole run gets it.
                if let Some((_, name)) = hidden.masks.into_iter().next() {
                    found.masks.push((range.clone(), name));
                }
                if let Some((_, denial)) = hidden.refused.into_iter().next() {
                    found.refused.push((range, denial));
                }
                found.shadows.extend(hidden.shadows);
            }
        }
        found.settle();
        found
    }

    fn look_plain(&self, text: &str, direction: Direction) -> Found {
        let mut found = Found::default();
        for guard in self.guards.iter() {
            for pattern in guard.patterns(direction) {
                let ranges = pattern.finder.find(text);
                let Some(first) = ranges.first() else { continue };
                let refuses = pattern.action == GuardAction::Refuse || ranges.len() > MATCHES_MAX;
                if refuses || !guard.enforces() {
                    let detail = format!("the content has something that {} finds", pattern.name);
                    let denial = guard.denial(Reason::GuardRefused, &pattern.name, detail);
                    if guard.enforces() {
                        found.refused.push((first.clone(), denial));
                    } else {
                        found.shadows.push(denial);
                    }
                } else {
                    found.masks.extend(ranges.into_iter().map(|range| (range, Arc::clone(&pattern.name))));
                }
            }
        }
        found
    }

    /// How matches in this direction can stretch over the end of a text.
    pub(crate) fn stretches(&self, direction: Direction) -> Vec<Stretch> {
        let patterns = self.guards.iter().flat_map(|guard| guard.patterns(direction));
        let mut stretches: Vec<Stretch> = Vec::new();
        for stretch in patterns.map(|pattern| pattern.finder.stretch()) {
            if !stretches.contains(&stretch) {
                stretches.push(stretch);
            }
        }
        stretches
    }
}

impl Found {
    /// Puts masks in order, and joins those that touch the same characters.
    fn settle(&mut self) {
        self.masks.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let mut apart: Vec<(Range<usize>, Arc<str>)> = Vec::with_capacity(self.masks.len());
        for (range, name) in self.masks.drain(..) {
            match apart.last_mut() {
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => apart.push((range, name)),
            }
        }
        self.masks = apart;
        self.shadows.truncate(SHADOWS_MAX);
    }

    /// The text with its masks.
    pub(crate) fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.masks.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (range, name) in &self.masks {
            out.push_str(&text[at..range.start]);
            mask(&mut out, name);
            at = range.end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }
}

/// Writes what stands in the place of what was found.
pub(crate) fn mask(out: &mut String, name: &str) {
    out.push('[');
    out.push_str(name);
    out.push(']');
}

/// Runs of base64 that hold text, with that text.
fn encoded(text: &str) -> Vec<(Range<usize>, String)> {
    let bytes = text.as_bytes();
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && part(bytes[at]) {
            at += 1;
        }
        if at - start >= BASE64_MIN {
            let run = &text[start..at];
            let engine = if run.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
            // One character too many is no whole byte.
            let whole = if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run };
            let decoded = engine.decode(whole).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some(inner) = decoded {
                runs.push((start..at, inner));
            }
        }
        at += 1;
    }
    runs
}
