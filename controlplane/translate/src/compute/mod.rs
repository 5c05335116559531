//! The computations: each a function of what it reads, named by what it makes.

pub(crate) mod backend;
mod backend_kind;
mod catalogue;
pub(crate) mod export;
pub(crate) mod gateway;
mod guard;
pub(crate) mod import;
mod issuer;
pub(crate) mod link;
mod listener;
mod policy;
mod principals;
mod quota;
mod route;
mod route_filters;
mod secret;
mod service;
mod targets;
pub(crate) mod traffic;
mod trust;
mod workload;

use api::{Admitted, Kind, Name, Object, admitted::Rejection};

use crate::{
    made::{Computation, Made},
    reader::Reader,
    status::{ConditionKind, Conditions, Status, Truth},
};

/// Runs one computation.
pub(crate) fn run(computation: &Computation, reader: &Reader<'_>) -> Made {
    match computation {
        Computation::Ranges => trust::ranges(reader),
        Computation::Bundle(trust_domain) => trust::bundle(reader, trust_domain),
        Computation::Revocation(identity) => trust::revocation(reader, identity),
        Computation::Object(name) => of_object(reader, name),
        Computation::AutoWaypoint(namespace) => gateway::automatic(reader, namespace),
        Computation::Import(namespace, name) => import::compute(reader, namespace, name),
        Computation::Exports(link) => export::compute(reader, link),
    }
}

fn of_object(reader: &Reader<'_>, name: &Name) -> Made {
    let Some(admitted) = reader.admitted(name) else { return Made::default() };
    let mut made = match (name.kind, admitted.object()) {
        // A policy that was never accepted still denies its targets.
        (Kind::AccessPolicy, _) => policy::namespaced(reader, name, admitted),
        (Kind::ClusterAccessPolicy, _) => policy::cluster(reader, name, admitted),
        (_, Some(object)) => of_accepted(reader, name, object),
        // So does what would have guarded or bounded them.
        (Kind::GuardPolicy, None) => guard::never_accepted(reader, name, admitted),
        (Kind::QuotaPolicy, None) => quota::never_accepted(reader, name, admitted),
        (_, None) => Made::default(),
    };
    if let Some(rejection) = admitted.rejection() {
        let status = made.status.get_or_insert_with(|| (name.clone(), Status::default()));
        reject(&mut status.1, admitted, rejection);
    }
    made
}

fn of_accepted(reader: &Reader<'_>, name: &Name, object: &Object) -> Made {
    match object {
        Object::MeshWorkload(workload) => workload::compute(reader, name, workload),
        Object::Service(service) => service::compute(reader, name, service),
        Object::Gateway(gateway) => gateway::compute(reader, name, gateway),
        Object::HttpRoute(route) => route::compute(reader, name, route),
        Object::AgentBackend(backend) => backend::compute(reader, name, backend),
        Object::MeshTrafficPolicy(policy) => traffic::compute(reader, name, policy),
        Object::ClusterLink(link) => link::compute(reader, name, link),
        Object::ServiceExport(export) => export::status(reader, name, export.metadata.generation),
        Object::Revocation(revocation) => trust::status(reader, name, revocation),
        Object::GuardPolicy(policy) => guard::compute(reader, name, policy),
        Object::QuotaPolicy(policy) => quota::compute(reader, name, policy),
        Object::ToolCatalog(catalog) => catalogue::compute(reader, name, catalog),
        Object::TokenIssuer(issuer) => issuer::compute(reader, name, issuer),
        Object::Secret(secret) => secret::compute(reader, name, secret),
        // They are read by others and make nothing themselves.
        Object::Namespace(_)
        | Object::ServiceAccount(_)
        | Object::GatewayClass(_)
        | Object::ReferenceGrant(_)
        | Object::ServiceImport(_)
        | Object::AccessPolicy(_)
        | Object::ClusterAccessPolicy(_) => Made::default(),
    }
}

/// Says of an object that what is written now is not accepted, and what counts instead.
fn reject(status: &mut Status, admitted: &Admitted, rejection: &Rejection) {
    let stays = match admitted {
        Admitted::LastGood { .. } => "the last accepted version stays in force",
        Admitted::DeniesTargets { .. } => "it was never accepted, so it denies its targets",
        Admitted::Accepted { .. } | Admitted::Rejected { .. } => "it was never accepted, so it is absent",
    };
    let message = format!("{rejection}; {stays}");
    let conditions = Conditions::of(None);
    let told = conditions.make(ConditionKind::Accepted, Truth::False, reason(rejection), message);
    let lists = status.ancestors.iter_mut().map(|ancestor| &mut ancestor.conditions);
    for list in lists
        .chain(status.parents.iter_mut().map(|parent| &mut parent.conditions))
        .chain([&mut status.conditions])
    {
        list.retain(|condition| condition.kind != ConditionKind::Accepted);
        list.insert(0, told.clone());
    }
}

fn reason(rejection: &Rejection) -> &'static str {
    use api::Reason;
    match rejection.reason {
        Reason::Syntax => "Syntax",
        Reason::UnknownField => "UnknownField",
        Reason::MissingField => "MissingField",
        Reason::Invalid => "Invalid",
        Reason::Conflict => "Conflict",
        Reason::Duplicate => "Duplicate",
        Reason::NotBuiltYet => "NotBuiltYet",
        Reason::UnknownKind => "UnknownKind",
        Reason::TooLarge => "TooLarge",
        Reason::Unreadable => "Unreadable",
    }
}
