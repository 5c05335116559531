//! Checks of access policies.

use api::{
    access::{
        AccessPolicySpec, AccessRule, Action, ArgumentTerm, ClusterAccessPolicySpec, HeaderTerm,
        HttpOperation, McpOperation, Operation, PathMatch, Source, ToolTerm,
    },
    gateway::GATEWAY_GROUP,
    object::GROUP,
    refs::{LabelOperator, LabelSelector, TargetRef},
};

use super::{
    fault::{Fault, Within, each, not_yet, some, unique},
    text::{self, Compile},
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
    match spec.action {
        Action::Allow | Action::Deny => {}
        Action::ExternalAuth => {
            return Err(Fault::not_built_yet("ExternalAuth").remedy("write Allow or Deny").within("action"));
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
    not_yet("user", source.user.as_ref(), "name workloads, for example by serviceAccounts")?;
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

fn check_operation(operation: &Operation) -> Result<(), Fault> {
    let says_something = !operation.ports.is_empty()
        || operation.http.is_some()
        || operation.mcp.is_some()
        || operation.a2a.is_some()
        || operation.llm.is_some();
    if !says_something {
        return Err(
            Fault::conflict("says nothing").remedy("say what is meant, or leave `to` out for everything")
        );
    }
    not_yet("a2a", operation.a2a.as_ref(), "say it by http")?;
    not_yet("llm", operation.llm.as_ref(), "say it by http")?;
    each("ports", &operation.ports, |port| text::port(*port))?;
    some("http", operation.http.as_ref(), check_http)?;
    some("mcp", operation.mcp.as_ref(), check_mcp)
}

fn check_http(http: &HttpOperation) -> Result<(), Fault> {
    if http.methods.is_empty() && http.paths.is_empty() && http.hosts.is_empty() && http.headers.is_empty() {
        return Err(
            Fault::conflict("says nothing").remedy("write at least one of methods, paths, hosts and headers")
        );
    }
    each("methods", &http.methods, |method| {
        match method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
            && !method.starts_with('-')
            && !method.ends_with('-')
            && !method.contains("--")
        {
            true => Ok(()),
            false => Err(Fault::invalid(format!("{method:?} is not a method")).remedy("for example GET")),
        }
    })?;
    each("paths", &http.paths, check_path)?;
    each("hosts", &http.hosts, |host| text::host_pattern(host))?;
    each("headers", &http.headers, check_header)
}

/// Exactly one of three that exclude each other.
fn exactly_one(fields: [(&str, bool); 3]) -> Result<(), Fault> {
    match fields.iter().filter(|(_, written)| *written).count() {
        1 => Ok(()),
        count => {
            let names = fields.map(|(name, _)| name).join(", ");
            let what = if count == 0 { "none" } else { "several" };
            Err(Fault::conflict(format!("has {what} of {names}")).remedy("write exactly one of them"))
        }
    }
}

fn check_path(path: &PathMatch) -> Result<(), Fault> {
    exactly_one([
        ("exact", path.exact.is_some()),
        ("prefix", path.prefix.is_some()),
        ("pattern", path.pattern.is_some()),
    ])?;
    some("exact", path.exact.as_deref(), text::absolute_path)?;
    some("prefix", path.prefix.as_deref(), text::absolute_path)?;
    some("pattern", path.pattern.as_deref(), text::pattern)
}

fn check_header(header: &HeaderTerm) -> Result<(), Fault> {
    text::header_name(&header.name).within("name")?;
    exactly_one([
        ("exact", header.exact.is_some()),
        ("prefix", header.prefix.is_some()),
        ("pattern", header.pattern.is_some()),
    ])?;
    some("pattern", header.pattern.as_deref(), text::pattern)
}

fn check_mcp(mcp: &McpOperation) -> Result<(), Fault> {
    if mcp.tools.is_empty() && mcp.prompts.is_empty() && mcp.resources.is_empty() && mcp.methods.is_empty() {
        return Err(Fault::conflict("says nothing")
            .remedy("write at least one of tools, prompts, resources and methods"));
    }
    each("tools", &mcp.tools, check_tool)?;
    each("prompts", &mcp.prompts, |prompt| each("names", &prompt.names, |name| text::star_at_end(name)))?;
    each("resources", &mcp.resources, |resource| each("uris", &resource.uris, |uri| text::star_at_end(uri)))?;
    each("methods", &mcp.methods, |method| {
        let mut parts = method.split('/');
        let letters = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphabetic());
        let rest = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        };
        match parts.next().is_some_and(letters) && parts.all(rest) {
            true => Ok(()),
            false => {
                Err(Fault::invalid(format!("{method:?} is not a method")).remedy("for example tools/call"))
            }
        }
    })
}

fn check_tool(tool: &ToolTerm) -> Result<(), Fault> {
    not_yet("access", tool.access.as_ref(), "name the tools")?;
    if tool.names.is_empty() {
        return Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("name the tools; `*` is every tool")
            .within("names"));
    }
    each("names", &tool.names, |name| text::star_at_end(name))?;
    each("arguments", &tool.arguments, check_argument)
}

fn check_argument(argument: &ArgumentTerm) -> Result<(), Fault> {
    text::json_pointer(&argument.path).within("path")?;
    let tests = !argument.one_of.is_empty()
        || argument.prefix.is_some()
        || argument.pattern.is_some()
        || argument.min.is_some()
        || argument.max.is_some();
    match (tests, argument.absent) {
        (true, None) | (false, Some(true)) => {}
        (false, None) => {
            return Err(Fault::conflict("says nothing")
                .remedy("write at least one of in, prefix, pattern, min, max and absent"));
        }
        (true, Some(_)) => {
            return Err(Fault::conflict("absent stands beside others")
                .remedy("an argument that is absent has no value: take one of them out")
                .within("absent"));
        }
        (false, Some(false)) => {
            return Err(Fault::invalid("is false")
                .remedy("write true, or say what the value is")
                .within("absent"));
        }
    }
    some("pattern", argument.pattern.as_deref(), text::pattern)?;
    let number = |number: &Option<serde_json::Number>| number.as_ref().and_then(serde_json::Number::as_f64);
    match (number(&argument.min), number(&argument.max)) {
        (Some(min), Some(max)) if min > max => {
            Err(Fault::conflict(format!("min {min} is greater than max {max}")).within("min"))
        }
        _ => Ok(()),
    }
}
