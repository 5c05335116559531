//! Which guards look at an exchange.

use exchange::Exchange;
use guards::{Guarding, Rules};
use mesh::{Denial, Reason};

use super::within::within;
use crate::waypoint::Waypoint;

/// The rules of an exchange: of everything that it passes, and of the services that its backend leads to.
pub(super) fn rules(waypoint: &Waypoint, exchange: &Exchange) -> Rules {
    waypoint.guards.rules(&exchange.known.guards(&exchange.way()))
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
    within(until, guarding).await.unwrap_or_else(|| Guarding::late(late.0, late.1))
}

/// The refusal of a request that its body led to another backend than the one whose guards looked at it, if that has
/// guards which did not.
pub(super) fn uncovered(rules: &Rules, exchange: &Exchange) -> Option<Denial> {
    let all = exchange.known.guards(&exchange.way()).iter().all(|guard| rules.has(&guard.name));
    (!all).then(|| {
        Denial::plain(Reason::GuardFailed, "where it lives there are guards that did not look at it")
    })
}
