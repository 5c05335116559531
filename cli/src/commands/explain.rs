//! `strait explain`: why something was refused, or would be.

use anyhow::Context as _;
use serde_json::Value;

use crate::{args::Explain, client::Running, output};

pub(crate) async fn run(arguments: &Explain) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let explained = running.page(&page(arguments)?).await?;
    output::one(arguments.at.output, &explained, &people(&explained))
}

fn page(arguments: &Explain) -> anyhow::Result<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(id) = &arguments.id {
        query.append_pair("id", id);
    }
    for (name, value) in [("from", &arguments.from), ("to", &arguments.to)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    acted(&mut query, &arguments.act)?;
    Ok(format!("/v1/explain?{}", query.finish()))
}

/// Adds what is done.
pub(crate) fn acted(
    query: &mut form_urlencoded::Serializer<'_, String>,
    act: &crate::args::Act,
) -> anyhow::Result<()> {
    for (name, value) in act.parameters() {
        if matches!(name, "arg" | "claim") {
            value.split_once('=').with_context(|| {
                format!("--{name} {value:?} is not NAME=VALUE, for example --{name} repo=docs")
            })?;
        }
        query.append_pair(name, &value);
    }
    Ok(())
}

/// The lines that say something, in the order in which a person asks.
pub(crate) fn people(explained: &Value) -> String {
    const LINES: [(&str, &str); 13] = [
        ("verdict", "verdict"),
        ("reason", "reason"),
        ("meaning", "meaning"),
        ("stage", "stage"),
        ("policy", "policy"),
        ("rule", "rule"),
        ("field", "field"),
        ("detail", "detail"),
        ("caller", "caller"),
        ("target", "target"),
        ("proxy", "told by"),
        ("at", "at"),
        ("remedy", "remedy"),
    ];
    let lines = LINES.iter().filter_map(|(field, label)| {
        let text = match &explained[*field] {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{label:>8}  {text}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}
