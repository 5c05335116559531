//! A caller, providers, a judge and a ledger in memory.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "each test uses a part of it"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use exchange::{
    Ask, Backend, Body, BodyError, BoxFuture, Call, CallError, Changes, Closing, Exceeded, Exchange, Judge,
    Known, Ledger, Place, Purpose, Register, Reply, Request, Reservation, Responder, Response, TextWatch,
    Trail, Upstreams, Used,
};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use llm::{Config, Llm, Sources};
use mesh::{
    Caller, Denial, Facts, Peer, Reason,
    facts::{Demand, Fact, LlmFacts, Model},
    names::ObjectName,
    resource::{
        self, Allowance, AuthScheme, BackendKind, BackendTarget, Catalogue, Guard, Hidden, Issuer, LlmApi,
        LlmGroup, LlmProvider, Millis, Mode, Quota, QuotaKey, QuotaLimit, Secret, Traffic, UpstreamAuth,
    },
};
use serde_json::Value;

/// The key that must be seen by nobody but its provider.
pub const CANARY: &str = "sk-canary-0123456789";

/// Which models are granted, as `provider/model`; `None`: all.
#[derive(Default)]
pub struct Grants(
    pub Mutex<Option<BTreeSet<String>>>,
    pub tokio::sync::watch::Sender<u64>,
    /// Who is asked about each model that is used.
    pub Mutex<Option<Arc<resource::Authorizer>>>,
);

impl Grants {
    pub fn set(&self, models: &[&str]) {
        *self.0.lock().unwrap() = Some(models.iter().map(|model| (*model).to_owned()).collect());
        self.1.send_modify(|generation| *generation += 1);
    }
}

