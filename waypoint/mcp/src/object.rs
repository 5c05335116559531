//! What a message acts on: the facts by which it is judged.

use std::sync::Arc;

use http::StatusCode;
use mesh::facts::{Arguments, McpFacts, McpObject};
use serde_json::Value;

use crate::{
    message::{Kind, Message},
    rejection::{INVALID_PARAMS, Rejection},
    revision::Era,
};

/// How many resources one subscription may name.
pub const SUBSCRIBED_MAX: usize = 256;

/// What a message acts on.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// The facts of the message itself.
    pub facts: McpFacts,
    /// Further things that it reaches for, each of which must be allowed too.
    pub more: Vec<McpFacts>,
}

impl Objects {
    /// What no message carries: opening a stream, ending a session, and the answers of a caller. It is part of the
    /// base protocol.
    pub fn base() -> Self {
        Self { facts: base_facts(), more: Vec::new() }
    }

    /// Reads what a message acts on.
    ///
    /// # Errors
    /// When it does not say what its method requires.
    pub fn of(message: &Message, era: Era) -> Result<Self, Rejection> {
        let mut more = Vec::new();
        let method = message.method_name();
        let object = match method {
            _ if era == Era::Stateless && is_gone(method) => McpObject::Other,
            "tools/call" => McpObject::Tool {
                access: None,
                name: text(message, "name")?,
                arguments: Arguments::Given(
                    message.arguments.clone().unwrap_or_else(|| Arc::new(Value::Object(Default::default()))),
                ),
            },
            "prompts/get" => McpObject::Prompt { name: text(message, "name")? },
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                McpObject::Resource { uri: text(message, "uri")? }
            }
            "completion/complete" => reference(message)?,
            "subscriptions/listen" => {
                more = subscribed(message)?;
                McpObject::Base
            }
            _ if is_base(method, &message.kind) => McpObject::Base,
            _ => McpObject::Other,
        };
        Ok(Self { facts: McpFacts { method: method.into(), object }, more })
    }
}

/// Facts of the base protocol without a method.
pub(crate) fn base_facts() -> McpFacts {
    McpFacts { method: "".into(), object: McpObject::Base }
}

/// What stateless revisions no longer have. There it is no part of the base protocol, and no use of a resource.
fn is_gone(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "ping"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "notifications/initialized"
            | "notifications/roots/list_changed"
    )
}

/// The base protocol of every revision: what opens, keeps and describes, and lists, which are filtered.
fn is_base(method: &str, kind: &Kind) -> bool {
    match kind {
        Kind::Response(_) => true,
        Kind::Request(_) => matches!(
            method,
            "initialize"
                | "ping"
                | "server/discover"
                | "logging/setLevel"
                | "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
        ),
        Kind::Notification => matches!(
            method,
            "notifications/initialized"
                | "notifications/cancelled"
                | "notifications/progress"
                | "notifications/roots/list_changed"
        ),
    }
}

fn invalid(message: &Message, text: String) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, text).of(message.request_id().cloned())
}

fn text(message: &Message, name: &str) -> Result<Arc<str>, Rejection> {
    message
        .param(name)
        .map(Arc::from)
        .ok_or_else(|| invalid(message, format!("{} needs the text {name}", message.method_name())))
}

// What is completed is a prompt or a resource template, and as hidden as these.
fn reference(message: &Message) -> Result<McpObject, Rejection> {
    let field = |name: &str| {
        message.params.get("ref").and_then(|reference| reference.get(name)).and_then(Value::as_str)
    };
    match (field("type"), field("name"), field("uri")) {
        (Some("ref/prompt"), Some(name), _) => Ok(McpObject::Prompt { name: name.into() }),
        (Some("ref/resource"), _, Some(uri)) => Ok(McpObject::Resource { uri: uri.into() }),
        _ => Err(invalid(message, "ref names neither a prompt nor a resource".to_owned())),
    }
}

