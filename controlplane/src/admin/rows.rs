//! The rows of the pages: flat objects, whose keys are the columns that `strait get` shows.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use api::{Admitted, Kind as ObjectKind, Name};
use mesh::{
    names::{ObjectName, SetName, WorkloadUid},
    resource::{
        Action, Binding, DefaultAccess, Health, Key, Kind, Mode, Reach, Resource, Route, RouteParent,
        Service, ServicePort,
    },
};
use serde_json::{Value, json};
use wire::publish::Table;

use super::shown::Shown;

fn of_kind<T>(shown: &Shown, kind: Kind, row: impl Fn(&Table, &Key, &Resource) -> Option<T>) -> Vec<T> {
    shown
        .publisher
        .read(|table| table.of_kind(kind).filter_map(|key| row(table, key, table.get(key)?)).collect())
}

pub(super) fn workloads(shown: &Shown) -> Value {
    let rows = of_kind(shown, Kind::Workload, |table, _, resource| {
        let Resource::Workload(workload) = resource else { return None };
        let (reached, at) = match &workload.reach {
            Reach::Tunnel(address) => ("tunnel", address.to_string()),
            Reach::Plain => ("plain", String::new()),
            Reach::Gateway { authority, .. } => ("gateway", authority.to_string()),
        };
        Some(json!({
            "namespace": workload.namespace,
            "name": workload.name,
            "identity": workload.identity,
            "node": workload.node,
            "addresses": workload.addresses,
            "ports": workload.ports.keys().collect::<Vec<_>>(),
            "reached_by": reached,
            "at": at,
            "proxy": proxy_of(table, &workload.uid),
            "healthy": workload.health == Health::Healthy,
            "cluster": workload.cluster,
            "uid": workload.uid,
        }))
    });
    json!(rows)
}

/// Where the explicit proxy of a workload listens.
fn proxy_of(table: &Table, uid: &WorkloadUid) -> Option<String> {
    match table.get(&Key::new(Kind::Placement, uid))? {
        Resource::Placement(placement) => placement.proxy.as_ref().map(|proxy| proxy.listen.to_string()),
        _ => None,
    }
}

pub(super) fn services(shown: &Shown) -> Value {
    let rows = of_kind(shown, Kind::Service, |table, _, resource| {
        let Resource::Service(service) = resource else { return None };
        Some(service_row(table, service))
    });
    json!(rows)
}

fn service_row(table: &Table, service: &Service) -> Value {
    let (mut endpoints, mut healthy) = (0, 0);
    for key in table.endpoints(&service.key) {
        if let Some(Resource::Workload(workload)) = table.get(key) {
            endpoints += 1;
            healthy += usize::from(workload.health == Health::Healthy);
        }
    }
    let (waypoint, problem) = match &service.binding {
        Binding::None => (None, None),
        Binding::Through(key) => (Some(key.to_string()), None),
        Binding::Missing(why) => (None, Some(why.clone())),
    };
    // What stands for an AgentBackend is served by its waypoint and has no endpoints of its own.
    let endpoints_text = match service.ports.values().any(|port| port.backend.is_some()) {
        true => "backend".to_owned(),
        false => format!("{healthy}/{endpoints}"),
    };
    let ports: Vec<String> = service
        .ports
        .iter()
        .map(|(number, port)| format!("{number}/{:?}", port.protocol).to_lowercase())
        .collect();
    json!({
        "namespace": service.key.namespace,
        "name": service.name,
        "hostname": service.key.hostname,
        "addresses": service.addresses,
        "ports": ports,
        "endpoints": endpoints_text,
        "waypoint": waypoint,
        "exported_to": service.exported_to,
        "open_ports": open_ports(table, service),
        "problem": problem,
    })
}

/// Ports that anyone may use: no Allow speaks of them, and what holds by default is open.
fn open_ports(table: &Table, service: &Service) -> Vec<String> {
    // What only another cluster serves is guarded there.
    let is_local = |key: &Key| match table.get(key) {
        Some(Resource::Workload(workload)) => !matches!(workload.reach, Reach::Gateway { .. }),
        _ => false,
    };
    if !table.endpoints(&service.key).any(is_local) {
        return Vec::new();
    }
    let is_open = |set: &SetName| {
        let Some(Resource::PolicySet(set)) = table.get(&Key::new(Kind::PolicySet, set)) else { return false };
        let mut members = set.stages.iter().flat_map(|stage| &stage.policies);
        set.default_access == DefaultAccess::Open && !members.any(|member| grants(table, &member.name))
    };
    let name = |number: &u16, port: &ServicePort| match port.name.is_empty() {
        true => number.to_string(),
        false => port.name.to_string(),
    };
    service
        .ports
        .iter()
        .filter(|(_, port)| is_open(&port.set))
        .map(|(number, port)| name(number, port))
        .collect()
}

