//! Looks at text that arrives in pieces, joined by channel, and lets go of what can no longer be part of a find.
//!
//! Held back are the last word, groups of digits at the end, the beginning of a key in PEM, and with a regular
//! expression the last [`REACH`] bytes; so finds of the built-in kinds are seen however they are cut (base64 and words
//! up to [`REACH`] bytes), and those of an expression up to [`REACH`] bytes long. A find that is still growing is held
//! up to [`HELD_MAX`] bytes and then refused.

use std::collections::BTreeMap;

use exchange::TextWatch;
use mesh::{Denial, Reason, resource::Direction};

use crate::{compile::Rules, find::Stretch, look::mask};

/// Bytes at the end of a channel's text that can be held back though nothing was found in them.
pub const REACH: usize = 512;
/// Bytes of a find that is still growing.
pub const HELD_MAX: usize = 16 * 1024;
/// Most channels of one answer.
const CHANNELS_MAX: usize = 256;
/// Bytes of the first line of a key in PEM.
const PEM_LINE_MAX: usize = 96;

/// Watches one answer.
#[derive(Debug)]
pub struct Watch {
    rules: Rules,
    direction: Direction,
    stretches: Vec<Stretch>,
    channels: BTreeMap<String, Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    text: String,
    // Bytes at its beginning that were let go already, and stand here for what comes after them.
    past: usize,
    // How long it was when it was looked at last.
    seen: usize,
}

impl Watch {
    /// Watches for these rules.
    pub fn new(rules: Rules, direction: Direction) -> Self {
        let stretches = rules.stretches(direction);
        Self { rules, direction, stretches, channels: BTreeMap::new() }
    }

    fn look(&self, channel: &mut Channel, last: bool) -> Result<String, Denial> {
        let text = &channel.text;
        let length = text.len();
        channel.seen = length;
        let found = self.rules.look(text, self.direction);
        // What ends where the text ends may go on.
        let decided = |end: usize| last || end < length;
        let mut from = if last { length } else { held_from(text, &self.stretches) };
        for (range, denial) in found.refused {
            if decided(range.end) {
                return Err(denial);
            }
            from = from.min(range.start);
        }
        for (range, _) in found.masks.iter().rev() {
            if !decided(range.end) || range.end > from {
                from = from.min(range.start);
            }
        }
        let from = from.max(channel.past);
        if length - from > HELD_MAX {
            let text = "a find is longer than can be held";
            return Err(Denial {
                reason: Reason::GuardRefused,
                ..self.rules.unreadable(self.direction, text)
            });
        }
        let mut out = String::new();
        let mut at = channel.past;
        for (range, name) in
            found.masks.iter().filter(|(range, _)| range.end <= from && range.end > channel.past)
        {
            out.push_str(text.get(at..range.start).unwrap_or_default());
            mask(&mut out, name);
            at = range.end;
        }
        out.push_str(&text[at..from]);
        let kept = text[..from].char_indices().next_back().map_or(from, |(at, _)| at);
        channel.past = from - kept;
        channel.text.drain(..kept);
        channel.seen = channel.text.len();
        Ok(out)
    }
}

impl TextWatch for Watch {
    fn text(&mut self, channel: &str, text: &str) -> Result<String, Denial> {
        if let Some(denial) = self.rules.broken() {
            return Err(denial);
        }
        if !self.rules.reads(self.direction) {
            return Ok(text.to_owned());
        }
        if self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(channel) {
            return Err(Denial {
                reason: Reason::TooMuch,
                ..self.rules.unreadable(self.direction, "too many channels")
            });
        }
        let mut held = self.channels.remove(channel).unwrap_or_default();
        held.text.push_str(text);
        // A long piece is not looked at again for each byte that it grows by.
        let grown = held.text.len() - held.seen;
        let let_go = if held.text.len() > 256 && grown < held.text.len() / 8 {
            Ok(String::new())
        } else {
            self.look(&mut held, false)
        };
        self.channels.insert(channel.to_owned(), held);
        let_go
    }

    fn end(&mut self, channel: &str) -> Result<String, Denial> {
        let Some(mut held) = self.channels.remove(channel) else { return Ok(String::new()) };
        self.look(&mut held, true)
    }
}

/// From where on the end of a text must wait for more.
fn held_from(text: &str, stretches: &[Stretch]) -> usize {
    let least = floor(text, text.len().saturating_sub(REACH));
    let mut from = text.len() - last_word(text).len();
    for stretch in stretches {
        let at = match stretch {
            Stretch::Word => continue,
            Stretch::Groups => groups_from(text, least),
            Stretch::Pem => pem_from(text),
            Stretch::Any => least,
        };
        from = from.min(at);
    }
    from.max(least)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn last_word(text: &str) -> &str {
    text.rsplit(char::is_whitespace).next().unwrap_or_default()
}

/// Back over words that can be groups of a number.
fn groups_from(text: &str, least: usize) -> usize {
    let mut from = text.len();
    loop {
        let rest = text[..from].trim_end();
        let word = last_word(rest);
        let digits = word.chars().any(|it| it.is_ascii_digit());
        let letters = word.len() <= 4 && word.chars().all(|it| it.is_ascii_alphabetic());
        let marks = word.chars().all(|it| "()+-./".contains(it));
        let group = marks || word.starts_with('+') || digits || letters;
        if word.is_empty() || !group || rest.len() <= least {
            return from;
        }
        from = rest.len() - word.len();
    }
}

fn pem_from(text: &str) -> usize {
    let near = floor(text, text.len().saturating_sub(PEM_LINE_MAX));
    match text[near..].rfind("-----BEGIN") {
        Some(at) if !text[near + at + 5..].contains("-----") => near + at,
        _ => text.len(),
    }
}
