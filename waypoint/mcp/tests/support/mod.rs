//! A caller, a server and a judge in memory.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "each test uses a part of it"
)]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use exchange::{
    Ask, Backend, Body, BoxFuture, Call, CallError, Changes, Closing, Exceeded, Exchange, Judge, Known,
    Ledger, Place, Purpose, Register, Reply, Request, Reservation, Responder, Response, Trail, Upstreams,
};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use mcp::{Config, Mcp, Sealer, Tools};
use mesh::{
    Caller, Denial, Facts, Peer, Reason,
    facts::{Arguments, Demand, Fact, McpFacts, McpObject},
    names::{ObjectName, ServiceKey, WorkloadUid},
    resource::{Authorizer, Catalogue, Guard, Issuer, Protocol, Quota, Secret, Traffic},
};

/// What is granted, changeable while something runs.
#[derive(Default)]
pub struct Grants {
    names: Mutex<Option<BTreeSet<String>>>,
    /// Who is asked about each call of a tool.
    pub authorizer: Mutex<Option<Arc<Authorizer>>>,
}

impl Grants {
    /// These tools, prompts and resources, and with them the base protocol; no names: nothing.
    pub fn set(&self, names: &[&str]) {
        *self.names.lock().unwrap() = Some(names.iter().map(|name| (*name).to_owned()).collect());
    }

    fn allows(&self, facts: &McpFacts) -> Result<(), Denial> {
        let names = self.names.lock().unwrap();
        let granted = |name: &str| names.as_ref().is_none_or(|names| names.contains(name));
        let mut field = None;
        let allowed = match &facts.object {
            McpObject::Base => names.as_ref().is_none_or(|names| !names.is_empty()),
            McpObject::Other => granted(&facts.method),
            McpObject::Prompt { name } => granted(name),
            McpObject::Resource { uri } => granted(uri),
            McpObject::Tool { name, arguments, .. } => {
                let secret = match arguments {
                    Arguments::Listing => false,
                    Arguments::Given(arguments) => arguments.get("repo").is_some_and(|repo| repo == "secret"),
                };
                if secret {
                    field = Some("to[0].mcp.tools[0].arguments[/repo]".into());
                }
                granted(name) && !secret
            }
        };
        let denial = Denial { field, ..Denial::plain(Reason::NoGrant, "wanted one of docs, got secret") };
        if allowed { Ok(()) } else { Err(denial) }
    }
}

impl Judge for Grants {
    fn judge(&self, _: &Place, facts: &Facts, _: Purpose) -> Result<(), Denial> {
        match &facts.mcp {
            Fact::Known(facts) => self.allows(facts),
            Fact::Missing(why) => Err(Denial::plain(Reason::NoGrant, *why)),
            Fact::NotApplicable => Ok(()),
        }
    }

    fn authorizers(&self, _: &Place, facts: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial> {
        let asks = matches!(&facts.mcp, Fact::Known(McpFacts { object: McpObject::Tool { .. }, .. }));
        Ok(self.authorizer.lock().unwrap().iter().filter(|_| asks).cloned().collect())
    }

    fn generation(&self) -> u64 {
        0
    }

    fn changed(&self, _: u64) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// What is known beside policies: catalogues and secrets.
#[derive(Default)]
pub struct Told {
    pub catalogue: Mutex<Option<Arc<Catalogue>>>,
    pub secret: Mutex<Option<Arc<Secret>>>,
}

impl Known for Told {
    fn guards(&self, _: &[Place]) -> Vec<Arc<Guard>> {
        Vec::new()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        Vec::new()
    }

    fn catalogue(&self, name: &ObjectName) -> Option<Arc<Catalogue>> {
        self.catalogue.lock().unwrap().clone().filter(|catalogue| catalogue.name == *name)
    }

    fn secret(&self, name: &ObjectName) -> Option<Arc<Secret>> {
        self.secret.lock().unwrap().clone().filter(|secret| secret.name == *name)
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

impl Ledger for Told {
    fn reserve(&self, _: &Facts, _: &[Arc<Quota>], _: &Ask) -> Result<Box<dyn Reservation>, Exceeded> {
        unreachable!("nothing here is counted")
    }
}

/// Counts refusals; their ids are `r1`, `r2`, ...
#[derive(Default)]
pub struct Refusals(pub Mutex<Vec<Denial>>);

impl Register for Refusals {
    fn refused(&self, denial: &Denial, _: &Facts, _: &Trail) -> Arc<str> {
        let mut all = self.0.lock().unwrap();
        all.push(denial.clone());
        format!("r{}", all.len()).into()
    }
}

type Serve = dyn Fn(&http::request::Parts, &Bytes) -> Result<Response, CallError> + Send + Sync;

/// A server behind the responder.
pub struct Server {
    serve: Box<Serve>,
    /// What reached it.
    pub reached: Mutex<Vec<(http::request::Parts, Bytes, Option<WorkloadUid>)>>,
    /// What the authorizer was told; it says yes to what asks for `docs`, and adds a header.
    pub asked: Mutex<Vec<String>>,
}

impl Upstreams for Server {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let (parts, body) = call.request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let response = (self.serve)(&parts, &body);
            self.reached.lock().unwrap().push((parts, body, call.pin));
            Ok(Reply { response: response?, endpoint: "west/MeshWorkload/shop/tools-1".into() })
        })
    }

    fn authorize<'a>(
        &'a self,
        _: &'a Authorizer,
        _: &'a Facts,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Changes, Denial>> {
        let told = String::from_utf8(request.body().held().unwrap().to_vec()).unwrap();
        let agreed = told.contains("\"docs\"");
        self.asked.lock().unwrap().push(told);
        let granted = ("x-granted".parse().unwrap(), "1".parse().unwrap(), false);
        let changes = Changes { set: vec![granted], remove: Vec::new() };
        let denial = || Denial::plain(Reason::ExternalDenied, "no");
        Box::pin(std::future::ready(if agreed { Ok(changes) } else { Err(denial()) }))
    }
}

