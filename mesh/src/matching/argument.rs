//! Conditions on the arguments of a call.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{MatchError, Whole};
use crate::resource::{ArgumentTerm, ArgumentTest};

/// Longest JSON pointer, in bytes.
pub const POINTER_BYTES_MAX: usize = 1024;

/// A compiled [`ArgumentTerm`].
#[derive(Debug, Clone)]
pub struct Argument {
    /// The pointer, as it was written.
    pub path: Arc<str>,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    In(Vec<Value>),
    Prefix(Arc<str>),
    Pattern(Whole),
    Min(f64),
    Max(f64),
    Absent(bool),
}

/// Whether an argument is as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is.
    Yes,
    /// It is there and has another value.
    No,
    /// It is not there, or of a type that the test cannot read: matches in a Deny, not in an Allow.
    Missing,
}

impl Argument {
    /// Compiles a term.
    ///
    /// # Errors
    /// When the pointer, a bound or a regular expression is not accepted, or a list is empty.
    pub fn new(term: &ArgumentTerm) -> Result<Self, MatchError> {
        if !is_pointer(&term.path) {
            return Err(MatchError::Pointer(term.path.to_string()));
        }
        let test = match &term.test {
            ArgumentTest::In(values) if values.is_empty() => return Err(MatchError::Empty("in")),
            ArgumentTest::In(values) => Test::In(values.clone()),
            ArgumentTest::Prefix(prefix) => Test::Prefix(prefix.clone()),
            ArgumentTest::Pattern(pattern) => Test::Pattern(Whole::new(pattern)?),
            ArgumentTest::Min(bound) | ArgumentTest::Max(bound) if !bound.is_finite() => {
                return Err(MatchError::Bound(*bound));
            }
            ArgumentTest::Min(bound) => Test::Min(*bound),
            ArgumentTest::Max(bound) => Test::Max(*bound),
            ArgumentTest::Absent(absent) => Test::Absent(*absent),
        };
        Ok(Self { path: term.path.clone(), test })
    }

    /// Looks at a call's arguments.
    pub fn test(&self, arguments: &Value) -> Held {
        let held = |yes: bool| if yes { Held::Yes } else { Held::No };
        let found = arguments.pointer(&self.path);
        match (&self.test, found) {
            (Test::Absent(absent), found) => held(found.is_none() == *absent),
            (_, None) => Held::Missing,
            (Test::In(values), Some(found)) => {
                if values.iter().any(|value| same(value, found)) {
                    Held::Yes
                } else if values.iter().any(|value| same_type(value, found)) {
                    Held::No
                } else {
                    Held::Missing
                }
            }
            (Test::Prefix(prefix), Some(Value::String(text))) => held(text.starts_with(&**prefix)),
            (Test::Pattern(pattern), Some(Value::String(text))) => held(pattern.matches(text)),
            (Test::Min(bound), Some(Value::Number(number))) => {
                number.as_f64().map_or(Held::Missing, |number| held(number >= *bound))
            }
            (Test::Max(bound), Some(Value::Number(number))) => {
                number.as_f64().map_or(Held::Missing, |number| held(number <= *bound))
            }
            (Test::Prefix(_) | Test::Pattern(_) | Test::Min(_) | Test::Max(_), Some(_)) => Held::Missing,
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Test::In(values) => {
                out.write_str("one of ")?;
                for (index, value) in values.iter().enumerate() {
                    write!(out, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Test::Prefix(prefix) => write!(out, "a text that begins with {prefix}"),
            Test::Pattern(Whole(regex)) => write!(out, "a text that matches {regex}"),
            Test::Min(bound) => write!(out, "at least {bound}"),
            Test::Max(bound) => write!(out, "at most {bound}"),
            Test::Absent(true) => out.write_str("nothing there"),
            Test::Absent(false) => out.write_str("anything there"),
        }
    }
}

/// RFC 6901, section 3.
fn is_pointer(text: &str) -> bool {
    text.len() <= POINTER_BYTES_MAX
        && (text.is_empty() || text.starts_with('/'))
        && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

/// Equal as JSON values: `1` and `1.0` are one number, and whole numbers are compared exactly.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => left == right,
    }
}

fn same_type(left: &Value, right: &Value) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_is_held_missed_or_missing() {
        use ArgumentTest::{Absent, In, Max, Min, Pattern, Prefix};
        let given = json!({"repo": "docs", "n": 3, "big": 9_007_199_254_740_993_u64, "deep": {"a/b": [1, 2]}, "no": null});
        let test = |path: &str, test| {
            Argument::new(&ArgumentTerm { path: path.into(), test }).map(|it| it.test(&given))
        };
        for (path, term, expected) in [
            ("/repo", In(vec![json!("docs")]), Held::Yes),
            ("/repo", In(vec![json!("web")]), Held::No),
            ("/repo", In(vec![json!(1)]), Held::Missing),
            ("/none", In(vec![json!("docs")]), Held::Missing),
            ("/n", In(vec![json!(3.0)]), Held::Yes),
            ("/big", In(vec![json!(9_007_199_254_740_992_u64)]), Held::No),
            ("/deep/a~1b/1", In(vec![json!(2)]), Held::Yes),
            ("/repo", Prefix("do".into()), Held::Yes),
            ("/repo", Prefix("x".into()), Held::No),
            ("/n", Prefix("3".into()), Held::Missing),
            ("/repo", Pattern("d.cs".into()), Held::Yes),
            ("/repo", Pattern("d.c".into()), Held::No),
            ("/n", Min(3.0), Held::Yes),
            ("/n", Min(3.1), Held::No),
            ("/n", Max(3.0), Held::Yes),
            ("/n", Max(2.9), Held::No),
            ("/repo", Min(0.0), Held::Missing),
            ("/none", Absent(true), Held::Yes),
            ("/none", Absent(false), Held::No),
            ("/no", Absent(true), Held::No),
            ("/no", Absent(false), Held::Yes),
        ] {
            assert_eq!(test(path, term.clone()), Ok(expected), "{path} {term:?}");
        }
        for (path, term) in
            [("repo", Absent(true)), ("/a~2", Absent(true)), ("/a", In(vec![])), ("/a", Min(f64::NAN))]
        {
            assert!(test(path, term.clone()).is_err(), "{path} {term:?}");
        }
    }
}
