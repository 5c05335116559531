//! 4 between clusters: a waypoint speaks for callers of its own trust domain where the link lists it, and nowhere else.

use http::{HeaderMap, HeaderValue};
use multicluster_tests::{
    hbone::{self, Connected},
    mesh::{Access, Cluster, Denied, Plan, certificate, link, mcp, server::Server, until, until_some},
    svid::Svid,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::{
    pair::{EAST, WEST, intern, planner},
    shop::reaches_through,
};

/// In east a waypoint stands before what west serves.
const EAST_WAYPOINT: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: tools}
spec:
  gatewayClassName: strait-waypoint
  addresses: [{type: IPAddress, value: 127.N.2.1}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: tools, labels: {strait.dev/use-waypoint: waypoint, strait.dev/failover: remote}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, appProtocol: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: tools, namespace: tools, labels: {strait.dev/use-waypoint: waypoint, strait.dev/failover: remote}}
spec: {selector: {app: tools}, ports: [{name: mcp, port: 80, appProtocol: strait.dev/mcp}]}
";

/// In west `web` is exported and reached directly, `private` is not exported.
const WEST_WEB: &str = "
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: web, namespace: tools, labels: {app: web}}
spec:
  serviceAccount: web
  node: one
  addresses: [127.N.1.2]
  delivery: {unix: FOLDER/web.sock}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: tools}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, appProtocol: http}]}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: web, namespace: tools}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: private, namespace: tools, labels: {app: private}}
spec:
  serviceAccount: private
  node: one
  addresses: [127.N.1.3]
  delivery: {unix: FOLDER/private.sock}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: private, namespace: tools}
spec: {selector: {app: private}, ports: [{name: http, port: 80, targetPort: http, appProtocol: http}]}
";

