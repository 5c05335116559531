//! How requests are delivered: of all MeshTrafficPolicies that speak of a request, field by field the most
//! specific, and of several on one level the oldest. Who loses on its own level is told.

use std::time::Duration;

use api::{
    Kind, Name, Resource as Object,
    core::ServicePort,
    gateway::GatewayListener,
    period::Period,
    refs::TargetRef,
    traffic::{
        Algorithm, Authentication as SaidAuthentication, AuthenticationMode, LocalityPreference,
        MeshTrafficPolicySpec,
    },
};
use mesh::resource::{Authentication, BackendTarget, Balance, Millis, Retries, Traffic};

use crate::{
    attach::Place,
    binding::{Bound, Gateway},
    made::Made,
    ports::{self, Serves},
    reader::Reader,
    status::{self, Ancestor, CONTROLLER, ConditionKind, Conditions, Fault, Reference, Status},
};

/// One thing, or a part of it, at which a policy can speak.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    of: Name,
    /// Empty: the whole thing.
    sections: Vec<String>,
}

impl Level {
    fn whole(of: &Name) -> Self {
        Self { of: of.clone(), sections: Vec::new() }
    }

    fn part(of: &Name, sections: Vec<String>) -> Self {
        Self { of: of.clone(), sections }
    }

    fn is(&self, target: &TargetRef) -> bool {
        let named = target.kind.as_str() == self.of.kind.as_str()
            && target.group == self.of.kind.group()
            && target.name.as_str() == self.of.name;
        named
            && match &target.section_name {
                None => self.sections.is_empty(),
                Some(section) => self.sections.iter().any(|own| *section == own.as_str()),
            }
    }

    /// The policies that speak here, oldest first.
    fn policies<'w>(&self, reader: &Reader<'w>) -> Vec<(&'w Name, &'w MeshTrafficPolicySpec)> {
        let speaking = reader
            .traffic_within(&self.of.namespace)
            .filter(|(_, policy)| policy.spec.target_refs.iter().any(|target| self.is(target)));
        let mut found: Vec<_> = speaking
            .map(|(name, policy)| {
                let created = policy.metadata.creation_timestamp.as_deref();
                ((created.is_none(), created, name), (name, &policy.spec))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.into_iter().map(|(_, policy)| policy).collect()
    }
}

/// The fields of a policy, by the name that people know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    RequestTimeout,
    AttemptTimeout,
    ConnectTimeout,
    IdleTimeout,
    Retries,
    Algorithm,
    Locality,
    Authentication,
}

