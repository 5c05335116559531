//! HTTPRoutes: where they are attached, what their rules match, and where requests go.

use std::sync::Arc;

use api::{
    Name, Resource as Object,
    http_route::{
        HttpMethod, HttpRouteSpec, ParentRef, PathMatchType, RouteBackendRef, RouteMatch as SaidMatch,
        RouteRule as SaidRule, ValueMatch, ValueMatchType,
    },
    period::Period,
};
use mesh::resource::{
    BackendTarget, HostPattern, Millis, NamedMatch, PathMatch, Resource, Retries, Route, RouteMatch,
    RouteRule, TextMatch, Traffic, WeightedBackend,
};

use super::{route_filters, traffic};
use crate::{
    access,
    attach::{self, Attachment, Place},
    binding::Bound,
    made::Made,
    names,
    reader::Reader,
    references::BackendReference,
    sets,
    status::{self, CONTROLLER, ConditionKind, Conditions, Fault, Parent, Reference, Status},
};

/// Further attempts where a route asks for retries and does not say how many (Gateway API leaves it to us).
const RETRIES_DEFAULT: u8 = 2;
/// Most further attempts.
const RETRIES_MAX: u8 = 10;

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<HttpRouteSpec>) -> Made {
    let mut made = Made::default();
    let Some((name, object)) =
        reader.routes_within(&name.namespace).find(|(own, found)| *own == name && found.spec == object.spec)
    else {
        return made;
    };
    let attachments = attach::attachments(reader, name, object);
    let places: Vec<&Place<'_>> =
        attachments.iter().filter_map(|attached| attached.place.as_ref().ok()).collect();
    let mut faults = Vec::new();
    let rules: Vec<RouteRule> =
        object.spec.rules.iter().map(|said| rule(reader, name, said, &places, &mut faults)).collect();
    if !places.is_empty() {
        let policies = access::within(reader, &name.namespace);
        let named = object.spec.rules.iter().filter_map(|rule| Some(rule.name.as_ref()?.as_str().to_owned()));
        let set = sets::route(reader, &policies, name, &object.metadata.labels, named.collect());
        made.add(Resource::Route(Arc::new(Route {
            name: names::object(name),
            created: object.metadata.creation_timestamp.as_deref().map(Into::into),
            parents: places.iter().flat_map(|place| place.parents()).collect(),
            hostnames: hostnames(&places, object),
            rules,
            set: set.name.clone(),
        })));
        made.add(Resource::PolicySet(Arc::new(set)));
    }
    let conditions = Conditions::of(object.metadata.generation);
    let parents =
        attachments.iter().map(|attached| told(reader, conditions, name, attached, &faults)).collect();
    made.status = Some((name.clone(), Status { parents, ..Status::default() }));
    made
}

