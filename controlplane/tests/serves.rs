//! Two control planes on loopback, each with a node that subscribes: configuration, certificates, links, edits.

mod support;

use std::{collections::BTreeSet, time::Duration};

use mesh::resource::{Binding, Kind, Reach, Resource};
use support::{Cluster, Node};

const EAST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: agents}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: planner, namespace: agents}
spec: {serviceAccount: planner, node: east-1, addresses: [127.77.1.1]}
";

const WEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: tools}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: tools}
spec:
  gatewayClassName: strait-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: tools, namespace: tools, labels: {app: tools}}
spec:
  serviceAccount: tools
  node: west-1
  delivery: {loopbackPort: 9001}
  ports: [{name: mcp, port: 80, appProtocol: strait.dev/mcp}]
---
apiVersion: v1
kind: Service
metadata: {name: tools, namespace: tools}
spec:
  selector: {app: tools}
  ports: [{name: mcp, port: 80, targetPort: mcp, appProtocol: strait.dev/mcp}]
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: tools, namespace: tools}
";

#[tokio::test]
async fn a_node_gets_its_configuration_and_its_workloads_certificates() {
    let cluster = Cluster::start("west", 78, WEST).await;
    let node = Node::join(&cluster, "west-1").await;
    node.holds(|held| held.iter().any(|(key, _)| key.kind == Kind::Placement)).await;
    let kinds: BTreeSet<Kind> = node.held().keys().map(|key| key.kind).collect();
    for kind in [Kind::Ranges, Kind::Bundle, Kind::Workload, Kind::Service, Kind::PolicySet] {
        assert!(kinds.contains(&kind), "no {kind:?}");
    }
    node.certificate("tools", "tools").await.expect("it runs there");
    node.certificate("tools", "other").await.expect_err("it runs nowhere");

    // Another node knows the Service only when it asks, and has nobody's certificate.
    let other = Node::join(&cluster, "west-2").await;
    other.holds(|held| held.iter().any(|(key, _)| key.kind == Kind::Ranges)).await;
    assert!(!other.held().keys().any(|key| key.kind == Kind::Service));
    other.certificate("tools", "tools").await.expect_err("it runs on another node");
    other.want("tools.tools.svc.cluster.local").await;
    assert!(other.held().keys().any(|key| key.kind == Kind::Service));
    assert!(!other.held().keys().any(|key| key.kind == Kind::Placement));
    other.want("nobody.tools.svc.cluster.local").await;
    assert!(other.held().keys().any(|key| key.kind == Kind::Absence));
}

#[tokio::test]
async fn an_edited_file_is_in_force_within_100_ms() {
    let cluster = Cluster::start("west", 79, WEST).await;
    let node = Node::join(&cluster, "west-1").await;
    node.holds(|held| held.iter().any(|(key, _)| key.kind == Kind::Placement)).await;
    let policy = "
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: grants, namespace: tools}
spec:
  targetRefs: [{group: '', kind: Service, name: tools}]
  action: Allow
  rules:
  - name: planner
    from: [{serviceAccounts: [agents/planner]}]
";
    let start = std::time::Instant::now();
    cluster.write("policy.yaml", policy);
    node.holds(|held| held.keys().any(|key| key.kind == Kind::Policy)).await;
    let took = start.elapsed();
    assert!(
        took < Duration::from_millis(100) || cfg!(debug_assertions) && took < Duration::from_secs(2),
        "{took:?}"
    );
    let held = node.held();
    let refers = |resource: &Resource| match resource {
        Resource::PolicySet(set) => set.stages.iter().any(|stage| !stage.policies.is_empty()),
        _ => false,
    };
    assert!(held.values().any(refers), "no set names the policy");
    // A broken edit concerns its object alone, and the last good one stays.
    cluster.write("policy.yaml", &policy.replace("action: Allow", "action: Permit"));
    cluster.until("/v1/problems", |problems| problems.as_array().is_some_and(|list| list.len() == 1)).await;
    assert!(node.held().keys().any(|key| key.kind == Kind::Policy));
}

