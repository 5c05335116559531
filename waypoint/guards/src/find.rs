//! Finds kinds of things in a text. Each finder is linear in the text and says ranges that never cut a character.

mod address;
mod card;
mod digits;
mod email;
mod iban;
mod overlapping;
mod phone;
mod secret;
mod ssn;

use std::ops::Range;

use mesh::resource::Finds;
pub(crate) use overlapping::MATCHES_MAX;
use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A finder, ready to be used.
#[derive(Debug)]
pub(crate) enum Finder {
    Email,
    CreditCard,
    UsSsn,
    PhoneNumber,
    Iban,
    IpAddress,
    Secret,
    Regex(Box<Regex>),
}

/// How a match can stretch over the end of what has arrived: what of the end must wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// It has no blank in it.
    Word,
    /// Digits and capitals in groups.
    Groups,
    /// A key in PEM: its first line has blanks, and what follows belongs to it.
    Pem,
    /// Anything.
    Any,
}

impl Finder {
    pub(crate) fn compile(finds: &Finds) -> Result<Self, String> {
        Ok(match finds {
            Finds::Email => Self::Email,
            Finds::CreditCard => Self::CreditCard,
            Finds::UsSsn => Self::UsSsn,
            Finds::PhoneNumber => Self::PhoneNumber,
            Finds::Iban => Self::Iban,
            Finds::IpAddress => Self::IpAddress,
            Finds::Secret => Self::Secret,
            Finds::Regex(text) => {
                let mut builder = RegexBuilder::new(text);
                builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
                Self::Regex(Box::new(builder.build().map_err(|error| error.to_string())?))
            }
        })
    }

    pub(crate) fn stretch(&self) -> Stretch {
        match self {
            Self::Email | Self::IpAddress => Stretch::Word,
            Self::CreditCard | Self::UsSsn | Self::PhoneNumber | Self::Iban => Stretch::Groups,
            Self::Secret => Stretch::Pem,
            Self::Regex(_) => Stretch::Any,
        }
    }

    /// The ranges of what is found, in order; those that overlap are one.
    pub(crate) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = match self {
            Self::Email => email::find(text),
            Self::CreditCard => card::find(text),
            Self::UsSsn => ssn::find(text),
            Self::PhoneNumber => phone::find(text),
            Self::Iban => iban::find(text),
            Self::IpAddress => address::find(text),
            Self::Secret => secret::find(text),
            Self::Regex(regex) => overlapping::find(regex, text),
        };
        found.sort_by_key(|range| range.start);
        joined(found)
    }
}

