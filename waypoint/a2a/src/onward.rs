//! What is asked of the agent: where it is, and the caller's request as it goes on.

use std::sync::Arc;

use bytes::Bytes;
use exchange::{Backend, Body, Request};
use http::{HeaderValue, Uri, header, request::Parts, uri::PathAndQuery};
use mesh::resource::{BackendKind, BackendTarget};
use serde_json::Value;

use crate::{
    method::Known,
    opening::{Binding, Opened},
};

/// The agent of a backend, or why there is none.
pub(crate) fn target(backend: &Backend) -> Result<BackendTarget, Arc<str>> {
    match backend {
        Backend::Service { .. } => Ok(backend.target()),
        Backend::Nowhere => Err("the rule leads nowhere".into()),
        Backend::Agent(agent) => match (&agent.broken, &agent.kind) {
            (Some(broken), _) => Err(Arc::clone(broken)),
            (None, BackendKind::A2a { target, .. }) => Ok(target.clone()),
            (None, _) => Err("the backend is no A2A agent".into()),
        },
    }
}

/// The request as the agent gets it. `held`: the body as it came, for what has none to rewrite.
pub(crate) fn request(head: &Parts, opened: &Opened, held: &Bytes) -> Option<Request> {
    let mut request = Request::new(Body::held_bytes(body(opened, held)));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    *request.extensions_mut() = head.extensions.clone();
    if let Binding::Http { resource, query } = &opened.binding {
        let path = resource.with_task(resource.task.as_deref());
        let target = if query.is_empty() {
            path
        } else {
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            format!("{path}?{query}")
        };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
    }
    let length = request.body().held().map_or(0, Bytes::len);
    let headers = request.headers_mut();
    // Answers are read here, so they come as they are, and whole.
    headers.remove(header::ACCEPT_ENCODING);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::RANGE);
    headers.remove(header::EXPECT);
    if length > 0 || headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if opened.method.known == Some(Known::Card) {
        // The card that the caller has is not the agent's.
        for name in
            [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
        {
            headers.remove(name);
        }
        *request.method_mut() = http::Method::GET;
    }
    Some(request)
}

fn body(opened: &Opened, held: &Bytes) -> Bytes {
    match (&opened.binding, &opened.params) {
        (Binding::Rpc(envelope), Some(params)) => {
            let mut message = envelope.clone();
            message.insert("params".to_owned(), params.clone());
            Bytes::from(Value::Object(message).to_string())
        }
        (Binding::Http { .. }, Some(params)) => Bytes::from(params.to_string()),
        (_, None) => held.clone(),
    }
}
