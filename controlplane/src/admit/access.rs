//! Checks of access policies.

use api::{
    access::{AccessPolicySpec, AccessRule, Action, ClusterAccessPolicySpec, ExternalAuth, Source, User},
    gateway::GATEWAY_GROUP,
    object::GROUP,
    refs::{LabelOperator, LabelSelector, TargetRef},
};

use super::{
    fault::{Fault, Within, each, some, unique},
    operation::check_operation,
    text::{self, Compile},
    upstream::{check_service_ref, check_wait},
};

/// What an access policy may target: group, kind, and whether it has parts that `sectionName` can name.
const TARGETS: &[(&str, &str, bool)] = &[
    ("", "Namespace", false),
    ("", "Service", true),
    ("", "ServiceAccount", false),
    (GROUP, "AgentBackend", true),
    (GATEWAY_GROUP, "Gateway", true),
    (GATEWAY_GROUP, "HTTPRoute", true),
];

/// What it will be able to target.
const TARGETS_LATER: &[(&str, &str)] = &[
    (GATEWAY_GROUP, "GRPCRoute"),
    (GATEWAY_GROUP, "ListenerSet"),
    ("inference.networking.k8s.io", "InferencePool"),
];

pub(super) fn check_policy(
    spec: &AccessPolicySpec,
    namespace: &str,
    compile: Compile<'_>,
) -> Result<(), Fault> {
    if spec.target_refs.is_empty() == spec.target_selectors.is_empty() {
        let what = if spec.target_refs.is_empty() { "neither" } else { "both" };
        return Err(Fault::conflict(format!("has {what} of targetRefs and targetSelectors"))
            .remedy("write exactly one of them"));
    }
    each("targetRefs", &spec.target_refs, |target| check_target(target, TARGETS, namespace))?;
    each("targetSelectors", &spec.target_selectors, |target| {
        check_target_kind(&target.group, &target.kind, TARGETS)?;
        match &*target.kind {
            "Namespace" => Err(Fault::invalid("a Namespace is not selected by labels")
                .remedy("name it in targetRefs")
                .within("kind")),
            _ => Ok(()),
        }
    })?;
    match (spec.action, &spec.external_auth) {
        (Action::Allow | Action::Deny, None) => {}
        (Action::ExternalAuth, Some(auth)) => check_external_auth(auth).within("externalAuth")?,
        (Action::ExternalAuth, None) => {
            return Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy("say whom action ExternalAuth asks: externalAuth: {grpc: {serviceRef: {name: authz, port: 9000}}}")
                .within("externalAuth"));
        }
        (action, Some(_)) => {
            return Err(Fault::conflict(format!("stands beside action {action:?}, which asks nobody"))
                .remedy("write action: ExternalAuth, or take it out")
                .within("externalAuth"));
        }
    }
    check_rules(&spec.rules, compile)
}

pub(super) fn check_cluster_policy(
    spec: &ClusterAccessPolicySpec,
    compile: Compile<'_>,
) -> Result<(), Fault> {
    check_selector(&spec.target_selector.namespaces).within("namespaces").within("targetSelector")?;
    check_rules(&spec.rules, compile)
}

/// A target that is named: of a kind that this policy can target, in its own namespace, with parts if one is named.
pub(super) fn check_target(
    target: &TargetRef,
    kinds: &[(&str, &str, bool)],
    namespace: &str,
) -> Result<(), Fault> {
    let has_parts = check_target_kind(&target.group, &target.kind, kinds)?;
    text::dns_name(&target.name).within("name")?;
    if target.kind == "Namespace" && target.name != *namespace {
        return Err(Fault::conflict(format!("{} is not the policy's own namespace", target.name))
            .remedy(format!("write {namespace}, or put the policy into namespace {}", target.name))
            .within("name"));
    }
    match &target.section_name {
        Some(_) if !has_parts => Err(Fault::conflict(format!("a {} has no parts", target.kind))
            .remedy("take sectionName out")
            .within("sectionName")),
        section => some("sectionName", section.as_deref(), text::dns_name),
    }
}

fn check_target_kind(group: &str, kind: &str, kinds: &[(&str, &str, bool)]) -> Result<bool, Fault> {
    if let Some((.., has_parts)) = kinds.iter().find(|known| known.0 == group && known.1 == kind) {
        return Ok(*has_parts);
    }
    if TARGETS_LATER.contains(&(group, kind)) {
        return Err(Fault::not_built_yet(&format!("a {kind} as a target")).within("kind"));
    }
    if let Some((wanted, ..)) = kinds.iter().find(|known| known.1 == kind) {
        return Err(Fault::invalid(format!("{kind} is not of group {group:?}"))
            .remedy(format!("write group: {wanted:?}"))
            .within("group"));
    }
    let known: Vec<&str> = kinds.iter().map(|known| known.1).collect();
    Err(Fault::invalid(format!("{kind:?} cannot be a target"))
        .remedy(format!("a target is one of {}", known.join(", ")))
        .within("kind"))
}

