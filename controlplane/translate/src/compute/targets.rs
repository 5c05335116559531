//! What a policy applies to, as far as it is there, who enforces it there, and what is told of it.

use std::collections::BTreeSet;

use api::{
    Kind, Name,
    bounded::Texts,
    core::ServicePort,
    refs::{TargetRef, TargetSelector},
};
use mesh::resource::Protocol;

use crate::{
    attach, backing,
    binding::{Bound, Gateway},
    ports, protocol,
    reader::Reader,
    status::{self, Ancestor, CONTROLLER, ConditionKind, Conditions, Fault, Reference, Status},
};

/// Most objects that are named as enforcing one policy (Gateway API: 16).
const ANCESTORS_MAX: usize = 16;

/// What a policy needs of whoever enforces it.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// Requests must be read: nodes cannot enforce it.
    pub(super) requests: bool,
    /// Nodes have no part in it at all: it speaks of content alone.
    pub(super) content: bool,
    /// The protocols of agents that it speaks of: its targets must speak each.
    pub(super) protocols: BTreeSet<Agents>,
}

/// A protocol of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Agents {
    Mcp,
    A2a,
    Llm,
}

impl Agents {
    fn spoken_as(self) -> Protocol {
        match self {
            Self::Mcp => Protocol::Mcp,
            Self::A2a => Protocol::A2a,
            Self::Llm => Protocol::Llm,
        }
    }

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Mcp => ("MCP", "mcp"),
            Self::A2a => ("A2A", "a2a"),
            Self::Llm => ("an API of models", "llm"),
        }
    }
}

/// What a policy applies to, as far as it is there.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// True if node proxies enforce it.
    mesh: bool,
    gateways: BTreeSet<Name>,
    /// Targets that are not there.
    missing: Vec<String>,
    /// Targets whose requests can be read nowhere.
    unread: Vec<String>,
    /// Why it cannot be realised.
    pub(super) fault: Option<Fault>,
}

/// What a policy says of where it applies.
pub(super) struct Aim<'a> {
    pub(super) namespace: &'a str,
    pub(super) refs: &'a [TargetRef],
    pub(super) selectors: &'a [TargetSelector],
    pub(super) needs: Needs,
}

impl Targets {
    /// Those of a policy of the platform: every node enforces it.
    pub(super) fn everywhere() -> Self {
        Self { mesh: true, ..Self::default() }
    }

    pub(super) fn of(reader: &Reader<'_>, aim: &Aim<'_>) -> Self {
        let mut targets = Self::default();
        for target in aim.refs {
            targets.add(reader, aim, target);
        }
        for selector in aim.selectors {
            let selected: Vec<Name> = of_kind(reader, aim.namespace, selector.kind.as_str())
                .into_iter()
                .filter(|(_, labels)| selector.match_labels.are_all_in(labels))
                .map(|(name, _)| name)
                .collect();
            if selected.is_empty() {
                targets.missing.push(format!("no {} has these labels", selector.kind));
            }
            for name in selected {
                targets.add_object(reader, aim, &name, None);
            }
        }
        targets
    }

    fn add(&mut self, reader: &Reader<'_>, aim: &Aim<'_>, target: &TargetRef) {
        let Ok(kind) = target.kind.as_str().parse::<Kind>() else {
            self.fault = Some(Fault::new("Invalid", format!("{} is no target", target.kind)));
            return;
        };
        let namespace = if kind == Kind::Namespace { "" } else { aim.namespace };
        let name = Name::new(kind, namespace, target.name.as_str());
        if kind == Kind::Namespace && target.name.as_str() != aim.namespace {
            self.fault = Some(Fault::new("Invalid", "a policy targets no namespace but its own"));
        }
        self.add_object(reader, aim, &name, target.section_name.as_ref().map(|section| section.as_str()));
    }

    fn add_object(&mut self, reader: &Reader<'_>, aim: &Aim<'_>, name: &Name, section: Option<&str>) {
        match name.kind {
            Kind::Namespace if aim.needs.content => self.add_all_within(reader, aim),
            // They need not be written: a namespace or an account is there as soon as something is in it.
            Kind::Namespace | Kind::ServiceAccount => self.mesh = true,
            Kind::Service => self.add_service(reader, aim, name, section),
            Kind::AgentBackend => self.add_backend(reader, aim, name, section),
            Kind::Gateway => self.add_gateway(reader, name, section),
            Kind::HttpRoute => self.add_route(reader, name, section),
            other => self.fault = Some(Fault::new("Invalid", format!("{other} is no target"))),
        }
    }

    fn add_service(&mut self, reader: &Reader<'_>, aim: &Aim<'_>, name: &Name, section: Option<&str>) {
        let Some(service) = reader.service(&name.namespace, &name.name) else {
            self.missing.push(format!("there is no {name}"));
            return;
        };
        self.mesh |= !aim.needs.content;
        let meant = |port: &&ServicePort| {
            section.is_none_or(|section| ports::sections(port).iter().any(|own| own == section))
        };
        let meant: Vec<&ServicePort> = service.spec.ports.iter().filter(meant).collect();
        if meant.is_empty() {
            self.missing.push(format!("{name} has no port {}", section.unwrap_or("at all")));
            return;
        }
        for wanted in &aim.needs.protocols {
            if !meant.iter().any(|port| protocol::of(port) == wanted.spoken_as()) {
                let (speaks, word) = wanted.text();
                self.fault = Some(Fault::new(
                    "ProtocolMismatch",
                    format!(
                        "{name} does not say that it speaks {speaks}: give the port appProtocol: strait.dev/{word}"
                    ),
                ));
            }
        }
        let bound = Bound::of_service(reader, name, &service.metadata.labels);
        match bound.wanted() {
            Some(gateway) => {
                self.gateways.insert(gateway.clone());
            }
            None if aim.needs.requests => self.unread.push(name.to_string()),
            None => {}
        }
    }

