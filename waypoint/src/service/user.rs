//! Who the user behind a request is, and where a client that has no token learns how to get one.

use std::sync::Arc;

use exchange::{Body, Exchange, Place, Response};
use http::{HeaderValue, Method, StatusCode, header};
use mesh::{
    Facts,
    facts::{Fact, HttpFacts},
    resource::Authentication,
    snapshot::Snapshot,
};
use users::Refusal;

use crate::waypoint::Waypoint;

/// Verifies the user of an exchange, as everything on its way says, and takes the credential out of the request. The
/// refusal is given by a filter, after preflights.
pub(super) async fn authenticate(
    waypoint: &Waypoint,
    exchange: &mut Exchange,
) -> (Vec<Authentication>, Option<Refusal>) {
    let demands = demands(&waypoint.worlds.load().snapshot, exchange);
    if demands.is_empty() {
        return (demands, None);
    }
    let known = Arc::clone(&exchange.known);
    let issuer = move |name: &str| known.issuer(name);
    let headers = exchange.request.headers_mut();
    let verified = waypoint.users.authenticate(headers, &demands, &issuer, (waypoint.now)()).await;
    let mut facts = Facts::clone(&exchange.facts);
    if let Fact::Known(http) = &mut facts.http {
        // What was a credential is none of a policy's business.
        http.headers.retain(|name, _| exchange.request.headers().contains_key(&**name));
    }
    let (user, refusal) = match verified {
        Ok(user) => (user, None),
        Err(refusal) => (None, Some(refusal)),
    };
    facts.user = user;
    exchange.facts = Arc::new(facts);
    (demands, refusal)
}

/// The refusal of a request that its body led to another backend, which authenticates users as the first did not.
pub(super) fn uncovered(
    waypoint: &Waypoint,
    asked: &[Authentication],
    exchange: &Exchange,
) -> Option<Refusal> {
    let now = demands(&waypoint.worlds.load().snapshot, exchange);
    now.iter().find(|demand| !asked.contains(demand)).map(Refusal::unasked)
}

/// How users are authenticated on the way of an exchange: by what its rule says, and by everything that it was
/// addressed or led to. Each must take the token.
fn demands(snapshot: &Snapshot, exchange: &Exchange) -> Vec<Authentication> {
    let rule = &exchange.traffic.authentication;
    let demand = |place: &Place| match place {
        // A rule repeats what its listeners say only where all of them agree.
        Place::Listener { .. } if rule.is_some() => None,
        Place::Listener { gateway, listener } => {
            let mut listeners = snapshot.listeners();
            let found = listeners.find(|it| it.gateway == *gateway && it.name == *listener)?;
            found.traffic.authentication.clone()
        }
        Place::Service { service, port } => {
            snapshot.service(service)?.ports.get(port)?.traffic.authentication.clone()
        }
        Place::Agent(name) => snapshot.backend(name)?.traffic.authentication.clone(),
        Place::Route(_) | Place::Workload { .. } => None,
    };
    let mut demands: Vec<Authentication> = rule.iter().cloned().collect();
    for demand in exchange.way().iter().filter_map(demand) {
        if !demands.contains(&demand) {
            demands.push(demand);
        }
    }
    demands
}

/// Answers for the metadata of a protected resource that is served here (RFC 9728). It is for everybody: it says
/// where tokens are to be had, and no more.
pub(super) fn metadata(waypoint: &Waypoint, http: &HttpFacts) -> Option<Response> {
    if !http.path.starts_with(users::WELL_KNOWN) {
        return None;
    }
    let world = waypoint.worlds.load();
    let snapshot = &world.snapshot;
    let ports = snapshot.services().flat_map(|service| service.ports.values()).map(|port| &port.traffic);
    let backends = snapshot.backends().map(|backend| &backend.traffic);
    let rules = snapshot.routes().flat_map(|route| &route.rules);
    let rules = rules.flat_map(|rule| {
        std::iter::once(&rule.traffic).chain(rule.backends.iter().map(|backend| &backend.traffic))
    });
    let listeners = snapshot.listeners().map(|listener| &listener.traffic);
    let found = ports.chain(backends).chain(rules).chain(listeners).find_map(|traffic| {
        let demand = traffic.authentication.as_ref()?;
        let (host, path) = users::metadata_path(demand.resource.as_deref()?)?;
        (host == *http.host && path == *http.path.trim_end_matches('/')).then(|| demand.clone())
    })?;
    if !matches!(&*http.method, "GET" | "HEAD") {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    let document = users::metadata(&found, |name| waypoint.known.issuer(name))?;
    let mut response = Response::new(Body::empty());
    if *http.method == *Method::GET.as_str() {
        *response.body_mut() = Body::held_bytes(document);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Clients in browsers read it too, and there is nothing in it that depends on who asks.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Some(response)
}
