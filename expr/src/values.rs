//! Shows facts to an evaluation as CEL values, no more of them than it reads and than is bounded.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Context, Value,
    objects::{Key, Map},
};
use mesh::facts::{A2aFacts, Arguments, Fact, Facts, LlmFacts, McpFacts, McpObject, Model, Skill, User};
use serde_json::Value as Json;

use crate::check::{ArgumentsRead, Reads};

/// Most bytes of text of all that is shown.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Most values of a tool's arguments that are shown.
pub(crate) const VALUES_MAX: usize = 1000;
/// Deepest nesting of a tool's arguments that is shown.
pub(crate) const DEPTH_MAX: usize = 16;

/// Why facts cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShowError {
    #[error("{0}")]
    Missing(&'static str),
    #[error("what it reads is too large to be judged")]
    TooLarge,
}

struct Budget {
    bytes: usize,
    values: usize,
}

impl Budget {
    fn text(&mut self, text: &str) -> Result<Value, ShowError> {
        self.bytes = self.bytes.checked_sub(text.len()).ok_or(ShowError::TooLarge)?;
        Ok(Value::from(text))
    }
}

/// The variables of a condition. A sort of facts that is not of this exchange has no variable.
pub(crate) fn show(facts: &Facts, reads: &Reads, context: &mut Context<'_, '_>) -> Result<(), ShowError> {
    let mut budget = Budget { bytes: TEXT_BYTES_MAX, values: VALUES_MAX };
    context.add_variable_from_value("source", source(facts, &mut budget)?);
    context.add_variable_from_value("destination", map([("port", Value::Int(i64::from(facts.port)))]));
    if reads.request {
        match &facts.http {
            Fact::Known(http) => {
                let mut headers = HashMap::new();
                for (name, value) in &http.headers {
                    headers.insert(Key::from(&**name), budget.text(value)?);
                }
                let headers = Value::Map(Map { map: Arc::new(headers) });
                let request = map([
                    ("method", budget.text(&http.method)?),
                    ("path", budget.text(&http.path)?),
                    ("host", budget.text(&http.host)?),
                    ("headers", headers),
                ]);
                context.add_variable_from_value("request", request);
            }
            Fact::Missing(why) => return Err(ShowError::Missing(why)),
            Fact::NotApplicable => {}
        }
    }
    if reads.mcp {
        match &facts.mcp {
            Fact::Known(mcp) => context.add_variable_from_value("mcp", message(mcp, reads, &mut budget)?),
            Fact::Missing(why) => return Err(ShowError::Missing(why)),
            Fact::NotApplicable => {}
        }
    }
    if reads.a2a {
        match &facts.a2a {
            Fact::Known(a2a) => context.add_variable_from_value("a2a", agent(a2a, &mut budget)?),
            Fact::Missing(why) => return Err(ShowError::Missing(why)),
            Fact::NotApplicable => {}
        }
    }
    if reads.llm {
        match &facts.llm {
            Fact::Known(llm) => context.add_variable_from_value("llm", model(llm, &mut budget)?),
            Fact::Missing(why) => return Err(ShowError::Missing(why)),
            Fact::NotApplicable => {}
        }
    }
    if reads.user
        && let Some(shown) = &facts.user
    {
        context.add_variable_from_value("user", user(shown, &mut budget)?);
    }
    Ok(())
}

fn agent(a2a: &A2aFacts, budget: &mut Budget) -> Result<Value, ShowError> {
    let mut fields = HashMap::from([(Key::from("method"), budget.text(&a2a.method)?)]);
    if let Some(tenant) = &a2a.tenant {
        fields.insert(Key::from("tenant"), budget.text(tenant)?);
    }
    if let Skill::Called(skill) | Skill::Listed(skill) = &a2a.skill {
        fields.insert(Key::from("skill"), budget.text(skill)?);
    }
    Ok(Value::Map(Map { map: Arc::new(fields) }))
}

fn model(llm: &LlmFacts, budget: &mut Budget) -> Result<Value, ShowError> {
    let mut fields = HashMap::from([(Key::from("operation"), budget.text(&llm.operation)?)]);
    if let Model::Used { provider, model } = &llm.model {
        fields.insert(Key::from("provider"), budget.text(provider)?);
        fields.insert(Key::from("model"), budget.text(model)?);
    }
    Ok(Value::Map(Map { map: Arc::new(fields) }))
}

