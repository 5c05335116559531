//! A keeper against the real authority, over the certificate service, without a network between them.

// A failure here is a failure of the test, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, SystemTime},
};

use authority::{
    Authority, Bearer, Placement, Root, Serial,
    serve::{CallerError, Callers, Roots},
};
use identity::{CertificateClient, Keeper, Row, TokenFile};
use mesh::{Identity, names::NodeName};
use runtime::{Drain, Phase};
use transport::Credentials as _;

const HOUR: Duration = Duration::from_secs(3600);

struct OneToken;

impl Callers for OneToken {
    async fn identify(&self, token: &str) -> Result<Bearer, CallerError> {
        match token {
            "node-a" => Ok(Bearer::Node("a".into())),
            _ => Err(CallerError::Rejected("nobody's".to_owned())),
        }
    }
}

struct Placed;

impl Placement for Placed {
    fn runs_on(&self, node: &NodeName, identity: &Identity) -> bool {
        node.as_str() == "a" && ["planner", "intern"].iter().any(|name| id(name) == *identity)
    }
}

fn id(name: &str) -> Identity {
    format!("spiffe://east.example/ns/shop/sa/{name}").parse().unwrap()
}

fn root(byte: u8) -> Root {
    let serial = Serial::from_random([byte; 16]);
    Root::generate(&"east.example".parse().unwrap(), 24 * HOUR, SystemTime::now(), serial).unwrap()
}

fn authority() -> Arc<Authority<OneToken, Placed>> {
    let counter = AtomicU8::new(0);
    let sources = authority::serve::Sources {
        now: Arc::new(SystemTime::now),
        random: Arc::new(move || [counter.fetch_add(1, Ordering::Relaxed); 16]),
    };
    let roots = Roots::new(root(1), [root(2).certificate_der().to_vec()]);
    Arc::new(Authority::new(authority::serve::Config::default(), sources, OneToken, Placed, roots))
}

fn keeper(token: &Path) -> (Keeper, Drain, tokio::task::JoinHandle<()>, Arc<Authority<OneToken, Placed>>) {
    let sources = identity::Sources { now: Arc::new(SystemTime::now), chance: Arc::new(|| 0) };
    let keeper = Keeper::new(identity::Config::default(), sources, None);
    let authority = authority();
    let client = CertificateClient::new(authority.service(), Arc::new(TokenFile(token.to_owned())), HOUR);
    let drain = Drain::new();
    let running = tokio::spawn({
        let (keeper, watch) = (keeper.clone(), drain.watch());
        async move { keeper.run(client, watch).await }
    });
    (keeper, drain, running, authority)
}

async fn failure(keeper: &Keeper, name: &str) -> String {
    loop {
        let row: Option<Row> = keeper.report().into_iter().find(|row| row.identity == id(name));
        if let Some(why) = row.and_then(|row| row.last_failure) {
            return why;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_node_gets_what_runs_on_it_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "node-a\n").unwrap();
    let (keeper, drain, running, authority) = keeper(&token);
    keeper.set_wanted(&BTreeSet::from([id("planner"), id("intern"), id("waypoint")]));
    for name in ["planner", "intern"] {
        let credential = keeper.wait(&id(name)).await.unwrap();
        assert_eq!(credential.identity(), &id(name));
        let remaining = credential.own().not_after.duration_since(SystemTime::now()).unwrap();
        assert!(remaining <= HOUR && remaining > HOUR - Duration::from_secs(60));
        let roots = &credential.bundles()[id(name).trust_domain()];
        assert_eq!(roots.as_slice(), authority.roots().trusted());
    }
    assert!(failure(&keeper, "waypoint").await.contains("PermissionDenied"));
    assert!(keeper.current(&id("waypoint")).is_err());
    drain.advance(Phase::Closing);
    running.await.unwrap();
}

#[tokio::test]
async fn without_a_good_token_there_is_no_certificate_and_a_new_token_is_used_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let (keeper, drain, running, _authority) = keeper(&token);
    keeper.set_wanted(&BTreeSet::from([id("planner")]));
    assert!(failure(&keeper, "planner").await.contains("cannot read the token"));
    std::fs::write(&token, "stolen").unwrap();
    while !failure(&keeper, "planner").await.contains("Unauthenticated") {
        tokio::task::yield_now().await;
    }
    std::fs::write(&token, "node-a").unwrap();
    assert!(keeper.wait(&id("planner")).await.is_ok());
    drain.advance(Phase::Closing);
    running.await.unwrap();
}
