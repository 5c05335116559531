//! Step 5: every way in that is not the way in.

use std::net::SocketAddr;

use serde_json::json;

use super::scene::{Scene, TOOLS, explained, mcp};
use crate::apps::AgentCommand;
use crate::demo::{cluster::HBONE, stage::Stage};

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let mut what = Vec::new();
    let refused = mcp(&stage.intern, "tools/list", json!({})).await?;
    let id = refused["message"]["error"]["data"]["id"].as_str().unwrap_or("").to_owned();
    let explained = explained(&stage.west, &id).await?;
    let mut ok = explained["reason"] == json!("NoGrant");
    what.push(format!(
        "tools/list: {} ({id}: {} by {})",
        refused["status"],
        explained["reason"].as_str().unwrap_or("?"),
        explained["policy"].as_str().unwrap_or("?")
    ));
    let proxy = SocketAddr::new(stage.east.plan.ip(1, 1), 15080);
    let borrowed = stage.intern.tell(&AgentCommand::Borrow { proxy, url: TOOLS.to_owned() }).await;
    let status = borrowed.as_ref().ok().and_then(|answer| answer["last"]["status"].as_u64());
    ok &= status == Some(407);
    what.push(format!(
        "planner's proxy without its token: {}",
        status.map_or("no answer".to_owned(), |code| code.to_string())
    ));
    let server = stage.west.plan.ip(1, 1);
    let doors = [
        ("the server's mesh address", SocketAddr::new(server, 80)),
        ("the server's node", SocketAddr::new(server, HBONE)),
        ("the waypoint", SocketAddr::new(stage.west.plan.ip(2, 1), HBONE)),
        ("the east-west gateway", SocketAddr::new(stage.west.plan.ip(2, 2), HBONE)),
    ];
    for (door, address) in doors {
        let say = "POST /mcp HTTP/1.1\r\nhost: tools\r\ncontent-length: 0\r\n\r\n".to_owned();
        let heard = stage.intern.tell(&AgentCommand::Dial { address, say }).await;
        // A TLS alert is no answer of an application.
        let answered = heard.as_ref().ok().and_then(|answer| answer["heard"].as_str()).unwrap_or("");
        let inside = answered.contains("HTTP/");
        ok &= !inside;
        what.push(format!("{door} at {address} directly: {}", if inside { "ANSWERED" } else { "nothing" }));
    }
    Ok(Scene::new(
        ok,
        what.join("\n"),
        "a proxy port wants its workload's token, a node wants a certificate, and nothing listens at a mesh address. \
         But all processes here run under one user id: intern could read planner's token file, or dial the server's \
         own socket. Give each workload a uid of its own (MeshWorkload.spec.uid), or network namespaces, to close that",
    ))
}
