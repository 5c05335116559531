//! How a refusal is said in this protocol.
//!
//! Who is granted nothing here is told so, with HTTP status 403. To everybody else, what is not granted does not exist:
//! the answer is that of the protocol for something unknown, with the refusal's id and no other hint. Where only the
//! arguments are beyond the grant, the answer names the pointer, never the values that would be permitted.

use std::sync::Arc;

use exchange::{Body, Response, answer};
use http::{HeaderValue, StatusCode, header};
use mesh::{Denial, Reason, facts::McpObject};
use serde_json::{Value, json};

use crate::{
    message::Message,
    opening::Opened,
    rejection::{
        FORBIDDEN, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND, Rejection,
        error_body,
    },
    revision::Era,
    scope::Scope,
};

/// The answer to what was read and is refused.
pub(crate) fn refused(scope: &Scope, opened: &Opened, denial: &Denial) -> Response {
    let id = scope.refused(denial);
    let request = opened.message.as_ref().and_then(Message::request_id);
    if !is_of_policy(denial.reason) {
        // Nobody decided that this caller may not: there is nothing to hide.
        let status = answer::status_of(denial.reason);
        return failed(opened, status, denial.reason.name(), Some((denial.reason, &id)));
    }
    let Some(request) = request.filter(|_| scope.knows_caller()) else {
        return forbidden(opened, denial, &id);
    };
    let error = hidden(scope, opened, denial, &id);
    let status = match (opened.era(), error.code) {
        // An answer of the protocol, and so a success of HTTP.
        (Era::Sessions, _) => StatusCode::OK,
        (Era::Stateless, METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        (Era::Stateless, _) => StatusCode::BAD_REQUEST,
    };
    let body = error_body(Some(request.value()), error.code, &error.message, Some(error.data));
    json_response(status, body)
}

/// True if a policy decided, or the want of one.
fn is_of_policy(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Denied
            | Reason::NoGrant
            | Reason::BeyondLimit
            | Reason::IdentityUnknown
            | Reason::NotOfTheMesh
            | Reason::PolicyBroken
            | Reason::PolicyMissing
            | Reason::ToolHeld
    )
}

/// What a JSON-RPC error says.
struct Said {
    code: i64,
    message: String,
    data: Value,
}

/// What the protocol says of something that is not there.
fn hidden(scope: &Scope, opened: &Opened, denial: &Denial, id: &str) -> Said {
    let facts = &opened.objects.facts;
    match &facts.object {
        McpObject::Tool { name, .. } => {
            if !scope.shows_tool(&facts.method, name) {
                return Said {
                    code: INVALID_PARAMS,
                    message: format!("Unknown tool: {name}"),
                    data: json!({"id": id}),
                };
            }
            if denial.reason == Reason::ToolHeld {
                return Said {
                    code: INVALID_PARAMS,
                    message: format!("Tool {name} is held back until its definition is approved"),
                    data: json!({"id": id, "reason": Reason::ToolHeld.name()}),
                };
            }
            match pointer(denial) {
                Some(pointer) => Said {
                    code: INVALID_PARAMS,
                    message: format!("Invalid argument for tool {name}: {pointer}"),
                    data: json!({"id": id, "pointer": pointer}),
                },
                None => Said {
                    code: INVALID_PARAMS,
                    message: format!("Invalid arguments for tool {name}"),
                    data: json!({"id": id}),
                },
            }
        }
        McpObject::Prompt { name } => {
            Said { code: INVALID_PARAMS, message: format!("Unknown prompt: {name}"), data: json!({"id": id}) }
        }
        McpObject::Resource { uri } => Said {
            code: if opened.era() == Era::Stateless { INVALID_PARAMS } else { RESOURCE_NOT_FOUND },
            message: "Resource not found".to_owned(),
            data: json!({"id": id, "uri": uri}),
        },
        McpObject::Base if !opened.objects.more.is_empty() => {
            Said { code: INVALID_PARAMS, message: "Resource not found".to_owned(), data: json!({"id": id}) }
        }
        McpObject::Base | McpObject::Other => {
            Said { code: METHOD_NOT_FOUND, message: "Method not found".to_owned(), data: json!({"id": id}) }
        }
    }
}

/// The argument that was beyond its grant, out of the field that did not hold: `…arguments[/repo]`.
fn pointer(denial: &Denial) -> Option<&str> {
    let (_, rest) = denial.field.as_deref()?.rsplit_once("arguments[")?;
    rest.split_once(']').map(|(pointer, _)| pointer)
}

/// For who is granted nothing, and for what has no answer in the protocol: a notification, a stream, a session's end.
fn forbidden(opened: &Opened, denial: &Denial, id: &Arc<str>) -> Response {
    let request = opened.message.as_ref().and_then(Message::request_id).map(|id| id.value());
    let body = error_body(request, FORBIDDEN, "Forbidden", Some(json!({"id": id})));
    with_reason(json_response(StatusCode::FORBIDDEN, body), denial.reason, id)
}

/// The answer to what cannot be taken. Who is granted nothing does not learn what was wrong with it.
pub(crate) fn rejected(scope: &Scope, rejection: &Rejection, denial: Option<&Denial>) -> Response {
    if let Some(denial) = denial
        && !scope.knows_caller()
    {
        let id = scope.refused(denial);
        let request = rejection.id.as_ref().map(|id| id.value());
        let body = error_body(request, FORBIDDEN, "Forbidden", Some(json!({"id": id})));
        return with_reason(json_response(StatusCode::FORBIDDEN, body), denial.reason, &id);
    }
    let reason = match rejection.status {
        StatusCode::PAYLOAD_TOO_LARGE => Reason::TooMuch,
        _ => Reason::Malformed,
    };
    let id = scope.refused(&Denial::plain(reason, rejection.message.as_str()));
    let mut response = with_reason(json_response(rejection.status, rejection.body()), reason, &id);
    if rejection.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
    }
    response
}

/// The answer where the server gave none, or none that can be passed on.
pub(crate) fn failed(
    opened: &Opened,
    status: StatusCode,
    said: &str,
    denial: Option<(Reason, &Arc<str>)>,
) -> Response {
    let request = opened.message.as_ref().and_then(Message::request_id).map(|id| id.value());
    let data = denial.map(|(_, id)| json!({"id": id}));
    let response = json_response(status, error_body(request, INTERNAL_ERROR, said, data));
    match denial {
        Some((reason, id)) => with_reason(response, reason, id),
        None => response,
    }
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, body: bytes::Bytes) -> Response {
    let mut response = Response::new(Body::held_bytes(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn with_reason(mut response: Response, reason: Reason, id: &Arc<str>) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("id={id}; reason={reason}")) {
        response.headers_mut().insert(answer::DENIED, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_is_read_out_of_the_field() {
        let denial = |field: Option<&str>| Denial {
            field: field.map(Arc::from),
            ..Denial::plain(Reason::NoGrant, "wanted one of docs, got web")
        };
        assert_eq!(pointer(&denial(Some("to[0].mcp.tools[0].arguments[/repo]"))), Some("/repo"));
        assert_eq!(pointer(&denial(Some("to[0].mcp.tools[0].arguments[/a~1b/0]"))), Some("/a~1b/0"));
        assert_eq!(pointer(&denial(Some("to[0].mcp.tools[0].names"))), None);
        assert_eq!(pointer(&denial(None)), None);
    }
}
