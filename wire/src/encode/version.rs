//! Versions: hashes of canonical bytes, equal on every replica.

use aws_lc_rs::digest::{SHA256, digest as sha};
use mesh::names::Version;

/// Bytes of the hash that are kept.
const VERSION_BYTES: usize = 16;

/// SHA-256.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(sha(&SHA256, bytes).as_ref());
    out
}

/// The version of a resource with these canonical bytes: the first 16 bytes of their SHA-256, in hex.
pub fn version(canonical: &[u8]) -> Version {
    let mut text = String::with_capacity(2 * VERSION_BYTES);
    for byte in &digest(canonical)[..VERSION_BYTES] {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_half_of_a_sha_256_in_hex() {
        // FIPS 180-4, the hash of "abc", first half.
        assert_eq!(version(b"abc").as_str(), "ba7816bf8f01cfea414140de5dae2223");
    }
}
