//! What was probably meant.

/// The one of `known` that is so near to `found` that it was probably meant.
pub(super) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    // Longer than any field that we have; the table below would grow with it.
    if found.len() > 64 {
        return None;
    }
    let folded = found.to_ascii_lowercase();
    let best = known.iter().map(|name| (distance(&folded, &name.to_ascii_lowercase()), *name)).min()?;
    let allowed = (folded.chars().count() / 3).clamp(1, 3);
    (best.0 <= allowed).then_some(best.1)
}

/// How many characters must be put in, taken out, changed, or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut last = None;
    for (done, found) in left.chars().enumerate() {
        let mut next = vec![done + 1];
        for (at, wanted) in right.iter().enumerate() {
            let change = row[at] + usize::from(found != *wanted);
            let mut least = change.min(row[at + 1] + 1).min(next[at] + 1);
            if at > 0 && last == Some(*wanted) && right[at - 1] == found {
                least = least.min(before[at - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(found);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_meant_and_what_is_far_is_not() {
        let known = ["serviceAccounts", "namespaces", "identities", "to", "from"];
        let cases = [
            ("serviceAccount", Some("serviceAccounts")),
            ("serviceaccounts", Some("serviceAccounts")),
            ("namepsaces", Some("namespaces")),
            ("form", Some("from")),
            ("ports", None),
            ("principals", None),
            ("", None),
        ];
        for (found, expected) in cases {
            assert_eq!(nearest(found, &known), expected, "{found}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }
}
