//! Judges a question as the proxies would: by the port of the service, or the backend that it stands for, and by the
//! port of each workload that serves it.

use mesh::{
    Denial, Reason, TrustDomain,
    access::{self, Grant, Verdict},
    names::SetName,
    resource::{Admission, BackendTarget, Binding},
};

use super::{
    Question,
    published::{Published, ports_of},
};
use crate::explain::Explained;

/// Judges a question.
pub(crate) fn answer(
    published: &Published,
    question: &Question,
    own: &TrustDomain,
) -> Result<Explained, String> {
    let snapshot = &published.snapshot;
    let service = published.find(&question.to)?;
    let port = service.ports.get(&question.port);
    let target = format!("{}:{}", service.key, question.port);
    let about = |explained: Explained| Explained {
        caller: Some(question.from.to_string()),
        target: Some(target.clone()),
        ..explained
    };
    let Some(port) = port else {
        let ports: Vec<String> = service.ports.keys().map(ToString::to_string).collect();
        let detail = format!("{} has the ports {}", service.key, ports.join(", "));
        return Ok(about(Explained::refused(&Denial::plain(Reason::UnknownPort, detail))));
    };
    if let Binding::Missing(why) = &service.binding {
        return Ok(about(Explained::refused(&Denial::plain(Reason::WaypointMissing, why.clone()))));
    }
    let waypoint = matches!(service.binding, Binding::Through(_));
    let mut passed = Vec::new();
    let mut shadows = Vec::new();
    let mut asked = Vec::new();
    let mut judge = |set: &SetName, number: u16, reads: bool| -> Result<(), Box<Explained>> {
        let judged = access::judge(snapshot, set, &question.facts(number, port.protocol, reads));
        shadows.extend(judged.shadows.iter().filter_map(|shadow| {
            shadow.denial.as_ref().map(|denial| format!("{}: {denial}", shadow.policy))
        }));
        match judged.verdict {
            Verdict::Refused(denial) => Err(Box::new(Explained::refused(&denial))),
            Verdict::Granted(grant) => {
                passed.push(grant);
                Ok(())
            }
            Verdict::Conditional(grant, authorizers) => {
                passed.push(grant);
                asked.extend(authorizers.iter().map(|it| name_of(&it.target)));
                Ok(())
            }
        }
    };
    let backend = port.backend.as_ref().and_then(|name| published.backend(name));
    // Without a waypoint nobody reads requests, and the service's port is judged by nobody: its policies are
    // among those of the workloads' ports.
    if waypoint
        && let Err(refused) =
            judge(&backend.map_or(port.set.clone(), |backend| backend.set.clone()), question.port, true)
    {
        return Ok(about(Explained { would_refuse: shadows, ..*refused }));
    }
    let mut refused = None;
    let mut endpoints = 0;
    let mut let_in = backend.is_some();
    for workload in snapshot.endpoints(&service.key) {
        endpoints += 1;
        for (number, own_port) in ports_of(workload, service, question.port) {
            let reads = waypoint && matches!(own_port.admission, Admission::Through { .. });
            match judge(&own_port.set, number, reads) {
                Ok(()) => let_in = true,
                Err(denied) => refused = Some(denied),
            }
        }
        // What stands for another cluster's service is judged there.
        let_in |= workload.identity.trust_domain() != own;
    }
    if let (Some(refused), false) = (&refused, let_in) {
        return Ok(about(Explained { would_refuse: shadows, ..(**refused).clone() }));
    }
    if endpoints == 0 && backend.is_none() {
        let denial = Denial::plain(Reason::NoEndpoint, "no workload serves it");
        return Ok(about(Explained::refused(&denial)));
    }
    let rule = passed.iter().rev().find_map(|grant| match grant {
        Grant::Rule { stage, policy, rule } => Some((*stage, policy.clone(), rule.clone())),
        Grant::Default => None,
    });
    Ok(about(Explained {
        verdict: "granted",
        stage: rule.as_ref().map(|(stage, _, _)| format!("{stage:?}")),
        policy: rule.as_ref().map(|(_, policy, _)| policy.to_string()),
        rule: rule.as_ref().map(|(_, _, rule)| rule.to_string()),
        detail: match (&*asked, &rule) {
            ([], None) => Some("no policy speaks, and the default access lets it in".to_owned()),
            ([], Some(_)) => None,
            (asked, _) => Some(format!("if these say yes too: {}", asked.join(", "))),
        },
        would_refuse: shadows,
        ..Explained::default()
    }))
}

fn name_of(target: &BackendTarget) -> String {
    match target {
        BackendTarget::Service { service, port } => format!("{service}:{port}"),
        BackendTarget::Agent(name) => name.to_string(),
        BackendTarget::Host(host) => format!("{}:{}", host.host, host.port),
        BackendTarget::Broken(why) => why.to_string(),
    }
}
