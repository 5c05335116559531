//! PROXY protocol version 2: who a connection came from, said before its first byte.

use std::net::SocketAddr;

use mesh::Identity;

/// The TLV that carries the source's SPIFFE identity.
pub const TLV_SOURCE_IDENTITY: u8 = 0xD0;
/// Longest header that is read: the fixed 16 bytes and what follows.
pub const HEADER_BYTES_MAX: usize = 16 + 4096;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Source and destination; none for a connection that the proxy made for itself (`LOCAL`).
    pub addresses: Option<Addresses>,
    /// The source's identity.
    pub identity: Option<Identity>,
}

/// Both ends of the connection that the proxy accepted, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Who connected.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
}

/// Why bytes are no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It does not begin as a header does.
    #[error("not a PROXY protocol version 2 header")]
    Signature,
    /// A command that is neither LOCAL nor PROXY.
    #[error("unknown command {0}")]
    Command(u8),
    /// An address family and protocol that are not TCP over IP.
    #[error("unknown address family and protocol {0:#04x}")]
    Family(u8),
    /// More than is accepted.
    #[error("a header of {0} bytes is longer than {HEADER_BYTES_MAX}")]
    TooLong(usize),
    /// The parts do not fit in the length that was said.
    #[error("the header's parts do not fit its length")]
    Length,
    /// The source identity is there twice, or is none.
    #[error("the source identity cannot be read")]
    Identity,
    /// Source and destination are of different families.
    #[error("source and destination are of different families")]
    Mixed,
}

impl Header {
    /// Writes the header.
    ///
    /// # Errors
    /// When source and destination are of different families.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        todo!()
    }

    /// Reads a header from the front of `bytes`; says how many it took, or `None` when more are needed.
    ///
    /// # Errors
    /// When the bytes cannot become a header, whatever follows.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let _ = bytes;
        todo!()
    }
}
