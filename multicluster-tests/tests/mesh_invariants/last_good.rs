//! 6. Last good wins, at the door.

use std::time::SystemTime;

use multicluster_tests::mesh::{server::Server, until, until_some};

use crate::shop::{allow, intern, planner, policy, reaches, reaches_through, shop};

const PROXIES: [&str; 3] = ["one", "two", "shop/waypoint"];

#[tokio::test]
async fn mesh_invariant_6_a_bad_edit_leaves_the_old_in_force_and_the_rest_applies() {
    let plain = allow("plain", "plain", &["planner"]);
    let cluster = shop(&[("plain.yaml", &plain)]).await;
    let _plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let _web = Server::web(&cluster.socket("web"), "web").unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    reaches(&planner, "http://plain.shop/").await;
    reaches_through(&intern, "http://web.shop/").await;
    assert_eq!(intern.denied("http://plain.shop/").await.unwrap().reason, "NoGrant");

    // In one file: an edit that would let everybody in, if it were read halfway, and a new policy that is good.
    let bad = plain.replace("serviceAccounts: [shop/planner]", "anyone: true, unheardOf: 1");
    assert_ne!(bad, plain);
    let good = policy("web", "web", "Deny", "from: [{serviceAccounts: [shop/intern]}]");
    cluster.write("plain.yaml", &format!("{bad}---{good}")).unwrap();
    until("the good part is in force", async || {
        intern.denied("http://web.shop/").await.is_ok_and(|denied| denied.reason == "Denied")
    })
    .await;
    reaches(&planner, "http://plain.shop/").await;
    assert_eq!(intern.denied("http://plain.shop/").await.unwrap().reason, "NoGrant");
    let problem = until_some("the problem is told", async || {
        let problems = cluster.page("/v1/problems").await?;
        let all = problems.as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|problem| problem.to_string().contains("unheardOf"))
            .ok_or_else(|| anyhow::anyhow!("only {problems}"))
    })
    .await;
    assert_eq!(problem["object"], "AccessPolicy shop/plain");
    assert!(problem["place"].as_str().is_some_and(|place| place.contains("plain.yaml:")), "{problem}");

    // Broken as YAML altogether: still the old.
    cluster.write("plain.yaml", "{[").unwrap();
    until_some("that is told too", async || {
        let problems = cluster.page("/v1/problems").await?.to_string();
        if problems.contains("plain.yaml") && !problems.contains("unheardOf") {
            Ok(())
        } else {
            Err(anyhow::anyhow!(problems))
        }
    })
    .await;
    reaches(&planner, "http://plain.shop/").await;
    assert_eq!(intern.denied("http://plain.shop/").await.unwrap().reason, "NoGrant");
    assert_eq!(intern.denied("http://web.shop/").await.unwrap().reason, "Denied");
}

#[tokio::test]
async fn mesh_invariant_6_proxies_that_lost_their_control_plane_go_on_also_after_a_restart() {
    let plain = allow("plain", "plain", &["planner"]);
    let web = allow("web", "web", &["planner"]);
    let mut cluster = shop(&[("plain.yaml", &plain), ("web.yaml", &web)]).await;
    let _plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let _web = Server::web(&cluster.socket("web"), "web").unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    reaches(&planner, "http://plain.shop/").await;
    reaches_through(&planner, "http://web.shop/").await;

    // What is told is put on disk a little later: an edit more, so that all before it is there for sure.
    let edited = SystemTime::now();
    let more = |service| {
        policy(&format!("more-{service}"), service, "Deny", "from: [{serviceAccounts: [shop/nobody]}]")
    };
    cluster.write("more.yaml", &format!("{}---{}", more("plain"), more("web"))).unwrap();
    for program in PROXIES {
        cluster.stored_since(program, edited).await;
    }

    cluster.kill("controlplane").unwrap();
    reaches(&planner, "http://plain.shop/").await;
    for program in PROXIES {
        cluster.kill(program).unwrap();
    }
    cluster.start_proxies().unwrap();
    cluster.ready().await;
    reaches(&planner, "http://plain.shop/").await;
    reaches_through(&planner, "http://web.shop/").await;
    assert_eq!(intern.denied("http://plain.shop/").await.unwrap().reason, "NoGrant");
    assert_eq!(intern.denied("http://web.shop/").await.unwrap().reason, "NoGrant");

    // And the control plane finds them where it left them; an edit reaches them again.
    cluster.start_control_plane().await.unwrap();
    cluster.write("plain.yaml", &allow("plain", "plain", &["planner", "intern"])).unwrap();
    reaches(&intern, "http://plain.shop/").await;
}

#[tokio::test]
async fn mesh_invariant_6_damaged_state_is_none_and_none_lets_nobody_through() {
    let mut cluster = shop(&[("plain.yaml", &allow("plain", "plain", &["planner"]))]).await;
    let plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let (planner, intern) = (planner(&cluster), intern(&cluster));
    reaches(&planner, "http://plain.shop/").await;
    let asked = plain.asked().len();
    cluster.stored_since("two", SystemTime::UNIX_EPOCH).await;
    cluster.kill("controlplane").unwrap();
    cluster.kill("two").unwrap();
    let file = cluster.folder().join("proxies/two/resources");
    let mut stored = std::fs::read(&file).unwrap();
    let middle = stored.len() / 2;
    stored[middle] ^= 1;
    std::fs::write(&file, stored).unwrap();
    cluster.start_node("two").unwrap();
    // It says that it is not ready, and serves nobody.
    until("node two answers that it is not ready", async || {
        let page = cluster.proxy_page("two", "/healthz/ready").await;
        page.is_err_and(|error| error.to_string().contains("503"))
    })
    .await;
    for client in [&planner, &intern] {
        client.denied("http://plain.shop/").await.unwrap();
    }
    assert_eq!(plain.asked().len(), asked);
    // Told again, it serves again.
    cluster.start_control_plane().await.unwrap();
    reaches(&planner, "http://plain.shop/").await;
    assert_eq!(intern.denied("http://plain.shop/").await.unwrap().reason, "NoGrant");
}
