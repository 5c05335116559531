//! Questions about everybody who is known, and about everything that is there.

use mesh::{Peer, TrustDomain, resource::Protocol};
use runtime::Query;
use serde::Serialize;

use super::{Question, answer, published::Published};
use crate::explain::Explained;

/// Who may, or what may be reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Row {
    fn of(explained: Explained) -> Self {
        Self {
            who: None,
            what: None,
            protocol: None,
            verdict: explained.verdict,
            policy: explained.policy,
            rule: explained.rule,
            reason: explained.reason,
            detail: explained.detail,
        }
    }
}

/// Every identity that runs here or is exported to here, and `unknown`: who of them may.
pub(crate) fn who_can(published: &Published, query: &Query, own: &TrustDomain) -> Result<Vec<Row>, String> {
    let known = published.identities().into_iter().map(Peer::Verified);
    let everybody = known.chain([Peer::Unknown]);
    everybody
        .map(|peer| {
            let who = Some(peer.to_string());
            let question = Question::of(query, peer)?;
            Ok(Row { who, ..Row::of(answer(published, &question, own)?) })
        })
        .collect()
}

/// Every port of every service: may this one use it? What is granted for some tools, methods or models only counts as
/// granted: the base of its protocol is.
pub(crate) fn reach(published: &Published, query: &Query, own: &TrustDomain) -> Result<Vec<Row>, String> {
    let from = query.get("from").ok_or("say who: NAMESPACE/SERVICE-ACCOUNT or an identity")?;
    let from = super::caller(from, own)?;
    let user = super::user(query)?;
    let mut rows = Vec::new();
    for service in published.services() {
        for (port, of_port) in &service.ports {
            let question = Question {
                from: from.clone(),
                user: user.clone(),
                to: service.key.hostname.to_string(),
                port: *port,
                act: super::Act::default(),
            };
            let what = Some(format!("{}/{}:{port}", service.key.namespace, service.name));
            let protocol = Some(word(of_port.protocol));
            rows.push(Row { what, protocol, ..Row::of(answer(published, &question, own)?) });
        }
    }
    Ok(rows)
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Http => "http",
        Protocol::Http2 => "http2",
        Protocol::Mcp => "mcp",
        Protocol::A2a => "a2a",
        Protocol::Llm => "llm",
    }
}
