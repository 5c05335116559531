//! Checks of `HTTPRoute`: what Gateway API's own CRD states in CEL, and what it cannot.

use api::{
    gateway::GATEWAY_GROUP,
    http_route::{
        BackendRef, Cors, HeaderModifier, HttpRouteSpec, ParentRef, PathMatchType, PathModifier,
        PathModifierType, RequestMirror, RequestRedirect, RouteBackendRef, RouteFilter, RouteFilterType,
        RouteMatch, RouteRetry, RouteRule, ValueMatch, ValueMatchType,
    },
    object::GROUP,
};

use super::{
    fault::{Fault, Within, each, not_yet, some, unique},
    text,
};

/// Largest weight of a backend.
const WEIGHT_MAX: u32 = 1_000_000;
/// Most matches of all rules together, as Gateway API bounds them.
const MATCHES_MAX: usize = 128;
/// Most attempts after the first.
const ATTEMPTS_MAX: u32 = 10;

pub(super) fn check(spec: &HttpRouteSpec) -> Result<(), Fault> {
    not_yet("useDefaultGateways", spec.use_default_gateways.as_ref(), "name a Gateway in parentRefs")?;
    each("parentRefs", &spec.parent_refs, check_parent)?;
    each("hostnames", &spec.hostnames, |host| text::host_pattern(host))?;
    unique("rules", &spec.rules, |rule| rule.name.as_deref(), "rule")?;
    each("rules", &spec.rules, check_rule)?;
    let matches: usize = spec.rules.iter().map(|rule| rule.matches.len().max(1)).sum();
    match matches > MATCHES_MAX {
        true => Err(Fault::new(
            api::Reason::TooLarge,
            format!("has {matches} matches in all rules, at most {MATCHES_MAX} are allowed"),
        )
        .remedy("split the route")
        .within("rules")),
        false => Ok(()),
    }
}

fn check_parent(parent: &ParentRef) -> Result<(), Fault> {
    match (&*parent.group, &*parent.kind) {
        (GATEWAY_GROUP, "Gateway") | ("", "Service") | (GROUP, "AgentBackend") => {}
        (GATEWAY_GROUP, "Service") => {
            return Err(Fault::invalid("a Service is of the core group")
                .remedy("write group: \"\"")
                .within("group"));
        }
        (GATEWAY_GROUP, "ListenerSet") => {
            return Err(Fault::not_built_yet("a ListenerSet as a parent").within("kind"));
        }
        (group, kind) => {
            return Err(Fault::invalid(format!("{kind:?} of group {group:?} cannot be a parent"))
                .remedy(
                    "a parent is a Gateway, a Service (group: \"\") or an AgentBackend (group: strait.dev)",
                )
                .within("kind"));
        }
    }
    text::dns_name(&parent.name).within("name")?;
    some("namespace", parent.namespace.as_deref(), text::label)?;
    some("sectionName", parent.section_name.as_deref(), text::dns_name)?;
    some("port", parent.port.as_ref(), |port| text::port(*port))
}

fn check_rule(rule: &RouteRule) -> Result<(), Fault> {
    some("name", rule.name.as_deref(), text::dns_name)?;
    each("matches", &rule.matches, check_match)?;
    check_filters(&rule.filters, rule)?;
    each("backendRefs", &rule.backend_refs, |backend| check_backend(backend, rule))?;
    let redirects = rule.filters.iter().any(|filter| filter.kind == RouteFilterType::RequestRedirect);
    if redirects && !rule.backend_refs.is_empty() {
        return Err(Fault::conflict("a redirect and backends exclude each other")
            .remedy("take one of them out, or give them rules of their own")
            .within("backendRefs"));
    }
    some("timeouts", rule.timeouts.as_ref(), |timeouts| {
        match (timeouts.request, timeouts.backend_request) {
            (Some(request), Some(backend)) if !request.duration().is_zero() && backend > request => {
                Err(Fault::conflict(format!("one attempt may take {backend}, the whole request {request}"))
                    .remedy("an attempt takes at most as long as the request")
                    .within("backendRequest"))
            }
            _ => Ok(()),
        }
    })?;
    some("retry", rule.retry.as_ref(), check_retry)?;
    not_yet("sessionPersistence", rule.session_persistence.as_ref(), "take it out")
}

