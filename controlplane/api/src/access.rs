//! `AccessPolicy` and `ClusterAccessPolicy`: who may do what.
//!
//! The shape alone. What a rule means is decided in `mesh`; what a valid one is, in `admit` and in the
//! CEL beside each field here: a table of good and bad objects holds the two equal.

mod cluster;
mod external;
mod limits;
mod mcp;
mod operation;
mod policy;
mod rule;

pub use cluster::{
    ClusterAccessPolicy, ClusterAccessPolicySpec, ClusterAction, ClusterTargetKind, ClusterTargets,
};
pub use external::{EXTERNAL_BODY_MAX, EXTERNAL_TIMEOUT, ExternalAuth, GrpcAuth, HttpAuth};
pub use limits::{EXPRESSION_MAX, IDENTITY_MAX, RULES_MAX};
pub use mcp::{ArgumentTerm, McpOperation, PromptTerm, ResourceTerm, Scalar, ToolAccess, ToolTerm};
pub use operation::{
    A2A_METHODS, A2aOperation, HeaderTerm, HttpOperation, LlmOperation, Operation, PathMatch, a2a_method,
};
pub use policy::{AccessPolicy, AccessPolicySpec, Action};
pub use rule::{AccessRule, Mode, Source, User};
