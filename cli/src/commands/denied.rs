//! `strait denied`: what was refused lately, and what is refused while one looks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    args::Denied,
    client::Running,
    output::{self, Form},
};

/// How often is asked for more.
const PERIOD: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: &Denied) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let mut after: Option<String> = None;
    loop {
        let rows = running.page(&page(arguments, after.as_deref())).await?;
        let rows = rows.as_array().cloned().unwrap_or_default();
        if let Some(id) = rows.last().and_then(|row| row["id"].as_str()) {
            after = Some(id.to_owned());
        }
        let shown: Vec<Value> =
            rows.iter().filter(|row| of_namespace(row, arguments.namespace.as_deref())).map(line).collect();
        if !arguments.follow {
            return output::list(arguments.at.output, &Value::Array(shown));
        }
        for row in &shown {
            match arguments.at.output {
                Form::Table => output::one(Form::Table, row, &sentence(row))?,
                Form::Json | Form::Yaml => println!("{row}"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
        }
    }
}

fn page(arguments: &Denied, after: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("since", &arguments.since.to_string());
    for (name, value) in
        [("from", arguments.from.as_deref()), ("to", arguments.to.as_deref()), ("after", after)]
    {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("/v1/refusals?{}", query.finish())
}

fn text<'r>(row: &'r Value, pointer: &str) -> &'r str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether caller or destination are of a namespace.
fn of_namespace(row: &Value, namespace: Option<&str>) -> bool {
    let Some(namespace) = namespace else { return true };
    let (source, destination) = (text(row, "/subject/source"), text(row, "/subject/destination"));
    source.contains(&format!("/ns/{namespace}/"))
        || destination.contains(&format!(".{namespace}."))
        || destination.contains(&format!("/{namespace}/"))
        || destination.starts_with(&format!("{namespace}/"))
}

fn line(row: &Value) -> Value {
    let policy = row.pointer("/denial/policy/0");
    let policy = policy.map(|name| {
        let part = |key: &str| name[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}/{}", part("kind"), part("namespace"), part("name")).replace("//", "/")
    });
    json!({
        "at": row["at"],
        "reason": text(row, "/denial/reason"),
        "from": text(row, "/subject/source"),
        "to": text(row, "/subject/destination"),
        "operation": text(row, "/subject/operation"),
        "policy": policy,
        "rule": text(row, "/denial/rule"),
        "id": row["id"],
    })
}

fn sentence(row: &Value) -> String {
    let of = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let by = match row["policy"].as_str() {
        Some(policy) => format!(" by {policy} {}", of("rule")),
        None => String::new(),
    };
    format!(
        "{} {} {} -> {} {}{by} ({})",
        of("at"),
        of("reason"),
        of("from"),
        of("to"),
        of("operation"),
        of("id")
    )
}
