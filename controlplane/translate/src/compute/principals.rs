//! The rules of a policy with every name resolved: who as patterns over identities, what as terms of `mesh`.

use std::sync::Arc;

use api::access::{self as said, AccessRule, ArgumentTerm as SaidArgument, Scalar};
use mesh::{
    identity::{IdentityPattern, TrustDomain},
    resource::{
        ArgumentTerm, ArgumentTest, HostPattern, HttpTerm, McpTerm, NamedMatch, Operation, PathMatch,
        PortRange, Principals, Rule, Source, TextMatch, ToolTerm,
    },
};
use serde_json::Value;

use crate::{reader::Reader, status::Fault};

/// Resolves the rules of a policy.
pub(super) fn rules(reader: &Reader<'_>, rules: &[AccessRule]) -> Result<Vec<Rule>, Fault> {
    rules.iter().map(|rule| resolve(reader, rule)).collect()
}

fn resolve(reader: &Reader<'_>, rule: &AccessRule) -> Result<Rule, Fault> {
    let from: Result<Vec<Source>, Fault> = rule.from.iter().map(|from| source(reader, from)).collect();
    let to: Result<Vec<Operation>, Fault> = rule.to.iter().map(operation).collect();
    Ok(Rule {
        name: rule.name.as_str().into(),
        from: from?,
        to: (!rule.to.is_empty()).then_some(to?),
        when: rule.when.as_ref().map(|when| when.as_str().into()),
    })
}

fn source(reader: &Reader<'_>, from: &said::Source) -> Result<Source, Fault> {
    let not_built = |what: &str| Fault::new("NotBuiltYet", format!("{what} is not built yet"));
    if from.user.is_some() {
        return Err(not_built("from.user"));
    }
    let own = &reader.settings().trust_domain;
    let trust_domain: TrustDomain = match &from.trust_domain {
        None => own.clone(),
        Some(name) => name
            .as_str()
            .parse()
            .map_err(|error| Fault::new("Invalid", format!("from.trustDomain: {error}")))?,
    };
    let pattern = |path: String| -> Result<IdentityPattern, Fault> {
        format!("spiffe://{trust_domain}{path}")
            .parse()
            .map_err(|error| Fault::new("Invalid", format!("from: {error}")))
    };
    let mut principals = Vec::new();
    let mut named = |field: &str, any_of: Vec<IdentityPattern>| {
        principals.push(Principals { field: field.into(), any_of })
    };
    if !from.service_accounts.is_empty() {
        let accounts = from.service_accounts.iter().map(|account| {
            let (namespace, name) = account.as_str().split_once('/').ok_or_else(|| {
                Fault::new("Invalid", format!("from.serviceAccounts: {account} is not NAMESPACE/NAME"))
            })?;
            pattern(format!("/ns/{namespace}/sa/{name}"))
        });
        named("serviceAccounts", accounts.collect::<Result<_, _>>()?);
    }
    if let Some(selector) = &from.service_account_selector {
        if trust_domain != *own {
            return Err(Fault::new(
                "Invalid",
                format!(
                    "from.serviceAccountSelector: labels of service accounts of {trust_domain} are not known here"
                ),
            ));
        }
        let accounts =
            reader.service_accounts().filter(|(_, account)| selector.matches(&account.metadata.labels));
        let patterns = accounts.map(|(name, _)| pattern(format!("/ns/{}/sa/{}", name.namespace, name.name)));
        named("serviceAccountSelector", patterns.collect::<Result<_, _>>()?);
    }
    if !from.namespaces.is_empty() {
        let patterns = from.namespaces.iter().map(|namespace| pattern(format!("/ns/{namespace}/sa/*")));
        named("namespaces", patterns.collect::<Result<_, _>>()?);
    }
    if !from.identities.is_empty() {
        let patterns = from.identities.iter().map(|identity| {
            identity
                .as_str()
                .parse()
                .map_err(|error| Fault::new("Invalid", format!("from.identities: {error}")))
        });
        named("identities", patterns.collect::<Result<_, _>>()?);
    }
    if from.trust_domain.is_some() {
        named("trustDomain", vec![pattern("/**".to_owned())?]);
    }
    let blocks = from.ip_blocks.iter().map(|block| {
        block
            .as_str()
            .parse()
            .map_err(|error| Fault::new("Invalid", format!("from.ipBlocks: {block}: {error}")))
    });
    let ip_blocks: Vec<ipnet::IpNet> = blocks.collect::<Result<_, Fault>>()?;
    Ok(Source {
        user: None,
        principals,
        ip_blocks: (!ip_blocks.is_empty()).then_some(ip_blocks),
        anyone: from.anyone == Some(true),
    })
}