#[tokio::test]
async fn a_waypoint_binds_once_it_serves_and_stays_bound() {
    let cluster = Cluster::start("west", 80, WEST).await;
    let node = Node::join(&cluster, "west-1").await;
    let binding = |held: &support::Held| {
        held.values().find_map(|resource| match resource {
            Resource::Service(service) if &*service.name == "tools" => Some(service.binding.clone()),
            _ => None,
        })
    };
    node.holds(|held| binding(held) == Some(Binding::None)).await;
    let labelled = WEST.replace(
        "metadata: {name: tools, namespace: tools}\nspec:\n  selector",
        "metadata: {name: tools, namespace: tools, labels: {strait.dev/use-waypoint: waypoint}}\nspec:\n  selector",
    );
    cluster.write("objects.yaml", &labelled);
    cluster
        .until("/v1/statuses", |statuses| {
            statuses["Service tools/tools"].to_string().contains("WaypointPending")
        })
        .await;
    assert_eq!(binding(&node.held()), Some(Binding::None), "a binding that never worked changes nothing");
    let waypoint = Node::join_gateway(&cluster, "tools", "waypoint").await;
    node.holds(|held| matches!(binding(held), Some(Binding::Through(_)))).await;
    waypoint.holds(|held| held.keys().any(|key| key.kind == Kind::Listener)).await;
    // Without its Gateway it refuses, and does not go around.
    let (before, after) = labelled.split_once("---\napiVersion: gateway").expect("there is a Gateway");
    let (_, after) = after.split_once("---").expect("and something after it");
    cluster.write("objects.yaml", &format!("{before}---{after}"));
    node.holds(|held| matches!(binding(held), Some(Binding::Missing(_)))).await;
}

/// What only whoever uses it may hold: a way in with a certificate and users, a model with a key, content and quotas.
const USED: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: strait-waypoint, listeners: [{name: mesh, port: 15008, protocol: strait.dev/HBONE}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: in, namespace: shop}
spec:
  gatewayClassName: strait
  listeners: [{name: web, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: certificate}]}}]
---
apiVersion: v1
kind: Secret
metadata: {name: certificate, namespace: shop}
type: kubernetes.io/tls
stringData:
  tls.crt: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"
  tls.key: \"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\"
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
stringData: {token: abc}
---
apiVersion: v1
kind: Secret
metadata: {name: people, namespace: shop}
stringData: {ann: key-of-ann}
---
apiVersion: strait.dev/v1alpha1
kind: TokenIssuer
metadata: {name: people}
spec: {apiKeys: {secretRef: {namespace: shop, name: people}}}
---
apiVersion: strait.dev/v1alpha1
kind: MeshTrafficPolicy
metadata: {name: people, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: in}]
  authentication: {issuers: [people]}
---
apiVersion: strait.dev/v1alpha1
kind: ToolCatalog
metadata: {name: approved, namespace: shop}
spec: {tools: [{name: search, access: Read}]}
---
apiVersion: strait.dev/v1alpha1
kind: AgentBackend
metadata: {name: tools, namespace: shop}
spec:
  hostnames: [tools.shop.mesh]
  gatewayRef: {name: waypoint}
  catalogRef: {name: approved}
  mcp: {servers: [{name: one, host: tools.example.com, auth: {secretRef: {name: key}}}]}
---
apiVersion: strait.dev/v1alpha1
kind: GuardPolicy
metadata: {name: mail, namespace: shop}
spec:
  targetRefs: [{group: strait.dev, kind: AgentBackend, name: tools}]
  patterns: [{name: mail, type: Email}]
---
apiVersion: strait.dev/v1alpha1
kind: QuotaPolicy
metadata: {name: calls, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: in}]
  limits: [{name: minute, per: User, window: 1m, requests: 10}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: planner, namespace: shop}
spec: {serviceAccount: planner, node: one}
";

#[tokio::test]
async fn what_is_secret_and_what_reads_content_goes_to_those_who_use_it_alone() {
    let cluster = Cluster::start("used", 86, USED).await;
    let named = |node: &Node| -> BTreeSet<String> {
        let kinds = [Kind::Secret, Kind::Issuer, Kind::Guard, Kind::Quota, Kind::Catalogue];
        let held = node.held();
        held.keys().filter(|key| kinds.contains(&key.kind)).map(|key| key.name.to_string()).collect()
    };
    let waypoint = Node::join_gateway(&cluster, "shop", "waypoint").await;
    waypoint.holds(|held| held.keys().any(|key| key.kind == Kind::Backend)).await;
    let expected =
        ["GuardPolicy/shop/mail", "Secret/shop/key", "ToolCatalog/shop/approved"].map(str::to_owned);
    assert_eq!(named(&waypoint), BTreeSet::from(expected));

    let edge = Node::join_gateway(&cluster, "shop", "in").await;
    edge.holds(|held| held.keys().any(|key| key.kind == Kind::Listener)).await;
    let expected =
        ["QuotaPolicy/shop/calls", "Secret/shop/certificate", "TokenIssuer/people"].map(str::to_owned);
    assert_eq!(named(&edge), BTreeSet::from(expected));
    // Whoever verifies keys is not told them.
    let told =
        edge.held().values().map(|held| serde_json::to_string(held).expect("JSON")).collect::<String>();
    assert!(!told.contains("key-of-ann"));

    let node = Node::join(&cluster, "one").await;
    node.holds(|held| held.keys().any(|key| key.kind == Kind::Placement)).await;
    assert_eq!(named(&node), BTreeSet::new());
}

