//! Keys and tokens in the forms that well-known issuers give them, and private keys in PEM (RFC 7468).

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::overlapping;

/// The forms; each begins where a word begins.
const FORMS: [&str; 18] = [
    // Providers of models.
    r"sk-[A-Za-z0-9_-]{20,}",
    r"gsk_[A-Za-z0-9]{20,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"AIza[A-Za-z0-9_-]{35}",
    // Payment.
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    // Code.
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgEI[A-Za-z0-9_-]{50,}",
    // Chat.
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    // Clouds.
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"dop_v1_[a-f0-9]{64}",
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    // JSON Web Tokens.
    r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?",
];
const PEM_END: &str = "-----END ";

static WORDS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"(?-u:\b)(?:{})", FORMS.join("|"))).ok());
static PEM: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----").ok());

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (Some(words), Some(pem)) = (&*WORDS, &*PEM) else {
        // The forms are constants that a test compiles; if they were none, nothing could be let through.
        return std::iter::once(0..text.len()).collect();
    };
    found.extend(overlapping::find(words, text));
    let mut from = 0;
    while let Some(begin) = pem.find_at(text, from) {
        // To the end of its last line; a key without one goes on to the end.
        let end = text[begin.end()..].find(PEM_END).map(|at| begin.end() + at + PEM_END.len());
        let end = end.map(|at| text[at..].find("-----").map_or(text.len(), |line| at + line + 5));
        from = end.unwrap_or(text.len());
        found.push(begin.start()..from);
    }
    found
}