fn check_match(matched: &RouteMatch) -> Result<(), Fault> {
    some("path", matched.path.as_ref(), |path| {
        match path.kind {
            PathMatchType::RegularExpression => text::pattern(&path.value),
            PathMatchType::Exact | PathMatchType::PathPrefix => plain_path(&path.value),
        }
        .within("value")
    })?;
    unique("headers", &matched.headers, |header| Some(header.name.to_ascii_lowercase()), "header")?;
    each("headers", &matched.headers, check_value)?;
    unique("queryParams", &matched.query_params, |parameter| Some(parameter.name.as_str()), "parameter")?;
    each("queryParams", &matched.query_params, check_value)
}

/// Gateway API refuses paths that a server may read in two ways.
fn plain_path(path: &str) -> Result<(), Fault> {
    text::absolute_path(path)?;
    let unclear = ["//", "/./", "/../", "%2f", "%2F", "#"].iter().find(|part| path.contains(**part));
    let unclear = unclear.or(["/..", "/."].iter().find(|end| path.ends_with(**end)));
    match unclear {
        Some(part) => Err(Fault::invalid(format!("{path:?} contains {part:?}"))
            .remedy("write the path as it is after such parts were resolved")),
        None => Ok(()),
    }
}

fn check_value(value: &ValueMatch) -> Result<(), Fault> {
    text::header_name(&value.name).within("name")?;
    match value.kind {
        ValueMatchType::Exact => text::header_value(&value.value),
        ValueMatchType::RegularExpression => text::pattern(&value.value),
    }
    .within("value")
}

/// Each filter once, of its own type, and none that contradict one another.
fn check_filters(filters: &[RouteFilter], rule: &RouteRule) -> Result<(), Fault> {
    let once = |filter: &RouteFilter| {
        let repeatable =
            matches!(filter.kind, RouteFilterType::RequestMirror | RouteFilterType::ExtensionRef);
        (!repeatable).then(|| type_name(filter.kind))
    };
    unique("filters", filters, once, "filter")?;
    each("filters", filters, |filter| check_filter(filter, rule))?;
    let has = |kind| filters.iter().any(|filter| filter.kind == kind);
    match has(RouteFilterType::RequestRedirect) && has(RouteFilterType::UrlRewrite) {
        true => Err(Fault::conflict("a redirect and a rewrite exclude each other")
            .remedy("take one of them out")
            .within("filters")),
        false => Ok(()),
    }
}

fn type_name(kind: RouteFilterType) -> &'static str {
    match kind {
        RouteFilterType::RequestHeaderModifier => "RequestHeaderModifier",
        RouteFilterType::ResponseHeaderModifier => "ResponseHeaderModifier",
        RouteFilterType::RequestMirror => "RequestMirror",
        RouteFilterType::RequestRedirect => "RequestRedirect",
        RouteFilterType::UrlRewrite => "URLRewrite",
        RouteFilterType::Cors => "CORS",
        RouteFilterType::ExternalAuth => "ExternalAuth",
        RouteFilterType::ExtensionRef => "ExtensionRef",
    }
}