    /// Everything in a namespace whose requests somebody reads, or should.
    fn add_all_within(&mut self, reader: &Reader<'_>, aim: &Aim<'_>) {
        for (name, service) in reader.services_within(aim.namespace) {
            match Bound::of_service(reader, name, &service.metadata.labels).wanted() {
                Some(gateway) => drop(self.gateways.insert(gateway.clone())),
                None if aim.needs.requests => self.unread.push(name.to_string()),
                None => {}
            }
        }
        for (name, backend) in reader.backends_within(aim.namespace) {
            let gateway = backing::gateway(reader, name, &backend.spec);
            self.gateways.extend(gateway.ok().map(|gateway| gateway.name));
        }
        let own = reader.gateways_within(aim.namespace).map(|(name, _)| name);
        self.gateways.extend(own.filter(|name| Gateway::find(reader, name).is_ok()).cloned());
    }

    fn add_backend(&mut self, reader: &Reader<'_>, aim: &Aim<'_>, name: &Name, section: Option<&str>) {
        let Some(backend) = reader.backend(&name.namespace, &name.name) else {
            self.missing.push(format!("there is no {name}"));
            return;
        };
        if let Ok(gateway) = backing::gateway(reader, name, &backend.spec) {
            self.gateways.insert(gateway.name);
        }
        if let Some(section) = section
            && !backing::servers(&backend.spec).any(|server| server == section)
        {
            self.missing.push(format!("{name} has no server {section}"));
        }
        if section.is_some() && backing::servers(&backend.spec).count() > 1 {
            // One set covers all servers: what one of them is granted would be granted at the others as well.
            self.fault = Some(Fault::new(
                "NotBuiltYet",
                "a policy on one server of several is not built yet: target the backend, and name its tools as SERVER_TOOL",
            ));
        }
        let (spoken, word) = backing::speaks(&backend.spec);
        for wanted in aim.needs.protocols.iter().filter(|wanted| wanted.spoken_as() != spoken) {
            let message = format!("{name} is of type {word} and does not speak {}", wanted.text().0);
            self.fault = Some(Fault::new("ProtocolMismatch", message));
        }
    }

    fn add_gateway(&mut self, reader: &Reader<'_>, name: &Name, section: Option<&str>) {
        match Gateway::find(reader, name) {
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
        }
    }

    fn add_route(&mut self, reader: &Reader<'_>, name: &Name, section: Option<&str>) {
        let Some((own, route)) = reader.routes_within(&name.namespace).find(|(own, _)| *own == name) else {
            self.missing.push(format!("there is no {name}"));
            return;
        };
        if section.is_some() {
            self.fault = Some(Fault::new(
                "NotBuiltYet",
                "a policy on one rule of a route is not built yet: target the route",
            ));
        }
        let places = attach::attachments(reader, own, route);
        let gateways = places.iter().filter_map(|attached| attached.place.as_ref().ok()?.gateway());
        self.gateways.extend(gateways.map(|gateway| gateway.name.clone()));
    }

    /// What is told at each object that enforces the policy. `unresolved`: what else it names and is not there.
    pub(super) fn told(
        &self,
        reader: &Reader<'_>,
        conditions: Conditions,
        fault: Option<&Fault>,
        unresolved: Option<&Fault>,
    ) -> Status {
        let missing =
            (!self.missing.is_empty()).then(|| Fault::new("TargetNotFound", self.missing.join("; ")));
        let accepted = status::first([fault.cloned(), missing.clone()]);
        let resolved = status::first([missing, unresolved.cloned()]);
        let mut ancestors: Vec<Option<&Name>> = Vec::new();
        if self.mesh || self.gateways.is_empty() || !self.unread.is_empty() {
            ancestors.push(None);
        }
        ancestors.extend(self.gateways.iter().map(Some));
        let of = |enforcer: Option<&Name>| {
            let silent = enforcer.filter(|gateway| !reader.serving(gateway)).map(|gateway| {
                Fault::new("GatewayNotServing", format!("no proxy of {gateway} is connected"))
            });
            let unread = (enforcer.is_none() && !self.unread.is_empty()).then(|| self.unread());
            let programmed = status::first([accepted.clone(), silent, unread]);
            Ancestor {
                ancestor_ref: enforcer.map_or_else(|| the_mesh(reader), Reference::to),
                controller_name: CONTROLLER,
                conditions: vec![
                    conditions.judge(ConditionKind::Accepted, accepted.as_ref(), "the policy is valid"),
                    conditions.judge(
                        ConditionKind::ResolvedRefs,
                        resolved.as_ref(),
                        "everything it names is there",
                    ),
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

    fn unread(&self) -> Fault {
        Fault::new(
            "NoWaypoint",
            format!(
                "what it says of requests can be read nowhere, so it grants nothing, and what would restrict refuses everything, at {}: label strait.dev/use-waypoint there",
                self.unread.join(", ")
            ),
        )
    }
}

fn the_mesh(reader: &Reader<'_>) -> Reference {
    Reference {
        group: api::object::GROUP.to_owned(),
        kind: "Mesh".to_owned(),
        namespace: String::new(),
        name: reader.settings().cluster.to_string(),
        section_name: None,
        port: None,
    }
}

/// Objects of one kind with their labels.
fn of_kind<'w>(reader: &Reader<'w>, namespace: &str, kind: &str) -> Vec<(Name, &'w Texts)> {
    let Ok(kind) = kind.parse::<Kind>() else { return Vec::new() };
    let found = reader.within(kind, namespace);
    found.map(|(name, object)| (name.clone(), object.labels())).collect()
}
