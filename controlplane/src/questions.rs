//! Questions over what is published: may this one call that, who may, what may this one reach, and what would a policy
//! change that is not applied. Pure.

mod everybody;
mod judge;
mod published;
mod replay;

use std::{collections::BTreeMap, sync::Arc};

use mesh::{
    Facts, Identity, Peer, TrustDomain,
    facts::{
        A2aFacts, Arguments, Caller, Fact, HttpFacts, LlmFacts, McpFacts, McpObject, Model, Skill, User,
    },
    resource::Protocol,
};
use runtime::Query;
use serde_json::Value;

pub(crate) use everybody::{reach, who_can};
pub(crate) use judge::answer;
pub(crate) use published::Published;
pub(crate) use replay::changes;

/// What would happen if somebody did something.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    from: Peer,
    user: Option<Arc<User>>,
    to: String,
    port: u16,
    act: Act,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Default)]
struct Act {
    http: Option<HttpFacts>,
    tool: Option<(String, Value)>,
    a2a: Option<(String, Option<String>)>,
    model: Option<(String, String)>,
}

impl Question {
    /// Reads `from`, `to`, and what is to be done.
    pub(crate) fn read(query: &Query, trust_domain: &TrustDomain) -> Result<Self, String> {
        let from = query
            .get("from")
            .ok_or("say who: --from NAMESPACE/SERVICE-ACCOUNT, an identity, or `unknown`")?;
        Self::of(query, caller(from, trust_domain)?)
    }

    /// Reads what is to be done by somebody who is known already.
    fn of(query: &Query, from: Peer) -> Result<Self, String> {
        let to = query.get("to").ok_or("say what: NAMESPACE/SERVICE:PORT")?;
        let (to, port) = match to.rsplit_once(':') {
            Some((to, port)) => (to, port.parse().map_err(|_| format!("{port:?} is no port"))?),
            None => (to, 80),
        };
        Ok(Self { from, user: user(query)?, to: to.to_owned(), port, act: Act::read(query)? })
    }

    /// What would be known: where requests are read, what the question says of them.
    fn facts(&self, port: u16, protocol: Protocol, reads: bool) -> Facts {
        const UNREAD: &str = "requests are not read here";
        let caller = Caller { workload: self.from.clone(), by: None };
        let facts = Facts {
            caller,
            source_address: None,
            port,
            http: Fact::Missing(UNREAD),
            mcp: Fact::Missing(UNREAD),
            a2a: Fact::Missing(UNREAD),
            llm: Fact::Missing(UNREAD),
            user: None,
        };
        if !reads {
            return facts;
        }
        Facts {
            http: self.act.http(protocol),
            mcp: self.act.mcp(protocol),
            a2a: self.act.a2a(protocol),
            llm: self.act.llm(protocol),
            user: self.user.clone(),
            ..facts
        }
    }
}

impl Act {
    fn read(query: &Query) -> Result<Self, String> {
        let text = |name: &str| query.get(name).map(str::to_owned);
        let http = (query.get("method").is_some() || query.get("path").is_some()).then(|| HttpFacts {
            method: query.get("method").unwrap_or("GET").into(),
            path: query.get("path").unwrap_or("/").into(),
            host: query.get("host").unwrap_or_default().into(),
            headers: BTreeMap::new(),
        });
        let model = match text("model") {
            Some(model) => Some((text("provider").unwrap_or_default(), model)),
            None if query.get("provider").is_some() => return Err("--provider needs --model".to_owned()),
            None => None,
        };
        Ok(Self {
            http,
            tool: text("tool").map(|tool| (tool, arguments(query))),
            a2a: text("message").map(|method| (method, text("skill"))),
            model,
        })
    }

    fn http(&self, protocol: Protocol) -> Fact<HttpFacts> {
        let of = |method: &str, path: &str| {
            let http = HttpFacts { method: method.into(), path: path.into(), ..HttpFacts::default() };
            Fact::Known(self.http.clone().unwrap_or(http))
        };
        match protocol {
            Protocol::Tcp => Fact::NotApplicable,
            Protocol::Mcp => of("POST", "/mcp"),
            Protocol::A2a => of("POST", "/"),
            Protocol::Llm => of("POST", "/v1/chat/completions"),
            Protocol::Http | Protocol::Http2 => of("GET", "/"),
        }
    }

    fn mcp(&self, protocol: Protocol) -> Fact<McpFacts> {
        let (method, object) = match (protocol, &self.tool) {
            (Protocol::Mcp, Some((name, arguments))) => {
                let arguments = Arguments::Given(Arc::new(arguments.clone()));
                ("tools/call", McpObject::Tool { name: name.as_str().into(), arguments, access: None })
            }
            (Protocol::Mcp, None) => ("initialize", McpObject::Base),
            _ => return Fact::NotApplicable,
        };
        Fact::Known(McpFacts { method: method.into(), object })
    }

    fn a2a(&self, protocol: Protocol) -> Fact<A2aFacts> {
        let (method, skill) = match (protocol, &self.a2a) {
            (Protocol::A2a, Some((method, Some(skill)))) => {
                (method.as_str(), Skill::Called(skill.as_str().into()))
            }
            (Protocol::A2a, Some((method, None))) => (method.as_str(), Skill::NotDeclared),
            (Protocol::A2a, None) => (A2aFacts::CARD, Skill::NotDeclared),
            _ => return Fact::NotApplicable,
        };
        Fact::Known(A2aFacts { method: method.into(), tenant: None, skill })
    }

    fn llm(&self, protocol: Protocol) -> Fact<LlmFacts> {
        let (operation, model) = match (protocol, &self.model) {
            (Protocol::Llm, Some((provider, model))) => {
                ("chat", Model::Used { provider: provider.as_str().into(), model: model.as_str().into() })
            }
            (Protocol::Llm, None) => ("models", Model::Base),
            _ => return Fact::NotApplicable,
        };
        Fact::Known(LlmFacts { operation: operation.into(), model })
    }
}

/// `user=ISSUER/SUBJECT`, with `claim=name=value` and `scope=`.
fn user(query: &Query) -> Result<Option<Arc<User>>, String> {
    let Some(text) = query.get("user") else { return Ok(None) };
    let (issuer, subject) = text.split_once('/').ok_or("--user is ISSUER/SUBJECT")?;
    let pairs = query.all("claim").filter_map(|pair| pair.split_once('='));
    let claims = pairs.map(|(name, text)| (name.to_owned(), json(text))).collect();
    Ok(Some(Arc::new(User {
        issuer: issuer.into(),
        subject: subject.into(),
        audiences: query.all("audience").map(Into::into).collect(),
        scopes: query.all("scope").map(Into::into).collect(),
        claims: Arc::new(Value::Object(claims)),
    })))
}

/// `name=value`: JSON if it is some, else a text.
fn arguments(query: &Query) -> Value {
    let pairs = query.all("arg").filter_map(|pair| pair.split_once('='));
    Value::Object(pairs.map(|(name, text)| (name.to_owned(), json(text))).collect())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
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
