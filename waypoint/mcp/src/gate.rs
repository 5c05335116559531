//! What of a list may be shown: what is granted, and of tools what is not held back.

use std::sync::Arc;

use exchange::{Backend, Exchange};
use mesh::{
    facts::{McpFacts, McpObject},
    names::ObjectName,
    resource::BackendKind,
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    scope::Scope,
    shelf::{Seen, Shelf},
};

/// What was counted since the start. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    lost: Counter,
    held: Counter,
    collisions: Counter,
}

impl Counts {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "strait_mcp_servers_lost",
            "Answers that one of several MCP servers did not give",
            self.lost.clone(),
        );
        registry.register(
            "strait_mcp_tools_held",
            "Tools held back, in lists and calls, because their definition was not approved",
            self.held.clone(),
        );
        registry.register(
            "strait_mcp_collisions",
            "Entries of lists dropped because another has their name",
            self.collisions.clone(),
        );
    }

    /// Answers that one server of several did not give.
    pub fn servers_lost(&self) -> u64 {
        self.lost.get()
    }

    /// Tools that were held back, in lists and calls.
    pub fn tools_held(&self) -> u64 {
        self.held.get()
    }

    /// Entries of lists that were dropped because another has their name.
    pub fn collisions(&self) -> u64 {
        self.collisions.get()
    }

    pub(crate) fn lost(&self) {
        self.lost.inc();
    }

    pub(crate) fn held(&self) {
        self.held.inc();
    }

    pub(crate) fn collided(&self) {
        self.collisions.inc();
    }
}

/// Where a server's definitions are kept: its backend and its name there.
pub(crate) type ServerKey = (ObjectName, Arc<str>);

/// Decides entry by entry.
#[derive(Clone)]
pub(crate) struct Gate {
    scope: Scope,
    shelf: Arc<Shelf>,
    counts: Counts,
    // A Service has no catalogue, so nothing is remembered of it.
    key: Option<ServerKey>,
}

impl Gate {
    pub(crate) fn new(scope: Scope, shelf: &Arc<Shelf>, counts: &Counts, key: Option<ServerKey>) -> Self {
        Self { scope, shelf: Arc::clone(shelf), counts: counts.clone(), key }
    }

    /// May an entry be shown, whose use has these facts?
    pub(crate) fn passes(&self, facts: McpFacts, entry: &Value) -> bool {
        let (McpObject::Tool { name, .. }, Some(key)) = (&facts.object, &self.key) else {
            return self.scope.shows(facts);
        };
        let name = Arc::clone(name);
        let Some(seen) = Seen::of(entry, Instant::now()) else { return false };
        self.shelf.put(key, &name, &seen);
        if !self.scope.shows(facts) {
            return false;
        }
        match self.scope.catalogued().judge(&name, &seen) {
            Ok(()) => true,
            Err(held) => {
                self.counts.held();
                self.scope.note("mcp.held", &format!("{name}: {held}"));
                false
            }
        }
    }
}

/// The key of the one server of a backend.
pub(crate) fn only(exchange: &Exchange) -> Option<ServerKey> {
    let Backend::Agent(agent) = &exchange.backend else { return None };
    match &agent.kind {
        BackendKind::Mcp { servers } => {
            servers.first().map(|server| (agent.name.clone(), Arc::clone(&server.name)))
        }
        _ => None,
    }
}
