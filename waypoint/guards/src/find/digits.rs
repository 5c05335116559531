//! Digits in groups, and what stands beside a place in a text.

/// A digit, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digit {
    pub(super) at: usize,
    pub(super) value: u8,
}

/// Groups of digits that stand together: at most one separator between two of them. Each list is one such row.
pub(super) fn rows(text: &str, separators: &[char]) -> Vec<Vec<Vec<Digit>>> {
    let mut rows: Vec<Vec<Vec<Digit>>> = Vec::new();
    let mut row: Vec<Vec<Digit>> = Vec::new();
    let mut group: Vec<Digit> = Vec::new();
    let mut gap = false;
    for (at, character) in text.char_indices() {
        match character {
            '0'..='9' => {
                group.push(Digit { at, value: character as u8 - b'0' });
                gap = false;
            }
            _ if separators.contains(&character) && !gap => {
                if !group.is_empty() {
                    row.push(std::mem::take(&mut group));
                }
                gap = true;
            }
            _ => {
                if !group.is_empty() {
                    row.push(std::mem::take(&mut group));
                }
                if !row.is_empty() {
                    rows.push(std::mem::take(&mut row));
                }
                gap = false;
            }
        }
    }
    if !group.is_empty() {
        row.push(group);
    }
    if !row.is_empty() {
        rows.push(row);
    }
    rows
}

/// The character before a place.
pub(super) fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// The character at a place.
pub(super) fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}