fn subscribed(message: &Message) -> Result<Vec<McpFacts>, Rejection> {
    let wrong = || invalid(message, "resourceSubscriptions is not a list of URIs".to_owned());
    let wanted = match message.params.get("notifications") {
        None => return Ok(Vec::new()),
        Some(Value::Object(filter)) => filter.get("resourceSubscriptions"),
        Some(_) => return Err(invalid(message, "notifications is not an object".to_owned())),
    };
    let uris = match wanted {
        None => return Ok(Vec::new()),
        Some(Value::Array(uris)) => uris,
        Some(_) => return Err(wrong()),
    };
    if uris.len() > SUBSCRIBED_MAX {
        return Err(invalid(message, format!("At most {SUBSCRIBED_MAX} resources in one subscription")));
    }
    let method: Arc<str> = message.method_name().into();
    uris.iter()
        .map(|uri| {
            let uri = uri.as_str().ok_or_else(wrong)?;
            Ok(McpFacts { method: Arc::clone(&method), object: McpObject::Resource { uri: uri.into() } })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn message(method: &str, params: Value) -> Message {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Message::parse(Bytes::from(body.to_string())).unwrap()
    }

    #[track_caller]
    fn check(method: &str, params: Value, expected: McpObject) {
        let objects = Objects::of(&message(method, params), Era::Sessions).unwrap();
        assert_eq!(objects.facts, McpFacts { method: method.into(), object: expected });
    }

    #[track_caller]
    fn refused(method: &str, params: Value) {
        let rejection = Objects::of(&message(method, params), Era::Sessions).unwrap_err();
        assert_eq!(rejection.code, INVALID_PARAMS, "{method}");
        assert!(rejection.id.is_some());
    }

    #[test]
    fn calls_name_their_object() {
        check(
            "tools/call",
            json!({"name": "search", "arguments": {"repo": "docs"}}),
            McpObject::Tool {
                name: "search".into(),
                arguments: Arguments::Given(Arc::new(json!({"repo": "docs"}))),
                access: None,
            },
        );
        check("prompts/get", json!({"name": "p"}), McpObject::Prompt { name: "p".into() });
        for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
            check(method, json!({"uri": "a://b"}), McpObject::Resource { uri: "a://b".into() });
            refused(method, json!({}));
        }
        refused("tools/call", json!({"name": 1}));
        refused("prompts/get", json!({}));
    }

    #[test]
    fn a_completion_acts_on_what_it_completes() {
        let prompt = json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}});
        check("completion/complete", prompt, McpObject::Prompt { name: "p".into() });
        let resource = json!({"ref": {"type": "ref/resource", "uri": "a://{b}"}});
        check("completion/complete", resource, McpObject::Resource { uri: "a://{b}".into() });
        refused("completion/complete", json!({"ref": {"type": "ref/tool", "name": "p"}}));
        refused("completion/complete", json!({}));
    }

    #[test]
    fn a_subscription_reaches_for_each_of_its_resources() {
        let listen = message(
            "subscriptions/listen",
            json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["a://b", "a://c"]}}),
        );
        let objects = Objects::of(&listen, Era::Stateless).unwrap();
        assert_eq!(objects.facts.object, McpObject::Base);
        let uris: Vec<_> = objects.more.into_iter().map(|facts| facts.object).collect();
        assert_eq!(
            uris,
            [McpObject::Resource { uri: "a://b".into() }, McpObject::Resource { uri: "a://c".into() }]
        );
        refused("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": "a://b"}}));
        refused("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": [1]}}));
        let many = |count| json!({"notifications": {"resourceSubscriptions": vec!["a://b"; count]}});
        assert!(Objects::of(&message("subscriptions/listen", many(SUBSCRIBED_MAX)), Era::Stateless).is_ok());
        refused("subscriptions/listen", many(SUBSCRIBED_MAX + 1));
    }

    #[test]
    fn the_base_protocol_is_known_and_the_rest_is_other() {
        for method in ["initialize", "ping", "server/discover", "tools/list", "resources/templates/list"] {
            check(method, json!({}), McpObject::Base);
        }
        for method in
            ["tasks/get", "tasks/list", "tools/Call", "Tools/list", "x/y", "notifications/initialized"]
        {
            check(method, json!({}), McpObject::Other);
        }
    }

    #[test]
    fn what_a_revision_no_longer_has_is_other() {
        for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
            let objects = Objects::of(&message(method, json!({})), Era::Stateless).unwrap();
            assert_eq!(objects.facts.object, McpObject::Other, "{method}");
        }
        let objects = Objects::of(&message("server/discover", json!({})), Era::Stateless).unwrap();
        assert_eq!(objects.facts.object, McpObject::Base);
    }
}
