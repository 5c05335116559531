//! `Revocation`: an identity that must stop now.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{bounded::Text, link::IdentityText, status::ConditionsStatus};

/// Certificates of this identity that were issued before a moment are refused, here and in every linked
/// cluster. It only grows.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "Revocation",
    category = "strait",
    status = "ConditionsStatus",
    doc = "Refuses certificates of an identity that were issued before a moment.",
    printcolumn(name = "Identity", type_ = "string", json_path = ".spec.identity"),
    printcolumn(name = "Issued-Before", type_ = "string", json_path = ".spec.issuedBefore"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.identity == oldSelf.identity && self.issuedBefore >= oldSelf.issuedBefore")
        .message("a revocation only grows: its identity stays, and issuedBefore only moves forward")
)]
pub struct RevocationSpec {
    /// The identity.
    #[schemars(regex(pattern = r"^spiffe://[-a-z0-9._]+(/([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,}))+$"))]
    pub identity: IdentityText,
    /// RFC 3339, in UTC and whole seconds, so that its texts sort by time.
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))]
    pub issued_before: Text<20>,
}
