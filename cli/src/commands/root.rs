//! `strait root`: replaces the root while everything runs.

use serde_json::Value;

use crate::{
    args::{Root, RootStep},
    client::Running,
    output,
};

pub(crate) async fn run(arguments: &Root) -> anyhow::Result<()> {
    let steps = matches!(arguments.step, RootStep::Advance | RootStep::Back);
    if !steps && !arguments.without_links.is_empty() {
        anyhow::bail!("--without-links goes with advance and back");
    }
    let running = Running::find(&arguments.at.state)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("do", arguments.step.name());
    if !arguments.without_links.is_empty() {
        query.append_pair("without", &arguments.without_links.join(","));
    }
    let page = format!("/v1/root?{}", query.finish());
    let answer = running.post(&arguments.at.state, &page, String::new()).await?;
    output::one(arguments.at.output, &answer, &people(&answer))
}

fn people(answer: &Value) -> String {
    let of = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![match answer["phase"].as_str().unwrap_or_default() {
        "settled" => "settled: one root, and no rotation under way".to_owned(),
        "distribute" => "distribute: both roots are believed, the old one signs".to_owned(),
        "sign" => "sign: both roots are believed, the new one signs".to_owned(),
        "retire" => "retire: the new root alone is believed and signs; the old key still exists".to_owned(),
        other => other.to_owned(),
    }];
    for root in answer["roots"].as_array().into_iter().flatten() {
        let does = match (root["signs"] == true, root["believed"] == true) {
            (true, _) => "signs, is believed",
            (false, true) => "is believed",
            (false, false) => "is not believed",
        };
        lines.push(format!(
            "  {} root {}, until {}: {does}",
            of(root, "which"),
            of(root, "pin"),
            of(root, "not_after")
        ));
    }
    for verb in ["advance", "back"] {
        let next = &answer[verb];
        if next.is_null() {
            continue;
        }
        let waits: Vec<&Value> = next["waits_for"].as_array().into_iter().flatten().collect();
        let ready = if waits.is_empty() { "ready" } else { "not yet:" };
        lines.push(format!("{verb} leads to {}: {ready}", of(next, "to")));
        lines.extend(waits.iter().map(|wait| format!("  {}", wait.as_str().unwrap_or_default())));
    }
    if answer["phase"] == "settled" {
        lines.push("begin a rotation with `strait root rotate`".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::people;

    #[test]
    fn who_is_not_ready_is_named() {
        let answer = json!({
            "phase": "distribute", "sequence": 2, "back": {"to": "settled", "waits_for": []},
            "roots": [{"which": "old", "pin": "sha256:a", "not_after": "2036", "signs": true, "believed": true}],
            "advance": {"to": "sign", "waits_for": ["node a is not connected"]},
        });
        let text = people(&answer);
        assert!(text.contains("advance leads to sign: not yet:\n  node a is not connected"), "{text}");
        assert!(
            text.contains("back leads to settled: ready") && text.contains("old root sha256:a"),
            "{text}"
        );
    }
}