impl Judge for Grants {
    fn judge(&self, _: &Place, facts: &Facts, _: Purpose) -> Result<(), Denial> {
        let granted = self.0.lock().unwrap();
        let no = || Denial::plain(Reason::NoGrant, "wanted one of secret, got other");
        match (&facts.llm, granted.as_ref()) {
            (Fact::Missing(_), _) => Err(no()),
            (Fact::Known(facts), Some(granted)) => match &facts.model {
                Model::Used { provider, model } if granted.contains(&format!("{provider}/{model}")) => Ok(()),
                Model::Used { .. } => Err(no()),
                Model::Base | Model::Asked if granted.is_empty() => Err(no()),
                Model::Base | Model::Asked => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn authorizers(&self, _: &Place, facts: &Facts) -> Result<Vec<Arc<resource::Authorizer>>, Denial> {
        Ok(match &facts.llm {
            Fact::Known(LlmFacts { model: Model::Used { .. }, .. }) => {
                self.2.lock().unwrap().iter().cloned().collect()
            }
            _ => Vec::new(),
        })
    }

    fn generation(&self) -> u64 {
        *self.1.borrow()
    }

    fn changed(&self, seen: u64) -> BoxFuture<'static, ()> {
        let mut watch = self.1.subscribe();
        Box::pin(async move {
            let _ = watch.wait_for(|now| *now != seen).await;
        })
    }
}

/// What is known beside policies.
#[derive(Default)]
pub struct Told {
    pub quotas: Vec<Arc<Quota>>,
}

impl Known for Told {
    fn guards(&self, _: &[Place]) -> Vec<Arc<Guard>> {
        Vec::new()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        self.quotas.clone()
    }

    fn catalogue(&self, _: &ObjectName) -> Option<Arc<Catalogue>> {
        None
    }

    fn secret(&self, name: &ObjectName) -> Option<Arc<Secret>> {
        let data = BTreeMap::from([(Arc::from("token"), Hidden(format!("{CANARY}\n").into()))]);
        Some(Arc::new(Secret { name: name.clone(), data }))
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

/// One budget for everybody. The program has its own; this one is plain enough to be believed.
#[derive(Default, Clone)]
pub struct Book(Arc<Mutex<Page>>);

#[derive(Default, Clone, Copy, Debug)]
pub struct Page {
    pub most: u64,
    pub used: u64,
    pub held: u64,
    pub peak: u64,
    pub refused: u64,
    pub beyond: u64,
}

impl Book {
    pub fn of(most: u64) -> Self {
        Self(Arc::new(Mutex::new(Page { most, ..Page::default() })))
    }

    pub fn page(&self) -> Page {
        *self.0.lock().unwrap()
    }
}

struct Held(Book, u64, bool);

impl Held {
    fn close(&mut self, took: u64) {
        if !std::mem::replace(&mut self.2, true) {
            let mut page = self.0.0.lock().unwrap();
            page.held -= self.1;
            page.used += took;
            page.beyond += took.saturating_sub(self.1);
        }
    }
}

impl Reservation for Held {
    fn settle(mut self: Box<Self>, used: Used) {
        self.close(used.tokens);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.close(self.1);
    }
}

impl Ledger for Book {
    fn reserve(&self, _: &Facts, quotas: &[Arc<Quota>], ask: &Ask) -> Result<Box<dyn Reservation>, Exceeded> {
        let Allowance::Tokens { margin, .. } = quotas[0].limits[0].most else { panic!("tokens") };
        let amount = ask.tokens_in + (ask.tokens_in * u64::from(margin)).div_ceil(100) + ask.tokens_out;
        let mut page = self.0.lock().unwrap();
        let taken = page.used + page.held;
        if taken.saturating_add(amount) > page.most {
            page.refused += 1;
            let denial = Denial {
                policy: Some((quotas[0].name.clone(), None)),
                rule: Some("minute".into()),
                ..Denial::plain(Reason::QuotaExceeded, format!("{amount} asked for"))
            };
            let resets_in = (amount <= page.most).then_some(30_000);
            return Err(Exceeded {
                denial,
                most: page.most,
                left: page.most - taken,
                resets_in,
                unit: "tokens",
            });
        }
        page.held += amount;
        page.peak = page.peak.max(taken + amount);
        Ok(Box::new(Held(self.clone(), amount, false)))
    }
}

/// A quota of tokens.
pub fn quota(most: u64, mode: Mode) -> Arc<Quota> {
    let limit = QuotaLimit {
        name: "minute".into(),
        per: QuotaKey::Everyone,
        window: Millis(60_000),
        most: Allowance::Tokens { most, margin: 20, default_output: 50 },
        models: None,
    };
    Arc::new(Quota { name: "shop/tokens".parse().unwrap(), mode, broken: None, limits: vec![limit] })
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

type Serve = dyn Fn(&Reached) -> Result<Response, CallError> + Send + Sync;

/// What reached a provider.
#[derive(Clone)]
pub struct Reached {
    pub provider: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// All providers.
pub struct Providers {
    serve: Box<Serve>,
    pub reached: Mutex<Vec<Reached>>,
    /// About what the authorizer was asked: provider and model.
    pub asked: Mutex<Vec<String>>,
    /// Models to which it says yes.
    pub agreed: Mutex<Vec<String>>,
}

impl Upstreams for Providers {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let BackendTarget::Broken(provider) = &call.target else { panic!("{:?}", call.target) };
            let (parts, body) = call.request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let reached = Reached {
                provider: provider.to_string(),
                path: parts.uri.to_string(),
                headers: parts.headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            assert_eq!(call.traffic.retries.map_or(0, |retries| retries.attempts), 0);
            self.reached.lock().unwrap().push(reached.clone());
            let response = (self.serve)(&reached)?;
            Ok(Reply { response, endpoint: "west/MeshWorkload/shop/model-1".into() })
        })
    }

    fn authorize<'a>(
        &'a self,
        _: &'a resource::Authorizer,
        facts: &'a Facts,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Changes, Denial>> {
        assert!(request.body().held().is_some_and(|body| !body.is_empty()), "it could be told the content");
        let Fact::Known(LlmFacts { model: Model::Used { provider, model }, .. }) = &facts.llm else {
            panic!("{facts:?}")
        };
        let name = format!("{provider}/{model}");
        let agreed = self.agreed.lock().unwrap().contains(&name);
        self.asked.lock().unwrap().push(name);
        let denial = || Denial::plain(Reason::ExternalDenied, "no");
        Box::pin(std::future::ready(if agreed { Ok(Changes::default()) } else { Err(denial()) }))
    }
}

/// Everything at once.
pub struct World {
    pub grants: Arc<Grants>,
    pub told: Arc<Told>,
    pub book: Book,
    pub refusals: Arc<Refusals>,
    pub providers: Providers,
    pub llm: Llm,
    pub groups: Vec<LlmGroup>,
    pub closing: Closing,
    pub watches: Option<exchange::Watches>,
    pub trail: Trail,
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

    /// The data of its events.
    pub fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(
            |data| if data == "[DONE]" { Value::from(data) } else { serde_json::from_str(data).unwrap() },
        )
        .collect()
    }
}

pub fn provider(name: &str, api: LlmApi) -> LlmProvider {
    LlmProvider {
        name: name.into(),
        api,
        // Stands for the provider: nothing resolves here.
        target: BackendTarget::Broken(name.into()),
        path_prefix: "/v1".into(),
        auth: Some(UpstreamAuth {
            secret: "shop/key".parse().unwrap(),
            key: "token".into(),
            scheme: match api {
                LlmApi::OpenAi => AuthScheme::Bearer,
                LlmApi::Anthropic => AuthScheme::Header("x-api-key".into()),
            },
        }),
        models: [
            ("small".into(), format!("{name}-small").into()),
            ("large".into(), format!("{name}-large").into()),
        ]
        .into(),
    }
}

impl World {
    /// Groups of one provider each.
    pub fn new(
        providers: &[(&str, LlmApi)],
        serve: impl Fn(&Reached) -> Result<Response, CallError> + Send + Sync + 'static,
    ) -> Self {
        let group = |(name, api): &(&str, LlmApi)| LlmGroup { providers: vec![provider(name, *api)] };
        Self {
            grants: Arc::default(),
            told: Arc::default(),
            book: Book::of(0),
            refusals: Arc::default(),
            providers: Providers {
                serve: Box::new(serve),
                reached: Mutex::default(),
                asked: Mutex::default(),
                agreed: Mutex::default(),
            },
            llm: Llm::new(
                Config::default(),
                Sources { now: Instant::now, time: SystemTime::now, chance: || 0 },
            ),
            groups: providers.iter().map(group).collect(),
            closing: Closing::default(),
            watches: None,
            trail: Trail::default(),
        }
    }

    pub fn with_budget(mut self, most: u64) -> Self {
        self.told = Arc::new(Told { quotas: vec![quota(most, Mode::Enforce)] });
        self.book = Book::of(most);
        self
    }

    pub async fn exchange(&self, mut request: Request) -> Exchange {
        let llm = llm::read(&mut request, Config::default().body_bytes_max).await;
        let name: ObjectName = "shop/models".parse().unwrap();
        let backend = resource::Backend {
            name: name.clone(),
            hostnames: Vec::new(),
            kind: BackendKind::Llm { groups: self.groups.clone() },
            set: "set".into(),
            traffic: Traffic::default(),
            catalogue: None,
            broken: None,
        };
        let identity = "spiffe://east.example/ns/agents/sa/planner".parse().unwrap();
        let facts = Facts {
            caller: Caller { workload: Peer::Verified(identity), by: None },
            source_address: None,
            port: 80,
            http: Fact::NotApplicable,
            mcp: Fact::NotApplicable,
            a2a: Fact::NotApplicable,
            llm,
            user: None,
        };
        Exchange {
            request,
            facts: Arc::new(facts),
            demand: Demand::default(),
            route: None,
            matched_prefix: None,
            backend: Backend::Agent(Arc::new(backend)),
            pin: None,
            traffic: Traffic::default(),
            places: vec![Place::Agent(name)],
            judge: self.grants.clone(),
            known: self.told.clone(),
            ledger: Arc::new(self.book.clone()),
            watches: self.watches.clone(),
            register: self.refusals.clone(),
            closing: self.closing.clone(),
            trail: self.trail.clone(),
        }
    }

    /// As the program does it: the filters judge, and then the responder answers or says the refusal.
    pub async fn respond(&self, request: Request) -> Response {
        let mut exchange = self.exchange(request).await;
        let facts = Arc::clone(&exchange.facts);
        match exchange.judge(&facts, Purpose::Decide) {
            Ok(()) => self.llm.respond(&mut exchange, &self.providers).await,
            Err(denial) => self.llm.refuse(&exchange, &denial),
        }
    }

    pub async fn ask(&self, request: Request) -> Answer {
        let (parts, body) = self.respond(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        // Whatever happens, nobody sees the key.
        assert!(!format!("{answer:?} {:?}", self.trail.record()).contains(CANARY), "{answer:?}");
        assert!(!format!("{:?}", self.refusals.0.lock().unwrap()).contains(CANARY));
        answer
    }

    pub fn reached(&self) -> Vec<Reached> {
        self.providers.reached.lock().unwrap().clone()
    }

    pub fn order(&self) -> Vec<String> {
        self.reached().iter().map(|reached| reached.provider.clone()).collect()
    }
}

pub fn post(path: &str, body: Value) -> Request {
    http::Request::post(path)
        .header("host", "models.shop.mesh")
        .header("content-type", "application/json")
        .header("authorization", "Bearer of-the-caller")
        .header("x-api-key", "of-the-caller")
        .header("cookie", "of-the-caller")
        .body(Body::held_bytes(body.to_string()))
        .unwrap()
}

pub fn json(body: Value) -> Response {
    http::Response::builder()
        .header("content-type", "application/json")
        .body(Body::held_bytes(body.to_string()))
        .unwrap()
}

pub fn status(status: u16, body: Value) -> Response {
    let mut response = json(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A stream of these events. An event of Anthropic's API is named by its type.
pub fn sse(events: &[Value]) -> Response {
    sse_bytes(vec![Ok(sse_text(events).into())])
}

pub fn sse_text(events: &[Value]) -> String {
    let mut text = String::new();
    for event in events {
        if let Some(name) = event.get("type").and_then(Value::as_str) {
            text.push_str(&format!("event: {name}\n"));
        }
        match event.as_str() {
            Some(word) => text.push_str(&format!("data: {word}\n\n")),
            None => text.push_str(&format!("data: {event}\n\n")),
        }
    }
    text
}

pub fn sse_bytes(chunks: Vec<Result<Bytes, BodyError>>) -> Response {
    http::Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::piped(Chunks(chunks.into())))
        .unwrap()
}

pub struct Chunks(pub std::collections::VecDeque<Result<Bytes, BodyError>>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|chunk| chunk.map(http_body::Frame::data)))
    }
}

/// Masks `secret`, also where it comes in pieces; refuses `forbidden`. It holds back what may become either.
#[derive(Default)]
pub struct Masker(BTreeMap<String, String>);

impl Masker {
    pub fn watches() -> exchange::Watches {
        Arc::new(|| Box::new(Self::default()))
    }

    fn look(&mut self, channel: &str, keep: usize) -> Result<String, Denial> {
        let text = self.0.entry(channel.to_owned()).or_default();
        if text.contains("forbidden") {
            return Err(Denial::plain(Reason::GuardRefused, "forbidden"));
        }
        *text = text.replace("secret", "******");
        let mut at = text.len().saturating_sub(keep);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let rest = text.split_off(at);
        Ok(std::mem::replace(text, rest))
    }
}

impl TextWatch for Masker {
    fn text(&mut self, channel: &str, text: &str) -> Result<String, Denial> {
        self.0.entry(channel.to_owned()).or_default().push_str(text);
        self.look(channel, "forbidden".len() - 1)
    }

    fn end(&mut self, channel: &str) -> Result<String, Denial> {
        self.look(channel, 0)
    }
}
