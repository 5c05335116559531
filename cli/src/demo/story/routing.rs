//! Step 6: weights and a header.

use super::scene::{SPLIT_OF, Scene, WEB, get, one_in_ten};
use crate::demo::stage::Stage;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let many = get(&stage.planner, WEB, &[], u32::try_from(SPLIT_OF)?).await?;
    let tester = get(&stage.planner, WEB, &[("x-tester", "yes")], 20).await?;
    let count = |answer: &serde_json::Value, name: &str| answer["answers"][name].as_u64().unwrap_or(0);
    let (old, new) = (count(&many, "web-v1"), count(&many, "web-v2"));
    let split = old + new == SPLIT_OF && one_in_ten(new);
    Ok(Scene::new(
        split && count(&tester, "web-v2") == 20,
        format!(
            "{SPLIT_OF} requests: {old} to web-v1, {new} to web-v2; 20 with x-tester: {} to web-v2",
            count(&tester, "web-v2")
        ),
        "an HTTPRoute on the Service web has weights 90 and 10, and a rule before it that matches the header; the \
         waypoint of the namespace applies it",
    ))
}
