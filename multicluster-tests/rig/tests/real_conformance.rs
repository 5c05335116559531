//! The official suite of the Gateway API against an API server without any implementation: it lists its tests, it
//! connects, and what it says in the end is a verdict, not a fault of the rig.

mod common;

use anyhow::ensure;
use common::skipped;
use rig::{
    Small,
    conformance::{Ask, End, list},
};

fn ask(run_test: Option<&str>) -> Ask {
    Ask {
        gateway_class: "strait".into(),
        run_test: run_test.map(str::to_owned),
        // There is no class to wait for.
        flags: vec!["-timeout-config-overrides=GWCMustBeAccepted:1".into()],
        ..Ask::default()
    }
}

#[tokio::test]
async fn without_an_implementation_the_suite_fails_cleanly() -> anyhow::Result<()> {
    if skipped("without_an_implementation_the_suite_fails_cleanly") {
        return Ok(());
    }
    let listed = list().await?;
    ensure!(listed.len() == 170, "the suite of 1.7.0 has 170 tests, not {}", listed.len());

    let small = Small::up().await?;
    for run_test in [None, Some("HTTPRouteWeight")] {
        let outcome = small.conformance(&ask(run_test), &mut |ended| println!("{ended}")).await?;
        println!("{outcome}");
        ensure!(matches!(outcome.end, End::NotBegun(_)), "{run_test:?}: {:?}", outcome.end);
        ensure!(outcome.code() == 1);
    }
    let unknown = small.conformance(&ask(Some("HTTPRouteWait")), &mut |_| {}).await;
    let error = unknown.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(error.contains("no test named HTTPRouteWait"), "{error}");
    Ok(())
}
