//! `rig conformance`.

use std::process::ExitCode;

use super::arguments::{Conformance, Output, Suite};
use crate::{
    Rig,
    conformance::{Ask, Listed, list},
};

/// The code of what is no verdict of the suite.
const FAULT: u8 = 2;

/// Runs the suite; the code is 0 when all passed, 1 for its verdict against the implementation, 2 for all else.
pub(super) async fn conformance(id: &str, asked: &Conformance) -> ExitCode {
    match run(id, asked).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rig: {error:#}");
            ExitCode::from(FAULT)
        }
    }
}

async fn run(id: &str, asked: &Conformance) -> anyhow::Result<ExitCode> {
    let Suite::GatewayApi = asked.suite;
    if asked.list {
        show(&list().await?, asked.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rig = Rig::attach(id).await?;
    let ask = Ask {
        gateway_class: asked.gateway_class.clone(),
        run_test: asked.run_test.clone(),
        profiles: asked.profiles.clone(),
        all_features: asked.all_features,
        flags: asked.flags.clone(),
    };
    let outcome = rig.conformance(asked.cluster, &ask, &mut |ended| eprintln!("{ended}")).await?;
    match asked.output {
        Output::Text => print!("\n{outcome}"),
        Output::Json => println!("{:#}", outcome.json()),
    }
    Ok(ExitCode::from(outcome.code()))
}

fn show(tests: &[Listed], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(tests)?);
        return Ok(());
    }
    for test in tests {
        let profiles: Vec<String> =
            test.profiles.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        println!("{:<64} {}", test.name, profiles.join(", "));
    }
    let count = |wanted: fn(&&Listed) -> bool| tests.iter().filter(wanted).count();
    println!(
        "\n{} tests: {} run beside others, {} are provisional, {} are in no profile.",
        tests.len(),
        count(|test| test.parallel),
        count(|test| test.provisional),
        count(|test| test.profiles.is_empty()),
    );
    Ok(())
}
