//! The headers of the protocol, each of which stands once.

use http::{HeaderMap, HeaderName};

use crate::{id::NAME_MAX, rejection::Rejection};

/// The version of the protocol.
pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session, in revisions that have them.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The method, repeated.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The name or URI, repeated.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Where a stream is to be resumed.
pub const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// How long a header value may be, in bytes: room for a name of `NAME_MAX` in base64, or a session token.
pub const VALUE_MAX: usize = 2 * NAME_MAX;
/// What the names of headers that repeat an argument begin with.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The one value of a header.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::mismatch(format!("{name} stands twice")));
    }
    let text = value.to_str().ok().filter(|text| text.len() <= VALUE_MAX);
    text.map(Some)
        .ok_or_else(|| Rejection::mismatch(format!("{name} has characters that are not allowed there")))
}
