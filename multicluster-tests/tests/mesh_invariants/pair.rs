//! Two linked clusters: agents in `east`, an MCP server behind a waypoint in `west`.

use multicluster_tests::mesh::{Access, Client, Cluster, Plan, link};

/// Agents, and the gateway of east.
pub(crate) const EAST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: agents, labels: {strait.dev/mesh: ambient, strait.dev/mtls: strict}}
---
apiVersion: v1
kind: Namespace
metadata: {name: tools, labels: {strait.dev/mesh: ambient, strait.dev/mtls: strict}}
---
apiVersion: v1
kind: Namespace
metadata: {name: strait-system, labels: {strait.dev/mesh: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: east-west, namespace: strait-system}
spec:
  gatewayClassName: strait-east-west
  addresses: [{type: IPAddress, value: 127.N.2.2}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: planner, namespace: agents}
spec: {serviceAccount: planner, node: one, addresses: [127.N.1.1]}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: intern, namespace: agents}
spec: {serviceAccount: intern, node: one, addresses: [127.N.1.2]}
";

/// An MCP server behind a waypoint, exported, and the gateway of west.
pub(crate) const WEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: tools, labels: {strait.dev/mesh: ambient, strait.dev/mtls: strict}}
---
apiVersion: v1
kind: Namespace
metadata: {name: strait-system, labels: {strait.dev/mesh: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: east-west, namespace: strait-system}
spec:
  gatewayClassName: strait-east-west
  addresses: [{type: IPAddress, value: 127.N.2.2}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: tools}
spec:
  gatewayClassName: strait-waypoint
  addresses: [{type: IPAddress, value: 127.N.2.1}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: tools, namespace: tools, labels: {app: tools}}
spec:
  serviceAccount: tools
  node: one
  addresses: [127.N.1.1]
  delivery: {unix: FOLDER/tools.sock}
  ports: [{name: mcp, port: 80, appProtocol: strait.dev/mcp}]
---
apiVersion: v1
kind: Service
metadata: {name: tools, namespace: tools, labels: {strait.dev/use-waypoint: waypoint}}
spec: {selector: {app: tools}, ports: [{name: mcp, port: 80, targetPort: mcp, appProtocol: strait.dev/mcp}]}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: tools, namespace: tools}
";

/// Where `tools` of west is in east.
pub(crate) const TOOLS: &str = "http://tools.tools.svc.clusterset.local/mcp";

/// East and west, linked, with this policy in west.
pub(crate) async fn pair(policy: &str) -> (Cluster, Cluster) {
    let gateway = ("strait-system", "east-west");
    let east = Plan {
        name: "east",
        files: &[("east.yaml", EAST)],
        nodes: &["one"],
        gateways: &[gateway],
        default_access: Access::Open,
    };
    let west = Plan {
        name: "west",
        files: &[("west.yaml", WEST), ("policy.yaml", policy)],
        nodes: &["one"],
        gateways: &[gateway, ("tools", "waypoint")],
        default_access: Access::Open,
    };
    let (east, west) = tokio::try_join!(Cluster::start(east), Cluster::start(west)).unwrap();
    east.write("west-link.yaml", &link(&west, &[("tools", "tools")], &[]).unwrap()).unwrap();
    west.write("east-link.yaml", &link(&east, &[], &["tools"]).unwrap()).unwrap();
    (east, west)
}

/// The agent `planner` of east.
pub(crate) fn planner(east: &Cluster) -> Client {
    east.client("agents", "planner", (1, 1)).unwrap()
}

/// The agent `intern` of east.
pub(crate) fn intern(east: &Cluster) -> Client {
    east.client("agents", "intern", (1, 2)).unwrap()
}
