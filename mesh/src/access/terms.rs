//! Whether a rule matches: the path that every request takes. It allocates nothing.
//!
//! There is no negation in a rule, so what is unknown can be decided where it is met: it holds in a rule
//! that refuses, and does not in a rule that grants or bounds.

use std::net::IpAddr;

use crate::{
    facts::{
        A2aFacts, Arguments, Fact, Facts, HttpFacts, LlmFacts, McpFacts, McpObject, Model, Peer, Skill, User,
    },
    matching::{Held, Named, Text},
    resource::{ToolAccess, UserTerm},
    snapshot::compile::{
        CompiledA2a, CompiledHttp, CompiledLlm, CompiledMcp, CompiledOperation, CompiledPrincipals,
        CompiledRule, CompiledSource, CompiledTool,
    },
};

/// The method by which a tool is used; items of a list that is filtered are judged as if they were used.
const TOOL_CALL: &str = "tools/call";

/// What a match of the rule would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polarity {
    /// It grants, or is within a bound: what is unknown does not match.
    Grant,
    /// It refuses: what is unknown matches.
    Refuse,
}

impl Polarity {
    fn unknown(self) -> bool {
        self == Self::Refuse
    }
}

pub(super) fn rule(rule: &CompiledRule, facts: &Facts, polarity: Polarity) -> bool {
    from(rule, facts, polarity) && to(rule, facts, polarity) && when(rule, facts, polarity)
}

pub(super) fn from(rule: &CompiledRule, facts: &Facts, polarity: Polarity) -> bool {
    rule.from.iter().any(|it| source(it, facts, polarity))
}

pub(super) fn to(rule: &CompiledRule, facts: &Facts, polarity: Polarity) -> bool {
    rule.to.as_ref().is_none_or(|to| to.iter().any(|it| operation(it, facts, polarity)))
}

pub(super) fn when(rule: &CompiledRule, facts: &Facts, polarity: Polarity) -> bool {
    let Some(when) = &rule.when else { return true };
    match facts.mcp.known().map(|mcp| &mcp.object) {
        // Listed means callable with some arguments.
        Some(McpObject::Tool { arguments: Arguments::Listing, .. }) if when.reads_arguments() => {
            return polarity == Polarity::Grant;
        }
        // Any grant of the protocol brings its base, and there is nothing in the base to read.
        Some(McpObject::Base) if when.demand().mcp => {
            return polarity == Polarity::Grant || when.evaluate(facts).unwrap_or(false);
        }
        _ => {}
    }
    let demand = when.demand();
    // The same for the other protocols: a card that is read and filtered, models that are listed or not yet chosen.
    match (facts.a2a.known(), facts.llm.known()) {
        (Some(a2a), _)
            if demand.a2a && (*a2a.method == *A2aFacts::CARD || matches!(a2a.skill, Skill::Listed(_))) =>
        {
            return polarity == Polarity::Grant || when.evaluate(facts).unwrap_or(false);
        }
        (_, Some(llm)) if demand.llm && !matches!(llm.model, Model::Used { .. }) => {
            return polarity == Polarity::Grant;
        }
        _ => {}
    }
    when.evaluate(facts).unwrap_or(polarity.unknown())
}

pub(super) fn source(source: &CompiledSource, facts: &Facts, polarity: Polarity) -> bool {
    let says_something =
        source.anyone || !source.principals.is_empty() || source.ip_blocks.is_some() || source.user.is_some();
    says_something
        && source.principals.iter().all(|it| principals(it, facts, polarity))
        && ip_blocks(source, facts, polarity)
        && source.user.as_ref().is_none_or(|term| user(term, facts.user.as_deref(), polarity))
}

/// Holds of a user whose token was verified; where there is none, as what is unknown.
pub(super) fn user(term: &UserTerm, user: Option<&User>, polarity: Polarity) -> bool {
    let Some(user) = user else { return polarity.unknown() };
    user.issuer == term.issuer
        && term.audience.as_ref().is_none_or(|wanted| user.audiences.contains(wanted))
        && term.scopes.iter().all(|scope| user.scopes.contains(scope))
        && term.claims.iter().all(|(name, wanted)| claim(user, name, wanted, polarity))
}

