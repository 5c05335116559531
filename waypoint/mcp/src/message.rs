//! One JSON-RPC message of a caller, read once.
//!
//! The bytes stay beside what was read of them and are what is sent on, so that unknown fields survive.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

pub use crate::id::{Id, NAME_MAX};
use exchange::json::{self, Keys};

use crate::rejection::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, Rejection};

/// The `_meta` key in which a request of 2026-07-28 says its version.
pub const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// What a message is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A request, to be answered under its id.
    Request(Id),
    /// Told, and not answered.
    Notification,
    /// The answer to a request of the server.
    Response(Id),
}

/// A message of a caller.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The method. A response has none.
    pub method: Option<Arc<str>>,
    /// The parameters, without the arguments of a tool call, which stand in `arguments`.
    pub params: Map<String, Value>,
    /// The arguments of a tool call; an empty object if there are none.
    pub arguments: Option<Arc<Value>>,
    /// As it arrived.
    pub raw: Bytes,
}

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not exactly one well-formed message. The rejection carries the id where one could be read.
    pub fn parse(raw: Bytes) -> Result<Self, Rejection> {
        let value = json::parse(&raw, Keys::EqualButForCase).map_err(|error| unreadable(&error))?;
        match value {
            Value::Object(object) => envelope(object, raw),
            Value::Array(_) => Err(invalid("Batches are not part of this protocol")),
            _ => Err(invalid("The body is not a JSON-RPC message")),
        }
    }

    /// The id, if it is a request.
    pub fn request_id(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Request(id) => Some(id),
            Kind::Notification | Kind::Response(_) => None,
        }
    }

    /// The method, or nothing for a response.
    pub fn method_name(&self) -> &str {
        self.method.as_deref().unwrap_or_default()
    }

    /// A text among the parameters.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// The version that its `_meta` says: absent, a text, or something that is no text.
    pub fn version(&self) -> Result<Option<&str>, Rejection> {
        match self.params.get("_meta") {
            None => Ok(None),
            Some(Value::Object(meta)) => match meta.get(VERSION_KEY) {
                None => Ok(None),
                Some(Value::String(version)) => Ok(Some(version.as_str())),
                Some(_) => Err(params_rejection(format!("{VERSION_KEY} is not a text"))),
            },
            Some(_) => Err(params_rejection("_meta is not an object")),
        }
        .map_err(|rejection| rejection.of(self.request_id().cloned()))
    }
}

/// The rejection of what is no JSON that is taken.
pub(crate) fn unreadable(error: &json::JsonError) -> Rejection {
    use json::JsonError as E;
    let code = match error {
        E::NotUtf8 | E::Syntax(_) | E::TooDeep | E::TooMany => PARSE_ERROR,
        E::KeyTwice(_) | E::KeyTwiceButForCase(_) => INVALID_REQUEST,
    };
    Rejection::new(StatusCode::BAD_REQUEST, code, format!("The body cannot be read: {error}"))
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
}

fn params_rejection(message: impl Into<String>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message)
}

