//! Step 16: one call, hop by hop, as the proxies of both clusters told it.

use serde_json::{Value, json};

use super::scene::{PLANNER, Scene, call, until};
use crate::demo::{command::strait, stage::Stage};

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let answer = call(&stage.planner, "search", json!({ "repo": "docs", "query": "mesh" })).await?;
    let answered = answer["message"]["result"].is_object();
    let told = until(|| async {
        // Until the first proxy has told of it, no such call is known.
        Ok(spans(stage).await.is_ok_and(|spans| whole(&spans)))
    })
    .await?;
    let spans = spans(stage).await?;
    let request = spans.iter().find(|span| is_request(span)).cloned().unwrap_or_default();
    let mut what = Vec::new();
    for span in &spans {
        let of = |name: &str| span["attributes"][name].as_str().unwrap_or("");
        let took = span["duration"].as_u64();
        what.push(
            format!(
                "{}: {} {} {} {} {}",
                span["proxy"].as_str().unwrap_or("?"),
                span["name"].as_str().unwrap_or("?"),
                of("strait.source"),
                of("mcp.method.name"),
                of("gen_ai.tool.name"),
                took.map_or("open".to_owned(), |took| format!("{}.{:03} ms", took / 1000, took % 1000)),
            )
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        );
    }
    let linked = request["links"].as_array().map_or(0, Vec::len);
    what.push(format!("the request's span is linked to {linked} connections that carried it"));
    Ok(Scene::new(
        answered && told.is_some() && request["attributes"]["strait.source"] == PLANNER,
        what.join("\n"),
        "each proxy tells its own control plane of what it carried; strait trace puts together what both clusters \
         know of one call, and follows the links from the request to the connections below it",
    ))
}

/// The latest call of the tool, as `strait trace` puts it together from both clusters.
async fn spans(stage: &Stage) -> anyhow::Result<Vec<Value>> {
    let (east, west) = (stage.east.state(), stage.west.state());
    let mut arguments =
        vec!["trace".as_ref(), "--tool".as_ref(), "search".as_ref(), "--state".as_ref(), east.as_os_str()];
    arguments.extend(["--and".as_ref(), west.as_os_str(), "--output".as_ref(), "json".as_ref()]);
    Ok(serde_json::from_str(&strait(&arguments).await?)?)
}

fn is_request(span: &Value) -> bool {
    span["attributes"]["gen_ai.tool.name"] == "search"
        && span["attributes"]["mcp.method.name"] == "tools/call"
}

/// A request at a waypoint, and connections that carried it, as proxies of both clusters tell it.
fn whole(spans: &[Value]) -> bool {
    let linked = spans
        .iter()
        .filter(|span| is_request(span))
        .any(|span| span["links"].as_array().is_some_and(|links| !links.is_empty()));
    let told_in = |start: &str| {
        spans.iter().any(|span| span["proxy"].as_str().is_some_and(|proxy| proxy.starts_with(start)))
    };
    linked && ["node/east-", "gateway/tools/waypoint", "node/west-"].into_iter().all(told_in)
}