fn check_filter(filter: &RouteFilter, rule: &RouteRule) -> Result<(), Fault> {
    let fields = [
        (
            "requestHeaderModifier",
            RouteFilterType::RequestHeaderModifier,
            filter.request_header_modifier.is_some(),
        ),
        (
            "responseHeaderModifier",
            RouteFilterType::ResponseHeaderModifier,
            filter.response_header_modifier.is_some(),
        ),
        ("requestMirror", RouteFilterType::RequestMirror, filter.request_mirror.is_some()),
        ("requestRedirect", RouteFilterType::RequestRedirect, filter.request_redirect.is_some()),
        ("urlRewrite", RouteFilterType::UrlRewrite, filter.url_rewrite.is_some()),
        ("cors", RouteFilterType::Cors, filter.cors.is_some()),
        ("externalAuth", RouteFilterType::ExternalAuth, filter.external_auth.is_some()),
        ("extensionRef", RouteFilterType::ExtensionRef, filter.extension_ref.is_some()),
    ];
    if matches!(filter.kind, RouteFilterType::ExternalAuth | RouteFilterType::ExtensionRef) {
        return Err(
            Fault::not_built_yet(&format!("a filter of type {}", type_name(filter.kind))).within("type")
        );
    }
    for (field, kind, written) in fields {
        match (kind == filter.kind, written) {
            (true, false) => {
                return Err(Fault::new(api::Reason::MissingField, "is missing")
                    .remedy(format!("type: {} needs it", type_name(kind)))
                    .within(field));
            }
            (false, true) => {
                return Err(Fault::conflict(format!(
                    "stands in a filter of type {}",
                    type_name(filter.kind)
                ))
                .remedy(format!("write type: {}", type_name(kind)))
                .within(field));
            }
            _ => {}
        }
    }
    some("requestHeaderModifier", filter.request_header_modifier.as_ref(), check_modifier)?;
    some("responseHeaderModifier", filter.response_header_modifier.as_ref(), check_modifier)?;
    some("requestMirror", filter.request_mirror.as_ref(), check_mirror)?;
    some("requestRedirect", filter.request_redirect.as_ref(), |redirect| check_redirect(redirect, rule))?;
    some("urlRewrite", filter.url_rewrite.as_ref(), |rewrite| {
        some("hostname", rewrite.hostname.as_deref(), plain_host)?;
        some("path", rewrite.path.as_ref(), |path| check_path_modifier(path, rule))
    })?;
    some("cors", filter.cors.as_ref(), check_cors)
}

fn plain_host(host: &str) -> Result<(), Fault> {
    match host.starts_with('*') {
        true => Err(Fault::invalid(format!("{host:?} is not one host")).remedy("write it without *")),
        false => text::host_pattern(host),
    }
}

fn check_modifier(modifier: &HeaderModifier) -> Result<(), Fault> {
    if modifier.set.is_empty() && modifier.add.is_empty() && modifier.remove.is_empty() {
        return Err(Fault::conflict("says nothing").remedy("write at least one of set, add and remove"));
    }
    for (field, headers) in [("set", &modifier.set), ("add", &modifier.add)] {
        unique(field, headers, |header| Some(header.name.to_ascii_lowercase()), "header")?;
        each(field, headers, |header| {
            changeable(&header.name).within("name")?;
            text::header_value(&header.value).within("value")
        })?;
    }
    unique("remove", &modifier.remove, |name| Some(name.to_ascii_lowercase()), "header")?;
    each("remove", &modifier.remove, |name| changeable(name))
}

fn changeable(name: &str) -> Result<(), Fault> {
    match name.eq_ignore_ascii_case("host") {
        true => Err(Fault::invalid("the host is not changed as a header").remedy("use a URLRewrite filter")),
        false => text::header_of_others(name),
    }
}

fn check_mirror(mirror: &RequestMirror) -> Result<(), Fault> {
    check_backend_object(&mirror.backend_ref).within("backendRef")?;
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        return Err(Fault::conflict("has both of percent and fraction").remedy("write one of them"));
    }
    some("percent", mirror.percent.as_ref(), |percent| match percent {
        0..=100 => Ok(()),
        _ => Err(Fault::invalid(format!("{percent} is more than 100"))),
    })?;
    some("fraction", mirror.fraction.as_ref(), |fraction| {
        if fraction.denominator == 0 {
            return Err(Fault::invalid("is 0").remedy("at least 1").within("denominator"));
        }
        match fraction.numerator > fraction.denominator {
            true => Err(Fault::conflict("is more than the denominator").within("numerator")),
            false => Ok(()),
        }
    })
}

fn check_redirect(redirect: &RequestRedirect, rule: &RouteRule) -> Result<(), Fault> {
    some("hostname", redirect.hostname.as_deref(), plain_host)?;
    some("path", redirect.path.as_ref(), |path| check_path_modifier(path, rule))?;
    some("port", redirect.port.as_ref(), |port| text::port(*port))?;
    some("statusCode", redirect.status_code.as_ref(), |status| match status {
        301 | 302 | 303 | 307 | 308 => Ok(()),
        _ => Err(Fault::invalid(format!("{status} is not the status of a redirect"))
            .remedy("write 301, 302, 303, 307 or 308")),
    })
}

