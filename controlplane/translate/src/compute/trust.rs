//! Networks and trust: the ranges of the mesh, the roots of each trust domain, revocations.

use std::sync::Arc;

use api::{Name, Resource as Object, revocation::RevocationSpec};
use ipnet::IpNet;
use mesh::{
    identity::{Identity, TrustDomain},
    resource::{MeshRanges, Resource, Revocation, TrustBundle},
};

use crate::{
    link,
    made::Made,
    reader::Reader,
    status::{ConditionKind, Conditions, Fault, Status},
};

/// The suffix of names that come over links.
const CLUSTERSET: &str = "clusterset.local";

pub(super) fn ranges(reader: &Reader<'_>) -> Made {
    let settings = reader.settings();
    let mut suffixes: Vec<Arc<str>> = settings.suffixes.clone();
    suffixes.extend([settings.cluster_domain.clone(), CLUSTERSET.into()]);
    suffixes.sort();
    suffixes.dedup();
    let mut made = Made::default();
    made.add(Resource::Ranges(Arc::new(MeshRanges {
        network: settings.network.clone(),
        local: true,
        addresses: settings.ranges.iter().copied().map(IpNet::V4).collect(),
        suffixes,
    })));
    made
}

/// The roots of our own trust domain, or of one that a link may claim.
pub(super) fn bundle(reader: &Reader<'_>, trust_domain: &TrustDomain) -> Made {
    let mut made = Made::default();
    let ours = *trust_domain == reader.settings().trust_domain;
    if !ours && link::of_trust_domain(reader, trust_domain).is_none() {
        return made;
    }
    if let Some(bundle) = reader.bundle(trust_domain) {
        made.add(Resource::Bundle(Arc::new(TrustBundle {
            trust_domain: trust_domain.clone(),
            sequence: bundle.sequence,
            roots: bundle.roots.clone(),
        })));
    }
    made
}

pub(super) fn revocation(reader: &Reader<'_>, identity: &Identity) -> Made {
    let mut made = Made::default();
    if let Some(since) = reader.revoked(identity) {
        made.add(Resource::Revocation(Arc::new(Revocation {
            identity: identity.clone(),
            issued_before: since.issued_before,
            reason: since.reason.clone(),
        })));
    }
    made
}

pub(super) fn status(reader: &Reader<'_>, name: &Name, object: &Object<RevocationSpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let identity: Result<Identity, _> = object.spec.identity.as_str().parse();
    let fault = match &identity {
        Err(error) => Some(Fault::new("Invalid", error.to_string())),
        Ok(identity) => reader
            .revoked(identity)
            .is_none()
            .then(|| Fault::new("Invalid", "issuedBefore is no time of the calendar")),
    };
    let told = vec![
        conditions.judge(
            ConditionKind::Accepted,
            fault.as_ref(),
            "certificates that were issued before are refused",
        ),
        conditions.judge(ConditionKind::Programmed, fault.as_ref(), "told to every proxy and link"),
    ];
    Made { status: Some((name.clone(), Status { conditions: told, ..Status::default() })), ..Made::default() }
}
