//! `strait mcp pin` and `strait mcp diff`: tools as they are now, and as they were approved.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{
    args::{Mcp, Pin, Which},
    client, output,
};

const TOOLS: &str = "/v1/tools";
/// The largest file that is changed, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub(crate) async fn run(arguments: &Mcp) -> anyhow::Result<()> {
    match arguments {
        Mcp::Pin(pin) => self::pin(pin).await,
        Mcp::Diff(which) => diff(which).await,
    }
}

async fn diff(which: &Which) -> anyhow::Result<()> {
    let rows = tools(which).await?;
    let shown = rows
        .iter()
        .map(|row| {
            json!({
                "tool": row["tool"],
                "state": state(row),
                "approved": row["approved"],
                "present": row["pin"],
                "why": row["held"],
                "definition": row["definition"],
            })
        })
        .collect();
    output::columns(which.at.output, shown, &["tool", "state", "approved", "present", "why"])
}

fn state(row: &Value) -> &'static str {
    match (row["held"].is_null(), row["approved"].is_null(), row["catalogue"].is_null()) {
        (false, ..) => "held",
        (true, false, _) => "approved",
        (true, true, false) => "passes",
        (true, true, true) => "no catalogue",
    }
}

async fn pin(arguments: &Pin) -> anyhow::Result<()> {
    let which = &arguments.which;
    let rows = tools(which).await?;
    let name = catalogue_of(&rows, &which.backend);
    let Some(file) = &arguments.file else {
        let catalogue = pinned(None, &which.namespace, &name, &rows)?;
        print!("{}", serde_saphyr::to_string(&catalogue)?);
        return Ok(());
    };
    let text = read(file)?;
    let changed = edited(&text, &which.namespace, &name, &rows)?;
    write(file, &changed)?;
    println!(
        "{} tools are approved in ToolCatalog {}/{name} in {}",
        rows.len(),
        which.namespace,
        file.display()
    );
    Ok(())
}

/// What the gateways of this cluster have seen of a backend's tools.
async fn tools(which: &Which) -> anyhow::Result<Vec<Value>> {
    let backend = format!("AgentBackend/{}/{}", which.namespace, which.backend);
    let mut rows: Vec<Value> = Vec::new();
    for (_, admin) in client::proxies(&which.at.state) {
        // Nodes have no such page.
        let Ok(Value::Array(page)) = client::page(admin, TOOLS).await else { continue };
        for row in page {
            let wanted = which.tool.as_ref().is_none_or(|tool| row["tool"] == **tool);
            let known = rows.iter().any(|known| known["tool"] == row["tool"] && known["pin"] == row["pin"]);
            if row["backend"] == *backend && wanted && !known {
                rows.push(row);
            }
        }
    }
    rows.sort_by_key(|row| row["tool"].as_str().unwrap_or_default().to_owned());
    if rows.is_empty() {
        bail!("no gateway has seen such tools of {backend}: list them once, and ask again");
    }
    Ok(rows)
}

/// The name of the catalogue that the backend names, or else its own.
fn catalogue_of(rows: &[Value], backend: &str) -> String {
    let named = rows.iter().find_map(|row| row["catalogue"].as_str());
    named.and_then(|name| name.rsplit('/').next()).unwrap_or(backend).to_owned()
}

/// A catalogue in which these tools are approved; what else stands in it stays.
fn pinned(catalogue: Option<Value>, namespace: &str, name: &str, rows: &[Value]) -> anyhow::Result<Value> {
    let mut catalogue = catalogue.unwrap_or_else(|| {
        json!({
            "apiVersion": "strait.dev/v1alpha1",
            "kind": "ToolCatalog",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"tools": []},
        })
    });
    if !catalogue["spec"].is_object() {
        catalogue["spec"] = json!({});
    }
    if catalogue["spec"]["tools"].is_null() {
        catalogue["spec"]["tools"] = json!([]);
    }
    let tools =
        catalogue["spec"]["tools"].as_array_mut().context("spec.tools of the ToolCatalog is no list")?;
    for row in rows {
        if rows.iter().filter(|other| other["tool"] == row["tool"]).count() > 1 {
            bail!("gateways do not agree what {} is: look at `strait mcp diff`", row["tool"]);
        }
        match tools.iter_mut().find(|tool| tool["name"] == row["tool"]) {
            Some(tool) => tool["pin"] = row["pin"].clone(),
            None => tools.push(json!({"name": row["tool"], "pin": row["pin"]})),
        }
    }
    Ok(catalogue)
}

