//! Metrics of agents by the semantic conventions: tokens and duration of calls of models (GenAI), duration of MCP
//! requests. Every label is a name from configuration, or `other`.

use std::{collections::HashSet, sync::Arc};

use exchange::trail::ModelUse;
use mesh::{
    Facts,
    facts::McpObject,
    resource::{BackendKind, LlmProvider},
    snapshot::Snapshot,
};
use parking_lot::Mutex;
use prometheus_client::{encoding::EncodeLabelSet, metrics::histogram::Histogram, registry::Registry};
use runtime::metrics::{Bounded, LabelText, OTHER, Series};

/// Most series of each metric.
pub(super) const SERIES_MAX: usize = 4096;
/// Names from configuration that can be labels.
const NAMES_MAX: usize = 2048;
/// The methods of MCP, in all its revisions.
const MCP_METHODS: [&str; 30] = [
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/initialized",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/tools/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
    "tasks/cancel",
    "tools/call",
    "tools/list",
];
/// What models are asked for.
const OPERATIONS: [&str; 5] = ["chat", "responses", "messages", "embeddings", "models"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    gen_ai_operation_name: LabelText,
    gen_ai_provider_name: LabelText,
    gen_ai_request_model: LabelText,
    gen_ai_response_model: LabelText,
    gen_ai_token_type: &'static str,
    error_type: LabelText,
    source_principal: LabelText,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct McpLabels {
    mcp_method_name: LabelText,
    gen_ai_tool_name: LabelText,
    error_type: LabelText,
    destination_service: LabelText,
}

impl Bounded for ModelLabels {
    fn other(&self) -> Self {
        Self {
            gen_ai_operation_name: OTHER.into(),
            gen_ai_provider_name: OTHER.into(),
            gen_ai_request_model: OTHER.into(),
            gen_ai_response_model: OTHER.into(),
            gen_ai_token_type: self.gen_ai_token_type,
            error_type: OTHER.into(),
            source_principal: OTHER.into(),
        }
    }
}

impl Bounded for McpLabels {
    fn other(&self) -> Self {
        Self {
            mcp_method_name: OTHER.into(),
            gen_ai_tool_name: OTHER.into(),
            error_type: OTHER.into(),
            destination_service: OTHER.into(),
        }
    }
}

/// The names that configuration gives to tools, and the generation of the world that they were read from.
type Named = (u64, Arc<HashSet<Arc<str>>>);

/// The metrics. Clones are the same.
#[derive(Debug, Clone)]
pub struct Agents {
    tokens: Series<ModelLabels, Histogram>,
    durations: Series<ModelLabels, Histogram>,
    mcp: Series<McpLabels, Histogram>,
    named: Arc<Mutex<Named>>,
}

// The buckets that the conventions advise.
fn seconds() -> Histogram {
    Histogram::new([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92])
}

fn tokens() -> Histogram {
    let powers = std::iter::successors(Some(1.0), |power: &f64| Some(power * 4.0));
    Histogram::new(powers.take(14))
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            tokens: Series::new(SERIES_MAX, tokens),
            durations: Series::new(SERIES_MAX, seconds),
            mcp: Series::new(SERIES_MAX, seconds),
            named: Arc::default(),
        }
    }
}

impl Agents {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.tokens.register("gen_ai_client_token_usage", "Tokens of calls of models", registry);
        self.durations.register(
            "gen_ai_client_operation_duration_seconds",
            "Duration of calls of models",
            registry,
        );
        self.mcp.register("mcp_server_operation_duration_seconds", "Duration of MCP requests", registry);
    }

    /// A call of a model ended.
    pub(super) fn model(&self, model: &ModelUse, names: &Names, caller: &str, error: &str, seconds: f64) {
        let operation = if OPERATIONS.contains(&&*model.operation) { &*model.operation } else { OTHER };
        let labels = |token_type| ModelLabels {
            gen_ai_operation_name: operation.into(),
            gen_ai_provider_name: names.label(&model.provider),
            gen_ai_request_model: names.label(&model.asked),
            gen_ai_response_model: names.label(&model.model),
            gen_ai_token_type: token_type,
            error_type: error.into(),
            source_principal: caller.into(),
        };
        self.tokens.get(&labels("input")).observe(model.tokens_in as f64);
        self.tokens.get(&labels("output")).observe(model.tokens_out as f64);
        self.durations.get(&labels("")).observe(seconds);
    }

    /// An MCP request ended.
    pub(super) fn mcp(&self, facts: &Facts, names: &Names, service: LabelText, error: &str, seconds: f64) {
        let Some(mcp) = facts.mcp.known() else { return };
        let method = if MCP_METHODS.contains(&&*mcp.method) { &*mcp.method } else { OTHER };
        let tool = match &mcp.object {
            McpObject::Tool { name, .. } => names.label(name),
            _ => "".into(),
        };
        let labels = McpLabels {
            mcp_method_name: method.into(),
            gen_ai_tool_name: tool,
            error_type: error.into(),
            destination_service: service,
        };
        self.mcp.get(&labels).observe(seconds);
    }

    /// What configuration names, in this generation of it.
    pub(super) fn names(&self, generation: u64, snapshot: &Snapshot) -> Names {
        let mut named = self.named.lock();
        if named.0 != generation || named.1.is_empty() {
            *named = (generation, Arc::new(named_by(snapshot)));
        }
        Names(Arc::clone(&named.1))
    }
}

