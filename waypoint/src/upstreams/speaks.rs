//! Which version of HTTP is spoken upstream.

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, known beforehand.
    Http2,
    /// Whichever of both the other end prefers, as it says when TLS is agreed.
    Either,
}
