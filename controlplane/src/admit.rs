//! Judges one object by itself: whether it is what its kind says, before anything reads it.
//!
//! Pure. Strict decoding first, then the checks that our CRDs state in CEL, and those that CEL cannot state:
//! that regular expressions and CEL compile, that identities parse, that nothing asks for what is not built.
//! References to other objects are not looked at: a target may arrive later, and `translate` says so in a status.

use api::{
    Kind, Name, Object, Place, Rejection, Scope, Targets,
    access::{ClusterTargets, Mode},
    admitted::denies_when_broken,
    metadata::DEFAULT_NAMESPACE,
    object::KindError,
    refs::{TargetRef, TargetSelector},
};
use serde::Deserialize;

mod access;
mod backend;
mod catalog;
mod decode;
mod fault;
mod gateway;
mod guard;
mod http_route;
mod issuer;
mod jwks;
mod kubernetes;
mod link;
mod metadata;
mod nearest;
mod node;
mod operation;
mod quota;
mod text;
mod traffic;
mod upstream;
mod workload;

#[cfg(test)]
mod tests;

use decode::{Decoder, Nulls};
pub(crate) use fault::Fault;
use fault::Within;
pub(crate) use node::{DEPTH_MAX, Node};
pub use text::Compile;

/// An object that is not accepted, and what can still be read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Why.
    pub rejection: Rejection,
    /// What it would have applied to, if it is a policy in force that refuses, guards or bounds, and its targets can be read.
    pub targets: Option<Targets>,
}

/// Judges an object that is given as JSON, as an API server gives it.
///
/// # Errors
/// Why it is not accepted.
pub fn admit_json(value: serde_json::Value, compile: Compile<'_>) -> Result<Object, Box<Refused>> {
    admit(&Node::from(value), &Place::default(), compile)
}

/// Judges an object that stands at a place.
pub(crate) fn admit(node: &Node, place: &Place, compile: Compile<'_>) -> Result<Object, Box<Refused>> {
    let place = Place { line: node.line(), ..place.clone() };
    let (kind, name) = identify(node).map_err(|fault| {
        let line = node.line_of(&fault);
        Box::new(Refused { rejection: fault.on_line(line).rejection(place.clone(), None), targets: None })
    })?;
    decode_as(kind, node).and_then(|object| check(&object, compile).map(|()| object)).map_err(|fault| {
        let line = node.line_of(&fault);
        let fault = if kind == Kind::Secret { fault.without_values() } else { fault };
        let rejection = fault.on_line(line).rejection(place, Some(name));
        Box::new(Refused { rejection, targets: targets(kind, node) })
    })
}

/// Judges an object that was decoded elsewhere.
///
/// # Errors
/// Why it is not accepted.
pub fn check_object(object: &Object, compile: Compile<'_>) -> Result<(), Box<Rejection>> {
    check(object, compile).map_err(|fault| Box::new(fault.rejection(Place::default(), Some(object.name()))))
}

/// What names the object that this says it is, if that much can be read.
pub(crate) fn name_of(node: &Node) -> Option<Name> {
    identify(node).ok().map(|(_, name)| name)
}

/// What a policy would apply to, were it broken.
pub(crate) fn targets_of(object: &Object, node: &Node) -> Option<Targets> {
    targets(object.kind(), node)
}

/// What it is and what it is called.
fn identify(node: &Node) -> Result<(Kind, Name), Fault> {
    const PARTS: &str = "an object has apiVersion, kind, metadata and spec";
    if !node.is_map() {
        return Err(Fault::invalid("is not an object").remedy(PARTS));
    }
    let written = |node: Option<&Node>, field: &str| match node.and_then(Node::text) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Fault::new(api::Reason::MissingField, "is missing").remedy(PARTS).within(field)),
    };
    let api_version = written(node.get("apiVersion"), "apiVersion")?;
    let kind = written(node.get("kind"), "kind")?;
    let kind = Kind::named(&api_version, &kind).map_err(unknown_kind)?;
    let metadata = node.get("metadata");
    let name = written(metadata.and_then(|metadata| metadata.get("name")), "name");
    let name =
        name.within("metadata").map_err(|fault| match metadata.and_then(|m| m.get("generateName")) {
            Some(_) => fault.remedy("generateName needs an API server: write a name"),
            None => fault.remedy(format!("write a name for this {kind}")),
        })?;
    let namespace = match (kind.scope(), metadata.and_then(|metadata| metadata.get("namespace"))) {
        (Scope::Cluster, _) => "",
        (Scope::Namespaced, None) => DEFAULT_NAMESPACE,
        (Scope::Namespaced, Some(namespace)) if namespace.is_null() => DEFAULT_NAMESPACE,
        (Scope::Namespaced, Some(namespace)) => namespace
            .text()
            .ok_or_else(|| Fault::invalid("is not a text").within("namespace").within("metadata"))?,
    };
    let name = Name::new(kind, namespace, &name);
    metadata::check_name(&name).map(|()| (kind, name))
}

