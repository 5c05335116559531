//! Step 13: a person outside the mesh comes in over HTTPS, with a token, to one agent and to no other.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::Value;

use super::scene::{PLANNER, SPLIT_OF, Scene, explained, one_in_ten, until};
use crate::{
    client,
    demo::{
        people::{HOST, TokenIssuer},
        stage::Stage,
        visitor::{Answered, Visitor},
    },
};

/// As whom the gateway calls the agents behind it: of who came in it knows no workload.
const EDGE: &str = "spiffe://east.demo/ns/agents/sa/edge";
/// The versions of planner.
const VERSIONS: [&str; 2] = ["planner", "planner-v2"];

pub(super) async fn run(stage: &mut Stage, canary: &str) -> anyhow::Result<Scene> {
    let secrets = &stage.secrets;
    let visitor = Visitor::new(HOST, stage.edge(), &secrets.shown.root)?;
    let ann = secrets.issuer.token("ann", "docs")?;
    let bob = secrets.issuer.token("bob", "staff")?;
    let forged = TokenIssuer::make()?.token("ann", "docs")?;
    let open = until(|| async { Ok(visitor.get("/planner", None).await.is_ok()) }).await?;
    anyhow::ensure!(open.is_some(), "nobody answers at {}", stage.edge());

    let nobody = visitor.get("/planner", None).await?;
    let stranger = visitor.get("/planner", Some(&forged)).await?;
    let elsewhere = visitor.get("/intern", Some(&ann)).await?;
    let other = visitor.get("/planner", Some(&bob)).await?;
    let asked = visitor.get(&format!("/planner?q={canary}"), Some(&ann)).await?;
    let found = asked.body["found"].as_str().unwrap_or("nothing").to_owned();
    // The connection is kept for whoever comes in next.
    let as_edge = client::text(stage.east.node_admin("east-1")?, "/v1/connections").await?.contains(EDGE);
    let [first, second] = split(&visitor, &ann).await?;
    let told = until(|| async { Ok(known_as(stage).await?.contains("ann")) }).await?.is_some();
    let why = explained(&stage.east, elsewhere.denied().0).await?;
    let why = |field: &str| why[field].as_str().unwrap_or("?").to_owned();

    let refused = |answer: &Answered, status: u16, reason: &str| {
        answer.status == status && answer.denied().1 == reason && answer.body["app"].is_null()
    };
    let ok = refused(&nobody, 401, "UserMissing")
        && nobody.header("www-authenticate").starts_with("Bearer")
        && refused(&stranger, 401, "UserInvalid")
        && refused(&elsewhere, 403, "NoGrant")
        && refused(&other, 403, "NoGrant")
        && asked.status == 200
        && found.contains(canary)
        && found.contains(PLANNER)
        && as_edge
        && asked.body["saw_token"] == false
        && told
        && first + second == SPLIT_OF
        && one_in_ten(second);
    Ok(Scene::new(
        ok,
        format!(
            "https://{HOST}/planner without a token: {} {}; with one that somebody else signed: {} {}\n\
             ann, of docs, at intern: {} {} by {}; bob, of staff, at planner: {} {}\n\
             ann at planner: {} {:?}\n\
             planner's node was called by {}, and planner saw a token: {}; the gateway knows her as {}\n\
             {SPLIT_OF} requests of ann: {first} to planner, {second} to planner-v2",
            nobody.status,
            nobody.denied().1,
            stranger.status,
            stranger.denied().1,
            elsewhere.status,
            why("reason"),
            why("policy"),
            other.status,
            other.denied().1,
            asked.status,
            found.replace(canary, "canary-…"),
            if as_edge { EDGE } else { "somebody else" },
            asked.body["saw_token"],
            known_as(stage).await?,
        ),
        "the edge verifies the token, judges by route who may come to which agent, splits by weight, and keeps the token \
         for itself: planner asks its tool as planner, whoever came in",
    ))
}

/// How many of [`SPLIT_OF`] requests each version of planner answered.
async fn split(visitor: &Visitor, token: &str) -> anyhow::Result<[u64; 2]> {
    let mut counts = [0; 2];
    for _ in 0..SPLIT_OF {
        let answer = visitor.get("/planner", Some(token)).await?;
        let version = VERSIONS.iter().position(|name| answer.body["app"] == *name);
        let version = version.with_context(|| format!("{} {}", answer.status, answer.body))?;
        counts[version] += 1;
    }
    Ok(counts)
}

/// The people that the gateway's own spans name, with their issuers.
async fn known_as(stage: &Stage) -> anyhow::Result<String> {
    let admin = stage.east.gateway_admin("agents", "edge")?;
    let spans: Value = serde_json::from_str(&client::text(admin, "/v1/spans").await?)?;
    let of = |span: &Value, key: &str| span["attributes"][key].as_str().map(str::to_owned);
    let named = spans.as_array().into_iter().flatten().filter_map(|span| {
        Some(format!("{} of {}", of(span, "strait.user.subject")?, of(span, "strait.user.issuer")?))
    });
    let named: BTreeSet<String> = named.collect();
    Ok(named.into_iter().collect::<Vec<_>>().join(", "))
}
