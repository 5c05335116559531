//! The table of good and bad objects, against the CRDs: schema and CEL as an API server would apply them.
//!
//! The same table is run against `admit`, which is Rust; so the two are held equal. A bad object that says
//! `# crd:` is one that a CRD cannot refuse, and why.

use std::{fs, path::Path};

use cel::{Context, Program, Value as CelValue};
use serde_json::{Map, Value, json};

/// Functions that only an API server has; a rule with one of them is not run here.
const ONLY_THERE: [&str; 5] = ["isIP(", "isCIDR(", "isURL(", "oldSelf", "ip("];

/// What a CRD says of an object.
#[derive(Debug, Default)]
struct Said {
    faults: Vec<String>,
    not_run: Vec<String>,
}

impl Said {
    fn schema(&mut self, schema: &Value, value: &Value, place: &str) {
        let mut fault = |what: &str| self.faults.push(format!("{place}: {what}"));
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            _ => true,
        };
        if !fits {
            return fault("type");
        }
        let size = match value {
            Value::String(text) => text.chars().count(),
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        } as u64;
        for (bound, most) in [
            ("maxLength", true),
            ("maxItems", true),
            ("maxProperties", true),
            ("minLength", false),
            ("minItems", false),
            ("minProperties", false),
        ] {
            if schema[bound].as_u64().is_some_and(|bound| if most { size > bound } else { size < bound }) {
                fault(bound);
            }
        }
        if let (Some(number), Some(least)) = (value.as_f64(), schema["minimum"].as_f64())
            && number < least
        {
            fault("minimum");
        }
        if let (Some(number), Some(most)) = (value.as_f64(), schema["maximum"].as_f64())
            && number > most
        {
            fault("maximum");
        }
        if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
            fault("enum");
        }
        if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str()) {
            let pattern = regex::Regex::new(pattern).expect("a pattern of ours is RE2's");
            if !pattern.is_match(text) {
                fault("pattern");
            }
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            if required.as_str().is_some_and(|field| value.get(field).is_none()) {
                fault(&format!("required {required}"));
            }
        }
        let requires = |schema: &Value| {
            schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .all(|field| value.get(field.as_str().unwrap_or_default()).is_some())
        };
        if schema["anyOf"].as_array().is_some_and(|any| !any.iter().any(requires)) {
            self.faults.push(format!("{place}: anyOf"));
        }
        if schema["not"].is_object() && requires(&schema["not"]) {
            self.faults.push(format!("{place}: not"));
        }
        for (field, inner) in value.as_object().into_iter().flatten() {
            let schema = schema["properties"].get(field).or_else(|| schema.get("additionalProperties"));
            if let Some(schema) = schema {
                self.schema(schema, inner, &format!("{place}.{field}"));
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.schema(&schema["items"], item, &format!("{place}[{index}]"));
        }
        // Of the keys of such a list, an API server finds one that stands there twice.
        for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
            let key = key.as_str().expect("a key is a text");
            let values: Vec<&Value> = value.as_array().into_iter().flatten().map(|item| &item[key]).collect();
            if values.iter().enumerate().any(|(index, value)| values[..index].contains(value)) {
                self.faults.push(format!("{place}: {key} twice"));
            }
        }
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            self.rule(rule["rule"].as_str().expect("a rule is a text"), value, place);
        }
    }

    fn rule(&mut self, rule: &str, value: &Value, place: &str) {
        let program = Program::compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        if ONLY_THERE.iter().any(|function| rule.contains(function)) {
            return self.not_run.push(format!("{place}: {rule}"));
        }
        let mut context = Context::default();
        context.add_variable("self", escaped(value)).expect("JSON is a value of CEL");
        match program.execute(&context) {
            Ok(CelValue::Bool(true)) => {}
            Ok(CelValue::Bool(false)) => self.faults.push(format!("{place}: {rule}")),
            // An API server refuses what a rule fails on; here that must come of a value of the wrong type only.
            other => self.faults.push(format!("{place}: {rule}: {other:?}")),
        }
    }
}

/// Names that are words of CEL have another spelling there.
fn escaped(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let rename = |name: &str| match name {
                "in" | "namespace" => format!("__{name}__"),
                name => name.to_owned(),
            };
            Value::Object(
                fields.iter().map(|(name, value)| (rename(name), escaped(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.iter().map(escaped).collect(),
        other => other.clone(),
    }
}

/// An API server drops blank fields and fills in what the schema says of fields that are left out, before it applies
/// rules.
fn defaulted(schema: &Value, value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, inner| !inner.is_null());
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if let (None, Some(default)) = (fields.get(name), inner.get("default")) {
                fields.insert(name.clone(), default.clone());
            }
            if let Some(value) = fields.get_mut(name) {
                defaulted(inner, value);
            }
        }
    }
    for item in value.as_array_mut().into_iter().flatten() {
        defaulted(&schema["items"], item);
    }
}

/// What our CRDs say of every object of a part of the table that is of a kind of ours.
fn said(part: &str) -> Vec<(String, String, Said)> {
    let crds = api::crds::all();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admission").join(part);
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("the table is there") {
        let path = entry.expect("the table can be listed").path();
        let text = fs::read_to_string(&path).expect("the table can be read");
        let mut object: Value = serde_saphyr::from_str(&text).expect("the table is YAML");
        let crd = crds.iter().find(|(_, crd)| crd["spec"]["names"]["kind"] == object["kind"]);
        let Some((_, crd)) = crd.filter(|_| object["apiVersion"] == "strait.dev/v1alpha1") else { continue };
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut said = Said::default();
        defaulted(schema, &mut object);
        said.schema(schema, &object, "");
        // An API server judges names by itself.
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        let made = object["metadata"].get("generateName").is_some();
        if (name.is_empty() && !made) || !name.bytes().all(legal) {
            said.faults.push("metadata.name".to_owned());
        }
        all.push((
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            text,
            said,
        ));
    }
    assert!(all.len() > 8, "{} objects of ours", all.len());
    all
}

#[test]
fn the_crds_take_every_good_object() {
    for (file, _, said) in said("good") {
        assert_eq!(said.faults, Vec::<String>::new(), "{file}");
    }
}

#[test]
fn the_crds_refuse_every_bad_object_that_they_can() {
    let mut wrong = Vec::new();
    for (file, text, said) in said("bad") {
        let cannot = text.contains("# crd:");
        let refused = !said.faults.is_empty() || !said.not_run.is_empty();
        if cannot && !said.faults.is_empty() {
            wrong.push(format!("{file}: says that a CRD cannot, and it does: {:?}", said.faults));
        }
        if !cannot && !refused {
            wrong.push(format!("{file}: is taken"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_rule_that_does_not_hold_is_noticed() {
    let mut said = Said::default();
    said.rule("has(self.__in__) && self.__in__.all(x, x > 1)", &json!({"in": [2, 1]}), "");
    assert_eq!(said.faults.len(), 1);
}