fn envelope(mut object: Map<String, Value>, raw: Bytes) -> Result<Message, Rejection> {
    // The id first, so that every later rejection can name it.
    let id = match object.get("id") {
        None => None,
        Some(value) => {
            Some(Id::from_value(value).ok_or_else(|| invalid("The id is neither a text nor an integer"))?)
        }
    };
    let fail = |rejection: Rejection| rejection.of(id.clone());
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(fail(invalid("jsonrpc is not \"2.0\"")));
    }
    // A reader that ignores case would see these where this one does not.
    const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
    if let Some(key) = object
        .keys()
        .find(|key| !ENVELOPE.contains(&key.as_str()) && ENVELOPE.contains(&json::fold(key).as_str()))
    {
        return Err(fail(invalid(format!("The key {key:?} is not part of a message"))));
    }
    let answers = usize::from(object.contains_key("result")) + usize::from(object.contains_key("error"));
    let method = match object.get("method") {
        None if answers == 1 => {
            let id = id.ok_or_else(|| invalid("A response names no request"))?;
            return Ok(Message {
                kind: Kind::Response(id),
                method: None,
                params: Map::new(),
                arguments: None,
                raw,
            });
        }
        Some(Value::String(method)) if answers == 0 && !method.is_empty() && method.len() <= NAME_MAX => {
            Arc::<str>::from(method.as_str())
        }
        _ => return Err(fail(invalid("It is neither a request, a notification nor a response"))),
    };
    let mut params = match object.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(fail(params_rejection("params is not an object"))),
    };
    const PARAMS: [&str; 6] = ["name", "arguments", "uri", "ref", "notifications", "_meta"];
    if let Some(key) = params
        .keys()
        .find(|key| !PARAMS.contains(&key.as_str()) && PARAMS.contains(&json::fold(key).as_str()))
    {
        return Err(fail(params_rejection(format!("The key {key:?} differs from a parameter only by case"))));
    }
    let arguments = match &*method {
        "tools/call" => match params.shift_remove("arguments") {
            None => Some(Arc::new(Value::Object(Map::new()))),
            Some(arguments @ Value::Object(_)) => Some(Arc::new(arguments)),
            Some(_) => return Err(fail(params_rejection("arguments is not an object"))),
        },
        _ => None,
    };
    let kind = match id {
        Some(id) => Kind::Request(id),
        None => Kind::Notification,
    };
    Ok(Message { kind, method: Some(method), params, arguments, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, code: i64, id: Option<Id>) {
        let rejection = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap_err();
        assert_eq!(
            (rejection.status, rejection.code, rejection.id),
            (StatusCode::BAD_REQUEST, code, id),
            "{text}"
        );
    }

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_three_kinds_are_told_apart() {
        assert_eq!(parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).kind, Kind::Request(Id::Number(1)));
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).kind,
            Kind::Notification
        );
        let response = parse(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
        assert_eq!((response.kind, response.method), (Kind::Response(Id::Text("a".into())), None));
        let refusal = parse(r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":""}}"#);
        assert_eq!(refusal.kind, Kind::Response(Id::Number(2)));
    }

    #[test]
    fn the_bytes_stay_as_they_came() {
        let text = "{ \"method\":\"x\",  \"jsonrpc\" : \"2.0\", \"unknown\": 1.50 }";
        assert_eq!(parse(text).raw, text.as_bytes());
    }

    #[test]
    fn arguments_are_an_object() {
        let call = parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#);
        assert_eq!(call.arguments.as_deref(), Some(&Value::Object(Map::new())));
        refused(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[1]}}"#,
            INVALID_PARAMS,
            Some(Id::Number(1)),
        );
    }

    #[test]
    fn what_is_no_json_is_a_parse_error() {
        for text in ["", "{", "\u{0}", "{\"a\":1", "hello", &"[".repeat(1000)] {
            refused(text, PARSE_ERROR, None);
        }
    }

    #[test]
    fn what_is_no_message_is_an_invalid_request() {
        for text in [
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "1",
            "null",
            "{}",
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","method":"ping"}"#,
            r#"{"jsonrpc":"2.0","method":1}"#,
            r#"{"jsonrpc":"2.0","method":""}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"ping","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","method":"ping","Method":"tools/call"}"#,
        ] {
            refused(text, INVALID_REQUEST, None);
        }
        let one = Some(Id::Number(1));
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, INVALID_REQUEST, one.clone());
        refused(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, INVALID_REQUEST, one.clone());
        refused(r#"{"jsonrpc":"2.0","id":1,"Method":"ping","result":{}}"#, INVALID_REQUEST, one.clone());
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, INVALID_PARAMS, one.clone());
        refused(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"x"}}"#,
            INVALID_PARAMS,
            one,
        );
    }

    #[test]
    fn names_are_bounded_on_both_sides() {
        let message = |length: usize| {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "m".repeat(length));
            Message::parse(Bytes::from(text)).is_ok()
        };
        assert!(message(NAME_MAX));
        assert!(!message(NAME_MAX + 1));
    }
}
