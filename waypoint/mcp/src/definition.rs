//! What a tool is: the digest of its definition, and what is hidden in it.
//!
//! The digest is of the JSON of RFC 8785 of those fields by which a model and a person understand a tool; what only
//! decorates it (icons, `_meta`) may change.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde_json::{Map, Number, Value};

/// The fields of a definition.
const FIELDS: [&str; 6] = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// The definition of a tool, in its one form. `None` if what stands there is no object.
pub fn canonical(tool: &Value) -> Option<String> {
    let tool = tool.as_object()?;
    let kept: Map<String, Value> = FIELDS
        .iter()
        .filter_map(|field| {
            Some(((*field).to_owned(), tool.get(*field).filter(|value| !value.is_null())?.clone()))
        })
        .collect();
    let mut out = String::new();
    write_object(&kept, &mut out);
    Some(out)
}

/// The digest of a definition in its one form: `sha256:` and 64 hex digits.
pub fn pin(canonical: &str) -> String {
    let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
    let mut out = String::from("sha256:");
    for byte in digest.as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
        Value::Number(number) => write_number(number, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => write_object(fields, out),
    }
}

fn write_object(fields: &Map<String, Value>, out: &mut String) {
    let mut sorted: Vec<(Vec<u16>, &String, &Value)> =
        fields.iter().map(|(key, value)| (key.encode_utf16().collect(), key, value)).collect();
    // "sorted ... as arrays of UTF-16 code units" (RFC 8785, section 3.2.3).
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    out.push('{');
    for (at, (_, key, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// As ECMAScript writes a number (RFC 8785, section 3.2.2.3).
fn write_number(number: &Number, out: &mut String) {
    let value = number.as_f64().unwrap_or_default();
    if value == 0.0 {
        out.push('0');
        return;
    }
    // The shortest digits that read back as the same number, and where the point stands among them.
    let shortest = format!("{:e}", value.abs());
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or_default().saturating_add(1);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if value < 0.0 {
        out.push('-');
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let at = usize::try_from(point).unwrap_or_default();
    if count <= point && point <= 21 {
        let _ = write!(out, "{digits}{}", zeros(point - count));
    } else if 0 < point && point <= 21 {
        let _ = write!(out, "{}.{}", &digits[..at], &digits[at..]);
    } else if -6 < point && point <= 0 {
        let _ = write!(out, "0.{}{digits}", zeros(-point));
    } else {
        let sign = if point > 0 { '+' } else { '-' };
        let shown = (point - 1).abs();
        match digits.split_at(1) {
            (first, "") => {
                let _ = write!(out, "{first}e{sign}{shown}");
            }
            (first, rest) => {
                let _ = write!(out, "{first}.{rest}e{sign}{shown}");
            }
        }
    }
}

/// A sign in a definition that people do not see, or that makes them read something else than a model does.
pub fn hidden(canonical: &str) -> Option<char> {
    let mut before = None;
    let mut signs = canonical.chars().peekable();
    while let Some(sign) = signs.next() {
        let joins = matches!(sign, '\u{200c}' | '\u{200d}');
        // Joiners belong to scripts and pictures; between letters of ASCII they join nothing.
        let stands_well = |next: Option<&char>| {
            before.is_some_and(|it: char| !it.is_ascii()) && next.is_some_and(|it| !it.is_ascii())
        };
        if is_hidden(sign) || (joins && !stands_well(signs.peek())) {
            return Some(sign);
        }
        before = Some(sign);
    }
    None
}

fn is_hidden(sign: char) -> bool {
    matches!(sign,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}'
        // Zero width, and marks of direction.
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
        // Embeddings, overrides and isolates.
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Tags, and the variation selectors in which whole texts have been hidden.
        | '\u{e0000}'..='\u{e0fff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{80}'..='\u{9f}' | '\u{0}'..='\u{1f}' | '\u{7f}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn number(text: &str, expected: &str) {
        let mut out = String::new();
        // By the standard library, whose reading is exact.
        write_number(&Number::from_f64(text.parse().unwrap()).unwrap(), &mut out);
        assert_eq!(out, expected, "{text}");
    }

    #[test]
    fn numbers_are_written_as_the_rfc_says() {
        // Most are from its appendix B.
        for (text, expected) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("5e-324", "5e-324"),
            ("-5e-324", "-5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740992", "9007199254740992"),
            ("-9007199254740992", "-9007199254740992"),
            ("295147905179352830000", "295147905179352830000"),
            ("9.999999999999997e22", "9.999999999999997e+22"),
            ("1e23", "1e+23"),
            ("999999999999999700000", "999999999999999700000"),
            ("1e21", "1e+21"),
            ("9.999999999999997e-7", "9.999999999999997e-7"),
            ("0.000001", "0.000001"),
            ("333333333.33333329", "333333333.3333333"),
            ("1.0", "1"),
            ("4.5", "4.5"),
            ("-10", "-10"),
        ] {
            number(text, expected);
        }
    }

    #[test]
    fn keys_are_sorted_by_utf16_and_other_fields_left_out() {
        let tool = json!({
            "name": "a", "icons": [1], "_meta": {"x": 1}, "title": null,
            "inputSchema": {"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7},
        });
        assert_eq!(
            canonical(&tool).unwrap(),
            "{\"inputSchema\":{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3},\"name\":\"a\"}"
        );
        assert!(canonical(&json!(1)).is_none());
    }

    #[test]
    fn the_order_of_keys_and_decoration_do_not_change_a_pin_and_words_do() {
        let pin_of = |tool: Value| pin(&canonical(&tool).unwrap());
        let one = pin_of(json!({"name": "a", "description": "reads", "inputSchema": {"a": 1, "b": 2.0}}));
        assert_eq!(one.len(), 71);
        assert_eq!(
            one,
            pin_of(
                json!({"inputSchema": {"b": 2, "a": 1.0}, "description": "reads", "name": "a", "icons": []})
            )
        );
        assert_ne!(
            one,
            pin_of(json!({"name": "a", "description": "reads.", "inputSchema": {"a": 1, "b": 2}}))
        );
        assert_ne!(
            one,
            pin_of(json!({"name": "b", "description": "reads", "inputSchema": {"a": 1, "b": 2}}))
        );
    }

    #[test]
    fn what_people_do_not_see_is_found() {
        for text in
            ["a\u{200b}b", "\u{202e}txt", "a\u{e0041}", "\u{2066}x", "a\u{200d}b", "\u{feff}", "a\u{e0100}"]
        {
            assert!(hidden(text).is_some(), "{text:?}");
        }
        // Families of pictures, Persian, and line ends as JSON writes them.
        for text in [
            "search",
            "\u{1f468}\u{200d}\u{1f469}",
            "\u{646}\u{200c}\u{62e}",
            "\u{2764}\u{fe0f}",
            "a\\nb",
            "für",
        ] {
            assert_eq!(hidden(text), None, "{text:?}");
        }
    }
}
