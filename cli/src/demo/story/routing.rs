//! Step 6: weights and a header.

use super::scene::{Scene, WEB, get};
use crate::demo::stage::Stage;

/// How many requests show a split.
const REQUESTS: u32 = 200;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let many = get(&stage.planner, WEB, &[], REQUESTS).await?;
    let tester = get(&stage.planner, WEB, &[("x-tester", "yes")], 20).await?;
    let count = |answer: &serde_json::Value, name: &str| answer["answers"][name].as_u64().unwrap_or(0);
    let (old, new) = (count(&many, "web-v1"), count(&many, "web-v2"));
    // Of 200 requests with a chance of 1 in 10 each, 5 to 40 go to the new one but for 1 story in 10,000.
    let split = old + new == u64::from(REQUESTS) && (5..=40).contains(&new);
    Ok(Scene::new(
        split && count(&tester, "web-v2") == 20,
        format!(
            "{REQUESTS} requests: {old} to web-v1, {new} to web-v2; 20 with x-tester: {} to web-v2",
            count(&tester, "web-v2")
        ),
        "an HTTPRoute on the Service web has weights 90 and 10, and a rule before it that matches the header; the \
         waypoint of the namespace applies it",
    ))
}
