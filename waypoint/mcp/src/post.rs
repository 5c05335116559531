//! The transport of 2024-11-05: a stream whose first event names the place to which messages are posted.
//!
//! That place holds the server's own session, so callers are given a sealed one: good for one caller, target and route,
//! and led to the endpoint that holds the stream. Answers come on the stream, where they are looked through.

use std::sync::Arc;

use http::{Uri, uri::PathAndQuery};

use crate::{
    seal::{Form, Sealer},
    session::{Session, UPSTREAM_MAX},
};

/// The name of the event.
pub(crate) const EVENT: &str = "endpoint";
/// The parameter of the address that carries the seal.
const PARAMETER: &str = "strait-mcp=";

/// Names the place of posting for one stream.
pub(crate) struct Posts {
    pub(crate) sealer: Arc<Sealer>,
    /// Whose the stream is and where it lives.
    pub(crate) of: Session,
}

impl Posts {
    /// The place as the caller is to know it. `None`: what the server says is none.
    pub(crate) fn place(&self, said: &str) -> Option<String> {
        let uri: Uri = said.trim().parse().ok()?;
        let upstream = uri.path_and_query()?.as_str();
        if !upstream.starts_with('/') || upstream.len() > UPSTREAM_MAX {
            return None;
        }
        let of = Session { upstream: upstream.to_owned(), ..self.of.clone() };
        let seal = self.sealer.seal_alike(Form::Post, "", serde_json::to_vec(&of).ok()?)?;
        Some(format!("{}?{PARAMETER}{seal}", uri.path()))
    }
}

/// The seal in the address of a message that is posted.
pub(crate) fn named(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(PARAMETER))
}

/// What it says, if it is ours: a session whose own name is a place at the server.
pub(crate) fn open(sealer: &Sealer, seal: &str) -> Option<Session> {
    serde_json::from_slice(&sealer.open(Form::Post, "", seal)?).ok()
}

/// The address at the server.
pub(crate) fn address(session: &Session) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::try_from(session.upstream.as_str()).ok()?);
    Uri::from_parts(parts).ok()
}
