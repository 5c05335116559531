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
    Some(Replayed { most: of(Arguments::Listing), least })
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
