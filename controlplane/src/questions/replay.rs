//! What a policy that is not applied would change, of what was decided lately.
//!
//! Decisions do not keep arguments, headers or claims. What hangs on them is said to hang on them, and is not guessed.

use std::{collections::BTreeMap, sync::Arc};

use mesh::{
    Caller, Facts, Identity, Peer,
    access::{self, Verdict},
    facts::{A2aFacts, Arguments, Fact, HttpFacts, LlmFacts, McpFacts, McpObject, Model, Skill},
    names::SetName,
    snapshot::Snapshot,
};
use serde::Serialize;

use super::Published;
use crate::decisions::Row;

/// What recorded texts say where there was no room to tell things apart.
const OTHER: &str = "other";
const NOT_KEPT: &str = "decisions do not keep it";

/// What would become of calls that agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// `refused`: let in now, and would be refused. `granted`: the other way round. `depends`: on arguments, headers or
    /// claims, which are not kept.
    would_be: &'static str,
    source: Arc<str>,
    destination: Arc<str>,
    protocol: Arc<str>,
    method: Arc<str>,
    object: Arc<str>,
    /// Why, if it would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    count: u64,
    last: String,
}

/// What would be known of calls that agree: as much as can be in the caller's favour, and as little.
struct Replayed {
    most: Facts,
    least: Facts,
    /// Some of it was not told apart: what is refused because of that may not be.
    vague: bool,
}

/// What would change between two states, most calls first.
pub(crate) fn changes(now: &Published, then: &Published, decided: &[Row]) -> Vec<Change> {
    let mut found: BTreeMap<(&'static str, [Arc<str>; 5]), Change> = BTreeMap::new();
    for row in decided.iter().filter(|row| row.mode == "enforce") {
        let Some(replayed) = replayed(row) else { continue };
        let (before, after) = (judged(&now.snapshot, row, &replayed), judged(&then.snapshot, row, &replayed));
        let (would_be, why) = match (before, after) {
            (Known::Granted, Known::Refused(why)) => ("refused", Some(why)),
            (Known::Refused(_), Known::Granted) => ("granted", None),
            (Known::Granted | Known::Refused(_), Known::Depends) => ("depends", None),
            // What hung on what is not kept: how it was decided is kept.
            (Known::Depends, Known::Refused(why)) if row.verdict == "granted" => ("refused", Some(why)),
            (Known::Depends, Known::Granted) if row.verdict == "refused" => ("granted", None),
            _ => continue,
        };
        let key = [&row.source, &row.destination, &row.asked.protocol, &row.asked.method, &row.asked.object];
        let change = found.entry((would_be, key.map(Arc::clone))).or_insert_with(|| Change {
            would_be,
            source: Arc::clone(&row.source),
            destination: Arc::clone(&row.destination),
            protocol: Arc::clone(&row.asked.protocol),
            method: Arc::clone(&row.asked.method),
            object: Arc::clone(&row.asked.object),
            why,
            count: 0,
            last: row.last.clone(),
        });
        change.count = change.count.saturating_add(row.count);
        change.last = std::cmp::max(std::mem::take(&mut change.last), row.last.clone());
    }
    let mut changes: Vec<Change> = found.into_values().collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.count));
    changes
}

enum Known {
    Granted,
    Refused(String),
    Depends,
    /// What was asked for is not there.
    Gone,
}

fn judged(snapshot: &Snapshot, row: &Row, replayed: &Replayed) -> Known {
    let Some(set) = set_of(snapshot, row) else { return Known::Gone };
    let most = access::judge(snapshot, &set, &replayed.most).verdict;
    let least = access::judge(snapshot, &set, &replayed.least).verdict;
    match (most, least) {
        (Verdict::Refused(_), _) if replayed.vague => Known::Depends,
        (Verdict::Refused(denial), _) => Known::Refused(denial.to_string()),
        (Verdict::Granted(_), Verdict::Granted(_)) => Known::Granted,
        _ => Known::Depends,
    }
}

/// The set that protects what was asked for, found by the name under which it was recorded.
fn set_of(snapshot: &Snapshot, row: &Row) -> Option<SetName> {
    let name = &*row.destination;
    // Gateways tell the port with the name.
    let name = name.strip_suffix(&format!(":{}", row.asked.port)).unwrap_or(name);
    match &*row.asked.place {
        "service" => {
            let named =
                |host: &str| host == name || name.strip_suffix(host).is_some_and(|it| it.ends_with('/'));
            let mut services = snapshot.services().filter(|service| named(service.key.hostname.as_str()));
            Some(services.find_map(|service| service.ports.get(&row.asked.port))?.set.clone())
        }
        "workload" => {
            let workload = snapshot.workload(&name.into())?;
            Some(workload.ports.get(&row.asked.port).unwrap_or(&workload.other_ports).set.clone())
        }
        "backend" => Some(snapshot.backend(&name.parse().ok()?)?.set.clone()),
        "route" => Some(snapshot.route(&name.parse().ok()?)?.set.clone()),
        "listener" => Some(snapshot.listeners().find(|it| it.key_name() == name)?.set.clone()),
        _ => None,
    }
}

