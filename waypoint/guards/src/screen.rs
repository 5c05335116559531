//! Looks at a whole body.

use bytes::Bytes;
use mesh::{Denial, resource::Direction};

use crate::{
    compile::Rules,
    json::{Outcome, is_json},
};

/// What became of a body.
#[derive(Debug, Default)]
pub struct Screened {
    /// The body that goes on in its place, if something was masked.
    pub body: Option<Bytes>,
    /// Why it may not go on.
    pub refused: Option<Denial>,
    /// What guards in audit would have refused.
    pub shadows: Vec<Denial>,
}

/// Looks at a whole body, by what it is: JSON, lines of JSON, a form, other text. Of what is no text only the size
/// counts, unless it is said to be text: then it cannot be read, and is refused.
pub fn screen(rules: &Rules, direction: Direction, content_type: Option<&str>, body: &Bytes) -> Screened {
    let mut screened = Screened { refused: rules.broken(), ..Screened::default() };
    if screened.refused.is_some() || rules.is_empty() {
        return screened;
    }
    if body.len() > rules.bytes_max(direction) {
        screened.refused = Some(rules.too_large(direction));
        return screened;
    }
    screened.shadows = rules.too_large_in_audit(direction, body.len());
    if !rules.reads(direction) || body.is_empty() {
        return screened;
    }
    let kind = Kind::of(content_type);
    let Ok(text) = std::str::from_utf8(body) else {
        if kind != Kind::Other && rules.enforces(direction) {
            screened.refused =
                Some(rules.unreadable(direction, "the content is said to be text and is not UTF-8"));
        }
        return screened;
    };
    // A byte order mark is no JSON, and some readers skip it.
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let outcome = if is_json(bare) || lines_of_json(bare) {
        rules.look_json(bare, direction)
    } else if kind == Kind::Json {
        // What is no JSON to us may be JSON to a reader that takes more.
        let refused =
            rules.enforces(direction).then(|| rules.unreadable(direction, "the content is no JSON"));
        Outcome { refused, ..Outcome::default() }
    } else if kind == Kind::Form {
        rules.look_form(bare, direction)
    } else {
        rules.look(bare, direction).into_outcome(bare)
    };
    screened.shadows.extend(outcome.shadows);
    Screened { body: outcome.changed.map(Bytes::from), refused: outcome.refused, ..screened }
}

fn lines_of_json(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    text.trim_start().starts_with(['{', '[']) && lines.peek().is_some() && lines.all(is_json)
}

/// What content is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Events,
    Form,
    Text,
    Other,
}

impl Kind {
    pub(crate) fn of(content_type: Option<&str>) -> Self {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" | "text/json" => Self::Json,
            "text/event-stream" => Self::Events,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/xml" | "application/javascript" | "application/yaml" => Self::Text,
            kind if kind.ends_with("+json") => Self::Json,
            kind if kind.starts_with("text/") || kind.ends_with("+xml") || kind.ends_with("+yaml") => {
                Self::Text
            }
            _ => Self::Other,
        }
    }
}

impl Rules {
    /// A form (WHATWG URL, section 5): each name and value, decoded.
    fn look_form(&self, text: &str, direction: Direction) -> Outcome {
        let mut outcome = Outcome::default();
        let mut out = Vec::new();
        let mut changed = false;
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let mut sides = Vec::new();
            for side in [name, value] {
                let decoded = percent_decoded(side);
                let one = self.look(&decoded, direction).into_outcome(&decoded);
                outcome.refused = outcome.refused.take().or(one.refused);
                outcome.shadows.extend(one.shadows);
                changed |= one.changed.is_some();
                sides.push(one.changed.map_or_else(|| side.to_owned(), |text| percent_encoded(&text)));
            }
            let glue = if pair.contains('=') { "=" } else { "" };
            out.push(sides.join(glue));
        }
        outcome.changed = changed.then(|| out.join("&"));
        outcome
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|it| char::from(*it).to_digit(16));
        match (bytes[at], digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
