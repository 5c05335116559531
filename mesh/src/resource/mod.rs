//! What the control plane tells the proxies: every kind of resource, as declared.
//!
//! `controlplane/translate` makes these, `wire` carries them, `snapshot` compiles them. All types are
//! strict: a field that a reader does not know rejects the resource, because what was not understood
//! might have been a restriction. Lists that have no order are kept sorted by who makes them, so that
//! equal resources have equal bytes.

mod backend;
mod catalogue;
mod federation;
mod guard;
mod issuer;
mod listener;
mod policy;
mod policy_set;
mod quota;
mod route;
mod secret;
mod service;
mod terms;
mod traffic;
mod workload;

pub use backend::*;
pub use catalogue::*;
pub use federation::*;
pub use guard::*;
pub use issuer::*;
pub use listener::*;
pub use policy::*;
pub use policy_set::*;
pub use quota::*;
pub use route::*;
pub use secret::*;
pub use service::*;
pub use terms::*;
pub use traffic::*;
pub use workload::*;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::names::NetworkAddress;

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// [`MeshRanges`], named by network.
    Ranges,
    /// [`TrustBundle`], named by trust domain.
    Bundle,
    /// [`Revocation`], named by identity.
    Revocation,
    /// [`Workload`], named by uid.
    Workload,
    /// [`Placement`], named by workload uid; sent only to the node that runs it.
    Placement,
    /// [`Service`], named `namespace/hostname`.
    Service,
    /// [`Absence`], named `network/address` or by hostname: asked for, and not in the mesh.
    Absence,
    /// [`Policy`], named by object.
    Policy,
    /// [`PolicySet`], named by what it protects.
    PolicySet,
    /// [`Listener`], named `<gateway object>/<listener>`.
    Listener,
    /// [`Route`], named by object.
    Route,
    /// [`Backend`], named by object.
    Backend,
    /// [`Guard`], named by object.
    Guard,
    /// [`Quota`], named by object.
    Quota,
    /// [`Catalogue`], named by object.
    Catalogue,
    /// [`Issuer`], named by object.
    Issuer,
    /// [`Secret`], named by object; sent only to proxies that use it.
    Secret,
}

impl Kind {
    /// Every kind, in the order in which a push names them: what others refer to comes first.
    pub const ALL: [Self; 17] = [
        Self::Ranges,
        Self::Bundle,
        Self::Revocation,
        Self::Policy,
        Self::Guard,
        Self::Quota,
        Self::PolicySet,
        Self::Secret,
        Self::Issuer,
        Self::Catalogue,
        Self::Workload,
        Self::Placement,
        Self::Service,
        Self::Absence,
        Self::Backend,
        Self::Route,
        Self::Listener,
    ];
}

/// Names one resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique within the kind.
    pub name: Arc<str>,
}

impl Key {
    /// Names a resource of a kind.
    pub fn new(kind: Kind, name: impl fmt::Display) -> Self {
        Self { kind, name: name.to_string().into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {}", self.kind, self.name)
    }
}

/// One resource. Cheap to clone: whoever holds it shares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The variants are the kinds, which say what they are.
pub enum Resource {
    Ranges(Arc<MeshRanges>),
    Bundle(Arc<TrustBundle>),
    Revocation(Arc<Revocation>),
    Workload(Arc<Workload>),
    Placement(Arc<Placement>),
    Service(Arc<Service>),
    Absence(Arc<Absence>),
    Policy(Arc<Policy>),
    PolicySet(Arc<PolicySet>),
    Listener(Arc<Listener>),
    Route(Arc<Route>),
    Backend(Arc<Backend>),
    Guard(Arc<Guard>),
    Quota(Arc<Quota>),
    Catalogue(Arc<Catalogue>),
    Issuer(Arc<Issuer>),
    Secret(Arc<Secret>),
}

impl Resource {
    /// Its key.
    pub fn key(&self) -> Key {
        match self {
            Self::Ranges(it) => Key::new(Kind::Ranges, &it.network),
            Self::Bundle(it) => Key::new(Kind::Bundle, &it.trust_domain),
            Self::Revocation(it) => Key::new(Kind::Revocation, &it.identity),
            Self::Workload(it) => Key::new(Kind::Workload, &it.uid),
            Self::Placement(it) => Key::new(Kind::Placement, &it.workload),
            Self::Service(it) => Key::new(Kind::Service, &it.key),
            Self::Absence(it) => Key::new(Kind::Absence, it),
            Self::Policy(it) => Key::new(Kind::Policy, &it.name),
            Self::PolicySet(it) => Key::new(Kind::PolicySet, &it.name),
            Self::Listener(it) => Key::new(Kind::Listener, it.key_name()),
            Self::Route(it) => Key::new(Kind::Route, &it.name),
            Self::Backend(it) => Key::new(Kind::Backend, &it.name),
            Self::Guard(it) => Key::new(Kind::Guard, &it.name),
            Self::Quota(it) => Key::new(Kind::Quota, &it.name),
            Self::Catalogue(it) => Key::new(Kind::Catalogue, &it.name),
            Self::Issuer(it) => Key::new(Kind::Issuer, &it.name),
            Self::Secret(it) => Key::new(Kind::Secret, &it.name),
        }
    }
}

/// The answer that something asked for is not in the mesh. Withdrawn when it enrols.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Absence {
    /// No workload or service has this address.
    Address(NetworkAddress),
    /// No service has this name.
    Name(crate::names::Hostname),
}

impl fmt::Display for Absence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}