fn check_path_modifier(path: &PathModifier, rule: &RouteRule) -> Result<(), Fault> {
    let (field, value, other) = match path.kind {
        PathModifierType::ReplaceFullPath => {
            ("replaceFullPath", &path.replace_full_path, &path.replace_prefix_match)
        }
        PathModifierType::ReplacePrefixMatch => {
            ("replacePrefixMatch", &path.replace_prefix_match, &path.replace_full_path)
        }
    };
    if other.is_some() || value.is_none() {
        return Err(Fault::conflict(format!("type {:?} needs {field}, and nothing else", path.kind)));
    }
    some(field, value.as_deref(), |value| match value.is_empty() {
        true => Ok(()),
        false => text::absolute_path(value),
    })?;
    let by_prefix = rule
        .matches
        .iter()
        .all(|matched| matched.path.as_ref().is_none_or(|path| path.kind == PathMatchType::PathPrefix));
    match path.kind == PathModifierType::ReplacePrefixMatch && !by_prefix {
        true => Err(Fault::conflict("a prefix is replaced where a match is not by prefix")
            .remedy("match by PathPrefix, or use ReplaceFullPath")
            .within("replacePrefixMatch")),
        false => Ok(()),
    }
}

fn check_cors(cors: &Cors) -> Result<(), Fault> {
    each("allowOrigins", &cors.allow_origins, |origin| {
        let host = origin
            .split_once("://")
            .map(|(scheme, rest)| (scheme, rest.split_once(':').map_or(rest, |r| r.0)));
        match host {
            _ if *origin == "*" => Ok(()),
            Some(("http" | "https", host)) => text::host_pattern(host),
            _ => Err(Fault::invalid(format!("{origin:?} is not an origin"))
                .remedy("for example https://example.com")),
        }
    })?;
    each("allowMethods", &cors.allow_methods, |method| match *method == "*" || text::is_token(method) {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{method:?} is not a method")).remedy("for example GET")),
    })?;
    each("allowHeaders", &cors.allow_headers, |name| text::header_name(name))?;
    each("exposeHeaders", &cors.expose_headers, |name| text::header_name(name))
}

fn check_backend(backend: &RouteBackendRef, rule: &RouteRule) -> Result<(), Fault> {
    check_backend_object(&backend.backend())?;
    if backend.weight > WEIGHT_MAX {
        return Err(Fault::invalid(format!("{} is too much", backend.weight))
            .remedy(format!("a weight is 0 to {WEIGHT_MAX}"))
            .within("weight"));
    }
    check_filters(&backend.filters, rule)
}

fn check_backend_object(backend: &BackendRef) -> Result<(), Fault> {
    match (&*backend.group, &*backend.kind) {
        ("", "Service") if backend.port.is_none() => {
            return Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy("a Service is named with its port")
                .within("port"));
        }
        ("inference.networking.k8s.io", "InferencePool") => {
            return Err(Fault::not_built_yet("an InferencePool as a backend").within("kind"));
        }
        // Gateway API: a reference to an unknown kind is a status (`InvalidKind`) and a 500, not a refusal.
        _ => {}
    }
    text::dns_name(&backend.name).within("name")?;
    some("namespace", backend.namespace.as_deref(), text::label)?;
    some("port", backend.port.as_ref(), |port| text::port(*port))
}

fn check_retry(retry: &RouteRetry) -> Result<(), Fault> {
    each("codes", &retry.codes, |code| match code {
        400..=599 => Ok(()),
        _ => {
            Err(Fault::invalid(format!("{code} is not a status that is tried again"))
                .remedy("write 400 to 599"))
        }
    })?;
    some("attempts", retry.attempts.as_ref(), |attempts| match *attempts <= ATTEMPTS_MAX {
        true => Ok(()),
        false => Err(Fault::invalid(format!("is {attempts}"))
            .remedy(format!("at most {ATTEMPTS_MAX} attempts may follow the first"))),
    })
}
