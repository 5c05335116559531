//! Whether a rule matches: the path that every request takes. It allocates nothing.
//!
//! There is no negation in a rule, so what is unknown can be decided where it is met: it holds in a rule
//! that refuses, and does not in a rule that grants or bounds.

use std::net::IpAddr;

use crate::{
    facts::{Arguments, Fact, Facts, HttpFacts, McpFacts, McpObject, Peer},
    matching::{Held, Named},
    snapshot::compile::{
        CompiledHttp, CompiledMcp, CompiledOperation, CompiledPrincipals, CompiledRule, CompiledSource,
        CompiledTool,
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
    when.evaluate(facts).unwrap_or(polarity.unknown())
}

pub(super) fn source(source: &CompiledSource, facts: &Facts, polarity: Polarity) -> bool {
    let says_something = source.anyone || !source.principals.is_empty() || source.ip_blocks.is_some();
    says_something
        && source.principals.iter().all(|it| principals(it, facts, polarity))
        && ip_blocks(source, facts, polarity)
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
        McpObject::Tool { name, arguments } => {
            term.tools.iter().flatten().any(|it| tool(it, name, arguments, polarity))
        }
        McpObject::Prompt { name } => term.prompts.iter().flatten().any(|it| it.matches(name)),
        McpObject::Resource { uri } => term.resources.iter().flatten().any(|it| it.matches(uri)),
        McpObject::Base => polarity == Polarity::Grant,
        McpObject::Other => false,
    }
}

fn tool(tool: &CompiledTool, name: &str, arguments: &Arguments, polarity: Polarity) -> bool {
    tool.names.iter().any(|it| it.matches(name))
        && tool.arguments.iter().all(|it| argument(it, arguments, polarity))
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