impl Field {
    const ALL: [(Self, &'static str); 8] = [
        (Self::RequestTimeout, "timeouts.request"),
        (Self::AttemptTimeout, "timeouts.backendRequest"),
        (Self::ConnectTimeout, "timeouts.connect"),
        (Self::IdleTimeout, "timeouts.idle"),
        (Self::Retries, "retries"),
        (Self::Algorithm, "balancing.algorithm"),
        (Self::Locality, "balancing.locality"),
        (Self::Authentication, "authentication"),
    ];

    fn is_set(self, spec: &MeshTrafficPolicySpec) -> bool {
        let timeouts = spec.timeouts.as_ref();
        let balancing = spec.balancing.as_ref();
        match self {
            Self::RequestTimeout => timeouts.is_some_and(|timeouts| timeouts.request.is_some()),
            Self::AttemptTimeout => timeouts.is_some_and(|timeouts| timeouts.backend_request.is_some()),
            Self::ConnectTimeout => timeouts.is_some_and(|timeouts| timeouts.connect.is_some()),
            Self::IdleTimeout => timeouts.is_some_and(|timeouts| timeouts.idle.is_some()),
            Self::Retries => spec.retries.is_some(),
            Self::Algorithm => balancing.is_some_and(|balancing| balancing.algorithm.is_some()),
            Self::Locality => balancing.is_some_and(|balancing| balancing.locality.is_some()),
            Self::Authentication => spec.authentication.is_some(),
        }
    }
}

/// Lays levels over what is beneath them, least specific first.
fn resolve(reader: &Reader<'_>, mut traffic: Traffic, levels: &[Level]) -> Traffic {
    for level in levels {
        // The oldest is laid on last, so that it wins.
        for (_, spec) in level.policies(reader).into_iter().rev() {
            lay(&mut traffic, spec);
        }
    }
    traffic
}

/// A span of time as proxies know it.
pub(super) fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn authentication(said: &SaidAuthentication) -> Authentication {
    Authentication {
        required: said.mode == AuthenticationMode::Required,
        issuers: said.issuers.iter().map(|issuer| issuer.as_str().into()).collect(),
        resource: said.resource.as_ref().map(|resource| resource.as_str().into()),
    }
}

fn lay(traffic: &mut Traffic, spec: &MeshTrafficPolicySpec) {
    let lay = |field: &mut Option<Millis>, said: Option<Period>| {
        if let Some(period) = said {
            *field = Some(millis(period.duration()));
        }
    };
    if let Some(timeouts) = &spec.timeouts {
        lay(&mut traffic.request_timeout, timeouts.request);
        lay(&mut traffic.attempt_timeout, timeouts.backend_request);
        lay(&mut traffic.connect_timeout, timeouts.connect);
        lay(&mut traffic.idle_timeout, timeouts.idle);
    }
    if let Some(retries) = &spec.retries {
        traffic.retries = Some(Retries {
            attempts: retries.attempts,
            codes: retries.codes.to_vec(),
            backoff: retries.backoff.map(|backoff| millis(backoff.duration())),
        });
    }
    if let Some(algorithm) = spec.balancing.as_ref().and_then(|balancing| balancing.algorithm) {
        traffic.balance = Some(match algorithm {
            Algorithm::LeastRequests => Balance::LeastRequests,
            Algorithm::Random => Balance::Random,
            Algorithm::RoundRobin => Balance::RoundRobin,
        });
    }
    if let Some(said) = &spec.authentication {
        traffic.authentication = Some(authentication(said));
    }
}

fn of_gateway(gateway: &Gateway<'_>) -> Vec<Level> {
    let listener = gateway.tunnel_listener().map(|listener| listener.name.as_str().to_owned());
    let part = listener.map(|listener| Level::part(&gateway.name, vec![listener]));
    [Level::whole(&gateway.name)].into_iter().chain(part).collect()
}

fn of_port(service: &Name, port: &ServicePort) -> Vec<Level> {
    vec![Level::whole(service), Level::part(service, ports::sections(port))]
}

/// Delivery to a port of a Service where no route says otherwise.
pub(super) fn of_service_port(
    reader: &Reader<'_>,
    name: &Name,
    port: &ServicePort,
    bound: &Bound<'_>,
) -> Traffic {
    let mut levels = bound.through().map(of_gateway).unwrap_or_default();
    levels.extend(of_port(name, port));
    resolve(reader, Traffic::default(), &levels)
}

/// Delivery to an AgentBackend.
pub(super) fn of_backend(reader: &Reader<'_>, name: &Name, gateway: Option<&Gateway<'_>>) -> Traffic {
    let mut levels = gateway.map(of_gateway).unwrap_or_default();
    levels.push(Level::whole(name));
    resolve(reader, Traffic::default(), &levels)
}

/// What a Gateway and one of its listeners say of all that comes in there; None is that of an automatic waypoint.
pub(super) fn of_listener(
    reader: &Reader<'_>,
    gateway: &Name,
    listener: Option<&GatewayListener>,
) -> Traffic {
    let mut levels = vec![Level::whole(gateway)];
    levels.extend(listener.map(|listener| Level::part(gateway, vec![listener.name.as_str().to_owned()])));
    resolve(reader, Traffic::default(), &levels)
}

/// What Gateways, listeners, the route and the rule say together.
pub(super) fn of_rule(
    reader: &Reader<'_>,
    route: &Name,
    rule: Option<&str>,
    places: &[&Place<'_>],
) -> Traffic {
    let (mut gateways, mut listeners) = (Vec::new(), Vec::new());
    for place in places {
        match place {
            Place::Listeners { gateway, listeners: at, .. } => {
                gateways.push(Level::whole(&gateway.name));
                let part = |listener: &&GatewayListener| {
                    Level::part(&gateway.name, vec![listener.name.as_str().to_owned()])
                };
                listeners.extend(at.iter().map(part));
            }
            Place::Service { .. } => {
                if let Some(gateway) = place.gateway() {
                    let mut levels = of_gateway(gateway).into_iter();
                    gateways.extend(levels.next());
                    listeners.extend(levels);
                }
            }
        }
    }
    let above: Vec<Level> = gateways.into_iter().chain(listeners).collect();
    let mut traffic = resolve(reader, Traffic::default(), &above);
    traffic.authentication = shared_authentication(reader, places);
    let mut levels = vec![Level::whole(route)];
    levels.extend(rule.map(|rule| Level::part(route, vec![rule.to_owned()])));
    resolve(reader, traffic, &levels)
}

/// What all places of a route say of authentication, if they say the same. Where they differ, one place must not
/// loosen another: each listener says it itself.
fn shared_authentication(reader: &Reader<'_>, places: &[&Place<'_>]) -> Option<Authentication> {
    let mut said = Vec::new();
    for place in places {
        match place {
            Place::Listeners { gateway, listeners, .. } => {
                let at = |listener: &&GatewayListener| of_listener(reader, &gateway.name, Some(listener));
                said.extend(listeners.iter().map(at).map(|traffic| traffic.authentication));
            }
            Place::Service { .. } => {
                let levels = place.gateway().map(of_gateway).unwrap_or_default();
                said.push(resolve(reader, Traffic::default(), &levels).authentication);
            }
        }
    }
    let first = said.first().cloned().flatten();
    if said.iter().all(|other| *other == first) { first } else { None }
}

/// What a backend of a rule says on top of the rule.
pub(super) fn of_route_backend(
    reader: &Reader<'_>,
    rule: Traffic,
    name: &Name,
    target: &BackendTarget,
) -> Traffic {
    let levels = match (name.kind, target) {
        (Kind::Service, BackendTarget::Service { port, .. }) => {
            let object = reader.service(&name.namespace, &name.name);
            let port = object.and_then(|object| object.spec.ports.iter().find(|own| own.port == *port));
            port.map_or_else(|| vec![Level::whole(name)], |port| of_port(name, port))
        }
        _ => vec![Level::whole(name)],
    };
    resolve(reader, rule, &levels)
}

/// True if a port of a Service that leads to a workload's port takes only requests of users.
pub(super) fn needs_users(reader: &Reader<'_>, serves: &Serves<'_>, target: u16) -> bool {
    let leading =
        serves.service.spec.ports.iter().filter(|port| serves.ports.get(&port.port) == Some(&target));
    leading.into_iter().any(|port| {
        let said = resolve(reader, Traffic::default(), &of_port(serves.name, port)).authentication;
        said.is_some_and(|said| said.required)
    })
}

/// True if endpoints near the caller come first.
pub(super) fn prefers_near(reader: &Reader<'_>, service: &Name) -> bool {
    let policies = Level::whole(service).policies(reader);
    let said = policies.into_iter().find_map(|(_, spec)| spec.balancing.as_ref()?.locality);
    said == Some(LocalityPreference::Failover)
}

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<MeshTrafficPolicySpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let unresolved = unknown_issuer(reader, &object.spec);
    let tell = |target: &TargetRef| {
        let accepted = fault(reader, name, target);
        let lost = accepted.is_none().then(|| lost(reader, name, &object.spec, target)).flatten();
        let unread = accepted.is_none().then(|| unread(reader, name, &object.spec, target)).flatten();
        let programmed = status::first([accepted.clone(), lost, unresolved.clone(), unread]);
        Ancestor {
            ancestor_ref: Reference {
                group: target.group.clone(),
                kind: target.kind.as_str().to_owned(),
                namespace: name.namespace.clone(),
                name: target.name.as_str().to_owned(),
                section_name: target.section_name.as_ref().map(|section| section.as_str().to_owned()),
                port: None,
            },
            controller_name: CONTROLLER,
            conditions: vec![
                conditions.judge(ConditionKind::Accepted, accepted.as_ref(), "the policy is valid"),
                conditions.judge(
                    ConditionKind::ResolvedRefs,
                    unresolved.as_ref(),
                    "everything it names is there",
                ),
                conditions.judge(ConditionKind::Programmed, programmed.as_ref(), "every field is in force"),
            ],
        }
    };
    let ancestors = object.spec.target_refs.iter().map(tell).collect();
    Made { status: Some((name.clone(), Status { ancestors, ..Status::default() })), ..Made::default() }
}

