//! What is asked of the server: where it is, and the caller's request as it goes on.

use std::sync::Arc;

use exchange::{Backend, Request};
use http::{HeaderValue, Uri, header, uri::PathAndQuery};
use mesh::resource::{BackendKind, BackendTarget, ExternalHost, UpstreamAuth};

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
    /// What is shown there in their place.
    pub(crate) auth: Option<UpstreamAuth>,
}

impl Target {
    /// True if the caller did not address it itself.
    pub(crate) fn is_agents(&self) -> bool {
        !self.credentials
    }
}

/// The server of a backend, or why there is none.
pub(crate) fn target(backend: &Backend) -> Result<Target, Arc<str>> {
    match backend {
        Backend::Service { .. } => {
            Ok(Target { backend: backend.target(), path: None, credentials: true, auth: None })
        }
        Backend::Nowhere => Err("the rule leads nowhere".into()),
        Backend::Agent(agent) => {
            if let Some(broken) = &agent.broken {
                return Err(Arc::clone(broken));
            }
            let BackendKind::Mcp { servers } = &agent.kind else {
                return Err("the backend does not speak MCP".into());
            };
            match servers.as_slice() {
                [server] => Ok(Target {
                    backend: server.target.clone(),
                    path: Some(Arc::clone(&server.path)),
                    credentials: false,
                    auth: server.auth.clone(),
                }),
                [] => Err("the backend has no server".into()),
                _ => Err("several servers are answered for elsewhere".into()),
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
    if let BackendTarget::Host(host) = &target.backend
        && let Ok(value) = HeaderValue::from_str(&authority(host))
    {
        headers.insert(header::HOST, value);
    }
    if let Some(path) = &target.path {
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
        if matches!(target.backend, BackendTarget::Host(_)) {
            (parts.scheme, parts.authority) = (None, None);
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// The host of an outside server, as it is asked for by it.
pub(crate) fn authority(host: &ExternalHost) -> String {
    let usual = if host.tls.is_some() { 443 } else { 80 };
    if host.port == usual { host.host.to_string() } else { format!("{}:{}", host.host, host.port) }
}
