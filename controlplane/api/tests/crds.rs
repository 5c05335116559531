//! The CRDs are what an API server takes: structural, bounded, one version.

use serde_json::Value;

/// Calls `seen` for every schema of every CRD, with its place.
fn walk(schema: &Value, place: &str, seen: &mut dyn FnMut(&str, &Value)) {
    seen(place, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{place}.{name}"), seen);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            walk(&schema[part], &format!("{place}[]"), seen);
        }
    }
}

fn every(mut seen: impl FnMut(&str, &Value)) {
    for (file, crd) in api::crds::all() {
        for part in ["spec", "status"] {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part];
            walk(schema, &format!("{file} {part}"), &mut seen);
        }
    }
}

#[test]
fn every_schema_is_structural() {
    every(|place, schema| {
        let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(free || schema["type"].is_string(), "{place} has no type: {schema}");
        for word in ["oneOf", "allOf", "$ref", "const", "patternProperties"] {
            assert!(schema.get(word).is_none(), "{place} has {word}: {schema}");
        }
        // Of what is combined, only which fields are there may be said.
        let any = schema["anyOf"].as_array().into_iter().flatten();
        for said in any.chain(schema.get("not")).filter_map(Value::as_object) {
            assert!(said.keys().all(|word| word == "required"), "{place}: {schema}");
        }
        assert!(!schema["additionalProperties"].is_boolean(), "{place}: {schema}");
    });
}

#[test]
fn every_text_list_and_map_is_bounded() {
    every(|place, schema| match schema["type"].as_str() {
        Some("string") => {
            assert!(
                schema["maxLength"].is_u64() || schema["enum"].is_array(),
                "{place} has no maxLength: {schema}"
            );
        }
        Some("array") => assert!(schema["maxItems"].is_u64(), "{place} has no maxItems"),
        Some("object") if schema["additionalProperties"].is_object() => {
            assert!(schema["maxProperties"].is_u64(), "{place} has no maxProperties");
        }
        _ => {}
    });
}

#[test]
fn every_field_says_what_it_is() {
    every(|place, schema| {
        if !place.ends_with("[]") {
            assert!(schema["description"].is_string(), "{place} has no description");
        }
    });
}

#[test]
fn every_rule_has_a_message() {
    every(|place, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            assert!(rule["message"].is_string(), "{place}: {rule}");
        }
    });
}

#[test]
fn every_kind_is_of_the_category() {
    for (file, crd) in api::crds::all() {
        assert_eq!(crd["spec"]["names"]["categories"], serde_json::json!(["strait"]), "{file}");
        assert!(crd["spec"]["versions"][0]["additionalPrinterColumns"].is_array(), "{file}");
        assert!(
            crd["spec"]["names"].get("shortNames").is_none_or(|names| names == &serde_json::json!([])),
            "{file}"
        );
    }
}
