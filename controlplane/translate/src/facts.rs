//! Everything that a computation can read, by key, so that a change finds its readers.

use std::sync::Arc;

use api::{Kind, Name, Object};
use mesh::{
    identity::{Identity, TrustDomain},
    names::WorkloadUid,
};

use crate::{
    addresses::{Owner, Spot},
    exports::ExportedName,
    references,
};

/// One thing that can be read of the world, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// One object.
    Object(Name),
    /// Which objects of a kind there are, and each of them.
    OfKind(Kind),
    /// Which objects of a kind there are in a namespace, and each of them.
    In(Kind, Arc<str>),
    /// The Services of a namespace whose selector has this pair first.
    Selecting(Arc<str>, Arc<str>, Arc<str>),
    /// What names a Service, AgentBackend, Secret or ToolCatalog: routes, AgentBackends, Gateways.
    LeadingTo(Name),
    /// The roots of a trust domain.
    Bundle(TrustDomain),
    /// Since when certificates of an identity count.
    Revoked(Identity),
    /// Which services a link exports to us.
    ExportsOf(Arc<str>),
    /// One service that a link exports to us.
    Exported(Arc<str>, ExportedName),
    /// Whether a workload works.
    Health(WorkloadUid),
    /// Whether a proxy serves a Gateway now.
    Serving(Name),
    /// Which Gateway a bound object was once reached through.
    Mark(Name),
    /// The token of a workload's explicit proxy.
    Token(Name),
    /// The address that something was given.
    Address(Owner),
    /// Who asks for an address.
    Claims(Spot),
}

/// What is read by whom when an object is there: every key under which it is found.
pub(crate) fn of_object(name: &Name, object: Option<&Object>) -> Vec<Fact> {
    let namespace: Arc<str> = name.namespace.as_str().into();
    let mut facts =
        vec![Fact::Object(name.clone()), Fact::OfKind(name.kind), Fact::In(name.kind, namespace.clone())];
    match object {
        Some(Object::Service(service)) => {
            let first = service.spec.selector.iter().next();
            facts.extend(
                first.map(|(key, value)| {
                    Fact::Selecting(namespace, key.as_str().into(), value.as_str().into())
                }),
            );
        }
        Some(Object::HttpRoute(route)) => {
            facts.extend(references::of_route(name, route).filter_map(|to| to.thing()).map(Fact::LeadingTo));
        }
        Some(Object::AgentBackend(backend)) => {
            facts.extend(
                references::of_backend(name, &backend.spec).filter_map(|to| to.thing()).map(Fact::LeadingTo),
            );
            let secrets = references::secrets_of_backend(name, &backend.spec).map(|(secret, _)| secret);
            let catalogue = references::catalogue_of_backend(name, &backend.spec);
            facts.extend(secrets.chain(catalogue).map(Fact::LeadingTo));
        }
        Some(Object::Gateway(gateway)) => {
            facts.extend(references::secrets_of_gateway(name, &gateway.spec).map(Fact::LeadingTo));
        }
        _ => {}
    }
    facts
}

impl Fact {
    /// True if the World keeps a list of the objects that are found under it.
    pub(crate) fn is_indexed(&self) -> bool {
        matches!(self, Self::Selecting(..) | Self::LeadingTo(_))
    }
}
