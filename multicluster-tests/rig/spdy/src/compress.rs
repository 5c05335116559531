//! The two zlib streams of a connection, one for each direction, that header blocks go through.
//!
//! Both live as long as the connection and carry state from block to block, so blocks must pass in
//! the order of the wire, and none may be left out.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::dictionary::DICTIONARY;
use crate::headers::{HEADER_BYTES_MAX, HeadersError};

/// How much the output grows at a time, in bytes.
const STEP: usize = 4096;

/// What compresses the blocks we send.
pub(crate) struct Deflater(Compress);

/// What opens the blocks we receive.
pub(crate) struct Inflater(Decompress);

impl Deflater {
    pub(crate) fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&DICTIONARY).expect("a fresh stream takes a dictionary");
        Self(compress)
    }

    /// Appends `block`, compressed and flushed to a byte border, to `out`.
    pub(crate) fn deflate(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        loop {
            out.reserve(STEP);
            let before = self.0.total_in();
            self.0
                .compress_vec(rest, out, FlushCompress::Sync)
                .expect("only a misused stream fails to compress, and room was reserved");
            rest = &rest[usize::try_from(self.0.total_in() - before).unwrap_or(rest.len())..];
            if rest.is_empty() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// What `compressed` stands for. Bounded, so that a small block cannot become a large one.
    pub(crate) fn inflate(&mut self, compressed: &[u8]) -> Result<Vec<u8>, HeadersError> {
        let mut out = Vec::new();
        let mut rest = compressed;
        loop {
            out.reserve(STEP);
            let (read, written) = (self.0.total_in(), out.len());
            let status = match self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| HeadersError::Compression)?;
                    Status::Ok
                }
                Err(_) => return Err(HeadersError::Compression),
            };
            let consumed = usize::try_from(self.0.total_in() - read).unwrap_or(rest.len()).min(rest.len());
            rest = &rest[consumed..];
            if out.len() > HEADER_BYTES_MAX {
                return Err(HeadersError::TooLong);
            }
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(out);
            }
            // The stream lasts as long as the connection; a block that ends it leaves none for the next.
            let stuck = consumed == 0 && out.len() == written;
            if stuck || status == Status::StreamEnd {
                return Err(HeadersError::Compression);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflate(deflater: &mut Deflater, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        deflater.deflate(block, &mut out);
        out
    }

    #[test]
    fn blocks_come_back_in_their_order() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for block in [&b"streamtype stdin"[..], b"", b"streamtype stdout", &[7; 20_000]] {
            assert_eq!(inflater.inflate(&deflate(&mut deflater, block)).unwrap(), block);
        }
    }

    #[test]
    fn a_block_that_grows_without_end_is_refused() {
        let mut deflater = Deflater::new();
        let fits = deflate(&mut deflater, &vec![0; HEADER_BYTES_MAX]);
        let grows = deflate(&mut Deflater::new(), &vec![0; HEADER_BYTES_MAX + 1]);
        assert_eq!(Inflater::new().inflate(&fits).unwrap().len(), HEADER_BYTES_MAX);
        assert_eq!(Inflater::new().inflate(&grows), Err(HeadersError::TooLong));
    }

    #[test]
    fn a_block_made_with_another_dictionary_is_refused() {
        let mut other = Compress::new(Compression::default(), true);
        other.set_dictionary(b"another dictionary").unwrap();
        let mut out = Vec::with_capacity(100);
        other.compress_vec(b"hello", &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(Inflater::new().inflate(&out), Err(HeadersError::Compression));
    }
}
