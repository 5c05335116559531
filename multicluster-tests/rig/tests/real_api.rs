//! What the mesh expects of Kubernetes itself: tokens with audiences, what a node may read, watches that begin with a
//! list, leases, status by server-side apply, CEL.

mod common;

use std::time::Duration;

use anyhow::{Context, ensure};
use common::{PATIENCE, said, skipped};
use futures_util::{StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec},
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{ConfigMap, Secret, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::watcher,
};
use rig::{Small, shared, until};
use serde_json::json;

#[tokio::test]
async fn a_token_is_good_for_its_audience_alone() -> anyhow::Result<()> {
    if skipped("a_token_is_good_for_its_audience_alone") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("tokens").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), namespace.name());
    let made = ServiceAccount {
        metadata: ObjectMeta { name: Some("till".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    accounts.create(&PostParams::default(), &made).await?;
    let spec = TokenRequestSpec {
        audiences: vec!["mesh.example".to_owned()],
        expiration_seconds: Some(600),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request("till", &PostParams::default(), &request).await?;
    let token = answer.status.context("a status")?.token;
    let user = format!("system:serviceaccount:{}:till", namespace.name());
    for (audience, good) in [("mesh.example", true), ("other.example", false)] {
        let review = review(&cluster.client(), &token, audience).await?;
        ensure!(review.authenticated.unwrap_or(false) == good, "{audience}: {review:?}");
        if good {
            ensure!(
                review.user.and_then(|user| user.username) == Some(user.clone()),
                "the token is of {user}"
            );
            ensure!(review.audiences == Some(vec![audience.to_owned()]), "the audience is told");
        }
    }
    let forged = review(&cluster.client(), &format!("{token}x"), "mesh.example").await?;
    ensure!(!forged.authenticated.unwrap_or(false), "a token that was touched is refused");
    Ok(())
}

async fn review(
    client: &Client,
    token: &str,
    audience: &str,
) -> anyhow::Result<k8s_openapi::api::authentication::v1::TokenReviewStatus> {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    reviews.create(&PostParams::default(), &review).await?.status.context("a review has a status")
}

#[tokio::test]
async fn a_node_reads_the_secrets_of_its_own_pods_alone() -> anyhow::Result<()> {
    if skipped("a_node_reads_the_secrets_of_its_own_pods_alone") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("nodes").await?;
    let name = namespace.name();
    said(cluster, name, "create secret generic own --from-literal=a=b").await?;
    said(cluster, name, "create secret generic foreign --from-literal=a=b").await?;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: reader}\nspec:\n  nodeName: c1-n1\n  \
               terminationGracePeriodSeconds: 0\n  containers:\n  - {name: main, image: pause, volumeMounts: \
               [{name: own, mountPath: /own}]}\n  volumes: [{name: own, secret: {secretName: own}}]\n";
    cluster.apply(name, pod).await?;
    said(cluster, name, "wait --for=condition=Ready pod/reader --timeout=60s").await?;
    for (node, secret, may) in
        [("n1", "own", true), ("n1", "foreign", false), ("n2", "own", false), ("n2", "foreign", false)]
    {
        let secrets: Api<Secret> =
            Api::namespaced(cluster.client_of(&format!("{node}/podlet.conf")).await?, name);
        let answer = secrets.get(secret).await;
        ensure!(answer.is_ok() == may, "{node} reads {secret}: {answer:?}");
        ensure!(is_forbidden(&secrets.list(&ListParams::default()).await), "{node} lists no secrets");
    }
    Ok(())
}

fn is_forbidden<T>(answer: &Result<T, kube::Error>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn endpoints_follow_the_readiness_of_a_pod() -> anyhow::Result<()> {
    if skipped("endpoints_follow_the_readiness_of_a_pod") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("endpoints").await?;
    let name = namespace.name();
    let objects = "apiVersion: v1\nkind: Service\nmetadata: {name: moody}\nspec: {selector: {app: moody}, ports: \
                   [{port: 80}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: moody, labels: {app: moody}}\n\
                   spec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: debian\n    \
                   command: [sh, -c, 'touch /tmp/ready; exec sleep 3600']\n    readinessProbe: {exec: {command: \
                   [test, -e, /tmp/ready]}, periodSeconds: 1, failureThreshold: 1}\n";
    cluster.apply(name, objects).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client(), name);
    for (act, ready) in [(None, true), (Some("rm"), false), (Some("touch"), true)] {
        if let Some(act) = act {
            said(cluster, name, &format!("exec moody -- {act} /tmp/ready")).await?;
        }
        until(&format!("an endpoint with ready {ready}"), PATIENCE, || async {
            let all = slices.list(&ListParams::default().labels("kubernetes.io/service-name=moody")).await?;
            let mut endpoints = all.items.iter().flat_map(|slice| slice.endpoints.iter());
            let found = endpoints.next().and_then(|endpoint| endpoint.conditions.as_ref()?.ready);
            anyhow::Ok(found == Some(ready))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_begins_with_the_list_and_a_bookmark_ends_it() -> anyhow::Result<()> {
    if skipped("a_watch_begins_with_the_list_and_a_bookmark_ends_it") {
        return Ok(());
    }
    let small = Small::up().await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(small.client());
    for name in ["one", "two"] {
        maps.create(&PostParams::default(), &map(name)).await?;
    }
    // What kube-rs reads from a streaming list.
    let events = watcher(maps.clone(), watcher::Config::default().streaming_lists());
    pin_mut!(events);
    let mut listed = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, events.next()).await?.context("the watch goes on")?? {
            watcher::Event::InitApply(map) => listed.push(map.name_any()),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    ensure!(["one", "two"].iter().all(|name| listed.iter().any(|found| found == name)), "{listed:?}");
    maps.create(&PostParams::default(), &map("three")).await?;
    let next = tokio::time::timeout(PATIENCE, events.try_next()).await??;
    ensure!(matches!(&next, Some(watcher::Event::Apply(map)) if map.name_any() == "three"), "{next:?}");
    // What goes over the wire: the list as events, then a bookmark that says so, with a version to begin from.
    let raw = maps.watch(&WatchParams::default().initial_events(), "0").await?;
    pin_mut!(raw);
    let mut added = 0;
    let bookmark = loop {
        match tokio::time::timeout(PATIENCE, raw.try_next()).await??.context("the watch goes on")? {
            WatchEvent::Added(_) => added += 1,
            WatchEvent::Bookmark(bookmark) => break bookmark,
            other => anyhow::bail!("unexpected {other:?}"),
        }
    };
    ensure!(added >= 3, "the list comes first: {added}");
    ensure!(
        bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end"),
        "the bookmark ends the list"
    );
    let version = bookmark.metadata.resource_version;
    let resumed = maps.watch(&WatchParams::default(), &version).await?;
    pin_mut!(resumed);
    maps.create(&PostParams::default(), &map("four")).await?;
    let next = tokio::time::timeout(PATIENCE, resumed.try_next()).await??;
    ensure!(matches!(&next, Some(WatchEvent::Added(map)) if map.name_any() == "four"), "{next:?}");
    Ok(())
}

fn map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

#[tokio::test]
async fn of_two_that_take_a_lease_at_once_one_gets_it() -> anyhow::Result<()> {
    if skipped("of_two_that_take_a_lease_at_once_one_gets_it") {
        return Ok(());
    }
    let small = Small::up().await?;
    let leases: Api<Lease> = Api::default_namespaced(small.client());
    let free = Lease {
        metadata: ObjectMeta { name: Some("leader".to_owned()), ..ObjectMeta::default() },
        spec: None,
    };
    let seen = leases.create(&PostParams::default(), &free).await?;
    let take = |holder: &str| {
        let mut lease = seen.clone();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        });
        lease
    };
    let (one, other) = (take("one"), take("other"));
    let params = PostParams::default();
    let answers =
        tokio::join!(leases.replace("leader", &params, &one), leases.replace("leader", &params, &other));
    let (won, lost) = match answers {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => anyhow::bail!("exactly one must win: {both:?}"),
    };
    ensure!(matches!(&lost, kube::Error::Api(status) if status.code == 409), "the loser is told: {lost:?}");
    // The holder renews with what it was given back; the lease is the same, its time is new.
    let mut renewed = won.clone();
    if let Some(spec) = &mut renewed.spec {
        spec.renew_time = Some(MicroTime(Timestamp::now()));
    }
    let renewed = leases.replace("leader", &params, &renewed).await?;
    ensure!(
        renewed.spec.and_then(|spec| spec.holder_identity) == won.spec.and_then(|spec| spec.holder_identity),
        ""
    );
    Ok(())
}

/// A definition with a status whose conditions are a list by type, and a rule.
const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.rig.example}
spec:
  group: rig.example
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {min: {type: integer}, max: {type: integer}}
              x-kubernetes-validations:
                - {rule: "!has(self.min) || !has(self.max) || self.min <= self.max", message: min is above max}
            status:
              type: object
              properties:
                phase: {type: string}
                conditions:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [type]
                  items:
                    type: object
                    required: [type, status]
                    properties: {type: {type: string}, status: {type: string}}
"#;

#[tokio::test]
async fn cel_refuses_a_bad_object_and_status_belongs_to_who_applied_it() -> anyhow::Result<()> {
    if skipped("cel_refuses_a_bad_object_and_status_belongs_to_who_applied_it") {
        return Ok(());
    }
    let small = Small::up().await?;
    let cluster = small.cluster();
    cluster.apply("default", WIDGETS).await?;
    let wait = "wait --for=condition=Established crd/widgets.rig.example --timeout=30s";
    said(cluster, "default", wait).await?;
    let widget = |max: u8| {
        format!(
            "apiVersion: rig.example/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{min: 2, max: {max}}}\n"
        )
    };
    until("the resource is served", Duration::from_secs(10), || async {
        anyhow::Ok(cluster.apply("default", &widget(3)).await.is_ok())
    })
    .await?;
    let refused = cluster.apply("default", &widget(1)).await.err().map(|error| format!("{error:#}"));
    ensure!(refused.as_ref().is_some_and(|said| said.contains("min is above max")), "{refused:?}");

    let resource =
        kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("rig.example", "v1", "Widget"));
    let widgets: Api<kube::core::DynamicObject> = Api::default_namespaced_with(small.client(), &resource);
    let status = |kind: &str, phase: Option<&str>| {
        let mut status = json!({"conditions": [{"type": kind, "status": "True"}]});
        if let Some(phase) = phase {
            status["phase"] = json!(phase);
        }
        json!({"apiVersion": "rig.example/v1", "kind": "Widget", "status": status})
    };
    let apply = |manager: &str| PatchParams::apply(manager);
    widgets.patch_status("w", &apply("ours"), &Patch::Apply(status("Accepted", Some("ours")))).await?;
    let both = widgets.patch_status("w", &apply("theirs"), &Patch::Apply(status("Programmed", None))).await?;
    let conditions = both.data["status"]["conditions"].as_array().map_or(0, Vec::len);
    ensure!(conditions == 2, "each keeps its own condition: {}", both.data);
    ensure!(both.data["spec"]["max"] == 3, "status leaves the rest alone");
    let conflict = widgets
        .patch_status("w", &apply("theirs"), &Patch::Apply(status("Programmed", Some("theirs"))))
        .await;
    ensure!(matches!(&conflict, Err(kube::Error::Api(said)) if said.code == 409), "{conflict:?}");
    // Who applies less gives up what is left out.
    let less = json!({"apiVersion": "rig.example/v1", "kind": "Widget", "status": {}});
    let after = widgets.patch_status("w", &apply("ours"), &Patch::Apply(less)).await?;
    let kinds: Vec<_> =
        after.data["status"]["conditions"].as_array().into_iter().flatten().map(|one| &one["type"]).collect();
    ensure!(kinds == ["Programmed"], "{}", after.data);
    Ok(())
}
