//! One cluster that most tests need: callers on node `one`, servers on node `two`, a waypoint before some of them.

use multicluster_tests::mesh::{Access, Client, Cluster, Plan, until_some};

/// Namespaces, and the waypoint of `shop`.
pub(crate) const MESH: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {strait.dev/mesh: ambient, strait.dev/mtls: strict}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec:
  gatewayClassName: strait-waypoint
  addresses: [{type: IPAddress, value: 127.N.2.1}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";

/// Who runs where.
pub(crate) const WORKLOADS: &str = "
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: planner, namespace: shop}
spec: {serviceAccount: planner, node: one, addresses: [127.N.1.1]}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: intern, namespace: shop}
spec: {serviceAccount: intern, node: one, addresses: [127.N.1.2]}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: plain, namespace: shop, labels: {app: plain}}
spec:
  serviceAccount: plain
  node: two
  addresses: [127.N.1.11]
  delivery: {unix: FOLDER/plain.sock}
  ports: [{name: http, port: 80}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  serviceAccount: web
  node: two
  addresses: [127.N.1.12]
  delivery: {unix: FOLDER/web.sock}
  ports: [{name: http, port: 80}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: tools, namespace: shop, labels: {app: tools}}
spec:
  serviceAccount: tools
  node: two
  addresses: [127.N.1.13]
  delivery: {unix: FOLDER/tools.sock}
  ports: [{name: mcp, port: 80, appProtocol: strait.dev/mcp}]
";

/// `plain` is reached directly, `web` and `tools` through the waypoint.
pub(crate) const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: shop}
spec: {selector: {app: plain}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {strait.dev/use-waypoint: waypoint}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, appProtocol: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: tools, namespace: shop, labels: {strait.dev/use-waypoint: waypoint}}
spec: {selector: {app: tools}, ports: [{name: mcp, port: 80, targetPort: mcp, appProtocol: strait.dev/mcp}]}
";

/// An Allow on a Service for these accounts of `shop`.
pub(crate) fn allow(name: &str, service: &str, accounts: &[&str]) -> String {
    let accounts: Vec<String> = accounts.iter().map(|account| format!("shop/{account}")).collect();
    policy(name, service, "Allow", &format!("from: [{{serviceAccounts: [{}]}}]", accounts.join(", ")))
}

/// A policy on a Service with one rule.
pub(crate) fn policy(name: &str, service: &str, action: &str, rule: &str) -> String {
    format!(
        "
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  targetRefs: [{{group: \"\", kind: Service, name: {service}}}]
  action: {action}
  rules:
  - name: rule
    {rule}
"
    )
}

/// What the cluster consists of, with these files.
pub(crate) fn plan<'a>(files: &'a [(&'a str, &'a str)], default_access: Access) -> Plan<'a> {
    Plan { name: "shop", files, nodes: &["one", "two"], gateways: &[("shop", "waypoint")], default_access }
}

/// The cluster with these policies, one file each.
pub(crate) async fn shop(policies: &[(&str, &str)]) -> Cluster {
    let mut files = vec![("mesh.yaml", MESH), ("workloads.yaml", WORKLOADS), ("services.yaml", SERVICES)];
    files.extend(policies);
    Cluster::start(plan(&files, Access::Open)).await.unwrap()
}

/// The agent `planner`.
pub(crate) fn planner(cluster: &Cluster) -> Client {
    cluster.client("shop", "planner", (1, 1)).unwrap()
}

/// The agent `intern`.
pub(crate) fn intern(cluster: &Cluster) -> Client {
    cluster.client("shop", "intern", (1, 2)).unwrap()
}

/// Waits until a URL of a Service with a waypoint answers this client by way of it, and returns what it says.
///
/// Until the waypoint was Programmed once, the old path stays.
#[track_caller]
pub(crate) fn reaches_through(client: &Client, url: &str) -> impl Future<Output = String> {
    until_some(format!("{url} answers through the waypoint"), async move || {
        let said = client.text(url).await?;
        anyhow::ensure!(said.contains("for spiffe://"), "{said}");
        Ok(said)
    })
}

/// Waits until a URL answers this client, and returns what it says.
#[track_caller]
pub(crate) fn reaches(client: &Client, url: &str) -> impl Future<Output = String> {
    until_some(format!("{url} answers"), async move || client.text(url).await)
}
