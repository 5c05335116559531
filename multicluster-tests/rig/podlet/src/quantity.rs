//! Kubernetes quantities (`100m`, `1Gi`, `2e3`). Pure; counted in thousandths of thousandths of
//! thousandths.

/// One, in the unit we count in.
const ONE: i128 = 1_000_000_000;

/// How many nano-units a quantity is; `None` if it is not understood.
pub fn nanos(text: &str) -> Option<i128> {
    let split = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let scale = match suffix {
        "" => ONE,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => ONE * 1_000,
        "M" => ONE * 1_000_000,
        "G" => ONE * 1_000_000_000,
        "T" => ONE * 1_000_000_000_000,
        "P" => ONE * 1_000_000_000_000_000,
        "E" => ONE * 1_000_000_000_000_000_000,
        "Ki" => ONE << 10,
        "Mi" => ONE << 20,
        "Gi" => ONE << 30,
        "Ti" => ONE << 40,
        "Pi" => ONE << 50,
        "Ei" => ONE << 60,
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            return scaled(number, power);
        }
    };
    decimal(number, scale)
}

fn scaled(number: &str, power: i32) -> Option<i128> {
    let factor = 10i128.checked_pow(power.unsigned_abs())?;
    if power < 0 {
        decimal(number, ONE).map(|nanos| nanos / factor)
    } else {
        decimal(number, ONE.checked_mul(factor)?)
    }
}

fn decimal(number: &str, scale: i128) -> Option<i128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole: i128 =
        if matches!(whole, "" | "+" | "-") && !part.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    if !part.is_empty() {
        let digits: i128 = part.get(..part.len().min(18))?.parse().ok()?;
        let below = digits.checked_mul(scale)? / 10i128.pow(u32::try_from(part.len().min(18)).ok()?);
        nanos = if negative { nanos - below } else { nanos + below };
    }
    Some(nanos)
}

/// How many times `divisor` fits, the last one begun counts; what `resourceFieldRef` gives.
pub fn divided(nanos: i128, divisor: i128) -> i128 {
    let divisor = if divisor <= 0 { ONE } else { divisor };
    (nanos + divisor - 1).div_euclid(divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, expected) in [
            ("1", Some(ONE)),
            ("100m", Some(ONE / 10)),
            ("0.5", Some(ONE / 2)),
            (".5", Some(ONE / 2)),
            ("1.5Gi", Some(ONE * 1536 * 1024 * 1024)),
            ("2k", Some(ONE * 2000)),
            ("1e3", Some(ONE * 1000)),
            ("1E", Some(ONE * 1_000_000_000_000_000_000)),
            ("5e-1", Some(ONE / 2)),
            ("-1", Some(-ONE)),
            ("", None),
            ("x", None),
            ("1Zi", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn a_division_rounds_up() {
        let of = |value: &str, divisor: &str| divided(nanos(value).unwrap(), nanos(divisor).unwrap());
        assert_eq!(of("250m", "1"), 1);
        assert_eq!(of("250m", "1m"), 250);
        assert_eq!(of("1Gi", "1Mi"), 1024);
        assert_eq!(of("1Gi", "0"), 1024 * 1024 * 1024);
    }
}
