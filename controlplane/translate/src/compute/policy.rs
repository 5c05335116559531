//! Access policies: their rules with names resolved, and what is told of each where it is enforced.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    Admitted, Kind, Name,
    access::{AccessRule, Action as Said, ClusterAction, Mode as SaidMode},
    refs::TargetRef,
};
use mesh::resource::{Action, Mode, Policy, Protocol, Resource};

use super::principals;
use crate::{
    access::{self, Access, ClusterAccess},
    attach, backing,
    binding::{Bound, Gateway},
    made::Made,
    names, ports, protocol,
    reader::Reader,
    status::{self, Ancestor, CONTROLLER, ConditionKind, Conditions, Fault, Reference, Status},
};

/// Most objects that are named as enforcing one policy (Gateway API: 16).
const ANCESTORS_MAX: usize = 16;

pub(super) fn namespaced(reader: &Reader<'_>, name: &Name, admitted: &Admitted) -> Made {
    // Read through the World so that it lives as long as the World does.
    let Some(policy) = access::within(reader, &name.namespace).into_iter().find(|policy| policy.name == name)
    else {
        return Made::default();
    };
    let targets = Targets::of(reader, &policy);
    let fault = status::first([targets.fault.clone(), (policy.action == Said::ExternalAuth).then(not_built)]);
    let action = match policy.action {
        Said::Allow => Action::Allow,
        Said::Deny | Said::ExternalAuth => Action::Deny,
    };
    let (resource, fault) = make(
        reader,
        name,
        action,
        policy.mode,
        policy.rules,
        fault,
        policy.never_accepted.map(ToString::to_string),
    );
    let status = told(reader, admitted, &targets, fault.as_ref());
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(resource);
    made
}

fn not_built() -> Fault {
    Fault::new("NotBuiltYet", "action ExternalAuth is not built yet")
}

pub(super) fn cluster(reader: &Reader<'_>, name: &Name, admitted: &Admitted) -> Made {
    let found = reader.all_admitted(Kind::ClusterAccessPolicy).find(|(own, _)| *own == name);
    let Some(policy) = found.and_then(|(own, admitted)| ClusterAccess::of(own, admitted)) else {
        return Made::default();
    };
    let action = match policy.action {
        ClusterAction::Deny => Action::Deny,
        ClusterAction::Limit => Action::Limit,
    };
    let (resource, fault) = make(
        reader,
        name,
        action,
        policy.mode,
        policy.rules,
        None,
        policy.never_accepted.map(ToString::to_string),
    );
    let targets = Targets { mesh: true, ..Targets::default() };
    let status = told(reader, admitted, &targets, fault.as_ref());
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(resource);
    made
}

fn make(
    reader: &Reader<'_>,
    name: &Name,
    action: Action,
    mode: SaidMode,
    rules: &[AccessRule],
    fault: Option<Fault>,
    never_accepted: Option<String>,
) -> (Resource, Option<Fault>) {
    let (rules, fault) = match (fault, principals::rules(reader, rules)) {
        (None, Ok(rules)) => (rules, None),
        (Some(fault), _) | (None, Err(fault)) => (Vec::new(), Some(fault)),
    };
    let broken = never_accepted.or_else(|| fault.as_ref().map(|fault| fault.message.clone()));
    let policy = Policy {
        authorizer: None,
        name: names::object(name),
        action,
        mode: match mode {
            SaidMode::Enforce => Mode::Enforce,
            SaidMode::Audit => Mode::Audit,
        },
        broken: broken.map(Into::into),
        rules,
    };
    (Resource::Policy(Arc::new(policy)), fault)
}

/// What a policy applies to, as far as it is there.
#[derive(Default)]
struct Targets {
    /// True if node proxies enforce it.
    mesh: bool,
    /// The Gateways whose proxies enforce it.
    gateways: BTreeSet<Name>,
    /// Targets that are not there.
    missing: Vec<String>,
    /// True if requests of it can be read nowhere.
    unread: Vec<String>,
    /// Why it cannot be realised.
    fault: Option<Fault>,
}

