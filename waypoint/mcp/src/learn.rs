//! Reads what a server says of all its tools, so that a call is judged by a definition that is known.

use bytes::Bytes;
use exchange::{CallError, Exchange, Upstreams};
use http::HeaderMap;
use mesh::{
    facts::{McpFacts, McpObject},
    resource::McpServer,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    courier::{Answered, Courier, Parcel, bare, read},
    federation::sessions::Upstream,
    gate::ServerKey,
    id::Id,
    opening::Opened,
    respond::Mcp,
    shelf::{Catalogued, Held, Seen},
};

/// How many pages of a list are read; what is beyond is not known.
const PAGES_MAX: usize = 100;

/// Refuses a call of a tool that is held back. `learn` asks the server if its definition is not known.
pub(crate) async fn check<L>(
    mcp: &Mcp,
    catalogued: &Catalogued,
    key: &ServerKey,
    visible: &str,
    learn: impl FnOnce() -> L,
) -> Result<(), CallError>
where
    L: Future<Output = Result<(), CallError>>,
{
    if !catalogued.holds() {
        return Ok(());
    }
    let seen = match mcp.shelf.fresh(key, visible, Instant::now()) {
        Some(seen) => Some(seen),
        None => {
            let asking = mcp.shelf.asking(key);
            let _asking = asking.lock().await;
            // Somebody else may have asked meanwhile.
            match mcp.shelf.fresh(key, visible, Instant::now()) {
                Some(seen) => Some(seen),
                None => {
                    learn().await?;
                    mcp.shelf.fresh(key, visible, Instant::now())
                }
            }
        }
    };
    let judged = seen.map_or(Err(Held::Unknown), |seen| catalogued.judge(visible, &seen));
    judged.map_err(|held| {
        mcp.counts.held();
        CallError::Denied(catalogued.denial(visible, held))
    })
}

/// Reads all pages and remembers them.
pub(crate) async fn learn<P>(
    mcp: &Mcp,
    key: &ServerKey,
    visible: impl Fn(&str) -> String,
    page: impl Fn(Option<String>) -> P,
) -> Result<(), CallError>
where
    P: Future<Output = Result<Answered, CallError>>,
{
    let began = Instant::now();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let answered = page(cursor.take()).await?;
        let result = answered.value.get("result");
        let Some(tools) = result.and_then(|result| result.get("tools")).and_then(Value::as_array) else {
            return Err(CallError::BadAnswer("the server does not list its tools".to_owned()));
        };
        for tool in tools {
            let name = tool.get("name").and_then(Value::as_str);
            if let (Some(name), Some(seen)) = (name, Seen::of(tool, Instant::now())) {
                mcp.shelf.put(key, &visible(name), &seen);
            }
        }
        cursor =
            result.and_then(|result| result.get("nextCursor")).and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            mcp.shelf.forget_older(key, began);
            break;
        }
    }
    Ok(())
}

/// As [`learn`], from the one server of a backend.
pub(crate) async fn learn_only(
    mcp: &Mcp,
    (exchange, upstreams): (&Exchange, &dyn Upstreams),
    headers: &HeaderMap,
    opened: &Opened,
    server: &McpServer,
    session: Option<Upstream>,
    key: &ServerKey,
) -> Result<(), CallError> {
    let courier = Courier::new(exchange, upstreams, headers);
    let session = session.unwrap_or_else(|| bare(server, opened.revision));
    let id = Id::Text("strait".into());
    let meta = opened.message.as_ref().and_then(|message| message.params.get("_meta")).cloned();
    let (courier, session, id, meta) = (&courier, &session, &id, &meta);
    learn(mcp, key, str::to_owned, |cursor| async move {
        let mut params = json!({});
        if let Some(Value::Object(meta)) = meta {
            let mut meta = meta.clone();
            meta.shift_remove("progressToken");
            params["_meta"] = Value::Object(meta);
        }
        if let Some(cursor) = cursor {
            params["cursor"] = cursor.into();
        }
        let body = json!({"jsonrpc": "2.0", "id": id.value(), "method": "tools/list", "params": params});
        let facts = McpFacts { method: "tools/list".into(), object: McpObject::Base };
        let parcel = Parcel::post(Bytes::from(body.to_string()), facts, None);
        let came = courier.send(server, session, parcel).await?;
        read(came.response, id, mcp.config.list_bytes_max).await.map_err(CallError::BadAnswer)
    })
    .await
}
