//! 7. Existing connections survive, and a new denial closes exactly its own.

use multicluster_tests::mesh::{server::Server, until, until_some};

use crate::{
    open::{Endless, echoes},
    revocation::revocation,
    shop::{allow, intern, planner, policy, reaches_through, shop},
};

#[tokio::test]
async fn mesh_invariant_7_a_denial_closes_its_own_connection_and_no_change_closes_another() {
    let grants = allow("plain", "plain", &["planner", "intern"]);
    let cluster = shop(&[("plain.yaml", &grants)]).await;
    let plain = Server::echo(&cluster.socket("plain")).unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    let mut kept = until_some("planner connects", async || planner.open("plain.shop:80").await).await;
    let mut cut = until_some("intern connects", async || intern.open("plain.shop:80").await).await;
    assert!(echoes(&mut kept, "one").await && echoes(&mut cut, "one").await);
    let connections = plain.asked().len();

    // Unrelated: another policy, another Service's edit, a workload more; and a rule more that changes nothing here.
    let deny_web = policy("web", "web", "Deny", "from: [{serviceAccounts: [shop/intern]}]");
    cluster.write("web.yaml", &deny_web).unwrap();
    until("the other policy is in force", async || {
        intern.denied("http://web.shop/").await.is_ok_and(|denied| denied.reason == "Denied")
    })
    .await;
    cluster.write("plain.yaml", &allow("plain", "plain", &["planner", "intern", "web"])).unwrap();
    cluster.write("later.yaml", &allow("later", "tools", &["planner"])).unwrap();
    until("the last of these is in force", async || {
        intern.denied("http://tools.shop/").await.is_ok_and(|denied| denied.reason == "NoGrant")
    })
    .await;
    assert!(echoes(&mut kept, "two").await && echoes(&mut cut, "two").await);

    let deny = policy("deny", "plain", "Deny", "from: [{serviceAccounts: [shop/intern]}]");
    cluster.write("deny.yaml", &deny).unwrap();
    until("intern's connection is closed", async || !echoes(&mut cut, "three").await).await;
    assert!(echoes(&mut kept, "three").await, "planner's is not");
    assert_eq!(intern.refused("plain.shop:80").await.unwrap().reason, "Denied");

    // The grant withdrawn does the same as a Deny.
    cluster.write("plain.yaml", &allow("plain", "plain", &["web"])).unwrap();
    until("planner's connection is closed", async || !echoes(&mut kept, "four").await).await;
    assert_eq!(plain.asked().len(), connections, "nobody came in anew");
}

#[tokio::test]
async fn mesh_invariant_7_of_two_callers_through_one_waypoint_a_revocation_closes_one() {
    let web = allow("web", "web", &["planner", "intern"]);
    let cluster = shop(&[("web.yaml", &web)]).await;
    let server = Server::web(&cluster.socket("web"), "web").unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    reaches_through(&planner, "http://web.shop/").await;
    reaches_through(&intern, "http://web.shop/").await;
    // The server's node hears from each as himself, though both came by the same waypoint.
    let by = cluster.identity("shop", "waypoint");
    for account in ["planner", "intern"] {
        let who = cluster.identity("shop", account);
        assert!(
            server.asked().iter().any(|request| multicluster_tests::mesh::server::caller(request) == who)
        );
    }
    let gone = Endless::begin(&planner, "http://web.shop/endless").await.unwrap();
    let stays = Endless::begin(&intern, "http://web.shop/endless").await.unwrap();
    until("both are fed", async || gone.count() > 2 && stays.count() > 2).await;

    let revocation = revocation(&cluster.identity("shop", "planner"));
    cluster.write("revocation.yaml", &revocation).unwrap();
    until("planner's stream is closed", async || gone.ended().is_some()).await;
    let seen = stays.count();
    until("intern's goes on", async || stays.count() > seen + 5).await;
    assert_eq!(stays.ended(), None);

    // A certificate that was issued since is good.
    reaches_through(&planner, "http://web.shop/").await;
    assert_eq!(stays.ended(), None);
    drop(stays);
    for account in ["planner", "intern"] {
        let who = format!("src.identity={}", cluster.identity("shop", account));
        let line = cluster.logged("two", &["direction=inbound", &who, &by]).await;
        assert!(line.contains(&by), "{line}");
    }
}

#[tokio::test]
async fn mesh_invariant_7_the_node_judges_each_caller_behind_a_waypoint_as_himself() {
    let web = allow("web", "web", &["planner", "intern"]);
    let cluster = shop(&[("web.yaml", &web)]).await;
    let _web = Server::web(&cluster.socket("web"), "web").unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    reaches_through(&planner, "http://web.shop/").await;
    reaches_through(&intern, "http://web.shop/").await;
    let cut = Endless::begin(&intern, "http://web.shop/endless").await.unwrap();
    let stays = Endless::begin(&planner, "http://web.shop/endless").await.unwrap();
    until("both are fed", async || cut.count() > 2 && stays.count() > 2).await;
    let deny = policy("deny", "web", "Deny", "from: [{serviceAccounts: [shop/intern]}]");
    cluster.write("deny.yaml", &deny).unwrap();
    until("intern's stream is closed", async || cut.ended().is_some()).await;
    let seen = stays.count();
    until("planner's goes on", async || stays.count() > seen + 5).await;
    assert_eq!(stays.ended(), None);
    assert_eq!(intern.denied("http://web.shop/").await.unwrap().reason, "Denied");
    // The Deny gave the port another set; what ends a grant in that one is heard as well.
    cluster.write("web.yaml", &allow("web", "web", &["intern"])).unwrap();
    until("planner's stream is closed", async || stays.ended().is_some()).await;
}
