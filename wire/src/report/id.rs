//! The id of a refusal: says where, when and why even when its record is gone.
//!
//! 115 bits in 23 characters of Crockford's base 32, and one that checks them, written in three groups of eight:
//! `r-0qk3r9d2-00000a7e-0r00vw0d`. Case does not matter; `o` reads as `0`, `i` and `l` as `1`.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use mesh::{Reason, names::ObjectName};
use serde::{Deserialize, Serialize, de};

use crate::encode::digest;

/// The digits, by value (Crockford's base 32, without its check symbols).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits that carry bits; one more checks them.
const BODY: usize = 23;
/// Bits of a short hash.
const HASH_BITS: u32 = 20;

/// The id of one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefusalId {
    proxy: u32,
    start: u32,
    sequence: u32,
    reason: u16,
    policy: Option<u32>,
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is not of the form.
    #[error("an id is r- and 24 letters and digits, for example r-00000000-00000000-00000000")]
    Form,
    /// A character of it is wrong, or two changed places.
    #[error("the id is mistyped: its last character does not fit the others")]
    Check,
}

impl RefusalId {
    /// The id of the `sequence`th refusal of a proxy that started then.
    pub fn new(
        proxy: &str,
        start: SystemTime,
        sequence: u32,
        reason: Reason,
        policy: Option<&ObjectName>,
    ) -> Self {
        Self {
            proxy: short(proxy),
            start: seconds(start),
            sequence,
            reason: reason.code(),
            policy: policy.map(|name| short(&name.to_string())),
        }
    }

    /// True if the id can be of this proxy; different proxies agree by chance once in a million.
    pub fn is_of(&self, proxy: &str) -> bool {
        self.proxy == short(proxy)
    }

    /// When that proxy started.
    pub fn started(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.start.into())
    }

    /// Which refusal since its start.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Why, if this version knows the code.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.reason)
    }

    /// True if a policy decided.
    pub fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// True if this policy can be the one that decided.
    pub fn can_be_by(&self, policy: &ObjectName) -> bool {
        self.policy == Some(short(&policy.to_string()))
    }

    fn bits(&self) -> u128 {
        let mut bits = 0;
        let mut put = |value: u32, width: u32| bits = (bits << width) | u128::from(value);
        put(self.proxy, HASH_BITS);
        put(self.start, 32);
        put(self.sequence, 32);
        put(u32::from(self.reason), 10);
        put(u32::from(self.policy.is_some()), 1);
        put(self.policy.unwrap_or_default(), HASH_BITS);
        bits
    }

    fn from_bits(mut bits: u128) -> Self {
        let mut take = |width: u32| {
            let value = (bits & ((1 << width) - 1)) as u32;
            bits >>= width;
            value
        };
        let policy = take(HASH_BITS);
        let policy = (take(1) == 1).then_some(policy);
        let reason = take(10) as u16;
        let sequence = take(32);
        let start = take(32);
        Self { proxy: take(HASH_BITS), start, sequence, reason, policy }
    }
}

fn short(text: &str) -> u32 {
    let hash = digest(text.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> (32 - HASH_BITS)
}

fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The digit that makes the sum fit (Luhn's method in base 32): every single error and nearly every exchange of
/// neighbours is found.
fn check(digits: &[u8]) -> u8 {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let value = u32::from(*digit) * if at % 2 == 0 { 2 } else { 1 };
            value / 32 + value % 32
        })
        .sum();
    ((32 - sum % 32) % 32) as u8
}

impl fmt::Display for RefusalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits();
        let mut digits = [0; BODY + 1];
        for (at, digit) in digits[..BODY].iter_mut().enumerate() {
            *digit = ((bits >> (5 * (BODY - 1 - at))) & 31) as u8;
        }
        digits[BODY] = check(&digits[..BODY]);
        out.write_str("r")?;
        for group in digits.chunks(8) {
            out.write_str("-")?;
            for digit in group {
                write!(out, "{}", char::from(DIGITS[usize::from(*digit)]))?;
            }
        }
        Ok(())
    }
}

