//! The list of models: the names that a caller may use, and no others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use exchange::{Exchange, Purpose, Response, Upstreams};
use http::{Method, StatusCode};
use mesh::resource::{LlmApi, LlmGroup, LlmProvider};
use serde_json::{Value, json};

use crate::{
    candidates::Candidate,
    error, json,
    opening::Opened,
    operation::{Dialect, Operation},
    upstream,
};

/// Most providers that are asked for their own lists, for one list.
const ASKED_MAX: usize = 8;
/// Longest list of a provider, in bytes.
const LIST_BYTES_MAX: usize = 4 << 20;
/// Most models in one list.
pub const MODELS_MAX: usize = 10_000;
/// Time in which a provider must give its list.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers with the list, or with one model of it.
pub(crate) async fn answer(
    exchange: &Exchange,
    upstreams: &dyn Upstreams,
    opened: &Opened,
    groups: &[LlmGroup],
) -> Response {
    let wanted = match &opened.operation {
        Operation::Model(_, name) => Some(Arc::<str>::from(name.as_str())),
        _ => None,
    };
    let mut names: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    let mut asked = 0;
    for provider in groups.iter().flat_map(|group| &group.providers) {
        let models: Vec<(Arc<str>, Arc<str>)> = match (&wanted, provider.models.is_empty()) {
            (_, false) => provider.models.iter().map(|(name, real)| (name.clone(), real.clone())).collect(),
            // Its models have their own names; it says which they are.
            _ if provider.api == LlmApi::OpenAi && asked < ASKED_MAX => {
                asked += 1;
                let own = own_list(exchange, upstreams, provider).await;
                own.into_iter().map(|name| (name.clone(), name)).collect()
            }
            _ => Vec::new(),
        };
        for (name, real) in models {
            if wanted.as_ref().is_some_and(|wanted| *wanted != name) || names.len() >= MODELS_MAX {
                continue;
            }
            let candidate = Candidate { provider: provider.clone(), model: real };
            if exchange.judge(&candidate.facts(exchange, opened), Purpose::List).is_ok() {
                names.entry(name).or_insert_with(|| Arc::clone(&provider.name));
            }
        }
    }
    let dialect = opened.operation.dialect();
    let entry = |name: &str, owner: &str| match dialect {
        Dialect::Messages => {
            json!({"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"})
        }
        _ => json!({"id": name, "object": "model", "created": 0, "owned_by": owner}),
    };
    if let Some(wanted) = wanted {
        return match names.get(&wanted) {
            Some(owner) => error::json_response(StatusCode::OK, &entry(&wanted, owner)),
            None => error::unknown_model(exchange, dialect, &wanted),
        };
    }
    let data: Vec<Value> = names.iter().map(|(name, owner)| entry(name, owner)).collect();
    let body = match dialect {
        Dialect::Messages => {
            let (first, last) = (names.keys().next(), names.keys().next_back());
            json!({"data": data, "has_more": false, "first_id": first, "last_id": last})
        }
        _ => json!({"object": "list", "data": data}),
    };
    error::json_response(StatusCode::OK, &body)
}

/// The models of a provider, by its own word. One that does not answer costs only its own.
async fn own_list(exchange: &Exchange, upstreams: &dyn Upstreams, provider: &LlmProvider) -> Vec<Arc<str>> {
    let candidate = Candidate { provider: provider.clone(), model: "".into() };
    let path = format!("{}/models", provider.path_prefix.trim_end_matches('/'));
    let Ok(request) = upstream::blank(exchange, &candidate, Method::GET, &path) else { return Vec::new() };
    let ask = async {
        let reply = upstreams.call(exchange.call(provider.target.clone(), request)).await.ok()?;
        let mut response = reply.response;
        if !response.status().is_success() {
            return None;
        }
        json::object(response.body_mut().hold(LIST_BYTES_MAX).await.ok()?).ok()
    };
    let Ok(Some(list)) = tokio::time::timeout(LIST_TIMEOUT, ask).await else { return Vec::new() };
    let name = |model: &Value| model.get("id").and_then(Value::as_str).map(Arc::from);
    json::list(&list, "data").iter().take(MODELS_MAX).filter_map(name).collect()
}
