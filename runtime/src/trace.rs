//! W3C trace context: which trace something belongs to, and which span it comes from.
//!
//! Read strictly: what is not exactly a context is none, so that nobody's trace is continued by mistake. It proves
//! nothing, and nothing is decided by it.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The header of a context.
pub const TRACEPARENT: &str = "traceparent";
/// The header of what vendors add to it.
pub const TRACESTATE: &str = "tracestate";
/// Most members of a `tracestate` (W3C Trace Context, section 3.3.1.1).
const STATE_MEMBERS_MAX: usize = 32;
/// Most bytes of a `tracestate`; a longer one is dropped.
pub const STATE_BYTES_MAX: usize = 512;
/// Bytes of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

macro_rules! ids {
    ($($(#[$doc:meta])* $kind:ident = $bytes:literal),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $kind([u8; $bytes]);

        impl $kind {
            /// Its bytes; none are all zero.
            pub fn bytes(self) -> [u8; $bytes] {
                self.0
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $kind {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $bytes];
                read_hex(text.as_bytes(), &mut bytes).filter(|()| bytes != [0; $bytes]).ok_or(IdError)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Names a trace.
    TraceId = 16,
    /// Names a span in its trace.
    SpanId = 8
}

/// A text that is no id: not all lower-case hexadecimal digits, of another length, or all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is lower-case hexadecimal digits, not all zero")]
pub struct IdError;

impl TraceId {
    /// An id from two random numbers.
    pub fn of_chance(high: u64, low: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        // Never all zero.
        bytes[8..].copy_from_slice(&low.max(1).to_be_bytes());
        Self(bytes)
    }
}

impl SpanId {
    /// An id from a random number.
    pub fn of_chance(number: u64) -> Self {
        Self(number.max(1).to_be_bytes())
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn read_hex(text: &[u8], into: &mut [u8]) -> Option<()> {
    if text.len() != into.len() * 2 {
        return None;
    }
    for (byte, pair) in into.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

/// The place in a trace at which somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the trace is exported, as far as those who export do.
    pub sampled: bool,
    /// What vendors said, carried as it came.
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// Reads a `traceparent`. `None`: it is not exactly one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut version = [0];
        read_hex(bytes.get(..2)?, &mut version)?;
        // A later version may say more behind a dash; 255 is none.
        let whole = match version[0] {
            0 => bytes.len() == PARENT_BYTES,
            255 => false,
            _ => bytes.len() == PARENT_BYTES || bytes.get(PARENT_BYTES) == Some(&b'-'),
        };
        if !whole || [2, 35, 52].iter().any(|dash| bytes.get(*dash) != Some(&b'-')) {
            return None;
        }
        let mut flags = [0];
        read_hex(bytes.get(53..55)?, &mut flags)?;
        Some(Self {
            trace: text.get(3..35)?.parse().ok()?,
            span: text.get(36..52)?.parse().ok()?,
            sampled: flags[0] & SAMPLED != 0,
            state: None,
        })
    }

    /// Reads the header fields of a request: exactly one `traceparent`, any number of `tracestate`. A state that
    /// cannot be read, or is too long, is left out.
    pub fn read<'a>(
        parents: impl IntoIterator<Item = &'a [u8]>,
        states: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut parents = parents.into_iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
        let context = Self::parse(std::str::from_utf8(parent).ok()?)?;
        Some(Self { state: read_state(states), ..context })
    }

    /// The `traceparent` that says it.
    pub fn parent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

fn read_state<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Option<Arc<str>> {
    let mut state = String::new();
    let mut members = 0;
    for field in fields {
        let text = std::str::from_utf8(field).ok()?;
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            members += 1;
            if !is_member(member) || members > STATE_MEMBERS_MAX {
                return None;
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
            if state.len() > STATE_BYTES_MAX {
                return None;
            }
        }
    }
    (!state.is_empty()).then(|| state.into())
}

/// `key=value`, as W3C Trace Context, section 3.3.1.3, has them.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let begins =
        |text: &str| text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let legal = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/')
    };
    let (tenant, system) = key.split_once('@').map_or((key, None), |(tenant, system)| (tenant, Some(system)));
    let key_ok = begins(tenant)
        && tenant.bytes().all(legal)
        && match system {
            None => tenant.len() <= 256,
            Some(system) => {
                tenant.len() <= 241 && system.len() <= 14 && begins(system) && system.bytes().all(legal)
            }
        };
    let value_ok = !value.is_empty()
        && value.len() <= 256
        && value.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=');
    key_ok && value_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_context_is_read_strictly() {
        for (text, expected) in [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-ff"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01.what-comes"), None),
            (format!("00-{TRACE}-{SPAN}-01-"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}-0"), None),
            (format!("00-{TRACE}-{SPAN}-0g"), None),
            (format!("00_{TRACE}-{SPAN}-01"), None),
            (format!(" 00-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{}é-01", &SPAN[2..]), None),
            (String::new(), None),
            ("00".to_owned(), None),
        ] {
            assert_eq!(TraceContext::parse(&text).map(|it| it.sampled), expected, "{text:?}");
        }
    }

    #[test]
    fn two_contexts_are_none() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let one = [parent.as_bytes()];
        assert!(TraceContext::read(one, []).is_some());
        assert_eq!(TraceContext::read([parent.as_bytes(), parent.as_bytes()], []), None);
        assert_eq!(TraceContext::read([], []), None);
    }

    #[test]
    fn a_state_is_carried_whole_or_not_at_all() {
        let read = |fields: &[&str]| read_state(fields.iter().map(|field| field.as_bytes()));
        for (fields, expected) in [
            (&["a=1,b=2"][..], Some("a=1,b=2")),
            (&["a=1", " b=2 , ,"], Some("a=1,b=2")),
            (&["t1@v=x y"], Some("t1@v=x y")),
            (&[""], None),
            (&[], None),
            (&["A=1"], None),
            (&["a"], None),
            (&["a="], None),
            (&["a=1=2"], None),
            (&["a=1", "\u{e9}=2"], None),
            (&["a=\r\nx: y"], None),
        ] {
            assert_eq!(read(fields).as_deref(), expected, "{fields:?}");
        }
        let many = |count: usize| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        assert!(read(&[&many(STATE_MEMBERS_MAX)]).is_some());
        assert!(read(&[&many(STATE_MEMBERS_MAX + 1)]).is_none());
        let long = |bytes: usize| format!("a={},b={}", "1".repeat(250), "2".repeat(bytes - 255));
        assert!(read(&[&long(STATE_BYTES_MAX - 2)]).is_some_and(|it| it.len() == STATE_BYTES_MAX - 2));
        assert!(read(&[&format!("{},c=33", long(STATE_BYTES_MAX - 4))]).is_none());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let context = TraceContext {
            trace: TraceId::of_chance(0, 0),
            span: SpanId::of_chance(u64::MAX),
            sampled: true,
            state: None,
        };
        assert_eq!(TraceContext::parse(&context.parent()), Some(context));
    }
}
