//! Electronic mail addresses, in the form that people use (RFC 5321 without quoted local parts and literals).

use std::ops::Range;

const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.match_indices('@') {
        let local: usize = text[..at]
            .chars()
            .rev()
            .take(LOCAL_MAX)
            .take_while(|it| it.is_alphanumeric() || "!#$%&'*+/=?^_{|}~.-".contains(*it))
            .map(char::len_utf8)
            .sum();
        let local = text[at - local..at].trim_start_matches(['.', '/', '\'', '=', '?', '&']);
        let domain: usize = text[at + 1..]
            .chars()
            .take(DOMAIN_MAX)
            .take_while(|it| it.is_alphanumeric() || matches!(it, '.' | '-'))
            .map(char::len_utf8)
            .sum();
        let domain = text[at + 1..at + 1 + domain].trim_end_matches(['.', '-']);
        let labels: Vec<&str> = domain.split('.').collect();
        let top = labels.last().is_some_and(|top| {
            top.chars().count() >= 2 && (top.chars().all(char::is_alphabetic) || top.starts_with("xn--"))
        });
        if local.is_empty() || labels.len() < 2 || labels.iter().any(|label| label.is_empty()) || !top {
            continue;
        }
        let start = at - local.len();
        found.push(start..at + 1 + domain.len());
    }
    found
}