/// The hosts that the route serves at all its places. None: all of the parent.
fn hostnames(places: &[&Place<'_>], object: &Object<HttpRouteSpec>) -> Vec<HostPattern> {
    let pattern = |host: &str| HostPattern(host.to_ascii_lowercase().into());
    // At a Service every request is addressed to it already; the route's hostnames say nothing there (GEP-1426).
    let only_services = places.iter().all(|place| matches!(place, Place::Service { .. }));
    if only_services || object.spec.hostnames.is_empty() {
        return Vec::new();
    }
    let mut shared: Vec<HostPattern> = Vec::new();
    for place in places {
        if let Place::Listeners { hostnames, .. } = place {
            shared.extend(hostnames.iter().map(|host| pattern(host)));
        }
    }
    shared.sort();
    shared.dedup();
    shared
}

fn rule(
    reader: &Reader<'_>,
    name: &Name,
    said: &SaidRule,
    places: &[&Place<'_>],
    faults: &mut Vec<Fault>,
) -> RouteRule {
    let rule_name = said.name.as_ref().map(|name| name.as_str());
    let mut delivery = traffic::of_rule(reader, name, rule_name, places);
    say(&mut delivery, said);
    let mut broken = said
        .session_persistence
        .as_ref()
        .map(|_| Fault::new("NotBuiltYet", "sessionPersistence is not built yet"));
    let filters_of = |said: &[api::http_route::RouteFilter], broken: &mut Option<Fault>| {
        route_filters::filters(reader, name, said).unwrap_or_else(|fault| {
            broken.get_or_insert(fault);
            Vec::new()
        })
    };
    let filters = filters_of(&said.filters, &mut broken);
    let mut backends = Vec::new();
    for to in &said.backend_refs {
        let mut own = None;
        let filters = filters_of(&to.filters, &mut own);
        let resolved = match own {
            Some(fault) => Err(fault),
            None => attach::backend(reader, name, &reference(name, to)),
        };
        let (target, delivery) = match resolved {
            Ok(backend) => {
                let delivery =
                    traffic::of_route_backend(reader, delivery.clone(), &backend.name, &backend.target);
                (backend.target, delivery)
            }
            Err(fault) => {
                let target = BackendTarget::Broken(fault.message.as_str().into());
                faults.push(fault);
                (target, Traffic::default())
            }
        };
        backends.push(WeightedBackend { target, weight: to.weight, filters, traffic: delivery });
    }
    let answers = said.filters.iter().any(|filter| filter.request_redirect.is_some());
    if backends.is_empty() && !answers && broken.is_none() {
        broken = Some(Fault::new("NoBackends", "the rule leads nowhere: it has no backendRefs"));
    }
    faults.extend(broken.clone());
    let mut matches: Vec<RouteMatch> = said.matches.iter().map(matching).collect();
    if matches.is_empty() {
        matches.push(matching(&SaidMatch::default()));
    }
    RouteRule {
        name: rule_name.unwrap_or("").into(),
        matches,
        filters,
        backends,
        traffic: delivery,
        broken: broken.map(|fault| fault.message.into()),
    }
}

fn reference<'a>(from: &'a Name, to: &'a RouteBackendRef) -> BackendReference<'a> {
    BackendReference {
        group: &to.group,
        kind: &to.kind,
        namespace: to.namespace.as_ref().map_or(&from.namespace, |namespace| namespace.as_str()),
        name: to.name.as_str(),
        port: to.port,
    }
}

/// What the rule itself says is more specific than any policy on it.
fn say(traffic: &mut Traffic, said: &SaidRule) {
    let millis = |period: Period| Millis(u64::try_from(period.duration().as_millis()).unwrap_or(u64::MAX));
    if let Some(timeouts) = &said.timeouts {
        traffic.request_timeout = timeouts.request.map(millis).or(traffic.request_timeout);
        traffic.attempt_timeout = timeouts.backend_request.map(millis).or(traffic.attempt_timeout);
    }
    if let Some(retry) = &said.retry {
        let attempts =
            retry.attempts.map_or(RETRIES_DEFAULT, |said| u8::try_from(said).unwrap_or(RETRIES_MAX));
        traffic.retries = Some(Retries {
            attempts: attempts.min(RETRIES_MAX),
            codes: retry.codes.to_vec(),
            backoff: retry.backoff.map(millis),
        });
    }
}

fn matching(said: &SaidMatch) -> RouteMatch {
    let path = match &said.path {
        None => PathMatch::Prefix("/".into()),
        Some(path) => {
            let value = path.value.as_str().into();
            match path.kind {
                PathMatchType::Exact => PathMatch::Exact(value),
                PathMatchType::PathPrefix => PathMatch::Prefix(value),
                PathMatchType::RegularExpression => PathMatch::Regex(value),
            }
        }
    };
    let named = |said: &ValueMatch, name: Arc<str>| NamedMatch {
        name,
        value: match said.kind {
            ValueMatchType::Exact => TextMatch::Exact(said.value.as_str().into()),
            ValueMatchType::RegularExpression => TextMatch::Regex(said.value.as_str().into()),
        },
    };
    // Of several conditions on one header, only the first counts (Gateway API).
    let mut headers: Vec<NamedMatch> = Vec::new();
    for said in &said.headers {
        let found = named(said, said.name.to_ascii_lowercase().into());
        if !headers.iter().any(|other| other.name == found.name) {
            headers.push(found);
        }
    }
    let mut query: Vec<NamedMatch> = Vec::new();
    for said in &said.query_params {
        let found = named(said, said.name.as_str().into());
        if !query.iter().any(|other| other.name == found.name) {
            query.push(found);
        }
    }
    RouteMatch { path, method: said.method.map(method), headers, query }
}

fn method(said: HttpMethod) -> Arc<str> {
    match said {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Connect => "CONNECT",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Trace => "TRACE",
        HttpMethod::Patch => "PATCH",
    }
    .into()
}

fn told(
    reader: &Reader<'_>,
    conditions: Conditions,
    name: &Name,
    attached: &Attachment<'_>,
    faults: &[Fault],
) -> Parent {
    let fault = attached.place.as_ref().err();
    let unresolved = faults.first().map(|first| {
        let all: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        Fault::new(first.reason, all.join("; "))
    });
    let silent = attached.place.as_ref().ok().and_then(|place| silent(reader, place));
    let programmed = status::first([fault.cloned(), silent]);
    Parent {
        parent_ref: parent_reference(name, attached.parent),
        controller_name: CONTROLLER,
        conditions: vec![
            conditions.judge(ConditionKind::Accepted, fault, "the route is attached"),
            conditions.judge(
                ConditionKind::ResolvedRefs,
                unresolved.as_ref(),
                "everything it names is there",
            ),
            conditions.judge(
                ConditionKind::Programmed,
                programmed.as_ref(),
                "sent to the proxies that carry it out",
            ),
        ],
    }
}

fn silent(reader: &Reader<'_>, place: &Place<'_>) -> Option<Fault> {
    match place {
        Place::Service { bound, .. } => match &**bound {
            Bound::Pending { why, .. } | Bound::Missing { why, .. } => Some(why.clone()),
            Bound::Through { gateway, .. } if !reader.serving(&gateway.name) => {
                Some(Fault::new("GatewayNotServing", format!("no proxy of {} is connected", gateway.name)))
            }
            Bound::Through { .. } | Bound::No => None,
        },
        Place::Listeners { gateway, .. } if !reader.serving(&gateway.name) => {
            Some(Fault::new("GatewayNotServing", format!("no proxy of {} is connected", gateway.name)))
        }
        Place::Listeners { .. } => None,
    }
}

fn parent_reference(route: &Name, parent: &ParentRef) -> Reference {
    Reference {
        group: parent.group.clone(),
        kind: parent.kind.clone(),
        namespace: parent
            .namespace
            .as_ref()
            .map_or(route.namespace.as_str(), |namespace| namespace.as_str())
            .to_owned(),
        name: parent.name.as_str().to_owned(),
        section_name: parent.section_name.as_ref().map(|section| section.as_str().to_owned()),
        port: parent.port,
    }
}
