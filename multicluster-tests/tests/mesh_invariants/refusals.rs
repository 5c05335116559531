//! 9. Every refusal explains itself.

use http::HeaderMap;
use multicluster_tests::{
    hbone::{self, Connected},
    mesh::{Client, Denied, certificate, mcp, server::Server, until_some},
};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::shop::{allow, intern, planner, policy, reaches, reaches_through, shop};

#[tokio::test]
async fn mesh_invariant_9_each_refusal_that_a_client_sees_is_explained_by_its_id() {
    let term = "from: [{serviceAccounts: [shop/planner]}]\n    to: [{mcp: {tools: [{names: [search], arguments: [{path: /repo, in: [docs]}]}]}}]";
    let files = [
        ("plain.yaml", allow("plain", "plain", &["planner"])),
        ("web.yaml", policy("web", "web", "Deny", "from: [{serviceAccounts: [shop/intern]}]")),
        ("tools.yaml", policy("tools", "tools", "Allow", term)),
    ];
    let cluster = shop(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let _plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let _web = Server::web(&cluster.socket("web"), "web").unwrap();
    let _tools = mcp::server(&cluster.socket("tools"), &["search", "write"]).unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    reaches(&planner, "http://plain.shop/").await;
    reaches_through(&planner, "http://web.shop/").await;
    until_some("planner lists", async || mcp::listed(&planner, "http://tools.shop/").await).await;

    let explained = async |denied: &Denied, expected: &str, more: &[(&str, &str)]| {
        assert_eq!(denied.reason, expected, "{denied}");
        let said = cluster.explained(&denied.id).await;
        assert_eq!(said["verdict"], "refused", "{said}");
        assert_eq!(said["reason"], expected, "{said}");
        assert!(said["meaning"].as_str().is_some_and(|text| !text.is_empty()), "{said}");
        for (field, text) in more {
            assert!(said[*field].as_str().is_some_and(|said| said.contains(text)), "{field}: {said}");
        }
    };
    let who = cluster.identity("shop", "intern");

    // At layer 4, by the server's node.
    let denied = intern.denied("http://plain.shop/").await.unwrap();
    let more = [("policy", "shop/plain"), ("rule", "rule"), ("field", "from"), ("caller", "intern")];
    explained(&denied, "NoGrant", &more).await;
    // By the waypoint, in HTTP.
    let denied = intern.denied("http://web.shop/").await.unwrap();
    explained(&denied, "Denied", &[("policy", "shop/web"), ("rule", "rule"), ("caller", "intern")]).await;
    // By the caller's own node.
    let denied = intern.denied("http://nothing.shop.svc.cluster.local/").await.unwrap();
    explained(&denied, "UnknownDestination", &[]).await;
    let denied = planner.refused("plain.shop:81").await.unwrap();
    explained(&denied, "UnknownPort", &[]).await;
    let stranger = Client { token: "wrong".to_owned(), ..planner.clone() };
    let denied = stranger.refused("plain.shop:80").await.unwrap();
    assert_eq!(denied.status, 407, "{denied}");
    cluster.logged("one", &["reason=WrongToken"]).await;
    // In MCP: a hidden tool, an argument outside its grant, and a caller with no grant at all.
    for (parameters, field) in [
        (json!({"name": "write", "arguments": {"repo": "docs"}}), "tools"),
        (json!({"name": "search", "arguments": {"repo": "secrets"}}), "repo"),
    ] {
        let (_, answer) = mcp::call(&planner, "http://tools.shop/", "tools/call", parameters).await.unwrap();
        let id = answer["error"]["data"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let said = cluster.explained(&id).await;
        assert_eq!(said["reason"], "NoGrant", "{said}");
        assert!(said["policy"].as_str().is_some_and(|policy| policy.contains("shop/tools")), "{said}");
        assert!(said["field"].as_str().is_some_and(|said| said.contains(field)), "{said}");
    }
    let (status, answer) = mcp::call(&intern, "http://tools.shop/", "tools/list", json!({})).await.unwrap();
    assert_eq!(status, 403, "{answer}");
    let said = cluster.explained(answer["error"]["data"]["id"].as_str().unwrap()).await;
    assert_eq!(said["reason"], "NoGrant", "{said}");
    assert!(said["caller"].as_str().is_some_and(|caller| caller.contains("intern")), "{said}");

    // Past one's own node.
    let token = std::fs::read_to_string(cluster.token_file("node-one")).unwrap();
    let svid = certificate(&cluster, token.trim(), &who).await.unwrap();
    let roots = [CertificateDer::from(cluster.root().unwrap())];
    let authority = format!("{}:80", cluster.number().ip(1, 12));
    let tunnel = cluster.number().at(1, 12, 15008);
    let tried = hbone::connect(tunnel, &svid, &roots, &authority, HeaderMap::new()).await.unwrap();
    let Connected::Refused(status, headers) = tried else { panic!("it was let through") };
    explained(&Denied::of(status, &headers), "NotThroughWaypoint", &[("caller", "intern")]).await;
}