fn user(user: &User, budget: &mut Budget) -> Result<Value, ShowError> {
    let texts = |all: &mut dyn Iterator<Item = &Arc<str>>, budget: &mut Budget| {
        let texts = all.map(|text| budget.text(text)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, ShowError>(Value::List(Arc::new(texts)))
    };
    let fields = [
        ("issuer", budget.text(&user.issuer)?),
        ("subject", budget.text(&user.subject)?),
        ("audiences", texts(&mut user.audiences.iter(), budget)?),
        ("scopes", texts(&mut user.scopes.iter(), budget)?),
        ("claims", json(&user.claims, budget, 0)?),
    ];
    Ok(map(fields))
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(Map {
        map: Arc::new(fields.into_iter().map(|(name, value)| (Key::from(name), value)).collect()),
    })
}

fn source(facts: &Facts, budget: &mut Budget) -> Result<Value, ShowError> {
    let mut fields = HashMap::new();
    // Only what is proven has fields, so that a condition on them has no value for others.
    if let Some(identity) = facts.caller.workload.verified() {
        fields.insert(Key::from("identity"), budget.text(&identity.to_string())?);
        fields.insert(Key::from("trust_domain"), budget.text(identity.trust_domain().as_str())?);
        if let Some((namespace, service_account)) = identity.kubernetes() {
            fields.insert(Key::from("namespace"), budget.text(namespace)?);
            fields.insert(Key::from("service_account"), budget.text(service_account)?);
        }
    }
    if let Some(address) = facts.source_address {
        fields.insert(Key::from("ip"), budget.text(&address.to_string())?);
    }
    Ok(Value::Map(Map { map: Arc::new(fields) }))
}

fn message(mcp: &McpFacts, reads: &Reads, budget: &mut Budget) -> Result<Value, ShowError> {
    let mut fields = HashMap::from([(Key::from("method"), budget.text(&mcp.method)?)]);
    match &mcp.object {
        McpObject::Tool { name, arguments, .. } => {
            fields.insert(Key::from("tool"), budget.text(name)?);
            if let (Arguments::Given(arguments), Some(read)) = (arguments, &reads.arguments) {
                fields.insert(Key::from("arguments"), shown_arguments(arguments, read, budget)?);
            }
        }
        McpObject::Prompt { name } => _ = fields.insert(Key::from("prompt"), budget.text(name)?),
        McpObject::Resource { uri } => _ = fields.insert(Key::from("resource"), budget.text(uri)?),
        McpObject::Base | McpObject::Other => {}
    }
    Ok(Value::Map(Map { map: Arc::new(fields) }))
}

fn shown_arguments(arguments: &Json, read: &ArgumentsRead, budget: &mut Budget) -> Result<Value, ShowError> {
    match (arguments, read) {
        (Json::Object(object), ArgumentsRead::Members(members)) => {
            let mut shown = HashMap::new();
            for member in members {
                if let Some(value) = object.get(member) {
                    shown.insert(Key::from(member.as_str()), json(value, budget, 1)?);
                }
            }
            Ok(Value::Map(Map { map: Arc::new(shown) }))
        }
        (other, _) => json(other, budget, 0),
    }
}

fn json(value: &Json, budget: &mut Budget, depth: usize) -> Result<Value, ShowError> {
    budget.values = budget.values.checked_sub(1).ok_or(ShowError::TooLarge)?;
    if depth > DEPTH_MAX {
        return Err(ShowError::TooLarge);
    }
    Ok(match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::Int(number),
            (_, Some(number), _) => Value::UInt(number),
            (_, _, Some(number)) => Value::Float(number),
            _ => return Err(ShowError::TooLarge),
        },
        Json::String(text) => budget.text(text)?,
        Json::Array(items) => {
            let items =
                items.iter().map(|item| json(item, budget, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            Value::List(Arc::new(items))
        }
        Json::Object(object) => {
            let mut members = HashMap::new();
            for (name, value) in object {
                budget.text(name)?;
                members.insert(Key::from(name.as_str()), json(value, budget, depth + 1)?);
            }
            Value::Map(Map { map: Arc::new(members) })
        }
    })
}
