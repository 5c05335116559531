//! How large the pieces are in which streams speak.

/// First read of a quiet stream, in bytes.
pub const CHUNK_BYTES_MIN: usize = 4 * 1024;
/// Largest read of a busy stream, in bytes; also what is gathered from a tunnel before it is handed on.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;