#[tokio::test]
async fn linked_clusters_exchange_bundles_and_exports() {
    let east = Cluster::start("east", 77, EAST).await;
    let west = Cluster::start("west", 81, WEST).await;
    east.write("link.yaml", &west.link(&[("tools", "tools")], &[]));
    west.write("link.yaml", &east.link(&[], &["tools"]));
    east.until("/v1/links", |links| links[0]["services"] == 1 && links[0]["roots"] == 1).await;
    let node = Node::join(&east, "east-1").await;
    node.holds(|held| held.keys().filter(|key| key.kind == Kind::Bundle).count() == 2).await;
    node.want("tools.tools.svc.clusterset.local").await;
    let held = node.held();
    let remote = held.values().find_map(|resource| match resource {
        Resource::Workload(workload) => match &workload.reach {
            Reach::Gateway { authority, peers, .. } => Some((authority.to_string(), peers.clone())),
            _ => None,
        },
        _ => None,
    });
    let (authority, peers) = remote.expect("the service came over the link");
    assert_eq!(authority, "tools.tools.svc.clusterset.local");
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["spiffe://west.test/ns/tools/sa/tools"]);
}

#[tokio::test]
async fn a_root_is_passed_on_only_when_every_proxy_and_link_holds_the_bundle() {
    let east = Cluster::start("east", 85, &EAST.replace("127.77", "127.85")).await;
    let west = Cluster::start("west", 86, WEST).await;
    east.write("link.yaml", &west.link(&[("tools", "tools")], &[]));
    west.write("link.yaml", &east.link(&[], &["tools"]));
    east.until("/v1/links", |links| links[0]["services"] == 1).await;
    west.until("/v1/links", |links| links[0]["roots"] == 1).await;
    assert!(west.post("/v1/root?do=advance").await.expect_err("none").contains("no rotation"));
    assert_eq!(west.post("/v1/root?do=rotate").await.expect("it begins")["phase"], "distribute");
    let waits = west.post("/v1/root?do=advance").await.expect_err("nobody is there");
    assert!(waits.contains("node west-1 is not connected"), "{waits}");
    let _node = Node::join(&west, "west-1").await;
    let _waypoint = Node::join_gateway(&west, "tools", "waypoint").await;
    let waits = until_refused(&west, |waits| !waits.contains("west-1") && !waits.contains("waypoint")).await;
    assert!(waits.contains("link east has not told"), "{waits}");
    let unknown = west.post("/v1/root?do=advance&without=nobody").await.expect_err("no such link");
    assert!(unknown.contains("nobody"), "{unknown}");
    // East tells only once its own proxies hold west's bundle.
    let here = Node::join(&east, "east-1").await;
    let both = |held: &support::Held| {
        held.values().any(|resource| match resource {
            Resource::Bundle(bundle) => {
                bundle.trust_domain.as_str() == "west.test" && bundle.roots.len() == 2
            }
            _ => false,
        })
    };
    let fetched = tokio::time::timeout(Duration::from_secs(60), async {
        while !both(&here.held()) || west.post("/v1/root?do=advance").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    fetched.await.expect("east fetches the bundle, and tells");
    let status = west.post("/v1/root?do=status").await.expect("it says");
    assert_eq!((&status["phase"], &status["roots"][1]["signs"]), (&"sign".into(), &true.into()));
    let waits = west.post("/v1/root?do=advance&without=east").await.expect_err("the old one is in use");
    assert!(waits.contains("node west-1 has not fetched its next certificate"), "{waits}");
}

/// Waits until an advance is refused as expected, and returns for what it waits.
async fn until_refused(cluster: &Cluster, expected: impl Fn(&str) -> bool) -> String {
    let mut waits = String::new();
    for _ in 0..1000 {
        waits = cluster.post("/v1/root?do=advance").await.expect_err("not yet");
        if expected(&waits) {
            return waits;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{waits}");
}

#[tokio::test]
async fn a_token_opens_only_its_own_door() {
    let cluster = Cluster::start("west", 82, WEST).await;
    let node = Node::join(&cluster, "west-1").await;
    node.certificate("tools", "waypoint").await.expect_err("a node is no gateway");
    let forged = Node::with_token(&cluster, "node~west-1~0000").await;
    forged.certificate("tools", "tools").await.expect_err("the token is nobody's");
    let workload = std::fs::read_to_string(cluster.token("workload-tools-tools")).expect("it was made");
    let workload = Node::with_token(&cluster, workload.trim()).await;
    workload.certificate("tools", "tools").await.expect_err("a workload's token is for its proxy alone");
}

#[tokio::test]
async fn a_question_is_answered_as_the_proxies_would() {
    let grants = "
---
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: grants, namespace: tools}
spec:
  targetRefs: [{group: '', kind: Service, name: tools, sectionName: mcp}]
  action: Allow
  rules:
  - name: docs
    from: [{serviceAccounts: [agents/planner]}]
    to: [{mcp: {tools: [{names: [search], arguments: [{path: /repo, in: [docs]}]}]}}]
";
    let bound = WEST.replace(
        "metadata: {name: tools, namespace: tools}\nspec:\n  selector",
        "metadata: {name: tools, namespace: tools, labels: {strait.dev/use-waypoint: waypoint}}\nspec:\n  selector",
    );
    let cluster = Cluster::start("west", 83, &(bound + grants)).await;
    let _waypoint = Node::join_gateway(&cluster, "tools", "waypoint").await;
    cluster
        .until("/v1/services", |services| services.to_string().contains("\"waypoint\":\"tools/waypoint"))
        .await;
    let cases = [
        ("from=agents/planner&to=tools/tools:80&tool=search&arg=repo%3Ddocs", "granted", "docs"),
        ("from=agents/planner&to=tools/tools:80&tool=search&arg=repo%3Dweb", "refused", "/repo"),
        ("from=agents/planner&to=tools/tools:80&tool=write_file", "refused", "NoGrant"),
        ("from=agents/intern&to=tools/tools:80&tool=search&arg=repo%3Ddocs", "refused", "NoGrant"),
        ("from=agents/planner&to=tools/tools:81", "refused", "UnknownPort"),
    ];
    for (question, verdict, says) in cases {
        cluster
            .until(&format!("/v1/explain?{question}"), |explained| {
                explained["verdict"] == verdict && explained.to_string().contains(says)
            })
            .await;
    }
    for page in
        ["workloads", "routes", "policies", "certificates", "connections", "proxies", "links", "problems"]
    {
        cluster.until(&format!("/v1/{page}"), serde_json::Value::is_array).await;
    }
    cluster.until("/v1/policies", |policies| policies[0]["proxies"] == "1/1").await;
    cluster.until("/v1/objects", serde_json::Value::is_array).await;
    cluster.until("/v1/resources?kind=Service", serde_json::Value::is_array).await;
}

#[tokio::test]
async fn what_was_remembered_counts_after_a_restart() {
    let labelled = WEST.replace(
        "metadata: {name: tools, namespace: tools}\nspec:\n  selector",
        "metadata: {name: tools, namespace: tools, labels: {strait.dev/use-waypoint: waypoint}}\nspec:\n  selector",
    );
    let cluster = Cluster::start("west", 84, &labelled).await;
    let waypoint = Node::join_gateway(&cluster, "tools", "waypoint").await;
    cluster
        .until("/v1/services", |services| services.to_string().contains("\"waypoint\":\"tools/waypoint"))
        .await;
    drop(waypoint);
    let cluster = cluster.restart().await;
    let node = Node::join(&cluster, "west-1").await;
    node.holds(|held| held.keys().any(|key| key.kind == Kind::Placement)).await;
    let bound = node.held().values().any(|resource| match resource {
        Resource::Service(service) => {
            &*service.name == "tools" && matches!(service.binding, Binding::Through(_))
        }
        _ => false,
    });
    assert!(bound, "a restart must not open what was bound");
}
