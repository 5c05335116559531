//! `strait check`: each problem with its cause and remedy.

use std::{path::Path, process::ExitCode, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::{args::Check, client::Running, output};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    /// Something does not work, or is refused that was meant.
    Error,
    /// Something may not be what was meant.
    Warn,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Finding {
    level: Level,
    what: String,
    cause: String,
    remedy: String,
}

impl Finding {
    fn error(what: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Error, what: what.into(), cause: cause.into(), remedy: remedy.into() }
    }

    fn warn(what: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, ..Self::error(what, cause, remedy) }
    }
}

/// Finds, prints, and says by the exit code whether something is broken.
pub(crate) async fn run(arguments: &Check) -> anyhow::Result<ExitCode> {
    let mut findings = match &arguments.pre {
        Some(files) => before(files)?,
        None => running(&Running::find(&arguments.at.state)?).await?,
    };
    findings.sort();
    findings.dedup();
    output::one(arguments.at.output, &serde_json::to_value(&findings)?, &people(&findings))?;
    let broken = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn people(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "OK    everything is healthy".to_owned();
    }
    let line = |finding: &Finding| {
        let level = if finding.level == Level::Error { "ERROR" } else { "WARN " };
        format!("{level} {}\n      cause:  {}\n      remedy: {}", finding.what, finding.cause, finding.remedy)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What must hold before a cluster is started: the folder can be read and every object is accepted.
fn before(files: &Path) -> anyhow::Result<Vec<Finding>> {
    let compiler: controlplane::watch::Compiler =
        Arc::new(|text| expr::compile(text).map(|_| ()).map_err(|error| error.to_string()));
    let input = controlplane::watch::read(vec![files.to_owned()], &compiler)?;
    let rejections = input.objects.iter().filter_map(|admitted| admitted.rejection()).chain(&input.problems);
    Ok(rejections
        .map(|rejection| {
            let object = rejection.object.as_ref().map_or_else(|| "a file".to_owned(), ToString::to_string);
            let field = if rejection.field.is_empty() { "" } else { &format!("{}: ", rejection.field) };
            Finding::error(
                format!("{object} ({}) is not accepted", rejection.place),
                format!("{field}{}", rejection.message),
                remedy(&rejection.remedy),
            )
        })
        .collect())
}

async fn running(running: &Running) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let problems = running.page("/v1/problems").await?;
    rejected(&problems, &mut findings);
    conditions(&running.page("/v1/statuses").await?, &problems, &mut findings);
    proxies(&running.page("/v1/proxies").await?, &mut findings);
    missing(&running.page("/v1/workloads").await?, &running.page("/v1/proxies").await?, &mut findings);
    services(&running.page("/v1/services").await?, &mut findings);
    certificates(&running.page("/v1/certificates").await?, &mut findings);
    Ok(findings)
}

fn rows(page: &Value) -> impl Iterator<Item = &Value> {
    page.as_array().into_iter().flatten()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

fn rejected(problems: &Value, findings: &mut Vec<Finding>) {
    for row in rows(problems) {
        findings.push(Finding::error(
            format!(
                "{} ({}) is not accepted: {}",
                text(row, "object"),
                text(row, "place"),
                text(row, "until_then")
            ),
            format!("{} {}", text(row, "field"), text(row, "message")).trim().to_owned(),
            remedy(text(row, "remedy")),
        ));
    }
}

/// What is to be done, also where the cause says it all.
fn remedy(text: &str) -> &str {
    if text.is_empty() { "write there what the cause asks for" } else { text }
}

/// Conditions of objects that are not true. The messages of statuses name the remedy. That an object is not
/// accepted was already said, with its place, where it stands among the problems.
fn conditions(statuses: &Value, problems: &Value, findings: &mut Vec<Finding>) {
    for (object, status) in statuses.as_object().into_iter().flatten() {
        let said = rows(problems).any(|row| text(row, "object") == object);
        let mut causes = Vec::new();
        for condition in every_condition(status) {
            let kind = text(condition, "type");
            let (reason, message) = (text(condition, "reason"), text(condition, "message"));
            match text(condition, "status") {
                "False" if said && kind == "Accepted" => {}
                // One cause can make several conditions false.
                "False" if causes.contains(&(reason, message)) => {}
                "False" => {
                    causes.push((reason, message));
                    findings.push(Finding::error(format!("{object} is not {kind}"), reason, message));
                }
                "Unknown" if kind == "WaypointBound" => {
                    findings.push(Finding::warn(format!("{object} has no waypoint yet"), reason, message));
                }
                _ => {}
            }
        }
    }
}

fn every_condition(status: &Value) -> Vec<&Value> {
    let mut found: Vec<&Value> = rows(&status["conditions"]).collect();
    for list in ["ancestors", "parents", "listeners"] {
        found.extend(rows(&status[list]).flat_map(|item| rows(&item["conditions"])));
    }
    found
}

fn proxies(proxies: &Value, findings: &mut Vec<Finding>) {
    for row in rows(proxies) {
        if row["current"] == false {
            findings.push(Finding::warn(
                format!("{} is behind", text(row, "proxy")),
                format!("{} resources wait for it", row["pending"]),
                "look at its log, and whether its machine is overloaded",
            ));
        }
        for refused in rows(&row["refused"]) {
            findings.push(Finding::error(
                format!("{} refused a resource", text(row, "proxy")),
                refused.as_str().unwrap_or_default(),
                "the last version that it accepted stays in force there; correct the object, or upgrade the proxy",
            ));
        }
    }
}

/// Nodes that workloads name and that are not connected.
fn missing(workloads: &Value, proxies: &Value, findings: &mut Vec<Finding>) {
    let connected: Vec<&str> = rows(proxies).map(|row| text(row, "proxy")).collect();
    let mut nodes: Vec<&str> =
        rows(workloads).map(|row| text(row, "node")).filter(|node| !node.is_empty()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        if !connected.iter().any(|proxy| proxy.rsplit(['/', ' ']).next() == Some(node)) {
            findings.push(Finding::error(
                format!("node {node} is not connected"),
                "workloads are placed on it, and no node proxy of that name is subscribed",
                format!(
                    "start it: strait run ztunnel --node {node} with the token of `strait token node {node}`"
                ),
            ));
        }
    }
}

fn services(services: &Value, findings: &mut Vec<Finding>) {
    for row in rows(services) {
        let name = format!("{}/{}", text(row, "namespace"), text(row, "name"));
        if let Some(problem) = row["problem"].as_str() {
            findings.push(Finding::error(
                format!("Service {name} refuses everybody"),
                problem,
                "name a waypoint that is there in strait.dev/use-waypoint, or take the label away",
            ));
        }
        if text(row, "endpoints").starts_with("0/") {
            findings.push(Finding::warn(
                format!("Service {name} has no healthy endpoint"),
                "no workload matches its selector",
                "check the selector against the labels of the workloads",
            ));
        }
        for port in rows(&row["open_ports"]) {
            findings.push(Finding::warn(
                format!("{name} ({}) has no policy: open to everybody", port.as_str().unwrap_or_default()),
                "no AccessPolicy targets it and its namespace's default access is open",
                "write an AccessPolicy for it, or label the namespace strait.dev/default-access: none",
            ));
        }
    }
}

fn certificates(certificates: &Value, findings: &mut Vec<Finding>) {
    for row in rows(certificates) {
        if row["valid"] == false {
            findings.push(Finding::error(
                format!("the certificate of {} has ended", text(row, "identity")),
                format!("it was valid until {}", text(row, "not_after")),
                "its node renews at half life: see whether the node is connected, and its log",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_that_is_not_true_is_found_wherever_it_stands() {
        let statuses = json!({
            "AccessPolicy shop/a": { "ancestors": [{ "conditions": [
                { "type": "Accepted", "status": "False", "reason": "ProtocolMismatch", "message": "say strait.dev/mcp" },
                { "type": "Programmed", "status": "True", "reason": "Programmed", "message": "" },
            ] }] },
            "ClusterLink west": { "conditions": [
                { "type": "ResolvedRefs", "status": "False", "reason": "NoBundle", "message": "not fetched" },
                { "type": "Programmed", "status": "False", "reason": "NoBundle", "message": "not fetched" },
            ] },
        });
        let mut findings = Vec::new();
        conditions(&statuses, &json!([]), &mut findings);
        let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what, ["AccessPolicy shop/a is not Accepted", "ClusterLink west is not ResolvedRefs"]);
    }

    #[test]
    fn a_node_without_a_proxy_is_found() {
        let workloads = json!([{ "node": "one" }, { "node": "two" }, { "node": "" }]);
        let mut findings = Vec::new();
        missing(&workloads, &json!([{ "proxy": "node one" }]), &mut findings);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].what, "node two is not connected");
    }

    #[test]
    fn healthy_is_said_in_one_line() {
        assert_eq!(people(&[]), "OK    everything is healthy");
    }
}
