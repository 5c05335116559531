//! The story: its steps in this order, one file each.

mod auditing;
mod calling;
mod editing;
mod failing_over;
mod identities;
mod intruding;
mod listing;
mod modelling;
mod outage;
mod refusing;
mod researching;
mod routing;
mod scene;
mod toolbox;
mod tracing;
mod visiting;
mod wiretap;

use super::{
    narrate::{Listener, Told},
    stage::Stage,
};
use scene::Scene;
pub(super) use scene::TOOLS;

/// The steps, by number and title.
const STEPS: [(u32, &str); 16] = [
    (1, "Everybody has an identity of its own cluster, and the clusters know each other's roots"),
    (2, "planner, in east, lists the tools of an MCP server in west"),
    (3, "planner calls a tool that it was granted"),
    (4, "planner calls a tool that it was not granted, and a granted one with a wrong argument"),
    (5, "intern, who was granted nothing, tries every way in"),
    (6, "A route splits calls between two versions, and sends a tester to the new one"),
    (7, "A replica dies, and the other cluster takes over"),
    (8, "A policy is edited while it is in use"),
    (9, "A control plane dies, and a node proxy restarts without it"),
    (10, "What a wiretap between the nodes has heard since the start"),
    (11, "planner talks to an agent of two versions in west, while a route moves from one to the other"),
    (12, "planner asks a model: which one, with whose key, and how much"),
    (13, "A person comes in from outside, through planner and through nobody else"),
    (14, "Three MCP servers are one, and a tool that changed is held back"),
    (15, "A policy is tried, then audited, then enforced"),
    (16, "A call is followed hop by hop through both clusters"),
];

/// Tells it, and says how many steps did not hold.
pub(super) async fn tell(stage: &mut Stage, listener: Listener) -> anyhow::Result<u32> {
    let canary = format!("canary-{:032x}", rand::random::<u128>());
    let mut failed = 0;
    for (step, title) in STEPS {
        listener.begin(step, title);
        let scene = match step {
            1 => identities::run(stage).await,
            2 => listing::run(stage).await,
            3 => calling::run(stage, &canary).await,
            4 => refusing::run(stage).await,
            5 => intruding::run(stage).await,
            6 => routing::run(stage).await,
            7 => failing_over::run(stage).await,
            8 => editing::run(stage).await,
            9 => outage::run(stage).await,
            10 => wiretap::run(stage, &canary),
            11 => researching::run(stage).await,
            12 => modelling::run(stage).await,
            13 => visiting::run(stage, &canary).await,
            14 => toolbox::run(stage).await,
            15 => auditing::run(stage).await,
            _ => tracing::run(stage).await,
        };
        let scene =
            scene.unwrap_or_else(|error| Scene::new(false, "it could not be tried", format!("{error:#}")));
        failed += u32::from(!scene.ok);
        listener.tell(&Told { step, ok: scene.ok, what: scene.what, why: scene.why });
    }
    Ok(failed)
}