/// A claim that is missing, or neither a text, number, truth value nor list of them, is unknown.
fn claim(user: &User, name: &str, wanted: &[std::sync::Arc<str>], polarity: Polarity) -> bool {
    let whole = user.claims.get(name);
    let found = whole.or_else(|| name.split('.').try_fold(&*user.claims, |value, part| value.get(part)));
    let is = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(wanted.iter().any(|wanted| **wanted == **text)),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            let text = value.to_string();
            Some(wanted.iter().any(|wanted| **wanted == *text))
        }
        _ => None,
    };
    match found {
        Some(serde_json::Value::Array(items)) => {
            items.iter().any(|item| is(item).unwrap_or(polarity.unknown()))
        }
        Some(value) => is(value).unwrap_or(polarity.unknown()),
        None => polarity.unknown(),
    }
}

pub(super) fn principals(principals: &CompiledPrincipals, facts: &Facts, polarity: Polarity) -> bool {
    match &facts.caller.workload {
        Peer::Verified(identity) => principals.any_of.iter().any(|pattern| pattern.matches(identity)),
        Peer::Unverified(_) | Peer::Unknown => polarity.unknown(),
    }
}

pub(super) fn ip_blocks(source: &CompiledSource, facts: &Facts, polarity: Polarity) -> bool {
    let Some(blocks) = &source.ip_blocks else { return true };
    match facts.source_address.map(|address| IpAddr::to_canonical(&address)) {
        Some(address) => blocks.iter().any(|block| block.contains(&address)),
        None => polarity.unknown(),
    }
}

pub(super) fn operation(operation: &CompiledOperation, facts: &Facts, polarity: Polarity) -> bool {
    ports(operation, facts)
        && operation
            .http
            .as_ref()
            .is_none_or(|term| read(&facts.http, polarity, |http| http_part(term, http, polarity).is_none()))
        && operation
            .mcp
            .as_ref()
            .is_none_or(|term| read(&facts.mcp, polarity, |mcp| mcp_term(term, mcp, polarity)))
        && operation
            .a2a
            .as_ref()
            .is_none_or(|term| read(&facts.a2a, polarity, |a2a| a2a_part(term, a2a, polarity).is_none()))
        && operation
            .llm
            .as_ref()
            .is_none_or(|term| read(&facts.llm, polarity, |llm| llm_part(term, llm, polarity).is_none()))
}

/// The first part of a term that does not hold.
pub(super) fn a2a_part(term: &CompiledA2a, a2a: &A2aFacts, polarity: Polarity) -> Option<&'static str> {
    // A grant brings the card, and a card that is filtered is judged as if its skills were used.
    let card = *a2a.method == *A2aFacts::CARD;
    let listed = matches!(a2a.skill, Skill::Listed(_));
    let brought = (card || listed) && polarity == Polarity::Grant;
    if !brought && term.methods.as_ref().is_some_and(|all| !all.contains(&a2a.method)) {
        return Some("methods");
    }
    let tenant = |wanted: &Vec<Text>| match &a2a.tenant {
        Some(tenant) => wanted.iter().any(|it| it.matches(tenant)),
        None => card && polarity == Polarity::Grant,
    };
    if term.tenants.as_ref().is_some_and(|wanted| !tenant(wanted)) {
        return Some("tenants");
    }
    let skill = |wanted: &Vec<Text>| match &a2a.skill {
        Skill::Called(skill) | Skill::Listed(skill) => wanted.iter().any(|it| it.matches(skill)),
        // Then they only filter the card.
        Skill::NotDeclared => polarity == Polarity::Grant,
        Skill::Missing if card => polarity == Polarity::Grant,
        Skill::Missing => polarity.unknown(),
    };
    term.skills.as_ref().is_some_and(|wanted| !skill(wanted)).then_some("skills")
}

/// The first part of a term that does not hold.
pub(super) fn llm_part(term: &CompiledLlm, llm: &LlmFacts, polarity: Polarity) -> Option<&'static str> {
    let Model::Used { provider, model } = &llm.model else {
        let everything = term.providers.is_none() && term.models.is_none();
        return (!everything && polarity == Polarity::Refuse).then_some("models");
    };
    let any = |wanted: &Option<Vec<Text>>, name: &str| {
        wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|it| it.matches(name)))
    };
    if !any(&term.providers, provider) {
        return Some("providers");
    }
    (!any(&term.models, model)).then_some("models")
}

