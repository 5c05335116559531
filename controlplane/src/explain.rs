//! Why something was refused, or would be: by the id of a refusal, or by a question over what is published.
//!
//! Pure. A question is judged as the proxies would judge it: by the port of the service, and by the port of each
//! workload that serves it.

mod words;

use std::{collections::BTreeMap, str::FromStr as _, sync::Arc};

use mesh::{
    Denial, Facts, Identity, Peer, Reason, TrustDomain,
    access::{self, Grant, Verdict},
    facts::{Arguments, Caller, Fact, HttpFacts, McpFacts, McpObject},
    names::{ObjectName, SetName, Version},
    resource::{Admission, Backend, Binding, Kind, Protocol, Resource, Service, Workload},
    snapshot::{Change, Snapshot},
};
use runtime::Query;
use serde::Serialize;
use serde_json::Value;
use wire::{publish::Table, report::RefusalId};

use crate::reports::Reports;
use words::{meaning, remedy};

/// The suffix of names that come over links.
const CLUSTERSET: &str = ".clusterset.local";

/// An explanation, for people and programs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Explained {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    /// What policies in audit mode would have refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<String>,
}

impl Explained {
    fn refused(denial: &Denial) -> Self {
        Self {
            verdict: "refused",
            reason: Some(denial.reason.name().to_owned()),
            meaning: Some(meaning(denial.reason)),
            stage: denial.stage.map(|stage| format!("{stage:?}")),
            policy: denial.policy.as_ref().map(|(name, _)| name.to_string()),
            policy_version: denial
                .policy
                .as_ref()
                .and_then(|(_, version)| version.as_ref())
                .map(ToString::to_string),
            rule: denial.rule.as_ref().map(ToString::to_string),
            field: denial.field.as_ref().map(ToString::to_string),
            detail: denial.detail.as_ref().map(ToString::to_string),
            remedy: remedy(denial.reason),
            ..Self::default()
        }
    }
}

/// Explains a refusal that was reported.
pub(crate) fn by_id(reports: &Reports, id: &str) -> Result<Explained, String> {
    let id = RefusalId::from_str(id).map_err(|error| error.to_string())?;
    if let Some(refusal) = reports.refusal(&id) {
        return Ok(Explained {
            caller: Some(refusal.subject.source.to_string()),
            target: Some(refusal.subject.destination.to_string()),
            operation: refusal.subject.operation.as_ref().map(ToString::to_string),
            proxy: Some(refusal.proxy.to_string()),
            at: Some(crate::status::time_text(crate::status::seconds(refusal.time()))),
            ..Explained::refused(&refusal.denial)
        });
    }
    // Its record is gone or did not come; the id still says something.
    let reason = id.reason().ok_or("the id has a reason that is not known here")?;
    Ok(Explained {
        verdict: "refused",
        reason: Some(reason.name().to_owned()),
        meaning: Some(meaning(reason)),
        remedy: remedy(reason),
        detail: Some(format!(
            "the record itself is not here; refusal {} of a proxy that started at {}",
            id.sequence(),
            crate::status::time_text(crate::status::seconds(id.started()))
        )),
        ..Explained::default()
    })
}

/// What would happen if somebody did something.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    from: Peer,
    to: String,
    port: u16,
    tool: Option<(String, Value)>,
    http: Option<HttpFacts>,
}

impl Question {
    /// Reads `from`, `to`, and what is to be done.
    pub(crate) fn read(query: &Query, trust_domain: &TrustDomain) -> Result<Self, String> {
        let from = query
            .get("from")
            .ok_or("say who: --from NAMESPACE/SERVICE-ACCOUNT, an identity, or `unknown`")?;
        let to = query.get("to").ok_or("say what: --to NAMESPACE/SERVICE:PORT")?;
        let (to, port) = to.rsplit_once(':').ok_or("--to needs a port, for example shop/tools:80")?;
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        let tool = query.get("tool").map(|tool| (tool.to_owned(), arguments(query)));
        let http = (query.get("method").is_some() || query.get("path").is_some()).then(|| HttpFacts {
            method: query.get("method").unwrap_or("GET").into(),
            path: query.get("path").unwrap_or("/").into(),
            ..HttpFacts::default()
        });
        Ok(Self { from: caller(from, trust_domain)?, to: to.to_owned(), port, tool, http })
    }
}

fn caller(text: &str, trust_domain: &TrustDomain) -> Result<Peer, String> {
    if text == "unknown" {
        return Ok(Peer::Unknown);
    }
    if text.starts_with("spiffe://") {
        return text
            .parse()
            .map(Peer::Verified)
            .map_err(|error: mesh::identity::IdentityError| error.to_string());
    }
    let (namespace, account) =
        text.split_once('/').ok_or("--from is NAMESPACE/SERVICE-ACCOUNT or spiffe://…")?;
    Identity::of_service_account(trust_domain, namespace, account)
        .map(Peer::Verified)
        .map_err(|error| error.to_string())
}

/// `name=value`: JSON if it is some, else a text.
fn arguments(query: &Query) -> Value {
    let pairs = query.all("arg").filter_map(|pair| pair.split_once('='));
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    Value::Object(pairs.map(|(name, text)| (name.to_owned(), value(text))).collect())
}

