//! Step 2: a list shows what may be called, and nothing else.

use serde_json::json;

use super::scene::{Scene, mcp};
use crate::demo::stage::Stage;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let answer = mcp(&stage.planner, "tools/list", json!({})).await?;
    let tools = answer["message"]["result"]["tools"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    names.sort_unstable();
    Ok(Scene::new(
        names == ["read_file", "search"],
        format!("tools/list at tools.tools.svc.clusterset.local: {}", names.join(", ")),
        "the server has three tools; the waypoint before it removed write_file from the list, because no rule \
         lets planner call it",
    ))
}
