//! What a request asks for, in the words of the innermost protocol that was read. Callers write most of it.

use std::{borrow::Cow, sync::Arc};

use mesh::{
    Facts,
    facts::{McpObject, Model, Skill},
};
use wire::report::Asked;

/// What was spoken.
pub(super) fn protocol(facts: &Facts) -> &'static str {
    match facts {
        _ if facts.mcp.known().is_some() => "mcp",
        _ if facts.a2a.known().is_some() => "a2a",
        _ if facts.llm.known().is_some() => "llm",
        _ if facts.http.known().is_some() => "http",
        _ => "tcp",
    }
}

/// The method.
pub(super) fn method(facts: &Facts) -> Option<&Arc<str>> {
    let of_mcp = facts.mcp.known().map(|mcp| &mcp.method);
    let of_a2a = || facts.a2a.known().map(|a2a| &a2a.method);
    let of_llm = || facts.llm.known().map(|llm| &llm.operation);
    let of_http = || facts.http.known().map(|http| &http.method);
    of_mcp.or_else(of_a2a).or_else(of_llm).or_else(of_http)
}

/// What it acts on.
pub(super) fn object(facts: &Facts) -> Option<Cow<'_, str>> {
    if let Some(mcp) = facts.mcp.known() {
        return match &mcp.object {
            McpObject::Tool { name, .. } | McpObject::Prompt { name } => Some(Cow::Borrowed(name)),
            McpObject::Resource { uri } => Some(Cow::Borrowed(uri)),
            McpObject::Base | McpObject::Other => None,
        };
    }
    if let Some(a2a) = facts.a2a.known() {
        return match &a2a.skill {
            Skill::Called(skill) | Skill::Listed(skill) => Some(Cow::Borrowed(skill)),
            Skill::NotDeclared | Skill::Missing => None,
        };
    }
    match &facts.llm.known()?.model {
        Model::Used { provider, model } => Some(Cow::Owned(format!("{provider}/{model}"))),
        Model::Base | Model::Asked => None,
    }
}

/// For the records of decisions.
pub(super) fn asked(place: &'static str, facts: &Facts) -> Asked {
    let http = facts.http.known();
    let address = match facts.source_address {
        Some(_) if facts.caller.workload.verified().is_some() => "inside",
        Some(_) => "outside",
        None => "",
    };
    Asked {
        place: place.into(),
        port: facts.port,
        address: address.into(),
        protocol: protocol(facts).into(),
        method: method(facts).cloned().unwrap_or_default(),
        host: http.map(|http| Arc::clone(&http.host)).unwrap_or_default(),
        path: http.map(|http| Arc::clone(&http.path)).unwrap_or_default(),
        object: object(facts).map(Into::into).unwrap_or_default(),
        user: facts
            .user
            .as_ref()
            .map(|user| format!("{} {}", user.issuer, user.subject).into())
            .unwrap_or_default(),
    }
}

/// What was to be done, in one line.
pub(super) fn operation(facts: &Facts) -> Option<String> {
    let method = method(facts)?;
    Some(match (object(facts), facts.http.known()) {
        (Some(object), _) => format!("{method} {object}"),
        (None, Some(http)) if protocol(facts) == "http" => format!("{method} {}", http.path),
        _ => method.to_string(),
    })
}
