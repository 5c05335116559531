//! Policy sets: for each thing that is protected, the stages of DESIGN 4.2 in their order.

use api::{Kind, Name, access::ClusterTargetKind, bounded::Texts, core::ServicePort};
use aws_lc_rs::digest;
use mesh::{
    names::SetName,
    resource::{DefaultAccess, PolicySet, Stage, StageKind},
};

use crate::{
    access::{self, Access, Part},
    content, labels,
    ports::{self, Serves},
    reader::Reader,
};

/// The set of one workload port; `serving` are the Services that lead to it. Equal sets have one name.
pub(crate) fn workload_port(
    reader: &Reader<'_>,
    policies: &[Access<'_>],
    name: &Name,
    service_account: (&str, Option<&Texts>),
    labels: &Texts,
    serving: &[(&Serves<'_>, u16)],
) -> PolicySet {
    let (parts, kinds) = parts_of_workload_port(&name.namespace, service_account, serving);
    let mut stages = access::platform(reader, &name.namespace, &kinds);
    stages.extend(access::stage(StageKind::Target, policies, &parts));
    let things = serving.iter().map(|(serves, _)| &serves.service.metadata.labels).chain([labels]);
    let namespace = reader.namespace_labels(&name.namespace);
    shared(stages, labels::default_access(reader.settings(), namespace, things))
}

/// Of what a policy can speak that concerns a workload port, and the kinds of that.
pub(crate) fn parts_of_workload_port<'a>(
    namespace: &'a str,
    service_account: (&'a str, Option<&'a Texts>),
    serving: &[(&'a Serves<'a>, u16)],
) -> (Vec<Part<'a>>, Vec<ClusterTargetKind>) {
    let mut kinds = vec![ClusterTargetKind::Namespace, ClusterTargetKind::ServiceAccount];
    let mut parts = vec![
        Part::whole(Kind::Namespace, namespace, None),
        Part::whole(Kind::ServiceAccount, service_account.0, service_account.1),
    ];
    for (serves, target) in serving {
        parts.push(Part {
            kind: Kind::Service,
            name: &serves.name.name,
            labels: Some(&serves.service.metadata.labels),
            sections: serves.sections(*target),
        });
    }
    if !serving.is_empty() {
        kinds.push(ClusterTargetKind::Service);
    }
    (parts, kinds)
}

/// The set of ports that nobody may reach.
pub(crate) fn closed() -> PolicySet {
    shared(Vec::new(), DefaultAccess::None)
}

fn shared(stages: Vec<Stage>, default_access: DefaultAccess) -> PolicySet {
    // No node reads content: guards and quotas belong to the sets of what a waypoint serves.
    let mut set = named(SetName::from(""), stages, default_access);
    let text = serde_json::to_vec(&set).expect("a set has only texts, lists and enums, which JSON can write");
    let digest = digest::digest(&digest::SHA256, &text);
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    set.name = format!("workload/{hex}").into();
    set
}

/// The name of the set of one port of a Service.
pub(crate) fn service_port_name(name: &Name, port: u16) -> SetName {
    format!("Service/{}/{}:{port}", name.namespace, name.name).into()
}

/// The set of one port of a Service.
pub(crate) fn service_port(
    reader: &Reader<'_>,
    policies: &[Access<'_>],
    name: &Name,
    labels: &Texts,
    port: &ServicePort,
) -> PolicySet {
    let parts = [
        Part::whole(Kind::Namespace, &name.namespace, None),
        Part { kind: Kind::Service, name: &name.name, labels: Some(labels), sections: ports::sections(port) },
    ];
    let mut stages = access::platform(
        reader,
        &name.namespace,
        &[ClusterTargetKind::Namespace, ClusterTargetKind::Service],
    );
    stages.extend(access::stage(StageKind::Target, policies, &parts));
    let namespace = reader.namespace_labels(&name.namespace);
    let default_access = labels::default_access(reader.settings(), namespace, [labels].into_iter());
    let set = named(service_port_name(name, port.port), stages, default_access);
    read(set, reader, &name.namespace, &parts)
}

/// The set of an AgentBackend: where nobody speaks, nobody may.
pub(crate) fn backend(
    reader: &Reader<'_>,
    policies: &[Access<'_>],
    name: &Name,
    labels: &Texts,
    servers: Vec<String>,
) -> PolicySet {
    let parts = [
        Part::whole(Kind::Namespace, &name.namespace, None),
        Part { kind: Kind::AgentBackend, name: &name.name, labels: Some(labels), sections: servers },
    ];
    let mut stages = access::platform(
        reader,
        &name.namespace,
        &[ClusterTargetKind::Namespace, ClusterTargetKind::AgentBackend],
    );
    stages.extend(access::stage(StageKind::Target, policies, &parts));
    let name_of_set = format!("AgentBackend/{}/{}", name.namespace, name.name).into();
    read(named(name_of_set, stages, DefaultAccess::None), reader, &name.namespace, &parts)
}

/// The set of the way in through one listener.
pub(crate) fn listener(
    reader: &Reader<'_>,
    policies: &[Access<'_>],
    gateway: &Name,
    labels: Option<&Texts>,
    listener: &str,
) -> PolicySet {
    let part = Part { kind: Kind::Gateway, name: &gateway.name, labels, sections: vec![listener.to_owned()] };
    let name_of_set = format!("Listener/{}/{}/{listener}", gateway.namespace, gateway.name).into();
    way_in(reader, policies, &gateway.namespace, name_of_set, part)
}

/// The set of the way in through a route.
pub(crate) fn route(
    reader: &Reader<'_>,
    policies: &[Access<'_>],
    name: &Name,
    labels: &Texts,
    rules: Vec<String>,
) -> PolicySet {
    // One set covers all rules of a route. A policy on one rule cannot be realised yet: it is broken, and being
    // here denies the whole route rather than nothing.
    let part = Part { kind: Kind::HttpRoute, name: &name.name, labels: Some(labels), sections: rules };
    let name_of_set = format!("HTTPRoute/{}/{}", name.namespace, name.name).into();
    way_in(reader, policies, &name.namespace, name_of_set, part)
}

fn way_in(
    reader: &Reader<'_>,
    policies: &[Access<'_>],
    namespace: &str,
    name: SetName,
    part: Part<'_>,
) -> PolicySet {
    let parts = [part, Part::whole(Kind::Namespace, namespace, None)];
    // A policy on the namespace speaks of what is in it, not of the way there; a guard or quota of all that passes.
    let stages = access::stage(StageKind::WayIn, policies, &parts[..1]).into_iter().collect();
    read(named(name, stages, DefaultAccess::Open), reader, namespace, &parts)
}

fn named(name: SetName, stages: Vec<Stage>, default_access: DefaultAccess) -> PolicySet {
    PolicySet { name, stages, default_access, guards: Vec::new(), quotas: Vec::new() }
}

/// With the guards and quotas of where requests are read.
fn read(mut set: PolicySet, reader: &Reader<'_>, namespace: &str, parts: &[Part<'_>]) -> PolicySet {
    content::name_in(&mut set, reader, namespace, parts);
    set
}