fn check_rules(rules: &[AccessRule], compile: Compile<'_>) -> Result<(), Fault> {
    unique("rules", rules, |rule| Some(rule.name.as_str()), "rule")?;
    each("rules", rules, |rule| {
        text::label(&rule.name).within("name")?;
        each("from", &rule.from, check_source)?;
        each("to", &rule.to, check_operation)?;
        some("when", rule.when.as_deref(), |when| text::expression(when, compile))
    })
}

fn check_source(source: &Source) -> Result<(), Fault> {
    let names_somebody = !source.service_accounts.is_empty()
        || source.service_account_selector.is_some()
        || !source.namespaces.is_empty()
        || source.trust_domain.is_some()
        || !source.identities.is_empty()
        || !source.ip_blocks.is_empty()
        || source.user.is_some();
    match (source.anyone, names_somebody) {
        (None, true) | (Some(true), false) => {}
        (None, false) => {
            return Err(Fault::conflict("says nothing").remedy("name who is meant, or write anyone: true"));
        }
        (Some(_), true) => {
            return Err(Fault::conflict("anyone stands beside others")
                .remedy("take anyone out, or give it an entry of its own")
                .within("anyone"));
        }
        (Some(false), false) => {
            return Err(Fault::invalid("is false, which is nobody")
                .remedy("write true, or take it out")
                .within("anyone"));
        }
    }
    some("user", source.user.as_ref(), check_user)?;
    each("serviceAccounts", &source.service_accounts, |account| text::service_account(account))?;
    each("namespaces", &source.namespaces, |namespace| text::label(namespace))?;
    some("trustDomain", source.trust_domain.as_deref(), text::trust_domain)?;
    each("identities", &source.identities, |pattern| text::identity_pattern(pattern))?;
    each("ipBlocks", &source.ip_blocks, |block| text::cidr(block))?;
    if let Some(selector) = &source.service_account_selector {
        check_selector(selector).within("serviceAccountSelector")?;
        if source.trust_domain.is_some() {
            return Err(Fault::conflict("labels of service accounts are known in the own trust domain only")
                .remedy("name serviceAccounts or identities")
                .within("serviceAccountSelector"));
        }
    }
    if let Some(domain) = &source.trust_domain {
        let of_domain = format!("spiffe://{domain}/");
        each("identities", &source.identities, |pattern| match pattern.starts_with(&of_domain) {
            true => Ok(()),
            false => Err(Fault::conflict(format!(
                "{pattern} is not of trust domain {domain}, so it matches nobody"
            ))
            .remedy("give it an entry of its own")),
        })?;
    }
    Ok(())
}

/// A selector of labels: every operator has the values that it needs, and no others.
pub(super) fn check_selector(selector: &LabelSelector) -> Result<(), Fault> {
    each("matchExpressions", &selector.match_expressions, |rule| {
        let needs = matches!(rule.operator, LabelOperator::In | LabelOperator::NotIn);
        match (needs, rule.values.is_empty()) {
            (true, true) => {
                Err(Fault::conflict(format!("{:?} needs values", rule.operator)).within("values"))
            }
            (false, false) => {
                Err(Fault::conflict(format!("{:?} takes no values", rule.operator)).within("values"))
            }
            _ => Ok(()),
        }
    })
}

fn check_user(user: &User) -> Result<(), Fault> {
    text::dns_name(&user.issuer).within("issuer")?;
    for name in user.claims.keys() {
        // Dots lead into objects; between two of them a name is missing.
        if name.split('.').any(str::is_empty) {
            return Err(Fault::invalid(format!("{name:?} is not the name of a claim"))
                .remedy("for example groups, or realm.roles for what stands inside another claim")
                .within(name)
                .within("claims"));
        }
    }
    each("scopes", &user.scopes, |scope| match scope.contains(char::is_whitespace) {
        false => Ok(()),
        true => {
            Err(Fault::invalid(format!("{scope:?} has blanks"))
                .remedy("write each scope as an item of its own"))
        }
    })
}

/// Bytes of a request's body that an authorizer can be told.
const BODY_BYTES_MAX: u32 = api::access::EXTERNAL_BODY_MAX;

fn check_external_auth(auth: &ExternalAuth) -> Result<(), Fault> {
    if auth.grpc.is_some() == auth.http.is_some() {
        let what = if auth.grpc.is_some() { "both" } else { "neither" };
        return Err(
            Fault::conflict(format!("has {what} of grpc and http")).remedy("write exactly one of them")
        );
    }
    some("grpc", auth.grpc.as_ref(), |grpc| check_service_ref(&grpc.service_ref).within("serviceRef"))?;
    some("http", auth.http.as_ref(), |http| {
        check_service_ref(&http.service_ref).within("serviceRef")?;
        some("path", http.path.as_deref(), text::path)?;
        each("upstreamHeaders", &http.upstream_headers, |header| text::header_of_others(header))
    })?;
    each("headers", &auth.headers, |header| text::header_name(header))?;
    some("timeout", auth.timeout.as_ref(), check_wait)?;
    some("bodyBytes", auth.body_bytes.as_ref(), |bytes| match *bytes <= BODY_BYTES_MAX {
        true => Ok(()),
        false => Err(Fault::invalid(format!("is {bytes}"))
            .remedy(format!("at most {BODY_BYTES_MAX} bytes of a body are told"))),
    })
}