/// `None`: too little was kept to judge anything.
fn replayed(row: &Row) -> Option<Replayed> {
    let asked = &row.asked;
    let caller = Caller { workload: peer(&row.source)?, by: None };
    let http = |host: &Arc<str>, path: &Arc<str>| match (&*asked.protocol, &**path) {
        ("tcp", _) => Fact::Missing(NOT_KEPT),
        (_, OTHER) => Fact::Missing(NOT_KEPT),
        _ => Fact::Known(HttpFacts {
            method: if &*asked.protocol == "http" { Arc::clone(&asked.method) } else { "POST".into() },
            path: Arc::clone(path),
            host: Arc::clone(host),
            headers: BTreeMap::new(),
        }),
    };
    let of = |arguments: Arguments| Facts {
        caller: caller.clone(),
        source_address: None,
        port: asked.port,
        http: http(&asked.host, &asked.path),
        mcp: mcp(row, arguments),
        a2a: a2a(row),
        llm: llm(row),
        user: None,
    };
    let least = of(Arguments::Given(Arc::new(serde_json::Value::Null)));
    let vague = [&asked.method, &asked.host, &asked.path, &asked.object].iter().any(|text| &***text == OTHER);
    Some(Replayed { most: of(Arguments::Listing), least, vague })
}

fn peer(source: &str) -> Option<Peer> {
    // An address may stand behind who is not proven.
    let source = source.split_once(" at ").map_or(source, |(peer, _)| peer);
    if source == Peer::Unknown.to_string() {
        return Some(Peer::Unknown);
    }
    if source == OTHER {
        return None;
    }
    match source.split_once(' ') {
        None => Some(Peer::Verified(source.parse::<Identity>().ok()?)),
        Some((identity, _)) => Some(Peer::Unverified(identity.parse().ok()?)),
    }
}

fn mcp(row: &Row, arguments: Arguments) -> Fact<McpFacts> {
    let (method, name) = (Arc::clone(&row.asked.method), Arc::clone(&row.asked.object));
    let object = match (&*row.asked.protocol, &*method, &*name) {
        ("mcp", _, OTHER) => return Fact::Missing(NOT_KEPT),
        ("mcp", "tools/call", _) => McpObject::Tool { name, arguments, access: None },
        ("mcp", "prompts/get", _) => McpObject::Prompt { name },
        ("mcp", _, "") => McpObject::Base,
        ("mcp", ..) => McpObject::Resource { uri: name },
        _ => return Fact::NotApplicable,
    };
    Fact::Known(McpFacts { method, object })
}

fn a2a(row: &Row) -> Fact<A2aFacts> {
    let skill = match (&*row.asked.protocol, &*row.asked.object) {
        ("a2a", OTHER) => return Fact::Missing(NOT_KEPT),
        ("a2a", "") => Skill::NotDeclared,
        ("a2a", skill) => Skill::Called(skill.into()),
        _ => return Fact::NotApplicable,
    };
    Fact::Known(A2aFacts { method: Arc::clone(&row.asked.method), tenant: None, skill })
}

