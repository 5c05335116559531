//! A caller, an agent and a judge in memory.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "each test uses a part of it"
)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use a2a::{A2a, Config, Sealer};
use bytes::Bytes;
use exchange::{
    Ask, Backend, Body, BoxFuture, Call, CallError, Closing, Exceeded, Exchange, Judge, Known, Ledger, Place,
    Purpose, Register, Reply, Request, Reservation, Responder, Response, Trail, Upstreams,
};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use mesh::{
    Caller, Denial, Facts, Peer, Reason,
    facts::{A2aFacts, Demand, Fact, HttpFacts, Skill, User},
    names::{ObjectName, ServiceKey, WorkloadUid},
    resource::{Authorizer, Catalogue, Guard, Issuer, Protocol, Quota, Secret, Traffic},
};
use serde_json::{Value, json};

/// What is granted, changeable while something runs.
#[derive(Default)]
pub struct Grants {
    names: Mutex<Option<BTreeSet<String>>>,
    generation: AtomicU64,
}

impl Grants {
    /// These methods, skills and tenants, and with them the card; no names: nothing.
    pub fn set(&self, names: &[&str]) {
        *self.names.lock().unwrap() = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn allows(&self, facts: &A2aFacts) -> bool {
        let names = self.names.lock().unwrap();
        let Some(names) = &*names else { return true };
        let granted = |name: &str| names.contains(name);
        let skill = match &facts.skill {
            Skill::NotDeclared => true,
            Skill::Missing => false,
            Skill::Called(skill) | Skill::Listed(skill) => granted(skill),
        };
        let method =
            if *facts.method == *A2aFacts::CARD { !names.is_empty() } else { granted(&facts.method) };
        method && skill && facts.tenant.as_ref().is_none_or(|tenant| granted(tenant))
    }
}

impl Judge for Grants {
    fn judge(&self, _: &Place, facts: &Facts, _: Purpose) -> Result<(), Denial> {
        match &facts.a2a {
            Fact::Known(facts) if self.allows(facts) => Ok(()),
            Fact::Missing(_) if self.names.lock().unwrap().is_none() => Ok(()),
            Fact::NotApplicable => Ok(()),
            _ => Err(Denial::plain(Reason::NoGrant, "none")),
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn changed(&self, _: u64) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn authorizers(&self, _: &Place, _: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial> {
        Ok(Vec::new())
    }
}

/// Nothing but policies.
struct Nothing;

impl Known for Nothing {
    fn guards(&self, _: &[Place]) -> Vec<Arc<Guard>> {
        Vec::new()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        Vec::new()
    }

    fn catalogue(&self, _: &ObjectName) -> Option<Arc<Catalogue>> {
        None
    }

    fn secret(&self, _: &ObjectName) -> Option<Arc<Secret>> {
        None
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

impl Ledger for Nothing {
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

/// What reached an agent.
#[derive(Debug, Clone)]
pub struct Reached {
    pub parts: http::request::Parts,
    pub body: Bytes,
    pub pin: Option<WorkloadUid>,
}

impl Reached {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Serve = dyn Fn(&http::request::Parts, &Bytes) -> Result<Response, CallError> + Send + Sync;

/// An agent behind the responder.
pub struct Agent {
    serve: Box<Serve>,
    pub endpoint: Mutex<WorkloadUid>,
    pub gone: Mutex<Option<WorkloadUid>>,
    pub reached: Mutex<Vec<Reached>>,
}

impl Upstreams for Agent {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            if let Some(pin) = call.pin.clone().filter(|pin| self.gone.lock().unwrap().as_ref() == Some(pin))
            {
                return Err(CallError::PinGone(pin));
            }
            let (parts, body) = call.request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let response = (self.serve)(&parts, &body);
            let endpoint = call.pin.clone().unwrap_or_else(|| self.endpoint.lock().unwrap().clone());
            self.reached.lock().unwrap().push(Reached { parts, body, pin: call.pin });
            Ok(Reply { response: response?, endpoint })
        })
    }
}

/// Everything at once.
pub struct World {
    pub grants: Arc<Grants>,
    pub refusals: Arc<Refusals>,
    pub agent: Agent,
    pub responder: A2a,
    pub caller: Peer,
    pub user: Option<Arc<User>>,
    pub backend: Backend,
    pub closing: Closing,
    pub skill_pointer: Option<String>,
}

/// What came back, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of its JSON-RPC error.
    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_default()
    }
}

impl World {
    pub fn new(
        serve: impl Fn(&http::request::Parts, &Bytes) -> Result<Response, CallError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            grants: Arc::default(),
            refusals: Arc::default(),
            agent: Agent {
                serve: Box::new(serve),
                endpoint: Mutex::new("west/MeshWorkload/shop/researcher-1".into()),
                gone: Mutex::default(),
                reached: Mutex::default(),
            },
            responder: responder(Config::default()),
            caller: planner(),
            user: None,
            backend: service("researcher.shop.svc.cluster.local"),
            closing: Closing::default(),
            skill_pointer: None,
        }
    }

    /// An agent that always answers with this.
    pub fn answering(kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::new(move |_, _| Ok(response(kind, body.clone())))
    }

    pub async fn exchange(&self, mut request: Request) -> Exchange {
        let limit = Config::default().body_bytes_max;
        let a2a = a2a::read(&mut request, limit, self.skill_pointer.as_deref()).await;
        let place = match &self.backend {
            Backend::Service { service, port, .. } => {
                Place::Service { service: service.clone(), port: *port }
            }
            Backend::Agent(agent) => Place::Agent(agent.name.clone()),
            Backend::Nowhere => unreachable!("a test leads somewhere"),
        };
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let http = HttpFacts {
            host: host.split(':').next().unwrap_or_default().into(),
            headers: [("host".into(), host.into())].into(),
            ..HttpFacts::default()
        };
        let facts = Facts {
            caller: Caller { workload: self.caller.clone(), by: None },
            source_address: None,
            port: 80,
            http: Fact::Known(http),
            mcp: Fact::NotApplicable,
            a2a,
            llm: Fact::NotApplicable,
            user: self.user.clone(),
        };
        Exchange {
            request,
            facts: Arc::new(facts),
            demand: Demand { a2a: true, ..Demand::default() },
            route: None,
            matched_prefix: None,
            backend: self.backend.clone(),
            traffic: Traffic::default(),
            pin: None,
            places: vec![place],
            judge: self.grants.clone(),
            known: Arc::new(Nothing),
            ledger: Arc::new(Nothing),
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
            Ok(()) => self.responder.respond(&mut exchange, &self.agent).await,
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

    pub fn reached(&self) -> Vec<Reached> {
        self.agent.reached.lock().unwrap().clone()
    }

    pub fn last(&self) -> Reached {
        self.reached().pop().unwrap()
    }

    /// Why the last refusal was.
    pub fn reason(&self) -> Option<Reason> {
        self.refusals.0.lock().unwrap().last().map(|denial| denial.reason)
    }
}

pub fn responder(config: Config) -> A2a {
    A2a::new(config, Arc::new(Sealer::new(&[7; 32], &[]).unwrap()))
}

pub fn service(hostname: &str) -> Backend {
    let service = ServiceKey { namespace: "shop".into(), hostname: hostname.into() };
    Backend::Service { service, port: 80, protocol: Protocol::A2a }
}

pub fn planner() -> Peer {
    Peer::Verified("spiffe://east.example/ns/agents/sa/planner".parse().unwrap())
}

pub fn intern() -> Peer {
    Peer::Verified("spiffe://east.example/ns/agents/sa/intern".parse().unwrap())
}

pub fn user(subject: &str) -> Option<Arc<User>> {
    Some(Arc::new(User {
        issuer: "people".into(),
        subject: subject.into(),
        audiences: Vec::new(),
        scopes: BTreeSet::new(),
        claims: Arc::new(json!({})),
    }))
}

pub fn response(kind: &str, body: impl Into<Bytes>) -> Response {
    http::Response::builder().header("content-type", kind).body(Body::held_bytes(body)).unwrap()
}

pub fn ok(body: &Value) -> Response {
    response("application/json", body.to_string())
}

/// A call by JSON-RPC, of the version of its method.
pub fn rpc(method: &str, params: Value) -> Request {
    raw(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
}

/// A body at the endpoint of JSON-RPC.
pub fn raw(body: impl Into<Bytes>) -> Request {
    http::Request::post("/a2a")
        .header("host", "researcher.shop.mesh")
        .header("content-type", "application/json")
        .body(Body::held_bytes(body))
        .unwrap()
}

/// A call by HTTP+JSON in 1.0; `null`: without a body.
pub fn rest(method: &str, path: &str, body: Value) -> Request {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "researcher.shop.mesh")
        .header("a2a-version", "1.0");
    if body.is_null() {
        request.body(Body::empty()).unwrap()
    } else {
        request.header("content-type", "application/json").body(Body::held_bytes(body.to_string())).unwrap()
    }
}

/// An agent of both versions and bindings that knows one task, `task-1`, in whatever context it was last told.
pub fn agent() -> World {
    let context = Mutex::new("agents-own".to_owned());
    World::new(move |parts, body| {
        let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let params = said.get("params").unwrap_or(&said);
        if let Some(told) = params.pointer("/message/contextId").and_then(Value::as_str) {
            *context.lock().unwrap() = told.to_owned();
        }
        let context = context.lock().unwrap().clone();
        let method = said.get("method").and_then(Value::as_str).unwrap_or_default();
        let path = parts.uri.path();
        let old = method.contains('/');
        let history = json!([{"messageId": "m", "role": "user", "parts": [], "taskId": "task-1", "contextId": context}]);
        let mut task =
            json!({"id": "task-1", "contextId": context, "status": {"state": "working"}, "history": history});
        if old {
            task["kind"] = json!("task");
        }
        let lists = method == "ListTasks" || method == "tasks/list" || path.ends_with("/tasks");
        let sends = method == "SendMessage" || path.ends_with("/message:send");
        let result = if lists {
            let other =
                json!({"id": "task-9", "contextId": "somebody-elses", "status": {"state": "working"}});
            json!({"tasks": [other, task], "nextPageToken": "task-9", "totalSize": 2, "pageSize": 50})
        } else if sends {
            json!({"task": task})
        } else {
            task
        };
        Ok(ok(&if method.is_empty() {
            result
        } else {
            json!({"jsonrpc": "2.0", "id": said["id"], "result": result})
        }))
    })
}

/// A message of a caller.
pub fn message(fields: Value) -> Value {
    let mut message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]});
    for (key, value) in fields.as_object().unwrap() {
        message[key] = value.clone();
    }
    json!({"message": message})
}