/// Applies a term to facts that may not be there.
fn read<T>(fact: &Fact<T>, polarity: Polarity, term: impl Fn(&T) -> bool) -> bool {
    match fact {
        Fact::Known(facts) => term(facts),
        Fact::Missing(_) => polarity.unknown(),
        Fact::NotApplicable => false,
    }
}

pub(super) fn ports(operation: &CompiledOperation, facts: &Facts) -> bool {
    let within = |ports: &Vec<crate::resource::PortRange>| {
        ports.iter().any(|range| (range.first..=range.last).contains(&facts.port))
    };
    operation.ports.as_ref().is_none_or(within)
}

/// The first part of a term that does not hold.
pub(super) fn http_part<'a>(
    term: &'a CompiledHttp,
    http: &HttpFacts,
    polarity: Polarity,
) -> Option<HttpPart<'a>> {
    if term.methods.as_ref().is_some_and(|all| !all.contains(&http.method)) {
        return Some(HttpPart::Methods);
    }
    if term.paths.as_ref().is_some_and(|all| !all.iter().any(|path| path.matches(&http.path))) {
        return Some(HttpPart::Paths);
    }
    if term.hosts.as_ref().is_some_and(|all| !all.iter().any(|host| host.matches(&http.host))) {
        return Some(HttpPart::Hosts);
    }
    let value = |name: &str| http.headers.get(name).map(|value| &**value);
    let holds = |named: &Named| match polarity {
        Polarity::Grant => named.matches(value(&named.name)),
        Polarity::Refuse => named.matches_one(value(&named.name)),
    };
    let missed = term.headers.iter().flatten().find(|named| !holds(named));
    missed.map(|named| HttpPart::Header(&named.name))
}

/// A part of a condition on a request.
pub(super) enum HttpPart<'a> {
    Methods,
    Paths,
    Hosts,
    Header(&'a str),
}

pub(super) fn mcp_term(term: &CompiledMcp, mcp: &McpFacts, polarity: Polarity) -> bool {
    let everything =
        term.tools.is_none() && term.prompts.is_none() && term.resources.is_none() && term.methods.is_none();
    let method = match &mcp.object {
        McpObject::Tool { arguments: Arguments::Listing, .. } => TOOL_CALL,
        _ => &mcp.method,
    };
    if everything || term.methods.iter().flatten().any(|wanted| **wanted == *method) {
        return true;
    }
    match &mcp.object {
        McpObject::Tool { name, arguments, access } => {
            term.tools.iter().flatten().any(|it| tool(it, name, arguments, *access, polarity))
        }
        McpObject::Prompt { name } => term.prompts.iter().flatten().any(|it| it.matches(name)),
        McpObject::Resource { uri } => term.resources.iter().flatten().any(|it| it.matches(uri)),
        McpObject::Base => polarity == Polarity::Grant,
        McpObject::Other => false,
    }
}

fn tool(
    tool: &CompiledTool,
    name: &str,
    arguments: &Arguments,
    access: Option<ToolAccess>,
    polarity: Polarity,
) -> bool {
    tool_name(tool, name)
        && tool_access(tool, access, polarity)
        && tool.arguments.iter().all(|it| argument(it, arguments, polarity))
}

/// Without names, the term is about what tools can do.
pub(super) fn tool_name(tool: &CompiledTool, name: &str) -> bool {
    tool.names.is_empty() || tool.names.iter().any(|it| it.matches(name))
}

/// A tool of which no catalogue says what it can do is unknown.
pub(super) fn tool_access(tool: &CompiledTool, access: Option<ToolAccess>, polarity: Polarity) -> bool {
    tool.access.is_none_or(|wanted| access.map_or(polarity.unknown(), |access| access == wanted))
}

pub(super) fn argument(
    argument: &crate::matching::Argument,
    arguments: &Arguments,
    polarity: Polarity,
) -> bool {
    match arguments {
        Arguments::Listing => polarity == Polarity::Grant,
        Arguments::Given(given) => match argument.test(given) {
            Held::Yes => true,
            Held::No => false,
            Held::Missing => polarity.unknown(),
        },
    }
}
