//! Numbers of payment cards: 13 to 19 digits in groups, of a scheme that exists, with the right check digit (ISO/IEC
//! 7812-1, Annex B).

use std::ops::Range;

use super::digits::{Digit, rows};

const SEPARATORS: [char; 4] = [' ', '-', '.', '\u{a0}'];
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for row in rows(text, &SEPARATORS) {
        let mut first = 0;
        while first < row.len() {
            let mut digits: Vec<Digit> = Vec::new();
            let mut best = None;
            for group in &row[first..] {
                if digits.len() + group.len() > *DIGITS.end() {
                    break;
                }
                digits.extend(group);
                if DIGITS.contains(&digits.len()) && is_card(&digits) {
                    best = Some(digits[digits.len() - 1].at + 1);
                }
            }
            // Another may begin inside of it.
            if let Some(end) = best {
                found.push(row[first][0].at..end);
            }
            first += 1;
        }
    }
    found
}

fn is_card(digits: &[Digit]) -> bool {
    let scheme = (2..=6).contains(&digits[0].value);
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(digit.value) * 2) {
            (0, _) => u32::from(digit.value),
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    scheme && sum.is_multiple_of(10) && digits.iter().any(|digit| digit.value != digits[0].value)
}
