//! Every match of an expression, also those that begin inside of another: what is masked must leave nothing of the
//! second.

use std::ops::Range;

use regex::Regex;

/// Most matches of one pattern in one text; more of them and it is refused, whatever its action.
pub(crate) const MATCHES_MAX: usize = 10_000;
/// Matches that are longer than this, in bytes, are not looked into for others that begin there.
const LOOKED_INTO_MAX: usize = 512;
/// Matches that begin inside of one and are looked at.
const INSIDE_MAX: usize = 64;

/// The ranges of at most one match more than [`MATCHES_MAX`]; those that overlap are one.
pub(super) fn find(regex: &Regex, text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while found.len() <= MATCHES_MAX
        && let Some(next) = regex.find_at(text, from)
    {
        if next.is_empty() {
            let Some(character) = text[next.end()..].chars().next() else { break };
            from = next.end() + character.len_utf8();
            continue;
        }
        let range = next.start()..grown(regex, text, next.range());
        from = range.end;
        found.push(range);
    }
    found
}

/// The end of a match together with those that begin inside of it and go further.
fn grown(regex: &Regex, text: &str, first: Range<usize>) -> usize {
    let (mut at, mut end) = (first.start, first.end);
    for _ in 0..INSIDE_MAX {
        if end - at > LOOKED_INTO_MAX {
            break;
        }
        let Some(character) = text[at..].chars().next() else { break };
        match regex.find_at(text, at + character.len_utf8()) {
            Some(inside) if inside.start() < end => {
                at = inside.start();
                end = end.max(inside.end());
            }
            _ => break,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, text: &str, expected: &[&str]) {
        let regex = Regex::new(expression).unwrap();
        let found: Vec<&str> = find(&regex, text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{expression} in {text:?}");
    }

    #[test]
    fn what_begins_inside_of_a_match_belongs_to_it() {
        check(r"\d{4}-\d{4}", "1234-5678-9012 and 1234-5678", &["1234-5678-9012", "1234-5678"]);
        check(r"ab.|b.c", "abxc abx", &["abxc", "abx"]);
        check("é.é", "éxéyé", &["éxéyé"]);
        check("a*", "baab", &["aa"]);
        check("x", "", &[]);
    }

    #[test]
    fn it_takes_no_longer_than_it_may() {
        let text = "1".repeat(1 << 20);
        let one = find(&Regex::new(r"\d+").unwrap(), &text);
        assert_eq!((one.len(), one[0].clone()), (1, 0..text.len()));
        assert_eq!(find(&Regex::new(r"\d\d").unwrap(), &text).len(), MATCHES_MAX + 1);
    }
}
