//! Names what a request missed by: of the rules that did not match the nearest, and in it the first field.
//!
//! Only refusals come here, so it may take its time and allocate. Nearest is the rule with most terms satisfied
//! in the order from, to, when; of equally near ones the first.

use std::{fmt::Display, sync::Arc};

use super::terms::{self, HttpPart, Polarity};
use crate::{
    facts::{A2aFacts, Arguments, Fact, Facts, LlmFacts, McpFacts, McpObject, Model, Skill},
    resource::ToolAccess,
    snapshot::compile::{
        Compiled, CompiledMcp, CompiledOperation, CompiledRule, CompiledSource, CompiledTool,
    },
};

/// Longest description of what was wanted and found, in bytes.
const DETAIL_BYTES_MAX: usize = 400;
/// How many of the wanted values are named.
const WANTED_MAX: usize = 5;

/// A rule that did not match, and where.
pub(super) struct Miss<'a> {
    pub(super) policy: &'a Compiled,
    pub(super) rule: Option<&'a CompiledRule>,
    pub(super) field: Arc<str>,
    pub(super) detail: Arc<str>,
}

/// How far something came, and what stopped it. Greater is nearer.
struct Stop {
    progress: usize,
    field: String,
    detail: String,
}

fn stop(progress: usize, field: impl Into<String>, detail: impl Into<String>) -> Stop {
    Stop { progress, field: field.into(), detail: detail.into() }
}

/// The nearest of the rules of some policies, none of which matches.
pub(super) fn nearest<'a>(
    policies: impl Iterator<Item = &'a Arc<Compiled>>,
    facts: &Facts,
) -> Option<Miss<'a>> {
    let mut best: Option<(usize, Miss<'a>)> = None;
    for policy in policies {
        if policy.rules.is_empty() && best.is_none() {
            let detail = "the policy has no rules".into();
            best = Some((0, Miss { policy, rule: None, field: "rules".into(), detail }));
        }
        for rule in &policy.rules {
            let Some((terms, stop)) = missed(rule, facts) else { continue };
            // A term more counts for more than anything inside a term, and one more than none.
            let progress = 1 + terms;
            if best.as_ref().is_none_or(|(most, _)| progress > *most) {
                let (field, detail) = (stop.field.into(), bounded(stop.detail).into());
                best = Some((progress, Miss { policy, rule: Some(rule), field, detail }));
            }
        }
    }
    best.map(|(_, miss)| miss)
}

/// A rule that refuses matched; if only because something is unknown, what that is.
pub(super) fn first_unknown(rule: &CompiledRule, facts: &Facts) -> Option<(Arc<str>, Arc<str>)> {
    let (_, stop) = missed(rule, facts)?;
    Some((stop.field.into(), bounded(stop.detail).into()))
}

/// How many terms hold before the first that does not, and that one.
fn missed(rule: &CompiledRule, facts: &Facts) -> Option<(usize, Stop)> {
    if !terms::from(rule, facts, Polarity::Grant) {
        let stops = rule.from.iter().enumerate().map(|(index, it)| source(index, it, facts));
        return Some((0, furthest(stops, "from", "nobody is named")));
    }
    if !terms::to(rule, facts, Polarity::Grant) {
        let stops = rule.to.iter().flatten().enumerate().map(|(index, it)| operation(index, it, facts));
        return Some((1, furthest(stops, "to", "nothing is named")));
    }
    if !terms::when(rule, facts, Polarity::Grant) {
        let detail = match rule.when.as_ref().map(|when| when.evaluate(facts)) {
            Some(Err(cause)) => format!("the condition has no value: {cause}"),
            _ => "the condition is false".to_owned(),
        };
        return Some((2, stop(0, "when", detail)));
    }
    None
}

fn furthest(stops: impl Iterator<Item = Stop>, field: &str, none: &str) -> Stop {
    stops
        .reduce(|best, next| if next.progress > best.progress { next } else { best })
        .unwrap_or_else(|| stop(0, field, none))
}

fn source(index: usize, source: &CompiledSource, facts: &Facts) -> Stop {
    let mut held = 0;
    for principals in &source.principals {
        if !terms::principals(principals, facts, Polarity::Grant) {
            let detail = wanted(&principals.any_of, &facts.caller.workload);
            return stop(held, format!("from[{index}].{}", principals.field), detail);
        }
        held += 1;
    }
    if !terms::ip_blocks(source, facts, Polarity::Grant) {
        let blocks = source.ip_blocks.as_deref().unwrap_or_default();
        let found = facts.source_address.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
        return stop(held, format!("from[{index}].ipBlocks"), wanted(blocks, found));
    }
    held += usize::from(source.ip_blocks.is_some());
    if let Some(term) = &source.user
        && !terms::user(term, facts.user.as_deref(), Polarity::Grant)
    {
        let found = match &facts.user {
            Some(user) => format!("got {} of {}", user.subject, user.issuer),
            None => "there is no verified user".to_owned(),
        };
        return stop(
            held,
            format!("from[{index}].user"),
            format!("wanted a user of {}, {found}", term.issuer),
        );
    }
    stop(held, format!("from[{index}]"), "nobody is named")
}