fn operation(to: &said::Operation) -> Result<Operation, Fault> {
    if to.a2a.is_some() || to.llm.is_some() {
        return Err(Fault::new("NotBuiltYet", "to.a2a and to.llm are not built yet"));
    }
    let ports: Vec<PortRange> = to.ports.iter().map(|port| PortRange { first: *port, last: *port }).collect();
    Ok(Operation {
        a2a: None,
        llm: None,
        ports: some(ports),
        http: to.http.as_ref().map(http),
        mcp: to.mcp.as_ref().map(mcp).transpose()?,
    })
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn http(term: &said::HttpOperation) -> HttpTerm {
    HttpTerm {
        methods: some(term.methods.iter().map(|method| method.as_str().into()).collect()),
        paths: some(term.paths.iter().map(path).collect()),
        hosts: some(term.hosts.iter().map(|host| HostPattern(host.as_str().into())).collect()),
        headers: some(term.headers.iter().map(header).collect()),
    }
}

fn path(path: &said::PathMatch) -> PathMatch {
    match (&path.exact, &path.prefix, &path.pattern) {
        (Some(exact), _, _) => PathMatch::Exact(exact.as_str().into()),
        (_, Some(prefix), _) => PathMatch::Prefix(prefix.as_str().into()),
        (_, _, pattern) => PathMatch::Regex(pattern.as_ref().map_or("", |pattern| pattern.as_str()).into()),
    }
}

fn header(term: &said::HeaderTerm) -> NamedMatch {
    let value = match (&term.exact, &term.prefix, &term.pattern) {
        (Some(exact), _, _) => TextMatch::Exact(exact.as_str().into()),
        (_, Some(prefix), _) => TextMatch::Prefix(prefix.as_str().into()),
        (_, _, pattern) => TextMatch::Regex(pattern.as_ref().map_or("", |pattern| pattern.as_str()).into()),
    };
    NamedMatch { name: term.name.as_str().to_ascii_lowercase().into(), value }
}

fn mcp(term: &said::McpOperation) -> Result<McpTerm, Fault> {
    let tools: Result<Vec<ToolTerm>, Fault> = term.tools.iter().map(tool).collect();
    let prompts =
        term.prompts.iter().flat_map(|prompt| prompt.names.iter()).map(|name| starred(name.as_str()));
    let resources =
        term.resources.iter().flat_map(|resource| resource.uris.iter()).map(|uri| starred(uri.as_str()));
    Ok(McpTerm {
        tools: some(tools?),
        prompts: some(prompts.collect()),
        resources: some(resources.collect()),
        methods: some(term.methods.iter().map(|method| method.as_str().into()).collect()),
    })
}

fn tool(term: &said::ToolTerm) -> Result<ToolTerm, Fault> {
    if term.access.is_some() {
        return Err(Fault::new("NotBuiltYet", "to.mcp.tools.access is not built yet: name the tools"));
    }
    Ok(ToolTerm {
        access: None,
        names: term.names.iter().map(|name| starred(name.as_str())).collect(),
        arguments: term.arguments.iter().flat_map(argument).collect(),
    })
}

/// A name, or all that begin with what stands before its `*`.
fn starred(name: &str) -> TextMatch {
    match name.strip_suffix('*') {
        Some(prefix) => TextMatch::Prefix(prefix.into()),
        None => TextMatch::Exact(name.into()),
    }
}

/// Several operators on one argument are as many conditions on it.
fn argument(term: &SaidArgument) -> Vec<ArgumentTerm> {
    let path: Arc<str> = term.path.as_str().into();
    let mut tests = Vec::new();
    if !term.one_of.is_empty() {
        tests.push(ArgumentTest::In(term.one_of.iter().map(scalar).collect()));
    }
    tests.extend(term.prefix.as_ref().map(|prefix| ArgumentTest::Prefix(prefix.as_str().into())));
    tests.extend(term.pattern.as_ref().map(|pattern| ArgumentTest::Pattern(pattern.as_str().into())));
    // A number that has no f64 is no bound that could be kept, so nothing is below or above it.
    tests.extend(term.min.as_ref().map(|min| ArgumentTest::Min(min.as_f64().unwrap_or(f64::MAX))));
    tests.extend(term.max.as_ref().map(|max| ArgumentTest::Max(max.as_f64().unwrap_or(f64::MIN))));
    tests.extend(term.absent.map(ArgumentTest::Absent));
    tests.into_iter().map(|test| ArgumentTerm { path: path.clone(), test }).collect()
}

fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Text(text) => Value::String(text.clone()),
        Scalar::Number(number) => Value::Number(number.clone()),
        Scalar::Bool(flag) => Value::Bool(*flag),
    }
}
