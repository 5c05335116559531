//! The CRDs of `charts`, judged by a real API server: every definition is established, every good object of the
//! table of `controlplane/api` is taken, and every bad one is refused, by schema or CEL, but for those that say that a
//! CRD cannot.

mod common;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use common::skipped;
use http::Request;
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use rig::{Small, until};
use serde_json::Value;

/// How long a definition may take to be served.
const ESTABLISHED_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_crds_judge_the_table_of_objects_as_it_says() -> anyhow::Result<()> {
    if skipped("the_crds_judge_the_table_of_objects_as_it_says") {
        return Ok(());
    }
    let begin = Instant::now();
    let small = Small::up().await?;
    println!("an API server alone: {:.1} s", begin.elapsed().as_secs_f32());
    let client = small.client();
    let crds = definitions(&client).await?;
    ensure!(crds.len() == 11, "charts/crds has eleven definitions, not {}", crds.len());

    let mut wrong = Vec::new();
    let mut by_rule = 0;
    let mut counts = [0, 0];
    for (part, count) in ["good", "bad"].into_iter().zip(&mut counts) {
        for (file, text, object) in table(part)? {
            let Some(crd) = crds.iter().find(|crd| is_of(crd, &object)) else { continue };
            *count += 1;
            let refusal = judged(&client, crd, &object).await?;
            match (part, text.contains("# crd:"), &refusal) {
                ("good", _, Some(said)) => wrong.push(format!("{file}: is good, and is refused: {said}")),
                ("bad", false, None) => wrong.push(format!("{file}: is bad, and is taken")),
                ("bad", true, Some(said)) => {
                    wrong.push(format!("{file}: says that a CRD cannot refuse it, and it does: {said}"));
                }
                _ => {}
            }
            by_rule +=
                usize::from(refusal.is_some_and(|said| rules(crd).iter().any(|rule| said.contains(rule))));
        }
    }
    println!("{} good and {} bad objects; {by_rule} refused by a rule of CEL", counts[0], counts[1]);
    ensure!(wrong.is_empty(), "{} of the table:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(
        counts[0] > 20 && counts[1] > 200 && by_rule > 50,
        "the table is not what it was: {counts:?}, {by_rule}"
    );
    Ok(())
}

/// A revocation grows and never shrinks: a rule over the old object and the new.
#[tokio::test]
async fn a_rule_over_old_and_new_refuses_a_step_back() -> anyhow::Result<()> {
    if skipped("a_rule_over_old_and_new_refuses_a_step_back") {
        return Ok(());
    }
    let small = Small::up().await?;
    let client = small.client();
    definitions(&client).await?;
    let revoked = |time: &str, identity: &str| {
        format!(
            "apiVersion: strait.dev/v1alpha1\nkind: Revocation\nmetadata: {{name: shop}}\n\
             spec: {{identity: '{identity}', issuedBefore: '{time}'}}\n"
        )
    };
    let identity = "spiffe://cluster.local/ns/shop/sa/till";
    let cluster = small.cluster();
    cluster.apply("default", &revoked("2026-01-01T00:00:00Z", identity)).await?;
    cluster.apply("default", &revoked("2026-02-01T00:00:00Z", identity)).await?;
    for (time, identity) in [
        ("2026-01-15T00:00:00Z", identity),
        ("2026-03-01T00:00:00Z", "spiffe://cluster.local/ns/shop/sa/other"),
    ] {
        let refused = cluster.apply("default", &revoked(time, identity)).await;
        let said = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("a revocation only grows"), "{time} {identity}: {said}");
    }
    Ok(())
}

/// Applies `charts/crds` and waits until each is served; a namespace for their objects is made too.
async fn definitions(client: &Client) -> anyhow::Result<Vec<CustomResourceDefinition>> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let (mut crds, mut refused) = (Vec::new(), Vec::new());
    for path in files(&root().join("charts/crds"))? {
        let crd: CustomResourceDefinition = serde_saphyr::from_str(&fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        match api.create(&PostParams::default(), &crd).await {
            Ok(_) => crds.push(crd),
            Err(kube::Error::Api(said)) => refused.push(format!("{}: {}", path.display(), said.message)),
            Err(other) => return Err(other).with_context(|| path.display().to_string()),
        }
    }
    ensure!(refused.is_empty(), "{} definitions are refused:\n{}", refused.len(), refused.join("\n"));
    for crd in &crds {
        let name = crd.metadata.name.as_deref().unwrap_or_default();
        until(&format!("an established {name}"), ESTABLISHED_TIMEOUT, || async {
            let conditions =
                api.get(name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
            let unfit =
                conditions.iter().find(|one| one.type_ == "NonStructuralSchema" && one.status == "True");
            ensure!(unfit.is_none(), "{name}: {unfit:?}");
            anyhow::Ok(conditions.iter().any(|one| one.type_ == "Established" && one.status == "True"))
        })
        .await?;
    }
    Ok(crds)
}

/// What the API server says against an object; nothing if it would take it. Nothing is stored.
async fn judged(
    client: &Client,
    crd: &CustomResourceDefinition,
    object: &Value,
) -> anyhow::Result<Option<String>> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let mut path = format!("/apis/{}/{}", crd.spec.group, crd.spec.versions[0].name);
    if crd.spec.scope == "Namespaced" {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
        // The first object of a namespace makes it.
        let _ =
            namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await;
        path = format!("{path}/namespaces/{namespace}");
    }
    let uri = format!("{path}/{}?dryRun=All&fieldValidation=Ignore", crd.spec.names.plural);
    let request =
        Request::post(uri).header("content-type", "application/json").body(serde_json::to_vec(object)?)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(Some(status.message)),
        Err(other) => Err(other).context("the API server judged nothing"),
    }
}

fn is_of(crd: &CustomResourceDefinition, object: &Value) -> bool {
    let version = format!("{}/{}", crd.spec.group, crd.spec.versions[0].name);
    object["kind"] == *crd.spec.names.kind && object["apiVersion"] == *version
}

/// The messages of a definition's rules.
fn rules(crd: &CustomResourceDefinition) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for rule in
                    fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
                {
                    found.extend(rule["message"].as_str().map(str::to_owned));
                }
                fields.values().for_each(|inner| walk(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&serde_json::to_value(&crd.spec).unwrap_or_default(), &mut found);
    found
}

/// The table's objects: file, text, object.
fn table(part: &str) -> anyhow::Result<Vec<(String, String, Value)>> {
    let mut all = Vec::new();
    for path in files(&root().join("controlplane/api/tests/admission").join(part))? {
        let text = fs::read_to_string(&path)?;
        let object = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        all.push((format!("{part}/{name}"), text, object));
    }
    Ok(all)
}

fn files(folder: &std::path::Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    Ok(paths)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
