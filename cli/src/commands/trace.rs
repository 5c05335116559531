//! `strait trace`: one call hop by hop, as the proxies of one or more clusters told it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use serde_json::Value;

use crate::{
    args::Trace,
    client::Running,
    output::{self, Form},
};

/// How many spans are looked through for the latest call that fits.
const LOOKED_THROUGH: &str = "200";
/// How many traces of what carried a call are looked up.
const CARRIERS_MAX: usize = 16;
/// What is shown of a span beside its name, in this order.
const SHOWN: [&str; 13] = [
    "strait.source",
    "strait.destination",
    "strait.upstream.identity",
    "mcp.method.name",
    "gen_ai.tool.name",
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "a2a.method",
    "http.request.method",
    "url.path",
    "http.response.status_code",
    "strait.denial.reason",
];

pub(crate) async fn run(arguments: &Trace) -> anyhow::Result<()> {
    let states = std::iter::once(&arguments.at.state).chain(&arguments.others);
    let clusters: Vec<Running> = states.map(|state| Running::find(state)).collect::<Result<_, _>>()?;
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => latest(&clusters, arguments).await?,
    };
    let mut spans = BTreeMap::new();
    gather(&clusters, &id, &mut spans).await?;
    // What carried the call has traces of its own, of which a further cluster may know more.
    let carriers: BTreeSet<String> =
        spans.keys().map(|(trace, _)| trace.clone()).filter(|it| *it != id).collect();
    for carrier in carriers.into_iter().take(CARRIERS_MAX) {
        let mut more = BTreeMap::new();
        gather(&clusters, &carrier, &mut more).await?;
        // Other calls that it carried are not this one.
        more.retain(|(trace, _), _| *trace == carrier);
        spans.extend(more);
    }
    if spans.is_empty() {
        bail!("no span of trace {id} is kept; name further clusters of the call with --and STATE");
    }
    let ordered = tree(spans.into_values().collect());
    if arguments.at.output != Form::Table {
        return output::list(
            arguments.at.output,
            &Value::Array(ordered.into_iter().map(|(_, it)| it).collect()),
        );
    }
    let lines: Vec<String> = ordered.iter().map(|(depth, span)| line(*depth, span)).collect();
    output::one(Form::Table, &Value::Null, &format!("trace {id}\n{}", lines.join("\n")))
}

/// What the clusters know of a trace.
async fn gather(
    clusters: &[Running],
    trace: &str,
    spans: &mut BTreeMap<(String, String), Value>,
) -> anyhow::Result<()> {
    for cluster in clusters {
        let told = cluster.page(&format!("/v1/spans?trace={trace}")).await?;
        for span in told.as_array().into_iter().flatten() {
            spans.insert((text(span, "trace"), text(span, "id")), span.clone());
        }
    }
    Ok(())
}

/// The trace of the latest request that fits.
async fn latest(clusters: &[Running], arguments: &Trace) -> anyhow::Result<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("last", LOOKED_THROUGH);
    let wanted = [("from", &arguments.from), ("to", &arguments.to), ("tool", &arguments.tool)];
    for (name, value) in wanted {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let page = format!("/v1/spans?{}", query.finish());
    let mut found: Option<Value> = None;
    for cluster in clusters {
        for span in cluster.page(&page).await?.as_array().into_iter().flatten() {
            // A request says more than the connection that carried it.
            let rank = |span: &Value| {
                (span["attributes"]["http.request.method"].is_string(), span["start"].as_u64())
            };
            if found.as_ref().is_none_or(|best| rank(span) > rank(best)) {
                found = Some(span.clone());
            }
        }
    }
    match found {
        Some(span) => Ok(text(&span, "trace")),
        None => bail!("no call that fits is kept: see `strait get connections` for what is open"),
    }
}

fn text(span: &Value, key: &str) -> String {
    span[key].as_str().unwrap_or_default().to_owned()
}

/// Each span after the one on whose behalf it was, or that it is linked to; with how deep it lies.
fn tree(mut spans: Vec<Value>) -> Vec<(usize, Value)> {
    spans.sort_by_key(|span| span["start"].as_u64());
    let name = |span: &Value| (text(span, "trace"), text(span, "id"));
    let held: BTreeSet<_> = spans.iter().map(name).collect();
    // A span is below its parent; one of another trace, below what it carried or what carried it.
    let above = |span: &Value| {
        let parent = span["parent"].as_str().map(|parent| (text(span, "trace"), parent.to_owned()));
        let linked = span["links"].as_array().into_iter().flatten();
        let linked = linked.map(|link| (text(link, "trace"), text(link, "span")));
        parent.into_iter().chain(linked).find(|above| held.contains(above) && *above != name(span))
    };
    let mut children: BTreeMap<_, Vec<&Value>> = BTreeMap::new();
    let mut roots = Vec::new();
    for span in &spans {
        match above(span) {
            Some(above) => children.entry(above).or_default().push(span),
            None => roots.push(span),
        }
    }
    let mut ordered = Vec::new();
    let mut seen = BTreeSet::new();
    // What links in a circle has no root: it comes last, by time.
    for root in roots.into_iter().chain(&spans) {
        let mut waiting = vec![(0, root)];
        while let Some((depth, span)) = waiting.pop() {
            if !seen.insert(name(span)) {
                continue;
            }
            ordered.push((depth, span.clone()));
            let below = children.get(&name(span)).map(Vec::as_slice).unwrap_or_default();
            waiting.extend(below.iter().rev().map(|child| (depth + 1, *child)));
        }
    }
    ordered
}

fn line(depth: usize, span: &Value) -> String {
    let indent = "  ".repeat(depth);
    let took = match span["duration"].as_u64() {
        Some(micros) => format!("{}.{:03} ms", micros / 1000, micros % 1000),
        None => "open".to_owned(),
    };
    let attributes = SHOWN.iter().filter_map(|key| {
        let value = &span["attributes"][*key];
        let shown = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{key}={shown}"))
    });
    let attributes: Vec<String> = attributes.collect();
    let error = span["error"].as_str().map(|why| format!(" FAILED: {why}")).unwrap_or_default();
    format!(
        "{indent}{} [{}] {took}{error}\n{indent}    {}",
        text(span, "name"),
        text(span, "proxy"),
        attributes.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::tree;

    #[test]
    fn spans_stand_below_what_they_were_for() {
        let span = |trace: &str, id: &str, parent: Option<&str>, links: &[(&str, &str)], start: u64| {
            let links: Vec<_> =
                links.iter().map(|(trace, span)| json!({"trace": trace, "span": span})).collect();
            json!({"trace": trace, "id": id, "parent": parent, "links": links, "start": start})
        };
        let spans = vec![
            span("r", "request", None, &[("c", "in")], 3),
            span("c", "out", None, &[], 1),
            span("c", "in", Some("out"), &[], 2),
            span("r", "call", Some("request"), &[], 4),
            span("x", "a", None, &[("x", "b")], 5),
            span("x", "b", None, &[("x", "a")], 6),
        ];
        let ids: Vec<_> = tree(spans)
            .iter()
            .map(|(depth, span)| format!("{depth}{}", span["id"].as_str().unwrap()))
            .collect();
        assert_eq!(ids, ["0out", "1in", "2request", "3call", "0a", "1b"]);
    }
}
