//! What is told of each object: conditions in the shape of Gateway API, made here, kept and written elsewhere.
//!
//! No times: `lastTransitionTime` belongs to whoever keeps the statuses.

use std::sync::Arc;

use api::Name;
use serde::Serialize;

/// The name under which we write statuses.
pub(crate) const CONTROLLER: &str = api::status::CONTROLLER_NAME;

/// The status of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What is so of the object as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Of a policy: what is so at each object that enforces it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
    /// Of a route: what is so at each parent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// Of a Gateway: what is so of each listener.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// The mesh addresses of a workload, Gateway or backend.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Of an AgentBackend: what it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Arc<str>>,
    /// Of an AgentBackend: the Gateway that serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    /// Of a ClusterLink: how many services came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<u64>,
    /// Of a ClusterLink: how many services go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exported: Option<u64>,
}

/// One thing that is so, is not, or is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is said.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Whether it is so.
    pub status: Truth,
    /// Why, as one word for programs.
    pub reason: &'static str,
    /// Why, as a sentence for people.
    pub message: String,
    /// The generation of the object that was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What a condition speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ConditionKind {
    /// The object is valid and belongs where it is attached.
    Accepted,
    /// Everything that it names exists and may be named.
    ResolvedRefs,
    /// The proxies have it.
    Programmed,
    /// A Service or workload is reached through the waypoint that was asked for.
    WaypointBound,
    /// Nothing tells a listener apart from another, so that both serve nobody.
    Conflicted,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told yet.
    Unknown,
}

/// A reference to what enforces or carries an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
    /// A part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// A port of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Reference {
    /// Refers to a whole object.
    pub fn to(name: &Name) -> Self {
        Self {
            group: name.kind.group().to_owned(),
            kind: name.kind.as_str().to_owned(),
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            section_name: None,
            port: None,
        }
    }
}

/// What one enforcing object says of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ancestor {
    /// The object.
    pub ancestor_ref: Reference,
    /// Who says it.
    pub controller_name: &'static str,
    /// What is so.
    pub conditions: Vec<Condition>,
}

/// What one parent says of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    /// The parent, as the route wrote it.
    pub parent_ref: Reference,
    /// Who says it.
    pub controller_name: &'static str,
    /// What is so.
    pub conditions: Vec<Condition>,
}

/// What is so of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// The listener.
    pub name: String,
    /// The kinds of routes that may be attached.
    pub supported_kinds: Vec<RouteKind>,
    /// How many routes are attached.
    pub attached_routes: u32,
    /// What is so.
    pub conditions: Vec<Condition>,
}

/// A kind of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteKind {
    /// The API group.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
}

/// Makes the conditions of one object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conditions {
    generation: Option<i64>,
}

impl Conditions {
    pub(crate) fn of(generation: Option<i64>) -> Self {
        Self { generation }
    }

    pub(crate) fn holds(self, kind: ConditionKind, message: impl Into<String>) -> Condition {
        let reason = match kind {
            ConditionKind::Accepted => "Accepted",
            ConditionKind::ResolvedRefs => "ResolvedRefs",
            ConditionKind::Programmed => "Programmed",
            ConditionKind::WaypointBound => "Bound",
            ConditionKind::Conflicted => "Conflicted",
        };
        self.make(kind, Truth::True, reason, message)
    }

    pub(crate) fn fails(self, kind: ConditionKind, fault: &Fault) -> Condition {
        self.make(kind, Truth::False, fault.reason, fault.message.clone())
    }

    pub(crate) fn make(
        self,
        kind: ConditionKind,
        status: Truth,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Condition {
        Condition { kind, status, reason, message: message.into(), observed_generation: self.generation }
    }

    /// True without a fault, False with one.
    pub(crate) fn judge(self, kind: ConditionKind, fault: Option<&Fault>, message: &str) -> Condition {
        match fault {
            None => self.holds(kind, message),
            Some(fault) => self.fails(kind, fault),
        }
    }
}

/// Why something cannot be as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    /// One word for programs.
    pub(crate) reason: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The first fault of several.
pub(crate) fn first(faults: impl IntoIterator<Item = Option<Fault>>) -> Option<Fault> {
    faults.into_iter().flatten().next()
}
