//! IBANs (ISO 13616): a country, two check digits, and as many letters and digits as the country has, with the right
//! remainder (ISO 7064, MOD 97-10). Blanks or hyphens may stand between groups.

use std::ops::Range;

use super::digits::before;

/// Shortest and longest of any country.
const LENGTHS: std::ops::RangeInclusive<usize> = 15..=34;
/// Countries and their lengths, from the registry.
const COUNTRIES: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29\
ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25\
MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23\
ST25SV28TL23TN24TR26UA29VA22VG24XK20";

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let head = &bytes[at..at + 4];
        let begins = head[..2].iter().all(u8::is_ascii_alphabetic)
            && head[2..].iter().all(u8::is_ascii_digit)
            && !before(text, at).is_some_and(char::is_alphanumeric);
        if let Some(end) = begins.then(|| end_of(bytes, at)).flatten() {
            found.push(at..end);
        }
        // Another may begin inside of it.
        at += 1;
        while at < bytes.len() && !text.is_char_boundary(at) {
            at += 1;
        }
    }
    found
}

fn length_of(country: &[u8]) -> Option<usize> {
    let entries = COUNTRIES.as_bytes().chunks_exact(4);
    let entry = entries.into_iter().find(|entry| entry[..2].eq_ignore_ascii_case(country))?;
    Some(usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0'))
}

fn end_of(bytes: &[u8], start: usize) -> Option<usize> {
    let wanted = length_of(&bytes[start..start + 2]);
    let mut characters: Vec<u8> = Vec::with_capacity(*LENGTHS.end());
    let mut gap = false;
    for (offset, byte) in bytes[start..].iter().enumerate() {
        match byte {
            b' ' | b'-' if !gap => gap = true,
            byte if byte.is_ascii_alphanumeric() => {
                // Without a length of its country it is taken as it stands, in one piece.
                if wanted.is_none() && gap {
                    break;
                }
                gap = false;
                characters.push(*byte);
                if characters.len() > *LENGTHS.end() {
                    return None;
                }
                if wanted == Some(characters.len()) {
                    let end = start + offset + 1;
                    let goes_on = bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
                    return (!goes_on && is_right(&characters)).then_some(end);
                }
            }
            _ => break,
        }
    }
    let whole = wanted.is_none() && LENGTHS.contains(&characters.len()) && is_right(&characters);
    whole.then(|| start + characters.len())
}

fn is_right(characters: &[u8]) -> bool {
    let turned = characters[4..].iter().chain(&characters[..4]);
    let rest = turned.fold(0u32, |rest, byte| match char::from(*byte).to_digit(36) {
        Some(value) if value < 10 => (rest * 10 + value) % 97,
        Some(value) => (rest * 100 + value) % 97,
        None => rest,
    });
    rest == 1
}
