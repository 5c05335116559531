//! Step 3: a granted call, and who the server and the logs say called.

use serde_json::json;

use super::scene::{PLANNER, Scene, call, said, until};
use crate::demo::stage::Stage;

pub(super) async fn run(stage: &mut Stage, canary: &str) -> anyhow::Result<Scene> {
    let answer = call(&stage.planner, "read_file", json!({ "repo": "docs", "path": canary })).await?;
    let text = said(&answer).to_owned();
    let server_knows = text.contains(canary) && text.contains(PLANNER);
    // The line of a connection is written when it ends, which may be a moment after its answer.
    let logged =
        until(|| async { Ok(log_line(stage, "east").is_some() && log_line(stage, "west").is_some()) })
            .await?
            .is_some();
    let node_knows = at_the_node(stage).await?;
    let mut what = vec![format!("read_file: {}", text.replace(canary, "canary-…"))];
    for cluster in ["east", "west"] {
        let line = log_line(stage, cluster).unwrap_or_else(|| "nothing".to_owned());
        what.push(format!("log of {cluster}: {line}"));
    }
    what.push(format!("the server's node holds a connection as planner's: {node_knows}"));
    Ok(Scene::new(
        server_knows && logged && node_knows,
        what.join("\n"),
        "planner proved who it is to the waypoint in west by its certificate from east; the waypoint vouched for it to \
         the server's node, and told the server in x-forwarded-client-cert",
    ))
}

/// The last access log line of a cluster's proxies in which planner reaches the tools. In east its node proxy writes
/// it, in west the waypoint: the connection from there to the server's node is kept for planner's next call.
fn log_line(stage: &Stage, cluster: &str) -> Option<String> {
    let (cluster, program) =
        if cluster == "east" { (&stage.east, "ztunnel") } else { (&stage.west, "waypoint-waypoint") };
    cluster.programs.iter().filter(|one| one.name().starts_with(program)).find_map(|one| {
        let said = one.said().ok()?;
        said.lines().rev().find(|line| line.contains(PLANNER) && line.contains("tools")).map(str::to_owned)
    })
}

/// What the server's node says of its open connections: each is of one caller.
async fn at_the_node(stage: &Stage) -> anyhow::Result<bool> {
    let open = crate::client::text(stage.west.node_admin("west-1")?, "/v1/connections").await?;
    Ok(open.contains(PLANNER))
}