fn operation(index: usize, operation: &CompiledOperation, facts: &Facts) -> Stop {
    let at = format!("to[{index}]");
    if !terms::ports(operation, facts) {
        let ports = operation.ports.iter().flatten().map(|range| format!("{}-{}", range.first, range.last));
        return stop(0, format!("{at}.ports"), wanted(&ports.collect::<Vec<_>>(), facts.port));
    }
    if let Some(term) = &operation.http {
        match &facts.http {
            Fact::Known(http) => {
                if let Some(part) = terms::http_part(term, http, Polarity::Grant) {
                    let (progress, field, found) = match part {
                        HttpPart::Methods => (1, "methods".to_owned(), http.method.to_string()),
                        HttpPart::Paths => (2, "paths".to_owned(), http.path.to_string()),
                        HttpPart::Hosts => (3, "hosts".to_owned(), http.host.to_string()),
                        HttpPart::Header(name) => {
                            let found = http.headers.get(name).map_or("no such header", |value| &**value);
                            (4, format!("headers[{name}]"), found.to_owned())
                        }
                    };
                    return stop(progress, format!("{at}.http.{field}"), format!("got {found}"));
                }
            }
            Fact::Missing(why) => return stop(1, format!("{at}.http"), *why),
            Fact::NotApplicable => return stop(1, format!("{at}.http"), "this is no HTTP"),
        }
    }
    if let Some(term) = &operation.mcp {
        match &facts.mcp {
            Fact::Known(mcp) if terms::mcp_term(term, mcp, Polarity::Grant) => {}
            Fact::Known(mcp) => return mcp_term(&format!("{at}.mcp"), term, mcp),
            Fact::Missing(why) => return stop(5, format!("{at}.mcp"), *why),
            Fact::NotApplicable => return stop(5, format!("{at}.mcp"), "this is no MCP"),
        }
    }
    if let Some(term) = &operation.a2a {
        match &facts.a2a {
            Fact::Known(a2a) => {
                if let Some(part) = terms::a2a_part(term, a2a, Polarity::Grant) {
                    return stop(6, format!("{at}.a2a.{part}"), a2a_found(part, a2a));
                }
            }
            Fact::Missing(why) => return stop(5, format!("{at}.a2a"), *why),
            Fact::NotApplicable => return stop(5, format!("{at}.a2a"), "this is no A2A"),
        }
    }
    if let Some(term) = &operation.llm {
        match &facts.llm {
            Fact::Known(llm) => {
                if let Some(part) = terms::llm_part(term, llm, Polarity::Grant) {
                    return stop(6, format!("{at}.llm.{part}"), llm_found(llm));
                }
            }
            Fact::Missing(why) => return stop(5, format!("{at}.llm"), *why),
            Fact::NotApplicable => return stop(5, format!("{at}.llm"), "this is no call of a model"),
        }
    }
    stop(5, at, "it does not hold")
}

fn a2a_found(part: &str, a2a: &A2aFacts) -> String {
    match (part, &a2a.tenant, &a2a.skill) {
        ("tenants", Some(tenant), _) => format!("got the tenant {tenant}"),
        ("tenants", None, _) => "no tenant is named".to_owned(),
        ("skills", _, Skill::Called(skill) | Skill::Listed(skill)) => format!("got the skill {skill}"),
        ("skills", ..) => "no skill is named".to_owned(),
        _ => format!("got the method {}", a2a.method),
    }
}

fn llm_found(llm: &LlmFacts) -> String {
    match &llm.model {
        Model::Used { provider, model } => format!("got the model {model} of {provider}"),
        Model::Asked | Model::Base => "no model is chosen yet".to_owned(),
    }
}

fn mcp_term(at: &str, term: &CompiledMcp, mcp: &McpFacts) -> Stop {
    let (field, found) = match &mcp.object {
        McpObject::Tool { name, arguments, access } => {
            let tools = term.tools.iter().flatten().enumerate();
            let stops =
                tools.map(|(index, it)| tool(&format!("{at}.tools[{index}]"), it, name, arguments, *access));
            let none = format!("got the tool {name}, and no tools are named");
            return furthest(stops, &format!("{at}.tools"), &none);
        }
        McpObject::Prompt { name } => ("prompts", format!("got the prompt {name}")),
        McpObject::Resource { uri } => ("resources", format!("got the resource {uri}")),
        McpObject::Base | McpObject::Other => ("methods", format!("got the method {}", mcp.method)),
    };
    stop(6, format!("{at}.{field}"), found)
}

fn tool(
    at: &str,
    tool: &CompiledTool,
    name: &str,
    arguments: &Arguments,
    access: Option<ToolAccess>,
) -> Stop {
    if !terms::tool_name(tool, name) {
        return stop(6, format!("{at}.names"), wanted(&tool.names, name));
    }
    if !terms::tool_access(tool, access, Polarity::Grant) {
        let found = access.map_or_else(
            || format!("no catalogue says what {name} can do"),
            |access| format!("{name} is {access:?}"),
        );
        return stop(6, format!("{at}.access"), found);
    }
    for (index, argument) in tool.arguments.iter().enumerate() {
        if terms::argument(argument, arguments, Polarity::Grant) {
            continue;
        }
        let found = match arguments {
            Arguments::Given(given) => given.pointer(&argument.path).map(ToString::to_string),
            Arguments::Listing => None,
        };
        let found = found.unwrap_or_else(|| "nothing".to_owned());
        let detail = format!("wanted {argument}, got {found}");
        return stop(7 + index, format!("{at}.arguments[{}]", argument.path), detail);
    }
    stop(7, at, "it does not hold")
}

fn wanted<W: Display>(wanted: &[W], found: impl Display) -> String {
    let mut text = String::from("wanted ");
    for (index, one) in wanted.iter().take(WANTED_MAX).enumerate() {
        text.push_str(if index == 0 { "" } else { " or " });
        text.push_str(&one.to_string());
    }
    if wanted.is_empty() {
        text.push_str("nothing that exists");
    }
    if wanted.len() > WANTED_MAX {
        text.push_str(&format!(" or one of {} more", wanted.len() - WANTED_MAX));
    }
    text.push_str(&format!(", got {found}"));
    text
}

fn bounded(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
