//! Internet addresses, version 4 and 6, as they are written.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use super::digits::{after, before};

/// Longest form of an address, in bytes.
const LENGTH_MAX: usize = 45;

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let part = |character: char| character.is_ascii_hexdigit() || matches!(character, '.' | ':');
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, part(character)) {
            (None, true) => start = Some(at),
            (Some(begin), false) => {
                run(text, begin..at, &mut found);
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// One run of characters that addresses are made of.
fn run(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let apart = |character: Option<char>| !character.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if !apart(before(text, range.start)) || !apart(after(text, range.end)) || range.len() > LENGTH_MAX + 8 {
        return;
    }
    let run = text[range.clone()].trim_end_matches('.');
    // A final colon ends a sentence, two of them an address.
    let trimmed = if run.ends_with("::") { run } else { run.trim_end_matches(':') };
    let lead = if trimmed.starts_with("::") {
        0
    } else {
        trimmed.len() - trimmed.trim_start_matches([':', '.']).len()
    };
    let inner = &trimmed[lead..];
    let six = inner.parse::<Ipv6Addr>().is_ok_and(|it| !it.is_unspecified());
    // What follows a colon may be a port.
    let four = inner.split(':').next().unwrap_or_default();
    let length = match (six, four.parse::<Ipv4Addr>().is_ok()) {
        (true, _) => inner.len(),
        (false, true) => four.len(),
        (false, false) => return,
    };
    let start = range.start + lead;
    found.push(start..start + length);
}
