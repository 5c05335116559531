//! The tests of the suite, as the suite itself lists them.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use rig_programs::Program;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{Progress, programs::Programs};

/// The suite asks nobody for its list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// A test of the suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The features that it needs.
    pub features: Vec<String>,
    /// Whether it runs beside others.
    pub parallel: bool,
    /// Whether it may be left out without harm to a report.
    pub provisional: bool,
    /// The profiles that count it, each with `core` or `extended`.
    pub profiles: BTreeMap<String, String>,
}

/// Asks the suite for its tests, in its order.
///
/// # Errors
/// When the suite cannot be built, or does not answer.
pub async fn list() -> anyhow::Result<Vec<Listed>> {
    let programs = Programs::of_conformance(&Progress::spoken()).await?;
    let mut command = tokio::process::Command::new(programs.path(Program::GatewayConformance));
    command.arg("-test.run=^TestList$").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIST_TIMEOUT, command.output())
        .await
        .context("the suite did not list its tests in time")?
        .context("cannot start the suite")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the suite cannot list its tests: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    read(&text)
}

fn read(text: &str) -> anyhow::Result<Vec<Listed>> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("not a test: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_read_and_other_lines_are_not() {
        let text = concat!(
            r#"{"name":"MeshBasic","features":["Mesh"],"parallel":false,"provisional":true,"profiles":{"MESH-HTTP":"core"}}"#,
            "\nPASS\n"
        );
        let listed = read(text).expect("one test");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].profiles["MESH-HTTP"], "core");
        assert!(read("{\"name\":1}").is_err());
    }
}
