//! Names what a request missed by: of the rules that did not match the nearest, and in it the first field.
//!
//! Only refusals come here, so it may take its time and allocate. Nearest is the rule with most terms satisfied
//! in the order from, to, when; of equally near ones the first.

use std::{fmt::Display, sync::Arc};

use super::terms::{self, HttpPart, Polarity};
use crate::{
    facts::{Arguments, Fact, Facts, McpFacts, McpObject},
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
    let Some(term) = &operation.mcp else { return stop(5, at, "it does not hold") };
    match &facts.mcp {
        Fact::Known(mcp) => mcp_term(&format!("{at}.mcp"), term, mcp),
        Fact::Missing(why) => stop(5, format!("{at}.mcp"), *why),
        Fact::NotApplicable => stop(5, format!("{at}.mcp"), "this is no MCP"),
    }
}

fn mcp_term(at: &str, term: &CompiledMcp, mcp: &McpFacts) -> Stop {
    let (field, found) = match &mcp.object {
        McpObject::Tool { name, arguments } => {
            let tools = term.tools.iter().flatten().enumerate();
            let stops = tools.map(|(index, it)| tool(&format!("{at}.tools[{index}]"), it, name, arguments));
            let none = format!("got the tool {name}, and no tools are named");
            return furthest(stops, &format!("{at}.tools"), &none);
        }
        McpObject::Prompt { name } => ("prompts", format!("got the prompt {name}")),
        McpObject::Resource { uri } => ("resources", format!("got the resource {uri}")),
        McpObject::Base | McpObject::Other => ("methods", format!("got the method {}", mcp.method)),
    };
    stop(6, format!("{at}.{field}"), found)
}

fn tool(at: &str, tool: &CompiledTool, name: &str, arguments: &Arguments) -> Stop {
    if !tool.names.iter().any(|it| it.matches(name)) {
        return stop(6, format!("{at}.names"), wanted(&tool.names, name));
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