fn unknown_kind(error: KindError) -> Fault {
    match error {
        KindError::NotBuiltYet(kind) => {
            Fault::not_built_yet(&kind).remedy("take the object out").within("kind")
        }
        KindError::Version { kind, found, wanted } => {
            Fault::new(api::Reason::UnknownKind, format!("{kind} is not read in version {found:?}"))
                .remedy(format!("write apiVersion: {wanted}"))
                .within("apiVersion")
        }
        KindError::Unknown { api_version, kind, nearest } => {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            let near = nearest.or_else(|| nearest::nearest(&kind, &known).and_then(|near| near.parse().ok()));
            let shown: String = kind.chars().take(64).collect();
            let version: String = api_version.chars().take(64).collect();
            let fault = Fault::new(
                api::Reason::UnknownKind,
                format!("{shown:?} of apiVersion {version:?} is not a kind that is read here"),
            );
            match near {
                Some(near) => {
                    fault.remedy(format!("did you mean kind: {near} of apiVersion: {}?", near.api_version()))
                }
                None => fault.remedy(format!("the kinds here are {}", known.join(", "))),
            }
            .within("kind")
        }
    }
}

fn decode_as(kind: Kind, node: &Node) -> Result<Object, Fault> {
    // An API server takes null as "not written" in its own kinds, and refuses it in those of CRDs.
    let nulls = if kind.group().is_empty() { Nulls::Drop } else { Nulls::Refuse };
    Object::decode(kind, Decoder { node, nulls, root: true }).map_err(|fault| later(kind, fault))
}

/// Fields that are promised and not built: their reason is that, not that they are unknown.
const LATER: &[(Kind, &str)] =
    &[(Kind::MeshTrafficPolicy, "spec.stickiness"), (Kind::MeshTrafficPolicy, "spec.transformation")];

fn later(kind: Kind, fault: Fault) -> Fault {
    let field = fault.field();
    match LATER.iter().find(|(of, later)| *of == kind && *later == field) {
        Some(_) => fault.becomes_not_built_yet(),
        None => fault,
    }
}

fn check(object: &Object, compile: Compile<'_>) -> Result<(), Fault> {
    metadata::check(object)?;
    if let Object::Secret(secret) = object {
        return kubernetes::check_secret(secret);
    }
    match object {
        Object::AccessPolicy(policy) => access::check_policy(&policy.spec, object.namespace(), compile),
        Object::ClusterAccessPolicy(policy) => access::check_cluster_policy(&policy.spec, compile),
        Object::AgentBackend(backend) => backend::check(&backend.spec),
        Object::GuardPolicy(policy) => guard::check(&policy.spec, object.namespace()),
        Object::QuotaPolicy(policy) => quota::check(&policy.spec, object.namespace()),
        Object::ToolCatalog(catalog) => catalog::check(&catalog.spec),
        Object::TokenIssuer(issuer) => issuer::check(&issuer.spec),
        Object::MeshTrafficPolicy(policy) => traffic::check(&policy.spec),
        Object::MeshWorkload(workload) => workload::check(&workload.spec),
        Object::ClusterLink(link) => link::check_link(&link.spec),
        Object::Revocation(revocation) => link::check_revocation(&revocation.spec),
        Object::GatewayClass(class) => gateway::check_class(&class.spec),
        Object::Gateway(gateway) => gateway::check(&gateway.spec),
        Object::ReferenceGrant(grant) => gateway::check_grant(&grant.spec),
        Object::HttpRoute(route) => http_route::check(&route.spec),
        Object::Service(service) => kubernetes::check_service(&service.spec),
        Object::ServiceImport(import) => kubernetes::check_import(&import.spec),
        Object::Namespace(_) | Object::ServiceAccount(_) | Object::Secret(_) | Object::ServiceExport(_) => {
            Ok(())
        }
    }
    .within("spec")
}

/// What a broken policy would have applied to, read as strictly as ever, but alone.
fn targets(kind: Kind, node: &Node) -> Option<Targets> {
    let spec = node.get("spec")?;
    let enforced = match spec.get("mode") {
        None => true,
        Some(mode) => part::<Mode>(mode).is_none_or(denies_when_broken),
    };
    if !enforced {
        return None;
    }
    match kind {
        Kind::AccessPolicy | Kind::GuardPolicy | Kind::QuotaPolicy => {
            let refs: Vec<TargetRef> = parts(spec.get("targetRefs"));
            let selectors: Vec<TargetSelector> = parts(spec.get("targetSelectors"));
            let none = refs.is_empty() && selectors.is_empty();
            (!none).then_some(Targets::Namespaced { refs, selectors })
        }
        Kind::ClusterAccessPolicy => {
            part::<ClusterTargets>(spec.get("targetSelector")?).map(Targets::Cluster)
        }
        _ => None,
    }
}

fn part<'de, T: Deserialize<'de>>(node: &'de Node) -> Option<T> {
    T::deserialize(Decoder { node, nulls: Nulls::Refuse, root: false }).ok()
}

/// Each that can be read: of several targets, one typo must not open the others.
fn parts<'de, T: Deserialize<'de>>(list: Option<&'de Node>) -> Vec<T> {
    list.and_then(Node::items)
        .unwrap_or_default()
        .iter()
        .take(api::refs::TARGETS_MAX)
        .filter_map(part)
        .collect()
}