impl Targets {
    fn of(reader: &Reader<'_>, policy: &Access<'_>) -> Self {
        let mut targets = Self::default();
        for target in policy.refs {
            targets.add(reader, policy, target);
        }
        for selector in policy.selectors {
            let selected = TargetsOfKind::of(reader, &policy.name.namespace, selector.kind.as_str());
            let mut found = false;
            for (name, labels) in selected.0 {
                if selector.match_labels.are_all_in(labels) {
                    found = true;
                    targets.add_object(reader, policy, &name, None);
                }
            }
            if !found {
                targets.missing.push(format!("no {} has these labels", selector.kind));
            }
        }
        targets
    }

    fn add(&mut self, reader: &Reader<'_>, policy: &Access<'_>, target: &TargetRef) {
        let Ok(kind) = target.kind.as_str().parse::<Kind>() else {
            self.fault = Some(Fault::new("Invalid", format!("{} is no target", target.kind)));
            return;
        };
        let namespace = if kind == Kind::Namespace { "" } else { policy.name.namespace.as_str() };
        let name = Name::new(kind, namespace, target.name.as_str());
        if kind == Kind::Namespace && target.name.as_str() != policy.name.namespace {
            self.fault = Some(Fault::new("Invalid", "a policy targets no namespace but its own"));
        }
        self.add_object(reader, policy, &name, target.section_name.as_ref().map(|section| section.as_str()));
    }

    fn add_object(&mut self, reader: &Reader<'_>, policy: &Access<'_>, name: &Name, section: Option<&str>) {
        let speaks_mcp = policy.rules.iter().any(|rule| rule.to.iter().any(|to| to.mcp.is_some()));
        match name.kind {
            // They need not be written: a namespace or an account is there as soon as something is in it.
            Kind::Namespace | Kind::ServiceAccount => self.mesh = true,
            Kind::Service => {
                let Some(service) = reader.service(&name.namespace, &name.name) else {
                    self.missing.push(format!("there is no {name}"));
                    return;
                };
                self.mesh = true;
                let meant = |port: &&api::core::ServicePort| {
                    section.is_none_or(|section| ports::sections(port).iter().any(|own| own == section))
                };
                let meant: Vec<_> = service.spec.ports.iter().filter(meant).collect();
                if meant.is_empty() {
                    self.missing.push(format!("{name} has no port {}", section.unwrap_or("at all")));
                    return;
                }
                let speaks = |port: &&&api::core::ServicePort| {
                    let said = port.app_protocol.as_ref().map(|said| said.as_str());
                    protocol::of_port(said, port.name.as_ref().map(|name| name.as_str())) == Protocol::Mcp
                };
                if speaks_mcp && !meant.iter().any(|port| speaks(&port)) {
                    self.fault = Some(Fault::new(
                        "ProtocolMismatch",
                        format!(
                            "{name} does not say that it speaks MCP: give the port appProtocol: strait.dev/mcp"
                        ),
                    ));
                }
                let bound = Bound::of_service(reader, name, &service.metadata.labels);
                match bound.wanted() {
                    Some(gateway) => {
                        self.gateways.insert(gateway.clone());
                    }
                    None if access::reads_requests(policy.rules) => self.unread.push(name.to_string()),
                    None => {}
                }
            }
            Kind::AgentBackend => match reader.backend(&name.namespace, &name.name) {
                None => self.missing.push(format!("there is no {name}")),
                Some(backend) => {
                    if let Ok(gateway) = backing::gateway(reader, name, &backend.spec) {
                        self.gateways.insert(gateway.name);
                    }
                    let servers = backend.spec.mcp.iter().flat_map(|mcp| mcp.servers.iter());
                    let names = |section: &str| servers.clone().any(|server| server.name == section);
                    if section.is_some_and(|section| !names(section)) {
                        self.missing.push(format!("{name} has no server {}", section.unwrap_or_default()));
                    }
                }
            },
            Kind::Gateway => match Gateway::find(reader, name) {
                Err(fault) => self.missing.push(fault.message),
                Ok(gateway) => {
                    let listeners = gateway.spec.map_or(&[][..], |spec| &spec.listeners);
                    if let Some(section) = section
                        && !listeners.iter().any(|listener| listener.name == section)
                    {
                        self.missing.push(format!("{name} has no listener {section}"));
                    }
                    self.gateways.insert(name.clone());
                }
            },
            Kind::HttpRoute => match reader.routes_within(&name.namespace).find(|(own, _)| *own == name) {
                None => self.missing.push(format!("there is no {name}")),
                Some((own, route)) => {
                    if section.is_some() {
                        self.fault = Some(Fault::new(
                            "NotBuiltYet",
                            "a policy on one rule of a route is not built yet: target the route",
                        ));
                    }
                    let places = attach::attachments(reader, own, route);
                    let gateways =
                        places.iter().filter_map(|attached| attached.place.as_ref().ok()?.gateway());
                    self.gateways.extend(gateways.map(|gateway| gateway.name.clone()));
                }
            },
            other => self.fault = Some(Fault::new("Invalid", format!("{other} is no target"))),
        }
    }
}

