//! Why a message is not taken, and the answer that says so: an HTTP status and a JSON-RPC error.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    id::Id,
    revision::{Era, Revision},
};

/// JSON-RPC: not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: JSON, but no request.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: parameters that do not fit; a tool or prompt that does not exist.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: it went wrong here.
pub const INTERNAL_ERROR: i64 = -32603;
/// MCP until 2025-11-25: a resource that does not exist.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// MCP 2026-07-28: a header and the body disagree, or a required header is missing.
pub const HEADER_MISMATCH: i64 = -32020;
/// MCP 2026-07-28: a version that is not spoken here.
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// Ours, outside the range that JSON-RPC reserves: nothing at this server is granted.
pub const FORBIDDEN: i64 = 403;

/// A message that is not taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code of the JSON-RPC error.
    pub code: i64,
    /// What is wrong, for the caller.
    pub message: String,
    /// More for machines.
    pub data: Option<Box<Value>>,
    /// The request, if it could be read.
    pub id: Option<Id>,
}

impl Rejection {
    /// A rejection of the request at hand, without an id.
    pub fn new(status: StatusCode, code: i64, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), data: None, id: None }
    }

    /// A header that disagrees with the body.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, HEADER_MISMATCH, message)
    }

    /// A version that is not known. It names those that a request can say of itself; older ones are agreed on by
    /// `initialize`.
    pub fn unsupported(requested: &str) -> Self {
        let alone = |revision: &&Revision| revision.era() == Era::Stateless;
        let supported: Vec<&str> =
            Revision::ALL.iter().filter(alone).map(|revision| revision.name()).collect();
        Self {
            data: Some(Box::new(json!({"supported": supported, "requested": requested}))),
            ..Self::new(StatusCode::BAD_REQUEST, UNSUPPORTED_VERSION, "Unsupported protocol version")
        }
    }

    /// The same, of this request.
    #[must_use]
    pub fn of(mut self, id: Option<Id>) -> Self {
        self.id = self.id.or(id);
        self
    }

    /// The JSON-RPC error as a body. Without an id it says `null`, as JSON-RPC wants where none could be read.
    pub fn body(&self) -> Bytes {
        let id = self.id.as_ref().map_or(Value::Null, Id::value);
        error_body(Some(id), self.code, &self.message, self.data.as_deref().cloned())
    }
}

/// A JSON-RPC error. `None` leaves the id out: an error that answers no request.
pub(crate) fn error_body(id: Option<Value>, code: i64, message: &str, data: Option<Value>) -> Bytes {
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data;
    }
    let mut body = json!({"jsonrpc": "2.0"});
    if let Some(id) = id {
        body["id"] = id;
    }
    body["error"] = error;
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_the_request_or_null() {
        let rejection = Rejection::new(StatusCode::BAD_REQUEST, PARSE_ERROR, "no");
        assert_eq!(rejection.body(), r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#);
        let rejection = rejection.of(Some(Id::Text("7".into())));
        assert_eq!(rejection.body(), r#"{"jsonrpc":"2.0","id":"7","error":{"code":-32700,"message":"no"}}"#);
    }

    #[test]
    fn an_unsupported_version_names_those_that_are() {
        let body: Value = serde_json::from_slice(&Rejection::unsupported("1900-01-01").body()).unwrap();
        assert_eq!(body["error"]["data"]["requested"], "1900-01-01");
        assert_eq!(body["error"]["data"]["supported"], json!(["2026-07-28"]));
    }
}
