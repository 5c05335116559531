//! Whether a token is the workload's: its SHA-256 is what we know, and the comparison takes the same time for all.

use std::fmt::Write as _;

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 1024;

/// True if the SHA-256 of the token is this one, in lower-case hex.
pub(super) fn fits(token: &[u8], sha256_hex: &str) -> bool {
    if token.len() > TOKEN_BYTES_MAX {
        return false;
    }
    let mut found = String::with_capacity(64);
    for byte in wire::encode::digest(token) {
        // Writing to a String does not fail.
        let _ = write!(found, "{byte:02x}");
    }
    // Lengths are no secret; which byte differs is.
    found.len() == sha256_hex.len()
        && found.bytes().zip(sha256_hex.bytes()).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_fits() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(fits(b"abc", abc));
        for bad in [&b"abd"[..], b"", b"abc ", b"ABC"] {
            assert!(!fits(bad, abc));
        }
        assert!(!fits(b"abc", &abc[1..]) && !fits(b"abc", "") && !fits(b"abc", &abc.to_uppercase()));
        let longest = vec![b'x'; TOKEN_BYTES_MAX + 1];
        assert!(!fits(&longest, abc));
    }
}