/// True if the policy decides, and closes what it does not grant.
fn grants(table: &Table, policy: &ObjectName) -> bool {
    match table.get(&Key::new(Kind::Policy, policy)) {
        Some(Resource::Policy(policy)) => {
            policy.broken.is_some() || policy.mode == Mode::Enforce && policy.action == Action::Allow
        }
        _ => true,
    }
}

pub(super) fn routes(shown: &Shown) -> Value {
    let routes = of_kind(shown, Kind::Route, |_, _, resource| match resource {
        Resource::Route(route) => Some(route.clone()),
        _ => None,
    });
    // Statuses ask the publisher how far each came, so it may not be held meanwhile.
    let row = |route: Arc<Route>| {
        let parents: Vec<String> = route
            .parents
            .iter()
            .map(|parent| match parent {
                RouteParent::Listener { gateway, listener } => format!("{gateway}/{listener}"),
                RouteParent::Service { service, port: None } => service.to_string(),
                RouteParent::Service { service, port: Some(port) } => format!("{service}:{port}"),
            })
            .collect();
        let broken: Vec<_> = route.rules.iter().filter_map(|rule| rule.broken.clone()).collect();
        let told = told(shown, &route.name, "parents");
        json!({
            "namespace": route.name.namespace,
            "name": route.name.name,
            "parents": parents,
            "hostnames": route.hostnames,
            "rules": route.rules.len(),
            "accepted": told.accepted,
            "programmed": told.programmed,
            "problem": if broken.is_empty() { told.problem } else { broken.join("; ") },
        })
    };
    json!(routes.into_iter().map(row).collect::<Vec<_>>())
}

pub(super) fn policies(shown: &Shown) -> Value {
    let rows = of_kind(shown, Kind::Policy, |_, key, resource| {
        let Resource::Policy(policy) = resource else { return None };
        Some((key.clone(), policy.clone()))
    });
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|(key, policy)| {
            let standing = shown.publisher.standing(&key);
            let told = told(shown, &policy.name, "ancestors");
            let refused: Vec<String> =
                standing.refused.iter().map(|(caller, reason)| format!("{caller}: {reason}")).collect();
            let problem = match &policy.broken {
                Some(why) => why.to_string(),
                None if !refused.is_empty() => refused.join("; "),
                None => told.problem,
            };
            json!({
                "kind": policy.name.kind,
                "namespace": policy.name.namespace,
                "name": policy.name.name,
                "action": action(policy.action),
                "mode": match policy.mode { Mode::Enforce => "Enforce", Mode::Audit => "Audit" },
                "rules": policy.rules.len(),
                "accepted": told.accepted,
                "programmed": told.programmed,
                "proxies": format!("{}/{}", standing.applied, standing.wanted),
                "problem": problem,
            })
        })
        .collect();
    json!(rows)
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
        Action::Limit => "Limit",
        Action::ExternalAuth => "ExternalAuth",
    }
}

/// What an object's status says, over everything that enforces or carries it.
struct Told {
    accepted: bool,
    programmed: bool,
    problem: String,
}

