//! Names and values of a stream, and the block that carries them.

/// The most bytes of one block, uncompressed. Kubernetes sends a few dozen.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The most names of one block.
pub const HEADERS_MAX: usize = 128;

/// What parts the values of one name.
const VALUE_SEPARATOR: char = '\0';

/// Names and values in the order of the wire. Names are lower case; a name with several values
/// stands here once for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// Why a header block cannot be read. Each ends the connection: the compression state of later
/// blocks depends on this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadersError {
    /// zlib refused the block, or it was made with another dictionary.
    #[error("the compressed header block is damaged")]
    Compression,
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("a header block has more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// More names than [`HEADERS_MAX`].
    #[error("a header block has {0} names, more than {HEADERS_MAX}")]
    TooMany(u32),
    /// The lengths within the block lead beyond its end, or short of it.
    #[error("the lengths within a header block do not fit its size")]
    Lengths,
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more name and value. The name is made lower case, as the protocol asks.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// The first value of a name, whatever the case of its letters.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All names and values, in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The block as the protocol writes it, before compression.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut names: Vec<(&str, String)> = Vec::new();
        for (name, value) in self.iter() {
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => {
                    values.push(VALUE_SEPARATOR);
                    values.push_str(value);
                }
                None => names.push((name, value.to_owned())),
            }
        }
        let mut block = Vec::new();
        put_length(&mut block, names.len());
        for (name, values) in &names {
            for part in [name.as_bytes(), values.as_bytes()] {
                put_length(&mut block, part.len());
                block.extend_from_slice(part);
            }
        }
        block
    }

    /// Reads an uncompressed block.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeadersError> {
        let mut rest = block;
        let count = take_length(&mut rest)?;
        if count as usize > HEADERS_MAX {
            return Err(HeadersError::TooMany(count));
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = take_text(&mut rest)?.to_ascii_lowercase();
            let values = take_text(&mut rest)?;
            headers.extend(values.split(VALUE_SEPARATOR).map(|value| (name.clone(), value.to_owned())));
        }
        if rest.is_empty() { Ok(Self(headers)) } else { Err(HeadersError::Lengths) }
    }
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    block.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn take_length(rest: &mut &[u8]) -> Result<u32, HeadersError> {
    let (length, after) = rest.split_first_chunk().ok_or(HeadersError::Lengths)?;
    *rest = after;
    Ok(u32::from_be_bytes(*length))
}

fn take_text(rest: &mut &[u8]) -> Result<String, HeadersError> {
    let length = take_length(rest)? as usize;
    let (text, after) = rest.split_at_checked(length).ok_or(HeadersError::Lengths)?;
    *rest = after;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_with_two_values_is_written_once() {
        let headers =
            Headers::new().with("StreamType", "error").with("port", "80").with("streamtype", "data");
        let read = Headers::decode(&headers.encode()).unwrap();
        assert_eq!(
            read.iter().collect::<Vec<_>>(),
            [("streamtype", "error"), ("streamtype", "data"), ("port", "80")]
        );
        assert_eq!(read.get("Port"), Some("80"));
    }

    #[test]
    fn the_last_count_that_passes_and_the_first_that_does_not() {
        let named = |count: usize| (0..count).fold(Headers::new(), |all, n| all.with(&format!("n{n}"), ""));
        assert!(Headers::decode(&named(HEADERS_MAX).encode()).is_ok());
        assert_eq!(Headers::decode(&named(HEADERS_MAX + 1).encode()), Err(HeadersError::TooMany(129)));
    }

    #[test]
    fn bytes_after_the_last_value_are_refused() {
        let mut block = Headers::new().with("a", "b").encode();
        block.push(0);
        assert_eq!(Headers::decode(&block), Err(HeadersError::Lengths));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Headers::decode(&block);
        }
    }
}
