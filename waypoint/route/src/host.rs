//! Hosts: which of them a route serves at its parent, and which of two patterns is the more specific.

use std::cmp::Ordering;

use mesh::resource::HostPattern;

/// One host, a wildcard, or all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hosts {
    /// This one.
    Exact(String),
    /// All with one or more labels before this suffix, which begins with a dot.
    Suffix(String),
    /// All.
    Any,
}

impl Hosts {
    /// The hosts of a pattern.
    pub fn of(pattern: &HostPattern) -> Self {
        let text = pattern.0.to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(suffix.to_owned()),
            None => Self::Exact(text),
        }
    }

    /// True if the host, in lower case and without port, is one of these.
    pub fn contain(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Any => true,
        }
    }

    /// Those that are in both, if any.
    pub fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, both) | (both, Self::Any) => Some(both.clone()),
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => {
                pattern.contain(host).then(|| Self::Exact(host.clone()))
            }
            (Self::Suffix(one), Self::Suffix(two)) => {
                let (long, short) = if one.len() >= two.len() { (one, two) } else { (two, one) };
                long.ends_with(short.as_str()).then(|| Self::Suffix(long.clone()))
            }
        }
    }

    /// More specific comes first: exact, then the longest suffix, then all.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let rank = |hosts: &Self| match hosts {
            Self::Exact(_) => (0, 0),
            Self::Suffix(suffix) => (1, usize::MAX - suffix.len()),
            Self::Any => (2, 0),
        };
        rank(self).cmp(&rank(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Hosts {
        Hosts::of(&HostPattern(text.into()))
    }

    #[test]
    fn a_wildcard_stands_for_one_or_more_labels() {
        for (host, expected) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            (".example.com", false),
            ("aexample.com", false),
        ] {
            assert_eq!(hosts("*.example.com").contain(host), expected, "{host}");
        }
    }

    #[test]
    fn intersections_keep_the_narrower() {
        for (one, two, expected) in [
            ("*", "a.com", Some("a.com")),
            ("*.com", "a.com", Some("a.com")),
            ("*.a.com", "*.com", Some("*.a.com")),
            ("*.a.com", "*.b.com", None),
            ("*.a.com", "a.com", None),
            ("b.com", "a.com", None),
        ] {
            let expected = expected.map(hosts);
            assert_eq!(hosts(one).and(&hosts(two)), expected, "{one} {two}");
            assert_eq!(hosts(two).and(&hosts(one)), expected, "{two} {one}");
        }
    }
}