/// Everything at once.
pub struct World {
    pub grants: Arc<Grants>,
    /// In place of the grants.
    pub judge: Option<Arc<dyn Judge>>,
    pub refusals: Arc<Refusals>,
    pub told: Arc<Told>,
    pub server: Server,
    pub responder: Mcp,
    pub tools: Tools,
    pub caller: Peer,
    pub backend: Backend,
    pub closing: Closing,
}

/// What came back, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl World {
    pub fn new(
        serve: impl Fn(&http::request::Parts, &Bytes) -> Result<Response, CallError> + Send + Sync + 'static,
    ) -> Self {
        let service =
            ServiceKey { namespace: "shop".into(), hostname: "tools.shop.svc.cluster.local".into() };
        let tools = Tools::default();
        Self {
            grants: Arc::default(),
            judge: None,
            refusals: Arc::default(),
            told: Arc::default(),
            server: Server { serve: Box::new(serve), reached: Mutex::default(), asked: Mutex::default() },
            responder: responder(Config::default(), tools.clone()),
            tools,
            caller: planner(),
            backend: Backend::Service { service, port: 80, protocol: Protocol::Mcp },
            closing: Closing::default(),
        }
    }

    /// A server that always answers with this.
    pub fn answering(kind: &'static str, body: &'static str) -> Self {
        Self::new(move |_, _| Ok(response(kind, body)))
    }

    pub async fn exchange(&self, mut request: Request) -> Exchange {
        let mcp = mcp::read(&mut request, Config::default().body_bytes_max).await;
        let (place, port) = match &self.backend {
            Backend::Service { service, port, .. } => {
                (Place::Service { service: service.clone(), port: *port }, *port)
            }
            Backend::Agent(agent) => (Place::Agent(agent.name.clone()), 80),
            Backend::Nowhere => unreachable!("a test leads somewhere"),
        };
        let mcp = mcp::described(mcp, &self.backend, &*self.told);
        let facts = Facts {
            caller: Caller { workload: self.caller.clone(), by: None },
            source_address: None,
            port,
            http: Fact::NotApplicable,
            mcp,
            a2a: Fact::NotApplicable,
            llm: Fact::NotApplicable,
            user: None,
        };
        Exchange {
            request,
            facts: Arc::new(facts),
            demand: Demand { mcp: true, ..Demand::default() },
            route: None,
            matched_prefix: None,
            backend: self.backend.clone(),
            traffic: Traffic::default(),
            pin: None,
            places: vec![place],
            judge: self.judge.clone().unwrap_or_else(|| self.grants.clone()),
            known: self.told.clone(),
            ledger: self.told.clone(),
            watches: None,
            register: self.refusals.clone(),
            closing: self.closing.clone(),
            trail: Trail::default(),
        }
    }

    /// As the program does it: the filters judge, and then the responder answers or says the refusal.
    pub async fn respond(&self, request: Request) -> Response {
        let mut exchange = self.exchange(request).await;
        let facts = Arc::clone(&exchange.facts);
        match exchange.judge(&facts, Purpose::Decide) {
            Ok(()) => self.responder.respond(&mut exchange, &self.server).await,
            Err(denial) => self.responder.refuse(&exchange, &denial),
        }
    }

    pub async fn ask(&self, request: Request) -> Answer {
        let (parts, body) = self.respond(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub fn reached(&self) -> usize {
        self.server.reached.lock().unwrap().len()
    }
}

pub fn responder(config: Config, tools: Tools) -> Mcp {
    Mcp::new(config, Arc::new(Sealer::new(&[7; 32], &[]).unwrap()), tools)
}

pub fn planner() -> Peer {
    Peer::Verified("spiffe://east.example/ns/agents/sa/planner".parse().unwrap())
}

pub fn intern() -> Peer {
    Peer::Verified("spiffe://east.example/ns/agents/sa/intern".parse().unwrap())
}

pub fn response(kind: &str, body: impl Into<Bytes>) -> Response {
    http::Response::builder().header("content-type", kind).body(Body::held_bytes(body)).unwrap()
}

/// A message of 2025-11-25.
pub fn old(body: impl Into<Bytes>) -> Request {
    http::Request::post("http://tools.shop/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .body(Body::held_bytes(body))
        .unwrap()
}

/// A request of 2026-07-28.
pub fn new(method: &str, mut params: serde_json::Value) -> Request {
    params["_meta"] = serde_json::json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name =
        params.get("name").or_else(|| params.get("uri")).and_then(|name| name.as_str()).map(str::to_owned);
    let body = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut request = old(body.to_string());
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", method.parse().unwrap());
    if let Some(name) = name {
        headers.insert("mcp-name", name.parse().unwrap());
    }
    request
}

/// A call of a tool, in 2025-11-25.
pub fn call(name: &str, arguments: serde_json::Value) -> Request {
    let params = serde_json::json!({"name": name, "arguments": arguments});
    old(serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string())
}
