//! Decides whether a caller may have an identity. Pure.

use std::fmt;

use mesh::{Identity, TrustDomain, names::NodeName};

/// Who asks, proven by its token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bearer {
    /// A node: it may have the identities of the workloads that run on it now.
    Node(NodeName),
    /// A waypoint, a gateway or another workload that fetches for itself: it may have its own identity.
    Workload(Identity),
}

impl fmt::Display for Bearer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(out, "node {name}"),
            Self::Workload(identity) => write!(out, "workload {identity}"),
        }
    }
}

/// What runs where, now.
pub trait Placement: Send + Sync + 'static {
    /// True if a workload with this identity runs on this node now.
    fn runs_on(&self, node: &NodeName, identity: &Identity) -> bool;
}

/// Why an identity is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is of a trust domain that this authority does not speak for.
    #[error("{identity} is not of trust domain {own}")]
    ForeignTrustDomain {
        /// What was asked for.
        identity: Identity,
        /// Whom the authority speaks for.
        own: TrustDomain,
    },
    /// No workload with it runs on the node that asks.
    #[error("no workload with {identity} runs on node {node}")]
    NotOnNode {
        /// What was asked for.
        identity: Identity,
        /// Who asked.
        node: NodeName,
    },
    /// It is not the caller's own.
    #[error("{caller} asked for {identity}, which is not its own")]
    NotOwn {
        /// What was asked for.
        identity: Identity,
        /// Who asked.
        caller: Identity,
    },
}

/// Decides.
///
/// # Errors
/// When the caller is not entitled to the identity now.
pub fn decide(
    own: &TrustDomain,
    bearer: &Bearer,
    requested: &Identity,
    placement: &impl Placement,
) -> Result<(), Refusal> {
    // First, and for everybody: the same namespace and service account exist in other trust domains too.
    if requested.trust_domain() != own {
        return Err(Refusal::ForeignTrustDomain { identity: requested.clone(), own: own.clone() });
    }
    match bearer {
        Bearer::Node(node) if placement.runs_on(node, requested) => Ok(()),
        Bearer::Node(node) => Err(Refusal::NotOnNode { identity: requested.clone(), node: node.clone() }),
        Bearer::Workload(caller) if caller == requested => Ok(()),
        Bearer::Workload(caller) => {
            Err(Refusal::NotOwn { identity: requested.clone(), caller: caller.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(&'static [(&'static str, &'static str)]);

    impl Placement for Table {
        fn runs_on(&self, node: &NodeName, identity: &Identity) -> bool {
            self.0.iter().any(|(on, who)| *on == node.as_str() && *who == identity.to_string())
        }
    }

    const PLACED: Table = Table(&[
        ("a", "spiffe://east/ns/shop/sa/planner"),
        ("b", "spiffe://east/ns/shop/sa/tools"),
        // A placement that is wrong about trust domains does not open the door.
        ("a", "spiffe://west/ns/shop/sa/planner"),
    ]);

    #[test]
    fn an_identity_is_given_to_who_runs_it() {
        let node = |name: &str| Bearer::Node(name.into());
        let workload = |identity: &str| Bearer::Workload(identity.parse().unwrap());
        let cases = [
            (node("a"), "spiffe://east/ns/shop/sa/planner", "yes"),
            (node("b"), "spiffe://east/ns/shop/sa/tools", "yes"),
            (node("b"), "spiffe://east/ns/shop/sa/planner", "not on node"),
            (node("c"), "spiffe://east/ns/shop/sa/planner", "not on node"),
            (node(""), "spiffe://east/ns/shop/sa/planner", "not on node"),
            (node("a"), "spiffe://west/ns/shop/sa/planner", "foreign"),
            (node("a"), "spiffe://east.evil/ns/shop/sa/planner", "foreign"),
            (workload("spiffe://east/ns/shop/sa/waypoint"), "spiffe://east/ns/shop/sa/waypoint", "yes"),
            (workload("spiffe://east/ns/shop/sa/waypoint"), "spiffe://east/ns/shop/sa/planner", "not own"),
            (workload("spiffe://west/ns/shop/sa/waypoint"), "spiffe://west/ns/shop/sa/waypoint", "foreign"),
            (workload("spiffe://west/ns/shop/sa/waypoint"), "spiffe://east/ns/shop/sa/waypoint", "not own"),
        ];
        for (bearer, requested, expected) in cases {
            let decided = decide(&"east".parse().unwrap(), &bearer, &requested.parse().unwrap(), &PLACED);
            let found = match decided {
                Ok(()) => "yes",
                Err(Refusal::ForeignTrustDomain { .. }) => "foreign",
                Err(Refusal::NotOnNode { .. }) => "not on node",
                Err(Refusal::NotOwn { .. }) => "not own",
            };
            assert_eq!(found, expected, "{bearer} {requested}");
        }
    }
}
