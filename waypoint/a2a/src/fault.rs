//! What the protocol says of a request that is not served, in JSON-RPC and in HTTP+JSON, of both versions.

use std::sync::Arc;

use exchange::{Body, Response, answer};
use http::{HeaderValue, StatusCode, header};
use mesh::Reason;
use serde_json::{Value, json};

use crate::method::Version;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not JSON.
    Parse,
    /// JSON, but no request.
    InvalidRequest,
    /// No such method, or none for this caller.
    MethodNotFound,
    /// Parameters that do not fit.
    InvalidParams,
    /// No such task or context, or none of this caller.
    TaskNotFound,
    /// A version that is not spoken here.
    Version,
    /// It went wrong here.
    Internal,
    /// The agent's answer cannot be passed on.
    BadAnswer,
    /// Nothing is granted.
    Forbidden,
}

impl Fault {
    /// The code of the JSON-RPC error.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::TaskNotFound => -32001,
            Self::BadAnswer => -32006,
            Self::Version => -32009,
            // Outside the ranges that JSON-RPC and A2A reserve.
            Self::Forbidden => 403,
        }
    }

    /// The status by which HTTP+JSON says it.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Parse | Self::InvalidRequest | Self::InvalidParams | Self::Version => {
                StatusCode::BAD_REQUEST
            }
            Self::MethodNotFound | Self::TaskNotFound => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadAnswer => StatusCode::BAD_GATEWAY,
            Self::Forbidden => StatusCode::FORBIDDEN,
        }
    }

    /// The name of the error in 0.3.
    fn name(self) -> &'static str {
        match self {
            Self::Parse => "JSONParseError",
            Self::InvalidRequest => "InvalidRequestError",
            Self::MethodNotFound => "MethodNotFoundError",
            Self::InvalidParams => "InvalidParamsError",
            Self::TaskNotFound => "TaskNotFoundError",
            Self::Version => "VersionNotSupportedError",
            Self::Internal => "InternalError",
            Self::BadAnswer => "InvalidAgentResponseError",
            Self::Forbidden => "PermissionDenied",
        }
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Parse => ("INVALID_ARGUMENT", "INVALID_REQUEST"),
            Self::InvalidRequest => ("INVALID_ARGUMENT", "INVALID_REQUEST"),
            Self::MethodNotFound => ("NOT_FOUND", "METHOD_NOT_FOUND"),
            Self::InvalidParams => ("INVALID_ARGUMENT", "INVALID_PARAMS"),
            Self::TaskNotFound => ("NOT_FOUND", "TASK_NOT_FOUND"),
            Self::Version => ("FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
            Self::Internal => ("INTERNAL", "INTERNAL_ERROR"),
            Self::BadAnswer => ("INTERNAL", "INVALID_AGENT_RESPONSE"),
            Self::Forbidden => ("PERMISSION_DENIED", "PERMISSION_DENIED"),
        }
    }
}

/// How a caller is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Voice {
    /// By JSON-RPC, under this id.
    Rpc { version: Version, id: Value },
    /// By HTTP+JSON.
    Http(Version),
}

/// A refusal that was recorded.
pub(crate) type Recorded = (Reason, Arc<str>);

impl Voice {
    /// The error as JSON.
    pub(crate) fn error(
        &self,
        fault: Fault,
        status: StatusCode,
        said: &str,
        refused: Option<&Recorded>,
    ) -> Value {
        let (grpc, reason) = fault.names();
        let details = || {
            let metadata = match refused {
                Some((_, id)) => json!({"id": id}),
                None => json!({}),
            };
            json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "a2a-protocol.org",
                "metadata": metadata,
            }])
        };
        match self {
            Self::Rpc { version, id } => {
                let mut error = json!({"code": fault.code(), "message": said});
                match (version, refused) {
                    (Version::V1, _) => error["data"] = details(),
                    (Version::V03, Some((_, id))) => error["data"] = json!({"id": id}),
                    (Version::V03, None) => {}
                }
                json!({"jsonrpc": "2.0", "id": id, "error": error})
            }
            Self::Http(version) => {
                let mut body = json!({"error": {
                    "code": status.as_u16(),
                    "status": grpc,
                    "message": said,
                    "details": details(),
                }});
                if *version == Version::V03 {
                    // As agents of this version say it, and its clients read it.
                    body["type"] = Value::from(fault.name());
                    body["message"] = Value::from(said);
                }
                body
            }
        }
    }

    /// The error as a response. `status`: of HTTP.
    pub(crate) fn answer(
        &self,
        fault: Fault,
        status: StatusCode,
        said: &str,
        refused: Option<&Recorded>,
    ) -> Response {
        let body = self.error(fault, status, said, refused).to_string();
        let mut response = Response::new(Body::held_bytes(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((reason, id)) = refused
            && let Ok(value) = HeaderValue::from_str(&format!("id={id}; reason={reason}"))
        {
            headers.insert(answer::DENIED, value);
        }
        response
    }
}

/// A request that is not taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rejection {
    /// What is wrong.
    pub(crate) fault: Fault,
    /// The status of HTTP, in both bindings.
    pub(crate) status: StatusCode,
    /// As it is counted.
    pub(crate) reason: Reason,
    /// For the caller.
    pub(crate) said: String,
    /// How the caller is answered.
    pub(crate) voice: Voice,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_binding_and_version_says_it_its_way() {
        let refused = (Reason::NotYours, Arc::from("r1"));
        let rpc = |version| Voice::Rpc { version, id: json!(7) };
        let error =
            |voice: Voice| voice.error(Fault::TaskNotFound, StatusCode::NOT_FOUND, "no", Some(&refused));
        let old = json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32001, "message": "no", "data": {"id": "r1"}}});
        assert_eq!(error(rpc(Version::V03)), old);
        let new = error(rpc(Version::V1));
        assert_eq!(new["error"]["data"][0]["reason"], "TASK_NOT_FOUND");
        assert_eq!(new["error"]["data"][0]["metadata"]["id"], "r1");
        let http = error(Voice::Http(Version::V03));
        assert_eq!((&http["type"], &http["message"]), (&json!("TaskNotFoundError"), &json!("no")));
        let http = error(Voice::Http(Version::V1));
        assert_eq!(http.get("type"), None);
        assert_eq!((&http["error"]["code"], &http["error"]["status"]), (&json!(404), &json!("NOT_FOUND")));
    }
}
