//! Which guards look at an exchange.

use std::sync::Arc;

use exchange::{Backend, Exchange, Place};
use guards::{Guarding, Rules};
use mesh::{
    Denial, Reason,
    resource::{BackendKind, BackendTarget, Guard},
};

use crate::waypoint::Waypoint;

/// The rules of an exchange: of everything that it passes, and of the services that its backend leads to.
pub(super) fn rules(waypoint: &Waypoint, exchange: &Exchange) -> Rules {
    waypoint.guards.rules(&guards_of(exchange))
}

fn guards_of(exchange: &Exchange) -> Vec<Arc<Guard>> {
    let mut places = exchange.places.clone();
    for target in targets(&exchange.backend) {
        let place = match target {
            BackendTarget::Service { service, port } => Place::Service { service, port },
            BackendTarget::Agent(name) => Place::Agent(name),
            BackendTarget::Host(_) | BackendTarget::Broken(_) => continue,
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    exchange.known.guards(&places)
}

fn targets(backend: &Backend) -> Vec<BackendTarget> {
    match backend {
        Backend::Service { .. } => vec![backend.target()],
        Backend::Nowhere => Vec::new(),
        Backend::Agent(agent) => match &agent.kind {
            BackendKind::Mcp { servers } => servers.iter().map(|server| server.target.clone()).collect(),
            BackendKind::A2a { target, .. } | BackendKind::Host { target, .. } => vec![target.clone()],
            BackendKind::Llm { groups } => {
                let providers = groups.iter().flat_map(|group| &group.providers);
                providers.map(|provider| provider.target.clone()).collect()
            }
        },
    }
}

/// Looks at the request, before any protocol reads it.
pub(super) async fn begin(
    waypoint: &Waypoint,
    exchange: &mut Exchange,
    rules: Rules,
    until: Option<tokio::time::Instant>,
) -> Guarding {
    let errands = waypoint.errands.clone();
    let late = (rules.clone(), errands.clone());
    let guarding = Guarding::begin(rules, errands, exchange, waypoint.limits.held_bytes);
    super::within(until, guarding).await.unwrap_or_else(|| Guarding::late(late.0, late.1))
}

/// The refusal of a request that its body led to another backend than the one whose guards looked at it, if that has
/// guards which did not.
pub(super) fn uncovered(rules: &Rules, exchange: &Exchange) -> Option<Denial> {
    let all = guards_of(exchange).iter().all(|guard| rules.has(&guard.name));
    (!all).then(|| {
        Denial::plain(Reason::GuardFailed, "where it lives there are guards that did not look at it")
    })
}
