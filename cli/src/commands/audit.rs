//! `strait audit` and `strait try`: what a policy would have refused.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    args::{Audit, Try},
    client::Running,
    output::{self, Form},
};

/// Who a policy in audit mode would have refused.
pub(crate) async fn audit(arguments: &Audit) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("policy", &arguments.policy).append_pair("since", &arguments.since.to_string());
    let decided = running.page(&format!("/v1/decisions?{}", query.finish())).await?;
    let decided = once(decided.as_array().cloned().unwrap_or_default());
    let judged: u64 = decided.iter().filter_map(|row| row["count"].as_u64()).sum();
    let rows = refused(&decided);
    if arguments.at.output == Form::Table {
        let would: u64 = rows.iter().filter_map(|row| row["count"].as_u64()).sum();
        println!("{} judged {judged} calls, and would have refused {would} of them", arguments.policy);
        if judged == 0 {
            println!("is it there, in mode Audit, and was anything called? See `strait get policies`");
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
    output::list(arguments.at.output, &Value::Array(rows))
}

/// Each call once: one is judged where it was addressed and again at its endpoint, by one proxy. What was addressed at
/// an endpoint itself is judged there only, and stays.
fn once(decided: Vec<Value>) -> Vec<Value> {
    const SAME: [&str; 8] = ["proxy", "source", "protocol", "method", "object", "user", "host", "path"];
    let call = |row: &Value| SAME.map(|key| row[key].as_str().unwrap_or_default().to_owned());
    let behind = |row: &Value| row["place"] == "workload";
    let addressed: BTreeSet<_> = decided.iter().filter(|row| !behind(row)).map(call).collect();
    decided.into_iter().filter(|row| !behind(row) || !addressed.contains(&call(row))).collect()
}

/// Those that would have been refused, most first; what they agree in is one row.
fn refused(decided: &[Value]) -> Vec<Value> {
    let mut found: BTreeMap<[String; 6], (u64, String)> = BTreeMap::new();
    for row in decided.iter().filter(|row| row["verdict"] == "would-refuse") {
        let of = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let key = ["source", "destination", "method", "object", "user", "reason"].map(of);
        let (count, last) = found.entry(key).or_default();
        *count += row["count"].as_u64().unwrap_or_default();
        *last = std::cmp::max(std::mem::take(last), of("last"));
    }
    let mut rows: Vec<_> = found.into_iter().collect();
    rows.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let row = |([source, destination, method, object, user, reason], (count, last)): ([String; 6], _)| {
        json!({"source": source, "destination": destination, "method": method, "object": object, "user": user,
            "reason": reason, "count": count, "last": last})
    };
    rows.into_iter().map(row).collect()
}

/// What objects that are not applied would have changed.
pub(crate) async fn attempt(arguments: &Try) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let text = std::fs::read_to_string(&arguments.file)
        .with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let page = format!("/v1/try?since={}", arguments.since);
    let answer = running.post(&arguments.at.state, &page, text).await?;
    if arguments.at.output != Form::Table {
        return output::list(arguments.at.output, &answer);
    }
    let changes = answer["changes"].as_array().cloned().unwrap_or_default();
    let sum = |verdict: &str| -> u64 {
        changes.iter().filter(|row| row["would_be"] == verdict).filter_map(|row| row["count"].as_u64()).sum()
    };
    println!(
        "of {} decisions, {} would be refused, {} granted that were refused, {} hang on what is not kept",
        answer["decisions"],
        sum("refused"),
        sum("granted"),
        sum("depends")
    );
    if changes.is_empty() {
        return Ok(());
    }
    let columns =
        ["would_be", "source", "destination", "protocol", "method", "object", "count", "last", "why"];
    output::columns(Form::Table, changes, &columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_where_it_was_addressed_and_not_again_at_its_endpoint() {
        let row = |proxy: &str, place: &str, host: &str, verdict: &str, count: u64| {
            json!({"proxy": proxy, "place": place, "host": host, "source": "planner", "verdict": verdict,
                "count": count, "last": "now"})
        };
        let decided = vec![
            row("waypoint", "service", "tools", "would-refuse", 3),
            row("waypoint", "workload", "tools", "would-refuse", 3),
            row("waypoint", "service", "tools", "would-grant", 4),
            row("waypoint", "workload", "tools", "would-grant", 4),
            // Addressed by the address of the workload, and at a node that has no waypoint.
            row("waypoint", "workload", "10.0.0.1", "would-refuse", 1),
            row("node", "workload", "", "would-refuse", 2),
        ];
        let once = once(decided);
        let sum = |rows: &[Value]| -> u64 { rows.iter().filter_map(|row| row["count"].as_u64()).sum() };
        assert_eq!((sum(&once), sum(&refused(&once))), (10, 6));
    }
}
