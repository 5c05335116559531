//! What is asked of the server: where it is, and the caller's request as it goes on.

use std::sync::Arc;

use exchange::{Backend, Request};
use http::{HeaderValue, Uri, header, uri::PathAndQuery};
use mesh::resource::{BackendKind, BackendTarget};

use crate::{
    head::{LAST_EVENT, SESSION},
    opening::Opened,
    revision::Era,
    session::Session,
};

/// Where a call goes.
pub(crate) struct Target {
    pub(crate) backend: BackendTarget,
    // The path of the server, if it is not the one that the caller asked for.
    path: Option<Arc<str>>,
    // Whether the caller's own credentials may be seen there.
    credentials: bool,
}

/// The server of a backend, or why there is none.
pub(crate) fn target(backend: &Backend) -> Result<Target, Arc<str>> {
    match backend {
        Backend::Service { .. } => Ok(Target { backend: backend.target(), path: None, credentials: true }),
        Backend::Agent(agent) => {
            if let Some(broken) = &agent.broken {
                return Err(Arc::clone(broken));
            }
            let BackendKind::Mcp { servers } = &agent.kind;
            match servers.as_slice() {
                [server] => Ok(Target {
                    backend: server.target.clone(),
                    path: Some(Arc::clone(&server.path)),
                    credentials: false,
                }),
                [] => Err("the backend has no server".into()),
                _ => Err("federation of several servers is not built".into()),
            }
        }
    }
}

/// Makes the caller's request the server's.
pub(crate) fn prepare(request: &mut Request, opened: &Opened, target: &Target, session: Option<&Session>) {
    let headers = request.headers_mut();
    // Answers are read here, so they come as they are.
    headers.remove(header::ACCEPT_ENCODING);
    headers.remove(&SESSION);
    if opened.era() == Era::Stateless {
        headers.remove(&LAST_EVENT);
    }
    if let Some(value) = session.and_then(|session| HeaderValue::from_str(&session.upstream).ok()) {
        headers.insert(SESSION, value);
    }
    if !target.credentials {
        headers.remove(header::AUTHORIZATION);
        headers.remove(header::COOKIE);
    }
    if let Some(path) = &target.path {
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}
