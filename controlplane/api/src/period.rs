//! A duration as Gateway API writes it (GEP-2257): `1h30m`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// GEP-2257: one to four numbers of one to five digits, each with a unit.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const PARTS_MAX: usize = 4;
const DIGITS_MAX: usize = 5;

/// A duration that was written by a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period(Duration);

/// A text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write for example 500ms, 10s or 1h30m (h, m, s, ms; at most {DIGITS_MAX} digits each)"
)]
pub struct PeriodError(String);

impl Period {
    /// The duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| PeriodError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        parts += 1;
        if parts > PARTS_MAX || digits == 0 || digits > DIGITS_MAX {
            return None;
        }
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        // "ms" comes before "m", of which it would else be taken for.
        let (unit, after) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find_map(|(unit, millis)| after.strip_prefix(unit).map(|after| (millis, after)))?;
        total += Duration::from_millis(number * unit);
        rest = after;
    }
    (parts > 0).then_some(total)
}

impl fmt::Display for Period {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return out.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= size {
                write!(out, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_to_four_parts_of_one_to_five_digits() {
        let cases = [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1h30m", Some(5_400_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("99999h", Some(359_996_400_000)),
            ("100000h", None),
            ("1h1m1s1ms1s", None),
            ("", None),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("1 s", None),
            ("1us", None),
        ];
        for (text, millis) in cases {
            let found = text.parse::<Period>().ok().map(|period| period.duration().as_millis());
            assert_eq!(found, millis, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for text in ["0s", "500ms", "1h30m", "1h1m1s1ms"] {
            assert_eq!(text.parse::<Period>().map(|period| period.to_string()), Ok(text.to_owned()));
        }
    }
}
