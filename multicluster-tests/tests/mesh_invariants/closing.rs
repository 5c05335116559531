//! 7. Existing connections survive, and a new denial closes exactly its own.

use std::time::{SystemTime, UNIX_EPOCH};

use multicluster_tests::mesh::{server::Server, until, until_some};

use crate::{
    open::{Endless, echoes},
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

    let revocation = format!(
        "
apiVersion: strait.dev/v1alpha1
kind: Revocation
metadata: {{name: planner}}
spec: {{identity: \"{}\", issuedBefore: \"{}\"}}
",
        cluster.identity("shop", "planner"),
        now()
    );
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
}

/// Now, as RFC 3339 in whole seconds.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Days since 1970 to a date, by the calendar's 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
