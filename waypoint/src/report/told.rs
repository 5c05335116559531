//! The span of an exchange or relay, by the semantic conventions of HTTP, gRPC, MCP and GenAI.

use exchange::trail::Record;
use mesh::{Facts, facts::McpObject};
use runtime::Span;

use super::asked::operation;

/// What the facts say of a request.
pub(super) fn facts(span: &mut Span, facts: &Facts) {
    if let Some(operation) = operation(facts) {
        span.named(&operation);
    }
    if let Some(mcp) = facts.mcp.known() {
        span.set("mcp.method.name", &*mcp.method);
        match &mcp.object {
            McpObject::Tool { name, .. } => {
                span.set("gen_ai.operation.name", "execute_tool");
                span.set("gen_ai.tool.name", &**name);
            }
            McpObject::Prompt { name } => span.set("gen_ai.prompt.name", &**name),
            McpObject::Resource { uri } => span.set("mcp.resource.uri", &**uri),
            McpObject::Base | McpObject::Other => {}
        }
    }
    if let Some(a2a) = facts.a2a.known() {
        span.set("a2a.method.name", &*a2a.method);
        span.maybe("a2a.tenant", a2a.tenant.as_ref());
        if let mesh::facts::Skill::Called(skill) = &a2a.skill {
            span.set("a2a.skill", &**skill);
        }
    }
    if let Some(llm) = facts.llm.known() {
        span.set("gen_ai.operation.name", &*llm.operation);
    }
    if let Some(user) = &facts.user {
        span.set("strait.user.issuer", &*user.issuer);
        span.set("strait.user.subject", &*user.subject);
    }
}

/// What became of it.
pub(super) fn record(span: &mut Span, record: &Record) {
    for carrier in &record.carriers {
        span.link(*carrier);
    }
    if let Some(upstream) = &record.upstream {
        span.set("strait.upstream.workload", upstream.workload.as_str());
        span.maybe("strait.upstream.identity", upstream.identity.as_ref());
        span.set("network.peer.address", &*upstream.address);
        span.set("strait.attempts", record.attempts);
    }
    if let Some(model) = &record.model {
        span.set("gen_ai.provider.name", &*model.provider);
        span.set("gen_ai.request.model", &*model.asked);
        span.set("gen_ai.response.model", &*model.model);
        span.set("gen_ai.usage.input_tokens", model.tokens_in);
        span.set("gen_ai.usage.output_tokens", model.tokens_out);
        span.set("strait.usage.told", model.told);
    }
    if let Some((denial, id)) = &record.refusal {
        span.set("strait.denial.reason", denial.reason.name());
        span.set("strait.denial.id", &**id);
        span.maybe("strait.denial.policy", denial.policy.as_ref().map(|(policy, _)| policy));
        span.maybe("strait.denial.rule", denial.rule.as_ref());
        span.failed(denial.reason.name());
    } else if let Some(error) = &record.error {
        span.failed(error);
    }
}
