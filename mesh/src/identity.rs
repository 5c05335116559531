//! Who a workload is: SPIFFE identities, trust domains, and patterns over them.
//!
//! Parsing is strict (SPIFFE ID standard, sections 2.1 to 2.4): what does not parse is no identity.
//! Proving an identity belongs to `transport`; judging by it belongs to `access`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, de};

/// Longest identity we accept, in bytes (SPIFFE ID standard, section 2.3).
pub const IDENTITY_BYTES_MAX: usize = 2048;
/// Longest trust domain we accept, in bytes (SPIFFE ID standard, section 2.1).
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Why a text is no SPIFFE identity, trust domain or pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It does not begin with `spiffe://`.
    #[error("{0:?} does not begin with spiffe://")]
    Scheme(String),
    /// The trust domain has a character other than `a-z 0-9 . - _`, is empty or too long.
    #[error("{0:?} is not a trust domain: 1 to 255 of a-z, 0-9, '.', '-' and '_'")]
    TrustDomain(String),
    /// The path is empty, ends in `/`, or a segment of it is empty, `.`, `..` or has a forbidden character.
    #[error("{0:?} is not a path: segments of letters, digits, '.', '-' and '_'")]
    Path(String),
    /// Longer than the standard allows.
    #[error("an identity has at most {IDENTITY_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// `**` stands elsewhere than at the end, or `*` is mixed with other characters.
    #[error("{0:?} is not a pattern: '*' is one whole segment, '**' only the last one")]
    Pattern(String),
}

/// The name of one authority's domain, for example `east.acme.example`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > TRUST_DOMAIN_BYTES_MAX || !text.bytes().all(legal) {
            return Err(IdentityError::TrustDomain(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

/// A SPIFFE identity: a trust domain and a path that is not empty.
///
/// Any legal path is accepted; those of Kubernetes workloads are `/ns/<namespace>/sa/<service account>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    trust_domain: TrustDomain,
    path: Arc<str>,
}

impl Identity {
    /// The identity of a Kubernetes service account.
    ///
    /// # Errors
    /// When a name is not a legal path segment.
    pub fn of_service_account(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, IdentityError> {
        Self::from_parts(trust_domain.clone(), &format!("/ns/{namespace}/sa/{service_account}"))
    }

    fn from_parts(trust_domain: TrustDomain, path: &str) -> Result<Self, IdentityError> {
        let length = "spiffe://".len() + trust_domain.as_str().len() + path.len();
        if length > IDENTITY_BYTES_MAX {
            return Err(IdentityError::TooLong(length));
        }
        let segments = path.strip_prefix('/').ok_or_else(|| IdentityError::Path(path.to_owned()))?;
        if !segments.split('/').all(is_segment) {
            return Err(IdentityError::Path(path.to_owned()));
        }
        Ok(Self { trust_domain, path: path.into() })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path, with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Namespace and service account, if this is the identity of a Kubernetes workload.
    pub fn kubernetes(&self) -> Option<(&str, &str)> {
        let rest = self.path.strip_prefix("/ns/")?;
        let (namespace, rest) = rest.split_once('/')?;
        let service_account = rest.strip_prefix("sa/")?;
        (!service_account.contains('/')).then_some((namespace, service_account))
    }
}

fn is_segment(segment: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(legal)
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(IdentityError::TooLong(text.len()));
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| IdentityError::Scheme(text.to_owned()))?;
        let slash = rest.find('/').ok_or_else(|| IdentityError::Path(String::new()))?;
        let (trust_domain, path) = rest.split_at(slash);
        Self::from_parts(trust_domain.parse()?, path)
    }
}

/// A pattern over identities of one trust domain: `*` is one segment, `**` (only at the end) one or more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityPattern {
    trust_domain: TrustDomain,
    path: Arc<str>,
}

impl IdentityPattern {
    /// True if the identity is of the pattern's trust domain and its path fits.
    pub fn matches(&self, identity: &Identity) -> bool {
        if self.trust_domain != identity.trust_domain {
            return false;
        }
        let mut wanted = self.path.split('/').skip(1);
        let mut found = identity.path.split('/').skip(1);
        loop {
            match (wanted.next(), found.next()) {
                (Some("**"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(want), Some(have)) if want == have => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// The trust domain whose identities it can match.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl From<&Identity> for IdentityPattern {
    fn from(identity: &Identity) -> Self {
        Self { trust_domain: identity.trust_domain.clone(), path: identity.path.clone() }
    }
}

impl FromStr for IdentityPattern {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(IdentityError::TooLong(text.len()));
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| IdentityError::Scheme(text.to_owned()))?;
        let slash = rest.find('/').ok_or_else(|| IdentityError::Path(String::new()))?;
        let (trust_domain, path) = rest.split_at(slash);
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            let legal = match segment {
                "*" => true,
                "**" => segments.peek().is_none(),
                other => is_segment(other),
            };
            if !legal {
                return Err(IdentityError::Pattern(text.to_owned()));
            }
        }
        Ok(Self { trust_domain: trust_domain.parse()?, path: path.into() })
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

/// These types are text wherever they are written, and are parsed wherever they are read.
macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
        impl Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
as_text!(TrustDomain, Identity, IdentityPattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_trust_domain_and_a_path() {
        for good in
            ["spiffe://a/b", "spiffe://east.acme.example/ns/shop/sa/planner", "spiffe://a_b-c.9/X.y_z-1"]
        {
            assert_eq!(good.parse::<Identity>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "spiffe:/",
            "spiffe://",
            "spiffe://a",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://A/b",
            "spiffe://a/b c",
            "spiffe://a/./b",
            "spiffe://a/../b",
            "spiffe://a/%41",
            "https://a/b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_longest_identity_has_2048_bytes() {
        let longest = format!("spiffe://a/{}", "b".repeat(IDENTITY_BYTES_MAX - 11));
        assert!(longest.parse::<Identity>().is_ok());
        assert!(format!("{longest}b").parse::<Identity>().is_err());
    }

    #[test]
    fn only_four_segments_are_a_service_account() {
        let of = |text: &str| {
            text.parse::<Identity>().ok().and_then(|id| id.kubernetes().map(|(a, b)| format!("{a}/{b}")))
        };
        assert_eq!(of("spiffe://a/ns/shop/sa/planner"), Some("shop/planner".to_owned()));
        assert_eq!(of("spiffe://a/ns/shop/sa/planner/x"), None);
        assert_eq!(of("spiffe://a/ns/shop/planner"), None);
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        let cases = [
            ("spiffe://a/ns/x/sa/*", "spiffe://a/ns/x/sa/y", true),
            ("spiffe://a/ns/x/sa/*", "spiffe://a/ns/x/sa/y/z", false),
            ("spiffe://a/ns/x/sa/*", "spiffe://b/ns/x/sa/y", false),
            ("spiffe://a/ns/**", "spiffe://a/ns/x/sa/y", true),
            ("spiffe://a/ns/**", "spiffe://a/ns", false),
            ("spiffe://a/b", "spiffe://a/b", true),
            ("spiffe://a/b", "spiffe://a/b/c", false),
        ];
        for (pattern, identity, expected) in cases {
            let pattern: IdentityPattern = pattern.parse().expect("the table holds patterns");
            assert_eq!(
                pattern.matches(&identity.parse().expect("the table holds identities")),
                expected,
                "{pattern} {identity}"
            );
        }
        for bad in ["spiffe://*/a", "spiffe://a/**/b", "spiffe://a/b*", "spiffe://a/", "a/b"] {
            assert!(bad.parse::<IdentityPattern>().is_err(), "{bad:?} was accepted");
        }
    }
}
