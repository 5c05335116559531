//! One matcher for policies, routes and filters: texts, paths, hosts, headers and arguments.
//!
//! Terms are compiled once, when they arrive. Regular expressions are anchored and bounded in size; they run in
//! time linear in the text.

mod argument;

use std::{fmt, sync::Arc};

use crate::resource::{HostPattern, NamedMatch, PathMatch, PortRange, TextMatch};
pub use argument::{Argument, Held, POINTER_BYTES_MAX};
use regex::{Regex, RegexBuilder};

/// Longest regular expression that we accept, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Largest compiled regular expression, in bytes.
pub const PROGRAM_BYTES_MAX: usize = 256 * 1024;
/// How deeply groups may be nested.
pub const PATTERN_DEPTH_MAX: u32 = 32;
/// Why a term cannot be compiled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MatchError {
    /// A regular expression is longer than we accept.
    #[error("a regular expression has at most {PATTERN_BYTES_MAX} bytes, this one has {0}")]
    PatternTooLong(usize),
    /// It is none, or too large when compiled.
    #[error("{pattern:?} is no regular expression that is accepted here: {cause}")]
    Pattern {
        /// The text.
        pattern: String,
        /// Why.
        cause: String,
    },
    /// A path that no request can have.
    #[error("{0:?} is no path: it begins with '/'")]
    Path(String),
    /// Not a JSON pointer.
    #[error("{0:?} is not a JSON pointer: it is empty or begins with '/', and '~' is followed by 0 or 1")]
    Pointer(String),
    /// A bound that is no number.
    #[error("{0} is no bound")]
    Bound(f64),
    /// A list that should say something is empty.
    #[error("{0} is empty: leave it out, or say what is meant")]
    Empty(&'static str),
    /// Not a host name.
    #[error("{0:?} is no host name, with or without a leading '*.'")]
    Host(String),
    /// A range that ends before it begins.
    #[error("{first}-{last} is no range of ports")]
    Ports {
        /// Its first port.
        first: u16,
        /// Its last port.
        last: u16,
    },
}

/// A compiled regular expression that matches whole texts.
#[derive(Debug, Clone)]
pub struct Whole(Regex);

/// A compiled [`TextMatch`].
#[derive(Debug, Clone)]
pub enum Text {
    /// Equal.
    Exact(Arc<str>),
    /// Begins with it.
    Prefix(Arc<str>),
    /// Ends with it.
    Suffix(Arc<str>),
    /// Matches as a whole.
    Regex(Whole),
}

/// A compiled [`PathMatch`].
#[derive(Debug, Clone)]
pub enum Path {
    /// Equal.
    Exact(Arc<str>),
    /// Begins with these segments; without a trailing slash, and empty for `/`.
    Prefix(Arc<str>),
    /// Matches as a whole.
    Regex(Whole),
}

/// A compiled [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// This name.
    Exact(Arc<str>),
    /// One or more labels, and this suffix with its leading dot.
    Under(Arc<str>),
}

/// A compiled [`NamedMatch`].
#[derive(Debug, Clone)]
pub struct Named {
    /// The name of the header or parameter.
    pub name: Arc<str>,
    value: Text,
}

impl Whole {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub fn new(pattern: &str) -> Result<Self, MatchError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(MatchError::PatternTooLong(pattern.len()));
        }
        let build = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(PROGRAM_BYTES_MAX)
                .nest_limit(PATTERN_DEPTH_MAX)
                .build()
                .map_err(|cause| MatchError::Pattern {
                    pattern: pattern.to_owned(),
                    cause: cause.to_string(),
                })
        };
        // By itself first: `a)|(?:b` must not find its missing halves in what we put around it.
        build(pattern)?;
        Ok(Self(build(&format!(r"\A(?:{pattern})\z"))?))
    }

    /// True if the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl Text {
    /// Compiles a term.
    ///
    /// # Errors
    /// When its regular expression is not accepted.
    pub fn new(term: &TextMatch) -> Result<Self, MatchError> {
        Ok(match term {
            TextMatch::Exact(text) => Self::Exact(text.clone()),
            TextMatch::Prefix(text) => Self::Prefix(text.clone()),
            TextMatch::Suffix(text) => Self::Suffix(text.clone()),
            TextMatch::Regex(pattern) => Self::Regex(Whole::new(pattern)?),
        })
    }

    /// True if the text is as wanted.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(want) => **want == *text,
            Self::Prefix(want) => text.starts_with(&**want),
            Self::Suffix(want) => text.ends_with(&**want),
            Self::Regex(want) => want.matches(text),
        }
    }
}

