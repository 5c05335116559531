//! Telephone numbers in international form: a plus sign and 8 to 15 digits (ITU-T E.164).

use std::ops::Range;

use super::digits::before;

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.match_indices('+') {
        if before(text, at).is_some_and(char::is_alphanumeric) {
            continue;
        }
        let (mut digits, mut end, mut gap) = (0, at + 1, 0);
        for (offset, character) in text[at + 1..].char_indices() {
            match character {
                '0' if digits == 0 => break,
                '0'..='9' => {
                    digits += 1;
                    gap = 0;
                    end = at + 2 + offset;
                }
                ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' if digits > 0 && gap < 2 => gap += 1,
                _ => break,
            }
            if digits > 15 {
                break;
            }
        }
        if (8..=15).contains(&digits) {
            found.push(at..end);
        }
    }
    found
}
