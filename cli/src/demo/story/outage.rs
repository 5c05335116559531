//! Step 9: traffic does not need the control plane.

use serde_json::json;

use super::scene::{Scene, after, call, said, until};
use crate::demo::stage::Stage;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    stage.west.program("controlplane")?.kill().await?;
    let alone = call(&stage.planner, "search", json!({ "repo": "docs", "query": "mesh" })).await?;
    let node = "ztunnel-west-1";
    stage.west.program(node)?.kill().await?;
    stage.west.program(node)?.restart()?;
    let restarted = until(|| async {
        let answer = call(&stage.planner, "search", json!({ "repo": "docs", "query": "mesh" })).await;
        Ok(answer.is_ok_and(|answer| answer["message"]["result"].is_object()))
    })
    .await?;
    stage.west.program("controlplane")?.restart()?;
    let (west, proxies) = (&stage.west, stage.west.programs.len() - 1);
    let back = until(|| async {
        let rows = west.page("/v1/proxies").await.unwrap_or_default();
        let current = rows.as_array().into_iter().flatten().filter(|row| row["current"] == true);
        Ok(current.count() == proxies)
    })
    .await?;
    let ok = said(&alone).contains("found") && restarted.is_some() && back.is_some();
    Ok(Scene::new(
        ok,
        format!(
            "control plane of west killed; search: {}\n{node} killed and started again without it; served again after {}\n\
             control plane started again: all {proxies} proxies are with it after {}",
            said(&alone),
            after(restarted),
            after(back)
        ),
        "proxies keep the last good configuration and their certificates on disk, and start from them while the \
         certificates are valid; then they refuse",
    ))
}
