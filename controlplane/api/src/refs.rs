//! How one object names another.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text, Texts};

/// An object's name, or a namespace's, a port's, a listener's: at most 253 characters.
pub type NameText = Text<253>;

/// Most objects that one policy targets by name.
pub const TARGETS_MAX: usize = 16;

/// What a policy applies to, in the policy's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The API group; empty for the core group.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub group: String,
    /// The kind.
    pub kind: Text<63>,
    /// The name.
    pub name: NameText,
    /// A part of the target: a Service's port, a Gateway's listener, a route's rule, a backend's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<NameText>,
}

/// What a policy applies to, chosen by labels, in the policy's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSelector {
    /// The API group; empty for the core group.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub group: String,
    /// The kind.
    pub kind: Text<63>,
    /// Labels that a target has; none is every object of the kind.
    #[serde(default)]
    pub match_labels: Texts,
}

/// Labels that something has, and rules that its labels keep. Nothing written selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Each label must have exactly this value.
    #[serde(default)]
    pub match_labels: Texts,
    /// Each must hold.
    #[serde(default)]
    pub match_expressions: List<LabelRequirement, 16, 0>,
}

impl LabelSelector {
    /// True if these labels are selected.
    pub fn matches(&self, labels: &Texts) -> bool {
        self.match_labels.are_all_in(labels) && self.match_expressions.iter().all(|rule| rule.holds(labels))
    }
}

/// A rule on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(self.operator == 'In' || self.operator == 'NotIn') == (size(self.values) > 0)")
        .message("In and NotIn need values, Exists and DoesNotExist take none")
)]
pub struct LabelRequirement {
    /// The label.
    pub key: Text<317>,
    /// How it is compared.
    pub operator: LabelOperator,
    /// The values of `In` and `NotIn`; empty for the others.
    #[serde(default)]
    pub values: List<Text<63>, 64, 0>,
}

impl LabelRequirement {
    fn holds(&self, labels: &Texts) -> bool {
        let value = labels.text(&self.key);
        let listed = value.is_some_and(|value| self.values.iter().any(|wanted| wanted.as_str() == value));
        match self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum LabelOperator {
    /// The label is there, with one of the values.
    In,
    /// The label is not there, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// A Service, and one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRef {
    /// The Service.
    pub name: NameText,
    /// Its namespace, if it is another; a ReferenceGrant there must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NameText>,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &str) -> bool {
        let selector: LabelSelector = serde_json::from_str(selector).expect("a selector");
        selector.matches(&serde_json::from_str(labels).expect("labels"))
    }

    #[test]
    fn a_selector_holds_if_every_part_holds() {
        assert!(selects("{}", "{}"));
        assert!(selects(r#"{"matchLabels": {"a": "b"}}"#, r#"{"a": "b", "c": "d"}"#));
        assert!(!selects(r#"{"matchLabels": {"a": "b"}}"#, r#"{"a": "c"}"#));
        let rule = |operator: &str, values: &str| {
            format!(
                r#"{{"matchExpressions": [{{"key": "a", "operator": "{operator}", "values": {values}}}]}}"#
            )
        };
        assert!(selects(&rule("In", r#"["b", "c"]"#), r#"{"a": "c"}"#));
        assert!(!selects(&rule("In", r#"["b"]"#), "{}"));
        assert!(selects(&rule("NotIn", r#"["b"]"#), "{}"));
        assert!(!selects(&rule("NotIn", r#"["b"]"#), r#"{"a": "b"}"#));
        assert!(selects(&rule("Exists", "[]"), r#"{"a": ""}"#));
        assert!(selects(&rule("DoesNotExist", "[]"), "{}"));
    }
}
