//! Checks of what a rule of an access policy says is done: by port, by HTTP, and by the protocols of agents.

use api::access::{
    A2A_METHODS, A2aOperation, ArgumentTerm, HeaderTerm, HttpOperation, LlmOperation, McpOperation,
    Operation, PathMatch, ToolTerm, a2a_method,
};

use super::{
    fault::{Fault, Within, each, some},
    nearest::nearest,
    text,
};

pub(super) fn check_operation(operation: &Operation) -> Result<(), Fault> {
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
    let protocols = [operation.mcp.is_some(), operation.a2a.is_some(), operation.llm.is_some()];
    if protocols.iter().filter(|written| **written).count() > 1 {
        return Err(Fault::conflict("has several of mcp, a2a and llm, and no message is of two of them")
            .remedy("give each an entry of its own"));
    }
    each("ports", &operation.ports, |port| text::port(*port))?;
    some("http", operation.http.as_ref(), check_http)?;
    some("mcp", operation.mcp.as_ref(), check_mcp)?;
    some("a2a", operation.a2a.as_ref(), check_a2a)?;
    some("llm", operation.llm.as_ref(), check_llm)
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

fn check_a2a(a2a: &A2aOperation) -> Result<(), Fault> {
    if a2a.methods.is_empty() && a2a.tenants.is_empty() && a2a.skills.is_empty() {
        return Err(
            Fault::conflict("says nothing").remedy("write at least one of methods, tenants and skills")
        );
    }
    each("methods", &a2a.methods, |method| match a2a_method(method) {
        Some(_) => Ok(()),
        None => {
            let known: Vec<&str> =
                A2A_METHODS.iter().flat_map(|(new, old)| std::iter::once(*new).chain(*old)).collect();
            let fault = Fault::invalid(format!("{method:?} is not a method of A2A"));
            Err(match nearest(method, &known) {
                Some(near) => fault.remedy(format!("did you mean {near}?")),
                None => fault.remedy("for example SendMessage or message/send"),
            })
        }
    })?;
    each("tenants", &a2a.tenants, |tenant| text::star_at_end(tenant))?;
    each("skills", &a2a.skills, |skill| text::star_at_end(skill))
}

fn check_llm(llm: &LlmOperation) -> Result<(), Fault> {
    if llm.providers.is_empty() && llm.models.is_empty() {
        return Err(Fault::conflict("says nothing").remedy("write at least one of providers and models"));
    }
    each("providers", &llm.providers, |provider| text::star_at_end(provider))?;
    each("models", &llm.models, |model| text::star_at_end(model))
}

fn check_tool(tool: &ToolTerm) -> Result<(), Fault> {
    if tool.names.is_empty() && tool.access.is_none() {
        return Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("name the tools (`*` is every tool), or say by access what they can do")
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
