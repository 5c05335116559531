//! What a client said so far, bounded.

use bytes::{Bytes, BytesMut};
use transport::Stream;

use super::http::HEAD_BYTES_MAX;

/// Most bytes that wait to be understood.
const INBOX_BYTES_MAX: usize = HEAD_BYTES_MAX + transport::stream::CHUNK_BYTES_MAX;

/// A stream, and bytes of it that were read and not understood yet.
pub(super) struct Inbox {
    stream: Stream,
    bytes: BytesMut,
}

/// Why no more can be read.
#[derive(Debug)]
pub(super) enum InboxError {
    /// The client went away.
    Gone,
    /// It said too much.
    TooLarge,
}

impl Inbox {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, bytes: BytesMut::new() }
    }

    /// The first byte, which stays.
    pub(super) async fn first(&mut self) -> Result<u8, InboxError> {
        loop {
            match self.bytes.first() {
                Some(byte) => return Ok(*byte),
                None => self.more().await?,
            }
        }
    }

    /// Reads until the parser has what it wants, or refuses what it sees.
    pub(super) async fn read<T, E>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, E>,
    ) -> Result<Result<T, E>, InboxError> {
        loop {
            match parse(&self.bytes) {
                Ok(Some((found, used))) => {
                    // A parser uses no more than it was given.
                    let used = used.min(self.bytes.len());
                    let _ = self.bytes.split_to(used);
                    return Ok(Ok(found));
                }
                Ok(None) => self.more().await?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), InboxError> {
        self.stream.write_chunks([Bytes::copy_from_slice(bytes)]).await.map_err(|_| InboxError::Gone)
    }

    /// The stream, with what was not understood yet before what comes.
    pub(super) fn into_stream(self) -> Stream {
        let Self { mut stream, bytes } = self;
        if !bytes.is_empty() {
            stream.prepend(bytes.freeze());
        }
        stream
    }

    async fn more(&mut self) -> Result<(), InboxError> {
        match self.stream.read_chunk().await {
            Ok(Some(chunk)) if self.bytes.len() + chunk.len() > INBOX_BYTES_MAX => Err(InboxError::TooLarge),
            Ok(Some(chunk)) => {
                self.bytes.extend_from_slice(&chunk);
                Ok(())
            }
            Ok(None) | Err(_) => Err(InboxError::Gone),
        }
    }
}
