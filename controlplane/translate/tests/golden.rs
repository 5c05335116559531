//! Folders of `in.yaml` and `out.yaml`: what users wrote, and all that follows from it.
//!
//! `UPDATE_GOLDEN=1 cargo test -p translate --test golden` writes `out.yaml` anew; read the difference.

mod support;

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use support::Scene;

#[test]
fn what_follows_is_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("in.yaml").exists())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in cases {
        let text = fs::read_to_string(case.join("in.yaml")).expect("in.yaml can be read");
        let found = written(&Scene::read(&text));
        let file = case.join("out.yaml");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &found).expect("out.yaml can be written");
        } else if fs::read_to_string(&file).ok().as_deref() != Some(&found) {
            wrong.push(format!("{} differs: {}", case.display(), first_difference(&file, &found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn first_difference(file: &Path, found: &str) -> String {
    let expected = fs::read_to_string(file).unwrap_or_default();
    let lines = expected.lines().map(Some).chain(std::iter::repeat(None));
    let different =
        found.lines().zip(lines).enumerate().find(|(_, (found, expected))| Some(*found) != *expected);
    different.map_or("it is shorter".to_owned(), |(number, (found, expected))| {
        format!("line {}: {found:?} instead of {expected:?}", number + 1)
    })
}

fn written(scene: &Scene) -> String {
    let translator = scene.translate();
    let output = translator.output();
    let resources: Vec<Value> = output
        .resources
        .iter()
        .map(|(key, resource)| {
            let value = serde_json::to_value(resource).expect("a resource is JSON");
            let content = value.as_object().and_then(|map| map.values().next()).cloned();
            json!({"key": key.to_string(), "is": content})
        })
        .collect();
    let statuses: serde_json::Map<String, Value> = output
        .statuses
        .iter()
        .map(|(name, status)| (name.to_string(), serde_json::to_value(status).expect("a status is JSON")))
        .collect();
    let exports: Vec<Value> = output
        .exports
        .values()
        .map(|exports| json!({"link": exports.link, "reader": exports.reader, "services": exports.services}))
        .collect();
    let all = json!({"statuses": statuses, "exports": exports, "resources": resources});
    serde_saphyr::to_string(&all).expect("JSON is YAML")
}
