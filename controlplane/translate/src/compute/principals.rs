//! The rules of a policy with every name resolved: who as patterns over identities, what as terms of `mesh`.

use std::sync::Arc;

use api::access::{self as said, AccessRule, ArgumentTerm as SaidArgument, Scalar};
use mesh::{
    identity::{IdentityPattern, TrustDomain},
    resource::{
        A2aTerm, ArgumentTerm, ArgumentTest, HostPattern, HttpTerm, LlmTerm, McpTerm, NamedMatch, Operation,
        PathMatch, PortRange, Principals, Rule, Source, TextMatch, ToolTerm, UserTerm,
    },
};
use serde_json::Value;

use super::catalogue;
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
    let ip_blocks = from
        .ip_blocks
        .iter()
        .map(|block| {
            let parsed = block.as_str().parse();
            parsed.map_err(|error| Fault::new("Invalid", format!("from.ipBlocks: {block}: {error}")))
        })
        .collect::<Result<Vec<ipnet::IpNet>, Fault>>()?;
    Ok(Source {
        principals: principals(reader, from)?,
        ip_blocks: some(ip_blocks),
        user: from.user.as_ref().map(user),
        anyone: from.anyone == Some(true),
    })
}

/// Everything that an entry says of identities, field by field.
fn principals(reader: &Reader<'_>, from: &said::Source) -> Result<Vec<Principals>, Fault> {
    let own = &reader.settings().trust_domain;
    let trust_domain: TrustDomain = match &from.trust_domain {
        None => own.clone(),
        Some(name) => name
            .as_str()
            .parse()
            .map_err(|error| Fault::new("Invalid", format!("from.trustDomain: {error}")))?,
    };
    let mut named = Vec::new();
    if !from.service_accounts.is_empty() {
        let accounts =
            from.service_accounts.iter().map(|account| account_pattern(&trust_domain, account.as_str()));
        named.push(field("serviceAccounts", accounts.collect::<Result<_, _>>()?));
    }
    if let Some(selector) = &from.service_account_selector {
        if trust_domain != *own {
            let message = format!(
                "from.serviceAccountSelector: labels of service accounts of {trust_domain} are not known here"
            );
            return Err(Fault::new("Invalid", message));
        }
        let accounts =
            reader.service_accounts().filter(|(_, account)| selector.matches(&account.metadata.labels));
        let patterns = accounts
            .map(|(name, _)| pattern(&trust_domain, &format!("/ns/{}/sa/{}", name.namespace, name.name)));
        named.push(field("serviceAccountSelector", patterns.collect::<Result<_, _>>()?));
    }
    if !from.namespaces.is_empty() {
        let patterns =
            from.namespaces.iter().map(|namespace| pattern(&trust_domain, &format!("/ns/{namespace}/sa/*")));
        named.push(field("namespaces", patterns.collect::<Result<_, _>>()?));
    }
    if !from.identities.is_empty() {
        let patterns = from.identities.iter().map(|identity| {
            let parsed = identity.as_str().parse();
            parsed.map_err(|error| Fault::new("Invalid", format!("from.identities: {error}")))
        });
        named.push(field("identities", patterns.collect::<Result<_, _>>()?));
    }
    if from.trust_domain.is_some() {
        named.push(field("trustDomain", vec![pattern(&trust_domain, "/**")?]));
    }
    Ok(named)
}

fn field(field: &str, any_of: Vec<IdentityPattern>) -> Principals {
    Principals { field: field.into(), any_of }
}

fn pattern(trust_domain: &TrustDomain, path: &str) -> Result<IdentityPattern, Fault> {
    let parsed = format!("spiffe://{trust_domain}{path}").parse();
    parsed.map_err(|error| Fault::new("Invalid", format!("from: {error}")))
}

fn account_pattern(trust_domain: &TrustDomain, account: &str) -> Result<IdentityPattern, Fault> {
    let (namespace, name) = account.split_once('/').ok_or_else(|| {
        Fault::new("Invalid", format!("from.serviceAccounts: {account} is not NAMESPACE/NAME"))
    })?;
    pattern(trust_domain, &format!("/ns/{namespace}/sa/{name}"))
}

fn user(said: &said::User) -> UserTerm {
    let values = |said: &[api::bounded::Text<1024>]| -> Vec<Arc<str>> {
        said.iter().map(|value| value.as_str().into()).collect()
    };
    UserTerm {
        issuer: said.issuer.as_str().into(),
        audience: said.audience.as_ref().map(|audience| audience.as_str().into()),
        claims: said.claims.iter().map(|(claim, said)| (claim.as_str().into(), values(said))).collect(),
        scopes: values(&said.scopes),
    }
}

/// The first issuer that is named and not there: nobody is its user, so a grant to its users reaches nobody.
pub(super) fn unknown_issuer(reader: &Reader<'_>, rules: &[AccessRule]) -> Option<Fault> {
    let named = rules.iter().flat_map(|rule| rule.from.iter()).filter_map(|from| from.user.as_ref());
    let mut named = named.map(|user| user.issuer.as_str());
    let unknown = named.find(|issuer| reader.issuer("", issuer).is_none())?;
    Some(Fault::new("IssuerNotFound", format!("there is no TokenIssuer {unknown}: nobody is its user")))
}

fn operation(to: &said::Operation) -> Result<Operation, Fault> {
    let ports: Vec<PortRange> = to.ports.iter().map(|port| PortRange { first: *port, last: *port }).collect();
    Ok(Operation {
        ports: some(ports),
        http: to.http.as_ref().map(http),
        mcp: to.mcp.as_ref().map(mcp),
        a2a: to.a2a.as_ref().map(a2a).transpose()?,
        llm: to.llm.as_ref().map(llm),
    })
}

fn a2a(term: &said::A2aOperation) -> Result<A2aTerm, Fault> {
    let methods = term.methods.iter().map(|method| {
        let known = said::a2a_method(method.as_str());
        known
            .map(Arc::from)
            .ok_or_else(|| Fault::new("Invalid", format!("to.a2a.methods: {method} is no method of A2A")))
    });
    Ok(A2aTerm {
        methods: some(methods.collect::<Result<_, _>>()?),
        tenants: some(term.tenants.iter().map(|tenant| starred(tenant.as_str())).collect()),
        skills: some(term.skills.iter().map(|skill| starred(skill.as_str())).collect()),
    })
}

fn llm(term: &said::LlmOperation) -> LlmTerm {
    LlmTerm {
        providers: some(term.providers.iter().map(|provider| starred(provider.as_str())).collect()),
        models: some(term.models.iter().map(|model| starred(model.as_str())).collect()),
    }
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

fn mcp(term: &said::McpOperation) -> McpTerm {
    let prompts =
        term.prompts.iter().flat_map(|prompt| prompt.names.iter()).map(|name| starred(name.as_str()));
    let resources =
        term.resources.iter().flat_map(|resource| resource.uris.iter()).map(|uri| starred(uri.as_str()));
    McpTerm {
        tools: some(term.tools.iter().map(tool).collect()),
        prompts: some(prompts.collect()),
        resources: some(resources.collect()),
        methods: some(term.methods.iter().map(|method| method.as_str().into()).collect()),
    }
}

fn tool(term: &said::ToolTerm) -> ToolTerm {
    ToolTerm {
        names: term.names.iter().map(|name| starred(name.as_str())).collect(),
        access: term.access.map(catalogue::access),
        arguments: term.arguments.iter().flat_map(argument).collect(),
    }
}

/// A name, or all that begin with what stands before its `*`.
pub(super) fn starred(name: &str) -> TextMatch {
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
