//! 4. An identity is proven, never claimed.

use bytes::Bytes;
use http::Request;
use multicluster_tests::mesh::{certificate, server::Server};

use crate::shop::{allow, planner, reaches_through, shop};

#[tokio::test]
async fn mesh_invariant_4_a_token_is_good_for_what_runs_there_and_for_nothing_else() {
    let cluster = shop(&[]).await;
    let token = |owner: &str| std::fs::read_to_string(cluster.token_file(owner)).unwrap().trim().to_owned();
    let identity = |account: &str| cluster.identity("shop", account);
    let signed = async |token: &str, identity: &str| certificate(&cluster, token, identity).await.is_ok();

    assert!(signed(&token("node-one"), &identity("planner")).await);
    assert!(signed(&token("node-two"), &identity("web")).await);
    assert!(signed(&token("gateway-shop-waypoint"), &identity("waypoint")).await);

    let one = token("node-one");
    for other in ["web", "waypoint", "nobody", "default"] {
        assert!(!signed(&one, &identity(other)).await, "node one got {other}");
    }
    assert!(!signed(&one, &cluster.identity("strait-system", "controlplane")).await);
    assert!(!signed(&one, "spiffe://other.test/ns/shop/sa/planner").await);
    for (owner, account) in
        [("node-two", "planner"), ("gateway-shop-waypoint", "planner"), ("workload-shop-planner", "planner")]
    {
        assert!(!signed(&token(owner), &identity(account)).await, "{owner} got {account}");
    }
    let forged = format!("{}0", &one[..one.len() - 1]);
    let forged = if forged == one { format!("{}1", &one[..one.len() - 1]) } else { forged };
    for bearer in [forged.as_str(), "", "node~one~", "node~one"] {
        assert!(!signed(bearer, &identity("planner")).await, "{bearer:?} was believed");
    }

    // Who moved away takes his identity with him.
    let moved = crate::shop::WORKLOADS
        .replace("serviceAccount: planner, node: one", "serviceAccount: planner, node: two");
    cluster.write("workloads.yaml", &moved).unwrap();
    multicluster_tests::mesh::until("node two may", async || {
        signed(&token("node-two"), &identity("planner")).await
    })
    .await;
    assert!(!signed(&one, &identity("planner")).await, "it runs there no more");
}

#[tokio::test]
async fn mesh_invariant_4_what_a_client_says_of_who_it_is_is_replaced() {
    let cluster = shop(&[("web.yaml", &allow("web", "web", &["planner"]))]).await;
    let web = Server::web(&cluster.socket("web"), "web").unwrap();
    let planner = planner(&cluster);
    let said = reaches_through(&planner, "http://web.shop/").await;
    let own = cluster.identity("shop", "planner");
    assert_eq!(said, format!("web / for {own}"));

    let admin = format!("By=x;URI={}", cluster.identity("shop", "admin"));
    let request = Request::get("http://web.shop/forged")
        .header("x-forwarded-client-cert", &admin)
        .header("X-Forwarded-Client-Cert", &admin)
        .header("x-strait-origin", cluster.identity("shop", "admin"))
        .header("connection", "x-forwarded-client-cert")
        .body(Bytes::new())
        .unwrap();
    let answer = planner.request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let asked = web.asked();
    let seen = asked.iter().find(|request| request.uri().path() == "/forged").unwrap();
    let certs: Vec<&str> = seen
        .headers()
        .get_all("x-forwarded-client-cert")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(certs.len(), 1, "{certs:?}");
    assert!(certs[0].ends_with(&format!("URI={own}")), "{certs:?}");
    assert!(!format!("{seen:?}").contains("admin"), "{seen:?}");
}