fn llm(row: &Row) -> Fact<LlmFacts> {
    let model = match (&*row.asked.protocol, row.asked.object.split_once('/')) {
        ("llm", Some((provider, model))) => Model::Used { provider: provider.into(), model: model.into() },
        ("llm", None) if &*row.asked.object == OTHER => return Fact::Missing(NOT_KEPT),
        ("llm", None) => Model::Asked,
        _ => return Fact::NotApplicable,
    };
    Fact::Known(LlmFacts { operation: Arc::clone(&row.asked.method), model })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use mesh::{
        names::{ObjectName, ServiceKey},
        resource::{
            Action, ArgumentTerm, ArgumentTest, Balancing, Binding, DefaultAccess, McpTerm, Mode, Operation,
            Policy, PolicyRef, PolicySet, Protocol, Resource, Rule, Service, ServicePort, Source, Stage,
            StageKind, TextMatch, ToolTerm, Traffic,
        },
    };
    use wire::report::Asked;

    use super::*;

    const PLANNER: &str = "spiffe://east/ns/shop/sa/planner";

    /// A service of tools that anyone may use but for what this policy denies.
    fn published(denied: Option<(&str, Vec<ArgumentTerm>)>) -> Published {
        let name = || ObjectName::new("AccessPolicy", "shop", "p");
        let mut resources = Vec::new();
        let mut stages = Vec::new();
        if let Some((tool, arguments)) = denied {
            let term = ToolTerm { names: vec![TextMatch::Exact(tool.into())], access: None, arguments };
            let mcp = McpTerm { tools: Some(vec![term]), ..McpTerm::default() };
            let rule = Rule {
                name: "r".into(),
                from: vec![Source { anyone: true, ..Source::default() }],
                to: Some(vec![Operation { mcp: Some(mcp), ..Operation::default() }]),
                when: None,
            };
            resources.push(Resource::Policy(Arc::new(Policy {
                name: name(),
                action: Action::Deny,
                mode: Mode::Enforce,
                broken: None,
                rules: vec![rule],
                authorizer: None,
            })));
            let policies = vec![PolicyRef { name: name(), version: None }];
            stages.push(Stage { kind: StageKind::Target, policies });
        }
        resources.push(Resource::PolicySet(Arc::new(PolicySet {
            name: "s".into(),
            stages,
            default_access: DefaultAccess::Open,
            guards: Vec::new(),
            quotas: Vec::new(),
        })));
        let port = ServicePort {
            name: "mcp".into(),
            protocol: Protocol::Mcp,
            set: "s".into(),
            traffic: Traffic::default(),
            backend: None,
        };
        resources.push(Resource::Service(Arc::new(Service {
            key: ServiceKey { namespace: "shop".into(), hostname: "tools.shop.svc.cluster.local".into() },
            name: "tools".into(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            ports: BTreeMap::from([(80, port)]),
            binding: Binding::None,
            balancing: Balancing::default(),
            exported_to: BTreeSet::new(),
            identities: Vec::new(),
        })));
        let keyed: Vec<_> = resources.into_iter().map(|resource| (resource.key(), resource)).collect();
        Published::drafted(keyed.iter().map(|(key, resource)| (key, resource)))
    }

    fn call(destination: &str, tool: &str, verdict: &'static str) -> Row {
        let asked = Asked {
            place: "service".into(),
            port: 80,
            protocol: "mcp".into(),
            method: "tools/call".into(),
            path: "/mcp".into(),
            object: tool.into(),
            ..Asked::default()
        };
        Row {
            verdict,
            mode: "enforce",
            reason: "".into(),
            policy: "".into(),
            rule: "".into(),
            source: PLANNER.into(),
            destination: destination.into(),
            asked,
            count: 2,
            first: String::new(),
            last: String::new(),
            first_second: 0,
            last_second: 0,
            proxy: "waypoint".into(),
        }
    }

    #[test]
    fn what_a_draft_would_change_is_counted() {
        let is_docs =
            || vec![ArgumentTerm { path: "/repo".into(), test: ArgumentTest::In(vec!["docs".into()]) }];
        let open = || published(None);
        let no_reading = || published(Some(("read", Vec::new())));
        let no_docs = || published(Some(("read", is_docs())));
        const HOST: &str = "tools.shop.svc.cluster.local";
        for (now, then, row, expected) in [
            (open(), no_reading(), call(HOST, "read", "granted"), Some("refused")),
            // As gateways tell it, and as nodes do.
            (open(), no_reading(), call(&format!("{HOST}:80"), "read", "granted"), Some("refused")),
            (open(), no_reading(), call(&format!("shop/{HOST}:80"), "read", "granted"), Some("refused")),
            (open(), no_reading(), call(HOST, "search", "granted"), None),
            (no_reading(), open(), call(HOST, "read", "refused"), Some("granted")),
            // Arguments are not kept: what hangs on them is said to hang on them.
            (open(), no_docs(), call(HOST, "read", "granted"), Some("depends")),
            // How it was decided is kept.
            (no_docs(), no_reading(), call(HOST, "read", "granted"), Some("refused")),
            (no_docs(), no_reading(), call(HOST, "read", "refused"), None),
            // It was not told apart, or is not there any more.
            (open(), no_reading(), call(HOST, OTHER, "granted"), Some("depends")),
            (open(), no_reading(), call("gone.shop.svc.cluster.local:80", "read", "granted"), None),
        ] {
            let found = changes(&now, &then, std::slice::from_ref(&row));
            let shown: Vec<_> = found.iter().map(|change| (change.would_be, change.count)).collect();
            let expected: Vec<_> = expected.into_iter().map(|would_be| (would_be, 2)).collect();
            assert_eq!(shown, expected, "{} {}", row.destination, row.asked.object);
        }
    }
}