/// What configuration names.
pub(super) struct Names(Arc<HashSet<Arc<str>>>);

impl Names {
    /// The name itself if configuration says it, else `other`.
    pub(super) fn label(&self, name: &str) -> LabelText {
        if self.0.contains(name) { name.into() } else { OTHER.into() }
    }
}

fn named_by(snapshot: &Snapshot) -> HashSet<Arc<str>> {
    let policies = snapshot.policies().flat_map(|policy| policy.names.iter().cloned());
    let tools = snapshot.catalogues().flat_map(|catalogue| catalogue.tools.keys().cloned());
    let providers = snapshot.backends().filter_map(|backend| match &backend.kind {
        BackendKind::Llm { groups } => Some(groups.iter().flat_map(|group| &group.providers)),
        _ => None,
    });
    let of_provider = |provider: &LlmProvider| {
        let models = provider.models.iter().flat_map(|(alias, model)| [Arc::clone(alias), Arc::clone(model)]);
        models.chain([Arc::clone(&provider.name)]).collect::<Vec<_>>()
    };
    let models = providers.flatten().flat_map(of_provider);
    models.chain(tools).chain(policies).take(NAMES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use mesh::{
        facts::{Arguments, Fact, McpFacts},
        names::ObjectName,
        resource::{ApprovedTool, Catalogue, Resource, Unlisted},
        snapshot::{Change, NoExpressions},
    };

    use super::*;

    fn snapshot() -> Snapshot {
        let catalogue = Catalogue {
            name: ObjectName::new("ToolCatalog", "shop", "tools"),
            tools: [("search".into(), ApprovedTool { pin: None, access: None })].into(),
            unlisted: Unlisted::Pass,
        };
        let change = Change::Set("v1".into(), Resource::Catalogue(Arc::new(catalogue)));
        Snapshot::default().apply(vec![change], &NoExpressions).snapshot
    }

    fn calls(method: &str, tool: &str) -> Facts {
        let object = McpObject::Tool { name: tool.into(), arguments: Arguments::Listing, access: None };
        Facts {
            caller: mesh::Caller { workload: mesh::Peer::Unknown, by: None },
            source_address: None,
            port: 80,
            http: Fact::NotApplicable,
            mcp: Fact::Known(McpFacts { method: method.into(), object }),
            a2a: Fact::NotApplicable,
            llm: Fact::NotApplicable,
            user: None,
        }
    }

    fn used(asked: &str) -> ModelUse {
        ModelUse {
            operation: "chat".into(),
            provider: "one".into(),
            asked: asked.into(),
            model: asked.into(),
            tokens_in: 10,
            tokens_out: 20,
            tokens_cached: 0,
            told: true,
            first_token: None,
        }
    }

    #[test]
    fn a_hostile_caller_makes_no_series() {
        let (agents, mut registry) = (Agents::default(), Registry::default());
        agents.register(&mut registry);
        let names = agents.names(1, &snapshot());
        for number in 0..1000 {
            let made_up = format!("made-up-{number}");
            agents.mcp(&calls(&made_up, &made_up), &names, "tools".into(), "", 0.1);
            agents.model(&used(&made_up), &names, "planner", "", 0.1);
        }
        agents.mcp(&calls("tools/call", "search"), &names, "tools".into(), "", 0.1);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("made-up"), "{text}");
        let count = |name: &str| text.matches(&format!("{name}_count{{")).count();
        assert_eq!(count("mcp_server_operation_duration_seconds"), 2);
        assert_eq!(count("gen_ai_client_token_usage"), 2);
        assert_eq!(count("gen_ai_client_operation_duration_seconds"), 1);
        assert!(text.contains(r#"mcp_method_name="tools/call",gen_ai_tool_name="search""#), "{text}");
        assert!(text.contains(r#"gen_ai_client_token_usage_sum{gen_ai_operation_name="chat""#), "{text}");
    }
}
