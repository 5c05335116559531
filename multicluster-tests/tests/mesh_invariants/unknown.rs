//! 2. Unknown means no.

use std::time::Duration;

use http::HeaderMap;
use multicluster_tests::{
    hbone,
    mesh::{server::Server, until},
    svid::Authority,
};
use rustls_pki_types::CertificateDer;

use crate::shop::{MESH, allow, planner, policy, reaches, reaches_through, shop};

#[tokio::test]
async fn mesh_invariant_2_a_policy_that_cannot_be_read_denies_what_it_targets_and_nothing_else() {
    let plain = allow("plain", "plain", &["planner"]);
    let web = allow("web", "web", &["planner"]);
    let cluster = shop(&[("plain.yaml", &plain), ("web.yaml", &web)]).await;
    let _plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let _web = Server::web(&cluster.socket("web"), "web").unwrap();
    let planner = planner(&cluster);
    reaches(&planner, "http://plain.shop/").await;
    reaches_through(&planner, "http://web.shop/").await;

    let from = "from: [{serviceAccounts: [shop/planner]}]";
    let broken = [
        ("an unknown field", policy("more", "plain", "Allow", "form: [{anyone: true}]")),
        ("an unknown action", policy("more", "plain", "Permit", from)),
        (
            "an unknown term",
            policy("more", "plain", "Allow", &format!("{from}\n    to: [{{grpc: {{methods: [x]}}}}]")),
        ),
        ("an unreadable expression", policy("more", "plain", "Allow", &format!("{from}\n    when: \"((\""))),
    ];
    for (what, text) in broken {
        cluster.write("more.yaml", &text).unwrap();
        until(&format!("{what} denies"), async || {
            planner.denied("http://plain.shop/").await.is_ok_and(|denied| denied.reason == "PolicyBroken")
        })
        .await;
        reaches_through(&planner, "http://web.shop/").await;
        cluster.remove("more.yaml").unwrap();
        reaches(&planner, "http://plain.shop/").await;
    }
}

#[tokio::test]
async fn mesh_invariant_2_a_term_that_nobody_can_enforce_here_grants_nothing() {
    let term = "from: [{serviceAccounts: [shop/planner]}]\n    to: [{http: {methods: [GET]}}]";
    let cluster = shop(&[("plain.yaml", &policy("plain", "plain", "Allow", term))]).await;
    let plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let planner = planner(&cluster);
    until("it is refused by a policy", async || {
        planner.denied("http://plain.shop/").await.is_ok_and(|denied| denied.status == 403)
    })
    .await;
    assert_eq!(plain.asked().len(), 0);
}

#[tokio::test]
async fn mesh_invariant_2_a_trust_domain_that_is_not_linked_is_nobody() {
    let cluster = shop(&[]).await;
    let plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    reaches(&planner(&cluster), "http://plain.shop/").await;
    let asked = plain.asked().len();

    let stranger = Authority::new("evil.test").unwrap();
    let roots = [CertificateDer::from(cluster.root().unwrap())];
    let tunnel = cluster.number().at(1, 11, 15008);
    let authority = format!("{}:80", cluster.number().ip(1, 11));
    let planner = cluster.identity("shop", "planner");
    for name in ["spiffe://evil.test/ns/shop/sa/planner", planner.as_str()] {
        let svid = stranger.sign(&[name], Duration::from_secs(600)).unwrap();
        let tried = hbone::connect(tunnel, &svid, &roots, &authority, HeaderMap::new()).await;
        assert!(tried.is_err(), "{name} under a foreign root got an answer: {tried:?}");
    }
    cluster.logged("two", &["reason=HandshakeFailed"]).await;
    assert_eq!(plain.asked().len(), asked);
}

#[tokio::test]
async fn mesh_invariant_2_a_waypoint_that_was_there_and_is_gone_is_a_refusal_and_no_detour() {
    let mut cluster = shop(&[("web.yaml", &allow("web", "web", &["planner"]))]).await;
    let web = Server::web(&cluster.socket("web"), "web").unwrap();
    let planner = planner(&cluster);
    reaches_through(&planner, "http://web.shop/").await;
    let asked = web.asked().len();

    // Its process is gone.
    cluster.kill("shop/waypoint").unwrap();
    let denied = planner.denied("http://web.shop/").await.unwrap();
    assert!(denied.status.is_server_error(), "{denied}");

    // Its Gateway is gone.
    let namespace = MESH.split("---").next().unwrap();
    cluster.write("mesh.yaml", namespace).unwrap();
    until("the missing waypoint is the reason", async || {
        planner.denied("http://web.shop/").await.is_ok_and(|denied| denied.reason == "WaypointMissing")
    })
    .await;

    // Also when the workload's own address is named.
    let own = format!("{}:80", cluster.number().ip(1, 12));
    let denied = planner.refused(&own).await.unwrap();
    assert!(!denied.reason.is_empty(), "{denied}");
    assert_eq!(web.asked().len(), asked, "nothing went around it");

    // Back, it serves again.
    cluster.write("mesh.yaml", MESH).unwrap();
    cluster.start_proxies().unwrap();
    reaches_through(&planner, "http://web.shop/").await;
}
