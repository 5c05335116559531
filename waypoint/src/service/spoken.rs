//! What is spoken with a backend: who reads the facts of a request's body, and who answers.

use std::sync::Arc;

use exchange::{Backend, Exchange, Responder};
use mesh::{
    Facts,
    facts::Fact,
    resource::{BackendKind, Protocol},
};
use tokio::time::Instant;

use super::within::within;
use crate::{responders::Forward, waypoint::Waypoint};

const LATE: &str = "the body did not arrive in time";

/// A protocol above HTTP, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Requests are passed on as they are.
    Http,
    /// The Model Context Protocol.
    Mcp,
    /// The Agent2Agent protocol.
    A2a,
    /// A protocol of models.
    Llm,
}

impl Spoken {
    pub(super) fn of_port(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp | Protocol::Http | Protocol::Http2 => Self::Http,
            Protocol::Mcp => Self::Mcp,
            Protocol::A2a => Self::A2a,
            Protocol::Llm => Self::Llm,
        }
    }

    pub(super) fn of_backend(kind: &BackendKind) -> Self {
        match kind {
            BackendKind::Mcp { .. } => Self::Mcp,
            BackendKind::A2a { .. } => Self::A2a,
            BackendKind::Llm { .. } => Self::Llm,
            BackendKind::Host { .. } => Self::Http,
        }
    }

    /// Whether the body is held and read before the request is judged.
    pub(super) fn is_read(self) -> bool {
        self != Self::Http
    }

    /// Reads what the body says into the facts of the exchange. What cannot be read in time is missing.
    pub(super) async fn read(self, waypoint: &Waypoint, exchange: &mut Exchange, until: Option<Instant>) {
        let held_bytes = waypoint.limits.held_bytes;
        let facts = Facts::clone(&exchange.facts);
        let facts = match self {
            Self::Http => facts,
            Self::Mcp => {
                let mcp = within(until, mcp::read(&mut exchange.request, held_bytes)).await;
                let mcp = mcp.unwrap_or(Fact::Missing(LATE));
                Facts { mcp: mcp::described(mcp, &exchange.backend, &*exchange.known), ..facts }
            }
            Self::A2a => {
                let pointer = skill_pointer(&exchange.backend);
                let a2a =
                    within(until, a2a::read(&mut exchange.request, held_bytes, pointer.as_deref())).await;
                Facts { a2a: a2a.unwrap_or(Fact::Missing(LATE)), ..facts }
            }
            Self::Llm => {
                let llm = within(until, llm::read(&mut exchange.request, held_bytes)).await;
                Facts { llm: llm.unwrap_or(Fact::Missing(LATE)), ..facts }
            }
        };
        exchange.facts = Arc::new(facts);
    }

    pub(super) fn responder(self, waypoint: &Waypoint) -> &dyn Responder {
        match self {
            Self::Http => &Forward,
            Self::Mcp => &waypoint.mcp,
            Self::A2a => &waypoint.a2a,
            Self::Llm => &waypoint.llm,
        }
    }
}

/// Where an agent declares that its calls say their skill.
pub(super) fn skill_pointer(backend: &Backend) -> Option<Arc<str>> {
    match backend {
        Backend::Agent(agent) => match &agent.kind {
            BackendKind::A2a { skill_pointer, .. } => skill_pointer.clone(),
            _ => None,
        },
        Backend::Service { .. } | Backend::Nowhere => None,
    }
}