const POLICY: &str = "
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: grants, namespace: tools}
spec:
  targetRefs:
  - {group: \"\", kind: Service, name: tools}
  - {group: \"\", kind: Service, name: web}
  action: Allow
  rules:
  - name: planner
    from: [{trustDomain: east.test, serviceAccounts: [agents/planner]}]
";

/// Where east's waypoint is asked for them.
const WEB: &str = "http://web.tools/";
const TOOLS: &str = "http://tools.tools/mcp";

/// Both clusters, linked; west takes the word of these waypoints of east.
async fn pair(vouchers: &[&str]) -> (Cluster, Cluster) {
    let gateways = [("strait-system", "east-west"), ("tools", "waypoint")];
    let east = Plan {
        name: "east",
        files: &[("east.yaml", EAST), ("waypoint.yaml", EAST_WAYPOINT)],
        nodes: &["one"],
        gateways: &gateways,
        default_access: Access::Open,
    };
    let west = Plan {
        name: "west",
        files: &[("west.yaml", WEST), ("web.yaml", WEST_WEB), ("policy.yaml", POLICY)],
        nodes: &["one"],
        gateways: &gateways,
        default_access: Access::Open,
    };
    let (east, west) = tokio::try_join!(Cluster::start(east), Cluster::start(west)).unwrap();
    east.write("west-link.yaml", &link(&west, &[("tools", "tools")], &[]).unwrap()).unwrap();
    list(&east, &west, vouchers);
    (east, west)
}

/// Lists these waypoints of east, by account, in west's link.
fn list(east: &Cluster, west: &Cluster, vouchers: &[&str]) {
    let mut object: Value = serde_json::from_str(&link(east, &[], &["tools"]).unwrap()).unwrap();
    let vouchers: Vec<String> = vouchers.iter().map(|account| east.identity("tools", account)).collect();
    object["spec"]["vouchers"] = json!(vouchers);
    west.write("east-link.yaml", &object.to_string()).unwrap();
}

#[tokio::test]
async fn mesh_invariant_4_a_waypoint_speaks_for_callers_of_its_own_in_another_cluster_where_it_is_listed() {
    let (east, west) = pair(&["waypoint"]).await;
    let web = Server::web(&west.socket("web"), "web").unwrap();
    let _tools = mcp::server(&west.socket("tools"), &["search"]).unwrap();
    let (planner, intern) = (planner(&east), intern(&east));

    // At the node of the server, and at a waypoint of west.
    let said = reaches_through(&planner, WEB).await;
    assert!(said.contains(&east.identity("agents", "planner")), "{said}");
    until_some("planner lists", async || mcp::listed(&planner, TOOLS).await).await;
    let told = json!({"name": "search", "arguments": {"repo": "docs"}});
    let (_, answer) = mcp::call(&planner, TOOLS, "tools/call", told).await.unwrap();
    assert!(answer.to_string().contains(&east.identity("agents", "planner")), "{answer}");
    let asked = web.asked().len();
    for _ in 0..3 {
        assert!(intern.text(WEB).await.is_err());
        assert!(mcp::listed(&intern, TOOLS).await.is_err());
        // His refusals, over the same waypoint, take nothing from planner.
        planner.text(WEB).await.unwrap();
    }
    assert_eq!(web.asked().len(), asked + 3, "intern came to the server in planner's name");

    // Listed no more, it is itself the caller, and nobody granted it anything.
    list(&east, &west, &[]);
    until("planner is refused", async || planner.text(WEB).await.is_err()).await;
    west.logged("one", &["reason=NoGrant", &east.identity("tools", "waypoint")]).await;
    assert!(planner.text(WEB).await.is_err());
    list(&east, &west, &["waypoint"]);
    reaches_through(&planner, WEB).await;
    until_some("planner lists again", async || mcp::listed(&planner, TOOLS).await).await;
}

/// Dials west past everything of east, and says `Open` or why it was refused.
async fn dial(west: &Cluster, svid: &Svid, at: (u8, u8), authority: &str, origin: &[&str]) -> String {
    let roots = [CertificateDer::from(west.root().unwrap())];
    let mut headers = HeaderMap::new();
    for origin in origin {
        headers.append("x-strait-origin", HeaderValue::from_str(origin).unwrap());
    }
    match hbone::connect(west.number().at(at.0, at.1, 15008), svid, &roots, authority, headers).await {
        Ok(Connected::Open(..)) => "Open".to_owned(),
        Ok(Connected::Refused(status, headers)) => Denied::of(status, &headers).reason,
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn mesh_invariant_4_a_waypoint_of_another_cluster_claims_only_what_the_link_lets_it() {
    let (east, west) = pair(&[]).await;
    let web = Server::web(&west.socket("web"), "web").unwrap();
    let proven = async |owner: &str, namespace: &str, account: &str| {
        let token = std::fs::read_to_string(east.token_file(owner)).unwrap();
        certificate(&east, token.trim(), &east.identity(namespace, account)).await.unwrap()
    };
    let waypoint = proven("gateway-tools-waypoint", "tools", "waypoint").await;
    let agent = proven("node-one", "agents", "intern").await;
    let (planner, intern) = (east.identity("agents", "planner"), east.identity("agents", "intern"));
    let own = west.identity("tools", "tools");
    let (by_ip, private) =
        (format!("{}:80", west.number().ip(1, 2)), format!("{}:80", west.number().ip(1, 3)));
    let node = async |svid: &Svid, origin: &[&str]| dial(&west, svid, (1, 2), &by_ip, origin).await;
    let named = "tools.tools.svc.cluster.local:80";
    let entrance = async |svid: &Svid, origin: &[&str]| dial(&west, svid, (2, 1), named, origin).await;

    // Not listed, it may claim nobody; once west knows it, it is itself.
    until("west knows east's waypoint", async || node(&waypoint, &[]).await == "NoGrant").await;
    for origin in [planner.as_str(), own.as_str(), "unknown"] {
        assert_eq!(node(&waypoint, &[origin]).await, "OriginForbidden", "{origin}");
        assert_eq!(entrance(&waypoint, &[origin]).await, "OriginForbidden", "{origin}");
    }

    // Listed, it says for whom it speaks, and that is one caller of its own trust domain or nobody.
    list(&east, &west, &["waypoint"]);
    until("west takes its word", async || node(&waypoint, &[&planner]).await == "Open").await;
    assert_eq!(entrance(&waypoint, &[&planner]).await, "Open");
    let malformed = [planner.as_str(), planner.as_str()];
    for (origin, expected) in [
        (&[][..], "OriginMissing"),
        (&[own.as_str()], "OriginNotVouchable"),
        (&["spiffe://north.test/ns/agents/sa/planner"], "OriginNotVouchable"),
        (&["not an identity"], "OriginMalformed"),
        (&malformed, "OriginMalformed"),
    ] {
        assert_eq!(node(&waypoint, origin).await, expected, "{origin:?}");
        assert_eq!(entrance(&waypoint, origin).await, expected, "{origin:?}");
    }
    assert_eq!(node(&waypoint, &[&intern]).await, "NoGrant");
    assert_ne!(node(&waypoint, &["unknown"]).await, "Open");
    // Nobody else of east may, nor may it where nothing is exported to it.
    assert_eq!(node(&agent, &[&planner]).await, "OriginForbidden");
    assert_eq!(entrance(&agent, &[&planner]).await, "OriginForbidden");
    let elsewhere = dial(&west, &waypoint, (1, 3), &private, &[&planner]).await;
    assert_eq!(elsewhere, "OriginForbidden");
    assert!(web.asked().is_empty(), "nothing was asked in anybody's name");
}
