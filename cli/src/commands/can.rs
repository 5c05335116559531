//! `strait can`, `who-can` and `reach`: what would be.

use std::process::ExitCode;

use serde_json::Value;

use super::explain::{acted, people};
use crate::{
    args::{Can, Reach, WhoCan},
    client::Running,
    output::{self, Form},
};

/// Exits with 0 if it may, else with 1.
pub(crate) async fn can(arguments: &Can) -> anyhow::Result<ExitCode> {
    let running = Running::find(&arguments.at.state)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("from", &arguments.who).append_pair("to", &arguments.what);
    acted(&mut query, &arguments.act)?;
    let answer = running.page(&format!("/v1/can?{}", query.finish())).await?;
    output::one(arguments.at.output, &answer, &people(&answer))?;
    Ok(if answer["verdict"] == "granted" { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(crate) async fn who_can(arguments: &WhoCan) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("to", &arguments.what);
    acted(&mut query, &arguments.act)?;
    let rows = running.page(&format!("/v1/who-can?{}", query.finish())).await?;
    show(arguments.at.output, rows, arguments.all, &["who", "verdict", "policy", "rule", "reason", "detail"])
}

pub(crate) async fn reach(arguments: &Reach) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("from", &arguments.who);
    if let Some(user) = &arguments.user {
        query.append_pair("user", user);
    }
    let rows = running.page(&format!("/v1/reach?{}", query.finish())).await?;
    show(
        arguments.at.output,
        rows,
        arguments.all,
        &["what", "protocol", "verdict", "policy", "rule", "reason", "detail"],
    )
}

/// Those that are granted, or all of them.
fn show(form: Form, rows: Value, all: bool, columns: &[&str]) -> anyhow::Result<()> {
    let Value::Array(rows) = rows else { anyhow::bail!("the control plane answered no list") };
    let kept = rows.into_iter().filter(|row| all || row["verdict"] == "granted");
    output::columns(form, kept.collect(), columns)
}
