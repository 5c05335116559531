//! Step 3: a granted call, and who the server and the logs say called.

use serde_json::json;

use super::{PLANNER, Scene, Stage, call, said, until};

pub(super) async fn run(stage: &mut Stage, canary: &str) -> anyhow::Result<Scene> {
    let answer = call(&stage.planner, "read_file", json!({ "repo": "docs", "path": canary })).await?;
    let text = said(&answer).to_owned();
    let server_knows = text.contains(canary) && text.contains(PLANNER);
    // The line of a connection is written when it ends, which may be a moment after its answer.
    let logged = until(std::time::Duration::from_secs(3), || async {
        Ok(log_line(stage, "east").is_some() && log_line(stage, "west").is_some())
    })
    .await?
    .is_some();
    let mut what = vec![format!("read_file: {}", text.replace(canary, "canary-…"))];
    for cluster in ["east", "west"] {
        let line = log_line(stage, cluster).unwrap_or_else(|| "nothing".to_owned());
        what.push(format!("log of {cluster}: {line}"));
    }
    Ok(Scene::new(
        server_knows && logged,
        what.join("\n"),
        "planner proved who it is to the waypoint in west by its certificate from east; the waypoint vouched for it to \
         the server's node, and told the server in x-forwarded-client-cert",
    ))
}

/// The last access log line of a cluster's proxies in which planner reaches the tools.
fn log_line(stage: &Stage, cluster: &str) -> Option<String> {
    let cluster = if cluster == "east" { &stage.east } else { &stage.west };
    cluster.programs.iter().filter(|program| program.name().starts_with("ztunnel")).find_map(|program| {
        let said = program.said().ok()?;
        said.lines().rev().find(|line| line.contains(PLANNER) && line.contains("tools")).map(str::to_owned)
    })
}
