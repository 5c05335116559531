//! Why a waypoint cannot begin.

use std::{io, net::SocketAddr};

use mesh::identity::IdentityError;
use runtime::sealed::SealedError;

/// Why a waypoint cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It has no possible identity.
    #[error("the Gateway's name makes no identity")]
    Identity(#[from] IdentityError),
    /// The state directory cannot be used.
    #[error("the state directory cannot be used")]
    State(#[from] SealedError),
    /// The root certificates cannot be read.
    #[error("the root certificates cannot be used: {0}")]
    Root(String),
    /// The access log cannot be opened.
    #[error("the access log cannot be opened")]
    AccessLog(#[source] io::Error),
    /// Spans cannot be exported as it is configured.
    #[error("spans cannot be exported")]
    Otlp(#[source] runtime::otlp::OtlpError),
    /// A port cannot be listened on.
    #[error("cannot listen at {at}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The session key cannot be used.
    #[error("the session key cannot be used")]
    SessionKey(#[source] runtime::vault::KeyError),
    /// The key of tasks cannot be used.
    #[error("the key of tasks cannot be used")]
    TaskKey(#[source] runtime::vault::KeyError),
}
