//! The CustomResourceDefinitions of our kinds, as `charts/crds` holds them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{
    access::{AccessPolicy, ClusterAccessPolicy},
    backend::AgentBackend,
    catalog::ToolCatalog,
    guard::GuardPolicy,
    issuer::TokenIssuer,
    link::ClusterLink,
    quota::QuotaPolicy,
    revocation::Revocation,
    traffic::MeshTrafficPolicy,
    workload::MeshWorkload,
};

/// Every CustomResourceDefinition of ours as JSON, with the name of its file.
pub fn all() -> Vec<(String, Value)> {
    let crds: [CustomResourceDefinition; 11] = [
        AccessPolicy::crd(),
        ClusterAccessPolicy::crd(),
        GuardPolicy::crd(),
        QuotaPolicy::crd(),
        AgentBackend::crd(),
        ToolCatalog::crd(),
        TokenIssuer::crd(),
        MeshTrafficPolicy::crd(),
        MeshWorkload::crd(),
        ClusterLink::crd(),
        Revocation::crd(),
    ];
    crds.into_iter().map(|crd| (format!("{}.yaml", crd.spec.names.plural), tidied(&crd))).collect()
}

fn tidied(crd: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(crd).expect("a CustomResourceDefinition is JSON");
    tidy(&mut value);
    value
}

/// Formats that an API server knows; of others it warns, and `minimum` and `maximum` say the same.
const FORMATS: [&str; 5] = ["int32", "int64", "float", "double", "date-time"];

fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // A field that is written with no value is refused, here and by `admit`: blank is not "left out".
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            // A property may be called `format` too; then its value is a schema, not a text.
            if fields.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
                fields.remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