/// Judges a question.
pub(crate) fn by_question(
    published: &Published,
    question: &Question,
    own: &TrustDomain,
) -> Result<Explained, String> {
    let snapshot = published.snapshot();
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
    let mut judge = |set: &SetName, number: u16, reads: bool| -> Result<(), Box<Explained>> {
        let judged = access::judge(&snapshot, set, &facts(question, number, port.protocol, reads));
        shadows.extend(judged.shadows.iter().filter_map(|shadow| {
            shadow.denial.as_ref().map(|denial| format!("{}: {denial}", shadow.policy))
        }));
        match judged.verdict {
            Verdict::Refused(denial) => Err(Box::new(Explained::refused(&denial))),
            Verdict::Granted(grant) => {
                passed.push(grant);
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
    for workload in published.endpoints(service) {
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
        detail: rule.is_none().then(|| "no policy speaks, and the default access lets it in".to_owned()),
        would_refuse: shadows,
        ..Explained::default()
    }))
}

/// What was published at one moment, shared and not copied.
pub(crate) struct Published(Vec<(Version, Resource)>);

impl Published {
    /// Takes it from the table, quickly: the publisher waits meanwhile.
    pub(crate) fn of(table: &Table) -> Self {
        let keys = Kind::ALL.into_iter().flat_map(|kind| table.of_kind(kind));
        Self(keys.filter_map(|key| Some((table.version(key)?.clone(), table.get(key)?.clone()))).collect())
    }

    fn snapshot(&self) -> Snapshot {
        let changes = self.0.iter().map(|(version, resource)| Change::Set(version.clone(), resource.clone()));
        Snapshot::default().apply(changes.collect(), &expr::Cel).snapshot
    }

    /// By `namespace/name` or by a full name. A Service of ours comes before one of another cluster of its name.
    fn find(&self, text: &str) -> Result<&Service, String> {
        let services = self.0.iter().filter_map(|(_, resource)| match resource {
            Resource::Service(service) => Some(service.as_ref()),
            _ => None,
        });
        let named = |service: &&Service| match text.split_once('/') {
            Some((namespace, name)) => *service.key.namespace == *namespace && *service.name == *name,
            None => {
                service.key.hostname.as_str() == text
                    || service.aliases.iter().any(|alias| alias.as_str() == text)
            }
        };
        let found =
            services.filter(named).min_by_key(|service| service.key.hostname.as_str().ends_with(CLUSTERSET));
        found.ok_or_else(|| format!("there is no service {text}: write NAMESPACE/NAME:PORT or a full name"))
    }

    fn endpoints(&self, service: &Service) -> impl Iterator<Item = &Workload> {
        let key = service.key.to_string();
        self.0.iter().filter_map(move |(_, resource)| match resource {
            Resource::Workload(workload) if workload.services.contains_key(key.as_str()) => {
                Some(workload.as_ref())
            }
            _ => None,
        })
    }

    fn backend(&self, name: &ObjectName) -> Option<&Backend> {
        self.0.iter().find_map(|(_, resource)| match resource {
            Resource::Backend(backend) if backend.name == *name => Some(backend.as_ref()),
            _ => None,
        })
    }
}

fn ports_of<'t>(
    workload: &'t Workload,
    service: &Service,
    port: u16,
) -> impl Iterator<Item = (u16, &'t mesh::resource::WorkloadPort)> {
    let mappings =
        workload.services.get(service.key.to_string().as_str()).map(Vec::as_slice).unwrap_or_default();
    let targets =
        mappings.iter().filter(move |mapping| mapping.service == port).map(|mapping| mapping.target);
    targets.filter_map(|target| Some((target, workload.ports.get(&target)?)))
}

/// What would be known: where requests are read, what the question says of them.
fn facts(question: &Question, port: u16, protocol: Protocol, reads: bool) -> Facts {
    const UNREAD: &str = "requests are not read here";
    let http = match (reads, protocol, &question.http) {
        (false, ..) => Fact::Missing(UNREAD),
        (true, Protocol::Tcp, _) => Fact::NotApplicable,
        (true, Protocol::Mcp, None) => {
            Fact::Known(HttpFacts { method: "POST".into(), path: "/mcp".into(), ..HttpFacts::default() })
        }
        (true, _, http) => Fact::Known(http.clone().unwrap_or_else(|| HttpFacts {
            method: "GET".into(),
            path: "/".into(),
            host: "".into(),
            headers: BTreeMap::new(),
        })),
    };
    let mcp = match (reads, protocol, &question.tool) {
        (false, ..) => Fact::Missing(UNREAD),
        (true, Protocol::Mcp, Some((name, arguments))) => Fact::Known(McpFacts {
            method: "tools/call".into(),
            object: McpObject::Tool {
                name: name.as_str().into(),
                arguments: Arguments::Given(Arc::new(arguments.clone())),
            },
        }),
        (true, Protocol::Mcp, None) => {
            Fact::Known(McpFacts { method: "initialize".into(), object: McpObject::Base })
        }
        _ => Fact::NotApplicable,
    };
    let caller = Caller { workload: question.from.clone(), by: None };
    Facts { caller, source_address: None, port, http, mcp }
}