/// A Service that takes only requests of users, where nobody reads requests: nobody may come in.
fn unread(
    reader: &Reader<'_>,
    name: &Name,
    spec: &MeshTrafficPolicySpec,
    target: &TargetRef,
) -> Option<Fault> {
    let required = authentication(spec.authentication.as_ref()?).required;
    if !required || target.kind.as_str() != Kind::Service.as_str() {
        return None;
    }
    let of = Name::new(Kind::Service, &name.namespace, target.name.as_str());
    let service = reader.service(&of.namespace, &of.name)?;
    let bound = Bound::of_service(reader, &of, &service.metadata.labels);
    bound.wanted().is_none().then(|| {
        let message = format!(
            "nobody reads the tokens of requests to {of}, so all are refused: label strait.dev/use-waypoint there"
        );
        Fault::new("NoWaypoint", message)
    })
}

/// The first issuer that is named and not there: none of its tokens is valid.
fn unknown_issuer(reader: &Reader<'_>, spec: &MeshTrafficPolicySpec) -> Option<Fault> {
    let mut named = spec.authentication.iter().flat_map(|said| said.issuers.iter());
    let unknown = named.find(|issuer| reader.issuer("", issuer.as_str()).is_none())?;
    Some(Fault::new(
        "IssuerNotFound",
        format!("there is no TokenIssuer {unknown}: none of its tokens is valid"),
    ))
}