impl Path {
    /// Compiles a term.
    ///
    /// # Errors
    /// When it does not begin with a slash, or its regular expression is not accepted.
    pub fn new(term: &PathMatch) -> Result<Self, MatchError> {
        if let PathMatch::Exact(path) | PathMatch::Prefix(path) = term
            && !path.starts_with('/')
        {
            return Err(MatchError::Path(path.to_string()));
        }
        Ok(match term {
            PathMatch::Exact(path) => Self::Exact(path.clone()),
            PathMatch::Prefix(path) => Self::Prefix(path.trim_end_matches('/').into()),
            PathMatch::Regex(pattern) => Self::Regex(Whole::new(pattern)?),
        })
    }

    /// True if the path, without query, is as wanted.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(want) => **want == *path,
            Self::Prefix(want) => {
                path.strip_prefix(&**want).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(want) => want.matches(path),
        }
    }
}

impl Host {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is no host name.
    pub fn new(pattern: &HostPattern) -> Result<Self, MatchError> {
        let text = pattern.0.to_ascii_lowercase();
        let (wild, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, &*text),
        };
        let legal = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']')
        };
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(legal) {
            return Err(MatchError::Host(pattern.0.to_string()));
        }
        Ok(if wild { Self::Under(format!(".{name}").into()) } else { Self::Exact(name.into()) })
    }

    /// True if the host, in lower case and without port, is as wanted.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(want) => **want == *host,
            Self::Under(suffix) => host.strip_suffix(&**suffix).is_some_and(|labels| !labels.is_empty()),
        }
    }
}

impl Named {
    /// Compiles a term.
    ///
    /// # Errors
    /// When its regular expression is not accepted.
    pub fn new(term: &NamedMatch) -> Result<Self, MatchError> {
        Ok(Self { name: term.name.clone(), value: Text::new(&term.value)? })
    }

    /// True if the value is there and as wanted.
    pub fn matches(&self, value: Option<&str>) -> bool {
        value.is_some_and(|value| self.value.matches(value))
    }

    /// True if the value, or one of the values that it lists, is as wanted. A field that is sent twice arrives as a
    /// list (RFC 9110, section 5.3; cookies: RFC 6265, section 4.2.1), and some reader will take only one of them: so
    /// what refuses must look at each.
    pub fn matches_one(&self, value: Option<&str>) -> bool {
        let glue = if *self.name == *"cookie" { [',', ';'].as_slice() } else { [','].as_slice() };
        value.is_some_and(|value| {
            self.value.matches(value) || value.split(glue).any(|one| self.value.matches(one.trim()))
        })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => out.write_str(text),
            Self::Prefix(text) => write!(out, "{text}…"),
            Self::Suffix(text) => write!(out, "…{text}"),
            Self::Regex(Whole(regex)) => write!(out, "/{regex}/"),
        }
    }
}

/// Checks a range of ports.
///
/// # Errors
/// When it ends before it begins.
pub fn ports(range: &PortRange) -> Result<(), MatchError> {
    if range.first > range.last {
        return Err(MatchError::Ports { first: range.first, last: range.last });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let is = |pattern: &str, text: &str| Whole::new(pattern).map(|it| it.matches(text));
        assert_eq!(is("a|b", "a"), Ok(true));
        assert_eq!(is("a|b", "ax"), Ok(false));
        assert_eq!(is("a|b", "xb"), Ok(false));
        assert_eq!(is("a", "a\n"), Ok(false));
        assert_eq!(is("(?m)^a$", "a\nb"), Ok(false));
        for bad in ["(", "a)|(?:b", "(?x)a # and so on", "a{1000}{1000}", r"(a)\1"] {
            assert!(Whole::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(Whole::new(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(Whole::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(Whole::new(&format!("{}a{}", "(".repeat(20), ")".repeat(20))).is_ok());
        assert!(Whole::new(&format!("{}a{}", "(".repeat(40), ")".repeat(40))).is_err());
    }

    #[test]
    fn a_path_prefix_ends_with_a_segment() {
        let is = |prefix: &str, path: &str| {
            Path::new(&PathMatch::Prefix(prefix.into())).map(|it| it.matches(path))
        };
        for (prefix, path, expected) in [
            ("/", "/", true),
            ("/", "/a", true),
            ("/", "*", false),
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a/", "/a", true),
            ("/a", "/ab", false),
            ("/a", "/A", false),
        ] {
            assert_eq!(is(prefix, path), Ok(expected), "{prefix} {path}");
        }
        assert!(is("a", "a").is_err());
    }

    #[test]
    fn a_wildcard_is_one_label_or_more() {
        let is =
            |pattern: &str, host: &str| Host::new(&HostPattern(pattern.into())).map(|it| it.matches(host));
        for (pattern, host, expected) in [
            ("a.example", "a.example", true),
            ("A.example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*.example", "anexample", false),
        ] {
            assert_eq!(is(pattern, host), Ok(expected), "{pattern} {host}");
        }
        for bad in ["", "*", "*.", "*.*.a", "a*", "a b", ".a"] {
            assert!(Host::new(&HostPattern(bad.into())).is_err(), "{bad}");
        }
    }
}
