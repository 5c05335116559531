//! Step 1: identities and bundles.

use serde_json::Value;

use super::scene::Scene;
use crate::demo::stage::Stage;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let mut what = Vec::new();
    let mut ok = true;
    for cluster in [&stage.east, &stage.west] {
        let domain = format!("spiffe://{}/", cluster.plan.trust_domain());
        let certificates = cluster.page("/v1/certificates").await?;
        let certificates = certificates.as_array().cloned().unwrap_or_default();
        let own: Vec<&str> = certificates.iter().filter_map(|one| one["identity"].as_str()).collect();
        let foreign = own.iter().filter(|identity| !identity.starts_with(&domain)).count();
        ok &= !own.is_empty() && foreign == 0;
        for identity in &own {
            what.push(format!("{:5} {identity}", cluster.plan.name));
        }
        let links = cluster.page("/v1/links").await?;
        let link = links.as_array().and_then(|links| links.first()).cloned().unwrap_or(Value::Null);
        let roots = link["roots"].as_u64().unwrap_or(0);
        ok &= roots > 0;
        what.push(format!(
            "{:5} holds {roots} root of {}",
            cluster.plan.name,
            link["trust_domain"].as_str().unwrap_or("nobody")
        ));
    }
    Ok(Scene::new(
        ok,
        what.join("\n"),
        "each node fetched a certificate for each workload that runs on it, signed by its own cluster's root; \
         no root counts for the other trust domain",
    ))
}