/// Ranges in order, those joined that have characters in common.
fn joined(found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match apart.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(finds: Finds, cases: &[(&str, &[&str])]) {
        let finder = Finder::compile(&finds).unwrap();
        for (text, expected) in cases {
            let found: Vec<&str> = finder.find(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, *expected, "{finds:?} in {text:?}");
        }
    }

    #[test]
    fn addresses_of_mail() {
        check(
            Finds::Email,
            &[
                ("write to ada@lab.example, or bob+x@a.b.co.", &["ada@lab.example", "bob+x@a.b.co"]),
                ("<ada@lab.example>", &["ada@lab.example"]),
                ("mailto:ada@lab.example?subject=x", &["ada@lab.example"]),
                ("Zoë@bücher.example", &["Zoë@bücher.example"]),
                ("a@b @x.y x@ a@b.c @@ a@.com a@b..com", &[]),
                ("user@host:/path and git@github.com:x", &["git@github.com"]),
                ("ada@lab.example@bob.example", &["ada@lab.example@bob.example"]),
            ],
        );
    }

    #[test]
    fn numbers_of_cards_with_their_check_digit() {
        check(
            Finds::CreditCard,
            &[
                ("4111111111111111", &["4111111111111111"]),
                ("pay 4111 1111 1111 1111 now", &["4111 1111 1111 1111"]),
                ("5500-0000-0000-0004", &["5500-0000-0000-0004"]),
                ("amex 3782 822463 10005", &["3782 822463 10005"]),
                ("2 4111 1111 1111 1111 4", &["4111 1111 1111 1111"]),
                ("4111\u{a0}1111\u{a0}1111\u{a0}1111", &["4111\u{a0}1111\u{a0}1111\u{a0}1111"]),
                ("4111111111111112 4111  1111 1111 1111 04111111111111111 0000000000000000", &[]),
                ("411111111111111", &[]),
                // The last group of the first is the first of the second.
                ("5111 1111 1111 1118 4111 1111 1111 1111", &["5111 1111 1111 1118", "4111 1111 1111 1111"]),
                ("4000 0000 0000 2008 0000 0000 0008", &["4000 0000 0000 2008 0000 0000 0008"]),
                ("x4111111111111111", &["4111111111111111"]),
            ],
        );
    }

    #[test]
    fn numbers_of_social_security() {
        check(
            Finds::UsSsn,
            &[
                ("ssn 078-05-1120.", &["078-05-1120"]),
                ("078 05 1120", &["078 05 1120"]),
                ("000-05-1120 666-05-1120 900-05-1120 078-00-1120 078-05-0000", &[]),
                ("1078-05-1120 078-05-11201 078-05 1120 078051120", &[]),
            ],
        );
    }

    #[test]
    fn telephone_numbers() {
        check(
            Finds::PhoneNumber,
            &[
                ("call +49 (0)30 901820 or +1-202-555-0143", &["+49 (0)30 901820", "+1-202-555-0143"]),
                ("+14155552671", &["+14155552671"]),
                ("+0123456789 +1234567; 1+1 a+49 + 4930901820", &[]),
                ("+1234567890123456", &[]),
            ],
        );
    }

    #[test]
    fn ibans_with_their_check_digits() {
        check(
            Finds::Iban,
            &[
                ("DE89370400440532013000", &["DE89370400440532013000"]),
                ("to DE89 3704 0044 0532 0130 00 is mine", &["DE89 3704 0044 0532 0130 00"]),
                ("gb82west12345698765432", &["gb82west12345698765432"]),
                ("DE88370400440532013000 DE8937040044053201300 XDE89370400440532013000", &[]),
            ],
        );
    }

    #[test]
    fn internet_addresses() {
        check(
            Finds::IpAddress,
            &[
                ("at 10.0.0.1:80, 192.168.1.255", &["10.0.0.1", "192.168.1.255"]),
                ("[2001:db8::1]:443 fe80::1 ::ffff:10.0.0.1", &["2001:db8::1", "fe80::1", "::ffff:10.0.0.1"]),
                ("1.2.3.4.5 1.2.3 256.1.1.1 12:30:45 :: a::b::c std::fmt v1.2.3.4x", &[]),
            ],
        );
    }

    #[test]
    fn keys_and_tokens() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
        let github = format!("ghp_{}", "a1B2".repeat(9));
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlMTIz";
        let chained = format!("eyJhbGciOiJIUzI1NiJ9.{jwt}");
        check(
            Finds::Secret,
            &[
                ("key sk-proj-abcdefghijklmnopqrstuvwx, ok", &["sk-proj-abcdefghijklmnopqrstuvwx"]),
                (&github, &[&github]),
                ("AKIAIOSFODNN7EXAMPLE", &["AKIAIOSFODNN7EXAMPLE"]),
                ("xoxb-1234567890-abcdef", &["xoxb-1234567890-abcdef"]),
                ("AIzaSyA1234567890abcdefghijklmnopqrstuv", &["AIzaSyA1234567890abcdefghijklmnopqrstuv"]),
                (jwt, &[jwt]),
                (&format!("a {pem} b"), &[pem]),
                (&chained, &[&chained]),
                ("-----BEGIN PRIVATE KEY-----\nMII", &["-----BEGIN PRIVATE KEY-----\nMII"]),
                ("task-abcdefghijklmnopqrstuvwx sk-short AKIA123 -----BEGIN CERTIFICATE-----", &[]),
            ],
        );
    }
}
