//! Frames: eight bytes that say what follows, and what follows.
//!
//! Pure: bytes to frames and back. Data frames are only announced here; their bytes are passed on
//! piece by piece by whoever reads, because one may be 16 MiB long.

use bytes::{Bytes, BytesMut};

use crate::compress::{Deflater, Inflater};
use crate::headers::{Headers, HeadersError};

/// The number of a stream: odd when a client opened it, even when a server did, 31 bits.
pub type StreamId = u32;

/// The most bytes of a control frame after its first eight. Kubernetes' have less than a hundred.
pub const CONTROL_LENGTH_MAX: usize = 64 * 1024;

/// The bytes that begin each frame.
pub(crate) const PREFIX_LENGTH: usize = 8;
/// The protocol's version in control frames; 3.1 says 3 too.
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 0x01;
const FLAG_UNIDIRECTIONAL: u8 = 0x02;
const ID_MASK: u32 = 0x7fff_ffff;
/// The bytes of a SYN_STREAM before its header block: two stream numbers, priority, slot.
const SYN_STREAM_FIXED: usize = 10;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Why a stream was ended before its time (RST_STREAM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetStatus {
    /// The frame did not make sense for this stream.
    ProtocolError,
    /// There is no such stream.
    InvalidStream,
    /// The stream was not taken up.
    RefusedStream,
    /// The one who opened it does not want it any more.
    Cancel,
    /// Any other, by its number.
    Other(u32),
}

/// Why a connection ends (GOAWAY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoAwayStatus {
    /// All is well.
    Ok,
    /// The peer broke the protocol.
    ProtocolError,
    /// Any other, by its number.
    Other(u32),
}

/// What the first eight bytes of a frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    Data { id: StreamId, fin: bool, length: usize },
    Control { kind: u16, flags: u8, length: usize },
}

/// A control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    SynStream {
        id: StreamId,
        fin: bool,
        unidirectional: bool,
        headers: Headers,
    },
    SynReply {
        id: StreamId,
        fin: bool,
        headers: Headers,
    },
    Reset {
        id: StreamId,
        status: ResetStatus,
    },
    Ping(u32),
    GoAway {
        last: StreamId,
        status: GoAwayStatus,
    },
    Headers {
        id: StreamId,
        fin: bool,
        headers: Headers,
    },
    /// Read, well formed, and without effect here: SETTINGS, WINDOW_UPDATE, kinds of the future.
    Ignored,
}

/// Why a frame cannot be read. Each ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not version 3.
    #[error("a control frame is of SPDY version {0}, not {VERSION}")]
    Version(u16),
    /// Longer than [`CONTROL_LENGTH_MAX`].
    #[error("a control frame has {0} bytes, more than {CONTROL_LENGTH_MAX}")]
    TooLong(usize),
    /// The length does not fit the kind.
    #[error("a control frame of kind {kind} has {length} bytes, which does not fit its kind")]
    Length {
        /// The number of the kind.
        kind: u16,
        /// The bytes there were.
        length: usize,
    },
    /// Stream number 0 where a stream must be named.
    #[error("a frame names stream 0")]
    ZeroStream,
    /// The header block within.
    #[error(transparent)]
    Headers(#[from] HeadersError),
}