fn fault(reader: &Reader<'_>, name: &Name, target: &TargetRef) -> Option<Fault> {
    let missing = |what: String| Some(Fault::new("TargetNotFound", what));
    let Ok(kind) = target.kind.as_str().parse::<Kind>() else {
        return Some(Fault::new("Invalid", format!("{} is no target", target.kind)));
    };
    let of = Name::new(kind, &name.namespace, target.name.as_str());
    let section = target.section_name.as_ref().map(|section| section.as_str());
    let no_part = |part: &str| missing(format!("{of} has no {part} {}", section.unwrap_or_default()));
    match kind {
        Kind::Service => match reader.service(&of.namespace, &of.name) {
            None => missing(format!("there is no {of}")),
            Some(service) => {
                let has = |section: &str| {
                    service
                        .spec
                        .ports
                        .iter()
                        .any(|port| ports::sections(port).iter().any(|own| own == section))
                };
                if section.is_some_and(|section| !has(section)) { no_part("port") } else { None }
            }
        },
        Kind::Gateway => match Gateway::find(reader, &of) {
            Err(fault) => missing(fault.message),
            Ok(gateway) => {
                let has = |section: &str| {
                    gateway
                        .spec
                        .is_some_and(|spec| spec.listeners.iter().any(|listener| listener.name == section))
                };
                if section.is_some_and(|section| !has(section)) { no_part("listener") } else { None }
            }
        },
        Kind::HttpRoute => match reader.route(&of.namespace, &of.name) {
            None => missing(format!("there is no {of}")),
            Some(route) => {
                let has = |section: &str| {
                    route.spec.rules.iter().any(|rule| rule.name.as_ref().is_some_and(|own| *own == section))
                };
                if section.is_some_and(|section| !has(section)) { no_part("rule") } else { None }
            }
        },
        Kind::AgentBackend => match (reader.backend(&of.namespace, &of.name), section) {
            (None, _) => missing(format!("there is no {of}")),
            (Some(_), Some(_)) => {
                Some(Fault::new("NotBuiltYet", "a policy on one server of a backend is not built yet"))
            }
            (Some(_), None) => None,
        },
        other => Some(Fault::new("Invalid", format!("{other} is no target"))),
    }
}

/// The fields that an older policy on the same level has for itself.
fn lost(reader: &Reader<'_>, name: &Name, spec: &MeshTrafficPolicySpec, target: &TargetRef) -> Option<Fault> {
    let kind: Kind = target.kind.as_str().parse().ok()?;
    let of = Name::new(kind, &name.namespace, target.name.as_str());
    let level = match &target.section_name {
        None => Level::whole(&of),
        Some(section) => Level::part(&of, equal_sections(reader, &of, section.as_str())),
    };
    let policies = level.policies(reader);
    let older: Vec<_> = policies.into_iter().take_while(|(other, _)| *other != name).collect();
    let set: Vec<(Field, &str)> = Field::ALL.into_iter().filter(|(field, _)| field.is_set(spec)).collect();
    let mut told = Vec::new();
    for (field, text) in &set {
        if let Some((winner, _)) = older.iter().find(|(_, other)| field.is_set(other)) {
            told.push(format!("{text} (by {winner})"));
        }
    }
    if told.is_empty() {
        return None;
    }
    let reason = if told.len() == set.len() { "Overridden" } else { "PartiallyProgrammed" };
    Some(Fault::new(reason, format!("an older policy says on the same level: {}", told.join(", "))))
}

/// A Service's port is one level, whether it is called by its name or its number.
fn equal_sections(reader: &Reader<'_>, of: &Name, section: &str) -> Vec<String> {
    let service = if of.kind == Kind::Service { reader.service(&of.namespace, &of.name) } else { None };
    let port = service.and_then(|service| {
        service.spec.ports.iter().find(|port| ports::sections(port).iter().any(|own| own == section))
    });
    port.map_or_else(|| vec![section.to_owned()], ports::sections)
}