fn told(shown: &Shown, object: &ObjectName, list: &str) -> Told {
    let name = object.kind.parse::<ObjectKind>().ok();
    let status = name.and_then(|kind| {
        shown.statuses.of(&Name::new(kind, &object.namespace, &object.name), &shown.publisher)
    });
    let status = status.unwrap_or(Value::Null);
    let mut told = Told { accepted: true, programmed: true, problem: String::new() };
    let items = status[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let conditions = items.iter().flat_map(|item| item["conditions"].as_array().into_iter().flatten());
    let mut problems = BTreeSet::new();
    for condition in conditions.chain(status["conditions"].as_array().into_iter().flatten()) {
        if condition["status"] == "True" {
            continue;
        }
        match condition["type"].as_str() {
            Some("Accepted") => told.accepted = false,
            Some("Programmed") => told.programmed = false,
            _ => {}
        }
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        problems.insert(format!("{}: {}", text("reason"), text("message")));
    }
    told.problem = problems.into_iter().collect::<Vec<_>>().join("; ");
    told
}

pub(super) fn certificates(shown: &Shown) -> Value {
    let own = shown.keeper.report().into_iter().filter_map(|row| {
        let held = row.held?;
        Some(json!({
            "identity": row.identity,
            "serial": held.serial,
            "not_before": crate::status::time_text(held.not_before_seconds),
            "not_after": crate::status::time_text(held.not_after_seconds),
            "valid": held.valid,
        }))
    });
    let text = |seconds: i64| crate::status::time_text(u64::try_from(seconds).unwrap_or(0));
    let issued = shown.recording.rows(SystemTime::now()).into_iter().map(|row| {
        json!({
            "identity": row.identity,
            "serial": row.serial,
            "not_before": text(row.not_before),
            "not_after": text(row.not_after),
            "valid": row.valid,
        })
    });
    json!(own.chain(issued).collect::<Vec<_>>())
}

pub(super) fn connections(shown: &Shown) -> Value {
    json!(shown.reports.reached())
}

pub(super) fn proxies(shown: &Shown) -> Value {
    let generation = shown.publisher.generation();
    let row = |state: wire::publish::SubscriberState| {
        let refused: Vec<String> =
            state.refused.iter().map(|it| format!("{}: {}", it.key, it.reason)).collect();
        json!({
            "proxy": state.info.caller.to_string(),
            "version": state.info.version,
            "applied": state.applied,
            "current": state.applied == Some(generation) || (state.pending == 0 && !state.in_flight),
            "held": state.held,
            "pending": state.pending,
            "refused": refused,
            "capabilities": state.info.capabilities,
            "node_id": state.info.node_id,
        })
    };
    json!(shown.publisher.subscribers().into_iter().map(row).collect::<Vec<_>>())
}

pub(super) fn links(shown: &Shown) -> Value {
    json!(shown.links.rows())
}

pub(super) fn problems(shown: &Shown) -> Value {
    let input = shown.problems.load();
    let rejections =
        input.objects.iter().filter_map(|admitted| Some((admitted.rejection()?, stays(admitted))));
    let all = rejections.chain(input.problems.iter().map(|problem| (problem, "it is not read")));
    let row = |(rejection, stays): (&api::Rejection, &str)| {
        json!({
            "object": rejection.object.as_ref().map(ToString::to_string),
            "place": rejection.place.to_string(),
            "field": rejection.field,
            "reason": rejection.reason,
            "message": rejection.message,
            "remedy": rejection.remedy,
            "until_then": stays,
        })
    };
    json!(all.map(row).collect::<Vec<_>>())
}

fn stays(admitted: &Admitted) -> &'static str {
    match admitted {
        Admitted::Accepted { .. } => "",
        Admitted::LastGood { .. } => "the last accepted version stays",
        Admitted::DeniesTargets { .. } => "it denies its targets",
        Admitted::Rejected { .. } => "it is absent",
    }
}

pub(super) fn objects(shown: &Shown) -> Value {
    let input = shown.problems.load();
    let row = |admitted: &Admitted| {
        let name = admitted.name();
        json!({
            "kind": name.kind,
            "namespace": name.namespace,
            "name": name.name,
            "accepted": admitted.rejection().is_none(),
            "in_force": admitted.object().is_some(),
            "status": shown.statuses.of(&name, &shown.publisher),
        })
    };
    // The content of Secrets is nobody's to see here.
    json!(input.objects.iter().map(row).collect::<Vec<_>>())
}

/// Kinds of which only name and version are shown.
const HIDDEN: [Kind; 3] = [Kind::Placement, Kind::Secret, Kind::Issuer];

pub(super) fn resources(shown: &Shown, kind: Option<&str>) -> Value {
    let kinds = Kind::ALL.into_iter().filter(|known| kind.is_none_or(|kind| format!("{known:?}") == kind));
    let rows = kinds.flat_map(|kind| {
        of_kind(shown, kind, |table, key, resource| {
            Some(json!({
                "key": key.to_string(),
                "version": table.version(key),
                // What is secret, and what names hashes of tokens and keys, helps nobody here.
                "resource": (!HIDDEN.contains(&kind)).then_some(resource),
            }))
        })
    });
    json!(rows.collect::<Vec<_>>())
}