impl Prefix {
    /// Reads the first eight bytes of a frame.
    pub(crate) fn read(bytes: [u8; PREFIX_LENGTH]) -> Result<Self, FrameError> {
        let [a, b, c, d, flags, x, y, z] = bytes;
        let first = u32::from_be_bytes([a, b, c, d]);
        let length = u32::from_be_bytes([0, x, y, z]) as usize;
        if first & !ID_MASK == 0 {
            if first == 0 {
                return Err(FrameError::ZeroStream);
            }
            return Ok(Self::Data { id: first, fin: flags & FLAG_FIN != 0, length });
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if length > CONTROL_LENGTH_MAX {
            return Err(FrameError::TooLong(length));
        }
        Ok(Self::Control { kind: u16::from_be_bytes([c, d]), flags, length })
    }
}

impl Control {
    /// Reads what followed a control frame's first eight bytes.
    pub(crate) fn read(
        kind: u16,
        flags: u8,
        payload: &[u8],
        inflater: &mut Inflater,
    ) -> Result<Self, FrameError> {
        let wrong = || FrameError::Length { kind, length: payload.len() };
        let fin = flags & FLAG_FIN != 0;
        let word = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(wrong)?;
            Ok::<u32, FrameError>(u32::from_be_bytes(*bytes))
        };
        let stream = || match word(0)? & ID_MASK {
            0 => Err(FrameError::ZeroStream),
            id => Ok(id),
        };
        let mut headers = |from: usize| {
            let block = payload.get(from..).ok_or_else(wrong)?;
            Ok::<Headers, FrameError>(Headers::decode(&inflater.inflate(block)?)?)
        };
        let exactly = |length: usize| if payload.len() == length { Ok(()) } else { Err(wrong()) };
        Ok(match kind {
            SYN_STREAM => {
                // The block is read first: a stream that is refused must still move the compression on.
                let headers = headers(SYN_STREAM_FIXED)?;
                let unidirectional = flags & FLAG_UNIDIRECTIONAL != 0;
                Self::SynStream { id: stream()?, fin, unidirectional, headers }
            }
            SYN_REPLY => Self::SynReply { headers: headers(4)?, id: stream()?, fin },
            HEADERS => Self::Headers { headers: headers(4)?, id: stream()?, fin },
            RST_STREAM => {
                exactly(8)?;
                Self::Reset { id: stream()?, status: ResetStatus::from_number(word(4)?) }
            }
            PING => {
                exactly(4)?;
                Self::Ping(word(0)?)
            }
            GOAWAY => {
                exactly(8)?;
                Self::GoAway { last: word(0)? & ID_MASK, status: GoAwayStatus::from_number(word(4)?) }
            }
            WINDOW_UPDATE => {
                exactly(8)?;
                Self::Ignored
            }
            SETTINGS => {
                let entries = word(0)? as usize;
                exactly(entries.saturating_mul(8).saturating_add(4))?;
                Self::Ignored
            }
            _ => Self::Ignored,
        })
    }

    /// Appends the frame's bytes.
    pub(crate) fn write(&self, deflater: &mut Deflater, out: &mut BytesMut) {
        let (kind, flags, payload) = match self {
            Self::SynStream { id, fin, unidirectional, headers } => {
                let mut payload = id.to_be_bytes().to_vec();
                payload.resize(SYN_STREAM_FIXED, 0);
                deflater.deflate(&headers.encode(), &mut payload);
                let direction = if *unidirectional { FLAG_UNIDIRECTIONAL } else { 0 };
                (SYN_STREAM, fin_flag(*fin) | direction, payload)
            }
            Self::SynReply { id, fin, headers } => {
                (SYN_REPLY, fin_flag(*fin), with_headers(*id, headers, deflater))
            }
            Self::Headers { id, fin, headers } => {
                (HEADERS, fin_flag(*fin), with_headers(*id, headers, deflater))
            }
            Self::Reset { id, status } => (RST_STREAM, 0, words(&[*id, status.number()])),
            Self::Ping(id) => (PING, 0, words(&[*id])),
            Self::GoAway { last, status } => (GOAWAY, 0, words(&[*last, status.number()])),
            Self::Ignored => return,
        };
        let first = !ID_MASK | u32::from(VERSION) << 16 | u32::from(kind);
        put_prefix(first, flags, payload.len(), out);
        out.extend_from_slice(&payload);
    }
}

/// Appends a data frame.
pub(crate) fn write_data(id: StreamId, fin: bool, data: &Bytes, out: &mut BytesMut) {
    put_prefix(id & ID_MASK, fin_flag(fin), data.len(), out);
    out.extend_from_slice(data);
}

fn put_prefix(first: u32, flags: u8, length: usize, out: &mut BytesMut) {
    // 24 bits: data is cut at DATA_LENGTH_MAX and control frames are built from bounded headers.
    let length = u32::try_from(length).unwrap_or(u32::MAX) & 0x00ff_ffff;
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&(u32::from(flags) << 24 | length).to_be_bytes());
}

fn fin_flag(fin: bool) -> u8 {
    if fin { FLAG_FIN } else { 0 }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn with_headers(id: StreamId, headers: &Headers, deflater: &mut Deflater) -> Vec<u8> {
    let mut payload = words(&[id]);
    deflater.deflate(&headers.encode(), &mut payload);
    payload
}

impl ResetStatus {
    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::ProtocolError,
            2 => Self::InvalidStream,
            3 => Self::RefusedStream,
            5 => Self::Cancel,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::ProtocolError => 1,
            Self::InvalidStream => 2,
            Self::RefusedStream => 3,
            Self::Cancel => 5,
            Self::Other(other) => other,
        }
    }
}

impl GoAwayStatus {
    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::ProtocolError,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::ProtocolError => 1,
            Self::Other(other) => other,
        }
    }
}

#[cfg(test)]
mod tests;
