//! 3. A waypoint cannot be bypassed.

use http::{HeaderMap, HeaderValue};
use multicluster_tests::{
    hbone::{self, Connected},
    mesh::{Cluster, Denied, certificate, server::Server},
    svid::Svid,
};
use rustls_pki_types::CertificateDer;

use crate::shop::{allow, planner, reaches_through, shop};

/// A certificate of `planner`, proven by its own node's token.
async fn planners(cluster: &Cluster) -> Svid {
    let token = std::fs::read_to_string(cluster.token_file("node-one")).unwrap();
    certificate(cluster, token.trim(), &cluster.identity("shop", "planner")).await.unwrap()
}

/// Dials a tunnel past any node of one's own.
async fn dial(cluster: &Cluster, svid: &Svid, at: (u8, u8), authority: &str, origin: &[&str]) -> Connected {
    let roots = [CertificateDer::from(cluster.root().unwrap())];
    let mut headers = HeaderMap::new();
    for origin in origin {
        headers.append("x-strait-origin", HeaderValue::from_str(origin).unwrap());
    }
    hbone::connect(cluster.number().at(at.0, at.1, 15008), svid, &roots, authority, headers).await.unwrap()
}

#[track_caller]
fn refused(connected: Connected, reason: &str) {
    let Connected::Refused(status, headers) = connected else { panic!("it was let through") };
    let denied = Denied::of(status, &headers);
    assert_eq!(denied.reason, reason, "{denied}");
    assert!([400, 401].contains(&denied.status.as_u16()), "{denied}");
    assert!(!denied.id.is_empty(), "{denied}");
}

#[tokio::test]
async fn mesh_invariant_3_a_caller_who_dials_past_the_waypoint_is_refused_whatever_he_claims() {
    let web = allow("web", "web", &["planner"]);
    let plain = allow("plain", "plain", &["planner"]);
    let cluster = shop(&[("web.yaml", &web), ("plain.yaml", &plain)]).await;
    let web = Server::web(&cluster.socket("web"), "web").unwrap();
    let plain = Server::echo(&cluster.socket("plain")).unwrap();
    reaches_through(&planner(&cluster), "http://web.shop/").await;
    let asked = web.asked().len();
    let svid = planners(&cluster).await;
    let web_port = format!("{}:80", cluster.number().ip(1, 12));
    let plain_port = format!("{}:80", cluster.number().ip(1, 11));

    // The same caller, the same way, is let in where no waypoint stands: it is the waypoint that is missing.
    let direct = dial(&cluster, &svid, (1, 11), &plain_port, &[]).await;
    let Connected::Open(mut tunnel, _) = direct else { panic!("{direct:?}") };
    tunnel.send("hello".into()).await.unwrap();
    assert_eq!(tunnel.receive().await.unwrap().unwrap(), "hello");
    assert_eq!(plain.asked().len(), 1);

    refused(dial(&cluster, &svid, (1, 12), &web_port, &[]).await, "NotThroughWaypoint");
    let (own, other) = (cluster.identity("shop", "planner"), cluster.identity("shop", "web"));
    for origin in [own.as_str(), other.as_str(), "unknown", "not an identity"] {
        let Connected::Refused(status, headers) = dial(&cluster, &svid, (1, 12), &web_port, &[origin]).await
        else {
            panic!("{origin} was let through")
        };
        let denied = Denied::of(status, &headers);
        assert!([400, 401].contains(&denied.status.as_u16()), "{denied}");
        assert!(["NotThroughWaypoint", "OriginForbidden"].contains(&denied.reason.as_str()), "{denied}");
        // Nor may he vouch where no waypoint stands, or to the waypoint.
        refused(dial(&cluster, &svid, (1, 11), &plain_port, &[origin]).await, "OriginForbidden");
        refused(
            dial(&cluster, &svid, (2, 1), "web.shop.svc.cluster.local:80", &[origin]).await,
            "OriginForbidden",
        );
    }
    refused(dial(&cluster, &svid, (1, 11), &plain_port, &[&own, &own]).await, "OriginForbidden");
    assert_eq!(web.asked().len(), asked, "nothing came to the server past its waypoint");
    assert_eq!(plain.asked().len(), 1);
}