/// The text of a file in which these tools are approved. Every other document in it stays as it is.
fn edited(text: &str, namespace: &str, name: &str, rows: &[Value]) -> anyhow::Result<String> {
    let mut documents = documents(text);
    let mut found = None;
    for (at, document) in documents.iter().enumerate() {
        if document.trim().is_empty() {
            continue;
        }
        let value: Value =
            serde_saphyr::from_str(document).context("the file holds a document that is no YAML")?;
        let own = |value: &Value| {
            let there = value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
            value["kind"] == "ToolCatalog" && value["metadata"]["name"] == *name && there == namespace
        };
        if own(&value) {
            found = Some((at, value));
            break;
        }
    }
    match found {
        Some((at, value)) => {
            documents[at] = serde_saphyr::to_string(&pinned(Some(value), namespace, name, rows)?)?;
        }
        None => documents.push(serde_saphyr::to_string(&pinned(None, namespace, name, rows)?)?),
    }
    let kept: Vec<String> = documents
        .into_iter()
        .filter(|document| !document.trim().is_empty())
        .map(|document| format!("{}\n", document.trim_matches('\n')))
        .collect();
    Ok(kept.join("---\n"))
}

/// The documents of a YAML file, as they stand.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    documents
}

fn read(file: &Path) -> anyhow::Result<String> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            bail!("{} has more than {FILE_BYTES_MAX} bytes", file.display())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        _ => {}
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Written beside it and put in its place, so that who watches the folder never reads half of it.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?;
    let beside = file.with_file_name(format!(".{}.new", name.to_string_lossy()));
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, file));
    written.with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tool: &str, pin: &str) -> Value {
        json!({"tool": tool, "pin": pin, "catalogue": "ToolCatalog/shop/approved", "held": null, "approved": null})
    }

    const FILE: &str = "# Ours.\nkind: Service\nmetadata: {name: a}\n---\n\
        kind: ToolCatalog\nmetadata: {name: approved, namespace: shop}\n\
        spec:\n  unlisted: Pass\n  tools:\n  - {name: docs_search, pin: old, access: Read}\n  - {name: docs_write}\n";

    fn catalogue(text: &str) -> Value {
        serde_saphyr::from_str(&documents(text)[1]).unwrap()
    }

    #[test]
    fn a_catalogue_in_a_file_is_changed_and_the_rest_stays() {
        let rows = [row("docs_search", "new"), row("web_fetch", "one")];
        let text = edited(FILE, "shop", "approved", &rows).unwrap();
        assert!(text.starts_with("# Ours.\nkind: Service\nmetadata: {name: a}\n---\n"), "{text}");
        let spec = catalogue(&text)["spec"].clone();
        assert_eq!(spec["unlisted"], "Pass");
        assert_eq!(
            spec["tools"],
            json!([{"name": "docs_search", "pin": "new", "access": "Read"}, {"name": "docs_write"}, {"name": "web_fetch", "pin": "one"}])
        );
        // Twice is once.
        assert_eq!(edited(&text, "shop", "approved", &rows).unwrap(), text);
    }

    #[test]
    fn a_catalogue_that_is_not_there_is_added() {
        let rows = [row("docs_search", "one")];
        let text = edited("kind: Service\nmetadata: {name: a}\n", "shop", "approved", &rows).unwrap();
        assert_eq!(catalogue(&text)["metadata"], json!({"name": "approved", "namespace": "shop"}));
        assert_eq!(documents(&edited("", "shop", "approved", &rows).unwrap()).len(), 1);
        // One of another namespace is another.
        let text = edited(FILE, "lab", "approved", &rows).unwrap();
        assert_eq!(documents(&text).len(), 3);
    }

    #[test]
    fn what_gateways_see_differently_is_not_approved() {
        let rows = [row("docs_search", "one"), row("docs_search", "two")];
        assert!(pinned(None, "shop", "approved", &rows).is_err());
        assert_eq!(catalogue_of(&rows, "toolbox"), "approved");
        assert_eq!(catalogue_of(&[], "toolbox"), "toolbox");
    }
}