/// Objects of one kind with their labels.
struct TargetsOfKind<'w>(Vec<(Name, &'w api::bounded::Texts)>);

impl<'w> TargetsOfKind<'w> {
    fn of(reader: &Reader<'w>, namespace: &str, kind: &str) -> Self {
        let Ok(kind) = kind.parse::<Kind>() else { return Self(Vec::new()) };
        let found = reader.admitted_within(kind, namespace);
        Self(found.filter_map(|(name, admitted)| Some((name.clone(), admitted.object()?.labels()))).collect())
    }
}

fn told(reader: &Reader<'_>, admitted: &Admitted, targets: &Targets, fault: Option<&Fault>) -> Status {
    let generation = admitted.object().and_then(|object| object.metadata().generation);
    let conditions = Conditions::of(generation);
    let missing =
        (!targets.missing.is_empty()).then(|| Fault::new("TargetNotFound", targets.missing.join("; ")));
    let accepted = status::first([fault.cloned(), missing.clone()]);
    let mut ancestors: Vec<Reference> = Vec::new();
    if targets.mesh || targets.gateways.is_empty() {
        ancestors.push(Reference {
            group: api::object::GROUP.to_owned(),
            kind: "Mesh".to_owned(),
            namespace: String::new(),
            name: reader.settings().cluster.to_string(),
            section_name: None,
            port: None,
        });
    }
    ancestors.extend(targets.gateways.iter().map(Reference::to));
    let of = |reference: Reference| {
        let gateway = targets.gateways.iter().find(|name| Reference::to(name) == reference);
        let silent = gateway
            .filter(|gateway| !reader.serving(gateway))
            .map(|gateway| Fault::new("GatewayNotServing", format!("no proxy of {gateway} is connected")));
        let unread = (gateway.is_none() && !targets.unread.is_empty()).then(|| {
            Fault::new(
                "NoWaypoint",
                format!(
                    "its terms on requests can be read nowhere, so an Allow grants nothing and a Deny refuses everything at {}: label strait.dev/use-waypoint there",
                    targets.unread.join(", ")
                ),
            )
        });
        let programmed = status::first([accepted.clone(), silent, unread]);
        Ancestor {
            ancestor_ref: reference,
            controller_name: CONTROLLER,
            conditions: vec![
                conditions.judge(ConditionKind::Accepted, accepted.as_ref(), "the policy is valid"),
                conditions.judge(ConditionKind::ResolvedRefs, missing.as_ref(), "every target is there"),
                conditions.judge(
                    ConditionKind::Programmed,
                    programmed.as_ref(),
                    "sent to every proxy that enforces it",
                ),
            ],
        }
    };
    Status { ancestors: ancestors.into_iter().take(ANCESTORS_MAX).map(of).collect(), ..Status::default() }
}
