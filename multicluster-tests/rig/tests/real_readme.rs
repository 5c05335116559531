//! Every command of the rig's README, in order, as a reader would type them.

mod common;

use std::process::Stdio;

use anyhow::{Context, ensure};
use common::skipped;
use rig::remains;

/// What a reader types before what `rig` is told.
const BEFORE: &str = "cargo xtask rig ";

#[tokio::test]
async fn the_readme_works_as_it_is_written() -> anyhow::Result<()> {
    if skipped("the_readme_works_as_it_is_written") {
        return Ok(());
    }
    let commands = commands(include_str!("../README.md"));
    ensure!(commands.len() > 12, "the README has commands: {commands:?}");
    let id = format!("d{}", std::process::id());
    let mut failed = Vec::new();
    for line in &commands {
        let words = common::words(line.strip_prefix(BEFORE).context("a command of the rig")?);
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_rig"))
            .args(["--id", &id])
            .args(&words)
            .stdin(Stdio::null())
            .output()
            .await?;
        if !output.status.success() || (output.stdout.is_empty() && !line.contains(" up ")) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            failed.push(format!(
                "$ {line}\n{}: {}{stderr}",
                output.status,
                String::from_utf8_lossy(&output.stdout)
            ));
        }
    }
    let left = remains(&id);
    // Whatever failed, nothing stays.
    rig::Rig::remove(&id)?;
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(left.is_empty(), "the README's last command leaves:\n{}", left.join("\n"));
    Ok(())
}

/// The rig's commands in the README's shell blocks.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && line.starts_with(BEFORE) => found.push(line),
            _ => {}
        }
    }
    found
}
