//! 2 and 7 between clusters: a revocation is believed in the other one, and who is linked no more is nobody.

use http::HeaderMap;
use multicluster_tests::{
    hbone::{self, Connected},
    mesh::{Cluster, Denied, certificate, mcp, until, until_some},
    svid::Svid,
};
use rustls_pki_types::CertificateDer;

use crate::{
    pair::{TOOLS, pair, planner},
    revocation::revocation,
};

const POLICY: &str = "
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: grants, namespace: tools}
spec:
  targetRefs: [{group: \"\", kind: Service, name: tools}]
  action: Allow
  rules:
  - name: planner
    from: [{trustDomain: east.test, serviceAccounts: [agents/planner]}]
";

/// Dials west's waypoint as `planner` of east, with a certificate that the test keeps.
async fn dial(west: &Cluster, svid: &Svid) -> anyhow::Result<Connected> {
    let roots = [CertificateDer::from(west.root()?)];
    let waypoint = west.number().at(2, 1, 15008);
    hbone::connect(waypoint, svid, &roots, "tools.tools.svc.cluster.local:80", HeaderMap::new()).await
}

/// Both clusters, with `planner` served, and a certificate of his.
async fn served() -> (Cluster, Cluster, multicluster_tests::mesh::server::Server, Svid) {
    let (east, west) = pair(POLICY).await;
    let server = mcp::server(&west.socket("tools"), &["search"]).unwrap();
    let planner = planner(&east);
    until_some("planner lists", async || mcp::listed(&planner, TOOLS).await).await;
    let token = std::fs::read_to_string(east.token_file("node-one")).unwrap();
    let svid = certificate(&east, token.trim(), &east.identity("agents", "planner")).await.unwrap();
    assert!(matches!(dial(&west, &svid).await.unwrap(), Connected::Open(..)));
    (east, west, server, svid)
}

#[tokio::test]
async fn mesh_invariant_7_a_revocation_of_one_cluster_is_believed_in_the_other() {
    let (east, west, _server, svid) = served().await;
    east.write("revocation.yaml", &revocation(&east.identity("agents", "planner"))).unwrap();
    until("west refuses the old certificate", async || match dial(&west, &svid).await {
        Ok(Connected::Refused(status, headers)) => {
            let denied = Denied::of(status, &headers);
            assert_eq!((status.as_u16(), denied.reason.as_str()), (401, "Revoked"), "{denied}");
            true
        }
        _ => false,
    })
    .await;
    let planner = planner(&east);
    until_some("planner lists with a new one", async || mcp::listed(&planner, TOOLS).await).await;
}

#[tokio::test]
async fn mesh_invariant_2_who_is_linked_no_more_is_nobody() {
    let (east, west, server, svid) = served().await;
    west.remove("east-link.yaml").unwrap();
    until("west believes no root of east", async || {
        !matches!(dial(&west, &svid).await, Ok(Connected::Open(..)))
    })
    .await;
    let planner = planner(&east);
    until("planner is refused", async || mcp::listed(&planner, TOOLS).await.is_err()).await;
    let asked = server.asked().len();
    assert!(mcp::listed(&planner, TOOLS).await.is_err());
    assert_eq!(server.asked().len(), asked);
}
