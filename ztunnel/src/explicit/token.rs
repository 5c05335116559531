//! The token of a workload, known only by its hash.

use std::fmt::Write as _;

use aws_lc_rs::{constant_time, digest};

/// The SHA-256 of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Reads a hash of 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// True for the token. How long it takes does not tell how much of a guess was right.
    pub fn admits(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| constant_time::verify_slices_are_equal(&Self::of(token).0, &self.0).is_ok())
    }

    /// 64 hexadecimal digits.
    pub fn text(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TokenHash;

    #[test]
    fn only_the_token_is_admitted() {
        let hash = TokenHash::parse(&TokenHash::of("secret").text()).expect("its own text");
        assert!(hash.admits(Some("secret")));
        for wrong in [None, Some(""), Some("secre"), Some("secret ")] {
            assert!(!hash.admits(wrong));
        }
        for wrong in ["", "zz", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(TokenHash::parse(wrong), None);
        }
    }
}