impl FromStr for RefusalId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(['r', 'R']).and_then(|rest| rest.strip_prefix('-'));
        let mut digits = Vec::with_capacity(BODY + 1);
        for byte in rest.ok_or(IdError::Form)?.bytes().filter(|byte| *byte != b'-') {
            let byte = match byte.to_ascii_lowercase() {
                b'o' => b'0',
                b'i' | b'l' => b'1',
                other => other,
            };
            let value = DIGITS.iter().position(|digit| *digit == byte).ok_or(IdError::Form)?;
            if digits.len() > BODY {
                return Err(IdError::Form);
            }
            digits.push(value as u8);
        }
        let (last, body) = digits.split_last().filter(|(_, body)| body.len() == BODY).ok_or(IdError::Form)?;
        if *last != check(body) {
            return Err(IdError::Check);
        }
        Ok(Self::from_bits(body.iter().fold(0, |bits, digit| (bits << 5) | u128::from(*digit))))
    }
}

impl Serialize for RefusalId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RefusalId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> RefusalId {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let policy = ObjectName::new("AccessPolicy", "shop", "tools-grants");
        RefusalId::new("node/n1", start, 7, Reason::NoGrant, Some(&policy))
    }

    #[test]
    fn an_id_says_where_when_and_why() {
        let read: RefusalId = id().to_string().parse().expect("an id");
        assert_eq!(read, id());
        assert!(read.is_of("node/n1") && !read.is_of("node/n2"));
        assert_eq!(read.started(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000));
        assert_eq!((read.sequence(), read.reason(), read.has_policy()), (7, Some(Reason::NoGrant), true));
        assert!(read.can_be_by(&ObjectName::new("AccessPolicy", "shop", "tools-grants")));
        assert!(!read.can_be_by(&ObjectName::new("AccessPolicy", "shop", "other")));
        let plain = RefusalId::new("p", SystemTime::UNIX_EPOCH, 0, Reason::Loop, None);
        assert!(!plain.to_string().parse::<RefusalId>().expect("an id").has_policy());
    }

    #[test]
    fn case_hyphens_and_look_alikes_do_not_matter() {
        let text = id().to_string();
        assert_eq!(text.len(), "r-00000000-00000000-00000000".len());
        let spoken = text.to_uppercase().replace('0', "O").replace('1', "l");
        assert_eq!(spoken.parse(), Ok(id()));
        let joined = format!("r-{}", text[2..].replace('-', ""));
        assert_eq!(joined.parse(), Ok(id()));
    }

    #[test]
    fn what_is_no_id_is_said_to_be_none() {
        let text = id().to_string();
        for bad in
            ["", "r", "r-", "x-00000000", &text[1..], &text[..text.len() - 1], &format!("{text}0"), "r-ä"]
        {
            assert_eq!(bad.parse::<RefusalId>(), Err(IdError::Form), "{bad:?}");
        }
    }

    #[test]
    fn every_mistyped_digit_is_found() {
        let text = id().to_string();
        for at in (2..text.len()).filter(|at| &text[*at..=*at] != "-") {
            for digit in DIGITS.iter().map(|digit| char::from(*digit)) {
                let mut wrong: Vec<char> = text.chars().collect();
                if wrong[at] == digit {
                    continue;
                }
                wrong[at] = digit;
                let wrong: String = wrong.into_iter().collect();
                assert_eq!(wrong.parse::<RefusalId>(), Err(IdError::Check), "{wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_id_is_read_as_it_was_written(
            proxy in 0u32..1 << 20, start: u32, sequence: u32, reason in 0u16..1 << 10,
            policy in proptest::option::of(0u32..1 << 20),
        ) {
            let id = RefusalId { proxy, start, sequence, reason, policy };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn no_text_panics(text in ".{0,64}") {
            let _ = text.parse::<RefusalId>();
        }
    }
}
