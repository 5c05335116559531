//! What is said of a decision, and why something was refused by the id of its refusal. Pure.

mod words;

use std::str::FromStr as _;

use mesh::Denial;
use serde::Serialize;
use wire::report::RefusalId;

use crate::reports::Reports;
use words::{meaning, remedy};

/// An explanation, for people and programs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Explained {
    pub(crate) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meaning: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<&'static str>,
    /// What policies in audit mode would have refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) would_refuse: Vec<String>,
}

impl Explained {
    pub(crate) fn refused(denial: &Denial) -> Self {
        Self {
            verdict: "refused",
            reason: Some(denial.reason.name().to_owned()),
            meaning: Some(meaning(denial.reason)),
            stage: denial.stage.map(|stage| format!("{stage:?}")),
            policy: denial.policy.as_ref().map(|(name, _)| name.to_string()),
            policy_version: denial
                .policy
                .as_ref()
                .and_then(|(_, version)| version.as_ref())
                .map(ToString::to_string),
            rule: denial.rule.as_ref().map(ToString::to_string),
            field: denial.field.as_ref().map(ToString::to_string),
            detail: denial.detail.as_ref().map(ToString::to_string),
            remedy: remedy(denial.reason),
            ..Self::default()
        }
    }
}

/// Explains a refusal that was reported.
pub(crate) fn by_id(reports: &Reports, id: &str) -> Result<Explained, String> {
    let id = RefusalId::from_str(id).map_err(|error| error.to_string())?;
    if let Some(refusal) = reports.refusal(&id) {
        return Ok(Explained {
            caller: Some(refusal.subject.source.to_string()),
            target: Some(refusal.subject.destination.to_string()),
            operation: refusal.subject.operation.as_ref().map(ToString::to_string),
            proxy: Some(refusal.proxy.to_string()),
            at: Some(crate::status::time_text(crate::status::seconds(refusal.time()))),
            ..Explained::refused(&refusal.denial)
        });
    }
    // Its record is gone or did not come; the id still says something.
    let reason = id.reason().ok_or("the id has a reason that is not known here")?;
    Ok(Explained {
        verdict: "refused",
        reason: Some(reason.name().to_owned()),
        meaning: Some(meaning(reason)),
        remedy: remedy(reason),
        detail: Some(format!(
            "the record itself is not here; refusal {} of a proxy that started at {}",
            id.sequence(),
            crate::status::time_text(crate::status::seconds(id.started()))
        )),
        ..Explained::default()
    })
}
