//! One JSON-RPC request of a caller, read once.

use serde_json::{Map, Value};

use exchange::json::{self, JsonError, Keys};

use crate::{fault::Fault, fields::fold};

/// How long an id of a request may be, in bytes.
const ID_MAX: usize = 4096;

/// A request of JSON-RPC.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// The whole of it, without its parameters.
    pub(crate) envelope: Map<String, Value>,
    /// Its id; `null` if it has none.
    pub(crate) id: Value,
    /// Its method.
    pub(crate) method: String,
    /// Its parameters; an empty object if there are none.
    pub(crate) params: Value,
}

/// Why a body is no request; with the id, if one could be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unreadable {
    pub(crate) fault: Fault,
    pub(crate) id: Value,
    pub(crate) said: String,
}

/// Reads a body as JSON within bounds.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    json::parse(bytes, Keys::EqualButForCase).map_err(|error| {
        let fault = match error {
            JsonError::KeyTwice(_) | JsonError::KeyTwiceButForCase(_) => Fault::InvalidRequest,
            _ => Fault::Parse,
        };
        Unreadable { fault, id: Value::Null, said: format!("The body cannot be read: {error}") }
    })
}

impl Message {
    /// Reads a body.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let invalid = |id: Value, said: String| Unreadable { fault: Fault::InvalidRequest, id, said };
        let mut envelope = match parse(bytes)? {
            Value::Object(envelope) => envelope,
            Value::Array(_) => {
                return Err(invalid(Value::Null, "Batches are not part of this protocol".into()));
            }
            _ => return Err(invalid(Value::Null, "The body is not a JSON-RPC message".into())),
        };
        let id = match envelope.get("id") {
            None | Some(Value::Null) => Value::Null,
            Some(Value::String(id)) if id.len() <= ID_MAX => Value::from(id.as_str()),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Value::Number(id.clone()),
            Some(_) => {
                return Err(invalid(Value::Null, "The id is neither a text nor an integer".into()));
            }
        };
        if envelope.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid(id, "jsonrpc is not \"2.0\"".into()));
        }
        const ENVELOPE: [&str; 4] = ["jsonrpc", "id", "method", "params"];
        // A reader that ignores case would see these where this one does not; answers are not for callers to give.
        if let Some(key) = envelope.keys().find(|key| {
            let folded = fold(key);
            (ENVELOPE.contains(&&*folded) && !ENVELOPE.contains(&key.as_str()))
                || folded == "result"
                || folded == "error"
        }) {
            let key: String = key.chars().take(64).collect();
            return Err(invalid(id, format!("The key {key:?} is not part of a request")));
        }
        let method = match envelope.get("method") {
            Some(Value::String(method)) => method.clone(),
            _ => return Err(invalid(id, "It names no method".into())),
        };
        let params = match envelope.shift_remove("params") {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(params @ Value::Object(_)) => params,
            Some(_) => {
                let said = "params is not an object".to_owned();
                return Err(Unreadable { fault: Fault::InvalidParams, id, said });
            }
        };
        Ok(Self { envelope, id, method, params })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(text: &str, fault: Fault, id: Value) {
        let error = Message::read(text.as_bytes()).unwrap_err();
        assert_eq!((error.fault, error.id), (fault, id), "{text}");
    }

    #[test]
    fn a_request_is_read() {
        let message =
            Message::read(br#"{"jsonrpc":"2.0","id":7,"method":"tasks/get","params":{"id":"t"}}"#).unwrap();
        assert_eq!(
            (message.id, &*message.method, message.params),
            (json!(7), "tasks/get", json!({"id": "t"}))
        );
        let message = Message::read(br#"{"jsonrpc":"2.0","method":"x/y"}"#).unwrap();
        assert_eq!((message.id, message.params), (Value::Null, json!({})));
    }

    #[test]
    fn what_is_no_single_request_is_refused() {
        refused("", Fault::Parse, Value::Null);
        refused("[]", Fault::InvalidRequest, Value::Null);
        refused(r#"[{"jsonrpc":"2.0","id":1,"method":"tasks/get"}]"#, Fault::InvalidRequest, Value::Null);
        refused(
            r#"{"jsonrpc":"2.0","id":1,"method":"a/b","method":"c/d"}"#,
            Fault::InvalidRequest,
            Value::Null,
        );
        refused(
            r#"{"jsonrpc":"2.0","id":1,"method":"a/b","Method":"c/d"}"#,
            Fault::InvalidRequest,
            Value::Null,
        );
        refused(r#"{"jsonrpc":"2.0","id":1,"Method":"c/d"}"#, Fault::InvalidRequest, json!(1));
        refused(r#"{"jsonrpc":"1.0","id":"a","method":"a/b"}"#, Fault::InvalidRequest, json!("a"));
        refused(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Fault::InvalidRequest, json!(1));
        refused(r#"{"jsonrpc":"2.0","id":1.5,"method":"a/b"}"#, Fault::InvalidRequest, Value::Null);
        refused(r#"{"jsonrpc":"2.0","id":true,"method":"a/b"}"#, Fault::InvalidRequest, Value::Null);
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"a/b","params":[]}"#, Fault::InvalidParams, json!(1));
    }
}
