//! Step 4: refusals explain themselves.

use serde_json::json;

use super::scene::{Scene, call, explained};
use crate::demo::stage::Stage;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let ungranted =
        call(&stage.planner, "write_file", json!({ "repo": "docs", "path": "a", "content": "b" })).await?;
    let beyond = call(&stage.planner, "read_file", json!({ "repo": "web", "path": "a" })).await?;
    let mut what = Vec::new();
    let mut ok = true;
    for (tried, answer) in [("write_file", &ungranted), ("read_file with repo=web", &beyond)] {
        let error = &answer["message"]["error"];
        let id = error["data"]["id"].as_str().unwrap_or("");
        let explained = explained(&stage.west, id).await?;
        let text = |field: &str| explained[field].as_str().unwrap_or("?").to_owned();
        what.push(format!("{tried}: {} {}", error["code"], error["message"].as_str().unwrap_or("")));
        what.push(format!(
            "  explain {id}: {} in stage {} by {} rule {} at {}",
            text("reason"),
            text("stage"),
            text("policy"),
            text("rule"),
            text("field")
        ));
        ok &= error["code"] == json!(-32602) && explained["reason"] == json!("NoGrant");
        ok &= explained["policy"].is_string()
            && explained["rule"].is_string()
            && explained["field"].is_string();
    }
    // What is hidden must not be told from what does not exist; what is granted may say which argument was wrong.
    ok &= beyond["message"]["error"]["message"].as_str().is_some_and(|text| text.contains("/repo"));
    Ok(Scene::new(
        ok,
        what.join("\n"),
        "no rule grants write_file to planner; one grants read_file where /repo is docs. The caller gets an id, and \
         whoever may see the policy gets the reason",
    ))
}
