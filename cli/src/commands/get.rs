//! `strait get`: lists what is.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    args::{Get, Listed},
    client::{self, Running},
    output,
};

pub(crate) async fn run(arguments: &Get) -> anyhow::Result<()> {
    let rows = match arguments.what {
        Listed::Connections => connections(&arguments.at.state).await,
        listed => Running::find(&arguments.at.state)?.page(listed.page()).await?,
    };
    output::list(arguments.at.output, &rows)
}

/// What is open now, as each proxy of this machine says it. One that is not running has nothing open.
async fn connections(state: &Path) -> Value {
    let mut rows = Vec::new();
    for (proxy, admin) in client::proxies(state) {
        let Ok(open) = client::page(admin, "/v1/connections").await else { continue };
        for row in open.as_array().into_iter().flatten() {
            rows.push(json!({
                "proxy": proxy,
                "kind": row["kind"].as_str().or(row["direction"].as_str()),
                "source": row["source"],
                "destination": row["destination"],
                "sent": row["sent"],
                "received": row["received"],
                "age_seconds": age(row),
            }));
        }
    }
    Value::Array(rows)
}

/// A waypoint says how old a connection is, a node since when it is open.
fn age(row: &Value) -> Option<u64> {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    row["age_seconds"].as_u64().or_else(|| Some(now.saturating_sub(row["since"].as_u64()?)))
}
